"""Faults of the market and of an order's life: prices, filters, withdrawn symbols, fills, expiries."""

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from paper_exchange.http import Request
from paper_exchange.model import Status
from tests.paper_exchange.desk import ASSET, KOGE, Desk
from tests.paper_exchange.spot_desk import BNB, SpotTrader, oto, public
from tests.paper_exchange.test_faults_of_the_door import fault


def subscribe(desk: Desk, name: str) -> list[Any]:
    frames: list[Any] = []
    connection = desk.world.connect(
        Request("GET", "/w3w/wsa/stream"), lambda frame: frames.append(json.loads(frame))
    )
    assert connection is not None
    desk.world.receive(connection, json.dumps({"method": "SUBSCRIBE", "params": [name]}), desk.now_ms)
    frames.clear()
    return frames


def test_a_frozen_market_shows_its_last_trade_for_ever(desk: Desk) -> None:
    before = desk.state.markets[KOGE].tape.trades[-1]
    fault_id = fault(desk, "market_freeze", symbol=KOGE)
    desk.pass_time(20)
    assert desk.state.markets[KOGE].tape.trades[-1] == before
    assert desk.state.markets["ALPHA_382USDT"].tape.trades[-1].time_ms > before.time_ms
    desk.control("DELETE", "faults", query=f"id={fault_id}")
    desk.pass_time(1)
    assert desk.state.markets[KOGE].tape.trades[-1].time_ms > before.time_ms


def test_a_spike_moves_every_print_and_goes_again(desk: Desk) -> None:
    fault(desk, "market_spike", symbol=KOGE, percent="20", lasts_seconds="2")
    desk.pass_time(1)
    assert desk.state.markets[KOGE].last_price == Decimal("57.6")
    desk.pass_time(2)
    assert desk.state.markets[KOGE].last_price == Decimal(48)


def test_a_crossed_book_is_told_though_the_book_is_none(desk: Desk) -> None:
    frames = subscribe(desk, "alpha_22usdt@bookTicker")
    fault(desk, "market_cross", symbol=KOGE)
    desk.exchange.pin_price(KOGE, Decimal(49))
    desk.pass_time(1)
    book = frames[-1]["data"]
    assert Decimal(book["b"]) > Decimal(book["a"])
    assert desk.house_bid() < desk.house_ask()


def test_a_depth_frame_that_is_lost_leaves_a_gap_in_the_sequence(desk: Desk) -> None:
    frames = subscribe(desk, "alpha_22usdt@fulldepth@500ms")
    desk.pass_time(1)
    fault(desk, "market_frame_drop", stream="*fulldepth*", count=1)
    desk.pass_time(2)
    data = [frame["data"] for frame in frames]
    gaps = [after["pu"] != before["u"] for before, after in pairwise(data)]
    assert gaps.count(True) == 1


@pytest.mark.parametrize("status", ["HALT", "BREAK", "CANCEL_ONLY"])
def test_a_symbol_that_does_not_trade_can_be_cancelled_and_looked_at(desk: Desk, status: str) -> None:
    trader = SpotTrader(desk)
    resting = trader.limit("BUY", "700", "1")
    fault_id = fault(desk, "trading_status", symbol=BNB, code=status)
    rows = {row["symbol"]: row["status"] for row in public(desk, "exchangeInfo")["symbols"]}
    assert rows[BNB] == status
    assert trader.refused("POST", "orderList/oto", **oto())[1:] == (-2010, "Market is closed.")
    assert trader.call("DELETE", "order", symbol=BNB, orderId=resting["orderId"])["status"] == "CANCELED"
    desk.control("DELETE", "faults", query=f"id={fault_id}")
    trader.call("POST", "orderList/oto", **oto())


def test_filters_change_while_orders_rest_and_change_back(desk: Desk) -> None:
    trader = SpotTrader(desk)
    fault(desk, "filters", symbol=BNB, set={"step_size": "0.5", "min_quantity": "0.5"}, lasts_seconds="5")
    assert trader.refused("POST", "orderList/oto", **oto())[1:] == (-1013, "Filter failure: LOT_SIZE")
    row = next(row for row in public(desk, "exchangeInfo")["symbols"] if row["symbol"] == BNB)
    lot = next(one for one in row["filters"] if one["filterType"] == "LOT_SIZE")
    assert Decimal(lot["stepSize"]) == Decimal("0.5")
    desk.pass_time(6)
    trader.call("POST", "orderList/oto", **oto())


def test_a_vanished_symbol_is_unknown_everywhere(desk: Desk) -> None:
    spot, alpha = SpotTrader(desk), desk.trader()
    fault(desk, "vanish")
    assert public(desk, "exchangeInfo")["symbols"] == []
    assert desk.public("aggTicker24")["data"] == []
    assert spot.refused("POST", "orderList/oto", **oto())[1] == -1121
    assert alpha.post(f"{ASSET}/order/place", alpha.order_body("BUY", "40", "1"))["success"] is False
    assert desk.public("ticker", f"symbol={KOGE}")["success"] is False


def test_a_partial_fill_stops_where_it_is_told(desk: Desk) -> None:
    trader = desk.trader()
    fault_id = fault(desk, "partial_fill", user_id="1", endpoint="working", percent="30")
    working, _ = trader.oto("49", "1", "60")
    desk.pass_time(5)
    order = trader.found(working)
    assert (order.status, order.executed) == (Status.PARTIALLY_FILLED, Decimal("0.3"))
    desk.control("DELETE", "faults", query=f"id={fault_id}")
    desk.pass_time(1)
    assert trader.found(working).status is Status.FILLED


def test_an_order_fills_while_its_cancel_travels(desk: Desk) -> None:
    trader = desk.trader()
    working, pending = trader.oto("40", "1", "60")
    desk.pass_time(1)
    fault(desk, "fill_before_cancel", count=1)
    assert trader.cancel(working)["success"] is False
    assert trader.found(working).status is Status.FILLED
    assert trader.found(pending).status is Status.NEW


def test_half_an_order_fills_while_its_cancel_travels(desk: Desk) -> None:
    trader = desk.trader()
    working, pending = trader.oto("40", "1", "60")
    fault(desk, "fill_before_cancel", count=1, percent="50")
    assert trader.cancel(working)["success"] is True
    order = trader.found(working)
    assert (order.status, order.executed) == (Status.CANCELED, Decimal("0.5"))
    assert trader.found(pending).status is Status.CANCELED


def test_a_pending_leg_can_be_refused_at_its_release(desk: Desk) -> None:
    trader = desk.trader()
    fault(desk, "reject_pending", count=1)
    working, pending = trader.oto("48.24", "0.5", "60")
    desk.pass_time(1)
    assert trader.found(working).status is Status.FILLED
    assert (trader.found(pending).status, trader.found(pending).expiry_reason) == ("EXPIRED", "REJECTED")
    assert Decimal(trader.balance("ALPHA_22")[1]) == 0


def test_a_price_range_rule_expires_a_taker_at_once(desk: Desk) -> None:
    trader = SpotTrader(desk)
    line = trader.listen()
    fault(desk, "expire", code="EXECUTION_RULE_PRICE_RANGE_EXCEEDED", endpoint="working", count=1)
    trader.call("POST", "orderList/oto", **oto(workingPrice="900", pendingPrice="1000"))
    ended = [f["event"] for f in line.taken() if f["event"].get("x") == "EXPIRED"]
    assert ended[0]["eR"] == "EXECUTION_RULE_PRICE_RANGE_EXCEEDED"


def test_the_venue_can_end_a_resting_order(desk: Desk) -> None:
    trader = desk.trader()
    order = trader.order("BUY", "40", "1")
    desk.pass_time(1)
    fault(desk, "expire", when="after", code="DELISTED", count=1)
    desk.pass_time(1)
    assert (trader.found(order).status, trader.found(order).expiry_reason) == ("EXPIRED", "DELISTED")
