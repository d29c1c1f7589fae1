"""Keeps one user's session alive: its stream, its sweeps, and the news that are pushed.

A push is a hint that moves an order forward at once; the ledger is written from trades that were read.
After every gap of the stream, and on a beat, a sweep reads what was missed.
"""

import asyncio
from collections import OrderedDict
from datetime import timedelta

from order_service import matching
from order_service.denied import Denied, JournalFailed
from order_service.order_manager import OrderManager
from order_service.rate_budget import Priority
from order_service.reconciliation import Reconciliation
from order_service.rota import Rota
from order_service.sessions import Session, SessionKey, Sessions
from order_service.store import TESTED_AGAIN
from order_service.venues.port import (
    BalancePushed,
    CredentialRefused,
    OrderPushed,
    StreamDown,
    StreamNews,
    StreamUp,
    TradePushed,
    VenueError,
    VenueOrder,
)
from order_service.worlds import Worlds
from otopilot import log
from otopilot.clock import Clock
from otopilot.order import News, Order, OrderId, OrderState, Traded, VenueOrderId
from otopilot.position import UserState
from otopilot.tasks import TaskOwner

MOST_UNMATCHED = 1_000
MOST_HELD_BACK = 1_000  # pushes of one user while a sweep runs after its stream came up
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 10.0

_log = log.get("keeper")


class Keeper:
    """Owns the tasks of every session."""

    def __init__(
        self,
        manager: OrderManager,
        reconciliation: Reconciliation,
        sessions: Sessions,
        worlds: Worlds,
        clock: Clock,
        tasks: TaskOwner,
        beat: timedelta,
    ) -> None:
        self._manager = manager
        self._reconciliation = reconciliation
        self._sessions = sessions
        self._worlds = worlds
        self._clock = clock
        self._tasks = tasks
        self._beat = beat
        self.rota = Rota(clock)
        self._running: dict[SessionKey, list[asyncio.Task[None]]] = {}
        # Pushes may come before the answer that tells us the venue's ids (reliability 14).
        self._unmatched: OrderedDict[tuple[SessionKey, VenueOrderId], VenueOrder] = OrderedDict()
        # Heard in this very moment: frames that came together are learned together.
        self._pushed: dict[OrderId, list[News]] = {}
        manager.on_change(self._match_again)
        manager.on_change(self._reckon)

    def start(self, session: Session) -> None:
        """Keep a session from now on, in the place of the one that was kept for the user."""
        for task in self._running.pop(session.key, []):
            task.cancel()
        self._sessions.put(session)
        name = f"{session.venue}/{session.user_id}"
        self._running[session.key] = [
            self._tasks.spawn(self._sweep_forever(session), f"sweeps {name}"),
            self._tasks.spawn(self._stream_forever(session), f"stream {name}"),
        ]

    def end(self, session: Session) -> None:
        """Stop keeping a session."""
        self._sessions.drop(session)
        self.rota.forget(session.key)
        for task in self._running.pop(session.key, []):
            task.cancel()

    async def settle(self, sessions: list[Session], seconds: float) -> None:
        """Sweep now; returns when each of these sessions was swept, or after so long."""
        for session in sessions:
            session.swept.clear()
            session.sweep_now.set()
        waits = [session.swept.wait() for session in sessions]
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*waits)
        except TimeoutError:
            _log.warning("settling took too long", seconds=seconds)

    async def _stream_forever(self, session: Session) -> None:
        while True:
            try:
                await session.account.run_stream(lambda news: self._hear(session, news))
            except Exception:
                # It reconnects by itself after what a venue does to it: this is a defect.
                _log.exception("user stream failed", user=session.user_id, venue=session.venue)
            await self._clock.sleep(LONGEST_PAUSE)

    # ------------------------------------------------------------------ sweeps

    async def _sweep_forever(self, session: Session) -> None:
        pause, asked = FIRST_PAUSE, True
        while True:
            wait = self._beat.total_seconds()
            if session.can_be_asked:
                await session.budget.wait_open(Priority.SWEEP)
                urgent = asked or session.state is UserState.SETTLING
                async with self.rota.turn(session.key, urgent=urgent):
                    read = await self._sweep_once(session)
                wait = wait if read else pause
                pause = FIRST_PAUSE if read else min(LONGEST_PAUSE, pause * 2)
            else:
                session.sweep_now.clear()
                await self._test_again(session)
            session.swept.set()
            try:
                async with asyncio.timeout(wait):
                    await session.sweep_now.wait()
                    asked = True
            except TimeoutError:
                asked = False

    async def _test_again(self, session: Session) -> None:
        """A key that is not permitted may be once more: it may have been trouble of the venue's (10.2).

        Seldom, and more seldom each time: most such keys need a person.
        """
        now = self._clock.monotonic()
        if session.reason_code != TESTED_AGAIN or now < session.test_again.at:
            return
        first = session.test_again.at == 0.0
        session.test_again = session.test_again.after(now)
        if first:
            return  # it has only just been refused
        try:
            await session.account.at(Priority.SWEEP).balances()
        except VenueError as error:
            _log.info("still not permitted", user=session.user_id, venue=session.venue, error=str(error))
        except Exception:
            # A defect, or a payload nobody thought of: the user stays stopped, and is tested again.
            _log.exception("not tested", user=session.user_id, venue=session.venue)
        else:
            reason = "the venue accepts the credential again: open orders and history are being read"
            await self._sessions.try_again(session, TESTED_AGAIN, reason)

    async def _sweep_once(self, session: Session) -> bool:
        """Read the account; what came of it is the session's state. False: try again soon."""
        session.sweep_now.clear()
        held_back = session.held_back
        try:
            await self._worlds.confirm(session)
            await self._reconciliation.sweep(session)
        except CredentialRefused as refusal:
            await self._sessions.stop(session, refusal.code, refusal.message)
        except VenueError as error:
            await self._unread(session, error)
            return False
        except Exception as error:
            # The journal, a defect, a payload nobody thought of: this user waits, its sweeps go on.
            expected = isinstance(error, JournalFailed)
            _log.error("sweep failed", user=session.user_id, error=str(error), exc_info=not expected)
            story = f"{type(error).__name__}: {error}"
            await self._unread(session, VenueError("sweep_failed", story))
            return False
        else:
            self.rota.swept(session.key)
            self._let_go(session, held_back)
            if session.state is UserState.SETTLING:
                await self._sessions.set_state(session, UserState.READY)
        return True

    async def _unread(self, session: Session, error: VenueError) -> None:
        """What cannot be read is unknown: nothing is placed until it can be read again."""
        if session.state is UserState.STOPPED:
            return
        reason = f"{session.venue} could not be read: {error}"
        await self._sessions.set_state(session, UserState.SETTLING, "unread", reason)

    # ------------------------------------------------------------------ pushes

    def _let_go(self, session: Session, held_back: list[StreamNews] | None) -> None:
        """The account was read since the stream came up: what was pushed meanwhile joins it."""
        if held_back is not None and session.held_back is held_back:
            session.held_back = None
            for news in held_back:
                self._hear(session, news)

    def _hear(self, session: Session, news: StreamNews) -> None:
        """Take pushed news; returns at once."""
        if self._sessions.get(session.venue, session.user_id) is not session:
            return
        if session.held_back is not None and isinstance(news, OrderPushed | TradePushed):
            # Nothing is believed before a sweep has shown that this is the world we know.
            if len(session.held_back) < MOST_HELD_BACK:
                session.held_back.append(news)
            else:
                session.sweep_now.set()
            return
        match news:
            case StreamUp():
                session.held_back, session.in_known_world = [], False
                session.sweep_now.set()
            case StreamDown():
                session.in_known_world = False
                _log.warning(
                    "user stream down", user=session.user_id, venue=session.venue, reason=news.reason
                )
            case BalancePushed():
                session.balances_changed()
            case OrderPushed():
                self._take(session, news.order)
            case TradePushed():
                self._take_trade(session, news)

    def _take(self, session: Session, fact: VenueOrder) -> None:
        books = self._manager.books
        ours = matching.owner(books, session.venue, session.user_id, fact)
        if ours is None:
            key = (session.key, fact.venue_order_id)
            self._unmatched[key] = fact
            self._unmatched.move_to_end(key)
            while len(self._unmatched) > MOST_UNMATCHED:
                self._unmatched.popitem(last=False)
            return
        order_id, role = ours
        order = books.order(order_id)
        news = matching.report(fact, role)
        if fact.status is None:
            session.sweep_now.set()
        if order is not None and matching.says_more(order, news):
            self._learn(session, order_id, news)

    def _take_trade(self, session: Session, pushed: TradePushed) -> None:
        """A pushed trade whose key the venue never repeats is a row like one that was read."""
        books = self._manager.books
        ours = books.owner_of(session.venue, session.user_id, pushed.trade.venue_order_id)
        if ours is not None:
            trade = pushed.trade
            self._learn(session, ours[0], Traded(role=ours[1], trade=trade, at=trade.traded_at))

    def _match_again(self, order: Order) -> None:
        """An order's venue ids may just have become known: were there pushes for them?"""
        if not self._unmatched:
            return
        session = self._sessions.get(order.venue, order.user_id)
        for leg in order.legs:
            if session is not None and leg.venue_order_id is not None:
                fact = self._unmatched.pop((session.key, leg.venue_order_id), None)
                if fact is not None:
                    self._take(session, fact)

    def _reckon(self, order: Order) -> None:
        """What an order spent that ended half way is reckoned by nobody any more: balances tell it."""
        if order.is_over and order.state is not OrderState.COMPLETED:
            session = self._sessions.get(order.venue, order.user_id)
            if session is not None:
                session.forget_balances()

    def _learn(self, session: Session, order_id: OrderId, news: News) -> None:
        if order_id not in self._pushed:
            self._tasks.spawn(self._learn_or_sweep(session, order_id), f"learn {order_id}")
            self._pushed[order_id] = []
        self._pushed[order_id].append(news)

    async def _learn_or_sweep(self, session: Session, order_id: OrderId) -> None:
        try:
            await self._manager.learn(order_id, *self._pushed.pop(order_id))
        except (JournalFailed, Denied) as error:
            # A push is only a hint: what could not be journaled is read again.
            _log.error("push not journaled", order_id=order_id, error=str(error))
            session.sweep_now.set()
