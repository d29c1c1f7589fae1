"""The order service's core put together over fake venues, on virtual time and a real journal file."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from order_service.__main__ import recover
from order_service.accounts import Accounts
from order_service.bans import Bans
from order_service.books import Books
from order_service.care import Care
from order_service.credentials import Vault
from order_service.denied import JournalFailed
from order_service.feed import Feed
from order_service.journal import Journal
from order_service.keeper import Keeper
from order_service.ledger import AccountKey
from order_service.order_manager import OrderManager
from order_service.placing import Ask
from order_service.rate_budget import RateBudget
from order_service.reconciliation import Reconciliation
from order_service.resolution import ProofRules, Resolution
from order_service.sessions import Session, Sessions
from order_service.store import SqliteStore, Statement
from order_service.users import Users
from order_service.venues.port import Limits
from order_service.worlds import Worlds
from otopilot.clock import Clock
from otopilot.instrument import Side, Venue
from otopilot.order import Order, OrderId, Purpose, RejectionKind, RequestId, ScopeId, StrategyId, UserId
from otopilot.position import ScopeMember, ScopeVolume, VolumeScope
from otopilot.tasks import TaskOwner
from tests.order_service.fakes import FakeAccount, FakeVenue
from tests.order_service.row import KOGE
from tests.virtual_loop import VirtualClock

RULES = ProofRules(
    recv_window=2.0, absence_margin=15.0, fingerprint_wait=12.0, fingerprint_gap=3.0, fingerprint_proof=True
)
SECRETS = {
    Venue.ALPHA: ("session", b'{"headers": {"cookie": "a=b", "csrftoken": "c"}}'),
    Venue.SPOT: ("hmac", b'{"api_key": "k", "secret": "s"}'),
}
HOLD = 120.0
BEAT = 10.0


class FailingStore(SqliteStore):
    """A disk that fails so many commits, and takes so long for each."""

    failures = 0
    seconds = 0.0

    async def commit(self, statements: Sequence[Statement]) -> None:
        """Fail, or do it."""
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self.failures:
            self.failures -= 1
            raise JournalFailed("disk full")
        await super().commit(statements)


class Desk:
    """`async with Desk(path, venue) as desk:` is one run of the service; a second one is a restart."""

    def __init__(
        self,
        path: Path,
        *venues: FakeVenue,
        rules: ProofRules = RULES,
        inline: bool = True,
        clock: Clock | None = None,
        limits: Limits | None = None,
        beat: float = BEAT,
    ) -> None:
        self._limits = limits
        self._beat = timedelta(seconds=beat)
        self.clock = clock or venues[0].clock
        self._path = path
        self._rules = rules
        self._inline = inline
        self.ports = {venue.venue: venue for venue in venues}
        self.venue = venues[0]
        self._stack = AsyncExitStack()
        self.epoch = 0
        self._requests = 0

    async def __aenter__(self) -> "Desk":
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _open(self) -> None:
        clock, stack = self.clock, self._stack
        self.store = FailingStore(self._path, inline=self._inline)
        stack.callback(self.store.close)
        self.feed = Feed(self.store.instance_epoch)
        self.journal = Journal(self.store, clock, self.feed)
        self.tasks = await stack.enter_async_context(TaskOwner("desk"))
        self.tasks.spawn(self.journal.write_forever(), "writer")
        self.budgets = {venue: RateBudget(venue, clock, self._limits) for venue in self.ports}
        budgets = self.budgets
        Bans(self.journal, clock, self.tasks).keep(budgets)
        self.sessions = Sessions(self.journal)
        hold = timedelta(seconds=HOLD)
        self.manager = OrderManager(self.journal, self.sessions, budgets, clock, self.tasks, hold)
        self.resolution = Resolution(self.manager, clock, self._rules)
        worlds = Worlds(self.journal, self.sessions)
        self.care = Care(self.manager, self.sessions, self.resolution, worlds, clock, self.tasks)
        self.reconciliation = Reconciliation(self.journal, self.manager, self.care, self.sessions, clock)
        self.keeper = Keeper(
            self.manager, self.reconciliation, self.sessions, worlds, clock, self.tasks, self._beat
        )
        vault = Vault(bytes(32))
        self.users = Users(self.journal, vault, self.sessions, self.keeper, dict(self.ports), budgets, clock)
        self.accounts = Accounts(self.journal, self.sessions, clock)
        await recover(self.journal, self.manager, clock, self._rules.recv_window)
        self.users.open_all()
        for order in list(self.journal.books.live.values()):
            self.care.look_after(order)
        self.epoch, _ = await self.accounts.claim("test")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # ------------------------------------------------------------------ doing

    async def add(self, *users: str, target: str = "100000") -> None:
        """Store credentials and set one scope over all of them."""
        for user in users:
            kind, secret = SECRETS[self.venue.venue]
            await self.users.put(UserId(user), self.venue.venue, kind, secret)
        await self.scope(target, *users)
        await self.settle()

    async def scope(self, target: str, *users: str, symbol: str = KOGE, **fields: Any) -> ScopeVolume:
        """Write the scope "s"."""
        members = tuple(ScopeMember(UserId(user), self.venue.venue, symbol) for user in users)
        scope = VolumeScope(scope_id=ScopeId("s"), members=members, target=Decimal(target), **fields)
        return await self.accounts.set_scope(scope, self.epoch)

    async def settle(self) -> None:
        """Sweep everybody twice."""
        for _ in range(2):
            await self.keeper.settle(self.sessions.all(), 60.0)

    def ask(self, user: str = "1", **changes: Any) -> Ask:
        """An OTO of 0.5 KOGE, 48.00 to buy and 48.50 to sell."""
        self._requests += 1
        ask = Ask(
            request_id=RequestId(f"r{self.epoch}/{self._requests}"),
            owner_epoch=self.epoch,
            user_id=UserId(user),
            venue=self.venue.venue,
            symbol=KOGE,
            strategy_id=StrategyId("st"),
            cycle=1,
            try_number=0,
            step=0,
            scope_id=ScopeId("s"),
            purpose=Purpose.OTO,
            side=Side.BUY,
            quantity=Decimal("0.5"),
            price=Decimal("48.00"),
            limit_price=None,
            pending_price=Decimal("48.50"),
            price_confirmed_at=self.clock.now(),
        )
        return msgspec.structs.replace(ask, **changes)

    def sell_ask(self, user: str = "1", **changes: Any) -> Ask:
        """A single SELL, 0.2 at 48.60."""
        fields: dict[str, Any] = {
            "side": Side.SELL,
            "pending_price": None,
            "scope_id": None,
            "purpose": Purpose.RESIDUAL,
            "quantity": Decimal("0.2"),
            "price": Decimal("48.60"),
        }
        return self.ask(user, **(fields | changes))

    async def place(self, user: str = "1", **changes: Any) -> Order:
        """Place an OTO."""
        return await self.manager.place(self.ask(user, **changes))

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await self.clock.sleep(seconds)

    # ------------------------------------------------------------------ seeing

    def account(self, user: str = "1") -> FakeAccount:
        """The venue's side of a user."""
        return self.venue.accounts[user]

    def session(self, user: str = "1") -> Session:
        """Our side of a user."""
        session = self.sessions.get(self.venue.venue, UserId(user))
        assert session is not None
        return session

    def order(self, order: Order | str) -> Order:
        """The order as it is now."""
        order_id = order if isinstance(order, str) else order.order_id
        found = self.journal.books.order(OrderId(order_id))
        assert found is not None
        return found

    def key(self, user: str = "1") -> AccountKey:
        """The account and symbol of a user."""
        return AccountKey(UserId(user), self.venue.venue, KOGE)


def alpha_venue() -> FakeVenue:
    """A fresh Alpha on a fresh virtual clock."""
    return FakeVenue(VirtualClock(), Venue.ALPHA)


def spot_venue() -> FakeVenue:
    """A fresh Spot on a fresh virtual clock."""
    return FakeVenue(VirtualClock(), Venue.SPOT)


def picture(books: Books) -> dict[str, Any]:
    """Everything of the books that a restart must bring back."""
    accounts = sorted(books.by_account)
    claims = {
        (market, who): claim
        for market, held in sorted(books.guard._claims.items())
        for who, claim in sorted(held.items())
        if not who.startswith("foreign:")
    }
    return {
        "live": dict(sorted(books.live.items())),
        "held": dict(sorted(books.held.items())),
        "slots": {account: books.slot(account) for account in accounts},
        "claims": claims,
        "totals": dict(books.ledger._totals),
        "inventory": {account: books.ledger.inventory(account) for account in accounts},
        "uncovered": {account: books.uncovered(account) for account in accounts},
        "foreign": list(books.store.trades("order_id IS NULL", ())),
        "scopes": dict(books.scopes),
        "cursors": dict(books.cursors),
        "users": dict(books.users),
        "owner": books.owner_epoch,
        "cycles": dict(books.cycles),
        "sequence": books.sequence,
        "number": books.number,
    }


def events_of(store: SqliteStore, order_id: str) -> list[bytes]:
    """An order's events, oldest first: the order as it was placed, then news."""
    sql = "SELECT body FROM events WHERE order_id = ? ORDER BY sequence"
    return [body for (body,) in store._read.execute(sql, (order_id,))]


def absent(order: Order) -> bool:
    """Was it rejected as proven absent?"""
    return order.rejection is not None and order.rejection.kind is RejectionKind.ABSENT
