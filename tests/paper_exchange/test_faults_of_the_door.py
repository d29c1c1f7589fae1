"""Faults at the door: bans, keys, clocks, limits, payloads, sockets that are refused or end."""

import json
from typing import Any

import pytest

from paper_exchange.http import Request, Response
from paper_exchange.streams import HANG_UP
from tests.paper_exchange.desk import ASSET, DEFI, KOGE, PUBLIC, Desk, make_config
from tests.paper_exchange.spot_desk import BNB, HUNG_UP, Line, SpotTrader, oto, public


def fault(desk: Desk, kind: str, **more: Any) -> int:
    answer = desk.control("POST", "faults", {"kind": kind, **more})
    assert answer["_status"] == 200, answer
    return int(answer["id"])


def struck(desk: Desk) -> int:
    return sum(rule["struck"] for rule in desk.control("GET", "faults")["faults"])


@pytest.mark.parametrize("status", [429, 418])
def test_a_spot_ban_refuses_everything_until_its_time_and_counts_who_still_asks(
    desk: Desk, status: int
) -> None:
    trader = SpotTrader(desk)
    fault(desk, "ban", venue="spot", status=status, lasts_seconds="35")
    answer = trader.send("POST", "orderList/oto", **oto())
    assert isinstance(answer, Response)
    assert (answer.status, json.loads(answer.body)["code"]) == (status, -1003)
    assert answer.headers["retry-after"] == "35"
    assert struck(desk) == 1
    desk.pass_time(34.5)
    late = desk.ask(Request("GET", "/api/v3/time"))
    assert isinstance(late, Response)
    assert late.headers["retry-after"] == "1"
    desk.pass_time(1)
    assert public(desk, "time")["serverTime"] == desk.now_ms
    assert desk.control("GET", "report")["totals"]["accepted_requests"] == 0


def test_a_web_application_firewall_answers_html_on_both_venues_and_hangs_up_the_ws_api(desk: Desk) -> None:
    trader = SpotTrader(desk)
    line = Line(desk, "/ws-api/v3")
    fault(desk, "ban", status=403)
    for request in (Request("GET", "/api/v3/time"), Request("GET", f"{PUBLIC}/aggTicker24")):
        answer = desk.ask(request)
        assert isinstance(answer, Response)
        assert (answer.status, answer.headers["content-type"]) == (403, "text/html")
    trader.ws(line, "account.status")
    assert line.frames[-1] == HUNG_UP


def test_an_alpha_ban_says_when_it_is_over(desk: Desk) -> None:
    fault(desk, "ban", venue="alpha", status=429, retry_after_seconds=20)
    answer = desk.trader().call("GET", f"{DEFI}/order/get-open-order")
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers["retry-after"]) == (429, "20")


def test_a_revoked_key_is_one_users_trouble(desk: Desk) -> None:
    one, two = SpotTrader(desk, "1"), SpotTrader(desk, "2")
    fault(desk, "revoke", user_id="1")
    assert one.refused("GET", "account")[:2] == (401, -2015)
    assert two.call("GET", "account")["accountType"] == "SPOT"
    alpha = desk.trader("1")
    assert alpha.get(f"{DEFI}/order/get-open-order")["code"] == "100002001"


@pytest.mark.parametrize("seconds", ["3", "-3"])
def test_a_skewed_clock_shows_at_time_and_judges_timestamps(desk: Desk, seconds: str) -> None:
    trader = SpotTrader(desk)
    fault_id = fault(desk, "clock_skew", seconds=seconds)
    assert public(desk, "time")["serverTime"] == desk.now_ms + int(seconds) * 1000
    assert trader.refused("GET", "account", recvWindow=2000)[1] == -1021
    desk.control("DELETE", "faults", query=f"id={fault_id}")
    trader.call("GET", "account", recvWindow=2000)


def test_an_order_limit_binds_one_account(desk: Desk) -> None:
    one, two = SpotTrader(desk, "1"), SpotTrader(desk, "2")
    fault(desk, "order_limit", user_id="1", limit=1)
    assert one.refused("POST", "orderList/oto", **oto())[1] == -1015
    two.call("POST", "orderList/oto", **oto())


def test_trades_lag_behind_the_status(desk: Desk) -> None:
    trader = desk.trader()
    fault(desk, "trades_lag", user_id="1", seconds="5")
    working, _ = trader.oto("48.24", "0.5", "60")
    desk.pass_time(1)
    query = f"orderId={working}&symbol={KOGE}"
    assert trader.found(working).status == "FILLED"
    assert trader.get(f"{DEFI}/order/get-user-trades", query)["data"] == []
    desk.pass_time(5)
    assert len(trader.get(f"{DEFI}/order/get-user-trades", query)["data"]) == 1


def test_exchange_info_can_be_mutated_anywhere(desk: Desk) -> None:
    new = json.dumps({"filterType": "NEW_FILTER", "x": "1"})
    fault(desk, "mutate", endpoint="exchange_info", field="symbols.*.filters.+", value=new)
    fault(desk, "mutate", endpoint="exchange_info", field="symbols.0.status", value='"NAPPING"')
    fault(desk, "mutate", endpoint="exchange_info", field="symbols.1.baseAsset")
    first, second = public(desk, "exchangeInfo")["symbols"][:2]
    assert (first["status"], first["filters"][-1]["filterType"]) == ("NAPPING", "NEW_FILTER")
    assert second["filters"][-1]["filterType"] == "NEW_FILTER"
    assert "baseAsset" not in second


def test_garbage_is_no_json(desk: Desk) -> None:
    trader = desk.trader()
    trader.listen()
    fault(desk, "garbage", endpoint="order_history", count=1)
    answer = trader.call("GET", f"{DEFI}/order/get-order-history-merge")
    assert isinstance(answer, Response)
    with pytest.raises(ValueError):
        json.loads(answer.body)


def test_absurd_data_can_come_by_push(desk: Desk) -> None:
    trader = desk.trader()
    trader.listen()
    fault(desk, "mutate", endpoint="order_stream", field="data.z", value='"-1"', count=1)
    trader.order("BUY", "40", "1")
    assert trader.frames[-1]["data"]["z"] == "-1"


def test_a_spot_subscription_can_be_terminated_once_and_made_anew(desk: Desk) -> None:
    trader = SpotTrader(desk)
    line = trader.listen()
    fault(desk, "order_terminate", user_id="1", count=1)
    desk.pass_time(0.1)
    assert [frame["event"]["e"] for frame in line.taken()] == ["eventStreamTerminated"]
    assert trader.ws(line, "userDataStream.subscribe.signature")["status"] == 200
    line.taken()
    trader.limit("BUY", "700", "1")
    assert line.taken()


def test_an_alpha_listen_key_can_end_without_a_word(desk: Desk) -> None:
    trader = desk.trader()
    trader.listen()
    fault(desk, "order_terminate", user_id="1", count=1)
    trader.order("BUY", "40", "1")
    assert trader.frames == []
    trader.listen()
    trader.order("BUY", "40", "1")
    assert trader.frames


def test_the_server_says_that_it_goes_and_hangs_up(desk: Desk) -> None:
    trader = SpotTrader(desk)
    private, market = trader.listen(), Line(desk, "/stream", "streams=bnbusdt@trade")
    fault(desk, "shutdown", seconds="5", lasts_seconds="1")
    desk.pass_time(0.5)
    assert private.frames[0]["event"]["e"] == "serverShutdown"
    told = [frame["data"]["e"] for frame in market.frames if frame["stream"] == "!serverShutdown"]
    assert told == ["serverShutdown"]
    desk.pass_time(5)
    assert (private.frames[-1], market.frames[-1]) == (HUNG_UP, HUNG_UP)


def test_spot_connections_end_after_a_day() -> None:
    desk = Desk(make_config(spot={"connection_seconds": "60"}))
    lines = [Line(desk, "/ws-api/v3"), Line(desk, "/ws/bnbusdt@depth5")]
    desk.pass_time(59)
    assert all(HUNG_UP not in line.frames for line in lines)
    desk.pass_time(2)
    assert all(line.frames[-1] == HUNG_UP for line in lines)


def test_connections_can_be_refused_and_are_limited() -> None:
    desk = Desk(make_config(spot={"connections_per_5_minutes": "2"}))
    fault(desk, "connect_refused", venue="spot", count=1, status=503)
    request = Request("GET", "/ws-api/v3", remote="10.0.0.1")
    answers = [desk.world.refuse(request, desk.now_ms) for _ in range(4)]
    assert [answer.status if answer else 0 for answer in answers] == [503, 0, 0, 429]
    report = desk.control("GET", "report")["connections"]
    assert (report["opened"]["spot"], report["refused"]["spot"]) == (2, 2)


def test_a_frame_can_be_the_last_of_its_connection(desk: Desk) -> None:
    frames: list[bytes] = []
    connection = desk.world.connect(Request("GET", "/w3w/wsa/stream"), frames.append)
    assert connection is not None
    ask = {"method": "SUBSCRIBE", "params": ["alpha_22usdt@aggTrade"]}
    desk.world.receive(connection, json.dumps(ask), desk.now_ms)
    fault(desk, "hang_up", endpoint="market_stream", count=1)
    desk.pass_time(1)
    assert HANG_UP in frames


def test_a_rule_can_begin_later(desk: Desk) -> None:
    trader = desk.trader()
    fault(desk, "verification_required", after_seconds="2", lasts_seconds="2")
    codes = []
    for _ in range(3):
        codes.append(trader.post(f"{ASSET}/order/place", trader.order_body("BUY", "40", "1"))["code"])
        desk.pass_time(2.1)
    assert codes == ["000000", "481030", "000000"]


def test_an_order_by_hand_is_its_owners(desk: Desk) -> None:
    trader = SpotTrader(desk)
    body = {"user_id": "1", "venue": "spot", "symbol": BNB, "side": "BUY", "price": "700", "quantity": "1"}
    made = desk.control("POST", "orders", body)
    assert made["client_id"].startswith("web_")
    assert trader.order(made["order_id"])["status"] == "NEW"


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "mutate", "value": "1"},
        {"kind": "mutate", "field": "a", "value": "{"},
        {"kind": "order_limit"},
        {"kind": "market_spike"},
        {"kind": "filters", "set": {"colour": "1"}},
        {"kind": "delay_response", "seconds": "-1"},
    ],
)
def test_a_rule_that_says_too_little_is_refused(desk: Desk, rule: Any) -> None:
    assert desk.control("POST", "faults", rule)["_status"] == 400
