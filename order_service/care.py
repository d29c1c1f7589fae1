"""Looks after single orders: those in flight, in doubt, wished gone, or not in the ledger yet.

One task per order that needs something, none for an order that only rests (the sweep watches
those). It learns by asking; a failed question proves nothing, and it asks again.
"""

import asyncio
from dataclasses import dataclass, field

from order_service import matching
from order_service.denied import JournalFailed
from order_service.order_manager import DOUBT_AFTER_SECONDS, OrderManager
from order_service.rate_budget import Priority
from order_service.resolution import Resolution
from order_service.sessions import Session, Sessions
from order_service.venues.port import (
    CredentialRefused,
    RateLimited,
    VenueError,
    VenueRefused,
    VenueSilent,
)
from order_service.worlds import Worlds
from otopilot import failpoints, log
from otopilot.clock import Clock
from otopilot.order import (
    IN_FLIGHT,
    Doubted,
    LegRole,
    LegStatus,
    News,
    Order,
    OrderId,
    OrderState,
    Traded,
)
from otopilot.tasks import TaskOwner

ASK_AT_SECONDS = (2.0, 5.0, 15.0)  # a young order's ages at which it is asked singly (architecture 5.9)
# And while there is plenty of weight, at these: a push that never came is missed for five seconds at most.
ASK_IF_PLENTY_SECONDS = tuple(5.0 + 4.5 * number for number in range(1, 13))
YOUNG_SECONDS = 60.0
PLENTY_SHARE = 0.4  # of the address's weight, used by all there is to ask
LEAST_PAUSE = 0.01
FIRST_PAUSE = 0.3
LONGEST_PAUSE = 5.0

_log = log.get("care")


@dataclass
class _Patient:
    """An order under care: what woke it, how long to pause after trouble, since when it is there."""

    born: float  # of the monotonic clock: the local time of day can be set
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    pause: float = FIRST_PAUSE


class Care:
    """Owns the per-order tasks."""

    def __init__(
        self,
        manager: OrderManager,
        sessions: Sessions,
        resolution: Resolution,
        worlds: Worlds,
        clock: Clock,
        tasks: TaskOwner,
    ) -> None:
        self._manager = manager
        self._sessions = sessions
        self._resolution = resolution
        self._worlds = worlds
        self._clock = clock
        self._tasks = tasks
        self._patients: dict[OrderId, _Patient] = {}
        manager.on_change(self.look_after)

    def look_after(self, order: Order) -> None:
        """Begin to care for an order that needs it, or wake its task: something changed."""
        patient = self._patients.get(order.order_id)
        if patient is not None:
            patient.woken.set()
        elif needs_care(order, self._age(order)):
            patient = self._patients[order.order_id] = _Patient(self._clock.monotonic() - self._age(order))
            self._tasks.spawn(self._attend(order.order_id, patient), f"care {order.order_id}")

    async def _attend(self, order_id: OrderId, patient: _Patient) -> None:
        try:
            while True:
                patient.woken.clear()
                order = self._manager.books.order(order_id)
                if order is None:
                    return  # its commit failed: there never was such an order
                if order.state not in IN_FLIGHT:
                    self._resolution.forget(order_id)
                if not needs_care(order, self._clock.monotonic() - patient.born):
                    return
                try:
                    await self._treat(order, patient)
                except JournalFailed as error:
                    _log.error("news not journaled: asking again", order_id=order_id, error=str(error))
                    await self._back_off(patient)
                except Exception:
                    # A defect, or a payload nobody thought of: the order is still looked after.
                    _log.exception("treatment failed", order_id=order_id)
                    await self._back_off(patient)
        finally:
            self._patients.pop(order_id, None)
            self._resolution.forget(order_id)

    async def _treat(self, order: Order, patient: _Patient) -> None:
        """Do the most urgent thing, or wait for news or for the time to ask."""
        session = self._sessions.get(order.venue, order.user_id)
        if session is None or not session.can_be_asked:
            await self._wait(patient, LONGEST_PAUSE)
            return
        try:
            wished = _wished(order) is not None
            await session.budget.wait_open(Priority.CANCEL if wished else Priority.DOUBT)
            if not session.in_known_world:
                await self._worlds.confirm(session)
            await self._treat_with(session, order, patient)
        except CredentialRefused as refusal:
            await self._sessions.stop(session, refusal.code, refusal.message)
        except VenueError as error:
            _log.warning("asking failed", order_id=order.order_id, error=str(error))
            await self._back_off(patient)

    async def _treat_with(self, session: Session, order: Order, patient: _Patient) -> None:
        if order.state is OrderState.SUBMITTING:
            left = DOUBT_AFTER_SECONDS + 1 - (self._clock.monotonic() - patient.born)
            if left > 0:
                await self._wait(patient, left)
                return
            # Its sender is gone (a failed commit, a restart): the answer is lost.
            await self._manager.learn(order.order_id, Doubted(reason="no answer", at=self._clock.now()))
        elif order.state is OrderState.IN_DOUBT:
            if (role := _wished(order)) is not None:
                await self._send_wish(session, order, role)
            pause = await self._resolution.step(session, order)
            await self._wait(patient, pause)
        elif _is_unnamed(order):
            if (role := _wished(order)) is not None:
                await self._send_wish(session, order, role)
            await self._wait(patient, await self._resolution.find(session, order))
        elif (role := _wished(order)) is not None:
            await self._cancel(session, order, role, patient)
        elif _lacks_any(order):
            if not await self._read_trades(session, order):
                # The venue's books lag behind its word: never make up a fill, ask again.
                await self._back_off(patient)
            else:
                patient.pause = FIRST_PAUSE
        elif order.working.is_over and order.working.status is not LegStatus.FILLED and not order.is_over:
            # Ended partly filled: what became of the SELL? (architecture 4)
            await self.ask(session, order)
            await self._back_off(patient)
        else:
            age = self._clock.monotonic() - patient.born
            due = [at for at in sorted({*ASK_AT_SECONDS, *ASK_IF_PLENTY_SECONDS}) if at > age]
            at = due[0] if due else YOUNG_SECONDS
            silent = not await self._wait(patient, at - age)
            if silent and (at in ASK_AT_SECONDS or _has_plenty(session)):
                await self.ask(session, order)

    async def ask(self, session: Session, order: Order, priority: Priority = Priority.DOUBT) -> None:
        """Ask the venue for each leg that is not over, and learn what is new."""
        for leg in order.legs:
            if leg.is_over or (leg.venue_order_id is None and not leg.client_id):
                continue
            fact = await session.account.at(priority).look_up(order, leg.role)
            if fact is None:
                continue
            if (word := matching.unknown_word(fact)) is not None:
                await self._manager.note_unknown(order, word)
            news = matching.report(fact, leg.role)
            if matching.says_more(order, news):
                order = await self._manager.learn(order.order_id, news)
            if leg.role is LegRole.WORKING and fact.status is LegStatus.OPEN and _knows_all(order):
                return  # the other leg waits for this one: it has nothing new to tell

    async def _read_trades(self, session: Session, order: Order) -> bool:
        """Read the trades of legs that lack some; true when there were new ones."""
        news: list[News] = []
        for leg in order.legs:
            if not _lacks_trades(order, leg.role) or leg.venue_order_id is None:
                continue
            for trade in await session.account.trades_of(order.symbol, leg.venue_order_id):
                if trade.key not in leg.trade_keys:
                    news.append(Traded(role=leg.role, trade=trade, at=trade.traded_at))
        session.balances_changed()
        failpoints.hit("learn.before_trades")
        if news:
            await self._manager.learn(order.order_id, *news)
        return bool(news)

    async def _cancel(self, session: Session, order: Order, role: LegRole, patient: _Patient) -> None:
        """Send the wish, then ask: only the venue's word on the leg ends it (architecture 4)."""
        await self._send_wish(session, order, role)
        if await self._wait(patient, 0.05):
            return  # pushed news came first
        await self.ask(session, order)
        latest = self._manager.books.order(order.order_id)
        if latest is None or latest.open_wish(role) is None:
            return
        # A leg that is still open may trade meanwhile: its fills are not kept waiting for its end.
        if _lacks_any(latest):
            await self._read_trades(session, latest)
        await self._back_off(patient)

    async def _send_wish(self, session: Session, order: Order, role: LegRole) -> None:
        try:
            failpoints.hit("cancel.before_send")
            await session.account.cancel(order, role)
            failpoints.hit("cancel.after_send")
            if order.state is OrderState.IN_DOUBT:
                await self._resolution.was_open(order, role)
        except (RateLimited, CredentialRefused):
            raise
        except VenueRefused as refusal:
            _log.info("cancel refused", order_id=order.order_id, role=role, refusal=str(refusal))
        except VenueSilent as silence:
            # Unknown: asking tells, and until it does the wish is sent again.
            _log.warning("cancel unanswered", order_id=order.order_id, role=role, error=str(silence))
            if order.state is OrderState.IN_DOUBT:
                self._resolution.cancel_unanswered(order.order_id)

    async def _back_off(self, patient: _Patient) -> None:
        await self._wait(patient, patient.pause)
        patient.pause = min(LONGEST_PAUSE, patient.pause * 2)

    async def _wait(self, patient: _Patient, seconds: float) -> bool:
        """Wait for news at most so long; true when there was some."""
        try:
            # What is left of a wait may be less than a clock can tell: round and round without an end.
            async with asyncio.timeout(max(LEAST_PAUSE, seconds)):
                await patient.woken.wait()
        except TimeoutError:
            return False
        return True

    def _age(self, order: Order) -> float:
        return max(0.0, (self._clock.now() - order.submitted_at).total_seconds())


def needs_care(order: Order, age_seconds: float) -> bool:
    """Is there anything to do for it before the next sweep?"""
    if order.state in IN_FLIGHT or _is_unnamed(order):
        return True
    if order.state is OrderState.WORKING and (order.working.is_over or age_seconds < YOUNG_SECONDS):
        return True
    return _wished(order) is not None or _lacks_any(order)


def _has_plenty(session: Session) -> bool:
    used, limit = session.budget.used()
    return used <= limit * PLENTY_SHARE


def _is_unnamed(order: Order) -> bool:
    """Does the venue have it, under an id that it has not told yet?"""
    return order.is_alive and order.working.venue_order_id is None and not order.is_over


def _knows_all(order: Order) -> bool:
    """Are the venue's ids of all legs known?"""
    return all(leg.venue_order_id is not None for leg in order.legs)


def _lacks_trades(order: Order, role: LegRole) -> bool:
    """Did the venue report more than the ledger has read?"""
    leg = order.leg(role)
    return leg.reported_quantity > leg.filled_quantity


def _lacks_any(order: Order) -> bool:
    return any(_lacks_trades(order, leg.role) for leg in order.legs)


def _wished(order: Order) -> LegRole | None:
    """A leg with an open wish that can be addressed by an id."""
    for leg in order.legs:
        if order.open_wish(leg.role) is not None and (leg.venue_order_id or leg.client_id):
            return leg.role
    return None
