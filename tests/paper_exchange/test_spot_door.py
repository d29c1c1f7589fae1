"""What is looked at first, and what a key, an address or a clock is refused for (binance-spot 1, 8)."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from paper_exchange.http import Held, Request, Response
from tests.paper_exchange.desk import Desk
from tests.paper_exchange.spot_desk import BNB, Line, SpotTrader, bnb_desk, oto, sample, shape
from tests.paper_exchange.test_spot_signing import ED25519, logon, public_pem


def get(desk: Desk, path: str, remote: str = "10.0.0.1") -> Response:
    answer = desk.ask(Request("GET", f"/api/v3/{path}", remote=remote))
    assert isinstance(answer, Response)
    return answer


# The order in which a call is looked at (1.5).

GOOD = {
    "symbol": BNB,
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "1",
    "price": "700",
}
# A call with every fault at once; each line is cured in turn, and the next one is told.
FAULTS: list[tuple[str, int]] = [
    ("form of the key", -2014),
    ("key", -2015),
    ("timestamp", -1102),
    ("time", -1021),
    ("signature", -1022),
    ("syntax", -1100),
    ("unread", -1104),
    ("symbol", -1121),
    ("side", -1117),
    ("precision", -1111),
    ("order count", -1015),
    ("filter", -1013),
    ("funds", -2010),
]


def call_with(trader: SpotTrader, faults: list[str]) -> Request:
    terms: dict[str, Any] = dict(GOOD)
    terms |= {"newClientOrderId": "a b"} if "syntax" in faults else {}
    terms |= {"unread": "1"} if "unread" in faults else {}
    terms |= {"side": "HOLD"} if "side" in faults else {}
    terms |= {"symbol": "NONE"} if "symbol" in faults else {}
    terms |= {"quantity": "1.0000000001"} if "precision" in faults else {}
    terms |= {"price": "700.001"} if "filter" in faults else {}
    if "precision" not in faults and "funds" in faults:
        terms["quantity"] = "1000"
    if "timestamp" not in faults:
        terms["timestamp"] = trader.desk.now_ms - (6000 if "time" in faults else 0)
    query = urlencode(terms)
    signature = "0" * 64 if "signature" in faults else trader.sign(query)
    key = "short" if "form of the key" in faults else "0" * 64 if "key" in faults else trader.key
    return Request("POST", "/api/v3/order", f"{query}&signature={signature}", {"x-mbx-apikey": key})


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_of_many_faults_the_one_that_is_looked_at_first_is_told(first: int) -> None:
    trader = SpotTrader(bnb_desk(spot={"order_limit_10s": "1"}))
    faults = [name for name, _ in FAULTS[first:]]
    if "order count" in faults:
        trader.limit("BUY", "700", "1")
    answer = trader.desk.ask(call_with(trader, faults))
    assert isinstance(answer, Response)
    assert json.loads(answer.body)["code"] == FAULTS[first][1]


def test_without_a_fault_the_call_is_taken() -> None:
    trader = SpotTrader(bnb_desk())
    answer = trader.desk.ask(call_with(trader, []))
    assert isinstance(answer, Response)
    assert answer.status == 200


def test_a_closed_market_is_told_after_the_filters() -> None:
    trader = SpotTrader(bnb_desk())
    trader.desk.control("POST", "faults", {"kind": "trading_status", "symbol": BNB, "code": "BREAK"})
    assert trader.refused("POST", "order", **{**GOOD, "price": "700.001"})[1] == -1013
    assert trader.refused("POST", "order", **GOOD) == (400, -2010, "Market is closed.")


# An address (8).


def test_requests_of_an_address_are_counted_whatever_they_weigh() -> None:
    desk = bnb_desk(spot={"raw_limit_5m": "3"})
    statuses = [get(desk, path).status for path in ("ping", "exchangeInfo", "order", "ping")]
    assert statuses == [200, 200, 401, 429]
    refused = get(desk, "ping")
    assert int(refused.headers["retry-after"]) <= 300
    assert json.loads(refused.body)["code"] == -1003
    assert get(desk, "ping", remote="10.0.0.2").status == 200
    desk.pass_time(300)
    assert get(desk, "ping").status == 200


def test_the_limits_that_are_told_are_those_that_hold() -> None:
    desk = bnb_desk(spot={"raw_limit_5m": "77", "weight_limit_per_minute": "5000"})
    info = json.loads(get(desk, "exchangeInfo").body)
    limits = {row["rateLimitType"]: row["limit"] for row in info["rateLimits"] if row["interval"] != "DAY"}
    assert limits == {"REQUEST_WEIGHT": 5000, "ORDERS": 100, "RAW_REQUESTS": 77}
    line = Line(desk, "/ws-api/v3")
    kinds = [
        row["rateLimitType"] for row in line.ask({"id": 1, "method": "exchangeInfo"})["result"]["rateLimits"]
    ]
    assert kinds == ["REQUEST_WEIGHT", "ORDERS", "ORDERS", "CONNECTIONS"]


def banned_for(desk: Desk) -> int:
    """Ask until the address is shut out; the seconds of its ban."""
    for _ in range(30):
        answer = get(desk, "exchangeInfo")
        if answer.status == 418:
            return int(answer.headers["retry-after"])
    raise AssertionError("not banned")


def test_a_ban_grows_with_each_return_up_to_three_days_and_is_forgiven_after_one() -> None:
    limits = {"weight_limit_per_minute": "40", "ban_after_refusals": "2", "longest_ban_seconds": "400"}
    desk = bnb_desk(spot=limits)
    seconds = []
    for _ in range(4):
        seconds.append(banned_for(desk))
        desk.now_ms += (seconds[-1] + 60) * 1000
    assert seconds == [120, 240, 400, 400]
    desk.now_ms += 86_400_000
    assert banned_for(desk) == 120


# A clock (1.3).


def slow_broker(trader: SpotTrader, seconds: str) -> None:
    rule = {"kind": "broker_delay", "venue": "spot", "seconds": seconds, "count": 1}
    assert trader.desk.control("POST", "faults", rule)["_status"] == 200


def test_a_call_that_grows_too_old_on_its_way_is_refused_and_counts_as_an_order() -> None:
    trader = SpotTrader(bnb_desk())
    slow_broker(trader, "3")
    answer = trader.send("POST", "orderList/oto", **oto(), recvWindow="2000.5")
    assert isinstance(answer, Response)
    assert (answer.status, answer.delay_ms) == (400, 3000)
    text = "Timestamp for this request is outside of the recvWindow."
    assert json.loads(answer.body) == {"code": -1021, "msg": text}
    assert trader.desk.state.lists == {}
    assert trader.call("GET", "rateLimit/order")[0]["count"] == 2


def test_a_call_refused_at_the_door_for_its_time_costs_weight_and_no_count() -> None:
    trader = SpotTrader(bnb_desk())
    body = trader.signed(GOOD)
    trader.desk.now_ms += 6000
    answer = trader.desk.ask(
        Request("POST", "/api/v3/order", body, {"x-mbx-apikey": trader.key}, b"", "10.9.9.9")
    )
    assert isinstance(answer, Response)
    assert (json.loads(answer.body)["code"], answer.headers["x-mbx-used-weight-1m"]) == (-1021, "1")
    assert trader.call("GET", "rateLimit/order")[0]["count"] == 0


def test_a_call_within_its_window_only_waits_for_the_broker() -> None:
    trader = SpotTrader(bnb_desk())
    slow_broker(trader, "3")
    body = trader.signed({**GOOD, "recvWindow": "3000"}).encode()
    request = Request("POST", "/api/v3/order", "", {"x-mbx-apikey": trader.key}, body)
    assert trader.desk.ask(request) == Held(trader.desk.now_ms + 3000)
    trader.desk.pass_time(3)
    answer = trader.desk.world.handle(request, trader.desk.now_ms, held=True)
    assert isinstance(answer, Response)
    assert answer.status == 200


@pytest.mark.parametrize(
    ("window", "code"),
    [("60000", 0), ("6000.346", 0), ("60000.001", -1131), ("1.2345", -1100), ("-1", -1100), ("", -1105)],
)
def test_a_window_is_in_ms_with_up_to_three_decimals_and_a_minute_at_most(window: str, code: int) -> None:
    trader = SpotTrader(bnb_desk())
    answer = trader.send("GET", "account", recvWindow=window)
    assert isinstance(answer, Response)
    assert json.loads(answer.body).get("code", 0) == code


# A session (6).


def test_a_session_whose_key_is_revoked_hears_of_it_once_and_is_one_no_more() -> None:
    trader = SpotTrader(bnb_desk())
    asked = {"user_id": "1", "venue": "spot", "key_kind": "ed25519", "public_key": public_pem(ED25519)}
    trader.desk.control("POST", "accounts", asked)
    line = Line(trader.desk, "/ws-api/v3")
    assert logon(trader, line, "ed25519")["status"] == 200
    trader.desk.control("POST", "faults", {"kind": "revoke", "user_id": "1"})
    request = {"id": 2, "method": "account.status", "params": {"timestamp": trader.desk.now_ms}}
    told = line.ask(request)
    limits = told.pop("rateLimits")  # the sample leaves them out, as several do that have them (6, 13)
    assert told == sample("wsapi_error_401_session_revoked")
    assert [row["rateLimitType"] for row in limits] == ["REQUEST_WEIGHT"]
    assert shape(line.ask({"id": 3, "method": "session.status"})["result"]["apiKey"]) == "NoneType"
    again = line.ask(request)
    assert (again["id"], again["status"], again["error"]["code"]) == (2, 401, -2014)
