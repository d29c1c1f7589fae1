"""Cancels are wishes: journaled, repeated until the venue's word, and they name a leg (architecture 4)."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from order_service.denied import Denied, JournalFailed
from order_service.venues.port import VenueSilent
from otopilot.order import LegRole, LegStatus, OrderState
from tests.order_service.behaviours import answer_lost
from tests.order_service.desk import Desk, alpha_venue, spot_venue
from tests.virtual_loop import virtual

DOWN = VenueSilent("down", "no answer")


@virtual
async def test_a_cancel_ends_both_legs_and_frees_the_slot(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        wished = await desk.manager.cancel(order.order_id, LegRole.WORKING, "timeout")
        assert wished.state is OrderState.WORKING
        await desk.sleep(1)
        ended = desk.order(order)
        assert ended.state is OrderState.CANCELED
        assert ended.settled
        assert desk.journal.books.slot(desk.key()) is None
        assert len(desk.account().cancels) == 1


@virtual
async def test_the_wish_is_repeated_until_the_venues_word(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        desk.account().cancels_to_lose = 4
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "timeout")
        await desk.sleep(1)
        assert desk.order(order).state is OrderState.WORKING
        await desk.sleep(15)
        assert desk.order(order).state is OrderState.CANCELED
        assert len(desk.account().cancels) == 5


@virtual
async def test_a_wish_for_an_order_in_doubt_is_sent_where_it_can_be_named(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        account = desk.account()
        account.silent = True
        account.placements.append(answer_lost)
        account.failing = dict.fromkeys(("look_up", "open_orders", "order_history"), DOWN)
        order = await desk.place()
        assert order.state is OrderState.IN_DOUBT
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "stop")
        await desk.sleep(5)
        assert account.cancels[0] == (order.order_id, LegRole.WORKING)
        assert desk.order(order).state is OrderState.WORKING, "a cancel that was taken proves that it lived"
        assert account.row(order).status is LegStatus.CANCELED
        account.failing.clear()
        await desk.sleep(10)
        assert desk.order(order).state is OrderState.CANCELED


@virtual
async def test_the_wish_dies_when_the_leg_filled_and_the_sell_stays(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        account = desk.account()
        account.silent = True
        account.fill(account.row(order))
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "timeout")
        await desk.sleep(5)
        now = desk.order(order)
        assert now.state is OrderState.TRIGGERED
        assert now.working.filled_quantity == order.working.quantity
        assert account.row(now, LegRole.PENDING).status is LegStatus.OPEN
        cancels = len(account.cancels)
        await desk.sleep(60)
        assert len(account.cancels) == cancels


@virtual
async def test_a_partial_fill_then_a_cancel_leaves_the_base_uncovered(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        account = desk.account()
        account.hidden_trades.add(account.row(order).venue_id)  # the trades lag behind the word
        account.fill(account.row(order), "0.2")
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "timeout")
        await desk.sleep(3)
        ended = desk.order(order)
        assert ended.state is OrderState.CANCELED
        assert not ended.settled
        assert ended.working.reported_quantity == Decimal("0.2")
        assert desk.journal.books.ledger.inventory(desk.key()).base == 0  # no fill is ever made up
        volume = await desk.accounts.volume("s")  # type: ignore[arg-type]
        assert volume.counted == 0
        assert volume.reserved == Decimal("9.6")  # what is not in the ledger yet stays reserved
        account.hidden_trades.clear()
        await desk.sleep(10)
        assert desk.order(order).settled
        assert desk.journal.books.uncovered(desk.key()) == Decimal("0.19998")
        volume = await desk.accounts.volume("s")  # type: ignore[arg-type]
        assert (volume.counted, volume.reserved) == (Decimal("9.6"), 0)


@virtual
async def test_trades_that_lag_do_not_keep_a_cancel_waiting(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        account = desk.account()
        account.hidden_trades.add(account.row(order).venue_id)
        account.fill(account.row(order), "0.2")
        await desk.sleep(20)
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "timeout")
        await desk.sleep(0.5)
        assert account.row(order).status is LegStatus.CANCELED


@virtual
async def test_an_order_in_doubt_takes_a_wish_and_it_is_sent_once_the_order_is_found(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        account = desk.account()
        account.silent = True
        account.failing["open_orders"] = ConnectionError("down")
        account.placements.append(answer_lost)
        order = await desk.place()
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "stop")
        account.failing.clear()
        await desk.sleep(10)
        assert desk.order(order).state is OrderState.CANCELED


@virtual
async def test_the_sell_has_a_wish_of_its_own(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        desk.account().fill(desk.account().row(order))
        await desk.sleep(1)
        await desk.manager.cancel(order.order_id, LegRole.PENDING, "re-price")
        await desk.sleep(1)
        assert desk.order(order).state is OrderState.CANCELED
        assert desk.journal.books.uncovered(desk.key()) == Decimal("0.5") * Decimal("0.9999")


@virtual
async def test_what_cannot_be_cancelled_says_why(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        desk.account().fill(desk.account().row(order))
        await desk.sleep(1)
        for order_id, role, reason in (
            ("none", LegRole.WORKING, "UNKNOWN_ORDER"),
            (order.order_id, LegRole.WORKING, "ORDER_OVER"),
        ):
            with pytest.raises(Denied) as info:
                await desk.manager.cancel(order_id, role, "x")  # type: ignore[arg-type]
            assert info.value.reason == reason


@virtual
async def test_a_wish_is_sent_although_its_caller_went_away_during_the_commit(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        await desk.sleep(20)  # nobody looks after it any more
        desk.store.seconds = 0.5
        caller = asyncio.ensure_future(desk.manager.cancel(order.order_id, LegRole.WORKING, "stop"))
        await desk.sleep(0.2)
        caller.cancel()
        await desk.sleep(3)
        assert desk.order(order).state is OrderState.CANCELED


@virtual
async def test_an_order_in_doubt_that_our_cancel_ended_under_its_own_id_is_not_absent(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue(), beat=3600) as desk:
        await desk.add("1")
        account = desk.account()
        account.silent = True
        account.failing["look_up"] = DOWN
        account.placements.append(answer_lost)
        order = await desk.place()
        row = account.row(order)
        account.fill(row, "0.2")
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "stop")
        await desk.sleep(3)
        assert row.status is LegStatus.CANCELED
        for each in account.rows.values():
            each.client_id = f"o{order.order_id}c"  # the id it was placed with finds it no more
        account.failing.clear()
        await desk.sleep(40)
        ended = desk.order(order)
        assert ended.state is OrderState.CANCELED
        assert ended.working.filled_quantity == Decimal("0.2")


@virtual
async def test_with_a_journal_that_cannot_be_written_a_cancel_is_still_sent(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        desk.store.failures = 10**6
        with pytest.raises(JournalFailed):
            await desk.manager.cancel(order.order_id, LegRole.WORKING, "stop")
        assert not desk.account().row(order).is_open
        with pytest.raises(JournalFailed):
            await desk.place()
        desk.store.failures = 0
        await desk.sleep(15)
        assert desk.order(order).state is OrderState.CANCELED
        assert len(desk.account().sent) == 1


@virtual
async def test_a_wish_survives_a_restart(tmp_path: Path) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        order = await desk.place()
        desk.account().failing["cancel"] = ConnectionError("down")
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "stop")
        await desk.sleep(10)
        assert desk.order(order).state is OrderState.WORKING
    venue.accounts["1"].failing.clear()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.sleep(3)
        assert desk.order(order).state is OrderState.CANCELED
