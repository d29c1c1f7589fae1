"""The fault run and the kill sweep in small; `make faults` and `make kills` are the whole."""

import re
from pathlib import Path

import pytest

from tests.faults import kills, run, strategy_kills
from tests.faults.audit import Verdict
from tests.faults.processes import ROOT

# One of each kind: nothing sent yet, written and not sent, sent and not learned, cancel, sweep.
A_FEW = tuple(
    one
    for one in kills.FAILPOINTS
    if one[0] in ("journal.after_commit", "place.after_send", "cancel.before_send", "sweep.before_commit")
)


@pytest.mark.timeout(180)
async def test_two_hundred_lists_survive_every_fault_and_the_books_agree_to_the_last_digit(
    tmp_path: Path,
) -> None:
    verdict = await run.run(tmp_path, lists=200, users=20, seconds=60)
    assert run.not_shown(verdict, lists=200) == []
    figures = verdict.figures
    assert figures["doubled"] == figures["orphaned"] == 0
    assert figures["ever in doubt"] > 0
    assert figures["filled"] > 50


@pytest.mark.parametrize(
    "short",
    [{"accepted by the exchange": 199}, {"bans": 0}, {"refused by the ban": 0}, {"still in doubt": 1}],
    ids=lambda short: next(iter(short)).replace(" ", "-"),
)
def test_a_run_that_shows_less_than_it_claims_fails(short: dict[str, int]) -> None:
    whole = {"accepted by the exchange": 200, "bans": 1, "refused by the ban": 3, "still in doubt": 0}
    assert run.not_shown(Verdict(whole, []), lists=200) == []
    assert run.not_shown(Verdict(whole, ["a difference"]), lists=200) == ["a difference"]
    assert len(run.not_shown(Verdict(whole | short, []), lists=200)) == 1


@pytest.mark.timeout(180)
async def test_an_order_service_killed_at_any_failpoint_recovers_and_trades_on(tmp_path: Path) -> None:
    deaths = await kills.sweep(tmp_path, A_FEW)
    assert [death.failpoint for death in deaths] == [name for name, _ in A_FEW]
    assert [death.differences for death in deaths] == [[] for _ in deaths]


def test_every_named_place_of_the_services_is_one_that_make_kills_dies_at() -> None:
    sources = [path for top in ("order_service", "strategy_service") for path in (ROOT / top).rglob("*.py")]
    named = {
        name
        for path in sources
        for name in re.findall(r'failpoints\.hit\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert named == {*dict(kills.FAILPOINTS), *strategy_kills.FAILPOINTS}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("failpoint", strategy_kills.FAILPOINTS)
async def test_a_strategy_service_killed_as_it_acts_on_a_wish_goes_on_as_wished(
    tmp_path: Path, failpoint: str
) -> None:
    death = await strategy_kills.die_at(tmp_path, failpoint)
    assert death.differences == []
