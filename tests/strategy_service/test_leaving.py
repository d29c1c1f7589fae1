"""SIGTERM drains the loops; what was wanted goes on with the next process, without a person."""

from decimal import Decimal as D

from otopilot.order import LegRole
from strategy_service.state import StopMode
from strategy_service.status import UserState
from tests.strategy_service.builders import strategy
from tests.strategy_service.test_supervisor import FAST, Make, states


async def test_a_drain_for_the_process_leaves_no_buy_and_the_run_goes_on_in_the_next(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", **FAST))
    d.orders.fill_seconds = None
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 2)
    await d.supervisor.drain()
    assert {role for _, role, _ in d.orders.canceled} == {LegRole.WORKING}
    assert all(order.is_over for order in d.orders.orders.values())
    placed = len(d.orders.buys())
    await d.supervisor.aclose()
    assert [run.desired for run in d.runs.runs()] == [True]
    d.orders.fill_seconds = 0.005
    async with d.another() as again:
        await d.until(lambda: len(d.orders.buys()) >= placed + 4)
        assert set(states(again).values()) == {UserState.RUNNING}


async def test_who_was_stopped_before_stays_stopped_in_the_next(desk: Make) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", **FAST))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys("2")) >= 2)
    await d.supervisor.stop("s", "1")
    d.runs.wish_stop("s", "2", StopMode.CANCEL)  # asked for, and not done when the process was told to go
    await d.supervisor.drain()
    await d.supervisor.aclose()
    one = len(d.orders.buys("1"))
    async with d.another() as again:
        await d.until(lambda: states(again) == {"1": UserState.STOPPED, "2": UserState.STOPPED})
        assert not again.status("s").is_running
    assert len(d.orders.buys("1")) == one


async def test_who_reaches_its_target_while_the_process_goes_stays_finished(desk: Make) -> None:
    d = desk(strategy(target="60", trade_interval_seconds=D(5)))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: bool(d.orders.buys()))
    d.orders.history["1"] = D(60)
    await d.until(lambda: not d.supervisor.status("s").is_running)
    await d.supervisor.drain()
    await d.supervisor.aclose()
    async with d.another() as again:
        assert not again.status("s").is_running
        await d.until(lambda: states(again) == {"1": UserState.REACHED})
