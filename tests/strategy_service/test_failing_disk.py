"""A disk that takes nothing for a while costs no user its end, no order its cancel and no round its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal as D
from pathlib import Path

import pytest

from otopilot.order import LegRole, OrderId, RequestId
from otopilot.rpc import Fault
from strategy_service.history import Ended
from strategy_service.reasons import RoundResult
from strategy_service.runs import Leftover, Runs
from strategy_service.state import Outcome, RoundEnd, StopMode
from strategy_service.status import UserState
from tests.strategy_service.builders import START, strategy, trading
from tests.strategy_service.test_leftovers import with_a_buy
from tests.strategy_service.test_supervisor import FAST, Make, states

LEFT = Leftover("s", "1", OrderId("o1"), RequestId(""), LegRole.WORKING)
ENDED = Ended(Outcome.STOPPED, START, ("o1",))


@contextmanager
def nothing_written(runs: Runs) -> Iterator[None]:
    runs._db.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        runs._db.execute("PRAGMA query_only = OFF")


async def test_users_begin_and_end_while_nothing_can_be_written_and_the_table_learns_it_afterwards(
    desk: Make,
) -> None:
    d = desk(strategy(users=("1", "2"), target="300", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    with nothing_written(d.runs):
        await d.until(lambda: set(states(d.supervisor).values()) == {UserState.REACHED})
        assert d.runs.ended_users("s") == {}
        assert d.supervisor.status("s").ended_at is not None
    await d.until(lambda: set(d.runs.ended_users("s")) == {"1", "2"})
    (run,) = d.runs.runs()
    assert not run.desired
    assert run.ended_at is not None
    assert d.runs.first_cycle("s", "1", 7) == 0, "as it was when nothing could be written"


async def test_a_stop_is_carried_out_while_nothing_can_be_written_and_so_is_what_it_left(desk: Make) -> None:
    d = await with_a_buy(desk)
    d.orders.down = True
    with nothing_written(d.runs):
        await d.supervisor.stop("s", mode=StopMode.CANCEL, request_id="r")
        (user,) = d.supervisor.status("s").users
        assert (user.state, user.left_open, d.runs.leftovers()) == (UserState.STOPPED, ("o1",), [])
        d.orders.down = False
        await d.until(lambda: [role for _, role, _ in d.orders.canceled] == [LegRole.WORKING])
    await d.until(lambda: [end.left_open for end in d.runs.ended_users("s").values()] == [("o1",)])
    assert d.runs.leftovers() == []
    assert d.runs.known("r") is not None


async def test_who_is_listed_again_takes_part_again_though_its_end_could_not_be_written(desk: Make) -> None:
    slow = {**FAST, "fill_timeout_seconds": D(1)}
    both, one = strategy(users=("1", "2"), target="100000", **slow), strategy(target="100000", **slow)
    d = desk(both)
    d.orders.fill_seconds, d.manager.reload = None, lambda: None
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: bool(d.orders.buys("2")))
    for revision, config in (("r2", one), ("r3", both)):
        d.configure(trading(config, revision=revision))
        d.supervisor.reload()
    with nothing_written(d.runs):
        await d.until(lambda: len(d.orders.buys("2")) > 1)
    await d.until(lambda: states(d.supervisor)["2"] is UserState.RUNNING)
    assert (d.runs.stop_wishes("s"), d.runs.ended_users("s")) == ({}, {})


async def test_a_reload_that_could_not_be_written_is_obeyed_when_it_can_and_the_rest_of_it_at_once(
    desk: Make,
) -> None:
    d = desk(strategy("t", target="100000", **FAST), strategy("s", users=("2",), target="100000", **FAST))
    d.manager.reload = lambda: None
    await d.supervisor.open()
    await d.supervisor.start()
    await d.until(lambda: bool(d.orders.buys("1")) and bool(d.orders.buys("2")))
    with nothing_written(d.runs):
        more = strategy("t", users=("1", "3"), target="90000", **FAST)
        d.configure(trading(more, strategy("s", users=("2",), enabled=False, target="100000"), revision="r2"))
        d.supervisor.reload()
        await d.until(lambda: states(d.supervisor, "s") == {"2": UserState.STOPPED})
        assert "3" not in states(d.supervisor, "t")
    await d.until(lambda: bool(d.orders.buys("3")))
    assert d.orders.scopes["t"].target == 90000  # type: ignore[index]


async def test_what_could_not_be_remembered_is_not_begun(desk: Make) -> None:
    d = desk(strategy(target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    with nothing_written(d.runs):
        with pytest.raises(Fault, match="the run table cannot be written"):
            d.supervisor.pause("s", paused=True)
        assert states(d.supervisor) == {"1": UserState.RUNNING}
        await d.supervisor.stop("s")
        with pytest.raises(Fault, match="the run table cannot be written") as refused:
            await d.supervisor.start("s")
        assert refused.value.reason == "RUN_TABLE"


def test_what_has_happened_is_written_in_its_order_before_a_run_begins_anew(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs.db")
    runs.begin("s", START, "r1")
    with nothing_written(runs):
        runs.leave(LEFT)
        runs.end_user("s", "1", ENDED)
        runs.forget_user("s", "1")
        runs.end_user("s", "2", ENDED)
        runs.end("s", START)
        runs.history.add(
            "s", "1", RoundEnd(cycle=1, result=RoundResult.FILLED, started_at=START, ended_at=START)
        )
        runs.write()
        for asked in (lambda: runs.begin("s", START, "r2"), lambda: runs.desire("s")):
            with pytest.raises(Fault, match="the run table cannot be written"):
                asked()
        assert len(runs.history.rounds("s", "1", None, 10)) == 0
    runs.close()
    again = Runs(tmp_path / "runs.db")
    assert again.ended_users("s") == {"2": ENDED}
    assert [(run.desired, run.ended_at) for run in again.runs()] == [(False, START)]
    assert again.leftovers() == [LEFT]
    assert len(again.history.rounds("s", "1", None, 10)) == 1
    with nothing_written(again):
        again.end("s", START)
        again.taken(LEFT)
    again.begin("s", START, "r2")
    assert [(run.desired, run.ended_at) for run in again.runs()] == [(True, None)]
    again.close()
