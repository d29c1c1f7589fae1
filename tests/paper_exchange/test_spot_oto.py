"""The life of an OTO as a Spot client sees it: the rows of binance-spot 4.4."""

from decimal import Decimal
from typing import Any

import pytest

from paper_exchange.http import Response
from tests.paper_exchange.desk import Desk, make_config
from tests.paper_exchange.spot_desk import BNB, SpotTrader, bnb_desk, opo, oto

EXECUTING = ("EXEC_STARTED", "EXECUTING")
ALL_DONE = ("ALL_DONE", "ALL_DONE")


class List:
    """A placed list."""

    def __init__(self, trader: SpotTrader, answer: Any) -> None:
        self.trader = trader
        self.answer = answer
        self.working_id, self.pending_id = (order["orderId"] for order in answer["orders"])

    @property
    def working(self) -> Any:
        return self.trader.order(self.working_id)

    @property
    def pending(self) -> Any:
        return self.trader.order(self.pending_id)

    @property
    def statuses(self) -> tuple[str, str]:
        return self.working["status"], self.pending["status"]

    @property
    def state(self) -> tuple[str, str]:
        found = self.trader.call("GET", "orderList", orderListId=self.answer["orderListId"])
        return found["listStatusType"], found["listOrderStatus"]


def placed(trader: SpotTrader, kind: str = "oto", **more: Any) -> List:
    terms = opo(**more) if kind == "opo" else oto(**more)
    return List(trader, trader.call("POST", f"orderList/{kind}", **terms))


def desk_with(level_notional: str | None = None, **spot: Any) -> Desk:
    """BNB at 800; with a notional the house quotes one level of so much."""
    house = {"levels": "1", "level_notional": level_notional} if level_notional else {}
    desk = Desk(make_config(house=house, spot=spot))
    desk.pin("800", BNB)
    return desk


@pytest.fixture
def trader() -> SpotTrader:
    return SpotTrader(desk_with())


def test_row_1_a_resting_list_has_a_leg_that_does_not_work(trader: SpotTrader) -> None:
    found = placed(trader)
    assert (found.statuses, found.state) == (("NEW", "PENDING_NEW"), EXECUTING)
    assert (found.pending["isWorking"], found.pending["workingTime"]) == (False, -1)
    assert trader.account.locked == {"USDT": Decimal(700)}
    ids = [row["orderId"] for row in trader.call("GET", "openOrders", symbol=BNB)]
    assert ids == [found.working_id, found.pending_id]


def test_a_switch_hides_pending_legs_from_open_orders() -> None:
    trader = SpotTrader(desk_with(open_orders_show_pending="false"))
    found = placed(trader)
    assert [row["orderId"] for row in trader.call("GET", "openOrders", symbol=BNB)] == [found.working_id]


def test_rows_2_and_3_only_the_last_part_of_the_fill_releases() -> None:
    trader = SpotTrader(desk_with("400"))
    found = placed(trader, workingPrice="801", pendingQuantity="0.999")
    assert found.statuses == ("PARTIALLY_FILLED", "PENDING_NEW")
    assert found.state == EXECUTING
    trader.desk.pass_time(1)
    assert found.statuses == ("FILLED", "NEW")
    assert (found.state, found.pending["isWorking"]) == (EXECUTING, True)
    trader.desk.pin("901", BNB)
    trader.desk.pass_time(1)
    assert (found.statuses, found.state) == (("FILLED", "FILLED"), ALL_DONE)


def test_row_4_an_instant_fill_still_answers_pending(trader: SpotTrader) -> None:
    found = placed(trader, workingPrice="801")
    reports = [report["status"] for report in found.answer["orderReports"]]
    assert reports == ["FILLED", "PENDING_NEW"]
    assert found.answer["listOrderStatus"] == "EXECUTING"
    assert found.statuses == ("FILLED", "NEW")


@pytest.mark.parametrize(
    ("force", "reason", "executed"),
    [("IOC", "UNFILLED_IOC_QUANTITY_EXPIRED", True), ("FOK", "UNFILLED_FOK_ORDER_EXPIRED", False)],
)
def test_row_5_an_expired_working_leg_ends_the_list(force: str, reason: str, executed: bool) -> None:
    trader = SpotTrader(desk_with("400"))
    found = placed(trader, workingPrice="801", workingTimeInForce=force)
    assert (found.statuses, found.state) == (("EXPIRED", "EXPIRED"), ALL_DONE)
    assert (found.working["expiryReason"], Decimal(found.working["executedQty"]) > 0) == (reason, executed)
    assert found.pending["expiryReason"] == "OTO_PHASE_ONE_EXPIRED"


def test_row_6_a_refused_leg_leaves_nothing(trader: SpotTrader) -> None:
    terms = oto(workingQuantity="100")
    found = trader.refused("POST", "orderList/oto", **terms)
    assert found[2] == "Account has insufficient balance for requested action."
    assert trader.call("GET", "allOrderList") == []
    assert trader.call("GET", "allOrders", symbol=BNB) == []


@pytest.mark.parametrize("target", ["working", "pending", "list"])
@pytest.mark.parametrize("sibling", ["CANCELED", "EXPIRED"])
def test_row_7_whatever_is_cancelled_the_whole_list_ends(target: str, sibling: str) -> None:
    trader = SpotTrader(desk_with(sibling_ends=sibling))
    found = placed(trader)
    if target == "list":
        asked = {"orderListId": found.answer["orderListId"]}
        answer = trader.call("DELETE", "orderList", symbol=BNB, **asked)
    else:
        leg = found.working_id if target == "working" else found.pending_id
        answer = trader.call("DELETE", "order", symbol=BNB, orderId=leg, newClientOrderId="cxl-0001")
        assert {report["clientOrderId"] for report in answer["orderReports"]} == {"cxl-0001"}
    ends = {"CANCELED", sibling}
    assert {report["status"] for report in answer["orderReports"]} == ends
    assert (answer["listStatusType"], answer["listOrderStatus"]) == ALL_DONE
    assert (set(found.statuses), found.state) == (ends, ALL_DONE)
    assert trader.account.locked["USDT"] == 0


def test_row_8_a_cancel_after_a_partial_fill_leaves_a_naked_position() -> None:
    trader = SpotTrader(desk_with("400"))
    found = placed(trader, workingPrice="801")
    trader.call("DELETE", "order", symbol=BNB, orderId=found.working_id)
    assert found.statuses == ("CANCELED", "CANCELED")
    executed = Decimal(found.working["executedQty"])
    assert executed > 0
    assert trader.account.free["BNB"] == executed * Decimal("0.999")
    assert Decimal(found.pending["executedQty"]) == 0


@pytest.mark.parametrize("repeats", ["true", "false"])
def test_row_9_after_the_release_only_the_pending_leg_is_cancelled(repeats: str) -> None:
    trader = SpotTrader(desk_with(filled_leg_in_cancel=repeats))
    found = placed(trader, workingPrice="801")
    answer = trader.call("DELETE", "order", symbol=BNB, orderId=found.pending_id)
    statuses = [report["status"] for report in answer["orderReports"]]
    assert statuses == (["FILLED", "CANCELED"] if repeats == "true" else ["CANCELED"])
    assert (found.statuses, found.state) == (("FILLED", "CANCELED"), ALL_DONE)


@pytest.mark.parametrize(
    "more",
    [
        {"pendingQuantity": "1"},
        {"pendingType": "LIMIT_MAKER", "pendingTimeInForce": None, "pendingPrice": "790"},
    ],
)
def test_row_10_a_pending_leg_refused_at_its_release_expires(
    trader: SpotTrader, more: dict[str, Any]
) -> None:
    """The fee ate into what it would sell, or it would take."""
    terms = {name: value for name, value in {**oto(workingPrice="801"), **more}.items() if value is not None}
    found = List(trader, trader.call("POST", "orderList/oto", **terms))
    assert found.answer["orderReports"][1]["status"] == "PENDING_NEW"
    assert (found.statuses, found.state) == (("FILLED", "EXPIRED"), ALL_DONE)
    assert (found.pending["expiryReason"], found.pending["workingTime"]) == ("REJECTED", -1)
    assert trader.account.free["BNB"] == Decimal("0.999")


BAND = {"percent_down": Decimal("0.8"), "percent_up": Decimal("1.2")}


@pytest.mark.parametrize(
    ("kind", "rechecks", "ends"),
    [
        ("opo", "false", "EXPIRED"),
        ("opo", "true", "EXPIRED"),
        ("oto", "false", "NEW"),
        ("oto", "true", "EXPIRED"),
    ],
)
def test_row_10_the_band_binds_an_opo_again_at_its_release_and_an_oto_by_a_switch(
    kind: str, rechecks: str, ends: str
) -> None:
    desk = bnb_desk(spot={"percent_price_at_oto_release": rechecks}, instrument=BAND)
    trader = SpotTrader(desk)
    found = placed(trader, kind, pendingPrice="950")
    desk.pin("690", BNB)  # the band now ends at 828
    assert found.statuses == ("FILLED", ends)
    assert found.pending.get("expiryReason") == ("REJECTED" if ends == "EXPIRED" else None)


@pytest.mark.parametrize("binds", ["true", "false"])
def test_whether_the_band_binds_a_pending_leg_as_it_is_placed_is_a_switch(binds: str) -> None:
    trader = SpotTrader(bnb_desk(spot={"percent_price_on_pending": binds}, instrument=BAND))
    answer = trader.send("POST", "orderList/oto", **oto(pendingPrice="970"))
    assert isinstance(answer, Response)
    assert answer.status == (400 if binds == "true" else 200)
    assert (b"PERCENT_PRICE_BY_SIDE" in answer.body) is (binds == "true")


def test_row_11_a_pending_market_order_that_finds_too_little_expires() -> None:
    trader = SpotTrader(desk_with("900"), USDT="5000")
    terms = oto(workingPrice="801", workingQuantity="1", pendingType="MARKET", pendingQuantity="5")
    for name in ("pendingPrice", "pendingTimeInForce"):
        del terms[name]
    trader.desk.control("POST", "deposit", {"user_id": "1", "venue": "spot", "asset": "BNB", "amount": "9"})
    found = List(trader, trader.call("POST", "orderList/oto", **terms))
    assert (found.statuses, found.state) == (("FILLED", "EXPIRED"), ALL_DONE)
    assert found.pending["expiryReason"] == "INSUFFICIENT_LIQUIDITY"
    assert Decimal(found.pending["executedQty"]) > 0


def test_row_12_a_prevented_self_trade_ends_the_list() -> None:
    desk = Desk(make_config(house={"levels": "0"}))
    desk.pin("800", BNB)
    trader = SpotTrader(desk, USDT="20000", BNB="5")
    found = placed(trader, workingPrice="790")
    taker = trader.limit("SELL", "790", "1", selfTradePreventionMode="EXPIRE_MAKER")
    assert (found.statuses, found.state) == (("EXPIRED_IN_MATCH", "EXPIRED"), ALL_DONE)
    assert found.pending["expiryReason"] == "OTO_PHASE_ONE_EXPIRED"
    assert found.working["preventedQuantity"] == "1.00000000"
    assert taker["status"] == "NEW"


def test_an_opo_sells_what_was_received(trader: SpotTrader) -> None:
    found = placed(trader, "opo", workingPrice="801")
    assert found.statuses == ("FILLED", "NEW")
    assert found.pending["origQty"] == "0.99900000"
    assert trader.account.locked["BNB"] == Decimal("0.999")


def test_reserving_refuses_a_list_whose_pending_funds_are_missing() -> None:
    trader = SpotTrader(desk_with(reserve_pending="true"))
    found = trader.refused("POST", "orderList/oto", **oto())
    assert found == (400, -2010, "Account has insufficient balance for requested action.")


def test_lists_are_paged_and_found_after_they_ended(trader: SpotTrader) -> None:
    ids = []
    for number in range(3):
        more = {name: f"{name[0]}{number}" for name in ("workingClientOrderId", "pendingClientOrderId")}
        found = placed(trader, listClientOrderId="lst", **more)
        ids.append(found.answer["orderListId"])
        trader.desk.pass_time(1)
        if number < 2:
            trader.call("DELETE", "orderList", symbol=BNB, orderListId=ids[-1])
    rows = trader.call("GET", "allOrderList", fromId=ids[1])
    assert [row["orderListId"] for row in rows] == ids[1:]
    assert [row["orderListId"] for row in trader.call("GET", "allOrderList", limit=1)] == ids[2:]
    assert trader.call("GET", "orderList", origClientOrderId="lst")["orderListId"] == ids[2]


def test_orders_outlive_a_restart(trader: SpotTrader) -> None:
    found = placed(trader)
    before = (found.working, found.pending, found.state)
    trader.desk.restart()
    trader.account = trader.desk.state.accounts.owner("spot/1")
    assert (found.working, found.pending, found.state) == before
