"""What the benchmark of loops counts as late; `make bench` measures."""

from collections import Counter

import pytest

from benchmarks.loops import Punctuality


def of(late_ms: list[int], skipped: dict[str, int] | None = None, apart: int = 0) -> Punctuality:
    return Punctuality(
        len(late_ms), 10.0, late_ms, Counter(skipped or {}), apart, {"order_service": 0.5}, 0.0
    )


def test_a_cycle_is_late_from_more_than_fifty_milliseconds_on() -> None:
    assert of([0, 10, 50]).share == 0
    assert of([0, 10, 51, 400]).share == pytest.approx(0.5)


def test_an_interval_without_a_cycle_counts_as_a_late_one() -> None:
    assert of([1, 1, 1], {"REASON_CODE_STALE_PRICE": 1}).share == pytest.approx(0.25)


def test_cycles_that_waited_for_a_buy_are_shown_apart() -> None:
    found = of([1, 2, 60], apart=7)
    assert found.share == pytest.approx(1 / 3)
    loops, rate, counted, apart, p50, p99, most, late, floor, *_ = found.line().split()
    assert (loops, rate, counted, apart) == ("3", "1.0", "3", "7")
    assert (p50, p99, most, late, floor) == ("2", "60", "60", "33.33%", "0.00%")
