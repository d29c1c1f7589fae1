"""Rows 15, 17, 18, 20 to 24, 28, 29, 34 to 36, 55, 56: fills, ends and conditions, on both venues."""

from decimal import Decimal
from pathlib import Path

import pytest

from order_service.denied import Denied
from otopilot.instrument import Venue
from otopilot.order import LegRole, LegStatus, OrderState
from otopilot.position import UserState
from tests.faults.floor import Floor
from tests.virtual_loop import virtual

BOTH = pytest.mark.parametrize("venue", list(Venue))


@BOTH
def test_row_15_no_fill_is_made_up_while_trades_lag_behind_the_status(tmp_path: Path, venue: Venue) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            floor.fault("order_stall")  # Spot's push would bring the trade itself
            floor.fault("trades_lag", seconds="8")
            order = await floor.place(buy="1.002", sell="1.01")
            order = await floor.reaches(order, OrderState.TRIGGERED)
            assert order.working.filled_quantity == 0
            assert order.working.reported_quantity == order.working.quantity
            await floor.sleep(20)
            assert floor.order(order).working.filled_quantity == order.working.quantity
            await floor.agree()

    story()


@BOTH
def test_row_17_half_filled_while_its_cancel_travelled_the_rest_is_a_residual(
    tmp_path: Path, venue: Venue
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            order = await floor.place(buy="0.99")
            await floor.sleep(1)
            floor.fault("fill_before_cancel", percent="50", count=1)
            await floor.cancel(order)
            order = await floor.reaches(order, OrderState.CANCELED)
            await floor.sleep(2)
            working = floor.order(order).working
            assert working.filled_quantity * 2 == working.quantity
            fee = sum((fee.amount for fee in working.fees), Decimal(0))
            assert floor.desk.journal.books.uncovered(floor.account()) == working.filled_quantity - fee
            await floor.agree()

    story()


@BOTH
def test_row_18_a_cancel_refused_because_it_filled_is_no_absence(tmp_path: Path, venue: Venue) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            order = await floor.place(buy="0.99")
            await floor.sleep(1)
            floor.fault("order_stall")
            floor.fault("fill_before_cancel", count=1)
            await floor.cancel(order)
            order = await floor.reaches(order, OrderState.TRIGGERED)
            assert order.open_wish(LegRole.WORKING) is None
            await floor.agree()

    story()


@BOTH
def test_row_20_a_sell_refused_at_its_release_leaves_a_residual_that_can_be_sold(
    tmp_path: Path, venue: Venue
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            floor.fault("reject_pending", count=1)
            order = await floor.place(buy="1.002", sell="1.01")
            order = await floor.reaches(order, OrderState.EXPIRED, OrderState.CANCELED)
            await floor.sleep(2)
            uncovered = floor.desk.journal.books.uncovered(floor.account())
            step = Decimal("0.0001") if venue is Venue.ALPHA else Decimal("0.001")
            assert uncovered > 0
            sold = await floor.sell(uncovered // step * step, "1.01")
            await floor.reaches(sold, OrderState.WORKING)
            await floor.agree()

    story()


@BOTH
def test_row_21_a_leg_filled_in_part_that_then_expires_ends_with_its_residual(
    tmp_path: Path, venue: Venue
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            floor.fault("partial_fill", endpoint="working", percent="40")
            order = await floor.place(buy="1.002", sell="1.01")
            await floor.sleep(1)
            floor.fault("expire", endpoint="working", when="after", code="EXCHANGE_CANCELED", count=1)
            order = await floor.reaches(order, OrderState.EXPIRED)
            await floor.sleep(2)
            working = floor.order(order).working
            assert working.filled_quantity == working.quantity * Decimal("0.4")
            assert floor.desk.journal.books.slot(floor.account()) is None
            await floor.agree()

    story()


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("kind", ["alpha", "opo", "oto"])
def test_row_22_a_fee_in_base_never_makes_the_sell_larger_than_what_is_there(
    tmp_path: Path, kind: str, free: bool
) -> None:
    @virtual
    async def story() -> None:
        venue = Venue.ALPHA if kind == "alpha" else Venue.SPOT
        async with Floor(tmp_path, venue, buyer_fee="0.01", opo_commission_from_free=free) as floor:
            if kind == "oto":
                floor.fault("mutate", endpoint="exchange_info", field="symbols.*.opoAllowed", value="false")
            await floor.add("1")
            order = await floor.place(buy="1.002", sell="1.01")
            order = await floor.reaches(order, OrderState.TRIGGERED)
            floor.move_price(floor.price * Decimal("1.02"))
            order = await floor.reaches(order, OrderState.COMPLETED)
            await floor.sleep(2)
            order = floor.order(order)
            assert order.pending is not None
            fee = sum((fee.amount for fee in order.working.fees), Decimal(0))
            assert order.pending.filled_quantity <= order.working.filled_quantity - fee
            assert floor.desk.journal.books.uncovered(floor.account()) >= 0
            await floor.agree()

    story()


@BOTH
@pytest.mark.parametrize(
    "reason", ["EXECUTION_RULE_PRICE_RANGE_EXCEEDED", "A_REASON_OF_2031", "UNFILLED_IOC_QUANTITY_EXPIRED"]
)
def test_rows_23_24_an_order_that_expires_as_it_arrives_frees_its_slot_whatever_the_reason(
    tmp_path: Path, venue: Venue, reason: str
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            floor.fault("expire", endpoint="working", code=reason, count=1)
            order = await floor.place(buy="1.002", sell="1.01")
            order = await floor.reaches(order, OrderState.EXPIRED)
            if venue is Venue.SPOT:
                assert order.working.expiry_reason in (reason, "")
            assert floor.desk.journal.books.slot(floor.account()) is None
            again = await floor.place(buy="0.99")
            await floor.reaches(again, OrderState.WORKING)
            await floor.agree()

    story()


@BOTH
def test_row_23_a_status_that_we_do_not_know_is_not_an_end(tmp_path: Path, venue: Venue) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            order = await floor.place(buy="0.99")
            await floor.reaches(order, OrderState.WORKING)
            for field in ("data.X", "event.X", "data.*.status", "*.status", "status"):
                floor.fault("mutate", field=field, value='"DREAMING"', endpoint="[!p]*")
            floor.fault("mutate", endpoint="order_stream", field="event.X", value='"DREAMING"')
            await floor.sleep(40)
            assert floor.order(order).state is OrderState.WORKING
            assert floor.desk.sessions.all()[0].state is not UserState.STOPPED
            await floor.agree()

    story()


@BOTH
def test_row_24_a_resting_order_that_the_venue_ends_is_over(tmp_path: Path, venue: Venue) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            order = await floor.place(buy="0.99")
            await floor.sleep(1)
            floor.fault("order_stall")
            floor.fault("expire", when="after", code="EXCHANGE_CANCELED", count=1)
            order = await floor.reaches(order, OrderState.EXPIRED, seconds=40)
            assert order.working.status is LegStatus.EXPIRED
            await floor.agree()

    story()


@BOTH
def test_row_34_a_withdrawal_stops_one_users_buys_and_a_deposit_resumes_them(
    tmp_path: Path, venue: Venue
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1", "2")
            take = {"user_id": "1", "venue": str(venue), "asset": "USDT", "amount": "-19990"}
            floor.control("POST", "deposit", take)
            with pytest.raises(Denied) as denied:
                await floor.place("1", buy="0.99")
            assert denied.value.reason == "DENIED_FUNDS"
            await floor.reaches(await floor.place("2", buy="0.99"), OrderState.WORKING)
            floor.control("POST", "deposit", take | {"amount": "1000"})
            await floor.sleep(15)
            await floor.reaches(await floor.place("1", buy="0.99"), OrderState.WORKING)
            await floor.agree()

    story()


@BOTH
def test_row_35_a_fill_too_small_to_be_sold_stays_uncovered(tmp_path: Path, venue: Venue) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            tiny = "0.4" if venue is Venue.ALPHA else "10"  # worth less than the venue's least order
            floor.fault("partial_fill", endpoint="working", percent=tiny)
            order = await floor.place(buy="1.002", sell="1.01")
            await floor.sleep(1)
            await floor.cancel(order)
            order = await floor.reaches(order, OrderState.CANCELED)
            await floor.sleep(2)
            dust = floor.desk.journal.books.uncovered(floor.account())
            assert 0 < dust * floor.price < 5
            with pytest.raises(Denied):
                await floor.sell(dust, "1.01")
            await floor.agree()

    story()


@BOTH
def test_row_36_a_revoked_key_stops_its_user_alone_and_its_orders_are_left(
    tmp_path: Path, venue: Venue
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1", "2")
            await floor.place("1", buy="0.99")
            floor.fault("revoke", user_id="1")
            await floor.sleep(40)
            states = {str(session.user_id): session.state for session in floor.desk.sessions.all()}
            assert states["1"] is UserState.STOPPED
            assert states["2"] is UserState.READY
            await floor.reaches(await floor.place("2", buy="0.99"), OrderState.WORKING)
            with pytest.raises(Denied):
                await floor.place("1", buy="0.98")
            rows = floor.control("GET", "orders")["orders"]
            assert sum(row["open"] and row["leg"] == "working" for row in rows) == 2

    story()


@BOTH
def test_row_56_an_order_by_hand_is_counted_in_volume_and_never_touched(tmp_path: Path, venue: Venue) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            for price, quantity in (("1.01", "0.3"), ("0.9", "0.2")):
                body = {
                    "user_id": "1",
                    "venue": str(venue),
                    "symbol": floor.symbol,
                    "side": "BUY",
                    "price": str((floor.price * Decimal(price)).quantize(Decimal("0.01"))),
                    "quantity": quantity,
                }
                floor.control("POST", "orders", body)
            await floor.sleep(25)
            books = floor.desk.journal.books
            scope = books.scopes[next(iter(books.scopes))]
            trades = [row for row in floor.control("GET", "trades")["trades"] if row["side"] == "BUY"]
            assert trades
            counted = books.volume(scope, floor.clock.now()).counted
            assert counted == sum(Decimal(row["quote"]) for row in trades)
            assert books.uncovered(floor.account()) == 0
            resting = [row for row in floor.control("GET", "orders")["orders"] if row["open"]]
            assert [row["client_id"].startswith("web_") or venue is Venue.ALPHA for row in resting] == [True]

    story()
