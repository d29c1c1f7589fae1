"""I8, I9: managed orders never meet, and their claims never cross."""

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from otopilot.instrument import Side
from otopilot.order import LegStatus, Order, RejectionKind
from tests.simulation.checkers.base import Checker
from tests.simulation.journal_view import Changes
from tests.simulation.order_process import HOLD

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

Market = tuple[str, str]
ENDED = (LegStatus.REJECTED, LegStatus.EXPIRED, LegStatus.CANCELED, LegStatus.FILLED)


class NoSelfMatch(Checker):
    """I8: no trade between two orders of managed users, the same user's included.

    What somebody buys by hand is no order of ours: on Alpha it may meet one that was placed just then.
    """

    name = "I8"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._seen = 0

    def step(self) -> None:
        oracle = self.sim.exchange.state.oracle
        if oracle.matches == self._seen:
            return
        fresh: list[Any] = oracle.newest[self._seen - oracle.matches :]
        self._seen = oracle.matches
        for match in fresh:
            sides = {match["taker"]["order_id"], match["maker"]["order_id"]}
            if not sides & self.sim.exchange.manual:
                self.fail(f"a match between managed accounts: {match}")


class NoCrossedClaims(Checker):
    """I9: per symbol, the highest claimed bid of one order is below the lowest ask of any other.

    Claims are worked out here from the journal's rows: both legs from the placing on, also in doubt;
    an order proven absent claims until its hold has passed, whatever the service thinks.
    """

    name = "I9"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._claims: dict[Market, dict[str, tuple[Decimal | None, Decimal | None]]] = {}
        self._absent: dict[str, Order] = {}

    def committed(self, epoch: int, changes: Changes) -> None:
        touched: dict[Market, None] = {}
        for order in changes.placed:
            touched[self._note(order)] = None
        for _, after in changes.updated:
            touched[self._note(after)] = None
        for market in touched:
            self._check(market)

    def _note(self, order: Order) -> Market:
        market = (order.venue.value, order.symbol)
        claims = self._claims.setdefault(market, {})
        claims.pop(order.order_id, None)
        self._absent.pop(order.order_id, None)
        rejected = order.rejection is not None
        if rejected and order.rejection is not None and order.rejection.kind is RejectionKind.ABSENT:
            self._absent[order.order_id] = order
        elif rejected:
            return market
        bid = ask = None
        for leg in order.legs:
            if leg.status in ENDED:
                continue
            if leg.side is Side.BUY:
                bid = leg.price
            else:
                ask = leg.price
        if bid is not None or ask is not None:
            claims[order.order_id] = (bid, ask)
        return market

    def _check(self, market: Market) -> None:
        now = self.sim.clock.now()
        for order_id, order in list(self._absent.items()):
            if now >= order.submitted_at + HOLD - timedelta(seconds=1):
                del self._absent[order_id]
                self._claims[order.venue.value, order.symbol].pop(order_id, None)
        claims = self._claims.get(market, {})
        bids = sorted(((b, i) for i, (b, _) in claims.items() if b is not None), reverse=True)[:2]
        asks = sorted((a, i) for i, (_, a) in claims.items() if a is not None)[:2]
        for bid, buyer in bids:
            for ask, seller in asks:
                if buyer != seller and bid >= ask:
                    self.fail(f"{market[1]}: {buyer} bids {bid}, {seller} asks {ask}")

    def full(self) -> None:
        for market in self._claims:
            self._check(market)
