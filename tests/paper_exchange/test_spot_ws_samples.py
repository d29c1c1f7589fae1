"""Every frame of the venue's WS API pages is understood, and answered in its shape (binance-spot 6, 7).

Keys that the venue adds under a condition (binance-spot 3.2) may be in a sample and not in an answer.
"""

import json
from typing import Any

import pytest

from tests.paper_exchange.desk import Desk
from tests.paper_exchange.spot_desk import BNB, Line, SpotTrader, assert_alike, bnb_desk, oto, sample
from tests.paper_exchange.test_spot_signing import ED25519, public_pem, signature_of

BTC = "BTCUSDT"
CONDITIONAL = {"stopPrice", "icebergQty", "trailingDelta", "trailingTime", "strategyId", "strategyType"}
CONDITIONAL |= {"preventedMatchId", "preventedQuantity"}


@pytest.fixture
def trader() -> SpotTrader:
    desk = bnb_desk()
    desk.pin("25000", BTC)
    asked = {"user_id": "1", "venue": "spot", "key_kind": "ed25519", "public_key": public_pem(ED25519)}
    desk.control("POST", "accounts", asked | {"balances": {"USDT": "20000", "BTC": "1", "BNB": "5"}})
    made = SpotTrader.__new__(SpotTrader)
    made.desk, made.account = desk, desk.state.accounts.owner("spot/1")
    made.key = made.account.credential["token"]
    made.sign = lambda payload: signature_of("ed25519", payload.encode())  # type: ignore[method-assign]
    return made


@pytest.fixture
def line(trader: SpotTrader) -> Line:
    return Line(trader.desk, "/ws-api/v3")


def asked(trader: SpotTrader, name: str, **changes: Any) -> Any:
    """The sample's request as this user would send it: his key, this world's time, symbols and ids."""
    request = sample(name)
    params = {**request.get("params", {}), **changes}
    if "apiKey" in params:
        params |= {"apiKey": trader.key, "timestamp": trader.desk.now_ms}
        del params["signature"]
        payload = "&".join(f"{key}={params[key]}" for key in sorted(params))
        params["signature"] = trader.sign(payload)
    return request | ({"params": params} if params else {})


def told(trader: SpotTrader, line: Line, name: str, **changes: Any) -> Any:
    request = asked(trader, name, **changes)
    line.send(request)
    answer = next(frame for frame in reversed(line.frames) if "event" not in frame)
    assert answer["id"] == request["id"]
    assert answer["status"] == 200, answer
    return answer


def assert_fits(answer: Any, name: str) -> None:
    """Same keys and types, but for those that depend; several samples leave `rateLimits` out."""
    theirs = sample(name)
    if "rateLimits" not in theirs:
        answer = {key: answer[key] for key in answer if key != "rateLimits"}
    assert_alike(_plain(answer), _plain(theirs))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in CONDITIONAL}
    return [_plain(item) for item in value] if isinstance(value, list) else value


PLACED = "wsapi_order_place_request"


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("ACK", "wsapi_order_place_response_ack"),
        ("RESULT", "wsapi_order_place_response_result"),
        ("FULL", "wsapi_order_place_response_full"),
        ("RESULT", "wsapi_response_ok_order_place"),
    ],
)
def test_an_order_placed_as_in_the_sample_is_answered_as_in_the_samples(
    trader: SpotTrader, line: Line, wanted: str, name: str
) -> None:
    answer = told(trader, line, PLACED, newOrderRespType=wanted)
    answer["result"].setdefault("fills", [])  # in one sample the order has traded, in ours it may not
    theirs = sample(name)
    if wanted == "FULL":
        assert answer["result"]["fills"]
    answer["result"] = {key: answer["result"][key] for key in theirs["result"] if key in answer["result"]}
    assert_fits(answer, name)


def test_an_order_is_looked_up_and_cancelled_as_in_the_samples(trader: SpotTrader, line: Line) -> None:
    mine = sample("wsapi_order_cancel_request")["params"]["origClientOrderId"]
    placed = told(trader, line, PLACED, price="30000.10000000", newClientOrderId=mine)["result"]
    found = told(trader, line, "wsapi_order_status_request", orderId=placed["orderId"])
    assert_fits(found, "wsapi_order_status_response")
    ended = told(trader, line, "wsapi_order_cancel_request")
    assert_fits(ended, "wsapi_order_cancel_response_single")
    assert ended["result"]["origClientOrderId"] == mine


def test_a_list_is_placed_and_cancelled_as_in_the_samples(trader: SpotTrader, line: Line) -> None:
    request = {"symbol": BNB, "workingPrice": 900}  # numbers as numbers, like the sample
    placed = told(trader, line, "wsapi_orderlist_place_oto_request", **request)
    real = sample("wsapi_orderlist_place_oto_response")
    assert placed["result"].keys() == real["result"].keys()
    list_id = placed["result"]["orderListId"]
    ended = told(trader, line, "wsapi_orderlist_cancel_request", symbol=BNB, orderListId=list_id)
    theirs = sample("wsapi_orderlist_cancel_response")
    for report in ended["result"]["orderReports"]:
        assert report.pop("origClientOrderId")  # the sample lacks it, the other pages have it
    assert_alike(_plain(ended), _plain(theirs))


def test_account_and_rules_are_told_as_in_the_samples(trader: SpotTrader, line: Line) -> None:
    assert_fits(told(trader, line, "wsapi_account_status_request"), "wsapi_account_status_response")
    info = told(trader, line, "wsapi_exchange_info_request", symbols=[BNB])
    theirs = sample("wsapi_exchange_info_response")
    assert info["result"].keys() == theirs["result"].keys() - {"sors"}  # no order routing here
    kinds = [[row["rateLimitType"] for row in one["result"]["rateLimits"]] for one in (info, theirs)]
    assert kinds[0] == kinds[1]


def test_a_session_is_told_as_in_the_samples(trader: SpotTrader, line: Line) -> None:
    assert_fits(told(trader, line, "wsapi_session_logon_request"), "wsapi_session_logon_response")
    assert_fits(told(trader, line, "wsapi_uds_subscribe_request"), "wsapi_uds_subscribe_response")
    assert_fits(told(trader, line, "wsapi_session_status_request"), "wsapi_session_status_response")
    listed = told(trader, line, "wsapi_session_subscriptions_request")
    assert_fits(listed, "wsapi_session_subscriptions_response")
    assert listed["result"] == sample("wsapi_session_subscriptions_response")["result"][:1]
    assert_fits(told(trader, line, "wsapi_uds_unsubscribe_request"), "wsapi_uds_unsubscribe_response")
    again = told(trader, line, "wsapi_uds_subscribe_signature_request")
    assert_fits(again, "wsapi_uds_subscribe_signature_response")
    gone = told(trader, line, "wsapi_session_logout_request")
    assert_fits(gone, "wsapi_session_logout_response")
    assert gone["result"]["apiKey"] is None


# User data.


def reports_of(desk: Desk, quantity: str) -> list[Any]:
    """The reports of a market order that took what there was."""
    trader = SpotTrader(desk, "9", USDT="20000")
    line = trader.listen()
    trader.call("POST", "order", symbol=BNB, side="BUY", type="MARKET", quantity=quantity)
    return [frame for frame in line.taken() if frame["event"]["e"] == "executionReport"]


@pytest.mark.parametrize(
    ("execution", "name"),
    [
        ("NEW", "uds_execution_report_new"),
        ("TRADE", "uds_execution_report_trade"),
        ("EXPIRED", "uds_execution_report_expired"),
    ],
)
def test_reports_have_the_samples_keys(execution: str, name: str) -> None:
    desk = bnb_desk(house={"levels": "2", "level_notional": "400"})
    frames = reports_of(desk, "5")
    ours = next(frame for frame in frames if frame["event"]["x"] == execution)
    theirs = sample(name)
    theirs["event"].pop("v", None)  # of a self-trade that was prevented; this one was not
    if execution == "EXPIRED":
        theirs["event"]["eR"] = ""  # since 2026, after the page was written
    assert_alike(ours, theirs)


def test_a_lists_status_and_the_envelope_have_the_samples_keys() -> None:
    trader = SpotTrader(bnb_desk())
    line = trader.listen()
    trader.call("POST", "orderList/oto", **oto())
    frames = {frame["event"]["e"]: frame for frame in line.taken()}
    assert_alike(frames["listStatus"], sample("uds_list_status"))
    assert_alike(frames["outboundAccountPosition"], sample("wsapi_event_envelope"))
    assert json.dumps(frames["listStatus"]["event"]["L"]) == '"EXECUTING"'
