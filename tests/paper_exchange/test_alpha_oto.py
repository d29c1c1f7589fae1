"""The life of an Alpha OTO (binance-alpha 4.1 and 4.2)."""

from decimal import Decimal
from typing import Any

import pytest

from tests.paper_exchange.desk import DEFI, Desk, make_config


def partly_filled(**alpha: Any) -> tuple[Desk, Any, int, int]:
    """An OTO whose working leg has met all the house offers, and more is not coming."""
    desk = Desk(make_config(alpha=alpha, house={"level_notional": "10", "levels": "1"}))
    desk.pin("48")
    trader = desk.trader()
    working, pending = trader.oto("48.2", "0.9", "49")
    while trader.found(working).priority is None:
        desk.pass_time(0.001)
    assert trader.found(working).status == "PARTIALLY_FILLED"
    return desk, trader, working, pending


def test_the_pending_leg_waits_with_quantity_zero_and_holds_no_funds(desk: Desk) -> None:
    trader = desk.trader()
    _, pending = trader.oto("47", "1", "49")
    desk.pass_time(5)
    rows = trader.get(f"{DEFI}/order/get-open-order")["data"]
    assert [(row["status"], row["origQty"]) for row in rows] == [("PENDING", "0"), ("NEW", "1")]
    assert trader.balance("USDT") == ("19953.00000000", "47.00000000")
    assert trader.found(pending).priority is None


def test_a_partial_fill_does_not_release_the_pending_leg() -> None:
    _, trader, _, pending = partly_filled()
    assert trader.found(pending).status == "PENDING"


def test_the_pending_leg_is_sized_by_what_was_received_cut_to_the_step(desk: Desk) -> None:
    trader = desk.trader()
    working, pending = trader.oto("48.24", "0.6213", "49")
    desk.pass_time(0.5)
    bought = trader.found(working)
    assert (bought.status, bought.fee) == ("FILLED", Decimal("0.00006213"))
    sold = trader.found(pending)
    assert (sold.status, sold.quantity) == ("NEW", Decimal("0.6212"))
    assert trader.balance("ALPHA_22") == ("0.00003787", "0.6212")


def test_the_events_come_in_the_venues_order(desk: Desk) -> None:
    trader = desk.trader()
    frames = trader.listen()
    trader.oto("48.24", "0.5", "47")
    desk.pass_time(2)
    seen = [(f["data"]["cp"], f["data"]["x"], f["data"]["X"], f["data"]["q"]) for f in frames]
    assert seen == [
        ("OTO_WORKING", "NEW", "NEW", "0.50000000"),
        ("OTO_PENDING", "NEW", "PENDING", "0"),
        ("OTO_WORKING", "TRADE", "FILLED", "0.50000000"),
        ("OTO_PENDING", "NEW", "NEW", "0.49990000"),
        ("OTO_PENDING", "TRADE", "FILLED", "0.49990000"),
    ]
    ids = [frame["data"]["id"] for frame in frames]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("leg", [0, 1])
def test_cancelling_either_leg_before_the_trigger_ends_both(desk: Desk, leg: int) -> None:
    trader = desk.trader()
    legs = trader.oto("47", "1", "49")
    desk.pass_time(1)
    assert trader.cancel(legs[leg]) == {
        "code": "000000",
        "message": None,
        "messageDetail": None,
        "data": None,
        "success": True,
    }
    assert [trader.found(order_id).status for order_id in legs] == ["CANCELED", "CANCELED"]
    assert trader.balance("USDT") == ("20000.00000000", "0E-8")


def test_cancelling_after_a_partial_fill_drops_the_pending_leg_and_leaves_the_base_free() -> None:
    _, trader, working, pending = partly_filled()
    trader.cancel(working)
    assert trader.found(working).status == trader.found(pending).status == "CANCELED"
    free, locked = trader.balance("ALPHA_22")
    assert Decimal(free) == trader.found(working).executed - trader.found(working).fee > 0
    assert Decimal(locked) == 0


def test_a_switch_sizes_the_pending_leg_on_the_filled_part_instead() -> None:
    _, trader, working, pending = partly_filled(pending_after_partial_cancel="size_filled")
    trader.cancel(working)
    assert trader.found(working).status == "CANCELED"
    assert trader.found(pending).status == "NEW"
    assert Decimal(0) < trader.found(pending).quantity < trader.found(working).executed


def test_a_switch_refuses_to_cancel_a_pending_leg_before_its_trigger() -> None:
    desk = Desk(make_config(alpha={"cancel_pending_before_trigger": "refuse"}))
    desk.pin("48")
    trader = desk.trader()
    working, pending = trader.oto("47", "1", "49")
    assert trader.cancel(pending)["success"] is False
    assert trader.found(working).status == "NEW"
    assert trader.cancel(working)["success"] is True


def test_after_the_trigger_only_the_sell_is_cancelled(desk: Desk) -> None:
    trader = desk.trader()
    working, pending = trader.oto("48.24", "0.5", "49")
    desk.pass_time(1)
    assert trader.cancel(working)["code"] == "481017"
    assert trader.cancel(pending)["code"] == "000000"
    assert (trader.found(working).status, trader.found(pending).status) == ("FILLED", "CANCELED")


def test_a_pending_leg_too_small_for_the_filters_expires_at_release(desk: Desk) -> None:
    trader = desk.trader()
    _, pending = trader.oto("48.24", "0.0022", "0.001")
    desk.pass_time(1)
    assert (trader.found(pending).status, trader.found(pending).expiry_reason) == ("EXPIRED", "REJECTED")


def test_cancel_all_ends_every_open_order_of_that_account_only(desk: Desk) -> None:
    one, two = desk.trader("1"), desk.trader("2")
    one.oto("47", "1", "49")
    one.order("BUY", "46", "1")
    kept = two.order("BUY", "46", "1")
    assert one.post(f"{DEFI}/order/cancel-all", {})["success"] is True
    assert one.get(f"{DEFI}/order/get-open-order")["data"] == []
    assert two.found(kept).status == "NEW"


def test_a_sell_first_oto_buys_back_with_the_proceeds(desk: Desk) -> None:
    trader = desk.trader(ALPHA_22="1", USDT="0")
    body = trader.oto_body("47.9", "1", "40") | {
        "workingSide": "SELL",
        "paymentDetails": [{"amount": "1", "paymentWalletType": "ALPHA"}],
    }
    placed = trader.post("/bapi/asset/v1/private/alpha-trade/oto-order/place", body)["data"]
    desk.pass_time(1)
    sold, bought = trader.found(placed["workingOrderId"]), trader.found(placed["pendingOrderId"])
    assert sold.status == "FILLED"
    assert (bought.side, bought.status) == ("BUY", "NEW")
    assert bought.quantity * 40 <= sold.quote - sold.fee < (bought.quantity + Decimal("0.0001")) * 40
