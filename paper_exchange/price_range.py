"""The PRICE_RANGE execution rule: how far from the reference price a taker may trade (binance-spot 2.4).

The band is fixed when an order begins to take; a match outside of it ends the order.
"""

from decimal import Decimal

import msgspec

from paper_exchange.market import Market
from paper_exchange.matching import Book, opposite
from paper_exchange.model import Order, Side
from paper_exchange.numbers import product

OUT_OF_RANGE = "EXECUTION_RULE_PRICE_RANGE_EXCEEDED"


class Band(msgspec.Struct, frozen=True):
    """Prices a taker may trade at; None is no bound."""

    low: Decimal | None
    high: Decimal | None

    def holds(self, price: Decimal) -> bool:
        return (self.low is None or price >= self.low) and (self.high is None or price <= self.high)

    def stops(self, book: Book, taker: Order) -> bool:
        """Whether the rule would keep the order from filling whole."""
        best, worst = (
            book.best(opposite(taker.side)),
            book.price_to_take(taker.side, taker.open_quantity),
        )
        return best is not None and worst is not None and not (self.holds(best.price) and self.holds(worst))


def band_of(market: Market, side: Side) -> Band | None:
    """The band of a taker on this side; None where no rule or no reference price is."""
    rule = market.instrument.price_range
    if rule is None or (reference := market.reference_price) is None:
        return None
    down, up = (rule.bid_down, rule.bid_up) if side == "BUY" else (rule.ask_down, rule.ask_up)
    return Band(
        None if down is None else product(reference, down), None if up is None else product(reference, up)
    )
