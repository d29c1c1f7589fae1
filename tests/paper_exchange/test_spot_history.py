"""What befell an account's orders, and when the venue's database knows of it (binance-spot 1.2, 3.3, 9)."""

from decimal import Decimal
from typing import Any

import pytest

from tests.paper_exchange.desk import Desk
from tests.paper_exchange.spot_desk import BNB, SpotTrader, assert_alike, bnb_desk, oto, public, sample

DAY_SECONDS = 86_400


def empty(**spot: Any) -> Desk:
    return bnb_desk(spot=spot, house={"levels": "0"})


def meet(desk: Desk, mode: str, *, group: int) -> tuple[SpotTrader, Any, Any]:
    """A resting SELL and a BUY of the same group that would take it."""
    maker, taker = SpotTrader(desk, "1", BNB="5"), SpotTrader(desk, "2", USDT="5000")
    for user_id in ("1", "2"):
        desk.control("POST", "accounts", {"user_id": user_id, "venue": "spot", "trade_group": group})
    resting = maker.limit("SELL", "810", "1")
    return taker, resting, taker.limit("BUY", "810", "3", selfTradePreventionMode=mode)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("EXPIRE_MAKER", "rest_my_prevented_matches"),
        ("EXPIRE_BOTH", "rest_my_prevented_matches_expire_both"),
    ],
)
def test_prevented_matches_are_told_as_in_the_sample(mode: str, name: str) -> None:
    trader, resting, taken = meet(empty(), mode, group=7)
    rows = trader.call("GET", "myPreventedMatches", symbol=BNB, orderId=taken["orderId"])
    expected = [row | {"makerSymbol": ""} for row in sample(name)]  # one of the two samples leaves it out
    assert_alike(rows, expected)
    assert (rows[0]["takerOrderId"], rows[0]["makerOrderId"]) == (taken["orderId"], resting["orderId"])
    assert (rows[0]["tradeGroupId"], rows[0]["selfTradePreventionMode"]) == (7, mode)
    number = rows[0]["preventedMatchId"]
    assert trader.call("GET", "myPreventedMatches", symbol=BNB, preventedMatchId=number) == rows
    later = {"orderId": taken["orderId"], "fromPreventedMatchId": number + 1}
    assert trader.call("GET", "myPreventedMatches", symbol=BNB, **later) == []


@pytest.mark.parametrize("sent", [{}, {"preventedMatchId": 1, "orderId": 1}, {"fromPreventedMatchId": 1}])
def test_only_three_ways_to_ask_for_prevented_matches(sent: dict[str, Any]) -> None:
    assert SpotTrader(empty()).refused("GET", "myPreventedMatches", symbol=BNB, **sent)[:2] == (400, -1128)


def test_a_group_keeps_different_accounts_from_trading_and_none_does_not() -> None:
    *_, taken = meet(empty(), "EXPIRE_TAKER", group=7)
    assert (taken["status"], taken["tradeGroupId"]) == ("EXPIRED_IN_MATCH", 7)
    *_, free = meet(empty(), "EXPIRE_TAKER", group=-1)
    assert free["status"] == "PARTIALLY_FILLED"


# Archive (3.3).


def test_an_order_that_ended_with_nothing_executed_is_archived_after_its_days() -> None:
    desk = empty(archive_days="1")
    trader, seller = SpotTrader(desk), SpotTrader(desk, "2", BNB="5")
    idle = trader.limit("BUY", "700", "1")["orderId"]
    filled = trader.limit("BUY", "790", "1")["orderId"]
    seller.limit("SELL", "790", "1")
    trader.call("DELETE", "order", symbol=BNB, orderId=idle)
    open_still = trader.limit("BUY", "700", "1")["orderId"]
    desk.pass_time(60)
    assert trader.order(idle)["status"] == "CANCELED"
    desk.now_ms += 2 * DAY_SECONDS * 1000
    answer, body = trader.failed("GET", "order", symbol=BNB, orderId=idle)
    assert answer.status == 400
    assert body["code"] == sample("rest_error_order_archived")["code"]
    assert body["msg"] == sample("rest_error_order_archived")["msg"].replace("90", "1")
    assert trader.order(filled)["status"] == "FILLED"
    known = [row["orderId"] for row in trader.call("GET", "allOrders", symbol=BNB)]
    assert known == [filled, open_still]


# The database's lag (1.2).


@pytest.fixture
def late() -> SpotTrader:
    desk = bnb_desk(spot={"database_lag_seconds": "5"})
    desk.pass_time(10)
    return SpotTrader(desk)


def test_reads_from_the_database_learn_of_an_order_later_and_reads_from_memory_at_once(
    late: SpotTrader,
) -> None:
    order_id = late.limit("BUY", "700", "1")["orderId"]
    assert late.order(order_id)["status"] == "NEW"
    assert len(late.call("GET", "openOrders", symbol=BNB)) == 1
    assert late.call("GET", "allOrders", symbol=BNB) == []
    late.desk.pass_time(5)
    late.call("DELETE", "order", symbol=BNB, orderId=order_id)
    late.desk.pass_time(2)
    (row,) = late.call("GET", "allOrders", symbol=BNB)
    assert row["status"] == "NEW"
    late.desk.pass_time(3)
    (row,) = late.call("GET", "allOrders", symbol=BNB)
    assert row["status"] == "CANCELED"


def test_lists_are_found_once_the_database_knows_them(late: SpotTrader) -> None:
    list_id = late.call("POST", "orderList/oto", **oto())["orderListId"]
    assert late.refused("GET", "orderList", orderListId=list_id)[:2] == (400, -2018)
    assert late.call("GET", "allOrderList") == []
    assert len(late.call("GET", "openOrderList")) == 1  # memory first
    late.desk.pass_time(5)
    late.call("DELETE", "orderList", symbol=BNB, orderListId=list_id)
    assert late.call("GET", "orderList", orderListId=list_id)["listOrderStatus"] == "EXECUTING"
    late.desk.pass_time(5)
    assert late.call("GET", "orderList", orderListId=list_id)["listOrderStatus"] == "ALL_DONE"


@pytest.mark.parametrize("path", ["aggTrades", "historicalTrades"])
def test_public_trades_come_late_from_the_database_only(late: SpotTrader, path: str) -> None:
    when = "T" if path == "aggTrades" else "time"
    desk = late.desk
    known = public(desk, path, f"symbol={BNB}")
    recent = public(desk, "trades", f"symbol={BNB}")
    assert recent[-1]["time"] > desk.now_ms - 1000
    assert max(row[when] for row in known) <= desk.now_ms - 5000


@pytest.mark.parametrize("interval", ["1s", "1m", "1h"])
def test_candles_of_the_database_hold_the_trades_that_it_knows_and_no_more(
    late: SpotTrader, interval: str
) -> None:
    desk = late.desk
    desk.pass_time(130 - desk.now_ms // 1000 % 60)  # ten seconds into a minute, two minutes on
    for _ in range(2):
        known = public(desk, "aggTrades", f"symbol={BNB}&limit=1000")
        rows = public(desk, "klines", f"symbol={BNB}&interval={interval}")
        assert rows[-1][4] == known[-1]["p"]
        assert sum(Decimal(row[5]) for row in rows) == sum(Decimal(row["q"]) for row in known)
        assert sum(row[8] for row in rows) == sum(row["l"] - row["f"] + 1 for row in known)
        desk.pass_time(3)


def test_an_end_in_the_future_is_cut_before_the_length_of_the_span_is_looked_at(late: SpotTrader) -> None:
    now = late.desk.now_ms
    span = {"startTime": now - 3_600_000, "endTime": (now + 3 * DAY_SECONDS * 1000) * 1000}
    assert late.call("GET", "myTrades", symbol=BNB, **span) == []
    assert late.call("GET", "allOrders", symbol=BNB, **span) == []
    assert late.call("GET", "allOrderList", **span) == []
    span["startTime"] = now - DAY_SECONDS * 1000 + 10_000
    assert late.call("GET", "myTrades", symbol=BNB, **span) == []
    span["startTime"] -= 1
    assert late.refused("GET", "myTrades", symbol=BNB, **span)[1] == -1127


def test_nothing_lags_unless_it_is_asked_for() -> None:
    trader = SpotTrader(bnb_desk())
    trader.limit("BUY", "700", "1")
    assert len(trader.call("GET", "allOrders", symbol=BNB)) == 1
