"""Settles orders in doubt, by proof only (architecture 5.5, 5.6).

Any sighting adopts the order. Absence needs a waiting time on the venue's clock and then two clean looks
a while apart; a look that failed proves nothing and starts nothing over. On the real Alpha
nothing proves absence: the order waits for a person.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from order_service import matching
from order_service.order_manager import OrderManager
from order_service.sessions import Session
from order_service.venues.port import VenueOrder, VenueRefused
from otopilot import log
from otopilot.clock import Clock
from otopilot.order import LegRole, News, Order, OrderId, Refused, RejectionKind

LOOK_BACK = timedelta(seconds=5)  # a venue's clock may be behind ours
GAP_SECONDS = 1.0  # between two answers "no such order"
_EARLY_LOOKS = (0.5, 2.0, 5.0)  # pauses before absence can be proven

_log = log.get("resolution")


@dataclass(frozen=True)
class ProofRules:
    """How long absence takes to prove. Durations in seconds."""

    recv_window: float
    absence_margin: float
    fingerprint_wait: float
    fingerprint_gap: float
    fingerprint_proof: bool  # paper only: live, a person releases the order


class Resolution:
    """Decides what became of an order whose answer was lost. Remembers clean looks only."""

    def __init__(self, manager: OrderManager, clock: Clock, rules: ProofRules) -> None:
        self._manager = manager
        self._clock = clock
        self._rules = rules
        self._first_clean: dict[OrderId, datetime] = {}
        self._looks: dict[OrderId, int] = {}

    async def step(self, session: Session, order: Order) -> float:
        """Look once; returns the seconds to pause before the next look. Raises VenueError."""
        if session.port.has_client_ids:
            return await self._by_client_id(session, order)
        return await self._by_fingerprint(session, order)

    async def _by_fingerprint(self, session: Session, order: Order) -> float:
        began = self._clock.now()
        facts = await self._read(session, order)
        news = matching.find_by_fingerprint(self._manager.books, order, facts)
        if news:
            return await self._settle(order, *news)
        waited = (began - order.submitted_at).total_seconds()
        if not self._rules.fingerprint_proof:
            return 15.0
        if waited < self._rules.fingerprint_wait:
            return min(self._early_pause(order), self._rules.fingerprint_wait - waited)
        return await self._clean_look(
            order, began, self._rules.fingerprint_gap, "no order of its fingerprint"
        )

    async def _by_client_id(self, session: Session, order: Order) -> float:
        began = self._clock.now()
        news: list[News] = []
        for leg in order.legs:
            fact = await session.account.look_up(order, leg.role)
            report = matching.report(fact, leg.role) if fact else None
            if report is not None:
                news.append(report)
        if news:
            return await self._settle(order, *news)
        wait = self._rules.recv_window + self._rules.absence_margin
        waited = (began - order.submitted_at).total_seconds()
        if waited < wait:
            return min(self._early_pause(order), wait - waited)
        if not await self._nothing_there(session, order):
            self._first_clean.pop(order.order_id, None)
            return GAP_SECONDS
        return await self._clean_look(order, began, GAP_SECONDS, "no such order, nothing to cancel, no trade")

    async def _nothing_there(self, session: Session, order: Order) -> bool:
        """A cancel that finds nothing, no open order of ours, no unexplained trade since it was signed."""
        try:
            await session.account.cancel(order, LegRole.WORKING)
        except VenueRefused as refusal:
            if refusal.code != "not_open":
                raise
        else:
            return False
        ours = {leg.client_id for leg in order.legs}
        if any(fact.client_id in ours for fact in await session.account.open_orders(order.symbol)):
            return False
        since = order.submitted_at - LOOK_BACK
        books = self._manager.books
        for trade in await session.account.trades_since(order.symbol, since):
            if books.owner_of(order.venue, order.user_id, trade.venue_order_id) is None:
                return False
        return True

    async def _clean_look(self, order: Order, began: datetime, gap: float, proof: str) -> float:
        """The second clean look, far enough from the first, is the proof."""
        first = self._first_clean.setdefault(order.order_id, began)
        since_first = (began - first).total_seconds()
        if since_first < gap:
            return gap - since_first
        absent = Refused(
            kind=RejectionKind.ABSENT,
            code="absent",
            message=f"{proof}, seen at {first.isoformat()} and {began.isoformat()}",
            at=self._clock.now(),
        )
        return await self._settle(order, absent)

    async def _read(self, session: Session, order: Order) -> list[VenueOrder]:
        """Open orders and history, in this order: one that ends between the two reads is in the second."""
        facts = list(await session.account.open_orders(order.symbol))
        facts.extend(await session.account.order_history(order.symbol, order.submitted_at - LOOK_BACK))
        return facts

    async def _settle(self, order: Order, *news: News) -> float:
        self._first_clean.pop(order.order_id, None)
        self._looks.pop(order.order_id, None)
        settled = await self._manager.learn(order.order_id, *news)
        _log.info("order in doubt settled", order_id=order.order_id, state=settled.state)
        return 0.0

    def _early_pause(self, order: Order) -> float:
        look = self._looks.get(order.order_id, 0)
        self._looks[order.order_id] = look + 1
        return _EARLY_LOOKS[min(look, len(_EARLY_LOOKS) - 1)]
