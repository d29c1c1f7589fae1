"""What the journal says, in memory: orders, slots, claims, totals, scopes, epochs.

Only a Transaction changes the books, and it writes the same change as statements; after a failed
commit, and at start, they are rebuilt from the disk. Bounded: orders that are settled stay for a
while and are then read from the disk when somebody asks.
"""

import gc
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from order_service import fingerprint
from order_service.fingerprint import Fingerprint, Fingerprints
from order_service.guard import REPRICED_FOR, Guard, claim_of
from order_service.ledger import FIRST_MOMENT, AccountKey, Ledger, LedgerRow, window_start
from order_service.room import NOTHING, Room, reserved_by
from order_service.store import SqliteStore, StoredOrder
from otopilot.clock import to_ms
from otopilot.instrument import Venue
from otopilot.money import ZERO
from otopilot.order import (
    OVER,
    LegRole,
    LegStatus,
    Order,
    OrderId,
    Purpose,
    RequestId,
    StrategyId,
    TradeKey,
    UserId,
    VenueOrderId,
)
from otopilot.position import MemberVolume, ScopeVolume, VolumeScope

RECENT = 5_000
TRADES_REMEMBERED = 50_000

CycleKey = tuple[StrategyId, AccountKey]


class Spending(NamedTuple):
    """What a BUY may take from an account's balance, and since when."""

    symbol: str
    submitted_at: datetime
    quote: Decimal


def account_of(order: Order) -> AccountKey:
    """The account and symbol an order is on."""
    return AccountKey(order.user_id, order.venue, order.symbol)


class Books:
    """The state of the journal. Read it freely inside a decision; change it by Transaction only."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.instance_epoch = store.instance_epoch
        self.guard = Guard()
        self.rebuild()

    def rebuild(self, traded: Collection[AccountKey] | None = None) -> None:
        """Read everything from the disk again; of the ledger, which is long, only those accounts if told."""
        # Nothing of what is made here is garbage, and looking for some takes half of the time.
        looked_for_garbage = gc.isenabled()
        gc.disable()
        try:
            self._read_all(traded)
        finally:
            if looked_for_garbage:
                gc.enable()

    def _read_all(self, traded: Collection[AccountKey] | None) -> None:
        self.live: dict[OrderId, Order] = {}
        self.held: dict[OrderId, datetime] = {}
        self.hashes: dict[OrderId, str] = {}
        self.numbers: dict[OrderId, int] = {}
        self.recent: OrderedDict[OrderId, Order] = OrderedDict()
        self.requests: dict[RequestId, OrderId] = {}
        self.by_account: dict[AccountKey, dict[OrderId, None]] = defaultdict(dict)
        self.spending: dict[tuple[Venue, UserId], dict[OrderId, Spending]] = defaultdict(dict)
        self.buys: dict[AccountKey, dict[OrderId, None]] = defaultdict(dict)
        self.venue_ids: dict[tuple[Venue, UserId, VenueOrderId], tuple[OrderId, LegRole]] = {}
        known, self.guard = self.guard, Guard()
        self.guard.keep_unwritten(known)
        self.fingerprints = Fingerprints()
        self.room = Room()
        self.complete_accounts: dict[AccountKey, bool] = {}  # history read since this process started
        self.base_assets: dict[tuple[Venue, str], str] = {}
        self.owner_epoch = int(self.store.meta("owner_epoch") or 0)
        self.owner = self.store.meta("owner") or ""
        self.number = self.store.newest_number()
        self.sequence, self.chain = self.store.newest_event()
        self.cycles: dict[CycleKey, int] = {}
        for strategy, user, venue, symbol, cycle in self.store.last_cycles():
            key = (StrategyId(strategy), AccountKey(UserId(user), venue, symbol))
            self.cycles[key] = cycle
        self.scopes = {scope.scope_id: scope for scope in self.store.scopes()}
        for scope in self.scopes.values():
            self.room.set(scope)
        self.cursors = dict(self.store.cursors())
        self.users = {(stored.venue, stored.user_id): stored for stored in self.store.users()}
        # Those just ended first: their fingerprints are taken for a while yet.
        for stored_order in self.store.recent_orders(fingerprint.MEMORY // timedelta(milliseconds=1)):
            self._index(stored_order)
        for stored_order in self.store.live_orders():
            self._index(stored_order)
        if traded is None:
            self._rebuild_ledger()
        else:
            self._rebuild_ledgers_of(traded)
        for scope in self.scopes.values():
            self.watch_since(scope)

    def _rebuild_ledger(self) -> None:
        self.ledger = Ledger()
        # Whose trade it was, for those that are in a venue's books twice (bounded, oldest out).
        self.traded_by: OrderedDict[tuple[Venue, str, TradeKey], LedgerRow] = OrderedDict()
        for key, total in self.store.totals():
            self.ledger.set_total(key, total)
        # Trades that are not ours make no inventory: those long gone are not read.
        newest = "SELECT traded_at_ms FROM trades ORDER BY traded_at_ms DESC LIMIT 1 OFFSET ?"
        where = f"order_id IS NOT NULL OR traded_at_ms >= coalesce(({newest}), 0)"
        self._fold(self.store.trades(where, (TRADES_REMEMBERED,)))

    def _rebuild_ledgers_of(self, accounts: Collection[AccountKey]) -> None:
        self.ledger.forget(accounts)
        for place in [place for place, row in self.traded_by.items() if row.account in accounts]:
            del self.traded_by[place]
        for account in accounts:
            where = "venue = ? AND user_id = ? AND symbol = ?"
            values = (account.venue, account.user_id, account.symbol)
            for key, total in self.store.totals(where, values):
                self.ledger.set_total(key, total)
            self._fold(self.store.trades(where, values))

    def _fold(self, rows: Iterable[LedgerRow]) -> None:
        for row in rows:
            self.note_trade(row)
            if row.order_id is not None:
                self.ledger.own(row, self.base_asset(row.account.venue, row.account.symbol))

    def base_asset(self, venue: Venue, symbol: str) -> str:
        """The venue's name of the base asset, from the journal's meta table."""
        known = self.base_assets.get((venue, symbol))
        if known is None:
            known = self.store.meta(f"base_asset/{venue}/{symbol}") or ""
            self.base_assets[venue, symbol] = known
        return known

    def watch_since(self, scope: VolumeScope, fresh: Iterable[LedgerRow] = ()) -> None:
        """Begin a SINCE scope from the rows on disk and those that are about to be there."""
        if scope.since is None:
            return
        rows: dict[tuple[AccountKey, TradeKey], LedgerRow] = {}
        for member in scope.members:
            values = (member.venue, member.user_id, member.symbol, to_ms(scope.since))
            where = "venue = ? AND user_id = ? AND symbol = ? AND traded_at_ms >= ?"
            rows.update((place_of(row), row) for row in self.store.trades(where, values))
        rows.update((place_of(row), row) for row in fresh)
        self.ledger.watch_since(scope, list(rows.values()))

    # ------------------------------------------------------------------ reading

    def order(self, order_id: OrderId) -> Order | None:
        """One order, from memory or from the disk."""
        known = self.live.get(order_id) or self.recent.get(order_id)
        if known is None:
            stored = self.store.order(order_id)
            return stored.order if stored else None
        return known

    def order_of_request(self, request_id: RequestId) -> tuple[Order, str] | None:
        """The order a request made, and the hash of what was asked."""
        order_id = self.requests.get(request_id)
        if order_id is not None:
            order = self.order(order_id)
            assert order is not None
            return order, self.hashes[order_id]
        stored = self.store.order_of_request(request_id)
        return (stored.order, stored.request_hash) if stored else None

    def hash_and_number(self, order_id: OrderId) -> tuple[str, int]:
        """What never changes of an order's row and is not in the order."""
        if order_id in self.hashes:
            return self.hashes[order_id], self.numbers[order_id]
        stored = self.store.order(order_id)
        assert stored is not None
        return stored.request_hash, stored.number

    def is_foreign(self, account: AccountKey, key: TradeKey) -> bool:
        """Is the trade in the ledger as one that is not of our orders?"""
        row = self.store.trade(account, key)
        return row is not None and row.order_id is None

    def owner_of(
        self, venue: Venue, user_id: UserId, venue_order_id: VenueOrderId
    ) -> tuple[OrderId, LegRole] | None:
        """Whose leg a venue's order id is; none for an order that is not ours."""
        known = self.venue_ids.get((venue, user_id, venue_order_id))
        return known or self.store.leg_owner(venue, user_id, venue_order_id)

    def slot(self, account: AccountKey) -> OrderId | None:
        """The order whose BUY has not ended: one at most is placed, a late proof of life may add one."""
        return next(iter(self.buys.get(account, ())), None)

    def live_orders(self, account: AccountKey) -> Iterator[Order]:
        """The account's orders on the symbol that are not settled or are held, oldest first."""
        for order_id in self.by_account.get(account, ()):
            yield self.live[order_id]

    def orders_of_cycle(self, strategy: StrategyId, account: AccountKey, cycle: int) -> list[Order]:
        """A cycle's orders, oldest first."""
        stored = self.store.orders_of_cycle(strategy, account, cycle)
        return [self.live.get(order.order_id, order) for order in stored]

    def uncovered(self, account: AccountKey) -> Decimal:
        """Own base that no SELL covers: pending, submitting, in doubt, on the book or held."""
        covered, base_asset = ZERO, self.base_asset(account.venue, account.symbol)
        for order in self.live_orders(account):
            sell = order.sell
            if sell is None or (order.rejection is not None and order.order_id not in self.held):
                continue
            if order.buy is None or sell.status is LegStatus.OPEN:
                # On the book it takes all of its size, also where the fee came from other free base (OPO).
                covered += sell.unfilled
                continue
            # A SELL that is not released covers only what its own BUY brought in so far.
            fees = (fee.amount for fee in order.buy.fees if fee.asset == base_asset)
            received = order.buy.filled_quantity - sum(fees, ZERO)
            covered += max(ZERO, min(sell.unfilled, received - sell.filled_quantity))
        return max(ZERO, self.ledger.inventory(account).held - covered)

    def open_sells(self, account: AccountKey) -> int:
        """SELLs of the account that rest or may come to rest, foreign ones included."""
        own = sum(
            1
            for order in self.live_orders(account)
            if order.sell is not None and not order.is_over and not order.sell.is_over
        )
        return own + self.guard.foreign_sells((account.venue, account.symbol), account.user_id)

    def volume(self, scope: VolumeScope, now: datetime) -> ScopeVolume:
        """A scope's figures."""
        members = tuple(
            MemberVolume(
                user_id=member.user_id,
                counted=self.ledger.counted(scope, member, now),
                complete=self.is_complete(
                    scope, AccountKey(member.user_id, member.venue, member.symbol), now
                ),
            )
            for member in scope.members
        )
        return ScopeVolume(
            scope=scope,
            counted=sum((member.counted for member in members), ZERO),
            reserved=self.room.reserved(scope.scope_id),
            complete=all(member.complete for member in members),
            members=members,
            window_start=window_start(scope, now),
        )

    def is_complete(self, scope: VolumeScope, account: AccountKey, now: datetime) -> bool:
        """Was a member's history read over the scope's whole window, and since this start?"""
        cursor = self.cursors.get(account)
        if cursor is None or not self.complete_accounts.get(account):
            return False
        return cursor.covered_since <= (window_start(scope, now) or FIRST_MOMENT)

    # ------------------------------------------------------------------ indexing

    def _index(self, stored: StoredOrder) -> None:
        order = stored.order
        if stored.held_until is not None:
            self.held[order.order_id] = stored.held_until
        self.hashes[order.order_id] = stored.request_hash
        self.numbers[order.order_id] = stored.number
        self.requests[order.request_id] = order.order_id
        self.place(order)

    def place(self, order: Order) -> bool:
        """Put an order where its state says; true when a guard claim became freer."""
        order_id, account = order.order_id, account_of(order)
        state, buy = order.state, order.buy
        held, over = order_id in self.held, state in OVER
        is_live = held or not over or not order.settled
        reserves = is_live and (order.rejection is None or held)
        self.room.order_changed(account, order_id, reserved_by(order) if reserves else NOTHING)
        spending = self.spending[order.venue, order.user_id]
        if is_live and buy is not None and order.rejection is None:
            spending[order_id] = Spending(order.symbol, order.submitted_at, buy.quantity * buy.price)
        else:
            spending.pop(order_id, None)
        if is_live:
            self.live[order_id] = order
            self.by_account[account][order_id] = None
            self.recent.pop(order_id, None)
        else:
            self.live.pop(order_id, None)
            self.by_account[account].pop(order_id, None)
            self._remember(order)
        for leg in order.legs:
            if leg.venue_order_id is not None:
                self.venue_ids[order.venue, order.user_id, leg.venue_order_id] = (order_id, leg.role)
        if buy is not None and not over and not buy.is_over:
            self.buys[account][order_id] = None
        else:
            self.buys[account].pop(order_id, None)
        if not order.working.client_id:
            until = order.updated_at + fingerprint.MEMORY if over and not held else None
            self.fingerprints.take(print_of(order), order_id, until)
        self._claim_repricing(order)
        return self.guard.set((order.venue, order.symbol), order_id, claim_of(order, held))

    def _claim_repricing(self, order: Order) -> None:
        """A SELL on its way to another price bars that price, until it is there (architecture 6)."""
        market = (order.venue, order.symbol)
        if order.purpose is Purpose.REPRICE and order.rejection is None:
            self.guard.take_over(market, order.user_id)
        if not order.wishes:
            return
        sell = order.sell
        wish = next((wish for wish in order.wishes if wish.reprice_to is not None), None)
        if wish is None or wish.reprice_to is None or sell is None:
            return
        back = any(
            known.purpose is Purpose.REPRICE and known.submitted_at >= wish.wished_at
            for known in self.live_orders(account_of(order))
        )
        if back or order.rejection is not None or sell.status is LegStatus.FILLED:
            self.guard.end_repricing(market, order.order_id)
            return
        until = order.updated_at + REPRICED_FOR if order.is_over else None
        self.guard.reprice(market, order.order_id, order.user_id, wish.reprice_to, until)

    def note_trade(self, row: LedgerRow) -> LedgerRow | None:
        """Remember whose trade it is; returns another order's that was known under the same key."""
        place = (row.account.venue, row.account.symbol, row.trade.key)
        known = self.traded_by.setdefault(place, row)
        while len(self.traded_by) > TRADES_REMEMBERED:
            self.traded_by.popitem(last=False)
        other = (known.account, known.trade.venue_order_id) != (row.account, row.trade.venue_order_id)
        return known if other else None

    def _remember(self, order: Order) -> None:
        self.recent[order.order_id] = order
        self.recent.move_to_end(order.order_id)
        while len(self.recent) > RECENT:
            old_id, old = self.recent.popitem(last=False)
            self.requests.pop(old.request_id, None)
            self.hashes.pop(old_id, None)
            self.numbers.pop(old_id, None)
            for leg in old.legs:
                if leg.venue_order_id is not None:
                    self.venue_ids.pop((old.venue, old.user_id, leg.venue_order_id), None)


def place_of(row: LedgerRow) -> tuple[AccountKey, TradeKey]:
    """What the ledger has once of a trade."""
    return row.account, row.trade.key


def print_of(order: Order) -> Fingerprint:
    """The fingerprint of an order's working leg, as applied."""
    leg = order.working
    return Fingerprint(
        venue=order.venue,
        symbol=order.symbol,
        user_id=order.user_id,
        side=leg.side,
        price=leg.price,
        quantity=leg.quantity,
        in_list=order.pending is not None,
    )
