"""Every refusal of the paper exchange becomes the exception that ccxt has for it.

ccxt decides by status, then by the text, then by the code: a text that is off by a dot would come
out as another class. Each case names the class exactly, never a parent of it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ccxt
import pytest

from tests.clients.ccxt_desk import MARKET, SYMBOL, connect, oto
from tests.clients.conftest import Refused
from tests.clients.venue import Keys, Venue, running

CLIENT = "ccxt"
operation = pytest.mark.operation


@pytest.fixture
def exchange(venue: Venue, keys: Keys) -> Iterator[ccxt.binance]:
    client = connect(ccxt.binance, venue, keys)
    yield client
    client.close()


def case(name: str, error: type[Exception], code: int, call: Callable[[ccxt.binance], Any]) -> Any:
    """One row: what is done, what ccxt raises, and the venue's code for it."""
    return pytest.param(error, code, call, id=name, marks=operation(f"refused: {name}"))


def raw(**changed: str) -> dict[str, str]:
    """An order past ccxt's own checks and roundings."""
    terms = {"symbol": MARKET, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
    return terms | {"quantity": "0.001", "price": "90000"} | changed


REFUSALS = [
    case(
        "insufficient funds",
        ccxt.InsufficientFunds,
        -2010,
        lambda ex: ex.create_order(SYMBOL, "limit", "buy", 1, 90_000),
    ),
    case(
        "insufficient funds for a list",
        ccxt.InsufficientFunds,
        -2010,
        lambda ex: ex.private_post_orderlist_oto(oto(workingQuantity="1")),
    ),
    case("PRICE_FILTER", ccxt.InvalidOrder, -1013, lambda ex: ex.private_post_order(raw(price="90000.001"))),
    case("LOT_SIZE", ccxt.InvalidOrder, -1013, lambda ex: ex.private_post_order(raw(quantity="0.0000123"))),
    case("NOTIONAL", ccxt.BadRequest, -1013, lambda ex: ex.private_post_order(raw(quantity="0.00001"))),
    case(
        "PERCENT_PRICE_BY_SIDE",
        ccxt.InvalidOrder,
        -1013,
        lambda ex: ex.private_post_order(raw(price="9000", quantity="0.1")),
    ),
    case(
        "too much precision",
        ccxt.BadRequest,
        -1111,
        lambda ex: ex.private_post_order(raw(quantity="0.001000001")),
    ),
    case("zero quantity", ccxt.InvalidOrder, -2010, lambda ex: ex.private_post_order(raw(quantity="0"))),
    case(
        "post-only that would take",
        ccxt.OrderImmediatelyFillable,
        -2010,
        lambda ex: ex.create_order(SYMBOL, "limit", "buy", 0.001, 101_000, {"postOnly": True}),
    ),
    case(
        "duplicate client id",
        ccxt.InvalidOrder,
        -2010,
        lambda ex: [
            ex.create_order(SYMBOL, "limit", "buy", 0.001, 90_000, {"clientOrderId": "twice"}) for _ in "12"
        ],
    ),
    case(
        "stop that is passed already",
        ccxt.OrderImmediatelyFillable,
        -2010,
        lambda ex: ex.private_post_order(raw(type="STOP_LOSS_LIMIT", price="92000", stopPrice="91000")),
    ),
    case(
        "OCO list",
        ccxt.InvalidOrder,
        -2010,
        lambda ex: ex.private_post_orderlist_oco(
            {
                "symbol": MARKET,
                "side": "SELL",
                "quantity": "0.001",
                "aboveType": "LIMIT_MAKER",
                "abovePrice": "110000",
                "belowType": "STOP_LOSS",
                "belowStopPrice": "90000",
            }
        ),
    ),
    case("query of an unknown order", ccxt.OrderNotFound, -2013, lambda ex: ex.fetch_order("7", SYMBOL)),
    case("cancel of an unknown order", ccxt.OrderNotFound, -2011, lambda ex: ex.cancel_order("7", SYMBOL)),
    case("cancel all of nothing", ccxt.OrderNotFound, -2011, lambda ex: ex.cancel_all_orders(SYMBOL)),
    case(
        "cancel of an unknown list",
        ccxt.OrderNotFound,
        -2011,
        lambda ex: ex.private_delete_orderlist({"symbol": MARKET, "orderListId": 7}),
    ),
    case("unknown symbol", ccxt.BadSymbol, -1121, lambda ex: ex.public_get_depth({"symbol": "NOUSDT"})),
    case(
        "unknown interval",
        ccxt.BadRequest,
        -1120,
        lambda ex: ex.public_get_klines({"symbol": MARKET, "interval": "7m"}),
    ),
    case("missing parameter", ccxt.BadRequest, -1102, lambda ex: ex.public_get_depth()),
    case("unread parameter", ccxt.BadRequest, -1104, lambda ex: ex.public_get_time({"more": "1"})),
    case("illegal characters", ccxt.BadRequest, -1100, lambda ex: ex.private_post_order(raw(price="-1"))),
    case("unknown side", ccxt.BadRequest, -1117, lambda ex: ex.private_post_order(raw(side="HOLD"))),
    case("unknown order type", ccxt.BadRequest, -1116, lambda ex: ex.private_post_order(raw(type="ODD"))),
    case(
        "parameter of another type",
        ccxt.BadRequest,
        -1106,
        lambda ex: ex.private_post_order(raw(type="MARKET")),
    ),
    case("bad time in force", ccxt.BadRequest, -1115, lambda ex: ex.private_post_order(raw(timeInForce="X"))),
    case(
        "trades over more than a day",
        ccxt.BadRequest,
        -1127,
        lambda ex: ex.private_get_mytrades({"symbol": MARKET, "startTime": 1, "endTime": 1_800_000_000_000}),
    ),
]


@pytest.mark.parametrize(("error", "code", "call"), REFUSALS)
def test_a_refusal_is_the_clients_own_exception(
    exchange: ccxt.binance,
    refused: Refused,
    error: type[Exception],
    code: int,
    call: Callable[[ccxt.binance], Any],
) -> None:
    with refused(error):
        call(exchange)
    assert f'"code":{code},' in exchange.last_http_response


# The door.


@operation("refused: bad signature")
def test_a_wrong_secret_is_an_authentication_error(venue: Venue, keys: Keys, refused: Refused) -> None:
    wrong = connect(ccxt.binance, venue, Keys(keys.user_id, keys.api_key, "x" * 64))
    with refused(ccxt.AuthenticationError) as error:
        wrong.fetch_balance()
    assert '"code":-1022' in str(error.value)


@operation("refused: unknown key")
def test_a_key_nobody_gave_out_is_an_authentication_error(venue: Venue, refused: Refused) -> None:
    with refused(ccxt.AuthenticationError) as error:
        connect(ccxt.binance, venue, Keys("nobody", "k" * 64, "s" * 64)).fetch_balance()
    assert '"code":-2015' in str(error.value)


@operation("refused: malformed key")
def test_a_malformed_key_is_an_authentication_error(venue: Venue, refused: Refused) -> None:
    with refused(ccxt.AuthenticationError) as error:
        connect(ccxt.binance, venue, Keys("nobody", "short", "s")).fetch_balance()
    assert '"code":-2014' in str(error.value)


@operation("refused: stale timestamp")
def test_a_stale_timestamp_is_an_invalid_nonce(exchange: ccxt.binance, refused: Refused) -> None:
    exchange.options["timeDifference"] = 60_000
    with refused(ccxt.InvalidNonce) as error:
        exchange.fetch_balance()
    assert "outside of the recvWindow" in str(error.value)


@operation("refused: early timestamp")
def test_a_timestamp_ahead_of_the_server_is_an_invalid_nonce(
    exchange: ccxt.binance, refused: Refused
) -> None:
    exchange.options["timeDifference"] = -60_000
    with refused(ccxt.InvalidNonce) as error:
        exchange.fetch_balance()
    assert "1000ms ahead" in str(error.value)


@operation("clock difference")
def test_a_client_that_reads_the_servers_clock_first_gets_in(exchange: ccxt.binance) -> None:
    exchange.options["timeDifference"] = 60_000
    exchange.load_time_difference()
    assert exchange.fetch_balance()["USDT"]["free"] > 0


# Limits.


@operation("refused: too many orders")
def test_too_many_orders_are_stopped(venue: Venue, keys: Keys, refused: Refused) -> None:
    venue.add_fault(keys.user_id, "order_limit", limit=1)
    exchange = connect(ccxt.binance, venue, keys)
    exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
    with refused(ccxt.DDoSProtection) as error:
        exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
    assert '"code":-1015' in str(error.value)
    assert int(exchange.last_response_headers["Retry-After"]) >= 1


@operation("refused: too much weight")
def test_too_much_weight_is_stopped_and_going_on_is_banned(tmp_path: Path, refused: Refused) -> None:
    # A venue of its own: a ban is for the address.
    with running(tmp_path, weight_limit_per_minute=200, ban_after_refusals=3) as venue:
        exchange = connect(ccxt.binance, venue, venue.open_account())
        with refused(ccxt.DDoSProtection) as error:
            for _ in range(30):
                exchange.fetch_balance()
        assert " 429 " in str(error.value)
        assert int(exchange.last_response_headers["Retry-After"]) >= 1
        # A new minute may begin in between, and forgive.
        told = [refusal_of(exchange) for _ in range(60)]
        assert " 418 " in told[-1]


def refusal_of(exchange: ccxt.binance) -> str:
    """What is told to one more question; nothing if it is answered."""
    try:
        exchange.fetch_balance()
    except ccxt.DDoSProtection as error:
        return str(error)
    return ""


# Failures that are nobody's refusal.


@operation("lost answer")
def test_a_lost_answer_is_a_network_error_and_the_order_is_there(
    venue: Venue, keys: Keys, refused: Refused
) -> None:
    venue.add_fault(keys.user_id, "drop_response", endpoint="place_order", count=1)
    exchange = connect(ccxt.binance, venue, keys)
    exchange.load_markets()
    with refused(ccxt.NetworkError):
        exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000, {"clientOrderId": "lost"})
    assert exchange.fetch_order(None, SYMBOL, {"clientOrderId": "lost"})["status"] == "open"


@operation("venue down")
def test_a_503_is_an_exchange_that_is_not_available(venue: Venue, keys: Keys, refused: Refused) -> None:
    venue.add_fault(keys.user_id, "http_error", endpoint="account", status=503, count=1)
    with refused(ccxt.ExchangeNotAvailable):
        connect(ccxt.binance, venue, keys).private_get_account()


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        pytest.param(code, status, error, marks=operation(f"outcome unknown: {code}"))
        for code, status, error in (
            (-1000, 500, ccxt.OperationFailed),
            (-1001, 500, ccxt.OperationFailed),
            (-1006, 500, ccxt.OperationFailed),
            (-1007, 504, ccxt.RequestTimeout),
            (-1008, 503, ccxt.ExchangeError),
            (-1016, 500, ccxt.BadRequest),
        )
    ],
)
def test_an_unknown_outcome_is_what_the_client_makes_of_its_code_and_the_order_is_there(
    venue: Venue, keys: Keys, refused: Refused, code: int, status: int, error: type[Exception]
) -> None:
    venue.add_fault(
        keys.user_id, "business_error", endpoint="place_order", code=str(code), when="after", count=1
    )
    exchange = connect(ccxt.binance, venue, keys)
    exchange.load_markets()
    with refused(error) as told:
        exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000, {"clientOrderId": f"x{code}"})
    assert f" {status} " in str(told.value) or f'"code":{code},' in str(told.value)
    assert exchange.fetch_order(None, SYMBOL, {"clientOrderId": f"x{code}"})["status"] == "open"


@operation("removed endpoint")
def test_listen_keys_are_gone(exchange: ccxt.binance, refused: Refused) -> None:
    with refused(ccxt.ExchangeNotAvailable) as error:
        exchange.public_post_userdatastream()
    assert " 410 " in str(error.value)
