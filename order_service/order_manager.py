"""The order service's use cases: place, cancel, learn.

The only caller of `advance()` and the only owner of requests in flight. Knows no venue by name and
no protobuf; the servicer calls it, care.py and reconciliation.py feed it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import msgspec

from order_service import circumstances, matching, placing
from order_service.asking import BEGIN_WITHIN_SECONDS, Ask, Circumstances, Signed
from order_service.books import Books
from order_service.denied import Denied, JournalFailed, Kind
from order_service.fee_values import fee_value, row_of
from order_service.journal import Journal
from order_service.rate_budget import RateBudget
from order_service.sessions import Session, Sessions
from order_service.transaction import Transaction
from order_service.venues.port import (
    SELF_MATCH,
    CredentialRefused,
    VenueError,
    VenueNotReached,
    VenueRefused,
    VenueSilent,
)
from otopilot import failpoints, log
from otopilot.clock import Clock
from otopilot.instrument import Side, Venue
from otopilot.order import (
    IN_FLIGHT,
    Doubted,
    IllegalTransition,
    LegRole,
    News,
    Noted,
    Order,
    OrderId,
    OrderState,
    Refused,
    RejectionKind,
    Report,
    Traded,
    Wished,
    advance,
)
from otopilot.tasks import TaskOwner

ANSWER_WITHIN_SECONDS = 3.0
DOUBT_AFTER_SECONDS = 5.0  # after the signed timestamp
LEARN_AGAIN_SECONDS = 1.0
MOST_NOTED = 1_000
_log = log.get("order_manager")
Changed = Callable[[Order], None]


class OrderManager:
    """Place, cancel, learn."""

    def __init__(
        self,
        journal: Journal,
        sessions: Sessions,
        budgets: dict[Venue, RateBudget],
        clock: Clock,
        tasks: TaskOwner,
        hold: timedelta,
    ) -> None:
        self._journal = journal
        self._sessions = sessions
        self._budgets = budgets
        self._clock = clock
        self._tasks = tasks
        self.hold = hold  # of an absent order's claims, from its sending on
        self._changed: list[Changed] = []
        self.on_unjournaled_cancel: Callable[[OrderId, LegRole, bool], None] = lambda *_: None  # taken?
        self._sending: dict[OrderId, asyncio.Task[None]] = {}
        self._began = clock.monotonic()
        self._signed: dict[OrderId, Signed] = {}  # of orders in flight
        self._noted: OrderedDict[tuple[OrderId, str], None] = OrderedDict()
        journal.on_alarm(self._stop_everybody)

    @property
    def books(self) -> Books:
        """What the journal says."""
        return self._journal.books

    def on_change(self, changed: Changed) -> None:
        """Call this after every committed change of an order."""
        self._changed.append(changed)

    # ------------------------------------------------------------------ place

    async def place(self, ask: Ask) -> Order:
        """Journal, then send once; a repeated request gets the order it made before.

        Answers after at most three seconds with the order in whatever state it is. Raises Denied
        and JournalFailed: then no order exists by this request.
        """
        received = self._clock.monotonic()
        existing = await self._journal.run(lambda tx: placing.find_existing(tx.books, ask))
        if existing is not None:
            return existing
        self._journal.require_space()
        session = self._sessions.require_ready(ask.venue, ask.user_id)
        budget, count = self._budgets[ask.venue], 1 if ask.pending_price is None else 2
        permit = await budget.permit_placement(ask.user_id, count, BEGIN_WITHIN_SECONDS)
        order_id = OrderId(self._clock.new_id())
        try:
            known = await circumstances.read(self._sessions, session, ask, self._clock)
            budget.refuse_if_closed()
            failpoints.hit("place.before_commit")
        except BaseException:  # also when the caller goes: nothing is queued yet
            permit.give_back()
            raise
        try:
            order = await self._journal.run(
                lambda tx: self._decide(tx, ask, session, known, order_id),
                begin_before=received + BEGIN_WITHIN_SECONDS,
                # Not here below: a caller that has gone must not leave a journaled order unsent.
                then=lambda placed: self._begin_sending(session, placed, order_id, ask, known.ahead),
            )
        except (Denied, JournalFailed) as no:
            permit.give_back()
            if isinstance(no, Denied) and no.reason == "DENIED_FILTER":
                session.port.doubt_rules(ask.symbol)
            raise
        if ask.validate_only or order.order_id != order_id:
            permit.give_back()
        sending = self._sending.get(order_id)
        if sending is None:
            return order
        await asyncio.wait((sending,), timeout=received + ANSWER_WITHIN_SECONDS - self._clock.monotonic())
        return await self._as_committed(order)

    async def _as_committed(self, order: Order) -> Order:
        """The order as the disk has it: the books may be ahead of it, and a kill takes that back."""
        try:
            return await self._journal.run(lambda tx: tx.books.order(order.order_id) or order)
        except (JournalFailed, Denied):
            return order  # as it was placed: no failure of this reading says that no order exists

    def _decide(
        self, tx: Transaction, ask: Ask, session: Session, known: Circumstances, order_id: OrderId
    ) -> Order:
        if existing := placing.find_existing(tx.books, ask):
            return existing
        # The user may have been stopped, replaced or removed while the venue was read.
        if self._sessions.require_ready(ask.venue, ask.user_id) is not session:
            message = f"user {ask.user_id} got another credential just now: nothing was placed"
            raise Denied(Kind.UNAVAILABLE, "USER_SETTLING", message)
        return placing.decide(tx, ask, known, order_id, self._clock.now())

    def _begin_sending(
        self, session: Session, order: Order, order_id: OrderId, ask: Ask, ahead: timedelta
    ) -> None:
        """The one place where a send begins: after the commit of an order that this call made."""
        if ask.validate_only or order.order_id != order_id:
            return
        self._signed[order_id] = Signed(self._clock.monotonic(), order.submitted_at + ahead)
        self._sending[order_id] = self._tasks.spawn(self._send(session, order, ask), f"send {order_id}")
        self._tell(order)

    def awaits_answer(self, order_id: OrderId) -> bool:
        """Is its request still under way, or its answer not in the journal yet?"""
        return order_id in self._sending

    def signed(self, order_id: OrderId) -> Signed | None:
        """When it was signed; none when this process did not sign it, or it is in flight no more."""
        return self._signed.get(order_id)

    def seconds_since_sent(self, order_id: OrderId) -> float:
        """For how long, at least, nobody here has sent it: no step of the local clock changes that.

        One that an earlier process signed has been sent by nobody since this one began.
        """
        signed = self._signed.get(order_id)
        return self._clock.monotonic() - (self._began if signed is None else signed.monotonic)

    async def _send(self, session: Session, order: Order, ask: Ask) -> None:
        """Send one journaled order, once, and learn what the venue says (architecture 5.3, 5.4)."""
        try:
            asking = self._tasks.spawn(self._ask_venue(session, order, ask), f"place {order.order_id}")
            done, _ = await asyncio.wait((asking,), timeout=DOUBT_AFTER_SECONDS)
            if not done:
                doubt = Doubted(reason=f"no answer within {DOUBT_AFTER_SECONDS:g} s", at=self._clock.now())
                await self._learn_surely(order.order_id, doubt)
            # A late answer is still worth having.
            await self._learn_surely(order.order_id, *await asking)
            failpoints.hit("place.after_learn")
        finally:
            del self._sending[order.order_id]

    async def _learn_surely(self, order_id: OrderId, *news: News) -> None:
        """An answer comes once: it waits for a journal that cannot be written now."""
        while True:
            try:
                await self.learn(order_id, *news)
            except (JournalFailed, Denied) as error:
                _log.error("answer not journaled yet", order_id=order_id, error=str(error))
                await self._clock.sleep(LEARN_AGAIN_SECONDS)
            else:
                return

    async def _ask_venue(self, session: Session, order: Order, ask: Ask) -> list[News]:
        try:
            failpoints.hit("place.before_send")
            # The machine, or the disk, may have stood still since the decision.
            placing.check_price_age(ask, self._clock.now())
            placed = await session.account.place(order)
            failpoints.hit("place.after_send")
        except Denied as old:
            return [self._refused(RejectionKind.NOT_SENT, VenueNotReached(old.reason, old.message))]
        except VenueNotReached as error:
            return [self._refused(RejectionKind.NOT_SENT, error)]
        except CredentialRefused as error:
            await self._sessions.stop(session, error.code, error.message)
            return [self._refused(RejectionKind.VENUE, error)]
        except VenueRefused as error:
            session.forget_balances()
            if error.code == "filter":
                session.distrust_order_limits()
            return [self._refused(RejectionKind.VENUE, error)]
        except VenueSilent as error:
            return [Doubted(reason=str(error), at=self._clock.now())]
        except Exception as error:
            # A defect of an adapter tells nothing about what the venue did.
            _log.exception("placement raised", order_id=order.order_id)
            return [Doubted(reason=f"{type(error).__name__}: {error}", at=self._clock.now())]
        return matching.reports(placed)

    def _refused(self, kind: RejectionKind, error: VenueError) -> Refused:
        return Refused(kind=kind, code=error.code, message=error.message, at=self._clock.now())

    # ------------------------------------------------------------------ cancel

    async def cancel(
        self, order_id: OrderId, role: LegRole, reason: str, reprice_to: Decimal | None = None
    ) -> Order:
        """Journal the wish that a leg be gone; care.py sends it until the venue's word.

        `reprice_to`: that SELL will be placed again at this price, which it claims from now on
        (architecture 6). Raises Denied (UNKNOWN_ORDER, NO_SUCH_LEG, NOT_A_SELL, ORDER_OVER).
        """
        order = self.books.order(order_id)
        if order is None:
            raise Denied(Kind.NOT_FOUND, "UNKNOWN_ORDER", f"there is no order {order_id}")
        if all(leg.role is not role for leg in order.legs):
            raise Denied(Kind.BAD_ARGUMENT, "NO_SUCH_LEG", f"order {order_id} has no {role} leg")
        if reprice_to is not None and (order.leg(role).side is not Side.SELL or reprice_to <= 0):
            raise Denied(Kind.BAD_ARGUMENT, "NOT_A_SELL", "reprice_to: the positive price of a SELL")
        if order.is_over or order.leg(role).is_over:
            message = f"the {role} leg of order {order_id} has ended already ({order.leg(role).status})"
            raise Denied(Kind.PRECONDITION, "ORDER_OVER", message, state=order.state)
        wish = Wished(role=role, reason=reason, at=self._clock.now(), reprice_to=reprice_to)
        try:
            return await self.learn(order_id, wish)
        except JournalFailed:
            await self._cancel_unjournaled(order, role)
            raise

    async def _cancel_unjournaled(self, order: Order, role: LegRole) -> None:
        """With no journal a cancel is still sent, once: it can only lessen the risk (reliability 38)."""
        session = self._sessions.get(order.venue, order.user_id)
        if session is None:
            return
        taken = False
        try:
            await session.account.cancel(order, role)
            taken = True
        except VenueError as error:
            _log.warning("cancel failed", order_id=order.order_id, role=role, error=str(error))
        finally:
            if order.state in IN_FLIGHT:
                self.on_unjournaled_cancel(order.order_id, role, taken)

    # ------------------------------------------------------------------ learn

    async def learn(self, order_id: OrderId, *news: News) -> Order:
        """Merge news into an order, durably; the only way an order changes. Returns it as it is then.

        News that contradicts what is known is journaled, raised as an alarm and stops that user only.
        """
        values = await self._fee_values(order_id, news)
        before: list[int] = []
        alarms: list[str] = []
        first_fills = 0

        def decide(tx: Transaction) -> Order:
            nonlocal first_fills
            order = tx.books.order(order_id)
            assert order is not None, order_id
            before.append(order.version)
            unfilled = sum(not leg.filled_quantity for leg in order.legs)
            for item in news:
                order = self._apply(tx, order, item, values, alarms)
            first_fills = unfilled - sum(not leg.filled_quantity for leg in order.legs)
            return order

        def then(order: Order) -> None:
            if first_fills:
                self._budgets[order.venue].filled(order.user_id, first_fills)
            for alarm in alarms:
                self._sound(order, alarm)
            if order.version != before[0]:
                self._tell(order)

        return await self._journal.run(decide, then=then)

    async def note_unknown(self, order: Order, word: str) -> None:
        """Journal, once, a word of the venue's that we do not know; the state stays (architecture 4)."""
        key = (order.order_id, word)
        if key in self._noted:
            return
        _log.error("alarm: unknown word of the venue", order_id=order.order_id, word=word)
        await self.learn(order.order_id, Noted(text=f"unknown: {word}", at=self._clock.now()))
        self._remember_noted(order, word)

    def _remember_noted(self, order: Order, text: str) -> None:
        """Sweeps repeat what they see; the journal has it once in a while of this process."""
        self._noted[order.order_id, text] = None
        while len(self._noted) > MOST_NOTED:
            self._noted.popitem(last=False)

    def _sound(self, order: Order, alarm: str) -> None:
        self._remember_noted(order, alarm)
        _log.error("alarm", order_id=order.order_id, user=order.user_id, alarm=alarm)
        session = self._sessions.get(order.venue, order.user_id)
        if session is not None:
            stop = self._sessions.stop(session, "contradiction", alarm)
            self._tasks.spawn(stop, f"stop {order.user_id}")

    def _stop_everybody(self, alarm: str) -> None:
        """The guard failed: nobody trades until a person has looked (architecture 6)."""
        for session in self._sessions.bar_all("self_match", alarm):
            stop = self._sessions.stop(session, "self_match", alarm)
            self._tasks.spawn(stop, f"stop {session.user_id}")

    def _tell(self, order: Order) -> None:
        for changed in self._changed:
            changed(order)
        if order.state not in IN_FLIGHT:
            self._signed.pop(order.order_id, None)

    def _apply(
        self,
        tx: Transaction,
        order: Order,
        item: News,
        values: dict[str, Decimal | None],
        alarms: list[str],
    ) -> Order:
        try:
            matching.check_identity(order, item)
            after = advance(order, item)
        except (IllegalTransition, matching.OtherOrder) as contradiction:
            text = str(contradiction)
            if (order.order_id, text) not in self._noted:
                alarms.append(text)
                noted = Noted(text=text, at=self._clock.now())
                tx.update(order, order, msgspec.json.encode(noted))
            if isinstance(item, Traded):
                # Whoever's it is, the account traded: it counts as a stranger's.
                tx.add_trade(row_of(order, item.trade, None, values))
            return order
        if after == order and not isinstance(item, Noted):
            return order
        if isinstance(item, Traded):
            tx.add_trade(row_of(order, item.trade, order.order_id, values))
        if isinstance(item, Refused) and item.kind is RejectionKind.ABSENT:
            # Absence frees only the slot; reservation and claims stay for a while (architecture 5.5).
            tx.hold(after, order.submitted_at + self.hold)
        tx.update(order, after, msgspec.json.encode(item))
        if isinstance(item, Report) and item.expiry_reason == SELF_MATCH:
            tx.books.guard.counters.expired_in_match += 1
            _log.error("alarm: the venue prevented a self-match", order_id=order.order_id, role=item.role)
        if order.state is OrderState.REJECTED and after.state is not OrderState.REJECTED:
            tx.release_hold(after)
            _log.error("alarm: an absent order is alive", order_id=order.order_id, user=order.user_id)
            if not after.working.is_over:
                wish = Wished(role=LegRole.WORKING, reason="adopted late", at=self._clock.now())
                return self._apply(tx, after, wish, values, alarms)
        return after

    async def _fee_values(self, order_id: OrderId, news: tuple[News, ...]) -> dict[str, Decimal | None]:
        """Each trade's fee in quote; none where the fee's asset has no price."""
        trades = [item.trade for item in news if isinstance(item, Traded)]
        if not trades:
            return {}
        order = self.books.order(order_id)
        assert order is not None
        return {
            trade.key: await fee_value(self._sessions, order.venue, order.symbol, trade) for trade in trades
        }
