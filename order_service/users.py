"""What an administrator does with users: store a credential, list, remove.

A credential goes from the request into the vault and from there only into an adapter's account.
"""

from order_service.books import Books
from order_service.credentials import CredentialError, Vault
from order_service.denied import Denied, Kind
from order_service.gate import GatedAccount
from order_service.journal import Journal
from order_service.keeper import Keeper
from order_service.rate_budget import RateBudget
from order_service.sessions import Session, Sessions
from order_service.store import StoredUser
from order_service.transaction import Transaction
from order_service.venues.port import Account, VenuePort
from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.order import UserId
from otopilot.position import User, UserState

_log = log.get("users")


class Users:
    """The users of this service."""

    def __init__(
        self,
        journal: Journal,
        vault: Vault,
        sessions: Sessions,
        keeper: Keeper,
        ports: dict[Venue, VenuePort],
        budgets: dict[Venue, RateBudget],
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._vault = vault
        self._sessions = sessions
        self._keeper = keeper
        self._ports = ports
        self._budgets = budgets
        self._clock = clock

    def open_all(self) -> None:
        """Start a session for every stored user. Raises CredentialError when none can be opened.

        One that alone cannot be opened stays out: that user has no credential, the others trade.
        """
        failures: list[CredentialError] = []
        users = list(self._journal.books.users.values())
        for stored in users:
            try:
                self._open(stored)
            except CredentialError as error:
                failures.append(error)
                _log.error("credential unusable", user=stored.user_id, venue=stored.venue, error=str(error))
        if failures and len(failures) == len(users):
            raise failures[0]

    def _open(self, stored: StoredUser) -> None:
        port = self._ports[stored.venue]
        session = Session(
            stored=stored,
            account=GatedAccount(
                self._account(stored.user_id, stored.venue, stored.sealed),
                self._budgets[stored.venue],
                stored.user_id,
            ),
            port=port,
            budget=self._budgets[stored.venue],
            clock=self._clock,
        )
        if stored.stopped_code:
            session.state = UserState.STOPPED
            session.reason_code, session.reason = stored.stopped_code, stored.stopped_reason
        self._keeper.start(session)

    def _account(self, user_id: UserId, venue: Venue, sealed: bytes) -> Account:
        """Raises CredentialError, also for a kind that the venue does not take."""
        credential = self._vault.open(user_id, venue, sealed)
        try:
            return self._ports[venue].account(user_id, credential)
        except ValueError as error:
            raise CredentialError(str(error)) from None

    async def put(self, user_id: UserId, venue: Venue, kind: str, secret: bytes) -> User:
        """Store a credential, replacing the one there is, and settle that user. Raises Denied."""
        if not user_id or len(user_id) > 64:
            raise Denied(Kind.BAD_ARGUMENT, "BAD_ARGUMENT", "user_id: 1 to 64 characters are needed")
        try:
            sealed = self._vault.seal(user_id, venue, kind, secret)
            self._account(user_id, venue, sealed)
        except CredentialError as error:
            raise Denied(Kind.BAD_ARGUMENT, "BAD_CREDENTIAL", str(error)) from None
        stored = StoredUser(user_id, venue, kind, sealed, self._clock.now(), "", "")
        # What is stored is what runs, whether or not the caller is still there.
        await self._journal.run(lambda tx: tx.set_user(stored), then=lambda _: self._open(stored))
        session = self._sessions.require(venue, user_id)
        await self._keeper.settle([session], 10.0)
        return session.user()

    def list(self) -> list[User]:
        """The users, by venue and id."""
        return [session.user() for session in self._sessions.all()]

    async def remove(self, user_id: UserId, venue: Venue) -> None:
        """Forget a credential; the orders stay in the journal. Raises Denied."""

        def decide(tx: Transaction) -> Session:
            now = self._sessions.require(venue, user_id)
            _refuse_with_open_orders(tx.books, now)
            tx.remove_user(venue, user_id)
            return now

        await self._journal.run(decide, then=self._keeper.end)


def _refuse_with_open_orders(books: Books, session: Session) -> None:
    for order in books.live.values():
        if (order.venue, order.user_id) == session.key:
            raise Denied(
                Kind.PRECONDITION,
                "USER_HAS_OPEN_ORDERS",
                f"user {session.user_id} has orders on {session.venue} that are not settled (such as "
                f"{order.order_id}): nobody could look after them; cancel them first",
                order_id=order.order_id,
            )
