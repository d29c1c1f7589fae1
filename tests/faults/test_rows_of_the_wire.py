"""Rows 1 to 8, 14, 19, 57, 60: what befalls a request, proven with the real adapters on both venues."""

from decimal import Decimal
from pathlib import Path

import pytest

from order_service.denied import Denied
from otopilot.instrument import Venue
from otopilot.order import LegStatus, OrderState, RejectionKind
from otopilot.position import UserState
from tests.faults.floor import Floor
from tests.virtual_loop import virtual

BOTH = pytest.mark.parametrize("venue", list(Venue))
LAST_PRICE = {Venue.ALPHA: ("agg_trades", "data.*.p"), Venue.SPOT: ("ticker_price", "price")}


@BOTH
@pytest.mark.parametrize(
    ("rule", "lives"),
    [
        ({"kind": "drop_response"}, True),
        ({"kind": "drop_request"}, False),
        ({"kind": "http_error", "status": 503, "when": "before"}, False),
        ({"kind": "http_error", "status": 504, "when": "after"}, True),
        ({"kind": "garbage"}, True),
    ],
    ids=["row_01", "row_02", "row_03_before", "row_03_after", "row_57"],
)
def test_rows_01_02_03_57_silence_is_resolved_by_proof_and_nothing_is_sent_again(
    tmp_path: Path, venue: Venue, rule: dict[str, object], lives: bool
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            floor.fault("order_stall")  # no push tells
            floor.fault(**{"endpoint": "place_o*", "count": 1} | rule)  # type: ignore[arg-type]
            order = await floor.place(buy="0.99")
            assert order.state is OrderState.IN_DOUBT
            with pytest.raises(Denied) as denied:
                await floor.place(buy="0.99")
            assert denied.value.reason == "DENIED_SLOT"
            state = OrderState.WORKING if lives else OrderState.REJECTED
            order = await floor.reaches(order, state, seconds=25)
            if not lives:
                assert order.rejection is not None
                assert order.rejection.kind is RejectionKind.ABSENT
            assert floor.accepted() == int(lives)
            assert floor.placements_sent() == 1
            assert (await floor.agree()).figures["doubled"] == 0

    story()


@pytest.mark.parametrize("code", ["-1000", "-1001", "-1006", "-1007", "-1008", "-1016"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_row_03_an_ambiguous_code_is_never_a_rejection(tmp_path: Path, code: str, when: str) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, Venue.SPOT) as floor:
            await floor.add("1")
            floor.fault("order_stall")  # no push tells
            floor.fault("business_error", endpoint="place_o*", code=code, when=when, count=1)
            order = await floor.place(buy="0.99")
            assert order.state is OrderState.IN_DOUBT
            lives = when == "after"
            await floor.reaches(order, OrderState.WORKING if lives else OrderState.REJECTED, seconds=25)
            await floor.agree()

    story()


@BOTH
@pytest.mark.parametrize("seconds", [10, 40, 60])
def test_row_04_an_engine_that_is_slower_than_our_verdict_is_adopted_and_its_buy_cancelled(
    tmp_path: Path, venue: Venue, seconds: int
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            floor.fault("engine_delay", endpoint="place_o*", seconds=str(seconds), count=1)
            order = await floor.place(buy="0.99")
            if seconds == 10:  # before absence can be proven: found, and kept
                await floor.reaches(order, OrderState.WORKING, seconds=25)
                await floor.agree()
                return
            order = await floor.reaches(order, OrderState.REJECTED, seconds=30)
            claims = floor.desk.journal.books.held
            assert order.order_id in claims  # reservation and claim are held all the same
            order = await floor.reaches(order, OrderState.CANCELED, seconds=60)
            assert order.rejection is None
            assert floor.accepted() == 1
            assert (await floor.agree()).figures["orphaned"] == 0

    story()


@BOTH
@pytest.mark.parametrize(("status", "row"), [(429, 5), (418, 6), (403, 6)])
def test_rows_05_06_nobody_asks_anything_during_a_ban(
    tmp_path: Path, venue: Venue, status: int, row: int
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1", "2")
            floor.fault("ban", endpoint="place_o*", status=status, lasts_seconds="35")
            order = await floor.place("1", buy="0.99")
            assert order.state is OrderState.REJECTED
            before = len(floor.line.sent)
            with pytest.raises(Denied) as denied:
                await floor.place("2", buy="0.99")
            assert denied.value.reason == "RATE_LIMIT"
            await floor.sleep(30)
            assert len(floor.line.sent) == before
            assert floor.control("GET", "faults")["faults"][0]["struck"] == 1
            await floor.sleep(300)  # a 403 tells no time: minutes (binance-spot 8)
            await floor.place("2", buy="0.99")
            await floor.agree()

    story()


def test_row_07_an_order_limit_refuses_one_account_and_no_other(tmp_path: Path) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, Venue.SPOT) as floor:
            await floor.add("1", "2")
            floor.fault("order_limit", user_id="1", limit=1)
            refused, taken = await floor.place("1", buy="0.99"), await floor.place("2", buy="0.99")
            assert refused.state is OrderState.REJECTED
            assert refused.rejection is not None
            assert refused.rejection.kind is RejectionKind.VENUE
            assert taken.state is OrderState.WORKING
            assert floor.accepted("1") == 0
            await floor.agree()

    story()


@pytest.mark.parametrize("seconds", ["3", "-3"])
def test_row_08_a_clock_that_steps_is_a_definite_no_once_and_measured_anew(
    tmp_path: Path, seconds: str
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, Venue.SPOT) as floor:
            await floor.add("1")
            first = await floor.place(buy="0.99")
            await floor.cancel(first)
            await floor.reaches(first, OrderState.CANCELED)
            floor.fault("clock_skew", seconds=seconds)
            second = await floor.place(buy="0.99")
            if second.state is OrderState.REJECTED:
                assert second.rejection is not None
                assert second.rejection.kind is RejectionKind.VENUE
            assert floor.accepted() == 1 + (second.state is OrderState.WORKING)
            await floor.sleep(2)
            third = second if second.state is OrderState.WORKING else await floor.place(buy="0.99")
            assert third.state is OrderState.WORKING
            await floor.agree()

    story()


@BOTH
def test_row_14_a_push_that_comes_before_the_answer_is_matched(tmp_path: Path, venue: Venue) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            floor.fault("delay_response", endpoint="place_o*", seconds="2", count=1)
            order = await floor.place(buy="1.002", sell="1.01")
            assert order.working.status is LegStatus.FILLED  # before the answer came, or with it
            order = await floor.reaches(order, OrderState.TRIGGERED, seconds=5)
            await floor.sleep(1)
            assert floor.order(order).working.filled_quantity == order.working.quantity
            await floor.agree()

    story()


@BOTH
def test_row_19_a_cancel_whose_answer_is_lost_is_sent_again_until_the_venues_word(
    tmp_path: Path, venue: Venue
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            order = await floor.place(buy="0.99")
            floor.fault("drop_response", endpoint="cancel*", count=1)
            floor.fault("order_stall")
            await floor.cancel(order)
            await floor.reaches(order, OrderState.CANCELED, seconds=10)
            await floor.agree()

    story()


@BOTH
@pytest.mark.parametrize(
    ("endpoint", "field", "value"),
    [
        ("*trades", "data.*.qty", '"0"'),
        ("*trades", "data.*.price", '"-1"'),
        ("*trades", "*.qty", '"0"'),
        ("*trades", "*.price", '"NaN"'),
        ("*trades", "data.*.time", "4102444800000"),
        ("*trades", "*.time", "4102444800000"),
        ("order_stream", "data.z", '"-5"'),
        ("order_stream", "event.z", '"1e99"'),
        ("order_stream", "event.T", "99999999999999"),
    ],
)
def test_row_60_absurd_data_is_never_booked_and_healed_by_the_next_reading(
    tmp_path: Path, venue: Venue, endpoint: str, field: str, value: str
) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            floor.fault("mutate", endpoint=endpoint, field=field, value=value)
            order = await floor.place(buy="1.002", sell="1.01")
            await floor.sleep(30)
            held = floor.order(order).working.filled_quantity
            assert held in (Decimal(0), order.working.quantity)
            user = floor.desk.sessions.all()[0]
            assert user.state is not UserState.STOPPED
            await floor.agree()
            days = {str(row["day"]) for row in floor.books().totals}
            assert days == {str(floor.clock.now().date())}

    story()


async def denial(floor: Floor) -> str:
    """Why nothing can be placed; empty when it was."""
    try:
        await floor.place(buy="0.99")
    except Denied as no:
        return no.reason
    return ""


def absurd_rules(floor: Floor, name: str, value: str) -> None:
    """Every symbol's filters have this in exchange info from now on."""
    symbols = "data.symbols.*" if floor.venue is Venue.ALPHA else "symbols.*"
    floor.fault("mutate", endpoint="exchange_info", field=f"{symbols}.filters.*.{name}", value=value)


@BOTH
@pytest.mark.parametrize("value", ['"0"', '"-1"', '"NaN"', "[]"])
@pytest.mark.parametrize("name", ["tickSize", "stepSize", "minNotional"])
def test_row_60_a_symbol_whose_rules_are_absurd_is_paused(
    tmp_path: Path, venue: Venue, name: str, value: str
) -> None:
    """Spot's zero means that a part of a filter is off; the venue's own word is final then."""

    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            absurd_rules(floor, name, value)
            await floor.add("1")
            why = await denial(floor)
            assert why in ("", "USER_SETTLING", "VENUE_UNREADABLE", "DENIED_FILTER")
            assert floor.placements_sent() == (why == "")
            if value in ('"-1"', '"NaN"'):
                assert why == "USER_SETTLING"
            floor.heal()
            # Alpha tells all symbols at once, for five minutes; Spot's unread rules are asked for again.
            await floor.sleep(315 if venue is Venue.ALPHA else 15)
            if why:
                assert await denial(floor) == ""
            assert floor.desk.sessions.all()[0].state is not UserState.STOPPED
            assert floor.accepted() == floor.placements_sent() == 1
            await floor.agree()

    story()


def test_row_60_absurd_rules_never_replace_good_ones(tmp_path: Path) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, Venue.SPOT) as floor:
            await floor.add("1")
            absurd_rules(floor, "tickSize", '"-1"')
            await floor.sleep(315)  # the first sweep after five minutes reads the rules again
            assert await denial(floor) == ""
            assert floor.accepted() == 1
            await floor.agree()

    story()


@BOTH
@pytest.mark.parametrize("value", ['"0"', '"-1"', '"NaN"', '"1e99"', "null", "[]"])
def test_row_60_an_absurd_last_price_places_nothing(tmp_path: Path, venue: Venue, value: str) -> None:
    @virtual
    async def story() -> None:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            endpoint, field = LAST_PRICE[venue]
            floor.fault("mutate", endpoint=endpoint, field=field, value=value)
            with pytest.raises(Denied) as denied:
                await floor.place(buy="0.99")
            assert denied.value.reason in ("VENUE_UNREADABLE", "DENIED_FILTER")
            assert floor.placements_sent() == 0
            floor.heal()
            await floor.sleep(2)
            await floor.place(buy="0.99")
            assert floor.accepted() == 1
            await floor.agree()

    story()
