"""The exchange's books against the ledger: own orders to the last digit, other hands apart."""

from decimal import Decimal

import pytest

from protos import market_pb2
from protos import order_pb2 as pb
from strategy_service.cli.books import Account, compare

SYMBOL = "ALPHA_22USDT"


class Exchange:
    """The control API as far as the comparison asks it."""

    def __init__(self, *trades, orders=(), self_matches=0):
        self._trades, self._orders, self._matches = trades, orders, self_matches

    def trades(self, user_id, venue):
        return [
            {"order_id": order, "symbol": symbol, "side": side, "quote": quote}
            for order, symbol, side, quote in self._trades
        ]

    def orders(self, user_id, venue):
        return [
            {"order_id": order, "client_id": name, "original_client_id": ""} for order, name in self._orders
        ]

    def report(self):
        return {"self_matches": self._matches}


def ours(*ids, venue=market_pb2.VENUE_ALPHA, token=""):
    orders = [pb.Order(venue=venue, legs=[pb.Leg(venue_order_id=each)]) for each in ids]
    return pb.ListOrdersResponse(orders=orders, next_page_token=token)


def account(bought, sold="0"):
    return Account("alpha", SYMBOL, "1", {"BUY": Decimal(bought), "SELL": Decimal(sold)})


@pytest.fixture
def held(wire):
    """Compare while the test answers for the order service."""

    def run(exchange, bought, *pages):
        done = wire._pool.submit(compare, wire.services, exchange, [account(bought)])
        for page in pages:
            wire.answer("ListOrders", page)
        return done.result(5)

    return run


def test_own_trades_are_summed_by_the_journals_orders_and_trades_by_hand_stand_apart(held):
    exchange = Exchange((7, SYMBOL, "BUY", "30.5"), (8, SYMBOL, "BUY", "12"), (9, "OTHER", "BUY", "99"))
    books = held(exchange, "30.50", ours("7"))
    assert books.differences == []
    assert (books.own("BUY"), books.foreign("BUY")) == (Decimal("30.5"), Decimal(12))
    assert (books.own("SELL"), books.foreign("SELL")) == (0, 0)


def test_a_trade_of_ours_that_the_ledger_lacks_is_a_difference_whatever_was_traded_by_hand(held):
    exchange = Exchange((7, SYMBOL, "BUY", "30.5"), (8, SYMBOL, "BUY", "10"))
    assert held(exchange, "20.5", ours("7")).differences == [f"user 1 on {SYMBOL}: BUY 20.5 here, 30.5 there"]


def test_every_page_of_the_journals_orders_is_read_and_the_other_venues_are_not_ours(held):
    exchange = Exchange((7, SYMBOL, "BUY", "1"), (8, SYMBOL, "BUY", "2"), (9, SYMBOL, "BUY", "4"))
    books = held(exchange, "3", ours("7", token="more"), ours("8"))
    assert (books.own("BUY"), books.foreign("BUY")) == (3, 4)
    assert held(exchange, "1", ours("8", venue=market_pb2.VENUE_SPOT, token="x"), ours("7")).differences == []


def test_an_order_in_our_form_that_the_journal_forgot_is_no_persons(held):
    exchange = Exchange(orders=[(7, "o0123456789abcdefw"), (8, "web_17"), (9, "o0123456789abcdefl")])
    (difference,) = held(exchange, "0", ours("9")).differences
    assert "order 7 (o0123456789abcdefw) is not in the journal" in difference


def test_matches_between_managed_users_are_a_difference(held):
    assert held(Exchange(self_matches=2), "0", ours()).differences == ["2 matches between managed users"]
