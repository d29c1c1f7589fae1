"""Orders that wait for a price: which the last trade has reached (binance-spot 3.1).

Owns those that wait, by symbol. One that ended while it waited is forgotten at the next trade.
"""

from decimal import Decimal

from paper_exchange.market import Market
from paper_exchange.model import OPEN, NewOrder, Order


def is_reached(order: Order | NewOrder, last_price: Decimal) -> bool:
    """Whether the last price is where the order wants it: above the market for a STOP_LOSS to buy and
    a TAKE_PROFIT to sell, below it for the others."""
    above = order.kind.startswith("STOP_LOSS") == (order.side == "BUY")
    return last_price >= order.stop_price if above else last_price <= order.stop_price


class Stops:
    """The waiting orders."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Order]] = {}

    def add(self, order: Order) -> None:
        self._waiting.setdefault(order.symbol, []).append(order)

    def take(self, market: Market) -> list[Order]:
        """Those that the last trade has reached, oldest first; they wait no more."""
        waiting = self._waiting.pop(market.instrument.symbol, [])
        standing = [order for order in waiting if order.status in OPEN]
        reached = [order for order in standing if is_reached(order, market.last_price)]
        left = [order for order in standing if not is_reached(order, market.last_price)]
        if left:
            self._waiting[market.instrument.symbol] = left
        return reached
