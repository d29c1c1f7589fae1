"""Sweeps an account: every open order, every order since the last sweep, every trade of those that changed.

Before serving, after every gap of a user stream, and on a beat. What is ours is learned; what is not
is counted as foreign and never touched. "Could not be read" is unknown, never zero.
"""

from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from order_service import fingerprint, matching
from order_service.care import Care
from order_service.fee_values import fee_value
from order_service.fingerprint import Fingerprint
from order_service.guard import Claim
from order_service.journal import Journal
from order_service.ledger import FIRST_MOMENT, AccountKey, LedgerRow, window_start
from order_service.order_manager import OrderManager
from order_service.rate_budget import Priority
from order_service.sessions import Session, Sessions
from order_service.store import Cursor
from order_service.transaction import Transaction
from order_service.venues.port import VenueOrder, VenueSilent
from otopilot import failpoints, log
from otopilot.clock import Clock
from otopilot.instrument import Side
from otopilot.money import ZERO
from otopilot.order import (
    IN_FLIGHT,
    LegRole,
    LegStatus,
    News,
    Order,
    OrderId,
    OrderState,
    Trade,
    Traded,
    VenueOrderId,
)

# Histories go by an order's creation: one made before the window may trade inside it.
BEFORE_WINDOW = timedelta(days=1)
OVERLAP = timedelta(seconds=60)
# An order of somebody else's that left the book and is in no history for that long has no trades to count.
SOUGHT_FOR = timedelta(minutes=10)

_log = log.get("reconciliation")


class _Seen(NamedTuple):
    """An order of somebody else's on the book."""

    created_at: datetime
    at: datetime  # of the last sweep that saw it


class Reconciliation:
    """Reads accounts whole and brings the journal to what the venue says."""

    def __init__(
        self, journal: Journal, manager: OrderManager, care: Care, sessions: Sessions, clock: Clock
    ) -> None:
        self._journal = journal
        self._manager = manager
        self._care = care
        self._sessions = sessions
        self._clock = clock
        # Base of each foreign order whose trades are in the ledger; orders out of sight are forgotten.
        self._foreign_read: dict[AccountKey, dict[VenueOrderId, Decimal]] = {}
        # The sweeps of this process read on from here, however old an open foreign order is ...
        self._read_until: dict[AccountKey, Cursor] = {}
        # ... and once more from the creation of one that has left the book since, until history shows it.
        self._foreign_open: dict[AccountKey, dict[VenueOrderId, _Seen]] = {}
        self._held_until: dict[OrderId, float] = {}  # by the monotonic clock: the time of day can be set
        manager.on_change(self._note_hold)

    async def sweep(self, session: Session) -> None:
        """Bring every symbol of the user up to date. Raises VenueError; then nothing is known anew."""
        began = self._clock.monotonic()
        accounts = self._accounts(session)
        if not accounts and not session.tried:
            # Nothing of it would be read, and a credential that is not accepted would pass for ready.
            await session.account.at(Priority.SWEEP).balances()
        for account in accounts:
            self._look_after_the_unsent(account)
            await self._sweep_symbol(session, account)
        session.tried = True
        await self._release_holds(session, began)

    def _look_after_the_unsent(self, account: AccountKey) -> None:
        """A commit that stands although it was told as failed leaves an order that nobody sends."""
        for order in self._journal.books.live_orders(account):
            if order.state is OrderState.SUBMITTING and not self._manager.awaits_answer(order.order_id):
                self._care.look_after(order)

    def _accounts(self, session: Session) -> list[AccountKey]:
        """Every symbol of the user with live orders, in a scope, or swept before."""
        books = self._journal.books
        keys = {key for key, orders in books.by_account.items() if orders}
        keys.update(books.cursors)
        for scope in books.scopes.values():
            keys.update(AccountKey(m.user_id, m.venue, m.symbol) for m in scope.members)
        return sorted(k for k in keys if (k.venue, k.user_id) == session.key)

    def _since(self, account: AccountKey) -> tuple[datetime, datetime]:
        """(from which creation time to read, since when the history will then be whole)."""
        books, now = self._journal.books, self._clock.now()
        needed = now
        for scope in books.scopes.values():
            if any(AccountKey(m.user_id, m.venue, m.symbol) == account for m in scope.members):
                needed = min(needed, window_start(scope, now) or FIRST_MOMENT)
        for cursor in (self._read_until.get(account), books.cursors.get(account)):
            if cursor is not None and cursor.covered_since <= needed:
                return cursor.next_from, cursor.covered_since
        return max(FIRST_MOMENT, needed - BEFORE_WINDOW), needed

    async def _sweep_symbol(self, session: Session, account: AccountKey) -> None:
        # What is read next time is told by the venue's clock, and ours may be ahead of it (reliability 8).
        began = min(self._clock.now(), await session.port.time())
        since, covered = self._since(account)
        instrument = await session.port.instrument(account.symbol)
        session.budget.adopt(session.port.told_limits())
        opened = await session.account.at(Priority.SWEEP).open_orders(account.symbol)
        history = await session.account.at(Priority.SWEEP).order_history(account.symbol, since)
        facts = {fact.venue_order_id: fact for fact in opened}
        for fact in history:
            facts[fact.venue_order_id] = _newer(facts.get(fact.venue_order_id), fact)
        await self._find_the_gone(session, account, facts, began)
        foreign = await self._sort_out(session, account, list(facts.values()))
        rows, read = await self._foreign_rows(session, account, foreign)
        await self._ask_for_the_missing(session, account, facts)
        behind = [fact for fact in foreign if fact.executed_quantity > read[fact.venue_order_id]]
        # Ours are asked for singly; what is open or unread of somebody else's must be in the next history.
        oldest = min(
            (fact.created_at for fact in foreign if fact in behind or not _ended(fact)), default=began
        )
        cursor = Cursor(covered, min(oldest, began - OVERLAP))

        def decide(tx: Transaction) -> None:
            tx.set_base_asset(account.venue, account.symbol, instrument.base_asset)
            for row in rows:
                if tx.books.owner_of(account.venue, account.user_id, row.trade.venue_order_id) is None:
                    tx.add_trade(row)
            self._see_foreign(tx, account, foreign)
            known = tx.books.cursors.get(account)
            if known is None or known.covered_since > covered or account not in tx.books.complete_accounts:
                tx.publish_user(session.user())  # who waits for this history need not wait longer
            tx.set_cursor(account, cursor)

        def then(_: None) -> None:
            self._foreign_read[account] = read
            still_sought = self._foreign_open.get(account, {}).items()
            self._foreign_open[account] = {
                **{place: seen for place, seen in still_sought if place not in facts},
                **{f.venue_order_id: _Seen(f.created_at, began) for f in foreign if not _ended(f)},
            }
            unread = min((fact.created_at for fact in behind), default=began)
            self._read_until[account] = Cursor(covered, min(unread, began - OVERLAP))

        failpoints.hit("sweep.before_commit")
        await self._journal.run(decide, then=then)
        failpoints.hit("sweep.after_commit")
        if behind:
            # Unknown, never zero: nothing is placed until the venue's books have caught up.
            some = ", ".join(fact.venue_order_id for fact in behind[:5])
            message = f"{account.symbol}: trades of orders {some} cannot be read yet"
            raise VenueSilent("trades_behind", message)

    def _see_foreign(self, tx: Transaction, account: AccountKey, foreign: list[VenueOrder]) -> None:
        """Their claims and fingerprints bind our orders as far as they are seen (architecture 5.6, 6)."""
        books = tx.books
        books.fingerprints.forget_expired(tx.now)
        doubtful = [order for order in books.live_orders(account) if order.state in IN_FLIGHT]
        claims = []
        for fact in foreign:
            # What became ours while we read, or is an order in flight, has a claim of its own.
            if matching.owner(books, account.venue, account.user_id, fact) is not None:
                continue
            if any(matching.may_be(order, fact) for order in doubtful):
                continue
            ended = _ended(fact)
            until = (fact.updated_at if ended else tx.now) + fingerprint.MEMORY
            books.fingerprints.take(_print(account, fact), f"foreign:{fact.venue_order_id}", until)
            if not ended:
                claims.append(_claim(account, fact))
        if books.guard.set_foreign((account.venue, account.symbol), account.user_id, claims):
            tx.wake((account.venue, account.symbol))

    async def _sort_out(
        self, session: Session, account: AccountKey, facts: list[VenueOrder]
    ) -> list[VenueOrder]:
        """Learn the facts about our orders; returns the ones that are not ours."""
        books = self._journal.books
        news: dict[OrderId, list[tuple[LegRole, VenueOrder]]] = defaultdict(list)
        foreign = []
        for fact in facts:
            ours = matching.owner(books, account.venue, account.user_id, fact)
            if ours is not None:
                news[ours[0]].append((ours[1], fact))
                continue
            foreign.append(fact)
            if matching.unknown_of_ours(books, account.venue, account.user_id, fact):
                await self._sessions.stop(
                    session,
                    "unknown_own_order",
                    f"{account.symbol} order {fact.venue_order_id} bears our id {fact.client_id}, which the "
                    "journal lacks: was a backup restored? Look at that order at the venue, then store the "
                    "credential again",
                )
        for order_id, items in news.items():
            await self._learn(session, order_id, items)
        return await self._adopt(account, foreign)

    async def _adopt(self, account: AccountKey, foreign: list[VenueOrder]) -> list[VenueOrder]:
        """Learn of the orders in doubt or thought absent that are there; returns what nobody owns then."""
        books = self._journal.books
        proven = {matching.late_proof(books, account, fact): None for fact in foreign}
        for order_id in proven:
            order = books.order(order_id) if order_id is not None else None
            if order is not None and (found := matching.find_by_fingerprint(books, order, foreign)):
                await self._manager.learn(order.order_id, *found)
        return [
            fact for fact in foreign if matching.owner(books, account.venue, account.user_id, fact) is None
        ]

    async def _learn(
        self, session: Session, order_id: OrderId, items: list[tuple[LegRole, VenueOrder]]
    ) -> None:
        order = self._journal.books.order(order_id)
        assert order is not None
        learned: list[News] = []
        for role, fact in items:
            if (word := matching.unknown_word(fact)) is not None:
                await self._manager.note_unknown(order, word)
            news = matching.report(fact, role)
            if matching.says_more(order, news):
                learned.append(news)
            if fact.executed_quantity > order.leg(role).filled_quantity:
                account = session.account.at(Priority.SWEEP)
                for trade in await account.trades_of(order.symbol, fact.venue_order_id):
                    learned.append(Traded(role=role, trade=trade, at=trade.traded_at))
        if learned:
            session.balances_changed()
            await self._manager.learn(order_id, *learned)

    async def _foreign_rows(
        self, session: Session, account: AccountKey, facts: list[VenueOrder]
    ) -> tuple[list[LedgerRow], dict[VenueOrderId, Decimal]]:
        """Trades of orders that are not ours, where some are not known yet; and what is known then."""
        rows: list[LedgerRow] = []
        known = self._foreign_read.get(account, {})
        read: dict[VenueOrderId, Decimal] = {}
        for fact in facts:
            place = fact.venue_order_id
            read[place] = known.get(place, ZERO)
            if fact.executed_quantity > read[place]:
                trades = await session.account.at(Priority.SWEEP).trades_of(account.symbol, place)
                for trade in trades:
                    rows.append(await self._foreign_row(account, trade))
                read[place] = sum((trade.quantity for trade in trades), ZERO)
        return rows, read

    async def _find_the_gone(
        self, session: Session, account: AccountKey, facts: dict[VenueOrderId, VenueOrder], began: datetime
    ) -> None:
        """Add foreign orders that were open at the last sweep and are in neither list now.

        They ended meanwhile, and were made before what is read anew: a longer history shows them.
        """
        known = self._foreign_open.get(account, {})
        gone = {place: seen for place, seen in known.items() if place not in facts}
        if not gone:
            return
        since = min(seen.created_at for seen in gone.values())
        for fact in await session.account.at(Priority.SWEEP).order_history(account.symbol, since):
            facts[fact.venue_order_id] = _newer(facts.get(fact.venue_order_id), fact)
        for place, seen in gone.items():
            if place not in facts and began - seen.at > SOUGHT_FOR:
                _log.warning("foreign order vanished", user=account.user_id, venue_order_id=place)
                del known[place]

    async def _foreign_row(self, account: AccountKey, trade: Trade) -> LedgerRow:
        value = await fee_value(self._sessions, account.venue, account.symbol, trade)
        return LedgerRow(account=account, trade=trade, order_id=None, fee_value=value)

    async def _ask_for_the_missing(
        self, session: Session, account: AccountKey, facts: dict[VenueOrderId, VenueOrder]
    ) -> None:
        """Orders of ours that were on the book and appear in neither list are asked for singly."""
        for order in list(self._journal.books.live_orders(account)):
            for leg in order.legs:
                known = leg.venue_order_id
                if known is not None and not leg.is_over and known not in facts:
                    await self._care.ask(session, order, Priority.SWEEP)
                    break

    def _note_hold(self, order: Order) -> None:
        """An order was proven absent, or is alive after all."""
        if order.order_id not in self._journal.books.held:
            self._held_until.pop(order.order_id, None)
        elif order.order_id not in self._held_until:
            left = self._manager.hold.total_seconds() - self._manager.seconds_since_sent(order.order_id)
            self._held_until[order.order_id] = self._clock.monotonic() + left

    def _hold_ends(self, order_id: OrderId, until: datetime) -> float:
        """When, by the monotonic clock; of a hold that an earlier process began, what is left of it."""
        if order_id not in self._held_until:
            left = min(until - self._clock.now(), self._manager.hold).total_seconds()
            self._held_until[order_id] = self._clock.monotonic() + left
        return self._held_until[order_id]

    async def _release_holds(self, session: Session, began: float) -> None:
        """An absent order's claims go once its hold has passed and a sweep that began later was clean."""
        due = []
        for order_id, until in self._journal.books.held.items():
            order = self._journal.books.live.get(order_id)
            if order is None or (order.venue, order.user_id) != session.key:
                continue
            if self._hold_ends(order_id, until) <= began:
                due.append(order_id)

        def decide(tx: Transaction) -> None:
            for order_id in due:
                order = tx.books.order(order_id)
                if order is not None and order_id in tx.books.held:
                    tx.release_hold(order)

        def then(_: None) -> None:
            for order_id in due:
                self._held_until.pop(order_id, None)

        if due:
            await self._journal.run(decide, then=then)


def _ended(fact: VenueOrder) -> bool:
    """Can nothing more happen to it? A status that we do not know may still be open."""
    return fact.status not in (None, LegStatus.OPEN, LegStatus.PENDING)


def _newer(known: VenueOrder | None, fact: VenueOrder) -> VenueOrder:
    """The later of two sightings of one order: more executed, or changed later."""
    if known is None:
        return fact
    return max(known, fact, key=lambda seen: (seen.executed_quantity, seen.updated_at))


def _print(account: AccountKey, fact: VenueOrder) -> Fingerprint:
    return Fingerprint(
        venue=account.venue,
        symbol=account.symbol,
        user_id=account.user_id,
        side=fact.side,
        price=fact.price,
        quantity=fact.quantity,
        in_list=fact.role is not None,
    )


def _claim(account: AccountKey, fact: VenueOrder) -> Claim:
    buys = fact.side is Side.BUY
    holder = f"foreign:{account.user_id}:{fact.venue_order_id}"
    return Claim(
        holder,
        account.user_id,
        fact.price if buys else None,
        None if buys else fact.price,
        unfilled=fact.quantity - fact.executed_quantity,
        list_id=fact.list_id,
    )
