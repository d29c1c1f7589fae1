"""I13: no placement on a price that is too old, or that nobody told.

An order that was journaled on one may still not be sent: the process stood still in between.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from order_service.placing import Ask
from otopilot.instrument import Side
from otopilot.order import Order, OrderId, Purpose
from otopilot.quote import Quote
from tests.simulation.checkers.base import Checker
from tests.simulation.journal_view import Changes

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

COMMIT = timedelta(milliseconds=50)  # the decision is timed, the row is seen a little later


class FreshPrices(Checker):
    """I13: the price of a BUY that the venue got was confirmed within its limit when it was journaled."""

    name = "I13"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._asked: dict[str, list[Ask]] = {}  # a request may be asked for by two owners
        self._told: dict[tuple[str, datetime], Decimal] = {}
        self._wrongly: dict[OrderId, str] = {}  # journaled

    def quoted(self, quote: Quote) -> None:
        self._told[quote.symbol, quote.confirmed_at] = quote.price

    def asked(self, ask: Ask) -> None:
        self._asked.setdefault(ask.request_id, []).append(ask)

    def committed(self, epoch: int, changes: Changes) -> None:
        for order in changes.placed:
            stories = [self._wrong(order, ask) for ask in self._asked[order.request_id]]
            if all(stories):
                self._wrongly[order.order_id] = stories[-1]
        for _, after in changes.updated:
            if after.order_id in self._wrongly and after.working.venue_order_id is not None:
                self.fail(self._wrongly[after.order_id])

    def _wrong(self, order: Order, ask: Ask) -> str:
        """What is wrong with placing the order on that request; empty when nothing is."""
        if ask.side is not Side.BUY and ask.purpose is not Purpose.FLATTEN:
            return ""
        assert ask.price_confirmed_at is not None
        if (ask.symbol, ask.price_confirmed_at) not in self._told:
            return f"{order.request_id} names a price nobody told, of {ask.price_confirmed_at}"
        age = self.sim.clock.now() - ask.price_confirmed_at
        if age > ask.max_price_age + COMMIT:
            return f"{order.request_id} was placed on a price {age.total_seconds():.3f} s old"
        return ""
