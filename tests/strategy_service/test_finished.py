"""What is finished stays finished, and what was wished stays wished."""

import sqlite3
from decimal import Decimal as D
from pathlib import Path

import pytest

from otopilot.order import LegRole
from strategy_service.runs import Ended, Runs
from strategy_service.state import Met, Outcome, Phase, Stop, StopMode
from strategy_service.status import UserState
from tests.strategy_service.builders import START, strategy, trading
from tests.strategy_service.play import Play
from tests.strategy_service.test_supervisor import FAST, Make, states


async def test_midnight_does_not_revive_a_user_of_a_shared_target_that_was_reached(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="200", trade_interval_seconds=D(1)))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: bool(d.orders.buys("1")) and bool(d.orders.buys("2")))
    d.orders.history["1"] = D(200)
    await d.until(lambda: UserState.REACHED in states(d.supervisor).values())
    d.orders.history["1"] = D(-100000)  # as if a new day had begun before the other looked
    placed = len(d.orders.buys())
    await d.until(lambda: states(d.supervisor) == {"1": UserState.REACHED, "2": UserState.REACHED})
    assert len(d.orders.buys()) == placed


async def test_a_restart_after_midnight_ends_the_others_of_a_reached_run_too(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", **FAST))
    d.runs.begin("s", START, "r1")
    d.runs.end_user("s", "1", Ended(Outcome.REACHED, START, ()))
    async with d.another() as again:
        await d.until(lambda: states(again) == {"1": UserState.REACHED, "2": UserState.REACHED})
    assert d.orders.buys() == []


def test_a_buy_that_is_out_when_the_shared_target_is_met_is_watched_to_its_end() -> None:
    play = Play()
    play.begins()
    play.accepts()
    play.said(Met(Outcome.REACHED))
    assert play.state.phase is Phase.WORKING


@pytest.mark.parametrize("weaker", [StopMode.DRAIN, StopMode.CANCEL])
def test_a_weaker_stop_never_takes_back_a_stronger_one(weaker: StopMode) -> None:
    play = Play()
    play.begins()
    play.accepts()
    play.said(Stop(StopMode.FLATTEN))
    by = play.state.stop_by
    play.wait(0.1)
    play.said(Stop(weaker))
    assert (play.state.stop, play.state.stop_by) == (StopMode.FLATTEN, by)


def test_the_run_table_keeps_the_strongest_stop_and_reads_an_earlier_releases_wishes(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with sqlite3.connect(path) as db:
        db.execute(
            "CREATE TABLE stop_wishes (strategy_id TEXT NOT NULL, user_id TEXT NOT NULL,"
            " PRIMARY KEY (strategy_id, user_id)) STRICT"
        )
        db.execute("INSERT INTO stop_wishes VALUES ('s', '1')")
    db.close()
    runs = Runs(path)
    assert runs.stop_wishes("s") == {"1": StopMode.DRAIN}
    runs.wish_stop("s", "1", StopMode.FLATTEN)
    runs.wish_stop("s", "1", StopMode.CANCEL)
    assert runs.stop_wishes("s") == {"1": StopMode.FLATTEN}
    runs.close()


async def test_killed_while_it_cancels_everything_it_still_cancels_everything_after_the_restart(
    desk: Make,
) -> None:
    d = desk(strategy(target="100000", trade_interval_seconds=D(5), fill_timeout_seconds=D(1)))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: any(not o.is_over and o.working.is_over for o in d.orders.orders.values()))
    d.runs.wish_stop("s", "1", StopMode.CANCEL)  # journaled, and then the process went
    await d.supervisor.aclose()
    async with d.another() as again:
        await d.until(lambda: states(again) == {"1": UserState.STOPPED})
    assert [role for _, role, _ in d.orders.canceled] == [LegRole.PENDING]
    assert all(order.is_over for order in d.orders.orders.values())


async def test_a_start_revives_who_reached_its_own_target_when_that_was_raised(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="60", target_scope="per_user", **FAST))
    d.orders.users.remove("2")  # keeps the run running
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: states(d.supervisor)["1"] is UserState.REACHED)
    placed = len(d.orders.buys("1"))
    raised = strategy(users=("1", "2"), target="120", target_scope="per_user", **FAST)
    d.configure(trading(raised, revision="r2"))
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys("1")) > placed)
