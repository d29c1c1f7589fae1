"""What the venues' documents leave open is a switch: here both sides of each, where no other test has them.

What every switch means stands in docs/paper-switches.md, which test_switch_docs.py holds true.
"""

from decimal import Decimal
from typing import Any

import pytest

from paper_exchange.http import Response
from tests.paper_exchange.desk import ASSET, DEFI, KOGE, Desk, Trader, make_config
from tests.paper_exchange.spot_desk import BNB, Line, SpotTrader, bnb_desk, oto, public

LIMIT = {"symbol": BNB, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1"}


def spot(**settings: str) -> SpotTrader:
    return SpotTrader(bnb_desk(spot=settings), USDT="20000", BNB="1")


def alpha(**settings: Any) -> Trader:
    return Desk(make_config(alpha=settings)).trader()


# Spot.


@pytest.mark.parametrize(("bnb", "asset", "fee"), [("1", "BNB", "0.00093751"), ("0", "BTC", "0.00001000")])
def test_fees_are_paid_in_bnb_a_quarter_less_while_there_is_enough(bnb: str, asset: str, fee: str) -> None:
    trader = SpotTrader(bnb_desk(spot={"fees_in_bnb": "true"}), USDT="20000", BNB=bnb)
    trader.desk.pin("100000", "BTCUSDT")
    found = trader.call("GET", "account/commission", symbol="BTCUSDT")["discount"]
    assert found["enabledForAccount"] is True
    terms = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    (fill,) = trader.call("POST", "order", **terms, newOrderRespType="FULL")["fills"]
    assert (fill["commissionAsset"], Decimal(fill["commission"])) == (asset, Decimal(fee))


@pytest.mark.parametrize("found", [True, False])
def test_whether_a_cancelled_order_is_found_by_its_old_id(found: bool) -> None:
    trader = spot(cancelled_found_by_old_id=str(found))
    order_id = trader.limit("BUY", "700", "1", newClientOrderId="old")["orderId"]
    trader.call("DELETE", "order", symbol=BNB, orderId=order_id, newClientOrderId="new")
    assert trader.call("GET", "order", symbol=BNB, origClientOrderId="new")["orderId"] == order_id
    answer = trader.send("GET", "order", symbol=BNB, origClientOrderId="old")
    assert isinstance(answer, Response)
    assert answer.status == (200 if found else 400)
    assert (b"-2013" in answer.body) is not found
    both = trader.send("GET", "order", symbol=BNB, orderId=order_id, origClientOrderId="old")
    assert isinstance(both, Response)
    assert (b"-2039" in both.body) is not found


@pytest.mark.parametrize(("shape", "keys"), [("ACK", 0), ("RESULT", 1), ("FULL", 2)])
def test_what_a_list_answers_when_no_shape_was_asked_for(shape: str, keys: int) -> None:
    for report in spot(list_response_default=shape).call("POST", "orderList/oto", **oto())["orderReports"]:
        assert ("status" in report, "fills" in report) == (keys > 0, keys > 1)


@pytest.mark.parametrize("code", ["-1020", "-1002"])
def test_the_code_of_a_method_that_nobody_knows(code: str) -> None:
    trader = spot(unknown_method_code=code)
    answer = Line(trader.desk, "/ws-api/v3").ask({"id": 1, "method": "order.wish"})
    assert (answer["id"], answer["error"]["code"]) == (1, int(code))


@pytest.mark.parametrize("code", ["-4056", "-1002"])
def test_the_code_of_a_logon_with_a_key_that_cannot(code: str) -> None:
    trader = spot(hmac_logon_code=code)
    answer = trader.ws(Line(trader.desk, "/ws-api/v3"), "session.logon")
    assert answer["error"] == {"code": int(code), "msg": "HMAC_SHA_256 API key is not supported."}


@pytest.mark.parametrize("text", ["Unknown order sent.", "Order does not exist."])
def test_the_text_of_an_amendment_of_nothing(text: str) -> None:
    trader = spot(unknown_amend_text=text)
    found = trader.refused("PUT", "order/amend/keepPriority", symbol=BNB, orderId=1, newQty="1")
    assert found == (400, -2038, text)


@pytest.mark.parametrize("code", ["-2042", "-1034"])
def test_the_code_of_a_subscription_too_many(code: str) -> None:
    trader = spot(active_subscriptions="1", too_many_subscriptions_code=code)
    other = SpotTrader(trader.desk, "2")
    answer = other.ws(trader.listen(), "userDataStream.subscribe.signature")
    assert answer["error"]["code"] == int(code)


@pytest.mark.parametrize(("credit", "left"), [("0", 3), ("1", 2), ("2", 1)])
def test_what_a_takers_first_fill_gives_back_of_the_count(credit: str, left: int) -> None:
    trader = spot(taker_fill_credit=credit)
    trader.limit("BUY", "700", "1")
    trader.limit("BUY", "700", "1")
    assert trader.limit("BUY", "801", "1")["status"] == "FILLED"
    assert trader.call("GET", "rateLimit/order")[1]["count"] == left


@pytest.mark.parametrize(("counts", "left"), [("false", 0), ("true", 3)])
def test_whether_a_refused_order_stays_in_the_count(counts: str, left: int) -> None:
    trader = spot(refused_orders_count=counts)
    assert trader.refused("POST", "order", **LIMIT, price="1")[1] == -1013
    assert trader.refused("POST", "orderList/oto", **oto(workingQuantity="100"))[1] == -2010
    assert trader.call("GET", "rateLimit/order")[1]["count"] == left


@pytest.mark.parametrize("code", ["-1013", "-2010"])
def test_the_code_of_max_asset(code: str) -> None:
    config = make_config(spot={"max_assets": {"USDT": "500"}, "max_asset_code": code})
    desk = Desk(config)
    desk.pin("800", BNB)
    found = SpotTrader(desk).refused("POST", "order", **LIMIT, price="700")
    assert found == (400, int(code), "Filter failure: MAX_ASSET")


@pytest.mark.parametrize("mode", ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"])
def test_the_self_trade_mode_of_an_order_that_names_none(mode: str) -> None:
    trader = SpotTrader(bnb_desk(instrument={"default_stp": mode}))
    assert trader.limit("BUY", "700", "1")["selfTradePreventionMode"] == mode
    (told,) = [row for row in public(trader.desk, "exchangeInfo")["symbols"] if row["symbol"] == BNB]
    assert told["defaultSelfTradePreventionMode"] == mode


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"pendingQuantity": "3"}, "INSUFFICIENT_BALANCES"),
        ({"pendingType": "LIMIT_MAKER", "pendingPrice": "790"}, "WOULD_MATCH_IMMEDIATELY"),
    ],
)
@pytest.mark.parametrize("ends", ["EXPIRED", "REJECTED"])
def test_how_a_leg_ends_that_is_refused_at_its_release(ends: str, more: dict[str, str], reason: str) -> None:
    trader = spot(refused_release_ends=ends)
    terms = oto(workingPrice="801", **more)
    if "pendingType" in more:
        del terms["pendingTimeInForce"]
    line = trader.listen()
    trader.call("POST", "orderList/oto", **terms)
    pending = trader.call("GET", "order", symbol=BNB, origClientOrderId="p-0001")
    reports = [f["event"] for f in line.taken() if f["event"].get("i") == pending["orderId"]]
    (last,) = [event for event in reports if event["x"] == ends]
    rejected = ends == "REJECTED"
    assert (pending["status"], last["X"], last["r"]) == (ends, ends, reason if rejected else "NONE")
    assert (pending.get("expiryReason"), last.get("eR")) == ((None,) * 2 if rejected else ("REJECTED",) * 2)
    state = trader.call("GET", "orderList", origClientOrderId="lst-0001")["listOrderStatus"]
    assert (state, trader.account.locked["BNB"]) == ("ALL_DONE", 0)


# Alpha.


def history(trader: Trader, query: str) -> Any:
    return trader.get(f"{DEFI}/order/get-order-history-merge", query)["data"]


@pytest.mark.parametrize(("time", "found"), [("created", 0), ("updated", 1)])
def test_what_the_times_of_the_order_history_compare_with(time: str, found: int) -> None:
    trader = alpha(history_time=time)
    order_id = trader.order("BUY", "40", "1")
    trader.desk.pass_time(10)
    since = trader.desk.now_ms
    trader.cancel(order_id)
    assert len(history(trader, f"startTime={since}")) == found
    assert len(history(trader, f"endTime={since - 1}")) == 1 - found


def test_how_many_rows_a_page_of_the_history_has_at_most() -> None:
    for most, told in (("2", 2), ("500", 3)):
        trader = alpha(max_rows=most)
        for _ in range(3):
            trader.cancel(trader.order("BUY", "40", "1"))
        assert len(history(trader, "rows=100")) == told


def test_a_refusals_code_can_be_replaced_by_name() -> None:
    refused = alpha().post(f"{DEFI}/order/cancel", {"orderId": "1", "symbol": KOGE})
    replaced = alpha(error_codes={"unknown_order": "100001"})
    other = replaced.post(f"{DEFI}/order/cancel", {"orderId": "1", "symbol": KOGE})
    assert (refused["code"], other["code"]) == ("481017", "100001")
    assert refused["message"] == other["message"]


@pytest.mark.parametrize(
    ("form", "as_text", "as_number"), [("both", True, True), ("string", True, False), ("number", False, True)]
)
def test_how_amounts_may_be_sent(form: str, as_text: bool, as_number: bool) -> None:
    trader = alpha(amounts_as=form)
    body = trader.order_body("BUY", "40", "1")
    numbers = body | {"price": 40, "quantity": 1}
    codes = [trader.post(f"{ASSET}/order/place", sent)["code"] for sent in (body, numbers)]
    assert [code == "000000" for code in codes] == [as_text, as_number]


@pytest.mark.parametrize("bare", ["true", "false"])
def test_whether_a_socket_answers_with_a_result(bare: str) -> None:
    desk = Desk(make_config(alpha={"bare_acks": bare}))
    line = Line(desk, "/w3w/wsa/stream")
    for number, method in enumerate(("SUBSCRIBE", "UNSUBSCRIBE")):
        answer = line.ask({"method": method, "params": ["alpha_22usdt@trade"], "id": number})
        assert answer == ({"id": number} if bare == "true" else {"result": None, "id": number})
    assert line.ask({"method": "LIST_SUBSCRIPTIONS", "id": 9}) == {"result": [], "id": 9}


@pytest.mark.parametrize("told", ["true", "false"])
@pytest.mark.parametrize("ends", ["CANCELED", "EXPIRED"])
def test_whether_the_pending_legs_end_is_told_when_the_list_is_cancelled(told: str, ends: str) -> None:
    trader = alpha(sibling_event=told, sibling_ends=ends)
    frames = trader.listen()
    working, pending = trader.oto("40", "1", "50")
    trader.desk.pass_time(1)
    frames.clear()
    trader.cancel(working)
    seen = [(frame["data"]["cp"], frame["data"]["X"]) for frame in frames]
    assert seen == [("OTO_WORKING", "CANCELED"), *([("OTO_PENDING", ends)] if told == "true" else [])]
    assert trader.found(pending).status == ends


def test_a_released_legs_cancel_is_told_whatever_the_switch_says() -> None:
    trader = alpha(sibling_event="false")
    frames = trader.listen()
    _, pending = trader.oto("48.24", "0.5", "60")
    trader.desk.pass_time(2)
    frames.clear()
    trader.cancel(pending)
    assert [(frame["data"]["cp"], frame["data"]["X"]) for frame in frames] == [("OTO_PENDING", "CANCELED")]
    assert trader.found(pending).quantity == Decimal("0.4999")
