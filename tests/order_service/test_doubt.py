"""Orders in doubt: never resent, adopted when found, absent by proof only (architecture 5.5, 5.6)."""

import dataclasses
from pathlib import Path

import pytest

from order_service.denied import Denied
from order_service.venues.port import VenueSilent
from otopilot.instrument import Side
from otopilot.order import LegRole, LegStatus, OrderState
from otopilot.position import UserState
from tests.order_service.behaviours import answer_lost, request_lost, slow
from tests.order_service.desk import HOLD, RULES, Desk, absent, alpha_venue, events_of, spot_venue
from tests.order_service.fakes import FakeVenue
from tests.virtual_loop import virtual

BOTH = pytest.mark.parametrize("make", [alpha_venue, spot_venue], ids=["alpha", "spot"])
DOWN = VenueSilent("down", "no answer")


@BOTH
def test_a_lost_answer_leaves_the_order_in_doubt_and_is_not_resent_but_found(
    tmp_path: Path, make: type[FakeVenue]
) -> None:
    @virtual
    async def story() -> None:
        async with Desk(tmp_path / "j.db", make()) as desk:
            await desk.add("1")
            account = desk.account()
            account.silent = True
            account.failing = dict.fromkeys(("open_orders", "look_up"), DOWN)
            account.placements.append(answer_lost)
            order = await desk.place()
            assert order.state is OrderState.IN_DOUBT
            await desk.sleep(60)
            assert desk.order(order).state is OrderState.IN_DOUBT  # failed looks prove nothing
            account.failing.clear()
            await desk.sleep(10)
            found = desk.order(order)
            assert found.state is OrderState.WORKING
            assert all(leg.venue_order_id is not None for leg in found.legs)
            assert len(account.sent) == 1
            assert len(account.rows) == 2

    story()


@BOTH
def test_a_lost_request_is_absent_after_the_wait_and_two_clean_looks(
    tmp_path: Path, make: type[FakeVenue]
) -> None:
    @virtual
    async def story() -> None:
        async with Desk(tmp_path / "j.db", make()) as desk:
            await desk.add("1")
            desk.account().placements.append(request_lost)
            order = await desk.place()
            alpha = not desk.venue.has_client_ids
            earliest = (
                RULES.fingerprint_wait + RULES.fingerprint_gap
                if alpha
                else RULES.recv_window + RULES.absence_margin + 1
            )
            await desk.sleep(earliest - 0.5)
            assert desk.order(order).state is OrderState.IN_DOUBT
            await desk.sleep(3)
            assert absent(desk.order(order))
            assert len(desk.account().sent) == 1

    story()


@BOTH
def test_a_failed_look_in_between_proves_nothing(tmp_path: Path, make: type[FakeVenue]) -> None:
    @virtual
    async def story() -> None:
        async with Desk(tmp_path / "j.db", make()) as desk:
            await desk.add("1")
            account = desk.account()
            account.placements.append(request_lost)
            account.failing = dict.fromkeys(("open_orders", "look_up"), DOWN)
            order = await desk.place()
            await desk.sleep(300)
            assert desk.order(order).state is OrderState.IN_DOUBT
            account.failing.clear()
            await desk.sleep(20)
            assert absent(desk.order(order))

    story()


@virtual
async def test_absence_is_not_proven_while_the_request_is_still_under_way(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().placements.append(slow(40))
        order = await desk.place()
        await desk.sleep(30)
        assert desk.order(order).state is OrderState.IN_DOUBT
        await desk.sleep(10)
        assert desk.order(order).state is OrderState.WORKING


@virtual
async def test_on_the_real_alpha_only_a_person_ends_the_doubt(tmp_path: Path) -> None:
    live = dataclasses.replace(RULES, fingerprint_proof=False)
    async with Desk(tmp_path / "j.db", alpha_venue(), rules=live) as desk:
        await desk.add("1")
        desk.account().placements.append(request_lost)
        order = await desk.place()
        await desk.sleep(4000)
        assert desk.order(order).state is OrderState.IN_DOUBT


@virtual
async def test_absence_frees_the_slot_and_holds_reservation_and_claims(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        desk.account().placements.append(request_lost)
        order = await desk.place()
        await desk.sleep(20)
        assert absent(desk.order(order))
        books = desk.journal.books
        assert books.slot(desk.key()) is None
        scope = books.scopes["s"]  # type: ignore[index]
        notional = order.working.price * order.working.quantity
        assert books.room.reserved(scope.scope_id) == notional
        # Its BUY at 48 still bars a SELL of somebody else at 48, and its SELL a BUY at 48.5.
        with pytest.raises(Denied, match="could trade with this one"):
            await desk.place("2", price=order.pending.price)  # type: ignore[union-attr]
        again = await desk.place()
        assert again.working.price < order.working.price  # its fingerprint is taken, too
        await desk.sleep(HOLD - 25)
        assert books.room.reserved(scope.scope_id) == notional + again.working.price * again.working.quantity
        await desk.sleep(30)
        assert order.order_id not in books.held
        assert books.room.reserved(scope.scope_id) == again.working.price * again.working.quantity
        assert order.order_id not in books.live


@virtual
async def test_in_another_world_no_order_in_doubt_is_looked_for(tmp_path: Path) -> None:
    venue = spot_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        desk.account().placements.append(answer_lost)
        desk.account().failing = dict.fromkeys(("open_orders", "look_up"), DOWN)
        order = await desk.place()
    account = venue.accounts["1"]
    account.failing.clear()
    account.calls.clear()
    account.rows.clear()
    venue.world_id, venue.world_takes = "w2", 3.0
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.sleep(60)
        assert (account.calls["look_up"], account.calls["cancel"]) == (0, 0)
        assert desk.order(order).state is OrderState.IN_DOUBT
        assert desk.session().reason_code == "other_world"


@virtual
async def test_a_hold_outlasts_sweeps_that_fail(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().placements.append(request_lost)
        order = await desk.place()
        await desk.sleep(20)
        assert absent(desk.order(order))
        desk.account().failing["order_history"] = DOWN
        await desk.sleep(1000)
        assert order.order_id in desk.journal.books.held
        desk.account().failing.clear()
        await desk.sleep(30)
        assert order.order_id not in desk.journal.books.held


@BOTH
def test_a_status_that_we_do_not_know_is_no_absence(tmp_path: Path, make: type[FakeVenue]) -> None:
    @virtual
    async def story() -> None:
        async with Desk(tmp_path / "j.db", make()) as desk:
            await desk.add("1")
            account = desk.account()
            account.silent = True
            account.placements.append(answer_lost)
            account.failing["look_up"] = account.failing["open_orders"] = DOWN
            order = await desk.place()
            for row in account.rows.values():
                row.status, row.raw_status = None, "MARINATING"
            account.failing.clear()
            await desk.sleep(300)
            assert desk.order(order).state is OrderState.IN_DOUBT
            events = events_of(desk.store, order.order_id)
            assert sum(b"MARINATING" in event for event in events) == 1
            for row in account.rows.values():
                row.status = LegStatus.OPEN
            await desk.sleep(20)
            assert desk.order(order).state is OrderState.WORKING

    story()


@virtual
async def test_an_older_foreign_order_of_the_same_fingerprint_leaves_the_doubt_to_a_person(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        ask = desk.ask()
        account = desk.account()
        account.placements.append(request_lost)
        foreign = account.foreign(ask.side, str(ask.price), str(ask.quantity), made=60)
        foreign.role = LegRole.WORKING  # a list made by hand, not seen before the placement
        order = await desk.manager.place(ask)
        await desk.sleep(300)
        assert desk.order(order).state is OrderState.IN_DOUBT
        assert desk.order(order).working.venue_order_id is None
        assert foreign.is_open


@virtual
async def test_a_foreign_order_whose_fingerprint_is_free_again_is_no_reason_for_doubt(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        ask = desk.ask()
        account = desk.account()
        account.placements.append(request_lost)
        foreign = account.foreign(ask.side, str(ask.price), str(ask.quantity), made=601)
        foreign.role = LegRole.WORKING
        order = await desk.manager.place(ask)
        await desk.sleep(30)
        assert absent(desk.order(order))


@virtual
async def test_a_foreign_order_that_was_seen_takes_its_fingerprint(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        foreign = desk.account().foreign(Side.BUY, "48.00", "0.5")
        foreign.role = LegRole.WORKING
        await desk.settle()
        order = await desk.place()
        assert str(order.working.price) == "47.99"


@virtual
async def test_a_leg_that_is_two_orders_at_the_venue_is_an_alarm_and_stops_the_user(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        account = desk.account()
        account.silent = True
        account.placements.append(slow(9))
        ask = desk.ask()
        order = await desk.manager.place(ask)
        # A stranger's list of the same fingerprint appears while our request is under way.
        stranger = account.accept(order)
        await desk.sleep(20)
        assert desk.order(order).working.venue_order_id == stranger[0].venue_id
        assert desk.session().state is UserState.STOPPED
        assert desk.session().reason_code == "contradiction"
        # Said once a leg, however often it is seen; and what is there is still looked after.
        await desk.sleep(100)
        events = events_of(desk.store, order.order_id)
        assert sum(b", yet " in event for event in events) == 2
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "stop")
        await desk.sleep(5)
        assert desk.order(order).state is OrderState.CANCELED


@virtual
async def test_on_spot_a_trade_by_hand_does_not_keep_the_doubt_and_an_unexplained_one_does(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        account = desk.account()
        account.placements.append(request_lost)
        order = await desk.place()
        by_hand = account.foreign(Side.BUY, "47.00", "1")
        account.fill(by_hand)
        await desk.sleep(30)
        assert absent(desk.order(order))


@virtual
async def test_on_spot_an_unexplained_trade_keeps_the_doubt(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        account = desk.account()
        account.placements.append(request_lost)
        order = await desk.place()
        ghost = account.foreign(Side.BUY, "48.00", "0.5")
        account.fill(ghost)
        del account.rows[ghost.venue_id]  # its trade is told, the order is not
        await desk.sleep(60)
        assert desk.order(order).state is OrderState.IN_DOUBT


@virtual
async def test_the_working_leg_cancel_of_the_proof_ends_an_order_that_hid(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        account = desk.account()
        account.placements.append(request_lost)
        order = await desk.place()
        await desk.sleep(16.9)
        account.silent = True
        rows = account.accept(order)
        await desk.sleep(30)
        settled = desk.order(order)
        assert settled.state in (OrderState.WORKING, OrderState.CANCELED)
        assert settled.working.venue_order_id == rows[0].venue_id


@virtual
async def test_submitting_never_lasts(tmp_path: Path) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        desk.account().placements.append(slow(1000))
        order = await desk.place()
        assert order.state is OrderState.SUBMITTING
    async with Desk(tmp_path / "j.db", venue) as desk:
        assert desk.order(order).state is OrderState.IN_DOUBT
        await desk.sleep(30)
        assert absent(desk.order(order))
        assert len(desk.account().sent) == 1
