"""python-binance has one exception for a refusal; what tells refusals apart is its code and status."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from binance import Client
from binance.exceptions import BinanceAPIException

from tests.clients.binance_desk import MARKET, connected, order, oto
from tests.clients.conftest import Refused
from tests.clients.venue import Keys, Venue, running

CLIENT = "python-binance"
operation = pytest.mark.operation


@pytest.fixture
def client(venue: Venue, keys: Keys) -> Iterator[Client]:
    with connected(venue, keys) as client:
        yield client


def case(name: str, code: int, text: str, call: Callable[[Client], Any]) -> Any:
    return pytest.param(code, text, call, id=name, marks=operation(f"refused: {name}"))


INSUFFICIENT = "Account has insufficient balance for requested action."
REFUSALS = [
    case("insufficient funds", -2010, INSUFFICIENT, lambda c: c.create_order(**order(quantity="1"))),
    case(
        "insufficient funds for a list",
        -2010,
        INSUFFICIENT,
        lambda c: c.v3_post_order_list_oto(**oto(workingQuantity="1")),
    ),
    case(
        "PRICE_FILTER",
        -1013,
        "Filter failure: PRICE_FILTER",
        lambda c: c.create_order(**order(price="90000.001")),
    ),
    case(
        "LOT_SIZE",
        -1013,
        "Filter failure: LOT_SIZE",
        lambda c: c.create_order(**order(quantity="0.0000123")),
    ),
    case(
        "NOTIONAL", -1013, "Filter failure: NOTIONAL", lambda c: c.create_order(**order(quantity="0.00001"))
    ),
    case(
        "PERCENT_PRICE_BY_SIDE",
        -1013,
        "Filter failure: PERCENT_PRICE_BY_SIDE",
        lambda c: c.create_order(**order(price="9000", quantity="0.1")),
    ),
    case(
        "too much precision",
        -1111,
        "Parameter 'quantity' has too much precision.",
        lambda c: c.create_order(**order(quantity="0.001000001")),
    ),
    case(
        "zero quantity",
        -2010,
        "Price * QTY is zero or less.",
        lambda c: c.create_order(**order(quantity="0")),
    ),
    case(
        "post-only that would take",
        -2010,
        "Order would immediately match and take.",
        lambda c: c.create_order(
            symbol=MARKET, side="BUY", type="LIMIT_MAKER", quantity="0.001", price="101000"
        ),
    ),
    case(
        "duplicate client id",
        -2010,
        "Duplicate order sent.",
        lambda c: [c.create_order(**order(newClientOrderId="twice")) for _ in "12"],
    ),
    case(
        "stop that is passed already",
        -2010,
        "Order would trigger immediately.",
        lambda c: c.create_order(**order(type="STOP_LOSS_LIMIT", price="92000", stopPrice="91000")),
    ),
    case(
        "OCO list",
        -2010,
        "OCO orders are not supported for this symbol",
        lambda c: c.create_oco_order(
            symbol=MARKET,
            side="SELL",
            quantity="0.001",
            aboveType="LIMIT_MAKER",
            abovePrice="110000",
            belowType="STOP_LOSS",
            belowStopPrice="90000",
        ),
    ),
    case(
        "query of an unknown order",
        -2013,
        "Order does not exist.",
        lambda c: c.get_order(symbol=MARKET, orderId=7),
    ),
    case(
        "cancel of an unknown order",
        -2011,
        "Unknown order sent.",
        lambda c: c.cancel_order(symbol=MARKET, orderId=7),
    ),
    case(
        "cancel all of nothing",
        -2011,
        "Unknown order sent.",
        lambda c: c.cancel_all_open_orders(symbol=MARKET),
    ),
    case(
        "cancel of an unknown list",
        -2011,
        "Unknown order sent.",
        lambda c: c.v3_delete_order_list(symbol=MARKET, orderListId=7),
    ),
    case("unknown symbol", -1121, "Invalid symbol.", lambda c: c.get_order_book(symbol="NOUSDT")),
    case(
        "unknown interval", -1120, "Invalid interval.", lambda c: c.get_klines(symbol=MARKET, interval="7m")
    ),
    case(
        "missing parameter",
        -1102,
        "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        lambda c: c.get_order_book(),
    ),
    case(
        "unread parameter",
        -1104,
        "Not all sent parameters were read; read '1' parameter(s) but was sent '2'.",
        lambda c: c.get_order_book(symbol=MARKET, more="1"),
    ),
    case(
        "illegal characters",
        -1100,
        "Illegal characters found in parameter 'price'; legal range is '^([0-9]{1,20})(\\.[0-9]{1,20})?$'.",
        lambda c: c.create_order(**order(price="1e5")),
    ),
    case("unknown side", -1117, "Invalid side.", lambda c: c.create_order(**order(side="HOLD"))),
    case("unknown order type", -1116, "Invalid orderType.", lambda c: c.create_order(**order(type="ODD"))),
    case(
        "parameter of another type",
        -1106,
        "Parameter 'price' sent when not required.",
        lambda c: c.create_order(**order(type="MARKET")),
    ),
    case(
        "bad time in force", -1115, "Invalid timeInForce.", lambda c: c.create_order(**order(timeInForce="X"))
    ),
    case(
        "trades over more than a day",
        -1127,
        "More than 24 hours between startTime and endTime.",
        lambda c: c.get_my_trades(symbol=MARKET, startTime=1, endTime=1_800_000_000_000),
    ),
]


@pytest.mark.parametrize(("code", "text", "call"), REFUSALS)
def test_a_refusal_carries_the_venues_code_and_text(
    client: Client, refused: Refused, code: int, text: str, call: Callable[[Client], Any]
) -> None:
    with refused(BinanceAPIException) as error:
        call(client)
    assert (error.value.code, error.value.message, error.value.status_code) == (code, text, 400)


# The door.


def refused_at_the_door(venue: Venue, keys: Keys, refused: Refused, code: int, status: int) -> None:
    with connected(venue, keys) as client, refused(BinanceAPIException) as error:
        client.get_account()
    assert (error.value.code, error.value.status_code) == (code, status)


@operation("refused: bad signature")
def test_a_wrong_secret_is_told(venue: Venue, keys: Keys, refused: Refused) -> None:
    refused_at_the_door(venue, Keys(keys.user_id, keys.api_key, "x" * 64), refused, -1022, 400)


@operation("refused: unknown key")
def test_a_key_nobody_gave_out_is_told(venue: Venue, refused: Refused) -> None:
    refused_at_the_door(venue, Keys("nobody", "k" * 64, "s" * 64), refused, -2015, 401)


@operation("refused: malformed key")
def test_a_malformed_key_is_told(venue: Venue, refused: Refused) -> None:
    refused_at_the_door(venue, Keys("nobody", "short", "s"), refused, -2014, 401)


@pytest.mark.parametrize(
    ("offset", "text"),
    [
        pytest.param(-60_000, "outside of the recvWindow", marks=operation("refused: stale timestamp")),
        pytest.param(60_000, "1000ms ahead", marks=operation("refused: early timestamp")),
    ],
)
def test_a_clock_that_is_off_is_told(client: Client, refused: Refused, offset: int, text: str) -> None:
    client.timestamp_offset = offset
    with refused(BinanceAPIException) as error:
        client.get_account()
    assert error.value.code == -1021
    assert text in error.value.message


# Limits.


@operation("refused: too many orders")
def test_too_many_orders_are_stopped(venue: Venue, keys: Keys, client: Client, refused: Refused) -> None:
    venue.add_fault(keys.user_id, "order_limit", limit=1)
    client.create_order(**order())
    with refused(BinanceAPIException) as error:
        client.create_order(**order())
    assert (error.value.code, error.value.status_code) == (-1015, 429)
    assert int(error.value.response.headers["Retry-After"]) >= 1


@operation("refused: too much weight")
def test_too_much_weight_is_stopped_and_going_on_is_banned(tmp_path: Path, refused: Refused) -> None:
    # A venue of its own: a ban is for the address.
    with (
        running(tmp_path, weight_limit_per_minute=200, ban_after_refusals=3) as venue,
        connected(venue, venue.open_account()) as client,
    ):
        with refused(BinanceAPIException) as error:
            for _ in range(30):
                client.get_account()
        assert (error.value.code, error.value.status_code) == (-1003, 429)
        assert int(error.value.response.headers["Retry-After"]) >= 1
        # A new minute may begin in between, and forgive.
        statuses = [status_of_one_more(client) for _ in range(60)]
        assert statuses[-1] == 418


def status_of_one_more(client: Client) -> int:
    try:
        client.get_account()
    except BinanceAPIException as error:
        return error.status_code
    return 200


# Failures that are nobody's refusal.


@operation("lost answer")
def test_a_lost_answer_is_a_broken_connection_and_the_order_is_there(
    venue: Venue, keys: Keys, client: Client, refused: Refused
) -> None:
    venue.add_fault(keys.user_id, "drop_response", endpoint="place_order", count=1)
    with refused(requests.exceptions.ConnectionError):
        client.create_order(**order(newClientOrderId="lost"))
    assert client.get_order(symbol=MARKET, origClientOrderId="lost")["status"] == "NEW"


@operation("venue down")
def test_a_503_keeps_its_status(venue: Venue, keys: Keys, client: Client, refused: Refused) -> None:
    venue.add_fault(keys.user_id, "http_error", endpoint="account", status=503, count=1)
    with refused(BinanceAPIException) as error:
        client.get_account()
    assert error.value.status_code == 503


@pytest.mark.parametrize(
    ("code", "status"),
    [
        pytest.param(code, status, marks=operation(f"outcome unknown: {code}"))
        for code, status in (
            (-1000, 500),
            (-1001, 500),
            (-1006, 500),
            (-1007, 504),
            (-1008, 503),
            (-1016, 500),
        )
    ],
)
def test_an_unknown_outcome_keeps_code_and_status_and_the_order_is_there(
    venue: Venue, keys: Keys, client: Client, refused: Refused, code: int, status: int
) -> None:
    venue.add_fault(
        keys.user_id, "business_error", endpoint="place_order", code=str(code), when="after", count=1
    )
    with refused(BinanceAPIException) as error:
        client.create_order(**order(newClientOrderId=f"x{code}"))
    assert (error.value.code, error.value.status_code) == (code, status)
    assert client.get_order(symbol=MARKET, origClientOrderId=f"x{code}")["status"] == "NEW"


@operation("removed endpoint")
def test_listen_keys_are_gone(client: Client, refused: Refused) -> None:
    with refused(BinanceAPIException) as error:
        client.stream_get_listen_key()
    assert error.value.status_code == 410
