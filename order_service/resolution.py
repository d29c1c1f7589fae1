"""Settles orders in doubt, by proof only (architecture 5.5, 5.6).

Any sighting adopts the order. Absence needs a waiting time, by the venue's clock and by one of ours that
nobody can set, and then two clean looks a while apart; a look that failed proves nothing and starts nothing
over. On the real Alpha nothing proves absence: the order waits for a person.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from order_service import fingerprint, matching
from order_service.books import account_of
from order_service.matching import LOOK_BACK
from order_service.order_manager import OrderManager
from order_service.sessions import Session
from order_service.venues.port import VenueOrder, VenueRefused, VenueSilent
from otopilot import failpoints, log
from otopilot.clock import Clock
from otopilot.order import (
    LegRole,
    LegStatus,
    Order,
    OrderId,
    OrderState,
    Refused,
    RejectionKind,
    Report,
)

GAP_SECONDS = 1.0  # between two answers "no such order"
NOT_YET_SECONDS = 2.0
PERSON_SECONDS = 15.0  # between two looks at an order that a person has to decide about
_EARLY_LOOKS = (0.5, 2.0, 5.0)  # pauses before absence can be proven

_Seen = tuple[LegRole, VenueOrder]  # a leg as the venue shows it
_log = log.get("resolution")


@dataclass(frozen=True)
class ProofRules:
    """How long absence takes to prove. Durations in seconds."""

    recv_window: float
    absence_margin: float
    fingerprint_wait: float
    fingerprint_gap: float
    fingerprint_proof: bool  # paper only: live, a person releases the order


@dataclass
class _Case:
    """What is remembered of an order in doubt."""

    looks: int = 0
    first_clean: "_Look | None" = None
    unanswered: float | None = None  # when a cancel last got no answer, by the monotonic clock
    lived: LegRole | None = None  # a cancel of this leg was taken, and the journal does not know it yet
    twin_told: bool = False


class _Look(NamedTuple):
    """When a look began: for the story, and for reckoning."""

    at: datetime
    monotonic: float


class Resolution:
    """Decides what became of an order whose answer was lost. Remembers clean looks only."""

    def __init__(self, manager: OrderManager, clock: Clock, rules: ProofRules) -> None:
        self._manager = manager
        self._clock = clock
        self._rules = rules
        self._cases: dict[OrderId, _Case] = {}
        manager.on_unjournaled_cancel = self.cancel_unjournaled

    async def step(self, session: Session, order: Order) -> float:
        """Look once; returns the seconds to pause before the next look. Raises VenueError."""
        case = self._case(order.order_id)
        if case.lived is not None:
            await self.was_open(order, case.lived)
            return 0.0
        if session.port.has_client_ids:
            return await self._by_client_id(session, order, case)
        return await self._by_fingerprint(session, order, case)

    async def find(self, session: Session, order: Order) -> float:
        """Look for an order that lives, by ids of ours and in all that is told; returns the pause."""
        looks: list[tuple[LegRole, VenueOrder | None]] = []
        if session.port.has_client_ids:
            looks = [(leg.role, await session.account.look_up(order, leg.role)) for leg in order.legs]
        seen = [(role, fact) for role, fact in looks if fact is not None]
        seen = seen or self._ours(order, await self._read(session, order))
        if seen:
            await self._adopt_seen(order, seen)
        # The longer it does not show, the less does another look cost anybody.
        age = (self._clock.now() - order.submitted_at).total_seconds()
        return min(max(NOT_YET_SECONDS, age / 10), PERSON_SECONDS)

    def forget(self, order_id: OrderId) -> None:
        """The order is in doubt no more."""
        self._cases.pop(order_id, None)

    async def was_open(self, order: Order, role: LegRole) -> None:
        """A cancel of the leg in doubt did something: the venue had it, under an id it may now have lost.

        By the old id it may not be found any more (binance-spot 3.4), and history may lag: it is journaled,
        and remembered until then, for the journal may fail.
        """
        case = self._case(order.order_id)
        case.lived = role
        status = LegStatus.OPEN if role is LegRole.WORKING else LegStatus.PENDING
        await self._manager.learn(order.order_id, Report(role=role, status=status, at=self._clock.now()))
        case.lived = None

    def cancel_unanswered(self, order_id: OrderId) -> None:
        """A cancel of an order in flight may have renamed it: no look is clean before the margin is over."""
        case = self._case(order_id)
        case.first_clean, case.unanswered = None, self._clock.monotonic()

    def cancel_unjournaled(self, order_id: OrderId, role: LegRole, taken: bool) -> None:
        """A cancel of an order in flight went out though the journal failed; was it answered yes?"""
        if taken:
            self._case(order_id).lived = role
        else:
            self.cancel_unanswered(order_id)

    def _case(self, order_id: OrderId) -> _Case:
        return self._cases.setdefault(order_id, _Case())

    def _look(self) -> _Look:
        return _Look(self._clock.now(), self._clock.monotonic())

    async def _waited(self, session: Session, order: Order) -> float:
        """Seconds since it was sent: the least of those that have surely passed here and at the venue.

        The local time of day counts for nothing: it can be set (reliability 8).
        """
        waited = self._manager.seconds_since_sent(order.order_id)
        signed = self._manager.signed(order.order_id)
        if signed is None:
            return waited
        return min(waited, (await session.port.time() - signed.venue_time).total_seconds())

    async def _by_fingerprint(self, session: Session, order: Order, case: _Case) -> float:
        began, waited = self._look(), await self._waited(session, order)
        facts = await self._read(session, order)
        failpoints.hit("doubt.after_look")
        found = matching.find_by_fingerprint(self._manager.books, order, facts)
        if found:
            words = [word for fact in facts if (word := matching.unknown_word(fact)) is not None]
            return await self._adopt(order, found, words)
        if (twin := matching.older_twin(self._manager.books, order, facts)) is not None:
            return self._doubt_stays(order, case, twin)
        if not self._rules.fingerprint_proof:
            return PERSON_SECONDS
        if waited < self._rules.fingerprint_wait:
            return min(_early_pause(case), self._rules.fingerprint_wait - waited)
        gap = self._rules.fingerprint_gap
        return await self._clean_look(order, case, began, gap, "no order of its fingerprint")

    def _doubt_stays(self, order: Order, case: _Case, twin: VenueOrder) -> float:
        """It may be ours with our clock ahead: adopting it and concluding absence could both be wrong."""
        case.first_clean = None
        if not case.twin_told:
            case.twin_told = True
            _log.error(
                "an order in doubt has an older twin at the venue: look there, then release it",
                order_id=order.order_id,
                user=order.user_id,
                venue_order_id=twin.venue_order_id,
                made_before_seconds=(order.submitted_at - twin.created_at).total_seconds(),
            )
        return PERSON_SECONDS

    async def _by_client_id(self, session: Session, order: Order, case: _Case) -> float:
        began, waited = self._look(), await self._waited(session, order)
        looks = [(leg.role, await session.account.look_up(order, leg.role)) for leg in order.legs]
        if seen := [(role, fact) for role, fact in looks if fact is not None]:
            return await self._adopt_seen(order, seen)
        wait = self._rules.recv_window + self._rules.absence_margin
        if waited < wait:
            return min(_early_pause(case), wait - waited)
        if (left := self._unsettled(case, began)) > 0:
            return min(_early_pause(case), left)
        if not await self._nothing_to_cancel(session, order):
            case.first_clean = None
            return GAP_SECONDS
        facts = await self._read(session, order)
        if seen := self._ours(order, facts):
            return await self._adopt_seen(order, seen)
        if not await self._trades_explained(session, order, facts):
            case.first_clean = None
            return GAP_SECONDS
        proof = "no such order, nothing to cancel, no trade"
        return await self._clean_look(order, case, began, GAP_SECONDS, proof)

    def _unsettled(self, case: _Case, look: _Look) -> float:
        """Seconds that were left, when the look began, of the time in which a cancel may show."""
        if case.unanswered is None:
            return 0.0
        return case.unanswered + self._rules.absence_margin - look.monotonic

    async def _nothing_to_cancel(self, session: Session, order: Order) -> bool:
        """Does a cancel of the working leg find nothing?"""
        sent = False

        def doubted() -> bool:  # heard of while we looked or waited for the budget, nobody wishes it gone
            nonlocal sent
            latest = self._manager.books.order(order.order_id)
            sent = latest is not None and latest.state is OrderState.IN_DOUBT
            return sent

        if not doubted():
            return False
        try:
            await session.account.cancel(order, LegRole.WORKING, doubted)
        except VenueRefused as refusal:
            if refusal.code != "not_open":
                raise
            return True
        except VenueSilent:
            self.cancel_unanswered(order.order_id)
            raise
        if sent:
            await self.was_open(order, LegRole.WORKING)
        return False

    def _ours(self, order: Order, facts: list[VenueOrder]) -> list[_Seen]:
        """The order among what was read, also under the id that a cancel of ours gave it.

        By its old id the venue may not find it any more (binance-spot 3.4).
        """
        books = self._manager.books
        owned = [(matching.owner(books, order.venue, order.user_id, fact), fact) for fact in facts]
        return [(ours[1], fact) for ours, fact in owned if ours is not None and ours[0] == order.order_id]

    async def _trades_explained(self, session: Session, order: Order, facts: list[VenueOrder]) -> bool:
        """Does every trade since it was signed belong to an order that is known?"""
        # An order that shows another client id explains its own trades: somebody trades by hand.
        explained = {fact.venue_order_id for fact in facts}
        books = self._manager.books
        account = account_of(order)
        for trade in await session.account.trades_since(order.symbol, self._since(order)):
            if trade.venue_order_id in explained or books.is_foreign(account, trade.key):
                continue
            if books.owner_of(order.venue, order.user_id, trade.venue_order_id) is None:
                return False
        return True

    async def _clean_look(self, order: Order, case: _Case, began: _Look, gap: float, proof: str) -> float:
        """The second clean look, far enough from the first, is the proof."""
        shown = order.working.venue_order_id is not None or case.lived is not None
        if self._manager.awaits_answer(order.order_id) or shown or self._unsettled(case, began) > 0:
            # Its request may yet arrive, the venue has shown it once, or a cancel went out during the look:
            # no look is clean.
            case.first_clean = None
            return NOT_YET_SECONDS
        if case.first_clean is None:
            case.first_clean = began
        since_first = began.monotonic - case.first_clean.monotonic
        if since_first < gap:
            return gap - since_first
        absent = Refused(
            kind=RejectionKind.ABSENT,
            code="absent",
            message=f"{proof}, seen at {case.first_clean.at.isoformat()} and {began.at.isoformat()}",
            at=self._clock.now(),
        )
        settled = await self._manager.learn(order.order_id, absent)
        _log.info("order in doubt is absent", order_id=order.order_id, state=settled.state)
        return 0.0

    async def _adopt_seen(self, order: Order, seen: list[_Seen]) -> float:
        words = [word for _, fact in seen if (word := matching.unknown_word(fact)) is not None]
        return await self._adopt(order, [matching.report(fact, role) for role, fact in seen], words)

    async def _adopt(self, order: Order, found: list[Report], words: list[str]) -> float:
        case = self._cases.get(order.order_id)
        if case is not None:
            case.first_clean = None
        settled = await self._manager.learn(order.order_id, *found)
        _log.info("order in doubt found", order_id=order.order_id, state=settled.state)
        if settled.state is not OrderState.IN_DOUBT:
            return 0.0
        # The venue has it, in a state whose name we do not know: it is there, and stays in doubt.
        for word in words:
            await self._manager.note_unknown(settled, word)
        return NOT_YET_SECONDS

    async def _read(self, session: Session, order: Order) -> list[VenueOrder]:
        """Open orders and history, in this order: one that ends between the two reads is in the second."""
        facts = list(await session.account.open_orders(order.symbol))
        since = self._since(order)
        if not session.port.has_client_ids:
            since -= fingerprint.MEMORY  # the venue tells no time of its own: ours may be ahead of it
        facts.extend(await session.account.order_history(order.symbol, since))
        return facts

    def _since(self, order: Order) -> datetime:
        """From where to read what it may have become, in the venue's time as far as that is known."""
        signed = self._manager.signed(order.order_id)
        at = order.submitted_at if signed is None else min(order.submitted_at, signed.venue_time)
        return at - LOOK_BACK


def _early_pause(case: _Case) -> float:
    case.looks += 1
    return _EARLY_LOOKS[min(case.looks, len(_EARLY_LOOKS)) - 1]
