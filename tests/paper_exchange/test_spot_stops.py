"""Stops and icebergs as a Spot client sees them (binance-spot 2.3, 3.1, 4.2, 4.4)."""

from decimal import Decimal
from typing import Any

import pytest

from tests.paper_exchange.desk import Desk
from tests.paper_exchange.spot_desk import BNB, SpotTrader, bnb_desk, oto, public

D = Decimal
WOULD_TRIGGER = (400, -2010, "Order would trigger immediately.")


@pytest.fixture
def trader() -> SpotTrader:
    return SpotTrader(bnb_desk(), USDT="20000", BNB="10")


def terms(kind: str, side: str, stop: str, **more: Any) -> dict[str, Any]:
    found = {"symbol": BNB, "side": side, "type": kind, "quantity": "1", "stopPrice": stop, **more}
    if kind.endswith("LIMIT"):
        found |= {"timeInForce": "GTC", "price": more.get("price", stop)}
    return found


def stop(trader: SpotTrader, kind: str, side: str, at: str, **more: Any) -> int:
    return int(trader.call("POST", "order", **terms(kind, side, at, **more))["orderId"])


def moved(desk: Desk, price: str) -> None:
    desk.pin(price, BNB)
    desk.pass_time(1)


@pytest.mark.parametrize(
    ("kind", "side", "at", "not_yet", "reached", "ends"),
    [
        ("STOP_LOSS", "SELL", "780", "785", "779", "FILLED"),
        ("STOP_LOSS", "BUY", "820", "815", "821", "FILLED"),
        ("TAKE_PROFIT", "SELL", "820", "815", "821", "FILLED"),
        ("TAKE_PROFIT", "BUY", "780", "785", "779", "FILLED"),
        ("STOP_LOSS_LIMIT", "SELL", "780", "785", "779", "NEW"),
        ("STOP_LOSS_LIMIT", "BUY", "820", "815", "821", "NEW"),
        ("TAKE_PROFIT_LIMIT", "SELL", "820", "815", "821", "FILLED"),
        ("TAKE_PROFIT_LIMIT", "BUY", "780", "785", "779", "FILLED"),
    ],
)
def test_a_stop_waits_for_the_last_price_and_then_works(
    trader: SpotTrader, kind: str, side: str, at: str, not_yet: str, reached: str, ends: str
) -> None:
    line = trader.listen()
    order_id = stop(trader, kind, side, at)
    moved(trader.desk, not_yet)
    waiting = trader.order(order_id)
    assert (waiting["status"], waiting["isWorking"], waiting["workingTime"]) == ("NEW", False, -1)
    assert (waiting["type"], D(waiting["stopPrice"])) == (kind, D(at))
    assert [row["orderId"] for row in trader.call("GET", "openOrders", symbol=BNB)] == [order_id]
    assert not any(p == D(at) for p, _ in trader.desk.state.markets[BNB].book.depth("BUY", 50))
    moved(trader.desk, reached)
    worked = trader.order(order_id)
    assert (worked["status"], worked["isWorking"]) == (ends, True)
    reports = [f["event"] for f in line.taken() if f["event"]["e"] == "executionReport"]
    assert [(one["x"], one["w"]) for one in reports[:2]] == [("NEW", False), ("NEW", True)]
    assert {(one["o"], D(one["P"])) for one in reports} == {(kind, D(at))}
    asset = "USDT" if side == "BUY" else "BNB"
    assert (trader.account.locked[asset] == 0) is (ends == "FILLED")


@pytest.mark.parametrize(
    ("kind", "side", "at"),
    [
        ("STOP_LOSS", "SELL", "810"),
        ("STOP_LOSS_LIMIT", "BUY", "790"),
        ("TAKE_PROFIT", "BUY", "810"),
        ("TAKE_PROFIT_LIMIT", "SELL", "790"),
    ],
)
def test_a_stop_that_is_passed_already_is_refused(trader: SpotTrader, kind: str, side: str, at: str) -> None:
    assert trader.refused("POST", "order", **terms(kind, side, at)) == WOULD_TRIGGER
    assert trader.account.locked.get("USDT", 0) == trader.account.locked.get("BNB", 0) == 0


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        ({"stopPrice": "780.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"stopPrice": "0"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"stopPrice": "780.000000001"}, -1111, "Parameter 'stopPrice' has too much precision."),
        ({"quantity": "1.0001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "100"}, -2010, "Account has insufficient balance for requested action."),
    ],
)
def test_a_stop_is_checked_as_it_is_placed(
    trader: SpotTrader, more: dict[str, str], code: int, text: str
) -> None:
    sent = terms("STOP_LOSS", "SELL", "780") | more
    assert trader.refused("POST", "order", **sent) == (400, code, text)


def test_stops_are_counted() -> None:
    trader = SpotTrader(bnb_desk(instrument={"max_num_algo_orders": 2}), USDT="20000", BNB="10")
    first = stop(trader, "STOP_LOSS", "SELL", "780")
    trader.call("POST", "orderList/oto", **pending("STOP_LOSS", "650"))
    refused = (400, -2010, "Filter failure: MAX_NUM_ALGO_ORDERS")
    assert trader.refused("POST", "order", **terms("TAKE_PROFIT", "SELL", "820")) == refused
    trader.limit("BUY", "700", "1")  # no stop
    trader.call("DELETE", "order", symbol=BNB, orderId=first)
    stop(trader, "TAKE_PROFIT", "SELL", "820")


def test_a_stop_that_was_cancelled_is_never_triggered(trader: SpotTrader) -> None:
    order_id = stop(trader, "STOP_LOSS", "SELL", "780")
    cancelled = trader.call("DELETE", "order", symbol=BNB, orderId=order_id)
    assert (cancelled["status"], cancelled["stopPrice"]) == ("CANCELED", "780.00000000")
    moved(trader.desk, "770")
    assert trader.order(order_id)["status"] == "CANCELED"
    assert (trader.account.free["BNB"], trader.account.locked["BNB"]) == (10, 0)


def test_a_stop_outlives_a_restart(trader: SpotTrader) -> None:
    order_id = stop(trader, "STOP_LOSS_LIMIT", "SELL", "780", price="779")
    trader.desk.restart()
    moved(trader.desk, "785")
    assert trader.order(order_id)["isWorking"] is False
    moved(trader.desk, "779.5")
    assert trader.order(order_id)["status"] == "FILLED"


def test_a_buy_at_the_market_that_cannot_pay_once_it_is_triggered_expires() -> None:
    trader = SpotTrader(bnb_desk(), USDT="820")
    order_id = stop(trader, "STOP_LOSS", "BUY", "820")
    assert trader.account.locked["USDT"] == 820
    moved(trader.desk, "850")
    found = trader.order(order_id)
    assert (found["status"], found["expiryReason"]) == ("EXPIRED", "REJECTED")
    assert (trader.account.free["USDT"], trader.account.locked["USDT"]) == (820, 0)


# As a pending leg.


def pending(kind: str, at: str, **more: Any) -> dict[str, Any]:
    found = oto(pendingType=kind, pendingStopPrice=at, **more)
    if not kind.endswith("LIMIT"):
        del found["pendingPrice"], found["pendingTimeInForce"]
    return found


@pytest.mark.parametrize("kind", ["STOP_LOSS", "STOP_LOSS_LIMIT"])
def test_a_pending_stop_waits_once_it_is_released(trader: SpotTrader, kind: str) -> None:
    limit = {"pendingPrice": "700"} if kind.endswith("LIMIT") else {}
    answer = trader.call("POST", "orderList/oto", **pending(kind, "750", workingPrice="801", **limit))
    _, leg = (order["orderId"] for order in answer["orders"])
    assert answer["orderReports"][1]["stopPrice"] == "750.00000000"
    waiting = trader.order(leg)
    assert (waiting["status"], waiting["isWorking"]) == ("NEW", False)
    moved(trader.desk, "749")
    assert trader.order(leg)["status"] == "FILLED"
    found = trader.call("GET", "orderList", orderListId=answer["orderListId"])
    assert found["listOrderStatus"] == "ALL_DONE"


def test_row_10_a_pending_stop_that_is_passed_at_its_release_expires(trader: SpotTrader) -> None:
    answer = trader.call("POST", "orderList/oto", **pending("STOP_LOSS", "750"))
    moved(trader.desk, "699")  # fills the BUY at 700
    working, leg = (trader.order(order["orderId"]) for order in answer["orders"])
    assert (working["status"], leg["status"], leg["expiryReason"]) == ("FILLED", "EXPIRED", "REJECTED")


# Icebergs.


def test_the_book_shows_a_part_of_an_iceberg_at_a_time_and_the_next_one_stands_behind() -> None:
    desk = bnb_desk(house={"levels": "0"})
    owner, other, taker = (SpotTrader(desk, str(n), USDT="20000", BNB="10") for n in range(3))
    answer = owner.limit("SELL", "810", "2.5", icebergQty="1")
    assert answer["icebergQty"] == "1.00000000"
    behind = other.limit("SELL", "810", "1")["orderId"]
    assert public(desk, "depth", f"symbol={BNB}")["asks"] == [["810.00000000", "2.00000000"]]
    taker.limit("BUY", "810", "1.5")
    assert D(owner.order(answer["orderId"])["executedQty"]) == 1
    assert D(other.order(behind)["executedQty"]) == D("0.5")
    assert public(desk, "depth", f"symbol={BNB}")["asks"] == [["810.00000000", "1.50000000"]]
    found = taker.limit("BUY", "810", "9")
    assert D(found["executedQty"]) == 2
    assert owner.order(answer["orderId"])["status"] == "FILLED"
    assert owner.order(answer["orderId"])["icebergQty"] == "1.00000000"
    assert owner.account.locked["BNB"] == 0


@pytest.mark.parametrize("parts", [100, 2])
def test_an_iceberg_has_so_many_parts_at_most(parts: int) -> None:
    trader = SpotTrader(bnb_desk(instrument={"iceberg_parts": parts}))
    trader.limit("BUY", "700", "1", icebergQty=str(D(1) / parts))
    sent = {"symbol": BNB, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "700"}
    found = trader.refused("POST", "order", **sent, quantity="1.001", icebergQty=str(D(1) / parts))
    assert found == (400, -1013, "Filter failure: ICEBERG_PARTS")


@pytest.mark.parametrize(
    "more", [{"type": "LIMIT", "timeInForce": "FOK", "price": "810"}, {"type": "MARKET"}]
)
def test_what_an_iceberg_hides_can_be_taken(more: dict[str, str]) -> None:
    desk = bnb_desk(house={"levels": "0"})
    owner, taker = SpotTrader(desk, "1", BNB="10"), SpotTrader(desk, "2")
    owner.limit("SELL", "810", "3", icebergQty="0.5")
    answer = taker.call("POST", "order", symbol=BNB, side="BUY", quantity="2.2", **more)
    assert (answer["status"], len(answer["fills"])) == ("FILLED", 5)


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        ({"icebergQty": "2"}, -2010, "IcebergQty exceeds QTY."),
        ({"icebergQty": "0.009"}, -1013, "Filter failure: ICEBERG_PARTS"),
        ({"icebergQty": "0.1001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"icebergQty": "0.5", "timeInForce": "IOC"}, -1014, "Unsupported order combination."),
    ],
)
def test_an_iceberg_that_is_refused(trader: SpotTrader, more: dict[str, str], code: int, text: str) -> None:
    sent = {"symbol": BNB, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "700", **more}
    assert trader.refused("POST", "order", **sent, quantity="1") == (400, code, text)


def test_an_iceberg_outlives_a_restart_and_can_be_amended(trader: SpotTrader) -> None:
    order_id = trader.limit("BUY", "700", "1", icebergQty="0.4")["orderId"]
    trader.desk.restart()
    trader.call("PUT", "order/amend/keepPriority", symbol=BNB, orderId=order_id, newQty="0.5")
    depth = dict(trader.desk.state.markets[BNB].book.depth("BUY", 50))
    assert depth[D(700)] == D("0.4")
    moved(trader.desk, "699")
    found = trader.order(order_id)
    assert (found["status"], D(found["executedQty"])) == ("FILLED", D("0.5"))


def test_exchange_info_says_what_a_symbol_takes(trader: SpotTrader) -> None:
    row = public(trader.desk, "exchangeInfo", f"symbol={BNB}")["symbols"][0]
    assert row["icebergAllowed"] is True
    assert {"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"} < set(row["orderTypes"])
    filters = {one["filterType"]: one for one in row["filters"]}
    assert (filters["ICEBERG_PARTS"]["limit"], filters["MAX_NUM_ALGO_ORDERS"]["maxNumAlgoOrders"]) == (100, 5)
