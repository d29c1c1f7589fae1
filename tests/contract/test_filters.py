"""What passes the filters here passes at the venue, and the other way round (binance-spot 2.3).

The rules come from the paper exchange's own exchange info; random orders are then put to both. Nobody
else is on the book, so that no order trades and the reference stays.
"""

from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from order_service.venues import spot_parse, spot_rules
from order_service.venues.fields import decode, row_of
from otopilot import money
from otopilot.instrument import Instrument, Side, Standing
from otopilot.order import LegRole
from paper_exchange.http import Response
from tests.order_service.venues.fakes import an_order, leg
from tests.paper_exchange.spot_desk import BNB, SpotTrader, bnb_desk, oto, public

D = Decimal
RICH = {"BNB": "100000000", "USDT": "100000000000"}
MANY = {"order_limit_10s": "100000", "order_limit_day": "10000000", "weight_limit_per_minute": "10000000"}
NARROW = {
    "min_price": D("640"),
    "max_price": D("965"),
    "min_quantity": D("0.002"),
    "max_quantity": D("9"),
    "min_notional": D("5"),
    "max_notional": D("7000"),
    "percent_down": D("0.85"),
    "percent_up": D("1.15"),
}
NUMBERS = count(1)
# Near every bound, on and off the grid.
PRICES = st.one_of(
    st.sampled_from(["639.99", "640", "680", "679.99", "680.01", "920", "920.01", "919.99", "965", "965.01"]),
    st.decimals("600", "1000", places=2).map(str),
    st.decimals("600", "1000", places=3).map(str),
).map(D)
QUANTITIES = st.one_of(
    st.sampled_from(["0.001", "0.002", "0.007", "0.008", "7.608", "7.609", "9", "9.001", "8.75", "8.751"]),
    st.decimals("0.001", "10", places=3).map(str),
    st.decimals("0.001", "10", places=4).map(str),
).map(D)
STATELESS = {"PERCENT_PRICE_BY_SIDE": "PERCENT_PRICE", "MIN_NOTIONAL": "NOTIONAL"}


def rules_of(desk: Any) -> Instrument:
    return spot_rules.rules(_as_read(public(desk, "exchangeInfo", f"symbol={BNB}")), BNB).instrument


def _as_read(answer: Any) -> Any:
    """Numbers as text, as the adapter's decoder brings them."""
    if isinstance(answer, dict):
        return {key: _as_read(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [_as_read(value) for value in answer]
    return str(answer) if type(answer) is int else answer


def refusal(trader: SpotTrader, path: str, params: dict[str, Any]) -> str:
    """The filter that the exchange names; empty when it took the order, which is cancelled then."""
    answer = trader.send("POST", path, **params)
    assert isinstance(answer, Response)
    if answer.status == 200:
        trader.call("DELETE", "openOrders", symbol=BNB)
        return ""
    said = trader_said(answer)
    assert said.startswith("Filter failure: "), said
    name = said.removeprefix("Filter failure: ")
    return STATELESS.get(name, name)


def trader_said(answer: Response) -> str:
    return str(row_of(decode(answer.body), "error")["msg"])


@pytest.fixture(scope="module", params=["never", "null", "path", "average"])
def venue(request: pytest.FixtureRequest) -> tuple[SpotTrader, Instrument, Decimal]:
    """A trader, the rules as the adapter reads them, and what the bands are measured from."""
    averages = request.param == "average"
    changes = NARROW | {"reference_price": "never" if averages else request.param, "opo_allowed": False}
    desk = bnb_desk(
        spot=MANY, house={"levels": "0"}, instrument=changes | {"avg_price_mins": 5 if averages else 0}
    )
    if averages:
        for pinned in ("810", "780"):
            desk.pin(pinned, BNB)
            desk.pass_time(120)
        average = spot_parse.average_price(_as_read(public(desk, "avgPrice", f"symbol={BNB}")), 5)
        assert average is not None
        assert 780 < average < 810
        return SpotTrader(desk, **RICH), rules_of(desk), average
    path, parse = ("ticker/price", spot_parse.last_price)
    reference: Decimal | None = parse(public(desk, path, f"symbol={BNB}"))
    if request.param == "path":
        reference = spot_parse.reference_price(public(desk, "referencePrice", f"symbol={BNB}"))
    assert reference == 800
    return SpotTrader(desk, **RICH), rules_of(desk), reference


EDGES = [(price, "1") for price in ("680", "679.99", "920", "920.01", "640", "965.01", "800.001")] + [
    ("800", quantity) for quantity in ("0.002", "0.001", "0.007", "8.75", "8.751", "9", "9.001", "1.0005")
]


def at_every_edge(test: Any) -> Any:
    for price, quantity in EDGES:
        for side in Side:
            test = example(side=side, price=D(price), quantity=D(quantity))(test)
    return test


@at_every_edge
@settings(max_examples=100, deadline=None)
@given(side=st.sampled_from(Side), price=PRICES, quantity=QUANTITIES)
def test_a_single_order_passes_here_exactly_when_the_venue_takes_it_2_3(
    venue: tuple[SpotTrader, Instrument, Decimal], side: Side, price: Decimal, quantity: Decimal
) -> None:
    trader, rules, reference = venue
    found = [one.filter for one in rules.violations(side, price, quantity, reference)]
    order = an_order(BNB, leg(LegRole.WORKING, side, money.text(price), money.text(quantity)))
    call, params = spot_rules.placement(order, spot_rules.Rules(rules, expire_taker=False))
    params["newClientOrderId"] = f"o{next(NUMBERS)}"
    theirs = refusal(trader, call.path.removeprefix("/api/v3/"), params)
    event(theirs or "taken")
    assert bool(theirs) == bool(found), (theirs, found)
    assert not theirs or theirs in found


@settings(max_examples=100, deadline=None)
@given(buy=PRICES, sell=PRICES, quantity=QUANTITIES, sold=QUANTITIES)
def test_a_list_passes_here_exactly_when_the_venue_takes_both_legs_2_3(
    venue: tuple[SpotTrader, Instrument, Decimal],
    buy: Decimal,
    sell: Decimal,
    quantity: Decimal,
    sold: Decimal,
) -> None:
    trader, rules, reference = venue
    found = rules.violations(Side.BUY, buy, quantity, reference)
    found += rules.violations(Side.SELL, sell, sold, reference)
    number = next(NUMBERS)
    params = oto(
        workingPrice=money.text(buy),
        workingQuantity=money.text(quantity),
        pendingPrice=money.text(sell),
        pendingQuantity=money.text(sold),
        workingClientOrderId=f"o{number}w",
        pendingClientOrderId=f"o{number}p",
        listClientOrderId=f"o{number}l",
    )
    theirs = refusal(trader, "orderList/oto", params)
    event(theirs or "taken")
    assert bool(theirs) == bool(found), (theirs, found)
    assert not theirs or theirs in {one.filter for one in found}


COUNTED = {
    "MAX_NUM_ORDERS": ({"max_num_orders": 4}, {}),
    "MAX_NUM_ORDER_LISTS": ({"max_num_order_lists": 2}, {}),
    "EXCHANGE_MAX_NUM_ORDERS": ({}, {"exchange_max_num_orders": "4"}),
    "EXCHANGE_MAX_NUM_ORDER_LISTS": ({}, {"exchange_max_num_order_lists": "2"}),
    "MAX_POSITION": ({"max_position": D("12.5")}, {}),
}


@pytest.mark.parametrize("name", COUNTED)
def test_a_count_or_a_position_is_exceeded_here_exactly_when_it_is_there_2_3(name: str) -> None:
    instrument, spot = COUNTED[name]
    desk = bnb_desk(spot=spot, house={"levels": "0"}, instrument=instrument)
    trader, rules = SpotTrader(desk, BNB="10", USDT="100000"), rules_of(desk)
    for lists in range(1, 5):
        standing = Standing(
            orders=2 * lists,
            lists=lists,
            every_order=2 * lists,
            every_list=lists,
            position=D(10) + lists,
        )
        found = [one.filter for one in rules.standing_violations(standing)]
        ids = {f"{part}ClientOrderId": f"{part}{lists}" for part in ("working", "pending", "list")}
        answer = trader.send("POST", "orderList/oto", **oto(**ids))
        assert isinstance(answer, Response)
        assert (answer.status == 200) == (lists <= 2)
        assert found == ([] if lists <= 2 else [name])
        assert answer.status == 200 or trader_said(answer) == f"Filter failure: {name}"
