"""A small world of `make load`, and what that target does not let pass."""

from pathlib import Path
from typing import Any

from otopilot.instrument import Venue
from tests.faults.audit import Verdict
from tests.system.load import Live, Load, measure, teams

LIVE = Live({"1": 2.0, "2": 4.0}, {})
FIGURES = {"in the journal": 2, "trades": 3, "ever in doubt": 0, "still in doubt": 0}


def load(
    *,
    recovered: Live = LIVE,
    differences: list[str] | None = None,
    doubt: int = 0,
    **refused: int,
) -> Load:
    limits = {"refused_429": 0, "refused_418": 0, "most_weight": 500} | refused
    connections = limits.pop("connections", 0)
    report: dict[str, Any] = {"limits": limits, "connections": {"refused": {"alpha": 0, "spot": connections}}}
    verdict = Verdict(FIGURES | {"still in doubt": doubt}, differences or [])
    return Load(2, LIVE, 1.5, recovered, report, verdict, 30.0)


def test_users_trade_through_a_kill_within_the_venues_own_limits_and_all_books_agree(tmp_path: Path) -> None:
    found = measure(tmp_path, 10, seconds=0.0)
    assert found.failures() == []
    assert len(found.started.seconds) == 10
    assert found.verdict.figures["in the journal"] >= 20
    assert 0 < found.report["limits"]["most_weight"] <= 6000


def test_a_refusal_for_want_of_room_fails_the_run_whatever_door_it_was_at() -> None:
    assert load().failures() == []
    for refused in ({"refused_429": 1}, {"refused_418": 1}, {"connections": 1}):
        assert load(**refused).failures() == ["the exchange refused requests for want of room"]


def test_differences_doubt_that_stays_and_a_service_that_never_came_back_fail_the_run() -> None:
    assert load(differences=["orphaned at the exchange: 1 17"]).failures() == [
        "orphaned at the exchange: 1 17"
    ]
    assert load(doubt=2).failures() == ["2 orders are still in doubt"]
    assert load(recovered=Live({}, {"1": "settling"})).failures() == ["nobody placed again after the kill"]


def test_every_fifth_user_is_on_spot() -> None:
    alpha, spot = teams(10)
    assert (alpha.venue, len(alpha.users), spot.venue, spot.users) == (
        Venue.ALPHA,
        8,
        Venue.SPOT,
        ("5", "10"),
    )


def test_the_table_tells_how_long_everybody_took_and_how_many_are_missing() -> None:
    assert LIVE.words() == "half 3.0 s, last 4.0 s"
    assert Live({"1": 2.0}, {"2": "settling"}).words() == "half 2.0 s, last 2.0 s, 1 not within 40 s"
