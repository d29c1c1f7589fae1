"""Who has no loop at the moment may have orders on the book all the same: a stop reaches those too."""

import asyncio
from collections.abc import Callable
from decimal import Decimal as D

import pytest

from otopilot.order import LegRole
from strategy_service.state import PlaceOto, PlaceSell, Rules, StopMode
from strategy_service.status import UserState
from tests.strategy_service.builders import strategy
from tests.strategy_service.conftest import Desk
from tests.strategy_service.test_supervisor import FAST, Make, states

Trouble = Callable[[Desk], None]


async def resting_then_without_a_loop(desk: Make, monkeypatch: pytest.MonkeyPatch, how: str) -> Desk:
    """User 1 has SELLs on the book; its loop is gone."""
    monkeypatch.setattr("strategy_service.user_run._BLOCKED_SECONDS", 0.2)
    d = desk(strategy(users=("1", "2"), target="100000", **FAST), places=1 if how == "parked" else 10)
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys("1")) >= 3)
    if how == "parked":
        d.supervisor.pause("s", "1", paused=True)
        await d.until(lambda: bool(d.orders.buys("2")))
    else:

        def crash(asked: PlaceOto | PlaceSell, rules: Rules) -> None:
            if rules.user_id == "1":
                raise RuntimeError("boom")

        d.orders.on_place = crash
        await d.until(lambda: states(d.supervisor)["1"] is UserState.BLOCKED)
    return d


@pytest.mark.parametrize("how", ["crashed", "parked"])
@pytest.mark.parametrize("mode", [StopMode.CANCEL, StopMode.FLATTEN])
async def test_its_resting_orders_are_cancelled(
    desk: Make, monkeypatch: pytest.MonkeyPatch, how: str, mode: StopMode
) -> None:
    d = await resting_then_without_a_loop(desk, monkeypatch, how)
    d.orders.on_place = lambda asked, rules: None
    (status,) = await d.supervisor.stop("s", "1", mode)
    mine = [o for o in d.orders.orders.values() if o.user_id == "1" and not o.is_over]
    assert status.users[0].state is UserState.STOPPED
    assert [o.order_id for o in mine] == list(status.users[0].left_open)
    assert len(mine) == (0 if mode is StopMode.CANCEL else 1)  # the SELL of the inventory


async def test_a_queued_user_is_stopped_too_and_its_orders_of_an_earlier_process_are_cancelled(
    desk: Make,
) -> None:
    d = desk(strategy(users=("1", "2"), target="100000", **FAST), places=2)
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys("2")) >= 2)
    await d.supervisor.aclose()
    d.manager.config = type(d.manager.config)(
        path="x", revision="r2", strategies=d.manager.config.strategies, max_concurrent_users=1
    )
    async with d.another() as again:
        await d.until(lambda: states(again).get("2") is UserState.QUEUED)
        (status,) = await again.stop("s", "2", StopMode.CANCEL)
        assert status.users[1].state is UserState.STOPPED
        assert status.users[1].left_open == ()
        assert {o.user_id for o in d.orders.orders.values() if not o.is_over} == {"1"}
        one = len(d.orders.buys("1"))
        await d.until(lambda: len(d.orders.buys("1")) > one)


async def test_a_crash_while_it_cancels_leaves_the_wishes_to_be_carried_out(desk: Make) -> None:
    d = desk(strategy(target="100000", trade_interval_seconds=D(5), fill_timeout_seconds=D(1)))
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: any(not o.is_over and o.working.is_over for o in d.orders.orders.values()))
    await asyncio.sleep(1.2)  # its position was read
    loop = d.supervisor._roster.runs["s"].users["1"]._loop

    def boom(*_: object) -> None:
        raise RuntimeError("boom")

    loop._moment = boom
    await d.supervisor.stop("s", mode=StopMode.CANCEL)
    await d.until(lambda: all(o.is_over for o in d.orders.orders.values()))
    assert [role for _, role, _ in d.orders.canceled] == [LegRole.PENDING]


@pytest.mark.parametrize("mode", list(StopMode))
async def test_a_stop_right_after_a_restart_answers_when_the_drain_has_ended(
    desk: Make, mode: StopMode
) -> None:
    d = desk(strategy(target="100000", trade_interval_seconds=D("0.05"), fill_timeout_seconds=D("0.3")))
    d.orders.fill_seconds = None
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) == 1)
    await d.supervisor.aclose()
    async with d.another() as again:
        (status,) = await again.stop("s", mode=mode)  # before any loop of this process began
        assert not status.is_running
        assert all(order.is_over for order in d.orders.orders.values())
        assert len(d.orders.buys()) == 1
