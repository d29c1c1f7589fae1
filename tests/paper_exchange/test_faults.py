"""Faults: each does what its name says, to whom it names, as often as it says."""

import json
from typing import Any

import pytest

from paper_exchange.http import Held, Request, Response
from tests.paper_exchange.desk import ASSET, DEFI, KOGE, PUBLIC, Desk, Trader, make_config


def fault(desk: Desk, kind: str, **more: Any) -> int:
    answer = desk.control("POST", "faults", {"kind": kind, **more})
    assert answer["_status"] == 200, answer
    return int(answer["id"])


def place(trader: Trader) -> Any:
    return trader.call("POST", f"{ASSET}/oto-order/place", trader.oto_body("40", "1", "50"))


def accepted(desk: Desk) -> int:
    return int(desk.control("GET", "report")["totals"]["accepted_lists"])


def test_a_lost_answer_hides_an_order_that_exists(desk: Desk) -> None:
    trader = desk.trader()
    fault(desk, "drop_response", endpoint="place*", count=1)
    assert place(trader).dropped
    assert accepted(desk) == 1
    assert not place(trader).dropped
    assert accepted(desk) == 2


def test_a_lost_request_leaves_nothing_behind(desk: Desk) -> None:
    trader = desk.trader()
    fault(desk, "drop_request", endpoint="place_oto", count=1)
    assert place(trader).dropped
    assert accepted(desk) == 0


@pytest.mark.parametrize(("when", "lists"), [("before", 0), ("after", 1)])
def test_an_http_error_strikes_before_or_after_acceptance(desk: Desk, when: str, lists: int) -> None:
    trader = desk.trader()
    fault(desk, "http_error", when=when, status=502, count=1)
    answer = place(trader)
    assert (answer.status, accepted(desk)) == (502, lists)


def test_too_many_requests_says_when_to_come_back(desk: Desk) -> None:
    fault(desk, "http_error", status=429, retry_after_seconds=35, endpoint="ticker")
    answer = desk.trader().call("GET", f"{PUBLIC}/ticker", query=f"symbol={KOGE}")
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers["retry-after"]) == (429, "35")


@pytest.mark.parametrize(("when", "lists"), [("before", 0), ("after", 1)])
def test_a_business_error_strikes_before_or_after_acceptance(desk: Desk, when: str, lists: int) -> None:
    trader = desk.trader()
    fault(desk, "business_error", when=when, code="123456", message="Odd.", count=1)
    body = json.loads(place(trader).body)
    assert (body["code"], body["message"], body["success"]) == ("123456", "Odd.", False)
    assert accepted(desk) == lists


def test_a_slow_engine_accepts_after_the_client_has_given_up(desk: Desk) -> None:
    trader = desk.trader()
    fault(desk, "engine_delay", seconds="10", count=1)
    sent = trader.oto_body("40", "1", "50")
    request = None

    def catch(asked: Any) -> Any:
        nonlocal request
        request = asked
        return desk.world.handle(asked, desk.now_ms)

    desk.ask = catch  # type: ignore[method-assign]
    held = trader.call("POST", f"{ASSET}/oto-order/place", sent)
    del desk.ask
    assert held == Held(desk.now_ms + 10_000)
    assert accepted(desk) == 0
    desk.pass_time(10)
    assert request is not None
    late = desk.world.handle(request, desk.now_ms, held=True)
    assert isinstance(late, Response)
    assert json.loads(late.body)["code"] == "000000"
    assert accepted(desk) == 1


def test_an_answer_can_be_late(desk: Desk) -> None:
    fault(desk, "delay_response", seconds="2.5", count=1)
    answer = place(desk.trader())
    assert (answer.status, answer.delay_ms, accepted(desk)) == (200, 2500, 1)


def test_verification_is_asked_of_the_named_user_only(desk: Desk) -> None:
    one, two = desk.trader("1"), desk.trader("2")
    fault(desk, "verification_required", user_id="1", endpoint="place*")
    assert json.loads(place(one).body)["code"] == "481030"
    assert json.loads(place(two).body)["code"] == "000000"
    assert one.get(f"{DEFI}/order/get-open-order")["code"] == "000000"


def test_a_delisted_token_is_offline_and_cannot_be_bought_but_sold(desk: Desk) -> None:
    trader = desk.trader(USDT="1000", ALPHA_22="1")
    fault_id = fault(desk, "delist", symbol=KOGE)
    assert json.loads(place(trader).body)["code"] == "481019"
    koge = desk.public("aggTicker24")["data"][0]
    assert (koge["offline"], koge["offsell"]) == (True, False)
    assert desk.public("get-exchange-info")["data"]["symbols"][0]["status"] == "DELISTED"
    sell = trader.order("SELL", "60", "0.5")
    trader.cancel(sell)
    fault(desk, "offsell", symbol=KOGE)
    body = trader.order_body("SELL", "60", "0.5")
    assert trader.post(f"{ASSET}/order/place", body)["code"] == "481019"
    assert desk.public("aggTicker24")["data"][0]["offsell"] is True
    desk.control("DELETE", "faults", query=f"id={fault_id}")
    assert len(desk.control("GET", "faults")["faults"]) == 1


def cycle(desk: Desk, trader: Trader) -> list[tuple[int, str]]:
    trader.oto("48.24", "0.5", "47")
    desk.pass_time(3)
    return [(frame["data"]["id"], frame["data"]["X"]) for frame in trader.frames]


def test_order_frames_can_be_dropped(desk: Desk) -> None:
    trader = desk.trader()
    trader.listen()
    fault(desk, "order_frame_drop", count=2)
    assert [status for _, status in cycle(desk, trader)] == ["FILLED", "NEW", "FILLED"]


def test_order_frames_can_come_twice(desk: Desk) -> None:
    trader = desk.trader()
    trader.listen()
    fault(desk, "order_frame_duplicate", count=1)
    frames = cycle(desk, trader)
    assert len(frames) == 6
    assert frames[0] == frames[1]


def test_order_frames_can_overtake_one_another_and_none_is_lost(desk: Desk) -> None:
    trader = desk.trader()
    trader.listen()
    fault(desk, "order_frame_reorder", count=1, seconds="5")
    statuses = [status for _, status in cycle(desk, trader)]
    assert statuses == ["PENDING", "NEW", "FILLED", "NEW", "FILLED"]
    fault(desk, "order_frame_reorder", count=1, seconds="5")
    trader.order("BUY", "40", "1")
    seen = len(trader.frames)
    desk.pass_time(6)
    assert len(trader.frames) == seen + 1


def test_a_stalled_stream_is_silent_and_ends_by_itself(desk: Desk) -> None:
    trader = desk.trader()
    trader.listen()
    fault(desk, "order_stall", user_id="1", lasts_seconds="2")
    trader.order("BUY", "40", "1")
    desk.pass_time(3)
    assert trader.frames == []
    assert desk.control("GET", "faults")["faults"] == []
    trader.order("BUY", "40", "1")
    assert len(trader.frames) == 1


def test_a_market_stream_can_stall_while_the_market_goes_on(desk: Desk) -> None:
    frames: list[bytes] = []
    connection = desk.world.connect(Request("GET", "/w3w/wsa/stream"), frames.append)
    assert connection is not None
    names = ["alpha_22usdt@aggTrade", "alpha_382usdt@aggTrade"]
    desk.world.receive(connection, json.dumps({"method": "SUBSCRIBE", "params": names}), desk.now_ms)
    fault(desk, "market_stall", symbol=KOGE)
    before = len(desk.state.markets[KOGE].tape.trades)
    desk.pass_time(2)
    seen = {json.loads(frame).get("stream") for frame in frames}
    assert "alpha_22usdt@aggTrade" not in seen
    assert "alpha_382usdt@aggTrade" in seen
    assert len(desk.state.markets[KOGE].tape.trades) > before


def test_the_configuration_can_switch_faults_on() -> None:
    desk = Desk(make_config(faults=[{"kind": "drop_request", "endpoint": "place_oto", "count": "1"}]))
    desk.pin("48")
    trader = desk.trader()
    assert place(trader).dropped
    assert not place(trader).dropped


def test_one_seed_gives_one_course_of_faults() -> None:
    def course(seed: int) -> list[bool]:
        desk = Desk(seed=seed)
        trader = desk.trader()
        fault(desk, "drop_request", endpoint="place_oto", probability="0.5")
        return [place(trader).dropped for _ in range(30)]

    assert course(3) == course(3) != course(4)


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "flood"},
        {"kind": "delist", "colour": "red"},
        {"kind": "delist", "probability": "2"},
        [],
        None,
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(desk: Desk, rule: Any) -> None:
    assert desk.control("POST", "faults", rule)["_status"] == 400
    assert desk.control("DELETE", "faults", query="id=9")["_status"] == 404
