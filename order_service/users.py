"""What an administrator does with users: store a credential, list, remove.

A credential goes from the request into the vault and from there only into an adapter's account.
"""

from order_service.books import Books
from order_service.credentials import CredentialError, Vault
from order_service.denied import Denied, Kind
from order_service.journal import Journal
from order_service.keeper import Keeper
from order_service.rate_budget import RateBudget
from order_service.sessions import Session, Sessions
from order_service.store import StoredUser
from order_service.transaction import Transaction
from order_service.venues.port import VenuePort
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.order import UserId
from otopilot.position import User, UserState


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
        """Start a session for every stored user."""
        for stored in list(self._journal.books.users.values()):
            self._open(stored)

    def _open(self, stored: StoredUser) -> None:
        port = self._ports[stored.venue]
        credential = self._vault.open(stored.user_id, stored.venue, stored.sealed)
        session = Session(
            stored=stored,
            account=port.account(stored.user_id, credential),
            port=port,
            budget=self._budgets[stored.venue],
            clock=self._clock,
        )
        if stored.stopped_code:
            session.state = UserState.STOPPED
            session.reason_code, session.reason = stored.stopped_code, stored.stopped_reason
        self._keeper.start(session)

    async def put(self, user_id: UserId, venue: Venue, kind: str, secret: bytes) -> User:
        """Store a credential, replacing the one there is, and settle that user. Raises Denied."""
        if not user_id or len(user_id) > 64:
            raise Denied(Kind.BAD_ARGUMENT, "BAD_ARGUMENT", "user_id: 1 to 64 characters are needed")
        try:
            sealed = self._vault.seal(user_id, venue, kind, secret)
        except CredentialError as error:
            raise Denied(Kind.BAD_ARGUMENT, "BAD_CREDENTIAL", str(error)) from None
        stored = StoredUser(user_id, venue, kind, sealed, self._clock.now(), "", "")
        await self._journal.run(lambda tx: tx.set_user(stored))
        if (old := self._sessions.get(venue, user_id)) is not None:
            await self._keeper.end(old)
        self._open(stored)
        session = self._sessions.require(venue, user_id)
        await self._keeper.settle([session], 10.0)
        return session.user()

    def list(self) -> list[User]:
        """The users, by venue and id."""
        return [session.user() for session in self._sessions.all()]

    async def remove(self, user_id: UserId, venue: Venue) -> None:
        """Forget a credential; the orders stay in the journal. Raises Denied."""
        session = self._sessions.require(venue, user_id)

        def decide(tx: Transaction) -> None:
            _refuse_with_open_orders(tx.books, session)
            tx.remove_user(venue, user_id)

        await self._journal.run(decide)
        await self._keeper.end(session)


def _refuse_with_open_orders(books: Books, session: Session) -> None:
    for order in books.live.values():
        if (order.venue, order.user_id) == session.key and not order.is_over:
            raise Denied(
                Kind.PRECONDITION,
                "USER_HAS_OPEN_ORDERS",
                f"user {session.user_id} has open orders on {session.venue} (such as {order.order_id}): "
                "nobody could look after them; cancel them first",
                order_id=order.order_id,
            )
