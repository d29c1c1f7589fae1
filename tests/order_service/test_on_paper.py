"""The service over a real adapter and a real paper exchange: what becomes of orders in odd worlds."""

import asyncio
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from order_service.denied import Denied, JournalFailed
from order_service.venues import limits as venue_limits
from order_service.venues.alpha_parse import WALLET_ASSET
from order_service.venues.port import Response, VenueSilent
from otopilot import money
from otopilot.instrument import Venue
from otopilot.order import INSUFFICIENT_BALANCE, LegRole, LegStatus, OrderState, RejectionKind
from otopilot.position import UserState
from paper_exchange.http import Request
from tests.order_service.paper_desk import PaperDesk, PaperLine, is_placement, line_of
from tests.virtual_loop import virtual

A_DAY = 25 * 3600.0
QUOTE = "USDT"


def lose_placements(line: PaperLine) -> None:
    """Their answers never come; everything else is heard."""

    def spoil(request: Request, answer: Response) -> Response:
        if is_placement(request):
            raise VenueSilent("connection", "sent, no whole answer")
        return answer

    line.spoil = spoil


@virtual
@pytest.mark.parametrize("told", [True, False])
async def test_an_order_that_the_venue_has_archived_ends_unfilled_and_holds_nobody_up_3_3(
    tmp_path: Path, told: bool
) -> None:
    line = line_of(Venue.SPOT, archive_days=1)
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        await desk.open_user()
        if not told:
            lose_placements(line)
        order = await desk.place()
        assert (order.state is OrderState.IN_DOUBT) == (not told)
    line.spoil = lambda _, answer: answer
    line.world.exchange.cancel_all(line.state.accounts.owner("spot/1"))
    await asyncio.sleep(A_DAY)
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        ended = await desk.becomes(order, OrderState.CANCELED)
        assert [one.status for one in ended.legs] == [LegStatus.CANCELED] * 2
        await desk.settle()
        assert desk.session().state is UserState.READY
        assert (await desk.place()).state is OrderState.WORKING


@virtual
async def test_a_sell_that_the_venue_has_archived_leaves_what_was_bought_unsold_3_3(tmp_path: Path) -> None:
    line = line_of(Venue.SPOT, archive_days=1)
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        await desk.open_user()
        order = await desk.place(**desk.crossing)
        await desk.becomes(order, OrderState.TRIGGERED)
    line.world.exchange.cancel_all(line.state.accounts.owner("spot/1"))
    await asyncio.sleep(A_DAY)
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        ended = await desk.becomes(order, OrderState.CANCELED)
        assert ended.settled
        assert ended.working.filled_quantity == ended.working.quantity
        assert desk.journal.books.uncovered(desk.key()) > 0


def hide_until_cancelled(line: PaperLine, *, lost: int = 0) -> None:
    """Placements are not answered, and no read shows the order before a cancel got through.

    Of those that do, so many go unanswered.
    """
    cancelled = False
    left = lost

    def spoil(request: Request, answer: Response) -> Response:
        nonlocal cancelled, left
        name = request.path.rsplit("/", 1)[-1]
        if is_placement(request):
            raise VenueSilent("connection", "sent, no whole answer")
        if (request.method, name) == ("DELETE", "order"):
            if answer.status == 200 and not cancelled:
                cancelled = True
                if left:
                    left -= 1
                    raise VenueSilent("connection", "sent, no whole answer")
        elif not cancelled and name in ("openOrders", "allOrders"):
            return Response(200, {}, b"[]")
        elif not cancelled and name == "order":
            return Response(400, {}, b'{"code":-2013,"msg":"Order does not exist."}')
        return answer

    line.spoil = spoil


@virtual
@pytest.mark.parametrize(
    ("wished", "lag", "lost"),
    [(True, 3, 0), (True, 40, 0), (True, 12, 1), (False, 3, 0), (False, 40, 0), (False, 25, 1)],
)
async def test_an_order_found_by_nothing_but_the_id_its_cancel_gave_it_is_never_absent_3_4(
    tmp_path: Path, wished: bool, lag: int, lost: int
) -> None:
    settings = {"cancelled_found_by_old_id": "false", "database_lag_seconds": str(lag)}
    line = line_of(Venue.SPOT, **settings)
    states: list[OrderState] = []
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        await desk.open_user()
        desk.manager.on_change(lambda order: states.append(order.state))
        hide_until_cancelled(line, lost=lost)
        order = await desk.place()
        assert order.state is OrderState.IN_DOUBT
        if wished:
            await desk.manager.cancel(order.order_id, LegRole.WORKING, "test")
        ended = await desk.becomes(order, OrderState.CANCELED, seconds=120)
        assert OrderState.REJECTED not in states
        assert [one.status for one in ended.legs] == [LegStatus.CANCELED] * 2
        assert {one.status for one in line.state.orders.values()} == {"CANCELED"}


@virtual
@pytest.mark.parametrize("lag", ["25", "40"])  # 40: longer than absence takes to prove
@pytest.mark.parametrize("cancelled_by", ["proof", "wish", "person"])
async def test_a_cancel_whose_news_the_disk_did_not_take_is_remembered_3_4(
    tmp_path: Path, cancelled_by: str, lag: str
) -> None:
    settings = {"cancelled_found_by_old_id": "false", "database_lag_seconds": lag}
    line = line_of(Venue.SPOT, **settings)
    states: list[OrderState] = []
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        await desk.open_user()
        hide_until_cancelled(line)
        order = await desk.place()
        desk.manager.on_change(lambda order: states.append(order.state))
        if cancelled_by != "proof":
            await desk.sleep(14)
        if cancelled_by == "wish":
            await desk.manager.cancel(order.order_id, LegRole.WORKING, "test")
        if cancelled_by == "person":
            desk.store.failures = 2
            with pytest.raises(JournalFailed):
                await desk.manager.cancel(order.order_id, LegRole.WORKING, "test")
        while not any(one.method == "DELETE" for one in line.asked):
            await desk.sleep(0.001)
        desk.store.failures = 2
        ended = await desk.becomes(order, OrderState.CANCELED, seconds=120)
        assert OrderState.REJECTED not in states
        assert [one.status for one in ended.legs] == [LegStatus.CANCELED] * 2


@virtual
async def test_what_was_bought_before_the_cancel_that_renamed_the_order_is_counted_3_4(
    tmp_path: Path,
) -> None:
    settings = {"cancelled_found_by_old_id": "false", "database_lag_seconds": "30"}
    line = line_of(Venue.SPOT, partial_fill_probability="1", **settings)
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        await desk.open_user()
        hide_until_cancelled(line)
        order = await desk.place(**desk.crossing)
        (bought,) = (one for one in line.state.orders.values() if one.side == "BUY")
        while not bought.executed:
            await desk.sleep(0.01)
        assert bought.executed < bought.quantity
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "test")
        ended = await desk.becomes(order, OrderState.CANCELED, seconds=120)
        await desk.sleep(40)
        ended = desk.order(order)
        assert ended.settled
        assert ended.working.filled_quantity == bought.executed > 0


@virtual
async def test_a_key_that_is_not_permitted_is_tried_again_seldom_and_trades_on_when_it_is_10_2(
    tmp_path: Path,
) -> None:
    line = line_of(Venue.SPOT)
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        await desk.open_user()
        order = await desk.place()
        line.control("POST", "faults", kind="business_error", venue="spot", code="-2015", user_id="1")
        await desk.sleep(30)
        assert (desk.session().state, desk.session().reason_code) == (UserState.STOPPED, "not_permitted")
        asked = len(asked_of_user(line))
        await desk.sleep(550)
        assert len(asked_of_user(line)) == asked
        await desk.sleep(80)
        assert len(asked_of_user(line)) == asked + 1
        await desk.sleep(1_100)
        assert len(asked_of_user(line)) == asked + 1, "then 20 minutes later"
        await desk.sleep(120)
        assert len(asked_of_user(line)) == asked + 2
        assert desk.session().state is UserState.STOPPED
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        await desk.sleep(60)
        assert desk.session().state is UserState.STOPPED, "a restart is no reason to think better of it"
        line.control("DELETE", "faults")
        await desk.sleep(650)
        assert desk.session().state is UserState.READY
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "test")
        await desk.becomes(order, OrderState.CANCELED)
        assert (await desk.place()).state is OrderState.WORKING


@virtual
@pytest.mark.parametrize("seen", ["first", "last", "by all"])
async def test_what_a_person_must_look_at_is_not_lifted_with_a_key_that_is_permitted_again(
    tmp_path: Path, seen: str
) -> None:
    line = line_of(Venue.SPOT)
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        await desk.open_user()
        if seen == "first":
            await desk.sessions.stop(desk.session(), "contradiction", "seen")
        line.control("POST", "faults", kind="business_error", venue="spot", code="-2015", user_id="1")
        await desk.sleep(60)
        if seen == "last":
            await desk.sessions.stop(desk.session(), "contradiction", "seen")
        if seen == "by all":
            desk.manager._stop_everybody("seen")
        line.control("DELETE", "faults")
        await desk.sleep(2_000)
        assert (desk.session().state, desk.session().reason) == (UserState.STOPPED, "seen")
    async with PaperDesk(tmp_path / "j.db", Venue.SPOT, line) as desk:
        await desk.sleep(2_000)
        assert (desk.session().state, desk.session().reason) == (UserState.STOPPED, "seen")


def asked_of_user(line: PaperLine) -> list[Request]:
    """What was asked with a key."""
    return [request for request in line.asked if "x-mbx-apikey" in request.headers]


@virtual
async def test_a_session_that_has_ended_is_not_tried_again(tmp_path: Path) -> None:
    line = line_of(Venue.ALPHA)
    async with PaperDesk(tmp_path / "j.db", Venue.ALPHA, line, beat=60.0) as desk:
        await desk.open_user()
        line.control("POST", "faults", kind="business_error", venue="alpha", code="100002001", user_id="1")
        await desk.sleep(90)
        assert (desk.session().state, desk.session().reason_code) == (UserState.STOPPED, "auth_expired")
        line.control("DELETE", "faults")
        await desk.sleep(1_000)
        assert desk.session().state is UserState.STOPPED


@virtual
@pytest.mark.parametrize("means", ["created", "updated"])
async def test_alpha_orders_are_found_whichever_time_its_history_goes_by_6(
    tmp_path: Path, means: str
) -> None:
    """It is not documented whether startTime and endTime are of the creation or of the last change."""
    line = line_of(Venue.ALPHA, history_time=means)
    async with PaperDesk(tmp_path / "j.db", Venue.ALPHA, line) as desk:
        await desk.open_user()
        since = desk.clock.now()
        order = await desk.becomes(await desk.place(), OrderState.WORKING)
    await asyncio.sleep(600)
    line.world.exchange.cancel_all(line.state.accounts.owner("alpha/1"))
    await asyncio.sleep(600)
    async with PaperDesk(tmp_path / "j.db", Venue.ALPHA, line) as desk:
        account = desk.session().account
        for role in LegRole:
            told = await account.look_up(order, role)
            assert told is not None
            assert told.status is LegStatus.CANCELED
        history = await account.order_history(desk.symbol, since)
        assert {one.venue_order_id for one in history} >= {leg.venue_order_id for leg in order.legs}
        assert (await desk.becomes(order, OrderState.CANCELED)).settled
        assert desk.session().state is UserState.READY


@virtual
@pytest.mark.parametrize("means", ["created", "updated"])
async def test_alpha_trades_of_an_order_that_filled_much_later_are_counted_6(
    tmp_path: Path, means: str
) -> None:
    line = line_of(Venue.ALPHA, history_time=means)
    async with PaperDesk(tmp_path / "j.db", Venue.ALPHA, line) as desk:
        await desk.open_user()
        order = await desk.becomes(await desk.place(), OrderState.WORKING)
    await asyncio.sleep(600)
    line.control("POST", "price", symbol=desk.symbol, price="43")
    await asyncio.sleep(5)
    line.control("POST", "price", symbol=desk.symbol, price="53")
    await asyncio.sleep(600)
    async with PaperDesk(tmp_path / "j.db", Venue.ALPHA, line) as desk:
        done = await desk.becomes(order, OrderState.COMPLETED)
        await desk.sleep(10)
        done = desk.order(order)
        assert done.settled
        assert done.working.filled_quantity == order.working.quantity


def take_hold(line: PaperLine, venue: Venue, amount: Decimal) -> None:
    """Another product of the venue takes hold of that much; nobody here is told."""
    line.control("POST", "lock", user_id="1", venue=venue, asset=QUOTE, amount=money.text(amount))


@virtual
@pytest.mark.parametrize("venue", [Venue.ALPHA, Venue.SPOT])
async def test_a_refusal_for_funds_says_so_and_the_balance_read_then_decides(
    tmp_path: Path, venue: Venue
) -> None:
    line = line_of(venue)
    async with PaperDesk(tmp_path / "j.db", venue, line) as desk:
        await desk.open_user()
        free = (await desk.session().funds(QUOTE, at_least=Decimal(1))).free[QUOTE]
        take_hold(line, venue, free)
        refused = await desk.becomes(await desk.place(), OrderState.REJECTED)
        assert refused.rejection is not None
        assert (refused.rejection.kind, refused.rejection.code) == (RejectionKind.VENUE, INSUFFICIENT_BALANCE)
        with pytest.raises(Denied, match=" free, "):
            await desk.place()
        take_hold(line, venue, -free)
        await desk.sleep(2)
        assert (await desk.place()).state is OrderState.WORKING


@virtual
async def test_balances_of_who_is_short_on_alpha_are_read_every_five_seconds_at_most(tmp_path: Path) -> None:
    line = line_of(Venue.ALPHA)
    async with PaperDesk(tmp_path / "j.db", Venue.ALPHA, line, limits=venue_limits.alpha(8)) as desk:
        await desk.open_user()
        free = (await desk.session().funds(QUOTE, at_least=Decimal(1))).free[QUOTE]
        take_hold(line, Venue.ALPHA, free)
        desk.session().forget_balances()
        read_at = []
        for _ in range(15):  # asked every two seconds, as a loop does
            asked = len(line.asked)
            with pytest.raises(Denied, match=" free, "):
                await desk.place()
            if any(request.path.endswith(WALLET_ASSET) for request in line.asked[asked:]):
                read_at.append(desk.clock.monotonic())
            await desk.sleep(2)
        gaps = [later - earlier for earlier, later in pairwise(read_at)]
        assert len(gaps) >= 3
        assert 5 <= min(gaps) <= max(gaps) < 7
        take_hold(line, Venue.ALPHA, -free)
        await desk.sleep(5)
        assert (await desk.place()).state is OrderState.WORKING
