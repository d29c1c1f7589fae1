"""The ledger alone: what was bought, what it cost and what is left, whatever order the trades come in."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from order_service.ledger import AccountKey, Ledger, LedgerRow
from otopilot.instrument import Side, Venue
from otopilot.order import Fee, OrderId, Trade, TradeKey, UserId, VenueOrderId
from tests.order_service.row import KOGE
from tests.virtual_loop import START

ACCOUNT = AccountKey(UserId("1"), Venue.ALPHA, KOGE)


@st.composite
def rows(draw: st.DrawFn) -> list[LedgerRow]:
    found = []
    for number in range(draw(st.integers(1, 12))):
        side = draw(st.sampled_from(Side))
        price = Decimal(draw(st.integers(4700, 4900))) / 100
        quantity = Decimal(draw(st.integers(1, 900))) / 100
        trade = Trade(
            key=TradeKey(str(number)),
            side=side,
            price=price,
            quantity=quantity,
            quote=price * quantity,
            fee=Fee(draw(st.sampled_from(["ALPHA_22", "USDT"])), quantity / 1000),
            traded_at=START + timedelta(seconds=draw(st.integers(0, 200_000))),
            venue_order_id=VenueOrderId("9"),
        )
        own = draw(st.booleans())
        found.append(
            LedgerRow(
                account=ACCOUNT,
                trade=trade,
                order_id=OrderId("o") if own else None,
                fee_value=draw(st.sampled_from([None, Decimal("0.01")])),
            )
        )
    return found


def a_row(number: int, side: Side, price: str, quantity: str, fee: str, value: str) -> LedgerRow:
    asset = "ALPHA_22" if side is Side.BUY else "USDT"
    amount = Decimal(quantity)
    trade = Trade(
        key=TradeKey(str(number)),
        side=side,
        price=Decimal(price),
        quantity=amount,
        quote=amount * Decimal(price),
        fee=Fee(asset, Decimal(fee)),
        traded_at=START + timedelta(seconds=number),
        venue_order_id=VenueOrderId(str(number)),
    )
    return LedgerRow(account=ACCOUNT, trade=trade, order_id=OrderId("o"), fee_value=Decimal(value))


def test_a_fee_that_came_from_other_base_costs_what_it_was_worth_and_no_more() -> None:
    ledger = Ledger()
    for number in range(0, 200, 2):
        ledger.own(a_row(number, Side.BUY, "50", "1", "0.001", "0.05"), "ALPHA_22")
        ledger.own(a_row(number + 1, Side.SELL, "50", "1", "0.05", "0.05"), "ALPHA_22")  # all that was bought
    inventory = ledger.inventory(ACCOUNT)
    assert (inventory.realised_cost, inventory.cost_complete) == (Decimal(10), True)
    assert (inventory.cost, inventory.held, inventory.average_cost) == (0, 0, None)
    ledger.own(a_row(200, Side.BUY, "50", "0.4", "0.0004", "0.02"), "ALPHA_22")
    inventory = ledger.inventory(ACCOUNT)
    assert (inventory.held, inventory.average_cost) == (Decimal("0.3996"), 50), "and it is there to be sold"
    ledger.own(a_row(201, Side.SELL, "50", "0.9", "0.025", "0.025"), "ALPHA_22")
    assert not ledger.inventory(ACCOUNT).cost_complete  # where did that come from?


@given(st.data())
def test_the_ledger_does_not_depend_on_the_order_of_arrival(data: st.DataObject) -> None:
    original = data.draw(rows())
    ledgers = []
    for order in (original, data.draw(st.permutations(original))):
        ledger = Ledger()
        for row in order:
            ledger.count(row)
            if row.order_id is not None:
                ledger.own(row, "ALPHA_22")
        ledgers.append((ledger.inventory(ACCOUNT), ledger._totals))
    assert ledgers[0] == ledgers[1]
    inventory, totals = ledgers[0]
    bought = sum(r.trade.quote for r in original if r.order_id and r.trade.side is Side.BUY)
    assert inventory.bought_quote == bought
    assert sum(quote for _, quote in totals.values()) == sum(r.trade.quote for r in original)
