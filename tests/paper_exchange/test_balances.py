"""Money: never below zero, never made or lost, whatever the users do."""

from collections import defaultdict
from contextlib import suppress
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from paper_exchange.model import OPEN, Account, Refused
from paper_exchange.numbers import cut
from tests.paper_exchange.desk import KOGE, Desk, make_config, spot_list, spot_order

USERS = ("1", "2", "3")
START = {"USDT": Decimal(3000), "ALPHA_22": Decimal(20), "BNB": Decimal(4)}

prices = st.integers(4700, 4900).map(lambda n: Decimal(n) / 100)
quantities = st.integers(30, 30000).map(lambda n: Decimal(n) / 10000)
users = st.sampled_from(USERS)
steps = st.one_of(
    st.tuples(st.just("order"), users, st.sampled_from(["BUY", "SELL"]), prices, quantities),
    st.tuples(st.just("oto"), users, prices, quantities, prices),
    st.tuples(st.just("spot_list"), users, st.sampled_from(["OTO", "OPO"]), st.integers(1, 3)),
    st.tuples(st.just("cancel"), users, st.integers(0, 20)),
    st.tuples(st.just("wait"), st.sampled_from([0.05, 0.2, 0.7])),
    st.tuples(st.just("pin"), prices),
    st.tuples(st.just("restart")),
)


class Floor:
    """A desk whose users do what they are told, as far as the exchange lets them."""

    def __init__(self) -> None:
        self.desk = Desk(
            make_config(
                alpha={"partial_fill_probability": "0.5"},
                spot={"default_balances": {}},
                house={"level_notional": "60"},
            )
        )
        self.desk.pin("48")
        for user in USERS:
            for venue in ("alpha", "spot"):
                self.desk.exchange.open_account(user, venue, managed=True, balances=START)  # type: ignore[arg-type]

    def account(self, user: str, venue: str = "alpha") -> Account:
        return self.desk.state.accounts.owner(f"{venue}/{user}")

    def do(self, step: tuple[Any, ...]) -> None:
        with suppress(Refused):
            getattr(self, f"_{step[0]}")(*step[1:])

    def _order(self, user: str, side: str, price: Decimal, quantity: Decimal) -> None:
        terms = spot_order(side, str(price), str(quantity))
        self.desk.exchange.place(self.account(user), type(terms)(KOGE, side, price, quantity))  # type: ignore[arg-type]

    def _oto(self, user: str, price: Decimal, quantity: Decimal, pending: Decimal) -> None:
        kind = type(spot_order("BUY", "1", "1"))
        working, sold = kind(KOGE, "BUY", price, quantity), kind(KOGE, "SELL", pending, Decimal(0))
        self.desk.exchange.place_list(self.account(user), spot_list("OTO", working, sold))

    def _spot_list(self, user: str, kind: str, size: int) -> None:
        sold = "0" if kind == "OPO" else str(size)
        terms = spot_list(kind, spot_order("BUY", "810", str(size)), spot_order("SELL", "790", sold))
        self.desk.exchange.place_list(self.account(user, "spot"), terms)

    def _cancel(self, user: str, index: int) -> None:
        orders = self.desk.exchange.open_orders(self.account(user))
        if orders:
            self.desk.exchange.cancel(orders[index % len(orders)])

    def _wait(self, seconds: float) -> None:
        self.desk.pass_time(seconds)

    def _pin(self, price: Decimal) -> None:
        self.desk.exchange.pin_price(KOGE, price)

    def _restart(self) -> None:
        self.desk.restart()


def check(desk: Desk) -> None:
    """Every balance follows from the start, the fills and what open orders lock."""
    state = desk.state
    for account in state.accounts.all():
        total, locked = defaultdict(Decimal, START), defaultdict(Decimal)
        for fill in state.fills_of_account[account.key]:
            base = state.markets[fill.symbol].instrument.base
            sign = 1 if fill.side == "BUY" else -1
            total[base] += sign * fill.quantity
            total["USDT"] -= sign * fill.quote
            total[fill.fee_asset] -= fill.fee
        for order in state.by_account[account.key]:
            instrument = state.markets[order.symbol].instrument
            asset = instrument.quote if order.side == "BUY" else instrument.base
            locked[asset] += order.locked
            assert order.status in OPEN or order.locked == 0
            if order.status in ("NEW", "PARTIALLY_FILLED"):
                needed = order.open_quantity
                if order.side == "BUY":
                    needed = cut(order.price * needed, instrument.quote_precision)
                assert order.locked == needed
        for order_list in state.lists.values():
            if order_list.account == account.key:
                locked[state.markets[order_list.symbol].instrument.base] += order_list.reserved
        for asset in {**total, **account.free, **account.locked}:
            free, held = account.free.get(asset, Decimal(0)), account.locked.get(asset, Decimal(0))
            assert min(free, held) >= 0
            assert held == locked[asset], asset
            assert free + held == total[asset], asset


def check_matches(desk: Desk) -> None:
    """Both users' sides of a match agree, and an order's fills sum to what it says it executed."""
    sides = defaultdict(list)
    for fill in desk.state.fills:
        sides[fill.symbol, fill.match_id].append(fill)
    for pair in sides.values():
        if pair[0].counter_order_id is not None:
            taker, maker = pair
            assert (taker.price, taker.quantity, taker.quote) == (maker.price, maker.quantity, maker.quote)
            assert {taker.side, maker.side} == {"BUY", "SELL"}
    for order_id, fills in desk.state.fills_of_order.items():
        order = desk.state.orders[order_id]
        assert sum(fill.quantity for fill in fills) == order.executed <= order.quantity
        assert sum(fill.quote for fill in fills) == order.quote
        assert sum(fill.fee for fill in fills) == order.fee


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=30))
def test_money_is_conserved_and_never_negative(course: list[tuple[Any, ...]]) -> None:
    floor = Floor()
    for step in course:
        floor.do(step)
        check(floor.desk)
    floor.desk.pass_time(1)
    check(floor.desk)
    check_matches(floor.desk)


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, max_size=20))
def test_a_restart_changes_nothing_a_user_can_see(course: list[tuple[Any, ...]]) -> None:
    floor = Floor()
    for step in course:
        floor.do(step)
    desk = floor.desk
    before = (desk.control("GET", "orders"), desk.control("GET", "trades"), desk.control("GET", "report"))
    desk.exchange.freeze()
    desk.restart()
    desk.exchange.freeze()
    after = (desk.control("GET", "orders"), desk.control("GET", "trades"), desk.control("GET", "report"))
    assert before[:2] == after[:2]
    assert {**before[2], "frozen": True} == after[2]


def test_an_order_beyond_the_balance_is_refused_and_locks_nothing(desk: Desk) -> None:
    trader = desk.trader(USDT="40")
    body = trader.order_body("BUY", "48", "1")
    answer = trader.post("/bapi/asset/v1/private/alpha-trade/order/place", body)
    assert (answer["code"], answer["data"]) == ("481020", None)
    assert trader.account.locked == {}
    assert desk.state.by_account[trader.account.key] == []


def test_fees_are_taken_from_what_the_trade_delivers(desk: Desk) -> None:
    trader = desk.trader()
    order_id = trader.order("BUY", "48.24", "0.5")
    desk.pass_time(0.5)
    (fill,) = desk.state.fills_of_order[order_id]
    assert (fill.fee, fill.fee_asset) == (Decimal("0.00005"), "ALPHA_22")
    sold = trader.order("SELL", "47", "0.4999")
    desk.pass_time(0.5)
    (fill,) = desk.state.fills_of_order[sold]
    assert fill.fee_asset == "USDT"
    assert fill.fee == (fill.quote * Decimal("0.0001")).quantize(Decimal("1e-8"))


def test_a_deposit_can_withdraw_only_what_is_free(desk: Desk) -> None:
    trader = desk.trader()
    trader.order("BUY", "40", "100")
    asked = {"user_id": "1", "venue": "alpha", "asset": "USDT", "amount": "-16001"}
    assert desk.control("POST", "deposit", asked)["_status"] == 409
    answer = desk.control("POST", "deposit", asked | {"amount": "-16000"})
    assert answer["balances"]["USDT"] == {"free": "0", "locked": "4000"}
