"""A stop answers within the fill timeout and a second, whatever order_service does, on virtual time."""

import asyncio
import dataclasses
from decimal import Decimal as D

import msgspec
import pytest

from otopilot.order import LegStatus, OrderId, OrderState
from strategy_service.config import StrategyConfig
from strategy_service.state import StopMode
from strategy_service.status import StrategyStatus, UserState
from tests.strategy_service.builders import in_doubt, strategy, user_settings
from tests.strategy_service.conftest import Desk, virtual_desk
from tests.virtual_loop import virtual

# Strategy, user, and the longest fill timeout of whom it means.
TARGETS = [("", "", 6.0), ("s", "", 4.0), ("s", "1", 2.0), ("s", "2", 4.0), ("", "3", 6.0)]
TROUBLES = ["none", "hanging", "lost", "gone", "hanging from the start", "hanging halfway"]


def strategies() -> tuple[StrategyConfig, StrategyConfig]:
    """User 1 waits 2 s for a fill, user 2 4 s, user 3, in the other strategy, 6 s."""
    own = (user_settings("1"), user_settings("2", fill_timeout_seconds=D(4)))
    return (
        dataclasses.replace(strategy(users=("1", "2"), target="100000"), users=own),
        strategy("t", users=("3",), target="100000", fill_timeout_seconds=D(6)),
    )


async def begun(desk: Desk, trouble: str) -> None:
    """Everybody has a BUY out that does not fill, or asks in vain; then the trouble begins."""
    orders = desk.orders
    orders.fill_seconds = None
    if trouble == "lost":
        orders.lose_answers = 1_000_000
    await desk.supervisor.start()
    if trouble == "hanging from the start":
        orders.hanging = True
    await asyncio.sleep(1.5)
    if trouble == "hanging":
        orders.hanging = True
    elif trouble == "gone":
        orders.down = True
        orders.cut()
    elif trouble == "hanging halfway":
        asyncio.get_running_loop().call_later(1.0, setattr, orders, "hanging", True)


def open_of(desk: Desk, status: StrategyStatus) -> dict[str, set[OrderId]]:
    """What the venue has of those users of it that were stopped."""
    return {
        user.user_id: {
            order.order_id
            for order in desk.orders.orders.values()
            if (order.user_id, order.strategy_id) == (user.user_id, status.strategy_id) and not order.is_over
        }
        for user in status.users
        if user.state is UserState.STOPPED
    }


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("mode", list(StopMode))
@pytest.mark.parametrize(("strategy_id", "user_id", "timeout"), TARGETS)
@virtual
async def test_every_stop_answers_within_the_fill_timeout_and_a_second(
    strategy_id: str, user_id: str, timeout: float, mode: StopMode, trouble: str
) -> None:
    async with virtual_desk(*strategies()) as desk:
        await begun(desk, trouble)
        loop = asyncio.get_running_loop()
        began = loop.time()
        statuses = await desk.supervisor.stop(strategy_id, user_id, mode)
        assert loop.time() - began <= timeout + 1 + 1e-6
        assert statuses
        for status in statuses:
            for user in status.users:
                if user_id in ("", user.user_id):
                    # Who never read its account cannot name anything: it goes on stopping until it can.
                    unread = trouble == "hanging from the start" and user.state is UserState.STOPPING
                    assert unread or user.state is UserState.STOPPED
            for who, ids in open_of(desk, status).items():
                if user_id in ("", who) and trouble != "lost":
                    named = next(set(user.left_open) for user in status.users if user.user_id == who)
                    assert ids <= named


@virtual
async def test_an_order_in_doubt_is_named_at_once_and_delays_nobody() -> None:
    async with virtual_desk(*strategies()) as desk:
        await begun(desk, "none")
        first = next(order for order in desk.orders.orders.values() if order.user_id == "1")
        sent = tuple(msgspec.structs.replace(leg, status=LegStatus.UNKNOWN) for leg in first.legs)
        doubted = in_doubt(msgspec.structs.replace(first, legs=sent, accepted_at=None))
        assert doubted.state is OrderState.IN_DOUBT
        desk.orders.orders[first.order_id] = doubted
        desk.orders.tell(order=doubted)
        await asyncio.sleep(0.01)
        began = asyncio.get_running_loop().time()
        (status,) = await desk.supervisor.stop("s", "1")
        assert asyncio.get_running_loop().time() - began < 1
        assert status.users[0].left_open == (first.order_id,)
