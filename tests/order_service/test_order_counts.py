"""An account's order counts: what an OTO takes and gives back, what the venue tells, who is held back."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from order_service.denied import Denied
from order_service.venues.port import Limits, Placed, TooManyOrders
from otopilot.order import LegRole, Order, OrderState, UserId
from tests.order_service.desk import Desk, spot_venue
from tests.order_service.fakes import FakeAccount, accepted
from tests.virtual_loop import virtual

ORDERS = Limits(orders=((4, 10.0), (8, 86_400.0)))
ONE = UserId("1")


@virtual
async def test_an_oto_costs_two_orders_until_a_fill(tmp_path: Path) -> None:
    """Reliability 7: the bucket is the user's own."""
    async with Desk(tmp_path / "j.db", spot_venue(), limits=ORDERS) as desk:
        await desk.add("1", "2")
        await desk.sleep(10 - desk.clock.now().timestamp() % 10)
        for _ in range(2):
            order = await desk.place()
            await desk.manager.cancel(order.order_id, LegRole.WORKING, "x")
            await desk.sleep(0.5)
        with pytest.raises(Denied) as info:
            await desk.place()
        assert info.value.reason == "RATE_LIMIT"
        assert "until" in info.value.metadata
        other = await desk.place("2")
        desk.account("2").fill(desk.account("2").row(other))
        await desk.sleep(1)
        await desk.place("2", quantity=desk.ask().quantity)  # three of four: the BUY counts no more
        await desk.sleep(10)
        await desk.place()


@virtual
async def test_a_denied_placement_uses_up_no_order_count(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue(), limits=ORDERS) as desk:
        await desk.add("1", target="1")
        for _ in range(10):
            with pytest.raises(Denied) as info:
                await desk.place()
            assert info.value.reason == "DENIED_SCOPE"


@virtual
async def test_a_caller_that_goes_before_anything_is_queued_uses_up_no_order_count(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue(), limits=ORDERS) as desk:
        await desk.add("1")
        desk.venue.delay = 1.0  # of the last price
        for _ in range(5):
            caller = asyncio.create_task(desk.place())
            await desk.sleep(0.1)
            caller.cancel()
            await asyncio.wait({caller})
        desk.venue.delay = 0.0
        assert (await desk.place()).state is OrderState.WORKING


@virtual
async def test_the_accounts_own_count_as_told_is_believed(tmp_path: Path) -> None:
    async def counted(account: FakeAccount, order: Order) -> Placed:
        placed = await accepted(account, order)
        return Placed(
            legs=placed.legs, list_id=placed.list_id, accepted_at=placed.accepted_at, order_counts={86_400: 8}
        )

    async with Desk(tmp_path / "j.db", spot_venue(), limits=ORDERS) as desk:
        await desk.add("1")
        desk.account().placements.append(counted)
        order = await desk.place()
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "x")
        await desk.sleep(60)
        with pytest.raises(Denied) as info:
            await desk.place()
        assert info.value.metadata["until"].startswith("2026-06-02T00:00:00")


@virtual
async def test_too_many_orders_stops_that_users_placements_until_its_time(
    tmp_path: Path,
) -> None:
    async def refusing(account: FakeAccount, order: Order) -> Placed:
        raise TooManyOrders("-1015", "x", account.now() + timedelta(seconds=20))

    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2")
        desk.account().placements.append(refusing)
        assert (await desk.place()).state is OrderState.REJECTED
        with pytest.raises(Denied) as info:
            await desk.place()
        assert info.value.reason == "RATE_LIMIT"
        await desk.place("2")
        await desk.sleep(18)  # what is left is within the deadline: it waits
        assert (await desk.place()).state is OrderState.WORKING
