"""Weights, order counts and the faults that act on REST (binance-spot 8)."""

import json
from typing import Any

import pytest

from paper_exchange.http import Held, Request, Response
from tests.paper_exchange.desk import Desk, make_config
from tests.paper_exchange.spot_desk import BNB, Line, SpotTrader, oto, public, sample


def desk_with(**spot: Any) -> Desk:
    desk = Desk(make_config(spot=spot))
    desk.pin("800", BNB)
    return desk


def get(desk: Desk, path: str, remote: str = "10.0.0.1") -> Response:
    path, _, query = path.partition("?")
    answer = desk.ask(Request("GET", f"/api/v3/{path}", query, remote=remote))
    assert isinstance(answer, Response)
    return answer


def used(response: Any) -> int:
    return int(response.headers["x-mbx-used-weight-1m"])


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        ("ping", 1),
        ("exchangeInfo", 20),
        (f"depth?symbol={BNB}&limit=100", 5),
        (f"depth?symbol={BNB}&limit=1001", 250),
        (f"aggTrades?symbol={BNB}", 4),
        (f"klines?symbol={BNB}&interval=1m", 2),
        (f"ticker/price?symbol={BNB}", 2),
        ("ticker/price", 4),
        ("ticker/24hr", 80),
        (f"trades?symbol={BNB}", 25),
    ],
)
def test_a_read_costs_its_weight(path: str, weight: int) -> None:
    assert used(get(desk_with(), path)) == weight


def test_weight_is_counted_by_address_within_a_minute_of_the_clock() -> None:
    desk = desk_with()
    assert [used(get(desk, "ping")) for _ in range(2)] == [1, 2]
    assert used(get(desk, "ping", remote="10.0.0.2")) == 1
    desk.pass_time(60)
    assert used(get(desk, "ping")) == 1


def test_a_placement_or_cancel_costs_nothing_when_it_succeeds_and_its_weight_when_it_fails() -> None:
    trader = SpotTrader(desk_with())
    terms = {"symbol": BNB, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1"}
    placed = trader.send("POST", "order", **terms, price="700")
    assert used(placed) == 0
    assert used(trader.send("POST", "orderList/oto", **oto())) == 0
    assert used(trader.send("DELETE", "openOrders", symbol=BNB)) == 0
    assert used(trader.send("POST", "order", **terms, price="1")) == 1
    assert used(trader.send("GET", "openOrders")) == 81
    assert used(trader.send("GET", "openOrders", symbol=BNB)) == 87
    assert used(trader.send("GET", "myTrades", symbol=BNB, orderId=1)) == 92


def test_too_much_weight_is_refused_until_the_minute_ends_and_then_banned() -> None:
    desk = desk_with(weight_limit_per_minute="40", ban_after_refusals="2", ban_seconds="120")
    assert get(desk, "exchangeInfo").status == get(desk, "exchangeInfo").status == 200
    refused = get(desk, "ping")
    assert (refused.status, int(refused.headers["retry-after"])) == (429, 60 - desk.now_ms // 1000 % 60)
    text = sample("rest_error_catalogue")[1]["msg"].replace("6000", "40")
    assert json.loads(refused.body) == {"code": -1003, "msg": text}
    assert get(desk, "ping", remote="10.0.0.2").status == 200
    assert [get(desk, "ping").status for _ in range(3)] == [429, 418, 418]
    desk.pass_time(70)
    assert get(desk, "ping").status == 418
    desk.pass_time(60)
    assert get(desk, "ping").status == 200


def place(trader: SpotTrader, price: str) -> Any:
    terms = {"symbol": BNB, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
    answer = trader.send("POST", "order", **terms, price=price)
    assert isinstance(answer, Response)
    return answer


def counts(response: Any) -> tuple[str, str]:
    return response.headers["x-mbx-order-count-10s"], response.headers["x-mbx-order-count-1d"]


def test_accepted_orders_count_and_a_list_counts_twice() -> None:
    trader = SpotTrader(desk_with())
    assert counts(place(trader, "700")) == ("1", "1")
    assert counts(trader.send("POST", "orderList/oto", **oto())) == ("3", "3")
    trader.desk.pass_time(10)
    assert counts(place(trader, "700")) == ("1", "4")
    assert "x-mbx-order-count-10s" not in place(trader, "1").headers
    rows = trader.call("GET", "rateLimit/order")
    assert [(row["interval"], row["count"]) for row in rows] == [("SECOND", 1), ("DAY", 4)]


def test_a_fill_gives_counts_back() -> None:
    trader = SpotTrader(desk_with(maker_fill_credit="5"))
    for _ in range(6):
        place(trader, "790")
    assert counts(place(trader, "801")) == ("6", "6")
    trader.desk.control("POST", "price", {"symbol": BNB, "price": "789"})
    trader.desk.pass_time(1)
    assert trader.call("GET", "rateLimit/order")[1]["count"] == 0


def test_too_many_orders_are_refused_until_the_window_ends() -> None:
    trader = SpotTrader(desk_with(order_limit_10s="1"))
    trader.desk.pass_time(10 - trader.desk.now_ms / 1000 % 10)
    assert place(trader, "700").status == 200
    refused = place(trader, "700")
    assert (refused.status, json.loads(refused.body)) == (429, sample("rest_error_too_many_orders"))
    assert int(refused.headers["retry-after"]) == 10
    assert trader.refused("POST", "orderList/oto", **oto())[1] == -1015
    trader.desk.pass_time(10)
    assert place(trader, "700").status == 200


# Faults on REST.


def fault(trader: SpotTrader, kind: str, **more: Any) -> None:
    assert trader.desk.control("POST", "faults", {"kind": kind, "venue": "spot", **more})["_status"] == 200


def lists(trader: SpotTrader) -> int:
    return len(trader.desk.state.lists)


@pytest.mark.parametrize(
    ("kind", "more", "made"),
    [
        ("drop_request", {}, 0),
        ("drop_response", {}, 1),
        ("http_error", {"status": 502, "when": "before"}, 0),
        ("http_error", {"status": 502, "when": "after"}, 1),
        ("business_error", {"code": "-1007", "when": "after"}, 1),
    ],
)
def test_faults_strike_before_or_after_the_list_exists(kind: str, more: dict[str, Any], made: int) -> None:
    trader = SpotTrader(desk_with())
    fault(trader, kind, endpoint="place_oto", user_id="1", symbol=BNB, count=1, **more)
    answer = trader.send("POST", "orderList/oto", **oto())
    assert isinstance(answer, Response)
    assert answer.dropped or answer.status >= 400
    assert lists(trader) == made
    if made:
        found = trader.call("GET", "orderList", origClientOrderId="lst-0001")
        assert found["listOrderStatus"] == "EXECUTING"


def test_a_business_error_has_the_status_of_its_code() -> None:
    trader = SpotTrader(desk_with())
    fault(trader, "business_error", code="-2015", message="No.", count=1)
    assert trader.refused("GET", "account") == (401, -2015, "No.")
    fault(trader, "verification_required", count=1)
    assert trader.refused("GET", "account")[:2] == (401, -2015)
    fault(trader, "business_error", count=1)
    assert trader.refused("GET", "account")[:2] == (500, -1000)


@pytest.mark.parametrize(
    ("code", "status"),
    [(-1001, 500), (-1006, 500), (-1007, 504), (-1008, 503), (-1015, 429), (-1016, 500), (-1034, 429)],
)
def test_what_leaves_the_outcome_open_is_a_5xx_on_rest_and_on_the_ws_api(code: int, status: int) -> None:
    trader = SpotTrader(desk_with())
    fault(trader, "business_error", code=str(code), count=2)
    assert trader.refused("GET", "account")[:2] == (status, code)
    answer = trader.ws(Line(trader.desk, "/ws-api/v3"), "account.status")
    assert (answer["status"], answer["error"]["code"]) == (status, code)


def test_the_status_of_a_timeout_is_a_switch() -> None:
    trader = SpotTrader(desk_with(timeout_status="408"))
    fault(trader, "business_error", code="-1007", count=1)
    assert trader.refused("GET", "account")[:2] == (408, -1007)
    fault(trader, "engine_delay", seconds="11", count=1)
    assert trader.refused("GET", "account")[:2] == (408, -1007)


def test_after_ten_seconds_the_outcome_is_unknown_though_the_engine_takes_the_order_later() -> None:
    trader = SpotTrader(desk_with())
    fault(trader, "engine_delay", seconds="30", count=1, endpoint="place_order")
    answer = place(trader, "700")
    assert (answer.status, answer.delay_ms) == (504, 10_000)
    assert json.loads(answer.body) in sample("rest_error_catalogue")
    trader.desk.pass_time(29)
    assert trader.call("GET", "openOrders", symbol=BNB) == []
    trader.desk.pass_time(1)
    (order,) = trader.call("GET", "openOrders", symbol=BNB)
    assert (order["price"], trader.call("GET", "rateLimit/order")[1]["count"]) == ("700.00000000", 1)


def test_what_the_engine_takes_late_it_may_refuse_and_nobody_hears_of_it() -> None:
    trader = SpotTrader(desk_with())
    fault(trader, "engine_delay", seconds="30", count=1, endpoint="place_order")
    assert place(trader, "700").status == 504
    trader.desk.exchange.deposit(trader.account, "USDT", -trader.account.free["USDT"])
    trader.desk.pass_time(31)
    assert trader.desk.state.by_account[trader.account.key] == []


def test_a_timed_out_call_of_the_ws_api_is_taken_though_its_client_has_gone() -> None:
    trader = SpotTrader(desk_with())
    fault(trader, "engine_delay", seconds="12", count=2, endpoint="place_oto")
    line, other = Line(trader.desk, "/ws-api/v3"), Line(trader.desk, "/ws-api/v3")
    for one, ids in ((line, "a"), (other, "b")):
        terms = oto(**{f"{name}ClientOrderId": f"{name}-{ids}" for name in ("working", "pending", "list")})
        one.send(trader.asked("orderList.place.oto", **terms))
    other.close()
    trader.desk.pass_time(10)
    assert [frame["error"]["code"] for frame in line.frames] == [-1007]
    assert (other.frames, lists(trader)) == ([], 0)
    trader.desk.pass_time(2)
    assert (len(line.frames), lists(trader)) == (1, 2)


# Bans and refusals at the door.


def test_a_banned_address_is_shut_out_of_sockets_and_of_malformed_calls_too() -> None:
    desk = desk_with(weight_limit_per_minute="1", ban_after_refusals="0", ban_seconds="120")
    assert [get(desk, "ping").status for _ in range(2)] == [200, 418]
    for path in ("/ws-api/v3", "/ws", "/stream"):
        refused = desk.world.refuse(Request("GET", path, remote="10.0.0.1"), desk.now_ms)
        assert refused is not None
        assert (refused.status, refused.headers["retry-after"]) == (418, "120")
        assert json.loads(refused.body)["code"] == -1003
        assert desk.world.refuse(Request("GET", path, remote="10.0.0.2"), desk.now_ms) is None
    assert desk.world.refuse(Request("GET", "/w3w/wsa/stream", remote="10.0.0.1"), desk.now_ms) is None
    twice = get(desk, "ping?a=1&a=1")
    assert (twice.status, json.loads(twice.body)["code"]) == (418, -1003)
    desk.pass_time(120)
    assert desk.world.refuse(Request("GET", "/ws", remote="10.0.0.1"), desk.now_ms) is None
    assert get(desk, "ping?a=1&a=1").status == 400


def test_what_cannot_be_read_costs_weight_and_says_so() -> None:
    desk = desk_with(weight_limit_per_minute="40", raw_limit_5m="4")
    assert used(get(desk, f"depth?symbol={BNB}&symbol={BNB}")) == 1
    answer = desk.ask(
        Request("GET", "/api/v3/exchangeInfo", headers={"x-mbx-time-unit": "NANO"}, remote="10.0.0.1")
    )
    assert used(answer) == 21
    assert [get(desk, "exchangeInfo?a=1&a=1").status for _ in range(2)] == [429, 429]
    raw = desk_with(raw_limit_5m="1")
    assert [used(get(raw, "ping")), used(get(raw, "ping"))] == [1, 2]


def test_a_slow_engine_takes_what_was_in_time_when_it_came() -> None:
    trader = SpotTrader(desk_with())
    fault(trader, "engine_delay", seconds="10", count=1, endpoint="place_oto")
    body = trader.signed({**oto(), "recvWindow": "2000"}).encode()
    request = Request("POST", "/api/v3/orderList/oto", "", {"x-mbx-apikey": trader.key}, body)
    assert trader.desk.ask(request) == Held(trader.desk.now_ms + 10_000)
    trader.desk.pass_time(10)
    answer = trader.desk.world.handle(request, trader.desk.now_ms, held=True)
    assert isinstance(answer, Response)
    assert (answer.status, lists(trader)) == (200, 1)


def test_a_late_call_is_refused_at_the_door_and_never_held() -> None:
    trader = SpotTrader(desk_with())
    fault(trader, "engine_delay", seconds="10", endpoint="place_oto")
    body = trader.signed(oto()).encode()
    trader.desk.pass_time(6)
    request = Request("POST", "/api/v3/orderList/oto", "", {"x-mbx-apikey": trader.key}, body)
    answer = trader.desk.ask(request)
    assert isinstance(answer, Response)
    assert json.loads(answer.body)["code"] == -1021


def test_public_reads_take_no_part_in_the_worlds_chance() -> None:
    """Else how often somebody looks would change what happens."""
    desk = desk_with()
    before = desk.state.rng.getstate()
    public(desk, "time")
    assert desk.state.rng.getstate() == before


def test_the_report_counts_what_was_refused_for_want_of_room_and_the_greatest_weight() -> None:
    desk = desk_with(weight_limit_per_minute="40", ban_after_refusals="1", ban_seconds="120")
    for _ in range(2):
        get(desk, "exchangeInfo")
    assert desk.control("GET", "report")["limits"] == {
        "refused_429": 0,
        "refused_418": 0,
        "most_weight": 40,
    }
    assert [get(desk, "ping").status for _ in range(3)] == [429, 418, 418]
    limits = desk.control("GET", "report")["limits"]
    assert (limits["refused_429"], limits["refused_418"]) == (1, 2)
