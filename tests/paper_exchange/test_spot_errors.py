"""Each refusal with its status, code and exact text (binance-spot 1.2, 1.5, 2.3, 3, 4.2, 10.2)."""

import json
from typing import Any

import pytest

from paper_exchange.http import Request, Response
from paper_exchange.model import Refusal
from paper_exchange.spot_errors import REFUSALS
from tests.paper_exchange.desk import Desk, make_config
from tests.paper_exchange.spot_desk import BNB, SpotTrader, opo, oto, sample

LIMIT = {
    "symbol": BNB,
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "1",
    "price": "700",
}
MISSING = "Mandatory parameter '{}' was not sent, was empty/null, or malformed."
CLIENT_ID = "^[a-zA-Z0-9-_]{1,36}$"


@pytest.fixture
def trader(desk: Desk) -> SpotTrader:
    desk.pin("800", BNB)
    return SpotTrader(desk, USDT="20000", BNB="1")


def changed(terms: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Terms with some replaced; None takes one out."""
    return {name: value for name, value in {**terms, **more}.items() if value is not None}


ORDER_ERRORS: list[tuple[dict[str, Any], int, str]] = [
    ({"symbol": None}, -1102, MISSING.format("symbol")),
    ({"symbol": ""}, -1102, MISSING.format("symbol")),
    ({"price": None}, -1102, MISSING.format("price")),
    ({"timeInForce": None}, -1102, MISSING.format("timeInForce")),
    ({"note": "x"}, -1104, "Not all sent parameters were read; read '8' parameter(s) but was sent '9'."),
    ({"newClientOrderId": ""}, -1105, "Parameter 'newClientOrderId' was empty."),
    ({"stopPrice": "1"}, -1106, "Parameter 'stopPrice' sent when not required."),
    ({"quoteOrderQty": "1"}, -1106, "Parameter 'quoteOrderQty' sent when not required."),
    (
        {"type": "MARKET", "timeInForce": None},
        -1106,
        "Parameter 'price' sent when not required.",
    ),
    (
        {"type": "MARKET", "timeInForce": None, "price": None, "icebergQty": "1"},
        -1106,
        "Parameter 'icebergQty' sent when not required.",
    ),
    ({"type": "LIMIT_MAKER"}, -1106, "Parameter 'timeInForce' sent when not required."),
    (
        {"price": "1e2"},
        -1100,
        r"Illegal characters found in parameter 'price'; legal range is '^([0-9]{1,20})(\.[0-9]{1,20})?$'.",
    ),
    (
        {"newClientOrderId": "a b"},
        -1100,
        f"Illegal characters found in parameter 'newClientOrderId'; legal range is '{CLIENT_ID}'.",
    ),
    (
        {"newClientOrderId": "a" * 37},
        -1100,
        f"Illegal characters found in parameter 'newClientOrderId'; legal range is '{CLIENT_ID}'.",
    ),
    ({"quantity": "99999999999"}, -1108, "Parameter 'quantity' overflowed."),
    ({"quantity": "0.123456789"}, -1111, "Parameter 'quantity' has too much precision."),
    ({"price": "700.000000001"}, -1111, "Parameter 'price' has too much precision."),
    ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
    ({"type": "ICEBERG"}, -1116, "Invalid orderType."),
    ({"side": "HOLD"}, -1117, "Invalid side."),
    ({"symbol": "KOGEUSDT"}, -1121, "Invalid symbol."),
    ({"symbol": "ALPHA_22USDT"}, -1121, "Invalid symbol."),
    ({"strategyType": "999999"}, -1134, "`strategyType` was less than 1000000."),
    (
        {"selfTradePreventionMode": "TRANSFER"},
        -1013,
        "This symbol does not allow the specified self-trade prevention mode.",
    ),
    ({"price": "700.001"}, -1013, "Filter failure: PRICE_FILTER"),
    ({"price": "100000.01"}, -1013, "Filter failure: PRICE_FILTER"),
    ({"quantity": "1.0001"}, -1013, "Filter failure: LOT_SIZE"),
    ({"quantity": "900001"}, -1013, "Filter failure: LOT_SIZE"),
    ({"quantity": "0.001"}, -1013, "Filter failure: NOTIONAL"),
    ({"price": "99999", "quantity": "900"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    ({"price": "100"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    ({"quantity": "0"}, -2010, "Price * QTY is zero or less."),
    ({"quantity": "100"}, -2010, "Account has insufficient balance for requested action."),
    (
        {"type": "LIMIT_MAKER", "timeInForce": None, "price": "801"},
        -2010,
        "Order would immediately match and take.",
    ),
    ({"type": "STOP_LOSS_LIMIT", "stopPrice": "750"}, -2010, "Order would trigger immediately."),
    ({"icebergQty": "2"}, -2010, "IcebergQty exceeds QTY."),
]


@pytest.mark.parametrize(("more", "code", "text"), ORDER_ERRORS)
def test_an_order_is_refused(trader: SpotTrader, more: dict[str, Any], code: int, text: str) -> None:
    assert trader.refused("POST", "order", **changed(LIMIT, **more)) == (400, code, text)
    assert trader.desk.state.by_account[trader.account.key] == []
    assert trader.account.locked.get("USDT", 0) == 0


LIST_ERRORS: list[tuple[str, dict[str, Any], int, str]] = [
    ("oto", {"pendingQuantity": None}, -1102, MISSING.format("pendingQuantity")),
    ("oto", {"workingTimeInForce": None}, -1102, MISSING.format("workingTimeInForce")),
    ("oto", {"pendingTimeInForce": None}, -1102, MISSING.format("pendingTimeInForce")),
    ("oto", {"pendingType": "LIMIT_MAKER"}, -1106, "Parameter 'pendingTimeInForce' sent when not required."),
    (
        "oto",
        {"workingType": "MARKET"},
        -1159,
        "Order type not supported for the working order.",
    ),
    ("oto", {"pendingPrice": "900.001"}, -1013, "Filter failure: PRICE_FILTER"),
    ("oto", {"pendingPrice": "9000"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    ("oto", {"workingClientOrderId": "p-0001"}, -2010, "Duplicate order sent."),
    ("oto", {"pendingQuantity": "0"}, -2010, "Price * QTY is zero or less."),
    (
        "oto",
        {"workingType": "LIMIT_MAKER", "workingTimeInForce": None, "workingPrice": "801"},
        -2010,
        "Order would immediately match and take.",
    ),
    ("opo", {"pendingQuantity": "1"}, -1225, "Parameter 'pendingQuantity' is not allowed for OPO orders."),
    ("opo", {"workingSide": "SELL"}, -1222, "The working order of an OPO must be a BUY."),
    ("opo", {"pendingSide": "BUY"}, -1223, "The pending order of an OPO must be a SELL."),
]


@pytest.mark.parametrize(("kind", "more", "code", "text"), LIST_ERRORS)
def test_a_list_is_refused_whole(
    trader: SpotTrader, kind: str, more: dict[str, Any], code: int, text: str
) -> None:
    terms = changed(oto() if kind == "oto" else opo(), **more)
    assert trader.refused("POST", f"orderList/{kind}", **terms) == (400, code, text)
    assert trader.desk.state.by_account[trader.account.key] == []


def test_a_symbol_that_takes_no_opo(trader: SpotTrader) -> None:
    config = make_config()
    instruments = [i.model_copy(update={"opo_allowed": False}) for i in config.instruments]
    desk = Desk(config.model_copy(update={"instruments": tuple(instruments)}))
    desk.pin("800", BNB)
    found = SpotTrader(desk).refused("POST", "orderList/opo", **opo())
    assert found == (400, -2010, "OPO orders are not supported for this symbol.")


def test_ids_are_refused_while_an_open_order_has_them(trader: SpotTrader) -> None:
    trader.limit("BUY", "700", "1", newClientOrderId="mine")
    duplicate = (400, -2010, "Duplicate order sent.")
    assert trader.refused("POST", "order", **LIMIT, newClientOrderId="mine") == duplicate
    trader.call("POST", "orderList/oto", **oto())
    again = oto(workingClientOrderId="w2", pendingClientOrderId="p2")
    assert trader.refused("POST", "orderList/oto", **again) == duplicate
    trader.call("DELETE", "order", symbol=BNB, origClientOrderId="mine")
    assert trader.limit("BUY", "700", "1", newClientOrderId="mine")["clientOrderId"] == "mine"


@pytest.mark.parametrize(
    ("method", "path", "params", "code", "text"),
    [
        ("GET", "order", {"orderId": 1}, -2013, "Order does not exist."),
        ("GET", "order", {"origClientOrderId": "none"}, -2013, "Order does not exist."),
        (
            "GET",
            "order",
            {},
            -1102,
            "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
        ),
        (
            "GET",
            "order",
            {"orderId": "-1"},
            -1100,
            "Illegal characters found in parameter 'orderId'; legal range is '^[0-9]{1,20}$'.",
        ),
        ("DELETE", "order", {"orderId": 1}, -2011, "Unknown order sent."),
        ("DELETE", "openOrders", {}, -2011, "Unknown order sent."),
        ("DELETE", "orderList", {"orderListId": 1}, -2011, "Unknown order sent."),
        (
            "GET",
            "myTrades",
            {"fromId": 1, "startTime": 1},
            -1128,
            "Combination of optional parameters invalid.",
        ),
        (
            "GET",
            "allOrders",
            {"startTime": 1700000000000, "endTime": 1700086400001},
            -1127,
            "More than 24 hours between startTime and endTime.",
        ),
        ("GET", "allOrders", {"limit": 0}, -1130, "Data sent for parameter 'limit' is not valid."),
    ],
)
def test_queries_and_cancels_that_are_refused(
    trader: SpotTrader, method: str, path: str, params: dict[str, Any], code: int, text: str
) -> None:
    assert trader.refused(method, path, symbol=BNB, **params) == (400, code, text)


def test_an_unknown_list_has_a_code_of_the_configuration() -> None:
    desk = Desk(make_config(spot={"unknown_list_code": "-2013"}))
    assert SpotTrader(desk).refused("GET", "orderList", orderListId=1)[1] == -2013


def test_both_ids_must_be_of_one_order(trader: SpotTrader) -> None:
    order_id = trader.limit("BUY", "700", "1", newClientOrderId="mine")["orderId"]
    found = trader.refused("GET", "order", symbol=BNB, orderId=order_id, origClientOrderId="other")
    assert found == (400, -2039, "Client order ID is not correct for this order ID.")
    assert trader.refused("GET", "order", symbol="BTCUSDT", orderId=order_id)[1] == -2013


def test_an_unknown_restriction_is_refused_in_the_samples_words(trader: SpotTrader) -> None:
    sent = {"symbol": BNB, "orderId": 1, "cancelRestrictions": "X"}
    answer, body = trader.failed("DELETE", "order", **sent)
    assert (answer.status, body) == (400, sample("rest_error_cancel_restrictions_invalid"))
    unknown, body = trader.failed("DELETE", "order", symbol="NONE", orderId=1)
    assert (unknown.status, body) == (400, sample("rest_error_body"))


def test_cancel_restrictions(trader: SpotTrader) -> None:
    order_id = trader.limit("BUY", "700", "1")["orderId"]
    asked = {"symbol": BNB, "orderId": order_id}
    found = trader.refused("DELETE", "order", **asked, cancelRestrictions="ONLY_PARTIALLY_FILLED")
    assert found == (400, -2011, "Order was not canceled due to cancel restrictions.")
    assert trader.call("DELETE", "order", **asked, cancelRestrictions="ONLY_NEW")["status"] == "CANCELED"
    assert trader.refused("DELETE", "order", **asked) == (400, -2011, "Unknown order sent.")


def test_open_orders_are_limited() -> None:
    config = make_config()
    few = [i.model_copy(update={"max_num_orders": 2, "max_num_order_lists": 1}) for i in config.instruments]
    desk = Desk(config.model_copy(update={"instruments": tuple(few)}))
    desk.pin("800", BNB)
    trader = SpotTrader(desk)
    trader.limit("BUY", "700", "1")
    assert trader.refused("POST", "orderList/oto", **oto()) == (
        400,
        -2010,
        "Filter failure: MAX_NUM_ORDERS",
    )


def test_a_name_sent_twice_is_refused_unless_the_query_overrides_the_body(trader: SpotTrader) -> None:
    desk, headers = trader.desk, {"x-mbx-apikey": trader.key}
    query = f"timestamp={desk.now_ms}&timestamp={desk.now_ms}"
    signed = f"{query}&signature={trader.sign(query)}"
    twice = desk.ask(Request("GET", "/api/v3/account", signed, headers))
    assert isinstance(twice, Response)
    text = "Duplicate values for a parameter detected."
    assert json.loads(twice.body) == {"code": -1101, "msg": text}
    body = trader.signed({**LIMIT, "price": "600"})
    stamped = body.rpartition("&signature=")[0]
    body = f"{stamped}&signature={trader.sign('price=710' + stamped)}"
    answer = desk.ask(Request("POST", "/api/v3/order", "price=710", headers, body.encode()))
    assert isinstance(answer, Response)
    assert json.loads(answer.body)["price"] == "710.00000000"


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("klines", f"symbol={BNB}&interval=1x", -1120),
        ("klines", f"symbol={BNB}&interval=15s", -1120),
        ("ticker/24hr", f"symbol={BNB}&type=HUGE", -1139),
        ("ticker/price", f"symbol={BNB}&symbols=%5B%22BNBUSDT%22%5D", -1128),
        ("ticker/price", "symbols=%5B%22BNBUSDT%22,%22BNBUSDT%22%5D", -1151),
        ("ticker/price", "symbols=BNBUSDT", -1100),
        ("ticker/price", f"symbol={BNB}&symbolStatus=HALT", -1220),
        ("ticker/price", "symbol=NONE", -1121),
        ("exchangeInfo", "symbolStatus=CLOSED", -1122),
        ("depth", "", -1102),
        ("ping", "a=1", -1104),
    ],
)
def test_public_reads_that_are_refused(desk: Desk, path: str, query: str, code: int) -> None:
    answer = desk.ask(Request("GET", f"/api/v3/{path}", query))
    assert isinstance(answer, Response)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, code)
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"


def test_a_bad_unit_of_time_is_refused(desk: Desk) -> None:
    answer = desk.ask(Request("GET", "/api/v3/time", headers={"x-mbx-time-unit": "NANOSECOND"}))
    assert isinstance(answer, Response)
    assert json.loads(answer.body)["code"] == -1194


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_listen_keys_are_gone(desk: Desk, method: str) -> None:
    answer = desk.ask(Request(method, "/api/v3/userDataStream"))
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers["content-type"]) == (410, "text/html")
    assert b"410 Gone" in answer.body


def test_an_unknown_path_shows_a_page_only_to_who_takes_one(desk: Desk) -> None:
    plain = desk.ask(Request("GET", "/api/v1/ping"))
    page = desk.ask(Request("GET", "/api/v1/ping", headers={"accept": "text/html"}))
    assert isinstance(plain, Response)
    assert isinstance(page, Response)
    assert (plain.status, plain.body, page.status) == (404, b"", 404)
    assert b"<html>" in page.body


def test_every_refusal_of_the_core_has_a_code_and_documented_texts_are_the_venues() -> None:
    assert REFUSALS.keys() == set(Refusal)
    known = {(row["code"], row["msg"]) for row in sample("rest_error_catalogue")}
    ours = {pair for pair in REFUSALS.values() if pair[0] in {code for code, _ in known}}
    unlisted = {text for code, text in ours if (code, text) not in known}
    assert unlisted == {
        "Filter failure: MAX_NUM_ORDER_LISTS",
        "OTO orders are not supported for this symbol.",
        "Order book liquidity is less than symbol minimum quantity.",
        "This symbol is not permitted for this account.",
        "Filter failure: MAX_ASSET",
        "Filter failure: ICEBERG_PARTS",
        "IcebergQty exceeds QTY.",
        "Filter failure: EXCHANGE_MAX_NUM_ORDERS",
        "Filter failure: EXCHANGE_MAX_NUM_ORDER_LISTS",
    }


def test_a_test_order_is_checked_and_not_placed(trader: SpotTrader) -> None:
    assert trader.call("POST", "order/test", **LIMIT) == {}
    assert "discount" in trader.call("POST", "order/test", **LIMIT, computeCommissionRates="true")
    assert trader.refused("POST", "order/test", **changed(LIMIT, price="700.001"))[1] == -1013
    assert trader.desk.state.by_account[trader.account.key] == []
