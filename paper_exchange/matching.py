"""One symbol's book: price, then time.

House quotes and users' orders stand in the same two queues and differ only in `order`. The book
knows nothing of accounts or fees; exchange.py settles what it finds here.
"""

from bisect import insort
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from paper_exchange.model import Order, Side
from paper_exchange.numbers import EXACT, ZERO, product


class Quote(msgspec.Struct, eq=False):
    """What the book shows of something that rests; `order` is None for the house."""

    side: Side
    price: Decimal
    quantity: Decimal
    priority: int
    order: Order | None = None

    @property
    def takeable(self) -> Decimal:
        """How much a taker finds here, an iceberg's hidden part included."""
        return self.quantity if self.order is None else self.order.open_quantity


def opposite(side: Side) -> Side:
    return "SELL" if side == "BUY" else "BUY"


def crosses(side: Side, limit: Decimal, price: Decimal) -> bool:
    """Whether an order of this side and limit can trade at price."""
    return price <= limit if side == "BUY" else price >= limit


def _best_first(quote: Quote) -> tuple[Decimal, int]:
    return (-quote.price if quote.side == "BUY" else quote.price, quote.priority)


class Book:
    """Both sides, best first."""

    def __init__(self, update_id: int = 1) -> None:
        self._sides: dict[Side, list[Quote]] = {"BUY": [], "SELL": []}
        self.update_id = update_id

    def add(self, quote: Quote) -> None:
        insort(self._sides[quote.side], quote, key=_best_first)
        self.update_id += 1

    def remove(self, quote: Quote) -> None:
        self._sides[quote.side].remove(quote)
        self.update_id += 1

    def remove_order(self, order: Order) -> None:
        """Take a user's order off the book; it may not be on it yet."""
        queue = self._sides[order.side]
        for quote in queue:
            if quote.order is not None and quote.order.order_id == order.order_id:
                return self.remove(quote)
        return None

    def shrink_order(self, order: Order, quantity: Decimal) -> None:
        """Leave so much of a resting order on the book, at its place."""
        for quote in self._sides[order.side]:
            if quote.order is order:
                quote.quantity = quantity
                self.update_id += 1

    def clear_house(self, side: Side | None = None) -> None:
        for name, queue in self._sides.items():
            if side in (None, name):
                self._sides[name] = [quote for quote in queue if quote.order is not None]
        self.update_id += 1

    def take(self, quote: Quote, quantity: Decimal) -> None:
        """Reduce a resting quote by what just traded."""
        quote.quantity -= quantity
        self.update_id += 1
        if quote.quantity <= 0:
            self._sides[quote.side].remove(quote)

    def best(self, side: Side) -> Quote | None:
        queue = self._sides[side]
        return queue[0] if queue else None

    def quotes(self, side: Side) -> Iterator[Quote]:
        return iter(self._sides[side])

    def available(self, side: Side, limit: Decimal) -> Decimal:
        """What an order of this side and limit could take now."""
        total = ZERO
        for quote in self._sides[opposite(side)]:
            if not crosses(side, limit, quote.price):
                break
            total += quote.takeable
        return total

    def price_to_take(self, side: Side, quantity: Decimal) -> Decimal | None:
        """The worst price an order of this side meets while it takes so much, or all there is."""
        worst = None
        for quote in self._sides[opposite(side)]:
            worst = quote.price
            quantity -= quote.takeable
            if quantity <= 0:
                break
        return worst

    def quantity_for(self, side: Side, quote: Decimal) -> Decimal | None:
        """How much an order of this side trades for so much quote, level by level; what the book does
        not have counts at its last price. None when nobody quotes."""
        total, last = ZERO, None
        for level in self._sides[opposite(side)]:
            last = level.price
            if (worth := product(level.price, level.takeable)) >= quote:
                break
            total += level.takeable
            quote -= worth
        return None if last is None else total + EXACT.divide(quote, last)

    def thin_house(self, side: Side, limit: Decimal, keep: Decimal) -> None:
        """Withdraw house quotes an order could reach, all but `keep`: what then fills is partial."""
        for quote in list(self._sides[opposite(side)]):
            if quote.order is not None or not crosses(side, limit, quote.price):
                continue
            kept = min(keep, quote.quantity)
            keep -= kept
            if kept < quote.quantity:
                self.take(quote, quote.quantity - kept)

    def depth(self, side: Side, limit: int) -> list[tuple[Decimal, Decimal]]:
        """Price levels with their summed quantity, best first."""
        levels: list[tuple[Decimal, Decimal]] = []
        for quote in self._sides[side]:
            if levels and levels[-1][0] == quote.price:
                levels[-1] = (quote.price, levels[-1][1] + quote.quantity)
            elif len(levels) == limit:
                break
            else:
                levels.append((quote.price, quote.quantity))
        return levels
