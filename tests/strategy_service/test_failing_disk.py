"""A disk that takes nothing for a while costs no user its end, no order its cancel and no round its place."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from otopilot.order import LegRole, OrderId, RequestId
from strategy_service.history import Ended
from strategy_service.reasons import RoundResult
from strategy_service.runs import Leftover, Runs
from strategy_service.state import Outcome, RoundEnd, StopMode
from strategy_service.status import UserState
from tests.strategy_service.builders import START, strategy
from tests.strategy_service.test_leftovers import with_a_buy
from tests.strategy_service.test_supervisor import FAST, Make, states

LEFT = Leftover("s", "1", OrderId("o1"), RequestId(""), LegRole.WORKING)
ENDED = Ended(Outcome.STOPPED, START, ("o1",))


@contextmanager
def nothing_written(runs: Runs) -> Iterator[None]:
    runs._db.execute("PRAGMA query_only = ON")
    yield
    runs._db.execute("PRAGMA query_only = OFF")


async def test_users_end_while_nothing_can_be_written_and_the_table_learns_it_afterwards(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="300", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: bool(d.orders.buys("1")) and bool(d.orders.buys("2")))
    with nothing_written(d.runs):
        await d.until(lambda: set(states(d.supervisor).values()) == {UserState.REACHED})
        assert d.runs.ended_users("s") == {}
        assert d.supervisor.status("s").ended_at is not None
    await d.until(lambda: set(d.runs.ended_users("s")) == {"1", "2"})
    (run,) = d.runs.runs()
    assert not run.desired
    assert run.ended_at is not None


async def test_a_cancel_wish_that_could_not_be_written_is_carried_out_all_the_same(desk: Make) -> None:
    d = await with_a_buy(desk)
    d.orders.down = True
    stopping = asyncio.ensure_future(d.supervisor.stop("s", mode=StopMode.CANCEL))
    await d.until(lambda: d.runs.stop_wishes("s") == {"1": StopMode.CANCEL})
    with nothing_written(d.runs):
        await stopping
        (user,) = d.supervisor.status("s").users
        assert (user.state, user.left_open, d.runs.leftovers()) == (UserState.STOPPED, ("o1",), [])
        d.orders.down = False
        await d.until(lambda: [role for _, role, _ in d.orders.canceled] == [LegRole.WORKING])
    await d.until(lambda: [end.left_open for end in d.runs.ended_users("s").values()] == [("o1",)])
    assert d.runs.leftovers() == []


def test_what_has_happened_is_written_in_its_order_before_anything_else_is() -> None:
    runs = Runs(None)
    runs.begin("s", START, "r1")
    with nothing_written(runs):
        runs.leave(LEFT)
        runs.end_user("s", "1", ENDED)
        runs.end("s", START)
        runs.history.add(
            "s", "1", RoundEnd(cycle=1, result=RoundResult.FILLED, started_at=START, ended_at=START)
        )
        runs.write()
        for asked in (lambda: runs.begin("s", START, "r2"), lambda: runs.forget_user("s", "1")):
            with pytest.raises(sqlite3.OperationalError):
                asked()
    runs.forget_user("s", "1")
    assert runs.ended_users("s") == {}, "the end was written first, and then forgotten"
    assert [run.desired for run in runs.runs()] == [False]
    assert runs.leftovers() == [LEFT]
    assert len(runs.history.rounds("s", "1", None, 10)) == 1
    with nothing_written(runs):
        runs.taken(LEFT)
        runs.write()
    runs.close()
