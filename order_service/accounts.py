"""Volume scopes, positions and the placing right: what a strategy reads and writes beside orders."""

import msgspec

from order_service.books import Books
from order_service.denied import Denied, Kind
from order_service.journal import Journal
from order_service.ledger import AccountKey
from order_service.sessions import Sessions
from order_service.transaction import Transaction
from order_service.venues.port import AssetBalance, CredentialRefused, VenueError
from otopilot import log, money
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.order import ScopeId, StrategyId, UserId
from otopilot.position import Position, ScopeVolume, User, VolumeScope

_log = log.get("accounts")

_PLACES = 18  # of figures that come of a division; the wire takes thirty


class Accounts:
    """Figures of accounts, each answered from the journal after its last commit."""

    def __init__(self, journal: Journal, sessions: Sessions, clock: Clock) -> None:
        self._journal = journal
        self._sessions = sessions
        self._clock = clock

    async def claim(self, owner: str) -> tuple[int, int]:
        """A new owner epoch and the instance epoch; older owners' placements are refused from now on."""

        def decide(tx: Transaction) -> int:
            tx.books.owner_epoch += 1
            tx.set_meta("owner_epoch", str(tx.books.owner_epoch))
            tx.books.owner = owner
            tx.set_meta("owner", owner)
            return tx.books.owner_epoch

        epoch = await self._journal.run(decide)
        _log.info("placing right claimed", owner=owner, owner_epoch=epoch)
        return epoch, self._journal.books.instance_epoch

    async def set_scope(self, scope: VolumeScope, owner_epoch: int) -> ScopeVolume:
        """Write a volume scope. Raises Denied (STALE_OWNER, STALE_REVISION, BAD_ARGUMENT)."""
        if scope.target <= 0:
            raise Denied(Kind.BAD_ARGUMENT, "BAD_ARGUMENT", "target: a positive amount is needed")

        def decide(tx: Transaction) -> ScopeVolume:
            books = tx.books
            if owner_epoch != books.owner_epoch or owner_epoch < 1:
                message = (
                    f"owner epoch {owner_epoch} is not the current one ({books.owner_epoch}): "
                    f"{books.owner or 'nobody'} has the placing right"
                )
                raise Denied(Kind.PRECONDITION, "STALE_OWNER", message, owner=books.owner)
            known = books.scopes.get(scope.scope_id)
            if known is not None and known.revision > scope.revision:
                message = (
                    f"scope {scope.scope_id} is already at revision {known.revision}, not {scope.revision}"
                )
                raise Denied(Kind.PRECONDITION, "STALE_REVISION", message, revision=str(known.revision))
            if known != scope:
                tx.set_scope(scope)
            return books.volume(scope, self._clock.now())

        volume = await self._journal.run(decide)
        self._read_what_is_missing(volume)
        return volume

    def _read_what_is_missing(self, volume: ScopeVolume) -> None:
        """Members whose history does not cover the window are swept at once."""
        incomplete = {member.user_id for member in volume.members if not member.complete}
        for member in volume.scope.members:
            session = self._sessions.get(member.venue, member.user_id)
            if session is not None and member.user_id in incomplete:
                session.sweep_now.set()

    async def volume(self, scope_id: ScopeId) -> ScopeVolume:
        """A scope's figures. Raises Denied (UNKNOWN_SCOPE)."""

        def read(tx: Transaction) -> ScopeVolume:
            scope = tx.books.scopes.get(scope_id)
            if scope is None:
                raise Denied(Kind.NOT_FOUND, "UNKNOWN_SCOPE", f"volume scope {scope_id} has not been set")
            return tx.books.volume(scope, self._clock.now())

        return await self._journal.run(read)

    async def position(self, user_id: UserId, venue: Venue, symbol: str, strategy: StrategyId) -> Position:
        """Where a user stands on a symbol. Raises Denied (UNKNOWN_USER)."""
        session = self._sessions.require(venue, user_id)
        account = AccountKey(user_id, venue, symbol)
        position = await self._journal.run(lambda tx: _position(tx.books, account, strategy, session.user()))
        fees = session.known_fees(symbol)
        return position if fees is None else msgspec.structs.replace(position, buy_fee_rate=fees.buy)

    async def balances(self, user_id: UserId, venue: Venue) -> tuple[AssetBalance, ...]:
        """An account's balances, read now. Raises Denied (UNKNOWN_USER, VENUE_UNREADABLE)."""
        session = self._sessions.require(venue, user_id)
        try:
            return await session.account.balances()
        except CredentialRefused as refusal:
            await self._sessions.stop(session, refusal.code, refusal.message)
            raise Denied(Kind.PRECONDITION, "USER_STOPPED", refusal.message) from refusal
        except VenueError as error:
            raise Denied(Kind.UNAVAILABLE, "VENUE_UNREADABLE", f"{venue}: {error}") from error


def _position(books: Books, account: AccountKey, strategy: StrategyId, user: User) -> Position:
    inventory = books.ledger.inventory(account)
    average = inventory.average_cost
    cycle = books.cycles.get((strategy, account), 0)
    live = [
        order for order in books.live_orders(account) if not order.is_over or order.order_id in books.held
    ]
    return Position(
        user=user,
        last_cycle=cycle,
        cycle_orders=tuple(books.orders_of_cycle(strategy, account, cycle)) if cycle else (),
        open_orders=tuple(live),
        inventory=inventory.held,
        inventory_cost=money.truncate(inventory.cost, _PLACES),
        uncovered=books.uncovered(account),
        average_cost=None if average is None else money.truncate(average, _PLACES),
        realised_cost=money.truncate(inventory.realised_cost, _PLACES),
        cost_complete=inventory.cost_complete,
        bought_quote=inventory.bought_quote,
        sold_quote=inventory.sold_quote,
        open_sells=books.open_sells(account),
    )
