"""The WS API: REST's twins as frames, with rate limits in every answer (binance-spot 6)."""

import json
from typing import Any

import pytest

from tests.paper_exchange.desk import Desk, make_config
from tests.paper_exchange.spot_desk import BNB, HUNG_UP, Line, SpotTrader, assert_alike, oto, sample

LIMIT = {
    "symbol": BNB,
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "1",
    "price": "700",
}


@pytest.fixture
def trader(desk: Desk) -> SpotTrader:
    desk.pin("800", BNB)
    return SpotTrader(desk)


@pytest.fixture
def line(trader: SpotTrader) -> Line:
    return Line(trader.desk, "/ws-api/v3")


@pytest.mark.parametrize("response", ["ack", "result", "full"])
def test_orders_are_placed_as_over_rest(trader: SpotTrader, line: Line, response: str) -> None:
    answer = trader.ws(line, "order.place", **(LIMIT | {"price": "801"}), newOrderRespType=response.upper())
    theirs = sample(f"wsapi_order_place_response_{response}")
    theirs["result"] |= {} if response == "ack" else {"selfTradePreventionMode": ""}
    assert_alike({**answer, "id": ""}, theirs)
    assert [row["rateLimitType"] for row in answer["rateLimits"]] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]


def test_reads_and_cancels(trader: SpotTrader, line: Line) -> None:
    order_id = trader.ws(line, "order.place", **LIMIT)["result"]["orderId"]
    status = trader.ws(line, "order.status", symbol=BNB, orderId=order_id)
    assert status["result"] == trader.order(order_id)
    assert trader.ws(line, "openOrders.status", symbol=BNB)["result"] == [status["result"]]
    account = trader.ws(line, "account.status")
    assert_alike({**account, "id": ""}, sample("wsapi_account_status_response"))
    ended = trader.ws(line, "order.cancel", symbol=BNB, orderId=order_id)
    assert ended["result"]["status"] == "CANCELED"
    assert [row["rateLimitType"] for row in ended["rateLimits"]] == ["REQUEST_WEIGHT"]
    assert trader.ws(line, "myTrades", symbol=BNB)["result"] == []


def test_lists(trader: SpotTrader, line: Line) -> None:
    placed = trader.ws(line, "orderList.place.oto", **oto())
    assert_alike({**placed, "id": ""}, sample("wsapi_orderlist_place_oto_response"))
    list_id = placed["result"]["orderListId"]
    assert (
        trader.ws(line, "orderList.status", orderListId=list_id)["result"]["listOrderStatus"] == "EXECUTING"
    )
    leg = placed["result"]["orders"][1]["orderId"]
    ended = trader.ws(line, "order.cancel", symbol=BNB, orderId=leg)
    theirs = sample("wsapi_order_cancel_response_whole_list")
    for report in theirs["result"]["orderReports"]:
        report.pop("stopPrice", None)
    assert_alike({**ended, "id": ""}, theirs)
    terms = oto()
    del terms["pendingQuantity"]
    listed = trader.ws(line, "orderList.place.opo", **terms)["result"]
    assert "origQty" not in listed["orderReports"][1]
    cancelled = trader.ws(line, "orderList.cancel", symbol=BNB, orderListId=listed["orderListId"])
    assert cancelled["result"]["listOrderStatus"] == "ALL_DONE"


def test_public_methods_with_and_without_a_version(line: Line) -> None:
    info = line.ask({"id": "a", "method": "v3/exchangeInfo", "params": {"symbols": [BNB]}})
    theirs = sample("wsapi_exchange_info_response")
    assert [row["rateLimitType"] for row in info["result"]["rateLimits"]] == [
        row["rateLimitType"] for row in theirs["result"]["rateLimits"]
    ]
    assert [row["symbol"] for row in info["result"]["symbols"]] == [BNB]
    assert line.ask({"id": None, "method": "ping"}) == {
        "id": None,
        "status": 200,
        "result": {},
        "rateLimits": [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": 6000,
                "count": 23,
            }
        ],
    }
    for method in ("time", "ticker.price", "ticker.book", "ticker.24hr"):
        assert line.ask({"id": 1, "method": method})["status"] == 200
    for method in ("depth", "trades.recent", "trades.aggregate", "avgPrice"):
        assert line.ask({"id": 1, "method": method, "params": {"symbol": BNB}})["status"] == 200


@pytest.mark.parametrize("number", [7, 0, -3, "x-1", "", None, 12345678901234567])
def test_the_id_comes_back_as_it_was_sent(line: Line, number: object) -> None:
    assert line.ask({"id": number, "method": "ping"})["id"] == number


def test_a_refusal_has_the_status_and_code_of_its_twin(trader: SpotTrader, line: Line) -> None:
    answer = trader.ws(line, "order.place", **(LIMIT | {"quantity": "1000"}))
    assert_alike({**answer, "id": ""}, sample("wsapi_response_error"))
    assert answer["error"] == sample("wsapi_response_error")["error"]


def test_a_key_nobody_has_is_refused(trader: SpotTrader, line: Line) -> None:
    trader.key = "x" * 64
    assert trader.ws(line, "account.status")["status"] == 401


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", -1135),
        ("[]", -1135),
        ('{"id": 1.5, "method": "ping"}', -1135),
        ('{"id": {}, "method": "ping"}', -1135),
        ('{"id": 1, "method": "ping", "params": []}', -1135),
        *(
            (f'{{"id": 1, "method": "userDataStream.{name}"}}', -1020)  # gone with the listen keys
            for name in ("start", "ping", "stop")
        ),
        ('{"id": 1, "method": "ping", "params": {"a": null}}', -1104),
    ],
)
def test_frames_that_are_no_requests(line: Line, frame: str, code: int) -> None:
    answer = line.ask(frame)
    assert (answer["status"], answer["error"]["code"]) == (400, code)
    assert "rateLimits" in answer


def test_rate_limits_are_left_out_on_request(trader: SpotTrader) -> None:
    line = Line(trader.desk, "/ws-api/v3", "returnRateLimits=false")
    assert "rateLimits" not in line.ask({"id": 1, "method": "ping"})
    assert "rateLimits" in line.ask({"id": 1, "method": "ping", "params": {"returnRateLimits": True}})


def test_numbers_may_be_sent_as_numbers(trader: SpotTrader, line: Line) -> None:
    answer = trader.ws(line, "order.place", **(LIMIT | {"quantity": 1, "price": 700.5}))
    assert answer["result"]["price"] == "700.50000000"


def fault(trader: SpotTrader, kind: str, **more: Any) -> None:
    assert trader.desk.control("POST", "faults", {"kind": kind, "venue": "spot", **more})["_status"] == 200


@pytest.mark.parametrize(("kind", "orders"), [("drop_request", 0), ("drop_response", 1)])
def test_a_lost_request_or_answer_hangs_up(trader: SpotTrader, line: Line, kind: str, orders: int) -> None:
    fault(trader, kind, endpoint="place*", count=1)
    sent = {**LIMIT, "apiKey": trader.key, "timestamp": trader.desk.now_ms}
    payload = "&".join(f"{name}={sent[name]}" for name in sorted(sent))
    line.send({"id": 1, "method": "order.place", "params": {**sent, "signature": trader.sign(payload)}})
    assert line.taken() == [HUNG_UP]
    assert len(trader.desk.state.by_account[trader.account.key]) == orders


def test_a_slow_engine_takes_the_order_when_its_time_has_passed(trader: SpotTrader, line: Line) -> None:
    fault(trader, "engine_delay", endpoint="place_oto", seconds="10", count=1)
    sent = {**oto(), "apiKey": trader.key, "timestamp": trader.desk.now_ms, "recvWindow": 2000}
    payload = "&".join(f"{name}={sent[name]}" for name in sorted(sent))
    params = {**sent, "signature": trader.sign(payload)}
    line.send({"id": 1, "method": "orderList.place.oto", "params": params})
    trader.desk.pass_time(9)
    assert (line.frames, trader.desk.state.lists) == ([], {})
    trader.desk.pass_time(1)
    assert line.frames[0]["status"] == 200
    assert len(trader.desk.state.lists) == 1


def test_a_slow_engine_takes_the_order_though_the_client_has_gone(trader: SpotTrader, line: Line) -> None:
    fault(trader, "engine_delay", endpoint="place_order", seconds="10", count=1)
    sent = {**LIMIT, "apiKey": trader.key, "timestamp": trader.desk.now_ms, "strategyId": 7}
    payload = "&".join(f"{name}={sent[name]}" for name in sorted(sent))
    line.send({"id": 1, "method": "order.place", "params": {**sent, "signature": trader.sign(payload)}})
    line.close()
    trader.desk.pass_time(11)
    (order,) = trader.call("GET", "openOrders", symbol=BNB)
    assert order["strategyId"] == 7
    assert line.frames == []


def test_an_answer_can_be_late_while_the_order_lives(trader: SpotTrader, line: Line) -> None:
    fault(trader, "delay_response", endpoint="place*", seconds="2", count=1)
    sent = {**LIMIT, "apiKey": trader.key, "timestamp": trader.desk.now_ms}
    payload = "&".join(f"{name}={sent[name]}" for name in sorted(sent))
    line.send({"id": 1, "method": "order.place", "params": {**sent, "signature": trader.sign(payload)}})
    assert line.frames == []
    assert len(trader.desk.state.by_account[trader.account.key]) == 1
    trader.desk.pass_time(2)
    assert line.frames[0]["result"]["status"] == "NEW"


def test_an_http_error_is_an_answer_here(trader: SpotTrader, line: Line) -> None:
    fault(trader, "http_error", status=429, retry_after_seconds=30, message="slow down", count=1)
    answer = trader.ws(line, "account.status")
    assert (answer["status"], answer["error"]["msg"]) == (429, "slow down")
    assert answer["error"]["data"] == {
        "serverTime": trader.desk.now_ms,
        "retryAfter": trader.desk.now_ms + 30_000,
    }


def test_a_ban_is_told_and_hangs_up() -> None:
    desk = Desk(make_config(spot={"weight_limit_per_minute": "3", "ban_after_refusals": "1"}))
    line = Line(desk, "/ws-api/v3")
    answers = [line.ask({"id": "a", "method": "ping"}) for _ in range(2)]
    assert [answer["status"] for answer in answers] == [200, 429]
    line.taken()
    line.send({"id": "a", "method": "ping"})
    banned, gone = line.taken()
    theirs = sample("wsapi_error_418_banned")
    assert_alike(banned, theirs)
    until = banned["error"]["data"]["retryAfter"]
    assert banned["error"]["msg"] == theirs["error"]["msg"].replace("1659146400000", str(until))
    assert gone == HUNG_UP


def test_every_answer_is_json_of_its_own(trader: SpotTrader, line: Line) -> None:
    assert json.loads(json.dumps(trader.ws(line, "account.rateLimits.orders")["result"])) == trader.call(
        "GET", "rateLimit/order"
    )
