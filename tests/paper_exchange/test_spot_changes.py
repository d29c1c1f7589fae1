"""Standing orders changed: cancelReplace and amend/keepPriority (binance-spot 3.6)."""

from typing import Any

import pytest

from paper_exchange.http import Request, Response
from tests.paper_exchange.desk import Desk
from tests.paper_exchange.spot_desk import BNB, Line, SpotTrader, assert_alike, bnb_desk, oto, sample, shape

REPLACEMENT = {
    "symbol": BNB,
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "2",
    "price": "690",
    "cancelReplaceMode": "STOP_ON_FAILURE",
}
LONG_GONE = {"cancelOrderId": 1}
TAKES = {"type": "LIMIT_MAKER", "timeInForce": None, "price": "801"}
LIMIT_OF_ONE = {"order_limit_10s": "1"}


@pytest.fixture
def desk() -> Desk:
    return bnb_desk()


@pytest.fixture
def trader(desk: Desk) -> SpotTrader:
    return SpotTrader(desk, USDT="20000", BNB="10")


def replacement(**more: Any) -> dict[str, Any]:
    return {name: value for name, value in {**REPLACEMENT, **more}.items() if value is not None}


def resting(trader: SpotTrader) -> int:
    return int(trader.limit("BUY", "700", "1", newClientOrderId="old")["orderId"])


# Cancel and replace.


def test_both_halves_of_a_cancel_replace_are_told_as_in_the_sample(trader: SpotTrader) -> None:
    sent = replacement(cancelOrderId=resting(trader), newClientOrderId="new", cancelNewClientOrderId="gone")
    done = trader.call("POST", "order/cancelReplace", **sent)
    assert_alike(done, sample("rest_cancel_replace_success"))
    ended, placed = done["cancelResponse"], done["newOrderResponse"]
    assert (ended["origClientOrderId"], ended["clientOrderId"], ended["status"]) == (
        "old",
        "gone",
        "CANCELED",
    )
    (left,) = trader.call("GET", "openOrders", symbol=BNB)
    assert (left["orderId"], left["clientOrderId"], left["price"]) == (
        placed["orderId"],
        "new",
        "690.00000000",
    )


def test_the_order_to_cancel_can_be_named_by_its_client_id(trader: SpotTrader) -> None:
    resting(trader)
    sent = replacement(cancelOrigClientOrderId="old", newClientOrderId="old")
    done = trader.call("POST", "order/cancelReplace", **sent)
    assert done["newOrderResponse"]["clientOrderId"] == "old"  # the cancel has freed the id


@pytest.mark.parametrize(
    ("name", "status", "found", "more"),
    [
        ("rest_cancel_replace_409_new_failed", 409, True, TAKES),
        ("rest_cancel_replace_400_cancel_failed_stop", 400, False, {}),
        (
            "rest_cancel_replace_409_cancel_failed_allow",
            409,
            False,
            {"cancelReplaceMode": "ALLOW_FAILURE", "newOrderRespType": "ACK"},
        ),
        ("rest_cancel_replace_400_both_failed", 400, False, {"cancelReplaceMode": "ALLOW_FAILURE", **TAKES}),
    ],
)
def test_each_half_that_failed_is_told_as_in_the_sample(
    trader: SpotTrader, name: str, status: int, found: bool, more: dict[str, Any]
) -> None:
    target = {"cancelOrderId": resting(trader)} if found else LONG_GONE
    answer, body = trader.failed("POST", "order/cancelReplace", **replacement(**target, **more))
    real = sample(name)
    assert answer.status == status
    assert (body["code"], body["msg"]) == (real["code"], real["msg"])
    assert shape(body) == shape(real)
    results = ("cancelResult", "newOrderResult")
    assert [body["data"][key] for key in results] == [real["data"][key] for key in results]
    for half in ("cancelResponse", "newOrderResponse"):
        if "code" in (real["data"][half] or {}):
            assert body["data"][half] == real["data"][half]


def test_filters_are_looked_at_before_anything_is_cancelled(trader: SpotTrader) -> None:
    order_id = resting(trader)
    sent = replacement(cancelOrderId=order_id, price="690.001")
    assert trader.refused("POST", "order/cancelReplace", **sent) == (
        400,
        -1013,
        "Filter failure: PRICE_FILTER",
    )
    assert trader.order(order_id)["status"] == "NEW"


def test_a_cancel_replace_counts_one_order_even_if_none_was_attempted(trader: SpotTrader) -> None:
    trader.refused("POST", "order/cancelReplace", **replacement(**LONG_GONE))
    rows = trader.call("GET", "rateLimit/order")
    assert [row["count"] for row in rows] == [1, 1]


@pytest.mark.parametrize(
    ("exceeded", "mode", "found", "status", "code", "halves", "left"),
    [
        ("DO_NOTHING", "STOP_ON_FAILURE", True, 429, -1015, None, "NEW"),
        ("CANCEL_ONLY", "STOP_ON_FAILURE", True, 429, -2021, ("SUCCESS", "FAILURE"), "CANCELED"),
        ("CANCEL_ONLY", "STOP_ON_FAILURE", False, 429, -2022, ("FAILURE", "NOT_ATTEMPTED"), "NEW"),
        ("CANCEL_ONLY", "ALLOW_FAILURE", True, 409, -2021, ("SUCCESS", "FAILURE"), "CANCELED"),
        ("CANCEL_ONLY", "ALLOW_FAILURE", False, 400, -2022, ("FAILURE", "FAILURE"), "NEW"),
    ],
)
def test_too_many_orders_stop_all_or_only_the_new_one(
    exceeded: str, mode: str, found: bool, status: int, code: int, halves: Any, left: str
) -> None:
    trader = SpotTrader(bnb_desk(spot=LIMIT_OF_ONE))
    order_id = resting(trader)
    target = {"cancelOrderId": order_id} if found else LONG_GONE
    sent = replacement(**target, cancelReplaceMode=mode, orderRateLimitExceededMode=exceeded)
    answer, body = trader.failed("POST", "order/cancelReplace", **sent)
    assert (answer.status, body["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status == 429)
    if halves:
        assert (body["data"]["cancelResult"], body["data"]["newOrderResult"]) == halves
    if halves and halves[1] == "FAILURE":
        assert body["data"]["newOrderResponse"]["code"] == -1015
    assert trader.order(order_id)["status"] == left


def test_a_leg_is_replaced_with_its_whole_list(trader: SpotTrader) -> None:
    placed = trader.call("POST", "orderList/oto", **oto())
    done = trader.call("POST", "order/cancelReplace", **replacement(cancelOrigClientOrderId="w-0001"))
    assert done["cancelResponse"]["listOrderStatus"] == "ALL_DONE"
    states = [trader.order(leg["orderId"])["status"] for leg in placed["orders"]]
    assert states == ["CANCELED", "CANCELED"]


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        (
            {},
            -1102,
            "Param 'cancelOrigClientOrderId' or 'cancelOrderId' must be sent, but both were empty/null!",
        ),
        (
            {"cancelReplaceMode": None},
            -1102,
            "Mandatory parameter 'cancelReplaceMode' was not sent, was empty/null, or malformed.",
        ),
        (
            {**LONG_GONE, "cancelReplaceMode": "X"},
            -1130,
            "Data sent for parameter 'cancelReplaceMode' is not valid.",
        ),
        ({**LONG_GONE, "cancelRestrictions": "X"}, -1145, "Invalid cancelRestrictions"),
    ],
)
def test_a_cancel_replace_that_says_too_little(
    trader: SpotTrader, more: dict[str, Any], code: int, text: str
) -> None:
    assert trader.refused("POST", "order/cancelReplace", **replacement(**more)) == (400, code, text)


def test_restrictions_bind_the_cancelling_half(trader: SpotTrader) -> None:
    sent = replacement(cancelOrderId=resting(trader), cancelRestrictions="ONLY_PARTIALLY_FILLED")
    _, body = trader.failed("POST", "order/cancelReplace", **sent)
    assert body["data"]["cancelResponse"] == sample("rest_error_cancel_restrictions_not_met")


@pytest.mark.parametrize(
    ("mode", "status", "halves"),
    [
        ("STOP_ON_FAILURE", 400, ("FAILURE", "NOT_ATTEMPTED")),
        ("ALLOW_FAILURE", 409, ("FAILURE", "SUCCESS")),
    ],
)
def test_ids_that_do_not_belong_together_fail_the_cancelling_half(
    trader: SpotTrader, mode: str, status: int, halves: Any
) -> None:
    order_id = resting(trader)
    other = trader.limit("BUY", "701", "1", newClientOrderId="other")["orderId"]
    sent = replacement(cancelOrderId=order_id, cancelOrigClientOrderId="other", cancelReplaceMode=mode)
    answer, body = trader.failed("POST", "order/cancelReplace", **sent)
    assert (answer.status, body["data"]["cancelResponse"]["code"]) == (status, -2039)
    assert (body["data"]["cancelResult"], body["data"]["newOrderResult"]) == halves
    assert [trader.order(one)["status"] for one in (order_id, other)] == ["NEW", "NEW"]


def test_the_ws_api_tells_both_halves_under_its_error(trader: SpotTrader) -> None:
    line = Line(trader.desk, "/ws-api/v3")
    done = trader.ws(line, "order.cancelReplace", **replacement(cancelOrderId=resting(trader)))
    assert shape(done["result"]) == shape(sample("rest_cancel_replace_success"))
    failed = trader.ws(line, "order.cancelReplace", 2, **replacement(**LONG_GONE))
    assert failed["status"] == 400
    assert failed["error"] == sample("rest_cancel_replace_400_cancel_failed_stop")


# Reduce in place.


def amend(trader: SpotTrader, order_id: int, quantity: str, **more: Any) -> Any:
    return trader.call(
        "PUT", "order/amend/keepPriority", symbol=BNB, orderId=order_id, newQty=quantity, **more
    )


def test_an_amended_order_is_told_as_in_the_sample(trader: SpotTrader) -> None:
    order_id = int(trader.limit("BUY", "700", "5", newClientOrderId="old")["orderId"])
    line = trader.listen()
    done = amend(trader, order_id, "4")
    assert_alike(done, sample("rest_order_amend_single"))
    found = done["amendedOrder"]
    assert (found["origClientOrderId"], found["qty"], found["status"]) == ("old", "4.00000000", "NEW")
    assert found["clientOrderId"] != "old"
    assert trader.account.locked["USDT"] == 2800
    events = [frame["event"] for frame in line.taken()]
    report = events[0]
    assert (report["x"], report["X"], report["C"], report["c"], report["q"]) == (
        "REPLACED",
        "NEW",
        "old",
        found["clientOrderId"],
        "4.00000000",
    )
    assert report["I"] == done["executionId"]
    assert [event["e"] for event in events] == ["executionReport", "outboundAccountPosition"]


def test_amendments_are_remembered_in_their_order(trader: SpotTrader) -> None:
    order_id = int(trader.limit("BUY", "700", "5")["orderId"])
    first = amend(trader, order_id, "4")
    amend(trader, order_id, "3", newClientOrderId=first["amendedOrder"]["clientOrderId"])
    rows = trader.call("GET", "order/amendments", symbol=BNB, orderId=order_id)
    assert_alike(rows, sample("rest_order_amendments"))
    assert [(row["origQty"], row["newQty"]) for row in rows] == [
        ("5.00000000", "4.00000000"),
        ("4.00000000", "3.00000000"),
    ]
    assert rows[1]["origClientOrderId"] == rows[1]["newClientOrderId"]
    later = trader.call(
        "GET", "order/amendments", symbol=BNB, orderId=order_id, fromExecutionId=rows[1]["executionId"]
    )
    assert later == rows[1:]


def test_an_amended_order_keeps_its_place_in_the_queue() -> None:
    desk = bnb_desk(house={"levels": "0"})
    first, second, seller = SpotTrader(desk, "1"), SpotTrader(desk, "2"), SpotTrader(desk, "3", BNB="5")
    order_id = int(first.limit("BUY", "790", "2")["orderId"])
    later_id = int(second.limit("BUY", "790", "2")["orderId"])
    amend(first, order_id, "1")
    seller.limit("SELL", "790", "1")
    assert first.order(order_id)["status"] == "FILLED"
    assert second.order(later_id)["executedQty"] == "0.00000000"


def test_a_leg_is_amended_on_its_own_and_its_list_says_so(trader: SpotTrader) -> None:
    placed = trader.call("POST", "orderList/oto", **market_oto())
    line = trader.listen()
    pending = placed["orders"][1]["orderId"]
    done = amend(trader, pending, "0.5")
    assert_alike(done, sample("rest_order_amend_in_list"))
    assert done["amendedOrder"]["status"] == "PENDING_NEW"
    assert done["listStatus"]["orders"][1]["clientOrderId"] == done["amendedOrder"]["clientOrderId"]
    told = {frame["event"]["e"]: frame["event"] for frame in line.taken()}
    assert (told["listStatus"]["l"], told["listStatus"]["L"]) == ("UPDATED", "EXECUTING")


def public_weight(desk: Desk) -> int:
    answer = desk.ask(Request("GET", "/api/v3/ping", remote="10.0.0.1"))
    assert isinstance(answer, Response)
    return int(answer.headers["x-mbx-used-weight-1m"])


def market_oto() -> dict[str, Any]:
    terms = oto(pendingType="MARKET")
    return {name: terms[name] for name in terms if name not in ("pendingPrice", "pendingTimeInForce")}


def test_an_order_that_has_traded_its_new_quantity_ends_and_costs_no_weight() -> None:
    desk = bnb_desk(house={"levels": "0"})
    trader, seller = SpotTrader(desk), SpotTrader(desk, "2", BNB="5")
    order_id = int(trader.limit("BUY", "790", "3")["orderId"])
    seller.limit("SELL", "790", "1")
    used = public_weight(desk)
    done = amend(trader, order_id, "1")
    assert public_weight(desk) == used + 1  # the ping's own
    assert (done["amendedOrder"]["executedQty"], done["amendedOrder"]["status"]) == ("1.00000000", "EXPIRED")
    assert trader.order(order_id)["status"] == "EXPIRED"
    assert trader.account.locked["USDT"] == 0


@pytest.mark.parametrize(
    ("quantity", "code", "text"),
    [
        ("6", -2038, "Order amend (quantity increase) is not supported."),
        ("5", -2038, "The requested action would change no state; rejecting"),
        ("4.0001", -1013, "Filter failure: LOT_SIZE"),
        ("0.001", -1013, "Filter failure: NOTIONAL"),
        ("0.123456789", -1111, "Parameter 'newQty' has too much precision."),
    ],
)
def test_an_amendment_only_reduces(trader: SpotTrader, quantity: str, code: int, text: str) -> None:
    order_id = trader.limit("BUY", "700", "5")["orderId"]
    sent = {"symbol": BNB, "orderId": order_id, "newQty": quantity}
    assert trader.refused("PUT", "order/amend/keepPriority", **sent) == (400, code, text)
    assert trader.order(order_id)["origQty"] == "5.00000000"


def test_amendments_of_an_order_are_limited() -> None:
    trader = SpotTrader(bnb_desk(instrument={"max_num_order_amends": 1}))
    order_id = trader.limit("BUY", "700", "5")["orderId"]
    amend(trader, order_id, "4")
    found = trader.refused("PUT", "order/amend/keepPriority", symbol=BNB, orderId=order_id, newQty="3")
    assert found == (400, -2038, "Filter failure: MAX_NUM_ORDER_AMENDS")


@pytest.mark.parametrize(
    ("field", "method", "path", "code"),
    [
        ("amend_allowed", "PUT", "order/amend/keepPriority", -2038),
        ("cancel_replace_allowed", "POST", "order/cancelReplace", -2010),
    ],
)
def test_a_symbol_can_take_no_such_change(field: str, method: str, path: str, code: int) -> None:
    trader = SpotTrader(bnb_desk(instrument={field: False}))
    order_id = resting(trader)
    sent = (
        replacement(cancelOrderId=order_id)
        if method == "POST"
        else {"symbol": BNB, "orderId": order_id, "newQty": "0.5"}
    )
    assert trader.refused(method, path, **sent)[:2] == (400, code)
    assert trader.order(order_id)["status"] == "NEW"


@pytest.mark.parametrize(("status", "amends"), [("CANCEL_ONLY", True), ("HALT", False), ("BREAK", False)])
def test_cancel_only_still_lets_amend_and_a_halt_does_not(
    trader: SpotTrader, status: str, amends: bool
) -> None:
    order_id = trader.limit("BUY", "700", "5")["orderId"]
    trader.desk.control("POST", "faults", {"kind": "trading_status", "symbol": BNB, "code": status})
    sent = {"symbol": BNB, "orderId": order_id, "newQty": "4"}
    if amends:
        assert trader.call("PUT", "order/amend/keepPriority", **sent)["amendedOrder"]["qty"] == "4.00000000"
    else:
        found = trader.refused("PUT", "order/amend/keepPriority", **sent)
        assert found == (400, -2038, "Market is closed.")


def test_an_order_that_is_not_there_cannot_be_amended(trader: SpotTrader) -> None:
    sent = {"symbol": BNB, "orderId": 1, "newQty": "4"}
    assert trader.refused("PUT", "order/amend/keepPriority", **sent) == (400, -2038, "Unknown order sent.")
