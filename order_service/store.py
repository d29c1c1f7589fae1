"""The journal's disk: what is written to one SQLite file, and the reads that the writer needs.

Amounts are text, never summed by SQL. WAL with synchronous=FULL: what was committed survives
the machine. Nothing here decides anything. journal_file.py opens and checks the file, records.py
knows its rows.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from order_service import journal_file, records
from order_service.denied import JournalFailed, TakenOver
from order_service.ledger import AccountKey, LedgerRow, TotalKey
from otopilot import failpoints, money
from otopilot.clock import from_ms
from otopilot.instrument import Side, Venue
from otopilot.order import LegRole, Order, OrderId, RequestId, TradeKey, UserId, VenueOrderId
from otopilot.position import VolumeScope
from otopilot.rpc import RefuseStart

Statement = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class StoredOrder:
    """An order as its row holds it."""

    order: Order
    request_hash: str
    held_until: datetime | None
    number: int


TESTED_AGAIN = "not_permitted"  # the code of a stop that may pass by itself (binance-spot 10.2)


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
        """`inline` commits in the calling thread (simulation); otherwise in one thread of its own.

        Raises RefuseStart.
        """
        self._path = path
        self._torn = False  # the writing connection had to be closed
        self._lock = journal_file.Lock(path)
        try:
            self._write = journal_file.open_for_writing(path, self._lock)
            self.instance_epoch = self._mint_epoch()
        except BaseException:
            self._lock.release()
            raise
        self._read = journal_file.connect(path)
        self._pool = None if inline else ThreadPoolExecutor(1, thread_name_prefix="journal")

    async def commit(self, statements: Sequence[Statement]) -> None:
        """All or nothing, durable when it returns. Raises JournalFailed."""
        if self._pool is None:
            self._commit(statements)
        else:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._commit, statements)

    def _commit(self, statements: Sequence[Statement]) -> None:
        try:
            self._begin("BEGIN IMMEDIATE")
            execute = self._write.execute
            self._refuse_other_instance()
            for sql, values in statements:
                execute(sql, values)
            failpoints.hit("journal.before_commit")
            execute("COMMIT")
            failpoints.hit("journal.after_commit")
        except JournalFailed:
            self._roll_back()
            raise
        except Exception as error:  # of sqlite3, or of a value that it cannot take
            self._roll_back()
            raise JournalFailed(f"the journal could not be written: {error}") from error

    def _roll_back(self) -> None:
        """Leave nothing of a transaction that failed, if need be with another connection."""
        try:
            if self._write.in_transaction:
                self._write.execute("ROLLBACK")
        except sqlite3.Error:
            # A disk that fails may fail this too; a closed connection has no transaction.
            self._torn = True
            self._write.close()

    def _mint_epoch(self) -> int:
        """Every write from now on is of this instance; a later one makes this one's writes fail."""
        try:
            self._write.execute("BEGIN IMMEDIATE")
            row = self._write.execute("SELECT value FROM meta WHERE key = 'instance_epoch'").fetchone()
            epoch = max(int(row[0]) if row else 0, self._lock.epoch()) + 1
            values = ("instance_epoch", str(epoch))
            self._write.execute(records.REPLACE["meta"], (*values, records.checksum("meta", values)))
            self._write.execute("COMMIT")
        except (sqlite3.Error, ValueError) as error:
            self._write.close()
            raise RefuseStart(f"{self._path} cannot be written: {error}") from error
        self._lock.note_epoch(epoch)
        return epoch

    def _refuse_other_instance(self) -> None:
        """The lock keeps a second instance out; a zombie of an old one is caught here (architecture 11)."""
        row = self._write.execute("SELECT value FROM meta WHERE key = 'instance_epoch'").fetchone()
        if row is None or int(row[0]) != self.instance_epoch:
            raise TakenOver("another instance has taken over this journal: nothing is written any more")

    def free_bytes(self) -> int:
        """Room on the journal's disk. Raises OSError."""
        return journal_file.free_bytes(self._path)

    def close(self) -> None:
        """Close the file and give up its lock."""
        if self._pool is not None:
            self._pool.shutdown()
        self._read.close()
        self._write.close()
        self._lock.release()

    # ------------------------------------------------------------------ reads

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Between two commits: what is read within is read by the writing connection, at one moment.

        Another connection looks at the file anew after every commit, this one knows what it wrote: it is
        fifty times as quick. To be left before anything is awaited. Raises JournalFailed.
        """
        reading = self._read
        try:
            self._begin("BEGIN")
        except sqlite3.Error as error:
            raise JournalFailed(f"the journal could not be read: {error}") from error
        self._read = self._write
        try:
            yield
        finally:
            self._read = reading
            with suppress(sqlite3.Error):  # the next one to begin finds it open, and ends it
                self._write.execute("COMMIT")

    def _begin(self, how: str) -> None:
        """A transaction of the writing connection. Raises sqlite3.Error."""
        if self._torn:
            self._write = journal_file.connect(self._path)
            self._write.execute("PRAGMA synchronous=FULL")
            self._torn = False
        if self._write.in_transaction:
            self._write.execute("ROLLBACK")
        self._write.execute(how)

    def meta(self, key: str) -> str | None:
        """A value of the meta table."""
        row = self._read.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def live_orders(self) -> Iterator[StoredOrder]:
        """Orders that are not settled or are held, oldest first."""
        return map(_stored, self._read.execute(f"{_ORDER} WHERE live = 1 ORDER BY number"))

    def recent_orders(self, milliseconds: int) -> Iterator[StoredOrder]:
        """Settled orders that changed so long before the newest of them, or later; oldest first."""
        newest = "(SELECT max(updated_ms) FROM orders WHERE live = 0)"
        where = f"WHERE live = 0 AND updated_ms >= {newest} - ? ORDER BY number"
        return map(_stored, self._read.execute(f"{_ORDER} {where}", (milliseconds,)))

    def trade(self, account: AccountKey, key: TradeKey) -> LedgerRow | None:
        """A trade of the ledger."""
        where = "venue = ? AND user_id = ? AND symbol = ? AND trade_key = ?"
        return next(self.trades(where, (account.venue, account.user_id, account.symbol, key)), None)

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

    def newest_event(self) -> tuple[int, int]:
        """The newest event's sequence and checksum; zeros before the first."""
        sql = "SELECT sequence, checksum FROM events ORDER BY sequence DESC LIMIT 1"
        return self._read.execute(sql).fetchone() or (0, 0)

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
        return map(records.ledger_row, self._read.execute(sql, values))

    def totals(
        self, where: str = "1 = 1", values: tuple[Any, ...] = ()
    ) -> Iterator[tuple[TotalKey, tuple[Decimal, Decimal]]]:
        """Total rows by a condition of this package's own making."""
        sql = f"SELECT venue, user_id, symbol, side, day, quantity, quote FROM totals WHERE {where}"  # noqa: S608
        for venue, user, symbol, side, day, quantity, quote in self._read.execute(sql, values):
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


_ORDER = "SELECT body, request_hash, held_until, number FROM orders"
_TRADE = f"SELECT {', '.join(records.COLUMNS['trades'])} FROM trades"  # noqa: S608 - own names


def _stored(row: tuple[bytes, str, str | None, int]) -> StoredOrder:
    body, request_hash, held, number = row
    held_until = datetime.fromisoformat(held) if held else None
    return StoredOrder(msgspec.json.decode(body, type=Order), request_hash, held_until, number)
