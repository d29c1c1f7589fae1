"""The journal's disk: one SQLite file, its schema, and the reads that the writer needs.

Amounts are text, never summed by SQL. WAL with synchronous=FULL: what was committed survives
the machine. Nothing here decides anything.
"""

import asyncio
import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from order_service.denied import JournalFailed
from order_service.ledger import AccountKey, LedgerRow, TotalKey
from otopilot import failpoints, money
from otopilot.clock import from_ms, to_ms
from otopilot.instrument import Side, Venue
from otopilot.order import (
    Fee,
    LegRole,
    Order,
    OrderId,
    RequestId,
    Trade,
    TradeKey,
    UserId,
    VenueOrderId,
)
from otopilot.position import VolumeScope
from otopilot.rpc import RefuseStart

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE orders (
    order_id TEXT PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, request_hash TEXT NOT NULL,
    user_id TEXT NOT NULL, venue TEXT NOT NULL, symbol TEXT NOT NULL, strategy_id TEXT NOT NULL,
    cycle INTEGER NOT NULL, state TEXT NOT NULL, live INTEGER NOT NULL, held_until TEXT,
    updated_ms INTEGER NOT NULL, version INTEGER NOT NULL, number INTEGER NOT NULL UNIQUE,
    body BLOB NOT NULL);
CREATE INDEX orders_live ON orders (live) WHERE live = 1;
CREATE INDEX orders_updated ON orders (updated_ms);
CREATE INDEX orders_cycle ON orders (strategy_id, user_id, venue, symbol, cycle);
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY, order_id TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX events_order ON events (order_id, sequence);
CREATE TABLE legs (
    venue TEXT NOT NULL, user_id TEXT NOT NULL, venue_order_id TEXT NOT NULL, order_id TEXT NOT NULL,
    role TEXT NOT NULL, PRIMARY KEY (venue, user_id, venue_order_id)) WITHOUT ROWID;
CREATE TABLE trades (
    venue TEXT NOT NULL, user_id TEXT NOT NULL, symbol TEXT NOT NULL, trade_key TEXT NOT NULL,
    order_id TEXT, side TEXT NOT NULL, price TEXT NOT NULL, quantity TEXT NOT NULL, quote TEXT NOT NULL,
    fee TEXT NOT NULL, fee_asset TEXT NOT NULL, fee_value TEXT, traded_at_ms INTEGER NOT NULL,
    venue_order_id TEXT NOT NULL, PRIMARY KEY (venue, user_id, symbol, trade_key)) WITHOUT ROWID;
CREATE INDEX trades_time ON trades (venue, user_id, symbol, traded_at_ms);
CREATE TABLE totals (
    venue TEXT NOT NULL, user_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
    day TEXT NOT NULL, quantity TEXT NOT NULL, quote TEXT NOT NULL,
    PRIMARY KEY (venue, user_id, symbol, side, day)) WITHOUT ROWID;
CREATE TABLE scopes (scope_id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE users (
    user_id TEXT NOT NULL, venue TEXT NOT NULL, kind TEXT NOT NULL, sealed BLOB NOT NULL,
    stored_at TEXT NOT NULL, stopped_code TEXT NOT NULL DEFAULT '', stopped_reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (user_id, venue));
CREATE TABLE cursors (
    venue TEXT NOT NULL, user_id TEXT NOT NULL, symbol TEXT NOT NULL, covered_since_ms INTEGER NOT NULL,
    next_from_ms INTEGER NOT NULL, PRIMARY KEY (venue, user_id, symbol)) WITHOUT ROWID;
"""

Statement = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class StoredOrder:
    """An order as its row holds it."""

    order: Order
    request_hash: str
    held_until: datetime | None


@dataclass(frozen=True)
class StoredUser:
    """A user's row; the credential is sealed."""

    user_id: UserId
    venue: Venue
    kind: str
    sealed: bytes
    stored_at: datetime
    stopped_code: str
    stopped_reason: str


@dataclass(frozen=True)
class Cursor:
    """How far an account's history of a symbol was read."""

    covered_since: datetime
    next_from: datetime  # creation time from which the next sweep must read orders


class SqliteStore:
    """One open journal file. Opening takes its lock; a second process is refused."""

    def __init__(self, path: Path, *, inline: bool = False) -> None:
        """`inline` commits in the calling thread (simulation); otherwise in one thread of its own."""
        self._lock = _take_lock(path)
        try:
            self._write = _open(path)
        except RefuseStart:
            self._lock.close()
            raise
        self._read = sqlite3.connect(path, isolation_level=None)
        self.instance_epoch = self._mint_epoch()
        self._pool = None if inline else ThreadPoolExecutor(1, thread_name_prefix="journal")

    async def commit(self, statements: Sequence[Statement]) -> None:
        """All or nothing, durable when it returns. Raises JournalFailed."""
        if self._pool is None:
            self._commit(statements)
        else:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._commit, statements)

    def _commit(self, statements: Sequence[Statement]) -> None:
        try:
            self._write.execute("BEGIN IMMEDIATE")
            self._refuse_other_instance()
            for sql, values in statements:
                self._write.execute(sql, values)
            failpoints.hit("journal.before_commit")
            self._write.execute("COMMIT")
            failpoints.hit("journal.after_commit")
        except JournalFailed:
            self._write.execute("ROLLBACK")
            raise
        except Exception as error:  # of sqlite3, or of a value that it cannot take
            if self._write.in_transaction:
                self._write.execute("ROLLBACK")
            raise JournalFailed(f"the journal could not be written: {error}") from error

    def _mint_epoch(self) -> int:
        """Every write from now on is of this instance; a later one makes this one's writes fail."""
        epoch = int(self.meta("instance_epoch") or 0) + 1
        self._write.execute("INSERT OR REPLACE INTO meta VALUES ('instance_epoch', ?)", (str(epoch),))
        return epoch

    def _refuse_other_instance(self) -> None:
        """The lock keeps a second instance out; a zombie of an old one is caught here (architecture 11)."""
        row = self._write.execute("SELECT value FROM meta WHERE key = 'instance_epoch'").fetchone()
        if row is None or int(row[0]) != self.instance_epoch:
            raise JournalFailed("another instance has taken over this journal: nothing is written any more")

    def close(self) -> None:
        """Close the file and give up its lock."""
        if self._pool is not None:
            self._pool.shutdown()
        self._read.close()
        self._write.close()
        self._lock.close()

    # ------------------------------------------------------------------ reads

    def meta(self, key: str) -> str | None:
        """A value of the meta table."""
        row = self._read.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def live_orders(self) -> Iterator[StoredOrder]:
        """Orders that are not settled or are held, oldest first."""
        return map(_stored, self._read.execute(f"{_ORDER} WHERE live = 1 ORDER BY number"))

    def recent_orders(self, milliseconds: int) -> Iterator[StoredOrder]:
        """Settled orders that changed so long before the newest change, or later; oldest first."""
        newest = "(SELECT max(updated_ms) FROM orders)"
        where = f"WHERE live = 0 AND updated_ms >= {newest} - ? ORDER BY number"
        return map(_stored, self._read.execute(f"{_ORDER} {where}", (milliseconds,)))

    def has_trade(self, account: AccountKey, key: TradeKey) -> bool:
        """Is the trade in the ledger?"""
        sql = "SELECT 1 FROM trades WHERE venue = ? AND user_id = ? AND symbol = ? AND trade_key = ?"
        values = (account.venue, account.user_id, account.symbol, key)
        return self._read.execute(sql, values).fetchone() is not None

    def order(self, order_id: OrderId) -> StoredOrder | None:
        """One order."""
        row = self._read.execute(f"{_ORDER} WHERE order_id = ?", (order_id,)).fetchone()
        return _stored(row) if row else None

    def order_of_request(self, request_id: RequestId) -> StoredOrder | None:
        """The order that a request made."""
        row = self._read.execute(f"{_ORDER} WHERE request_id = ?", (request_id,)).fetchone()
        return _stored(row) if row else None

    def last_cycles(self) -> Iterator[tuple[str, str, Venue, str, int]]:
        """(strategy, user, venue, symbol, newest cycle)."""
        sql = (
            "SELECT strategy_id, user_id, venue, symbol, max(cycle) FROM orders"
            " GROUP BY strategy_id, user_id, venue, symbol"
        )
        for strategy, user, venue, symbol, cycle in self._read.execute(sql):
            yield strategy, user, Venue(venue), symbol, cycle

    def orders_of_cycle(self, strategy: str, account: AccountKey, cycle: int) -> list[Order]:
        """A cycle's orders, oldest first."""
        rows = self._read.execute(
            f"{_ORDER} WHERE strategy_id = ? AND user_id = ? AND venue = ? AND symbol = ? AND cycle = ?"
            " ORDER BY number",
            (strategy, account.user_id, account.venue, account.symbol, cycle),
        )
        return [_stored(row).order for row in rows]

    def list_orders(self, where: dict[str, Any], below: int | None, limit: int) -> list[tuple[int, Order]]:
        """Orders with these column values, newest first, with their numbers."""
        conditions = [f"{column} = ?" for column in where]
        values = list(where.values())
        if below is not None:
            conditions.append("number < ?")
            values.append(below)
        clause = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        sql = f"SELECT number, body FROM orders{clause} ORDER BY number DESC LIMIT ?"  # noqa: S608 - own columns
        rows = self._read.execute(sql, (*values, limit))
        return [(number, msgspec.json.decode(body, type=Order)) for number, body in rows]

    def newest_number(self) -> int:
        """The number of the newest order; 0 before the first."""
        return int(self._read.execute("SELECT coalesce(max(number), 0) FROM orders").fetchone()[0])

    def newest_sequence(self) -> int:
        """The sequence of the newest event; 0 before the first."""
        return int(self._read.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()[0])

    def leg_owner(self, venue: Venue, user_id: str, venue_id: VenueOrderId) -> tuple[OrderId, LegRole] | None:
        """Whose leg a venue's order id is."""
        row = self._read.execute(
            "SELECT order_id, role FROM legs WHERE venue = ? AND user_id = ? AND venue_order_id = ?",
            (venue, user_id, venue_id),
        ).fetchone()
        return (OrderId(row[0]), LegRole(row[1])) if row else None

    def trades(self, where: str, values: tuple[Any, ...]) -> Iterator[LedgerRow]:
        """Ledger rows by a condition of this package's own making, by time."""
        sql = f"{_TRADE} WHERE {where} ORDER BY traded_at_ms, side, trade_key"
        return map(_row, self._read.execute(sql, values))

    def totals(self) -> Iterator[tuple[TotalKey, tuple[Decimal, Decimal]]]:
        """Every total row."""
        sql = "SELECT venue, user_id, symbol, side, day, quantity, quote FROM totals"
        for venue, user, symbol, side, day, quantity, quote in self._read.execute(sql):
            account = AccountKey(UserId(user), Venue(venue), symbol)
            key = (account, Side(side), date.fromisoformat(day))
            yield key, (money.parse(quantity), money.parse(quote))

    def scopes(self) -> Iterator[VolumeScope]:
        """Every volume scope."""
        for (body,) in self._read.execute("SELECT body FROM scopes ORDER BY scope_id"):
            yield msgspec.json.decode(body, type=VolumeScope)

    def users(self) -> list[StoredUser]:
        """Every user."""
        sql = (
            "SELECT user_id, venue, kind, sealed, stored_at, stopped_code, stopped_reason FROM users"
            " ORDER BY venue, user_id"
        )
        return [
            StoredUser(UserId(user), Venue(venue), kind, sealed, datetime.fromisoformat(at), code, reason)
            for user, venue, kind, sealed, at, code, reason in self._read.execute(sql)
        ]

    def cursors(self) -> Iterator[tuple[AccountKey, Cursor]]:
        """Every cursor."""
        sql = "SELECT venue, user_id, symbol, covered_since_ms, next_from_ms FROM cursors"
        for venue, user, symbol, since, following in self._read.execute(sql):
            yield AccountKey(UserId(user), Venue(venue), symbol), Cursor(from_ms(since), from_ms(following))

    def events(self, order_id: OrderId) -> list[bytes]:
        """An order's events, oldest first: the order as it was placed, then news."""
        sql = "SELECT body FROM events WHERE order_id = ? ORDER BY sequence"
        return [body for (body,) in self._read.execute(sql, (order_id,))]


_ORDER = "SELECT body, request_hash, held_until FROM orders"
_TRADE = (
    "SELECT venue, user_id, symbol, trade_key, order_id, side, price, quantity, quote, fee, fee_asset,"
    " fee_value, traded_at_ms, venue_order_id FROM trades"
)


def _stored(row: tuple[bytes, str, str | None]) -> StoredOrder:
    body, request_hash, held = row
    held_until = datetime.fromisoformat(held) if held else None
    return StoredOrder(msgspec.json.decode(body, type=Order), request_hash, held_until)


def _row(row: tuple[Any, ...]) -> LedgerRow:
    venue, user, symbol, key, order_id, side, price, quantity, quote, fee, asset, value, at, venue_id = row
    trade = Trade(
        key=TradeKey(key),
        side=Side(side),
        price=money.parse(price),
        quantity=money.parse(quantity),
        quote=money.parse(quote),
        fee=Fee(asset, money.parse(fee)),
        traded_at=from_ms(at),
        venue_order_id=VenueOrderId(venue_id),
    )
    account = AccountKey(UserId(user), Venue(venue), symbol)
    fee_value = money.parse(value) if value is not None else None
    return LedgerRow(account=account, trade=trade, order_id=order_id, fee_value=fee_value)


def trade_values(row: LedgerRow) -> tuple[Any, ...]:
    """A ledger row's column values, in the order of the table."""
    account, trade = row.account, row.trade
    return (
        account.venue,
        account.user_id,
        account.symbol,
        trade.key,
        row.order_id,
        trade.side,
        money.text(trade.price),
        money.text(trade.quantity),
        money.text(trade.quote),
        money.text(trade.fee.amount),
        trade.fee.asset,
        money.text(row.fee_value) if row.fee_value is not None else None,
        to_ms(trade.traded_at),
        trade.venue_order_id,
    )


def _take_lock(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = open(path.with_name(path.name + ".lock"), "ab")  # noqa: SIM115 - held as long as the store
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise RefuseStart(f"{path} is in use by another order service: stop that one first") from error
    return lock


def _open(path: Path) -> sqlite3.Connection:
    """The writing connection, checked. Raises RefuseStart for a file that cannot be trusted."""
    # The write-ahead files take their mode from this one: nobody else may read them.
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        _prepare(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise RefuseStart(f"{path} is not a usable journal ({error}): restore it from a backup") from error
    except RefuseStart:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check what is there, or make the schema."""
    verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        raise RefuseStart(f"{path} is damaged ({verdict}): restore it from a backup")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")
    elif version != SCHEMA_VERSION:
        raise RefuseStart(f"{path} has schema {version}, this program needs {SCHEMA_VERSION}")
