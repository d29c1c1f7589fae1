"""Rubbish at Spot's doors: an answer in the venue's form each time, and nothing is placed by mistake.

Missing, doubled, empty and unknown parameters, wrong types, huge and odd numbers, odd frames, on
every path and every method there is.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_exchange.http import Request, Response
from paper_exchange.model import Status
from paper_exchange.spot_database import SpotDatabase
from paper_exchange.spot_endpoints import METHODS, ROUTES, endpoints_of
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.streams import HANG_UP
from tests.paper_exchange.desk import START_MS, Desk, make_config
from tests.paper_exchange.spot_desk import BNB, SpotTrader, oto

NOW_MS = START_MS + 300
GENEROUS = {
    "weight_limit_per_minute": "1000000000",
    "order_limit_10s": "1000000",
    "order_limit_day": "1000000",
    "raw_limit_5m": "1000000000",
    "stream_messages_per_second": "1000000",
}


def fresh() -> tuple[Desk, SpotTrader]:
    """The same world for each example: an order and a list of this user stand in it."""
    desk = Desk(make_config(spot=GENEROUS))
    desk.pin("800", BNB)
    trader = SpotTrader(desk, "fuzz", USDT="20000", BNB="10")
    assert trader.limit("BUY", "700", "1", newClientOrderId="mine")["orderId"] == 50_000_001
    assert trader.call("POST", "orderList/oto", **oto())["orderListId"] == 90_000_001
    return desk, trader


Draw = Callable[[st.SearchStrategy[Any]], Any]

# A good call of each endpoint, to be spoiled in a place or two.
ORDER = {"symbol": BNB, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "700"}
LISTED = {name: str(value) for name, value in oto().items() if not name.endswith("ClientOrderId")}
OCO = {"symbol": BNB, "side": "SELL", "quantity": "1", "aboveType": "LIMIT_MAKER", "belowType": "STOP_LOSS"}
OLD_OCO = {"symbol": BNB, "side": "SELL", "quantity": "1", "price": "900", "stopPrice": "700"}
SPAN = {"startTime": "1799999999000", "endTime": "1800000009000"}
GOOD: dict[str, dict[str, str]] = {
    "ping": {},
    "time": {},
    "exchange_info": {"symbols": '["BNBUSDT"]', "showPermissionSets": "false"},
    "depth": {"symbol": BNB, "limit": "5", "symbolStatus": "TRADING"},
    "trades": {"symbol": BNB, "limit": "5"},
    "historical_trades": {"symbol": BNB, "limit": "5", "fromId": "900001"},
    "block_trades": {"symbol": BNB, "limit": "5"},
    "agg_trades": {"symbol": BNB, "limit": "5", **SPAN},
    "klines": {"symbol": BNB, "interval": "1m", "timeZone": "-1:30", "limit": "5", **SPAN},
    "avg_price": {"symbol": BNB},
    "ticker_window": {"symbol": BNB, "windowSize": "1h", "type": "MINI"},
    "ticker_day": {"symbols": '["BNBUSDT"]', "timeZone": "8"},
    "ticker_price": {"symbols": '["BNBUSDT"]'},
    "book_ticker": {"symbol": BNB},
    "ticker_24hr": {"symbol": BNB, "type": "FULL"},
    "execution_rules": {"symbol": BNB},
    "reference_price": {"symbol": BNB},
    "place_order": ORDER | {"newOrderRespType": "FULL", "strategyType": "1000000", "strategyId": "1"},
    "test_order": ORDER | {"computeCommissionRates": "true"},
    "cancel_replace": ORDER | {"cancelReplaceMode": "ALLOW_FAILURE", "cancelOrderId": "1"},
    "amend": {"symbol": BNB, "orderId": "50000001", "newQty": "0.5", "newClientOrderId": "amended"},
    "amendments": {"symbol": BNB, "orderId": "50000001", "fromExecutionId": "1", "limit": "5"},
    "place_old_oco": OLD_OCO,
    "place_oco": OCO,
    "place_oto": LISTED,
    "place_opo": {name: value for name, value in LISTED.items() if name != "pendingQuantity"},
    "place_otoco": LISTED | {"pendingAboveType": "LIMIT_MAKER"},
    "place_opoco": LISTED | {"pendingAboveType": "LIMIT_MAKER"},
    "cancel_order": {"symbol": BNB, "orderId": "50000001", "cancelRestrictions": "ONLY_NEW"},
    "cancel_open_orders": {"symbol": BNB},
    "cancel_list": {"symbol": BNB, "orderListId": "90000001", "newClientOrderId": "gone"},
    "order": {"symbol": BNB, "orderId": "50000001", "origClientOrderId": "mine"},
    "open_orders": {"symbol": BNB},
    "all_orders": {"symbol": BNB, "limit": "5", **SPAN},
    "my_trades": {"symbol": BNB, "orderId": "50000001", "limit": "5"},
    "prevented_matches": {"symbol": BNB, "orderId": "50000001", "fromPreventedMatchId": "0"},
    "my_filters": {"symbol": BNB},
    "order_list": {"orderListId": "90000001"},
    "open_lists": {},
    "all_lists": {"fromId": "1", "limit": "5"},
    "account": {"omitZeroBalances": "true"},
    "commission": {"symbol": BNB},
    "rate_limits": {},
}
GOOD["exchange_info_ws"] = GOOD["exchange_info"]


def _signed() -> dict[str, bool]:
    desk = Desk()
    endpoints = endpoints_of(desk.exchange, SpotLimits(desk.config.spot), SpotDatabase(desk.exchange))
    return {name: endpoint.signed for name, endpoint in endpoints.items()}


SIGNED = _signed()
# Names any of which may turn up where it does not belong.
NAMES = sorted({name for params in GOOD.values() for name in params} | {"icebergQty", "stopPrice", "note"})
ODD_TEXTS = st.sampled_from(
    [
        *("", " ", "0", "-1", "1e5", "1E400", "NaN", "Infinity", "null", "true", "0x10", "١٢", "½", "\u0000"),
        *("9" * 19, "9" * 20, "9" * 21, "9" * 400, f"0.{'0' * 19}1", f"{'9' * 20}.{'9' * 20}", ".5", "5."),
        *(
            "币安人生USDT",
            "BNBUSDT ",
            "bnbusdt",
            "a" * 37,
            "' OR 1=1",
            "[]",
            "{}",
            '["',
            '[["BNBUSDT"]]',
            "+8",
        ),
        *('[{"a":1}]', '["BNBUSDT","BNBUSDT"]', "-99:99", "8:", ":", "1:60", "%00", "1_000", "٣", "1\n"),
    ]
)
SESSION = ["session.logon", "session.status", "session.logout", "session.subscriptions"]
SESSION += ["userDataStream.subscribe", "userDataStream.subscribe.signature", "userDataStream.unsubscribe"]
UNITS_SENT = ["MILLISECOND"] * 8 + ["MICROSECOND", "NANOSECOND"]
VALUES = ODD_TEXTS | st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def spoiled(draw: Draw, endpoint: str, odd: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A good call with up to two things wrong: one too many, one missing, one absurd."""
    params: dict[str, Any] = dict(GOOD[endpoint])
    if SIGNED[endpoint]:
        params |= {"timestamp": str(NOW_MS), "recvWindow": "5000"}
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(params) or ["note"]))
        kind = draw(st.sampled_from(["absurd", "absurd", "missing", "other"]))
        if kind == "missing":
            params.pop(name, None)
        else:
            params[name if kind == "absurd" else draw(st.sampled_from(NAMES))] = draw(odd)
    return params


def assert_typed(status: int, body: Any) -> None:
    """Success, or a refusal with a code and a text: never a breakdown."""
    assert status < 500, body
    if status != 200:
        assert isinstance(body["code"], int), body
        assert body["code"] < 0
        assert isinstance(body["msg"], str)


def assert_sound(trader: SpotTrader) -> None:
    """Whatever was asked, money is free or locked, and no order is beyond its filters."""
    account = trader.account
    assert all(amount >= 0 for amount in (*account.free.values(), *account.locked.values()))
    for order in trader.desk.state.open[account.key].values():
        assert order.quantity > 0 or order.status is Status.PENDING  # an OPO is sized at its release
        assert order.price % Decimal("0.01") == 0
        assert order.quantity % Decimal("0.001") == 0


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_request_breaks_the_venue(data: Any) -> None:
    desk, trader = fresh()
    method, path = data.draw(st.sampled_from(sorted(ROUTES)))
    query = urlencode(spoiled(data.draw, ROUTES[method, path], VALUES), quote_via=quote)
    if data.draw(st.integers(0, 19)) == 0:
        query += "&" + data.draw(st.sampled_from(["symbol=X", "&&&", "=", "a", "%", "symbol", "a=%zz"]))
    if SIGNED[ROUTES[method, path]]:
        signature = trader.sign(query) if data.draw(st.integers(0, 19)) else "%ff"
        query += f"&signature={signature}"
    in_body = method != "GET" and data.draw(st.booleans())
    odd_body = data.draw(st.binary(max_size=8)) if data.draw(st.integers(0, 19)) == 0 else b""
    key = trader.key if data.draw(st.integers(0, 19)) else data.draw(VALUES)
    headers = {"x-mbx-apikey": key, "x-mbx-time-unit": data.draw(st.sampled_from(UNITS_SENT))}
    body = (query.encode() if in_body else b"") + odd_body
    answer = desk.ask(Request(method, f"/api/v3/{path}", "" if in_body else query, headers, body, "10.0.0.1"))
    assert isinstance(answer, Response)
    assert_typed(answer.status, json.loads(answer.body))
    assert_sound(trader)
    desk.pass_time(0.2)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_frame_breaks_the_ws_api(data: Any) -> None:
    desk, trader = fresh()
    frames: list[bytes] = []
    connection = desk.world.connect(Request("GET", "/ws-api/v3", remote="10.0.0.1"), frames.append)
    assert connection is not None
    desk.world.receive(connection, drawn_frame(data.draw, trader), desk.now_ms)
    desk.world.disconnect(connection)
    (answer,) = (json.loads(frame) for frame in frames if frame != HANG_UP and b'"event"' not in frame)
    assert_typed(answer["status"], answer.get("error"))
    assert answer.keys() <= {"id", "status", "result", "error", "rateLimits"}
    assert_sound(trader)
    desk.pass_time(0.2)


def drawn_frame(draw: Draw, trader: SpotTrader) -> str:
    """A request that is odd in its parameters, in its frame, or in nothing."""
    if draw(st.integers(0, 9)) == 0:
        return str(draw(st.text(max_size=40) | JSON.map(json.dumps)))
    method = draw(st.sampled_from([*METHODS, *SESSION]))
    endpoint = METHODS.get(method, "place_order" if method.endswith(("logon", "signature")) else "ping")
    params = spoiled(draw, endpoint, VALUES | JSON)
    if METHODS.get(method, "") == "" and endpoint == "place_order":
        params = {"timestamp": NOW_MS}
    if SIGNED[endpoint]:
        params["apiKey"] = trader.key
        payload = "&".join(f"{key}={_told(params[key])}" for key in sorted(params))
        params["signature"] = trader.sign(payload)
    message: dict[str, Any] = {"id": 1, "method": method, "params": params}
    if draw(st.integers(0, 9)) == 0:
        message[draw(st.sampled_from(["id", "method", "params"]))] = draw(JSON)
    return json.dumps(message)


def _told(value: Any) -> str:
    """A parameter's text in what is signed."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_message_breaks_a_market_stream(data: Any) -> None:
    desk, _ = fresh()
    path = data.draw(st.sampled_from(["/ws", "/stream", "/ws/bnbusdt@depth", "/ws/%00"]))
    streams = st.sampled_from(
        [
            "bnbusdt@depth5",
            "!miniTicker@arr",
            "@",
            "bnbusdt@kline_1x",
            "!ticker_1h@arr",
            "bnbusdt@kline_1m@+99:99",
        ]
    )
    frames: list[bytes] = []
    query = data.draw(st.sampled_from(["", "streams=", "streams=a/b//", "timeUnit=x", "streams=%5B%5D"]))
    connection = desk.world.connect(Request("GET", path, query), frames.append)
    assert connection is not None
    method = data.draw(
        st.sampled_from(["SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY"])
        | st.text(max_size=6)
    )
    message = {
        "method": method,
        "params": data.draw(st.lists(streams, max_size=3) | JSON),
        "id": data.draw(JSON),
    }
    desk.world.receive(
        connection, data.draw(st.just(json.dumps(message)) | st.text(max_size=30)), desk.now_ms
    )
    desk.pass_time(1.5)
    desk.world.disconnect(connection)
    told = [frame for frame in frames if frame != HANG_UP]
    answer = json.loads(next(frame for frame in told if b'"id"' in frame or b'"code"' in frame))
    assert "result" in answer or isinstance(answer["code"], int)


HALVES = [
    r'{"id":"\ud800","method":"ping"}',
    r'{"id":1,"method":"ticker.price","params":{"symbol":"\ud800"}}',
    r'{"id":1,"method":"order.place","params":{"\udc00":"x","apiKey":"\ud800","signature":"x"}}',
    r'{"method":"SUBSCRIBE","params":["\ud800"],"id":"\ud800"}',
    '{"method":"LIST_SUBSCRIPTIONS","id":' + "9" * 30 + "}",
    '{"method":"LIST_SUBSCRIPTIONS","id":' + "9" * 5000 + "}",
    '{"method":"LIST_SUBSCRIPTIONS","id":NaN}',
    "[" * 5000,
]


@pytest.mark.parametrize("frame", HALVES)
@pytest.mark.parametrize("path", ["/ws-api/v3", "/ws", "/w3w/wsa/stream", "/w3w/stream"])
def test_what_no_answer_could_repeat_is_refused(path: str, frame: str) -> None:
    desk, _ = fresh()
    frames: list[bytes] = []
    connection = desk.world.connect(Request("GET", path), frames.append)
    assert connection is not None
    desk.world.receive(connection, frame, desk.now_ms)
    assert len(frames) == 1
    assert json.loads(frames[0])


@pytest.mark.parametrize("path", ["exchangeInfo", "ticker/price", "executionRules"])
@pytest.mark.parametrize("names", ["%5B" * 3000, "%5B%22%5Cud800%22%5D", "%5B1e999%5D"])
def test_odd_lists_of_names_are_refused(path: str, names: str) -> None:
    desk, _ = fresh()
    answer = desk.ask(Request("GET", f"/api/v3/{path}", f"symbols={names}"))
    assert isinstance(answer, Response)
    assert_typed(answer.status, json.loads(answer.body))
    assert answer.status == 400
