"""Rounding in the user's favour, the venue's filters, and the smallest order that passes them."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from otopilot.instrument import Instrument, Side, Venue

D = Decimal


def instrument(**rules: Any) -> Instrument:
    """KOGE on BSC, with plain rules."""
    plain = {"tick_size": D("0.01"), "step_size": D("0.001"), "min_quantity": D("0.001")} | rules
    plain.setdefault("venue", Venue.ALPHA)
    return Instrument(
        symbol="ALPHA_22USDT",
        token="KOGE",
        chain="BSC",
        base_asset="ALPHA_22",
        quote_asset="USDT",
        **plain,
    )


GRIDS = st.sampled_from(["0.00000001", "0.0001", "0.01", "0.05", "1", "10"]).map(D)
AMOUNTS = st.decimals("0.000001", "1000000", places=9)
PRICES = st.decimals("0.01", "100000", places=4)


@given(AMOUNTS, GRIDS)
def test_a_buy_is_never_dearer_and_a_sell_never_cheaper_than_asked(price: Decimal, tick: Decimal) -> None:
    rules = instrument(tick_size=tick)
    buy, sell = rules.round_price(Side.BUY, price), rules.round_price(Side.SELL, price)
    assert buy <= price <= sell
    assert buy % tick == sell % tick == 0
    assert sell - buy <= tick


@given(AMOUNTS, GRIDS)
def test_a_quantity_is_never_more_than_asked(quantity: Decimal, step: Decimal) -> None:
    rounded = instrument(step_size=step).round_quantity(quantity)
    assert quantity - step < rounded <= quantity
    assert rounded % step == 0


@given(st.decimals(1, 100000, places=4), PRICES, GRIDS)
def test_a_budget_buys_as_much_as_it_can_and_is_never_overspent(
    quote: Decimal, price: Decimal, step: Decimal
) -> None:
    quantity = instrument(step_size=step).quantity_for(quote, price)
    assert quantity * price <= quote < (quantity + step) * price


@given(AMOUNTS, GRIDS, st.decimals(0, "0.01", places=6))
def test_what_is_sold_is_covered_by_what_was_received(quantity: Decimal, step: Decimal, fee: Decimal) -> None:
    sold = instrument(step_size=step).quantity_after_fee(quantity, fee)
    assert sold <= quantity * (1 - fee) < sold + step


def test_an_exact_price_stays() -> None:
    rules = instrument()
    assert rules.round_price(Side.BUY, D("100.50")) == rules.round_price(Side.SELL, D("100.50")) == D("100.5")
    assert rules.round_price(Side.BUY, D("101.505")) == D("101.50")
    assert rules.round_price(Side.SELL, D("101.505")) == D("101.51")


# ------------------------------------------------------------------ filters

BANDS = {
    "min_price": D("1"),
    "max_price": D("1000"),
    "max_quantity": D("100"),
    "min_notional": D("5"),
    "max_notional": D("5000"),
    "bid_multiplier_down": D("0.5"),
    "bid_multiplier_up": D("1.2"),
    "ask_multiplier_down": D("0.8"),
    "ask_multiplier_up": D("2"),
}

BROKEN = {
    "off the tick": ((Side.BUY, "48.005", "1"), {"PRICE_FILTER"}),
    "below the lowest price": ((Side.BUY, "0.99", "10"), {"PRICE_FILTER"}),
    "above the highest price": ((Side.BUY, "1000.01", "1"), {"PRICE_FILTER"}),
    "free of charge": ((Side.BUY, "0", "10"), {"PRICE_FILTER", "NOTIONAL"}),
    "off the step": ((Side.BUY, "48", "1.0005"), {"LOT_SIZE"}),
    "nothing": ((Side.BUY, "48", "0"), {"LOT_SIZE", "NOTIONAL"}),
    "less than the least": ((Side.BUY, "1000", "0.0005"), {"LOT_SIZE", "NOTIONAL"}),
    "more than the most": ((Side.BUY, "48", "100.001"), {"LOT_SIZE"}),
    "worth too little": ((Side.BUY, "48", "0.104"), {"NOTIONAL"}),
    "worth too much": ((Side.BUY, "60", "90"), {"NOTIONAL"}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_filter_that_would_be_broken_is_named(name: str) -> None:
    (side, price, quantity), filters = BROKEN[name]
    found = instrument(**BANDS).violations(side, D(price), D(quantity))
    assert {violation.filter for violation in found} == filters
    assert all(any(character.isdigit() for character in violation.message) for violation in found)


@pytest.mark.parametrize(
    ("side", "price", "passes"),
    [
        (Side.BUY, "50", True),
        (Side.BUY, "49.99", False),
        (Side.BUY, "120", True),
        (Side.BUY, "120.01", False),
        (Side.SELL, "80", True),
        (Side.SELL, "79.99", False),
        (Side.SELL, "200", True),
        (Side.SELL, "200.01", False),
    ],
)
def test_each_side_has_its_band_around_the_venues_price(side: Side, price: str, passes: bool) -> None:
    found = instrument(**BANDS).violations(side, D(price), D(1), reference=D(100))
    assert [violation.filter for violation in found] == ([] if passes else ["PERCENT_PRICE"])


def test_without_the_venues_price_no_band_is_checked() -> None:
    assert instrument(**BANDS).violations(Side.BUY, D(500), D(1)) == []


def test_an_order_that_keeps_every_rule_breaks_none() -> None:
    assert instrument(**BANDS).violations(Side.SELL, D("101.51"), D("0.497"), reference=D(100)) == []


# ------------------------------------------------------------------ the smallest order


def both_legs_pass(rules: Instrument, quantity: Decimal, buy: Decimal, sell: Decimal, fee: Decimal) -> bool:
    """The BUY of the quantity at its lowest price, and the SELL of what is left of it after the fee."""
    left = rules.quantity_after_fee(quantity, fee)
    return not rules.violations(Side.BUY, buy, quantity) and not rules.violations(Side.SELL, sell, left)


@given(
    buy=PRICES,
    sell=PRICES,
    fee=st.sampled_from(["0", "0.0001", "0.001", "0.0075", "0.01"]).map(D),
    step=GRIDS,
    least=st.sampled_from(["0", "0.0015", "0.1", "1", "25"]).map(D),
    notional=st.sampled_from(["0", "0.1", "5", "10", "33.333"]).map(D),
)
def test_the_smallest_quantity_passes_and_one_step_less_does_not(
    buy: Decimal, sell: Decimal, fee: Decimal, step: Decimal, least: Decimal, notional: Decimal
) -> None:
    rules = instrument(tick_size=D("0.0001"), step_size=step, min_quantity=least, min_notional=notional)
    smallest = rules.smallest_quantity(buy, sell, fee)
    assume(smallest < D("1e12"))
    assert smallest % step == 0
    applied = rules.lowest_applied(buy)
    assert both_legs_pass(rules, smallest, applied, sell, fee)
    assert not both_legs_pass(rules, smallest - step, applied, sell, fee)


BNB = instrument(venue=Venue.SPOT, min_notional=D(5), max_notional=D(9000))
EDGES = {
    # BUY, SELL, fee -> the smallest order at a step of 0.001 and 5 USDT.
    "no fee, and exactly the least value": ("50", "50", "0", "0.100"),
    "a fee of 0.1 %: the SELL loses a step": ("50", "50", "0.001", "0.101"),
    "with the discount it loses one as well": ("50", "50", "0.00075", "0.101"),
    "a SELL above the BUY makes good for it": ("50", "50.51", "0.001", "0.100"),
    "a SELL below the BUY decides by itself": ("50", "49", "0", "0.103"),
    "a SELL below the BUY, net of fee": ("50", "49", "0.001", "0.104"),
    "one step is more than the least value": ("6000", "6000", "0", "0.001"),
    "one step, but none of it is left to sell": ("6000", "6000", "0.001", "0.002"),
    "the remainder that nobody could place": ("803.9", "804.41", "0.001", "0.008"),
}


@pytest.mark.parametrize("name", EDGES)
def test_the_smallest_order_passes_with_both_its_legs(name: str) -> None:
    buy, sell, fee, quantity = (D(text) for text in EDGES[name])
    assert BNB.smallest_quantity(buy, sell, fee) == quantity
    assert both_legs_pass(BNB, quantity, buy, sell, fee)
    assert not both_legs_pass(BNB, quantity - BNB.step_size, buy, sell, fee)


def test_where_a_fingerprint_may_lower_the_buy_it_is_reckoned_at_that_price() -> None:
    spot, alpha = (instrument(venue=venue, min_notional=D(5)) for venue in (Venue.SPOT, Venue.ALPHA))
    assert spot.smallest_quantity(D(50), D(50), D(0)) == D("0.100")
    assert alpha.smallest_quantity(D(50), D(50), D(0)) == D("0.101")  # at 49.91
    assert alpha.lowest_applied(D("0.05")) == alpha.tick_size


def test_each_side_trades_with_the_other() -> None:
    assert Side.BUY.opposite is Side.SELL
    assert Side.SELL.opposite is Side.BUY
