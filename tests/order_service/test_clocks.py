"""The local time of day can be set at any moment: nothing that is proven, held or banned hangs on it.

Durations are monotonic; absence asks for the venue's time as well (architecture 5.5, reliability 8).
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from order_service.denied import Denied
from order_service.venues.port import Placed, RateLimited, VenueSilent
from otopilot.instrument import Side
from otopilot.order import LegRole, Order, OrderState, ScopeId
from tests.order_service.behaviours import answer_lost, late, request_lost
from tests.order_service.desk import HOLD, RULES, Desk, absent, alpha_venue, spot_venue
from tests.order_service.fakes import FakeAccount, FakeVenue, accepted
from tests.virtual_loop import SettableClock, virtual

BOTH = pytest.mark.parametrize("make", [alpha_venue, spot_venue], ids=["alpha", "spot"])
Make = Callable[[], FakeVenue]


def desk_of(path: Path, venue: FakeVenue, clock: SettableClock) -> Desk:
    """A service whose clock is not the venue's."""
    return Desk(path / "j.db", venue, clock=clock)


def earliest(venue: FakeVenue) -> float:
    """Seconds after which absence may be concluded."""
    if venue.has_client_ids:
        return RULES.recv_window + RULES.absence_margin + 1
    return RULES.fingerprint_wait + RULES.fingerprint_gap


@BOTH
def test_a_clock_set_forward_after_the_send_shortens_no_proof(tmp_path: Path, make: Make) -> None:
    @virtual
    async def story() -> None:
        venue, clock = make(), SettableClock()
        async with desk_of(tmp_path, venue, clock) as desk:
            await desk.add("1")
            desk.account().placements.append(late(10.0))  # the engine takes it ten seconds later
            order = await desk.place()
            clock.set(60)
            await desk.sleep(9.5)
            assert desk.order(order).state is OrderState.IN_DOUBT
            await desk.sleep(8)
            assert desk.order(order).state is OrderState.WORKING
            assert len(desk.account().sent) == 1

    story()


@BOTH
def test_a_clock_set_back_after_the_send_keeps_no_doubt(tmp_path: Path, make: Make) -> None:
    @virtual
    async def story() -> None:
        venue, clock = make(), SettableClock()
        async with desk_of(tmp_path, venue, clock) as desk:
            await desk.add("1")
            desk.account().placements.append(request_lost)
            order = await desk.place()
            clock.set(-3600)
            await desk.sleep(earliest(venue) - 0.5)
            assert desk.order(order).state is OrderState.IN_DOUBT
            await desk.sleep(8)
            assert absent(desk.order(order))

    story()


@BOTH
def test_after_a_restart_the_wait_begins_with_the_new_process(tmp_path: Path, make: Make) -> None:
    @virtual
    async def story() -> None:
        venue, clock = make(), SettableClock()
        async with desk_of(tmp_path, venue, clock) as desk:
            await desk.add("1")
            desk.account().placements.append(request_lost)
            order = await desk.place()
        clock.set(3600)  # nobody knows for how long it was down
        async with desk_of(tmp_path, venue, clock) as desk:
            await desk.sleep(earliest(venue) - RULES.recv_window - 0.5)  # the start itself took that long
            assert desk.order(order).state is OrderState.IN_DOUBT
            await desk.sleep(8)
            assert absent(desk.order(order))

    story()


@virtual
async def test_absence_waits_for_the_venues_clock_too(tmp_path: Path) -> None:
    venue = spot_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        desk.account().placements.append(request_lost)
        order = await desk.place()
        venue.ahead = -timedelta(seconds=30)  # there, only half of it has passed
        await desk.sleep(earliest(venue) + 10)
        assert desk.order(order).state is OrderState.IN_DOUBT
        await desk.sleep(30)
        assert absent(desk.order(order))


@virtual
async def test_while_the_venues_time_cannot_be_read_nothing_is_absent(tmp_path: Path) -> None:
    venue = spot_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        desk.account().placements.append(request_lost)
        order = await desk.place()
        venue.clock_unknown = True
        await desk.sleep(100)
        assert desk.order(order).state is OrderState.IN_DOUBT
        venue.clock_unknown = False
        await desk.sleep(15)
        assert absent(desk.order(order))


@virtual
async def test_a_service_ahead_of_the_venue_looks_for_trades_from_the_signature_on(tmp_path: Path) -> None:
    """Its clock is a minute ahead: by that clock, the order's own trade lies before its signature."""
    venue, clock = spot_venue(), SettableClock()
    clock.set(60)
    venue.ahead = timedelta()
    async with desk_of(tmp_path, venue, clock) as desk:
        await desk.add("1")
        account = desk.account()
        account.silent = True
        account.failing = {"look_up": VenueSilent("down", "no answer")}
        account.placements.append(answer_lost)
        order = await desk.place()
        await desk.sleep(1)
        row = account.row(desk.order(order))
        account.fill(row)
        account.rows.clear()  # no list shows it any more: only its trade is left
        account.failing.clear()
        await desk.sleep(60)
        assert not absent(desk.order(order))


@virtual
async def test_a_service_ahead_of_the_venue_counts_what_was_traded_by_hand_between_two_sweeps(
    tmp_path: Path,
) -> None:
    """By its clock nothing that the venue makes is new: what it does not read, it would buy again."""
    venue, clock = spot_venue(), SettableClock()
    clock.set(600)
    async with desk_of(tmp_path, venue, clock) as desk:
        await desk.add("1")
        account = desk.account()
        account.silent = True
        await desk.sleep(60)
        account.fill(account.foreign(Side.BUY, "47", "1"))
        await desk.sleep(60)
        scope = desk.journal.books.scopes[ScopeId("s")]
        assert desk.journal.books.volume(scope, clock.now()).counted == 47


@virtual
async def test_a_service_ahead_of_the_venue_seeks_an_order_that_left_the_book_as_long_as_any(
    tmp_path: Path,
) -> None:
    venue, clock = spot_venue(), SettableClock()
    clock.set(3600)
    async with desk_of(tmp_path, venue, clock) as desk:
        await desk.add("1")
        account = desk.account()
        account.silent = True
        row = account.foreign(Side.BUY, "47", "1", made=600)
        await desk.sleep(30)
        del account.rows[row.venue_id]  # it has ended, and history lags behind
        await desk.sleep(120)
        account.rows[row.venue_id] = row
        account.fill(row)
        await desk.sleep(30)
        scope = desk.journal.books.scopes[ScopeId("s")]
        assert desk.journal.books.volume(scope, clock.now()).counted == 47


@virtual
async def test_a_clock_set_forward_shortens_no_hold(tmp_path: Path) -> None:
    venue, clock = alpha_venue(), SettableClock()
    async with desk_of(tmp_path, venue, clock) as desk:
        await desk.add("1")
        desk.account().placements.append(request_lost)
        order = await desk.place()
        await desk.sleep(20)
        assert absent(desk.order(order))
        clock.set(HOLD)
        await desk.sleep(HOLD - 40)
        assert order.order_id in desk.journal.books.held
        await desk.sleep(40)
        assert order.order_id not in desk.journal.books.held


@virtual
async def test_a_hold_outlives_a_restart_and_ends_then(tmp_path: Path) -> None:
    venue, clock = alpha_venue(), SettableClock()
    async with desk_of(tmp_path, venue, clock) as desk:
        await desk.add("1")
        desk.account().placements.append(request_lost)
        order = await desk.place()
        await desk.sleep(20)
        assert absent(desk.order(order))
    clock.set(-3600)
    async with desk_of(tmp_path, venue, clock) as desk:
        await desk.sleep(60)
        assert order.order_id in desk.journal.books.held
        await desk.sleep(HOLD - 40)
        assert order.order_id not in desk.journal.books.held


@virtual
async def test_a_clock_set_back_does_not_stop_looking_after_young_orders(tmp_path: Path) -> None:
    venue, clock = spot_venue(), SettableClock()

    async def set_back(account: FakeAccount, order: Order) -> Placed:
        clock.set(-240)  # a trade that is further ahead than five minutes is believed by nobody
        return await accepted(account, order)

    async with desk_of(tmp_path, venue, clock) as desk:
        await desk.add("1")
        account = desk.account()
        account.silent = True
        account.placements.append(set_back)
        order = await desk.place()
        await desk.sleep(0.1)
        account.fill(account.row(desk.order(order)))
        await desk.sleep(4)
        assert desk.order(order).state is OrderState.TRIGGERED
        assert desk.order(order).leg(LegRole.WORKING).filled_quantity == Decimal("0.5")


@virtual
async def test_a_clock_set_forward_ends_no_ban_and_one_set_back_prolongs_none(tmp_path: Path) -> None:
    venue, clock = spot_venue(), SettableClock()
    async with desk_of(tmp_path, venue, clock) as desk:
        await desk.add("1")
        budget = desk.budgets[venue.venue]
        budget.close_until(RateLimited("418", "x", clock.now() + timedelta(seconds=100)))
        clock.set(3600)
        await desk.sleep(50)
        assert budget.closed_until() is not None
        with pytest.raises(Denied, match="no placement can be sent"):
            await desk.place()
        clock.set(-7200)
        await desk.sleep(51)
        assert budget.closed_until() is None


@virtual
@pytest.mark.parametrize("ended", [False, True])
async def test_with_our_clock_ahead_no_fingerprint_is_proven_absent_while_the_order_is_there(
    tmp_path: Path, ended: bool
) -> None:
    clock = SettableClock()
    async with desk_of(tmp_path, alpha_venue(), clock) as desk:
        await desk.add("1")
        clock.set(10)
        account = desk.account()
        account.silent = True
        account.placements.append(answer_lost)
        order = await desk.place()
        if ended:
            account.fill(next(iter(account.rows.values())))
        await desk.sleep(60)
        assert not absent(desk.order(order))
        with pytest.raises(Denied):
            await desk.place(cycle=2)
