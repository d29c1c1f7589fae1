"""The users: one session each, with its account at the venue, its condition and what was read of it.

A user's failure is that user's: it becomes a state with a reason code here and touches nobody
else (architecture 7). A stopped user needs a person, but for a key that is not permitted, which is
tried again; storing a credential starts it afresh.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, TypeVar

from order_service.denied import Denied, JournalFailed, Kind
from order_service.gate import GatedAccount
from order_service.journal import Journal
from order_service.rate_budget import Priority, RateBudget
from order_service.store import TESTED_AGAIN, StoredUser
from order_service.transaction import Transaction
from order_service.venues.port import FeeRates, StreamNews, VenuePort
from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.money import ZERO
from otopilot.order import UserId
from otopilot.position import User, UserState

FEES_FOR = 600.0  # seconds
ORDER_LIMITS_FOR = 3_600.0
BALANCES_FOR = 30.0
CHANGED_BALANCES_FOR = 5.0  # what was sent since they were read is reckoned off them meanwhile

# Stopped for what was seen, not for the credential: no placement, and all care for what is there.
LOOKED_AFTER = frozenset({"contradiction", "unknown_own_order", "self_match"})

TEST_AGAIN_SECONDS = 600.0  # after a credential was refused, then twice as long each time
LONGEST_TEST_AGAIN = 6 * 3_600.0

SessionKey = tuple[Venue, UserId]
T = TypeVar("T")
_log = log.get("sessions")


class TestAgain(NamedTuple):
    """When a refused credential is tried next, by the monotonic clock; 0: not planned yet."""

    at: float = 0.0
    pause: float = TEST_AGAIN_SECONDS

    def after(self, now: float) -> "TestAgain":
        """The one after this."""
        return TestAgain(now + self.pause, min(LONGEST_TEST_AGAIN, self.pause * 2))


@dataclass
class Session:
    """One user of one venue while its credential is stored."""

    stored: StoredUser
    account: GatedAccount  # its reads at the priority of orders in doubt
    port: VenuePort
    budget: RateBudget
    clock: Clock
    state: UserState = UserState.SETTLING
    reason_code: str = "settling"
    reason: str = "open orders and history are being read"
    sweep_now: asyncio.Event = field(default_factory=asyncio.Event)
    swept: asyncio.Event = field(default_factory=asyncio.Event)
    # Pushes since the stream came up, until a sweep that began later has joined them; then none.
    held_back: list[StreamNews] | None = field(default_factory=list)
    in_known_world: bool = False  # since its stream last came or went (worlds.py)
    tried: bool = False  # the credential was accepted at least once
    test_again: TestAgain = field(default_factory=TestAgain)
    _fees: dict[str, tuple[float, FeeRates]] = field(default_factory=dict)
    _order_limits: dict[str, tuple[float, Mapping[str, Decimal]]] = field(default_factory=dict)
    _balances: "Funds | None" = None
    _changes: int = 0  # of balances, as far as heard
    _forgotten: int = 0  # balances that proved wrong

    @property
    def user_id(self) -> UserId:
        """Whose."""
        return self.stored.user_id

    @property
    def venue(self) -> Venue:
        """Where."""
        return self.stored.venue

    @property
    def key(self) -> SessionKey:
        """Its place among the sessions."""
        return (self.venue, self.user_id)

    @property
    def can_be_asked(self) -> bool:
        """May its account still be read and its orders cancelled? Not with a refused credential."""
        return self.state is not UserState.STOPPED or self.reason_code in LOOKED_AFTER

    @property
    def awaits_person(self) -> bool:
        """Stopped for what was seen: nobody but a person says that it may go on."""
        return self.state is UserState.STOPPED and self.reason_code in LOOKED_AFTER

    def user(self) -> User:
        """The user as others see it."""
        return User(
            user_id=self.user_id,
            venue=self.venue,
            state=self.state,
            reason_code=self.reason_code,
            reason=self.reason,
            credential_kind=self.stored.kind,
            stored_at=self.stored.stored_at,
        )

    async def fees(self, symbol: str) -> FeeRates:
        """The account's fee rates, at most ten minutes old."""
        return await self._known(self._fees, symbol, FEES_FOR, self._reading.fee_rates)

    async def order_limits(self, symbol: str) -> Mapping[str, Decimal]:
        """What one order may be worth of an asset; at most an hour old."""
        return await self._known(self._order_limits, symbol, ORDER_LIMITS_FOR, self._reading.order_limits)

    def distrust_order_limits(self) -> None:
        """The venue refused an order by its rules: the next placement reads the account's again."""
        self._order_limits.clear()

    @property
    def _reading(self) -> GatedAccount:
        return self.account.at(Priority.PLACE)

    async def _known(
        self,
        kept: dict[str, tuple[float, T]],
        symbol: str,
        seconds: float,
        read: Callable[[str], Awaitable[T]],
    ) -> T:
        """What was read of a symbol, or is read now."""
        now = self.clock.monotonic()
        known = kept.get(symbol)
        if known is None or now - known[0] > seconds:
            await self.budget.wait_open(Priority.PLACE)
            known = kept[symbol] = (now, await read(symbol))
        return known[1]

    def known_fees(self, symbol: str) -> FeeRates | None:
        """The account's fee rates as they were read last; none before the first placement."""
        known = self._fees.get(symbol)
        return None if known is None else known[1]

    async def funds(self, asset: str, *, at_least: Decimal, exact: bool = False) -> "Funds":
        """The balances; read again when they are old or there seems too little of the asset.

        `exact`: also when anything is known to have changed since.
        """
        known = self._balances
        if known is None:
            return await self._read_balances()
        changed, age = known.changes != self._changes, self.clock.monotonic() - known.read
        little = known.free.get(asset, ZERO) < at_least
        old = age > (CHANGED_BALANCES_FOR if changed else BALANCES_FOR)
        if old or (exact and changed) or (little and age > self.budget.limits.balances_every):
            return await self._read_balances()
        return known

    async def _read_balances(self) -> "Funds":
        await self.budget.wait_open(Priority.PLACE)
        changes, forgotten = self._changes, self._forgotten
        read, read_at = self.clock.monotonic(), self.clock.now()
        balances = await self._reading.balances()
        free = {balance.asset: balance.free for balance in balances}
        held = {balance.asset: balance.free + balance.locked for balance in balances}
        found = Funds(free, held, read, read_at, changes)
        # What proved wrong while they were read may be wrong in them, too: they serve this once.
        self._balances = found if self._forgotten == forgotten else None
        return found

    def balances_changed(self) -> None:
        """By orders of ours or by something else: what was read serves a while yet."""
        self._changes += 1

    def forget_balances(self) -> None:
        """They are not what they were reckoned to be: the next placement reads them again."""
        self._balances = None
        self._forgotten += 1


class Funds(NamedTuple):
    """What there was, and when the reading began: by a clock that nobody sets, and by the time of day."""

    free: dict[str, Decimal]
    held: dict[str, Decimal]  # free or locked
    read: float
    read_at: datetime
    changes: int  # that had been heard of by then


class Sessions:
    """The registry of sessions, and the only place where a user is stopped."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._sessions: dict[SessionKey, Session] = {}

    def all(self) -> list[Session]:
        """Every session, by venue and user."""
        return [self._sessions[key] for key in sorted(self._sessions)]

    def put(self, session: Session) -> None:
        """Add a session, or replace the one of that user."""
        self._sessions[session.key] = session

    def drop(self, session: Session) -> None:
        """Remove a session."""
        self._sessions.pop(session.key, None)

    def get(self, venue: Venue, user_id: UserId) -> Session | None:
        """One session."""
        return self._sessions.get((venue, user_id))

    def require(self, venue: Venue, user_id: UserId) -> Session:
        """One session. Raises Denied (UNKNOWN_USER)."""
        session = self._sessions.get((venue, user_id))
        if session is None:
            raise Denied(
                Kind.NOT_FOUND,
                "UNKNOWN_USER",
                f"user {user_id} has no credential for {venue}: add one with "
                f"`otopilot users add {user_id} --venue {venue}`, on paper with --paper",
                user_id=user_id,
            )
        return session

    def require_ready(self, venue: Venue, user_id: UserId) -> Session:
        """A session that may trade. Raises Denied (UNKNOWN_USER, USER_STOPPED, USER_SETTLING)."""
        session = self.require(venue, user_id)
        if session.state is UserState.STOPPED:
            message = f"user {user_id} on {venue} is stopped: {session.reason}"
            raise Denied(Kind.PRECONDITION, "USER_STOPPED", message, reason_code=session.reason_code)
        if session.state is UserState.SETTLING:
            message = f"user {user_id} on {venue} is not settled yet: {session.reason}"
            raise Denied(Kind.UNAVAILABLE, "USER_SETTLING", message, reason_code=session.reason_code)
        return session

    async def set_state(self, session: Session, state: UserState, code: str = "", reason: str = "") -> None:
        """Change a user's condition and tell the watchers; a stop is kept over restarts."""
        if self.get(session.venue, session.user_id) is not session:
            return  # another credential has taken its place: what became of this one says nothing
        kept = (code, reason) if state is UserState.STOPPED else ("", "")
        stored = (session.stored.stopped_code, session.stored.stopped_reason)
        if (session.state, session.reason_code, session.reason, stored) == (state, code, reason, kept):
            return
        session.state, session.reason_code, session.reason = state, code, reason
        if state is UserState.STOPPED:
            _log.error("user stopped", user=session.user_id, venue=session.venue, code=code, reason=reason)

        def decide(tx: Transaction) -> None:
            known = tx.books.users.get(session.key)
            same = known is not None and known.sealed == session.stored.sealed
            if known is not None and same and (known.stopped_code, known.stopped_reason) != kept:
                tx.set_user(replace(known, stopped_code=kept[0], stopped_reason=kept[1]))
            tx.publish_user(session.user())

        def then(_: None) -> None:
            session.stored = self._journal.books.users.get(session.key, session.stored)

        try:
            await self._journal.run(decide, then=then)
        except (JournalFailed, Denied) as error:
            # It holds in this process all the same; the next change of condition writes it.
            _log.error("condition not journaled", user=session.user_id, error=str(error))

    async def stop(self, session: Session, code: str, reason: str) -> None:
        """This user cannot go on, in most cases without a person; nobody else is touched.

        What a person has to look at stays the reason, whatever befalls the credential meanwhile.
        """
        if session.awaits_person and code not in LOOKED_AFTER:
            _log.info("user stopped already", user=session.user_id, venue=session.venue, code=code)
            return
        await self.set_state(session, UserState.STOPPED, code, reason)

    async def try_again(self, session: Session, code: str, reason: str) -> None:
        """The cause of a stop has passed: settle anew, unless the user is stopped for another by now."""
        if session.state is UserState.STOPPED and session.reason_code == code:
            await self.set_state(session, UserState.SETTLING, "settling", reason)
            session.sweep_now.set()

    def bar_all(self, code: str, reason: str) -> list[Session]:
        """Nobody places from this moment on; returns those to `stop`, which keeps it over restarts."""
        barred = [
            session
            for session in self.all()
            if session.state is not UserState.STOPPED or session.reason_code == TESTED_AGAIN
        ]
        for session in barred:
            session.state, session.reason_code, session.reason = UserState.STOPPED, code, reason
        return barred
