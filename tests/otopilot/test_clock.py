"""Time is aware UTC, durations are monotonic, milliseconds are exact."""

import re
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from otopilot.clock import SystemClock, from_ms, to_ms

MILLISECONDS = st.integers(0, 253402300799999)


@given(MILLISECONDS)
def test_a_venues_milliseconds_are_exact_both_ways(milliseconds: int) -> None:
    moment = from_ms(milliseconds)
    assert moment.tzinfo is UTC
    assert to_ms(moment) == milliseconds
    assert to_ms(moment + timedelta(microseconds=999)) == milliseconds


def test_milliseconds_are_of_the_moment_wherever_it_is_told() -> None:
    assert from_ms(1_700_000_000_123) == datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC)
    abroad = datetime(2023, 11, 15, 6, 13, 20, 123000, tzinfo=timezone(timedelta(hours=8)))
    assert to_ms(abroad) == 1_700_000_000_123


async def test_the_systems_clock_goes_on_and_knows_its_zone() -> None:
    clock = SystemClock()
    before, day = clock.monotonic(), clock.now()
    await clock.sleep(0.001)
    await clock.sleep(-1)
    assert clock.monotonic() > before
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - day) < timedelta(minutes=1)


def test_ids_are_fresh_hexadecimal_digits() -> None:
    clock = SystemClock()
    ids = {clock.new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)


def test_jitter_stays_in_its_range() -> None:
    clock = SystemClock()
    assert all(0.5 <= clock.uniform(0.5, 1.5) <= 1.5 for _ in range(100))
