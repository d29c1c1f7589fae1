"""The user data stream: which events, in which order, with which keys (binance-spot 7)."""

from typing import Any

import pytest

from tests.paper_exchange.desk import Desk, make_config
from tests.paper_exchange.spot_desk import BNB, Line, SpotTrader, oto, sample, shape

WHO = ("e", "x", "X", "l", "L", "eR")


@pytest.fixture
def bnb() -> Desk:
    desk = Desk()
    desk.pin("800", BNB)
    return desk


def empty() -> Desk:
    """BNB without a house: users trade with one another only."""
    desk = Desk(make_config(house={"levels": "0"}))
    desk.pin("800", BNB)
    return desk


def story(frames: list[Any]) -> list[tuple[Any, ...]]:
    """Each event's type, and of reports and lists what moved."""
    events = [frame["event"] for frame in frames]
    return [(event["e"], event.get("x", event.get("l")), event.get("X", event.get("L"))) for event in events]


def assert_events_alike(ours: list[Any], theirs: list[Any]) -> None:
    """Event by event, in order, with the same keys and types."""
    assert story(ours) == story(theirs)
    for mine, real in zip(ours, theirs, strict=True):
        assert shape(mine) == shape(real)


def test_an_oto_is_placed_partly_filled_and_released_as_in_the_sample() -> None:
    desk = empty()
    trader, seller = SpotTrader(desk, USDT="5000"), SpotTrader(desk, "2", BNB="5")
    line = trader.listen()
    trader.call("POST", "orderList/oto", **oto(workingPrice="790", pendingQuantity="0.999"))
    for quantity in ("0.4", "0.6"):
        seller.limit("SELL", "790", quantity)
    frames = line.taken()
    theirs = sample("synthetic_uds_seq_oto_place_partial_fill_release")
    assert_events_alike(frames, theirs)
    reports = [frame["event"] for frame in frames if frame["event"]["e"] == "executionReport"]
    real = [frame["event"] for frame in theirs if frame["event"]["e"] == "executionReport"]
    same = ("c", "w", "m", "M", "q", "l", "z", "n", "r", "C")
    assert [[one[key] for key in same] for one in reports] == [[one[key] for key in same] for one in real]
    assert sorted(report["I"] for report in reports) == [report["I"] for report in reports]


def test_an_oto_cancelled_before_its_fill_as_in_the_sample(bnb: Desk) -> None:
    trader = SpotTrader(bnb)
    placed = trader.call("POST", "orderList/oto", **oto())
    line = trader.listen()
    trader.call(
        "DELETE", "orderList", symbol=BNB, orderListId=placed["orderListId"], newClientOrderId="cxl-0001"
    )
    frames = line.taken()
    theirs = sample("synthetic_uds_seq_oto_cancelled_before_fill")
    # Which leg is told first is not promised.
    assert_events_alike(frames, [theirs[1], theirs[0], *theirs[2:]])
    working, pending, listed, _ = (frame["event"] for frame in frames)
    assert [(one["C"], one["c"]) for one in (working, pending)] == [
        ("w-0001", "cxl-0001"),
        ("p-0001", "cxl-0001"),
    ]
    assert [one["c"] for one in listed["O"]] == ["w-0001", "p-0001"]
    assert_events_alike([frames[0]], [sample("synthetic_uds_execution_report_canceled")])


def test_a_pending_leg_refused_at_its_release_as_in_the_sample() -> None:
    desk = empty()
    trader, seller = SpotTrader(desk, USDT="5000"), SpotTrader(desk, "2", BNB="5")
    trader.call("POST", "orderList/oto", **oto(workingPrice="790", pendingQuantity="1"))
    line = trader.listen()
    seller.limit("SELL", "790", "1")
    frames = line.taken()
    assert_events_alike(frames[:-1], sample("synthetic_uds_seq_oto_pending_rejected_on_release"))
    assert frames[1]["event"]["eR"] == "REJECTED"
    assert frames[-1]["event"]["e"] == "outboundAccountPosition"


def test_a_market_order_is_told_new_then_trades_then_its_end() -> None:
    desk = Desk(make_config(house={"levels": "2", "level_notional": "400"}))
    desk.pin("800", BNB)
    trader = SpotTrader(desk)
    line = trader.listen()
    trader.call("POST", "order", symbol=BNB, side="BUY", type="MARKET", quantity="6")
    theirs = sample("uds_seq_market_order_new_trade_trade_expired")
    theirs[3]["event"]["eR"] = "INSUFFICIENT_LIQUIDITY"  # the sample is older than this key
    frames = line.taken()
    assert_events_alike(frames, theirs)
    assert [frame["event"].get("w") for frame in frames] == [True, False, False, False, None]


def test_a_prevented_self_trade_names_both_orders() -> None:
    desk = Desk(make_config(house={"levels": "0"}))
    desk.pin("800", BNB)
    trader = SpotTrader(desk, USDT="5000", BNB="5")
    maker = trader.limit("SELL", "810", "1")
    line = trader.listen()
    taker = trader.limit("BUY", "810", "3", selfTradePreventionMode="EXPIRE_MAKER")
    prevented = line.taken()[1]["event"]
    assert (prevented["x"], prevented["X"], prevented["i"]) == (
        "TRADE_PREVENTION",
        "EXPIRED_IN_MATCH",
        maker["orderId"],
    )
    assert (prevented["v"], prevented["U"], prevented["A"], prevented["pL"]) == (
        0,
        taker["orderId"],
        "1.00000000",
        "810.00000000",
    )


def test_a_deposit_is_told_as_a_change_and_as_a_position(bnb: Desk) -> None:
    trader = SpotTrader(bnb)
    line = trader.listen()
    asked = {"user_id": "1", "venue": "spot", "asset": "BNB", "amount": "100"}
    bnb.control("POST", "deposit", asked)
    change, position = line.taken()
    assert shape(change) == shape(sample("uds_balance_update"))
    assert shape(position) == shape(sample("uds_outbound_account_position"))
    assert (change["event"]["d"], position["event"]["B"][0]["f"]) == ("100.00000000", "100.00000000")


def test_several_accounts_share_a_socket_and_hear_only_their_own(bnb: Desk) -> None:
    one, two, other = SpotTrader(bnb, "1"), SpotTrader(bnb, "2"), SpotTrader(bnb, "3")
    line = one.listen()
    assert two.ws(line, "userDataStream.subscribe.signature")["result"] == {"subscriptionId": 1}
    again = two.ws(line, "userDataStream.subscribe.signature", 2)
    assert (again["status"], again["error"]["code"]) == (400, -2035)
    assert line.ask({"id": 3, "method": "session.subscriptions"})["result"] == [
        {"subscriptionId": 0},
        {"subscriptionId": 1},
    ]
    line.taken()
    for trader in (other, two):
        trader.limit("BUY", "700", "1")
    assert {frame["subscriptionId"] for frame in line.taken()} == {1}


def test_unsubscribing_ends_one_or_all_and_says_so(bnb: Desk) -> None:
    one, two = SpotTrader(bnb, "1"), SpotTrader(bnb, "2")
    line = one.listen()
    two.ws(line, "userDataStream.subscribe.signature")
    line.taken()
    line.send({"id": 2, "method": "userDataStream.unsubscribe", "params": {"subscriptionId": 0}})
    answer, event = line.taken()
    theirs = sample("wsapi_uds_unsubscribe_response")
    assert (answer["status"], answer["result"]) == (theirs["status"], theirs["result"])
    assert shape(event) == shape(sample("uds_event_stream_terminated"))
    gone = line.ask({"id": 3, "method": "userDataStream.unsubscribe", "params": {"subscriptionId": 0}})
    assert (gone["error"]["code"], gone["error"]["msg"]) == (
        -2036,
        "User Data Stream subscription not active.",
    )
    line.taken()
    line.send({"id": 4, "method": "userDataStream.unsubscribe"})
    assert [frame.get("subscriptionId") for frame in line.taken()] == [None, 1]
    assert two.ws(line, "userDataStream.subscribe.signature", 5)["result"] == {"subscriptionId": 2}


def test_a_closed_socket_hears_nothing_more(bnb: Desk) -> None:
    trader = SpotTrader(bnb)
    line = trader.listen()
    line.close()
    trader.limit("BUY", "700", "1")
    assert line.frames == []


def test_events_can_be_told_in_microseconds(bnb: Desk) -> None:
    trader = SpotTrader(bnb)
    line = Line(bnb, "/ws-api/v3", "timeUnit=MICROSECOND")
    trader.ws(line, "userDataStream.subscribe.signature")
    trader.limit("BUY", "700", "1")
    assert line.frames[1]["event"]["E"] == bnb.now_ms * 1000


@pytest.mark.parametrize(
    ("kind", "more", "events"),
    [
        ("order_frame_drop", {"count": 2}, []),
        (
            "order_frame_duplicate",
            {"count": 1},
            ["executionReport", "executionReport", "outboundAccountPosition"],
        ),
        ("order_frame_reorder", {"count": 1, "seconds": "5"}, ["outboundAccountPosition", "executionReport"]),
        ("order_stall", {}, []),
    ],
)
def test_faults_strike_user_data(bnb: Desk, kind: str, more: dict[str, Any], events: list[str]) -> None:
    trader = SpotTrader(bnb)
    line = trader.listen()
    bnb.control("POST", "faults", {"kind": kind, "venue": "spot", "user_id": "1", **more})
    trader.limit("BUY", "700", "1")
    assert [frame["event"]["e"] for frame in line.taken()] == events


def test_a_frame_held_back_comes_by_itself_at_last(bnb: Desk) -> None:
    trader = SpotTrader(bnb)
    line = trader.listen()
    bnb.control("POST", "faults", {"kind": "order_frame_reorder", "count": 2, "seconds": "5"})
    asked = {"user_id": "1", "venue": "spot", "asset": "BNB", "amount": "1"}
    bnb.control("POST", "deposit", asked)
    kinds = [frame["event"]["e"] for frame in line.taken()]
    assert kinds == ["outboundAccountPosition", "balanceUpdate"]
    bnb.pass_time(6)
    assert line.taken() == []
