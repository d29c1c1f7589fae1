"""A reload acts at the next cycle and within a second, whenever it comes: measured on virtual time."""

import asyncio
from decimal import Decimal as D
from typing import Any

import pytest

from strategy_service.status import UserState
from tests.strategy_service.builders import strategy, trading
from tests.strategy_service.conftest import Desk, virtual_desk
from tests.virtual_loop import virtual

MOMENTS = [0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.99]
NEW = D("0.119")  # what 12 USDT buy
SAME_MOMENT = 0.01


def reload(desk: Desk, *, by_rpc: bool, **changes: Any) -> float:
    """New values in force: by the service's own reload, or by whoever holds its manager; when that was."""
    desk.configure(trading(strategy(**({"target": "100000"} | changes)), revision="r2"))
    if by_rpc:
        desk.manager.reload = lambda: None
        desk.supervisor.reload()
    return asyncio.get_running_loop().time()


def buys(desk: Desk, user: str) -> list[tuple[float, D]]:
    """When a user's BUYs were admitted, and of how much."""
    return [(moment, asked.quantity) for moment, who, asked in desk.orders.log if who == user]


@pytest.mark.parametrize("by_rpc", [True, False])
@pytest.mark.parametrize("moment", MOMENTS)
@virtual
async def test_it_acts_within_a_second_and_no_later_round_has_old_values(moment: float, by_rpc: bool) -> None:
    async with virtual_desk(strategy(users=("1", "2"), target="100000")) as desk:
        await desk.supervisor.start("s")
        await asyncio.sleep(5 + moment)
        at = reload(desk, by_rpc=by_rpc, users=("1", "3"), target="90000", single_trade_amount_usdt=D(12))
        await asyncio.sleep(1.0 + SAME_MOMENT)
        acted_by = at if by_rpc else at + 1.0
        (scope,) = desk.orders.scopes.values()
        assert (scope.target, [member.user_id for member in scope.members]) == (90000, ["1", "3"])
        assert desk.supervisor.status("s").config_revision == "r2"
        if by_rpc:
            assert {quantity for begun, quantity in buys(desk, "1") if begun > at} == {NEW}
        await asyncio.sleep(1.2)
        assert {quantity for begun, quantity in buys(desk, "1") if begun > acted_by + SAME_MOMENT} == {NEW}
        assert at <= buys(desk, "3")[0][0] <= acted_by + SAME_MOMENT
        assert all(begun <= acted_by + SAME_MOMENT for begun, _ in buys(desk, "2"))
        assert [user.user_id for user in desk.supervisor.status("s").users] == ["1", "3"]


@virtual
async def test_an_order_that_is_out_keeps_its_price_and_its_timeout() -> None:
    async with virtual_desk(strategy(target="100000", fill_timeout_seconds=D(5))) as desk:
        desk.orders.fill_seconds = None
        await desk.supervisor.start("s")
        await asyncio.sleep(1.0)
        (placed,) = desk.orders.orders.values()
        reload(desk, by_rpc=True, fill_timeout_seconds=D("0.5"), single_trade_amount_usdt=D(12))
        await asyncio.sleep(3.5)
        assert list(desk.orders.orders.values()) == [placed]
        await asyncio.sleep(1.0)
        assert [order_id for order_id, _, _ in desk.orders.canceled][:1] == [placed.order_id]


@pytest.mark.parametrize(("old", "new"), [("30", "1"), ("3600", "2"), ("2", "1")])
@virtual
async def test_a_shorter_interval_does_not_wait_for_the_end_of_the_longer_one(old: str, new: str) -> None:
    async with virtual_desk(
        strategy(users=("1", "2", "3"), target="100000", trade_interval_seconds=D(old))
    ) as desk:
        await desk.supervisor.start("s")
        await asyncio.sleep(60.5)
        begun = {user: len(buys(desk, user)) for user in "123"}
        at = reload(desk, by_rpc=True, users=("1", "2", "3"), trade_interval_seconds=D(new))
        await asyncio.sleep(float(new) + 0.1)
        for user in "123":
            assert len(buys(desk, user)) > begun[user]
        starts = {user: desk.orders.starts(user)[-1] for user in "123"}
        assert all(start >= at for start in starts.values())
        await asyncio.sleep(5 * float(new))
        for user in "123":  # on the new grid
            assert desk.orders.starts(user)[-1] - starts[user] == pytest.approx(5 * float(new), abs=0.05)


@virtual
async def test_a_longer_interval_counts_from_the_last_rounds_start() -> None:
    async with virtual_desk(strategy(target="100000")) as desk:
        await desk.supervisor.start("s")
        await asyncio.sleep(5.5)
        last = desk.orders.starts("1")[-1]
        reload(desk, by_rpc=True, trade_interval_seconds=D(10))
        await asyncio.sleep(25)
        assert desk.orders.starts("1")[-2:] == pytest.approx([last + 10, last + 20], abs=0.05)
        assert desk.supervisor.status("s").users[0].state is UserState.RUNNING
