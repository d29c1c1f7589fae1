"""What goes wrong between an order and the book: fills cut short, expiries, refused releases, prices.

The engine asks at each step; everything is a condition or a strike of the fault rules.
"""

from decimal import Decimal

from paper_exchange.faults import Faults, Scope
from paper_exchange.market import Market
from paper_exchange.model import Order
from paper_exchange.numbers import HUNDRED, ZERO, floor_to
from paper_exchange.state import State


class MatchFaults:
    """Reads the rules as they concern one order or one market."""

    def __init__(self, faults: Faults, state: State) -> None:
        self._faults = faults
        self._state = state

    def _scope(self, order: Order) -> Scope:
        """An order's endpoint is its leg: working, pending or single."""
        account = self._state.accounts.owner(order.account)
        return Scope(account.venue, order.leg or "single", account.user_id, order.symbol)

    def stands_still(self, market: Market) -> bool:
        """The symbol is frozen: no quote moves, nothing is printed, nothing trades by itself."""
        scope = Scope(market.instrument.venue, symbol=market.instrument.symbol)
        return self._faults.holds("market_freeze", scope)

    def spike(self, market: Market) -> Decimal:
        """What the path's price is multiplied with."""
        scope = Scope(market.instrument.venue, symbol=market.instrument.symbol)
        shift = Decimal(1)
        for rule in self._faults.standing("market_spike", scope):
            shift *= 1 + (rule.percent or 0) / HUNDRED
        return shift

    def allowed(self, quantity: Decimal, *orders: Order | None) -> Decimal:
        """How much of a match these orders may have: `partial_fill` stops one at a share of its size."""
        for order in orders:
            for rule in self._faults.standing("partial_fill", self._scope(order)) if order else []:
                assert order is not None
                instrument = self._state.markets[order.symbol].instrument
                share = (rule.percent if rule.percent is not None else Decimal(50)) / HUNDRED
                most = floor_to(order.quantity * share, instrument.step_size)
                quantity = min(quantity, max(ZERO, most - order.executed))
        return quantity

    def expiry_on_arrival(self, order: Order) -> str | None:
        """The reason why the order expires as it reaches the book."""
        rule = self._faults.strike(self._scope(order), "expire", when="before")
        return None if rule is None else rule.code or "REJECTED"

    def expiring(self, market: Market) -> list[tuple[Order, str]]:
        """Resting orders that the venue ends now, each with its reason."""
        found = []
        for side in ("BUY", "SELL"):
            for quote in market.book.quotes(side):
                order = quote.order
                if order is None:
                    continue
                if rule := self._faults.strike(self._scope(order), "expire", when="after"):
                    found.append((order, rule.code or "EXCHANGE_CANCELED"))
        return found

    def refuses_release(self, pending: Order) -> bool:
        return self._faults.strike(self._scope(pending), "reject_pending") is not None

    def fill_before_cancel(self, order: Order) -> Decimal:
        """How much of a resting order fills while its cancel is on the way; 0 for none."""
        rule = self._faults.strike(self._scope(order), "fill_before_cancel")
        if rule is None:
            return ZERO
        share = (rule.percent if rule.percent is not None else HUNDRED) / HUNDRED
        step = self._state.markets[order.symbol].instrument.step_size
        return min(order.open_quantity, floor_to(order.quantity * share, step))
