"""A stop leaves no BUY without a cancel wish, however slow or dead order_service is."""

import asyncio
from decimal import Decimal as D

import pytest

from otopilot.order import LegRole, OrderId, RequestId
from strategy_service.runs import Leftover
from strategy_service.state import PlaceOto, PlaceSell, Rules, StopMode
from strategy_service.status import UserState
from tests.strategy_service.builders import strategy
from tests.strategy_service.conftest import Desk
from tests.strategy_service.test_supervisor import Make

SLOW = {"trade_interval_seconds": D("0.05"), "fill_timeout_seconds": D("0.3")}


async def with_a_buy(desk: Make) -> Desk:
    d = desk(strategy(target="100000", **SLOW))
    d.orders.fill_seconds = None
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) == 1)
    return d


async def test_a_stop_while_the_order_service_is_down_cancels_the_buy_when_it_is_back(desk: Make) -> None:
    d = await with_a_buy(desk)
    d.orders.down = True
    await d.supervisor.stop("s", mode=StopMode.CANCEL)
    (user,) = d.supervisor.status("s").users
    assert (user.state, user.left_open) == (UserState.STOPPED, ("o1",))
    assert len(d.runs.leftovers()) == 1
    d.orders.down = False
    await d.until(lambda: d.runs.leftovers() == [], seconds=6)
    assert [role for _, role, _ in d.orders.canceled] == [LegRole.WORKING]


async def test_what_is_left_is_taken_up_at_the_next_start_even_if_nothing_runs(desk: Make) -> None:
    d = await with_a_buy(desk)
    d.orders.down = True
    await d.supervisor.stop("s")
    await d.supervisor.aclose()
    d.orders.down = False
    async with d.another() as again:
        await d.until(lambda: all(order.is_over for order in d.orders.orders.values()))
        assert not again.status("s").is_running
    assert d.runs.leftovers() == []


async def test_a_buy_whose_answer_was_lost_at_the_stop_is_looked_up_and_cancelled(desk: Make) -> None:
    d = desk(strategy(target="100000", **SLOW))
    d.orders.fill_seconds = None
    await d.supervisor.open()
    d.orders.lose_answers = 1

    def go_down(asked: PlaceOto | PlaceSell, rules: Rules) -> None:
        d.orders.down = True
        d.orders.tell = lambda **news: None  # type: ignore[method-assign]

    d.orders.on_place = go_down
    await d.supervisor.start("s")
    await d.until(lambda: bool(d.orders.orders))
    await d.supervisor.stop("s")
    assert [left.request_id for left in d.runs.leftovers()] == ["s/1/1/0"]
    d.orders.down = False
    await d.until(lambda: d.runs.leftovers() == [], seconds=6)
    assert [order_id for order_id, _, _ in d.orders.canceled] == ["o1"]
    assert d.supervisor.status("s").users[0].left_open == ("o1",)  # found later, named all the same
    assert d.runs.ended_users("s")["1"].left_open == ("o1",)


async def test_a_stop_waits_for_a_slow_answer_to_its_last_wish(desk: Make) -> None:
    d = await with_a_buy(desk)
    cancel = d.orders.cancel

    async def slow(*arguments: object) -> object:
        await asyncio.sleep(0.4)
        return await cancel(*arguments)  # type: ignore[arg-type]

    d.orders.cancel = slow  # type: ignore[method-assign, assignment]
    await d.supervisor.stop("s")
    assert d.orders.canceled
    assert d.runs.leftovers() == []


@pytest.mark.parametrize("mode", list(StopMode))
async def test_a_stop_answers_in_its_time_when_the_order_service_hangs(desk: Make, mode: StopMode) -> None:
    d = await with_a_buy(desk)

    async def hangs(*arguments: object) -> object:
        await asyncio.sleep(60)
        raise AssertionError

    for name in ("cancel", "find", "position", "volume"):
        setattr(d.orders, name, hangs)
    clock = asyncio.get_running_loop().time
    began = clock()
    (status,) = await d.supervisor.stop("s", mode=mode)
    assert clock() - began < 0.3 + 1.0 + 1.0  # the last second is this machine's
    assert status.users[0].left_open == ("o1",)
    role = LegRole.WORKING if mode is StopMode.DRAIN else LegRole.PENDING  # with its SELL, if it fills
    assert [(left.order_id, left.role) for left in d.runs.leftovers()] == [("o1", role)]


async def test_a_new_start_of_the_user_takes_its_orders_over_from_what_was_left(desk: Make) -> None:
    d = desk(strategy(target="100000", **SLOW))
    d.runs.leave(Leftover("s", "1", OrderId(""), RequestId("s/1/1/0"), LegRole.WORKING))
    d.orders.fill_seconds = 0.1
    await d.supervisor.open()
    await d.supervisor.start("s")
    await d.until(lambda: len(d.orders.buys()) >= 3)
    assert d.runs.leftovers() == []
    assert d.orders.canceled == []


async def test_a_cancel_takes_the_sell_too_of_a_buy_that_fills_after_the_loops_end(desk: Make) -> None:
    d = desk(strategy(target="100000", **SLOW))
    await d.supervisor.open()
    d.orders.lose_answers = 1

    def go_down(asked: PlaceOto | PlaceSell, rules: Rules) -> None:
        d.orders.down = True
        d.orders.tell = lambda **news: None  # type: ignore[method-assign]

    d.orders.on_place = go_down
    await d.supervisor.start("s")
    await d.until(lambda: bool(d.orders.orders))
    await d.supervisor.stop("s", mode=StopMode.CANCEL)
    assert d.orders.orders[OrderId("o1")].working.is_over  # it filled, and nobody here knows
    d.orders.down = False
    await d.until(lambda: d.runs.leftovers() == [], seconds=6)
    await d.until(lambda: d.orders.orders[OrderId("o1")].is_over)
    assert [role for _, role, _ in d.orders.canceled] == [LegRole.PENDING]
