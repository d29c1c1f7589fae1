"""OTO and OPO as Spot runs them, and self-trade prevention, on the core (binance-spot 3.3, 4.4, 9)."""

from decimal import Decimal

import pytest

from paper_exchange.model import NewOrder, Order, Refusal, Refused, Status
from tests.paper_exchange.desk import Desk, make_config, spot_list, spot_order


@pytest.fixture
def bnb() -> Desk:
    desk = Desk()
    desk.pin("800", "BNBUSDT")
    return desk


def found(desk: Desk, order: Order) -> Order:
    return desk.state.orders[order.order_id]


def test_an_instant_fill_answers_pending_and_releases_at_once(bnb: Desk) -> None:
    account = bnb.spot()
    placed = bnb.exchange.place_list(
        account, spot_list("OTO", spot_order("BUY", "801", "1"), spot_order("SELL", "900", "0.999"))
    )
    assert (placed.working.status, placed.pending.status) == (Status.FILLED, Status.PENDING)
    assert found(bnb, placed.pending).status is Status.NEW
    assert account.locked["BNB"] == Decimal("0.999")


def test_an_explicit_quantity_the_fee_ate_into_is_rejected_at_release(bnb: Desk) -> None:
    account = bnb.spot()
    placed = bnb.exchange.place_list(
        account, spot_list("OTO", spot_order("BUY", "801", "1"), spot_order("SELL", "900", "1"))
    )
    pending = found(bnb, placed.pending)
    assert (pending.status, pending.expiry_reason) == (Status.EXPIRED, "REJECTED")
    assert account.free["BNB"] == Decimal("0.999")
    assert bnb.state.lists[placed.order_list.list_id].done


def test_an_opo_sells_what_it_received_and_locks_it_until_then() -> None:
    desk = Desk(make_config(house={"levels": "1", "level_notional": "400"}))
    desk.pin("800", "BNBUSDT")
    account = desk.spot()
    placed = desk.exchange.place_list(
        account, spot_list("OPO", spot_order("BUY", "801", "1"), spot_order("SELL", "900", "0"))
    )
    assert placed.working.status is Status.PARTIALLY_FILLED
    assert account.free.get("BNB", Decimal(0)) == 0
    assert account.locked["BNB"] > 0
    desk.pass_time(1)
    assert found(desk, placed.pending).quantity == Decimal("0.999")
    assert account.locked["BNB"] == Decimal("0.999")


def test_an_opo_takes_its_commission_from_other_free_base(bnb: Desk) -> None:
    account = bnb.spot(USDT="1000", BNB="5")
    placed = bnb.exchange.place_list(
        account, spot_list("OPO", spot_order("BUY", "801", "1"), spot_order("SELL", "900", "0"))
    )
    assert found(bnb, placed.pending).quantity == Decimal(1)
    assert (account.free["BNB"], account.locked["BNB"]) == (Decimal("4.999"), Decimal(1))


def test_reserve_pending_refuses_a_list_whose_pending_funds_are_not_there() -> None:
    desk = Desk(make_config(spot={"reserve_pending": "true"}))
    desk.pin("800", "BNBUSDT")
    account = desk.spot()
    terms = spot_list("OTO", spot_order("BUY", "700", "1"), spot_order("SELL", "900", "0.9"))
    with pytest.raises(Refused) as refused:
        desk.exchange.place_list(account, terms)
    assert refused.value.reason is Refusal.INSUFFICIENT_BALANCE
    desk.exchange.deposit(account, "BNB", Decimal(1))
    placed = desk.exchange.place_list(account, terms)
    assert account.locked["BNB"] == Decimal("0.9")
    desk.exchange.cancel(found(desk, placed.working))
    assert account.locked["BNB"] == 0


@pytest.mark.parametrize(
    ("force", "reason"),
    [("IOC", "UNFILLED_IOC_QUANTITY_EXPIRED"), ("FOK", "UNFILLED_FOK_ORDER_EXPIRED")],
)
def test_a_working_leg_that_expires_ends_the_list(force: str, reason: str) -> None:
    desk = Desk(make_config(house={"levels": "1", "level_notional": "400"}))
    desk.pin("800", "BNBUSDT")
    account = desk.spot()
    placed = desk.exchange.place_list(
        account,
        spot_list(
            "OTO", spot_order("BUY", "801", "1", time_in_force=force), spot_order("SELL", "900", "0.9")
        ),
    )
    assert (placed.working.status, placed.working.expiry_reason) == (Status.EXPIRED, reason)
    assert (placed.working.executed > 0) == (force == "IOC")
    assert (placed.pending.status, placed.pending.expiry_reason) == (Status.EXPIRED, "OTO_PHASE_ONE_EXPIRED")
    assert placed.order_list.done


def test_a_maker_only_order_that_would_take_is_refused(bnb: Desk) -> None:
    with pytest.raises(Refused) as refused:
        bnb.exchange.place(bnb.spot(), spot_order("BUY", "801", "1", kind="LIMIT_MAKER"))
    assert refused.value.reason is Refusal.WOULD_MATCH


def test_a_client_id_is_refused_while_open_and_accepted_again_afterwards(bnb: Desk) -> None:
    account = bnb.spot()
    first = bnb.exchange.place(account, spot_order("BUY", "700", "1", client_id="mine"))
    with pytest.raises(Refused) as refused:
        bnb.exchange.place(account, spot_order("BUY", "700", "1", client_id="mine"))
    assert refused.value.reason is Refusal.DUPLICATE_CLIENT_ID
    (ended,) = bnb.exchange.cancel(found(bnb, first), "cancel-1")
    assert (ended.client_id, ended.original_client_id) == ("cancel-1", "mine")
    assert (
        bnb.exchange.place(account, spot_order("BUY", "700", "1", client_id="mine")).order_id > first.order_id
    )


def resting_and_taker(stp: str) -> tuple[Order, Order, Desk]:
    desk = Desk(make_config(house={"levels": "0"}))
    desk.pin("800", "BNBUSDT")
    account = desk.spot(USDT="5000", BNB="5")
    maker = desk.exchange.place(account, spot_order("SELL", "810", "1"))
    taker = desk.exchange.place(account, spot_order("BUY", "810", "1", stp=stp))
    return found(desk, maker), found(desk, taker), desk


@pytest.mark.parametrize(
    ("stp", "maker_ends", "taker_ends"),
    [
        ("EXPIRE_TAKER", Status.NEW, Status.EXPIRED_IN_MATCH),
        ("EXPIRE_MAKER", Status.EXPIRED_IN_MATCH, Status.NEW),
        ("EXPIRE_BOTH", Status.EXPIRED_IN_MATCH, Status.EXPIRED_IN_MATCH),
        ("NONE", Status.FILLED, Status.FILLED),
    ],
)
def test_the_takers_mode_decides_who_survives_a_self_trade(
    stp: str, maker_ends: Status, taker_ends: Status
) -> None:
    maker, taker, desk = resting_and_taker(stp)
    assert (maker.status, taker.status) == (maker_ends, taker_ends)
    assert desk.state.oracle.matches == (stp == "NONE")


def test_counts_of_orders_and_lists_are_limited(bnb: Desk) -> None:
    account = bnb.spot(USDT="1000000")

    def place() -> None:
        bnb.exchange.place_list(
            account, spot_list("OTO", spot_order("BUY", "700", "1"), spot_order("SELL", "900", "0.9"))
        )

    for _ in range(20):
        place()
    with pytest.raises(Refused) as refused:
        place()
    assert refused.value.reason is Refusal.MAX_NUM_ORDER_LISTS


def test_one_bad_leg_refuses_the_whole_list(bnb: Desk) -> None:
    account = bnb.spot()
    bad = NewOrder("BNBUSDT", "SELL", Decimal("900.001"), Decimal("0.9"))
    with pytest.raises(Refused) as refused:
        bnb.exchange.place_list(account, spot_list("OTO", spot_order("BUY", "700", "1"), bad))
    assert refused.value.reason is Refusal.PRICE_FILTER
    assert bnb.state.by_account[account.key] == []
    assert account.locked == {}
