"""One batch of changes: applied to the books at once, written as statements, told after the commit.

The only thing that changes the books. A decision raises before it calls anything here.
"""

import sqlite3
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from order_service import records
from order_service.books import Books, account_of
from order_service.feed import FeedItem
from order_service.guard import Market
from order_service.ledger import AccountKey, LedgerRow
from order_service.store import TESTED_AGAIN, Cursor, SqliteStore, Statement, StoredUser
from otopilot import log, money
from otopilot.clock import from_ms, to_ms
from otopilot.instrument import Venue
from otopilot.order import Order, OrderId, TradeKey, UserId
from otopilot.position import User, VolumeScope

_log = log.get("transaction")
_encode = msgspec.json.Encoder().encode


class Transaction:
    """One batch's changes: applied to the books at once, written as statements, told after the commit."""

    def __init__(self, books: Books, now: datetime) -> None:
        self.books = books
        self.now = now
        self.statements: list[Statement] = []
        self.published: list[FeedItem] = []
        self._told: dict[OrderId, int] = {}  # where in it an order is: watchers get what will be on the disk
        self.alarms: list[str] = []  # that stop everybody
        self._began = books.sequence
        self._fresh: dict[tuple[AccountKey, TradeKey], LedgerRow] = {}  # trades as they will be on the disk

    def is_on(self, store: SqliteStore) -> bool:
        """Did the disk get it, whatever was said of its commit? By its last event; in doubt it did not."""
        if self._began == self.books.sequence:
            return False
        try:
            return store.newest_event() == (self.books.sequence, self.books.chain)
        except sqlite3.Error:
            return False

    def write(self, sql: str, *values: Any) -> None:
        """A statement of the commit."""
        self.statements.append((sql, values))

    @property
    def traded(self) -> dict[AccountKey, None]:
        """Whose ledger it changed."""
        return dict.fromkeys(account for account, _ in self._fresh)

    def _put(self, table: str, *values: Any) -> None:
        """A row, in place of the one of the same key."""
        self.write(records.REPLACE[table], *values, records.checksum(table, values))

    def set_meta(self, key: str, value: str) -> None:
        """A value of the meta table."""
        self._put("meta", key, value)

    def publish_user(self, user: User) -> None:
        """Tell watchers of a user."""
        self.published.append(FeedItem(user=user))

    # ------------------------------------------------------------------ orders

    def insert(self, order: Order, request_hash: str) -> None:
        """A new order, SUBMITTING."""
        books, body = self.books, _encode(order)
        books.number += 1
        books.hashes[order.order_id] = request_hash
        books.numbers[order.order_id] = books.number
        books.requests[order.request_id] = order.order_id
        key = (order.strategy_id, account_of(order))
        books.cycles[key] = max(books.cycles.get(key, 0), order.cycle)
        values = self._order_values(order, body)
        self.write(records.INSERT["orders"], *values, records.checksum("orders", values))
        self._event(order, body)
        self._placed(order)

    def update(self, before: Order, after: Order, news: bytes) -> None:
        """The same order, changed by news; refuses a version that is not the next one."""
        current = self.books.order(before.order_id)
        assert current is not None
        assert current.version == before.version
        self._event(after, news)
        if after == before:
            return
        for old, leg in zip(before.legs, after.legs, strict=True):
            if leg.venue_order_id is not None and old.venue_order_id is None:
                self._put("legs", after.venue, after.user_id, leg.venue_order_id, after.order_id, leg.role)
        self._row(after)
        self._placed(after)

    def hold(self, order: Order, until: datetime) -> None:
        """Keep reservation and claims of an absent order for a while (architecture 5.5)."""
        self.books.held[order.order_id] = until

    def release_hold(self, order: Order) -> None:
        """Let go of an absent order's reservation and claims."""
        self.books.held.pop(order.order_id, None)
        self._row(order)
        self._placed(order)

    def _order_values(self, order: Order, body: bytes) -> tuple[Any, ...]:
        """An order's row."""
        request_hash, number = self.books.hash_and_number(order.order_id)
        held = self.books.held.get(order.order_id)
        return (
            order.order_id,
            order.request_id,
            request_hash,
            order.user_id,
            order.venue,
            order.symbol,
            order.strategy_id,
            order.cycle,
            order.state,
            int(held is not None or not order.settled),
            held.isoformat() if held else None,
            to_ms(order.updated_at),
            order.version,
            number,
            body,
        )

    def _row(self, order: Order) -> None:
        values = self._order_values(order, _encode(order))
        state, live, held, updated, version, _, body = values[8:]
        sum_ = records.checksum("orders", values)
        self.write(records.UPDATE_ORDER, state, live, held, updated, version, body, sum_, order.order_id)

    def _event(self, order: Order, body: bytes) -> None:
        books = self.books
        books.sequence += 1
        values = (books.sequence, order.order_id, order.version, body)
        books.chain = records.event_checksum(books.chain, values)
        self.write(records.INSERT["events"], *values, books.chain)

    def _placed(self, order: Order) -> None:
        freer = self.books.place(order)
        woken = self._woken((order.venue, order.symbol)) if freer else ()
        place = self._told.setdefault(order.order_id, len(self.published))
        if place == len(self.published):
            self.published.append(FeedItem(order=order, ask_again=woken))
        else:
            both = dict.fromkeys(self.published[place].ask_again + woken)
            self.published[place] = FeedItem(order=order, ask_again=tuple(both))

    def wake(self, market: Market) -> None:
        """Tell those who were denied by a claim on the market: one became freer."""
        if woken := self._woken(market):
            self.published.append(FeedItem(ask_again=woken))

    def _woken(self, market: Market) -> tuple[UserId, ...]:
        return self.books.guard.to_ask(market, self.now)

    # ------------------------------------------------------------------ ledger

    def add_trade(self, row: LedgerRow) -> bool:
        """A trade into the ledger, once by its key; true when it changed something.

        A trade that was counted as foreign becomes own when its order turns out to be ours.
        """
        books, account, key = self.books, row.account, row.trade.key
        if (other := books.note_trade(row)) is not None:
            # The live audit of the guard: managed orders have matched (reliability I8).
            books.guard.counters.shared_trades += 1
            self._stop_everybody(
                f"trade {key} on {account.symbol} belongs to order {row.trade.venue_order_id} of user "
                f"{account.user_id} and to order {other.trade.venue_order_id} of user {other.account.user_id}"
            )
        known = self._fresh.get((account, key)) or books.store.trade(account, key)
        if known is None:
            self._count(row)
        elif known.order_id is None and row.order_id is not None:
            # What was counted of it stays as it was told first.
            row = msgspec.structs.replace(known, order_id=row.order_id, fee_value=row.fee_value)
            self._put("trades", *records.trade_values(row))
        else:
            if known.order_id is not None:
                # Two orders with one trade: one row, or the whole batch would fail for good.
                _log.error("trade counted already", user=account.user_id, symbol=account.symbol, key=key)
            return False
        self._fresh[account, key] = row
        if row.order_id is not None:
            books.ledger.own(row, books.base_asset(account.venue, account.symbol))
        return True

    def _stop_everybody(self, story: str) -> None:
        """With the trade itself: a kill may come before anybody has heard the alarm, and it sounds once."""
        self.alarms.append(story)
        for user in list(self.books.users.values()):
            if user.stopped_code in ("", TESTED_AGAIN):
                self.set_user(replace(user, stopped_code="self_match", stopped_reason=story))

    def _count(self, row: LedgerRow) -> None:
        account = row.account
        values = records.trade_values(row)
        self.write(records.INSERT["trades"], *values, records.checksum("trades", values))
        (_, side, day), (quantity, quote) = self.books.ledger.count(row)
        self.books.room.volume_changed(account)
        self._put(
            "totals",
            account.venue,
            account.user_id,
            account.symbol,
            side,
            day.isoformat(),
            money.text(quantity),
            money.text(quote),
        )

    # ------------------------------------------------------------------ the rest

    def set_base_asset(self, venue: Venue, symbol: str, asset: str) -> None:
        """Remember a symbol's base asset, for folding trades at a start without the venue."""
        if self.books.base_asset(venue, symbol) != asset:
            self.books.base_assets[venue, symbol] = asset
            self.set_meta(f"base_asset/{venue}/{symbol}", asset)

    def set_scope(self, scope: VolumeScope) -> None:
        """Write a volume scope."""
        self._put("scopes", scope.scope_id, _encode(scope))
        self.books.scopes[scope.scope_id] = scope
        self.books.room.set(scope)
        self.books.watch_since(scope, self._fresh.values())

    def set_cursor(self, account: AccountKey, cursor: Cursor) -> None:
        """How far an account's history was read, to the millisecond that venues count in."""
        cursor = Cursor(from_ms(to_ms(cursor.covered_since)), from_ms(to_ms(cursor.next_from)))
        self.books.cursors[account] = cursor
        self.books.complete_accounts[account] = True
        self._put(
            "cursors",
            account.venue,
            account.user_id,
            account.symbol,
            to_ms(cursor.covered_since),
            to_ms(cursor.next_from),
        )

    def set_user(self, user: StoredUser) -> None:
        """Write a user's row."""
        self.books.users[user.venue, user.user_id] = user
        self._put(
            "users",
            user.user_id,
            user.venue,
            user.kind,
            user.sealed,
            user.stored_at.isoformat(),
            user.stopped_code,
            user.stopped_reason,
        )

    def remove_user(self, venue: Venue, user_id: UserId) -> None:
        """Forget a user's credential, and what was seen of the account's own orders."""
        for market in self.books.guard.forget_foreign(venue, user_id):
            self.wake(market)
        del self.books.users[venue, user_id]
        self.write("DELETE FROM users WHERE venue = ? AND user_id = ?", venue, user_id)
