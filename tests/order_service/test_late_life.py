"""Orders that show life after absence was proven: opened again, adopted, cancelled (architecture 5.6)."""

from pathlib import Path

import pytest

from order_service.denied import Denied
from otopilot.order import LegRole, OrderState
from tests.order_service.behaviours import late
from tests.order_service.desk import HOLD, Desk, absent, alpha_venue, spot_venue
from tests.order_service.fakes import FakeVenue
from tests.virtual_loop import virtual

BOTH = pytest.mark.parametrize("make", [alpha_venue, spot_venue], ids=["alpha", "spot"])


@BOTH
def test_late_proof_of_life_reopens_adopts_and_wishes_the_working_leg_gone(
    tmp_path: Path, make: type[FakeVenue]
) -> None:
    @virtual
    async def story() -> None:
        async with Desk(tmp_path / "j.db", make()) as desk:
            await desk.add("1")
            desk.account().silent = True
            desk.account().placements.append(late(60))
            order = await desk.place()
            await desk.sleep(40)
            assert absent(desk.order(order))
            await desk.sleep(60)
            settled = desk.order(order)
            assert [wish.reason for wish in settled.wishes] == ["adopted late"]
            assert settled.rejection is None
            assert settled.state is OrderState.CANCELED
            assert order.order_id not in desk.journal.books.held
            assert all(not row.is_open for row in desk.account().rows.values())
            assert len(desk.account().sent) == 1

    story()


@BOTH
def test_late_life_after_the_hold_is_found_too(tmp_path: Path, make: type[FakeVenue]) -> None:
    @virtual
    async def story() -> None:
        async with Desk(tmp_path / "j.db", make()) as desk:
            await desk.add("1")
            desk.account().placements.append(late(HOLD + 100))
            order = await desk.place()
            await desk.sleep(HOLD + 50)
            assert order.order_id not in desk.journal.books.live
            await desk.sleep(100)
            assert desk.order(order).state is OrderState.CANCELED

    story()


@virtual
async def test_two_buys_after_a_late_adoption_do_not_free_each_others_slot(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        account = desk.account()
        account.placements.append(late(60))
        order = await desk.place()
        await desk.sleep(40)
        second = await desk.place()
        account.cancels_to_lose = 2
        await desk.sleep(60)
        assert desk.order(order).state is OrderState.CANCELED
        assert desk.order(second).state is OrderState.WORKING
        with pytest.raises(Denied) as info:
            await desk.place()
        assert info.value.metadata["order_id"] == second.order_id


@virtual
async def test_a_filled_late_arrival_keeps_its_sell_and_its_fills_count(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        account = desk.account()
        account.silent = True
        account.placements.append(late(60))
        order = await desk.place()
        await desk.sleep(40)
        assert absent(desk.order(order))
        while not account.rows:
            await desk.sleep(0.001)
        row = next(row for row in account.rows.values() if row.role is LegRole.WORKING)
        account.fill(row)
        await desk.sleep(60)
        settled = desk.order(order)
        assert settled.state is OrderState.TRIGGERED
        assert settled.working.filled_quantity == order.working.quantity
        assert desk.journal.books.ledger.inventory(desk.key()).bought_quote == row.executed_quote
