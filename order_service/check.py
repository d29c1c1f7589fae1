"""Is a journal file what was written to it? Asked at every start and by `otopilot db check`.

SQLite's own check sees broken pages; the checksums see changed rows; and what is told twice is
compared: events follow each other without a gap, an order's version is that of its last event, the
totals are the sums of the trades (reliability 39). Reads only.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

import msgspec

from order_service import records
from order_service.ledger import day_of
from order_service.records import COLUMNS, SCHEMA_VERSION
from otopilot import money
from otopilot.clock import from_ms, to_ms
from otopilot.money import ZERO
from otopilot.order import IllegalTransition, News, Order, advance

MOST_FINDINGS = 5
# What reading a damaged file raises; sqlite3 cannot even decode some of its own complaints.
UNREADABLE = (sqlite3.Error, ValueError)


class Damaged(Exception):
    """The file is not what was written; the message says what, and where."""


class OtherSchema(Exception):
    """A journal of another version of this program."""

    def __init__(self, version: int) -> None:
        super().__init__(f"it has schema {version}, this program needs {SCHEMA_VERSION}")
        self.version = version


@dataclass(frozen=True)
class Sound:
    """What was looked at and found right."""

    orders: int
    events: int
    trades: int
    replayed: bool = False


def is_empty(connection: sqlite3.Connection) -> bool:
    """A file in which nothing was ever made. Raises Damaged."""
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return not tables and not _version(connection)
    except UNREADABLE as error:
        raise Damaged(f"it cannot be read: {error}") from error


def verify(connection: sqlite3.Connection, *, replay: bool = False) -> Sound:
    """Look at everything, in one snapshot. Raises Damaged, OtherSchema.

    `replay` also folds every order's events again and compares what comes out with its row.
    """
    try:
        connection.execute("BEGIN")
        try:
            return check_content(connection, replay=replay)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except UNREADABLE as error:
        raise Damaged(f"it cannot be read: {error}") from error


def check_content(connection: sqlite3.Connection, *, replay: bool = False) -> Sound:
    """The same, within the caller's transaction. Raises Damaged, OtherSchema, sqlite3.Error."""
    check_pages(connection)
    _check_version(connection)
    return _rows(connection, replay)


def check_pages(connection: sqlite3.Connection) -> None:
    """SQLite's own look at every page and index. Raises Damaged."""
    connection.execute("PRAGMA cell_size_check=ON")
    found = [row[0] for row in connection.execute(f"PRAGMA integrity_check({MOST_FINDINGS})")]
    if found != ["ok"]:
        raise Damaged("; ".join(found))


def _check_version(connection: sqlite3.Connection) -> None:
    """The schema's version is told twice. Raises Damaged, OtherSchema."""
    version = _version(connection)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    revision = 1  # which had no table of revisions
    if "alembic_version" in tables:
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        if len(rows) != 1 or not str(rows[0][0]).isdecimal():
            raise Damaged(f"alembic_version: one revision expected, found {rows!r}")
        revision = int(rows[0][0])
    if revision != version:
        raise Damaged(f"the file says schema {version}, its tables say {revision}")
    if version != SCHEMA_VERSION:
        raise OtherSchema(version)
    if missing := [table for table in COLUMNS if table not in tables]:
        raise Damaged(f"tables are missing: {', '.join(missing)}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _rows(connection: sqlite3.Connection, replay: bool) -> Sound:
    _check_schema(connection)
    for table in COLUMNS:
        if table not in ("events", "trades"):
            _check_table(connection, table)
    events, versions = _check_events(connection)
    orders = _check_orders(connection, versions)
    trades = _check_trades(connection)
    if replay:
        _replay(connection)
    return Sound(orders, events, trades, replay)


def _check_schema(connection: sqlite3.Connection) -> None:
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if row is None or row[0] != str(records.schema_checksum(connection)):
        raise Damaged("sqlite_master: the definitions of the tables do not match their checksum")


def _select(table: str) -> str:
    return f"SELECT {', '.join(COLUMNS[table])}, checksum FROM {table}"  # noqa: S608 - own names


def _check_table(connection: sqlite3.Connection, table: str) -> None:
    for row in connection.execute(_select(table)):
        if records.checksum(table, row[:-1]) != row[-1]:
            raise Damaged(f"{table}: the row {row[:2]!r} does not match its checksum")


def _check_events(connection: sqlite3.Connection) -> tuple[int, dict[str, int]]:
    """How many events, and the version each order has by them."""
    versions: dict[str, int] = {}
    sequence = chain = 0
    for row in connection.execute(f"{_select('events')} ORDER BY sequence"):
        if row[0] != sequence + 1:
            raise Damaged(f"events: {sequence + 1} is missing")
        sequence = row[0]
        chain = records.event_checksum(chain, row[:-1])
        if chain != row[-1]:
            raise Damaged(f"events: {sequence}, of order {row[1]}, does not match its checksum")
        versions[row[1]] = row[2]
    return sequence, versions


def _check_orders(connection: sqlite3.Connection, versions: dict[str, int]) -> int:
    newest = count = 0
    for order_id, version, number in connection.execute("SELECT order_id, version, number FROM orders"):
        if versions.pop(order_id, None) != version:
            raise Damaged(f"orders: {order_id} has version {version}, which is not that of its last event")
        count += 1
        newest = max(newest, number)
    if versions:
        raise Damaged(f"orders: {next(iter(versions))} has events and no row")
    if newest != count:
        raise Damaged(f"orders: {newest} were made, {count} are there")
    return count


def _check_trades(connection: sqlite3.Connection) -> int:
    wanted: dict[tuple[str, ...], tuple[Decimal, Decimal]] = defaultdict(lambda: (ZERO, ZERO))
    count = 0
    for values in connection.execute(_select("trades")):
        if records.checksum("trades", values[:-1]) != values[-1]:
            raise Damaged(f"trades: the row {values[:4]!r} does not match its checksum")
        row = dict(zip(COLUMNS["trades"], values, strict=False))
        day = day_of(from_ms(row["traded_at_ms"])).isoformat()
        key = (row["venue"], row["user_id"], row["symbol"], row["side"], day)
        quantity, quote = wanted[key]
        wanted[key] = (quantity + money.parse(row["quantity"]), quote + money.parse(row["quote"]))
        count += 1
    kept = {
        row[:5]: (money.parse(row[5]), money.parse(row[6])) for row in connection.execute(_select("totals"))
    }
    for key_ in dict.fromkeys((*wanted, *kept)):
        if wanted.get(key_) != kept.get(key_):
            raise Damaged(f"totals: {key_!r} is {kept.get(key_)}, its trades sum to {wanted.get(key_)}")
    return count


# ---------------------------------------------------------------------- replay


def _replay(connection: sqlite3.Connection) -> None:
    """Every order is what its events make, to the byte, and its row's columns say the same."""
    events = groupby(
        connection.execute("SELECT order_id, body FROM events ORDER BY order_id, sequence"), itemgetter(0)
    )
    for row in connection.execute(f"{_select('orders')} ORDER BY order_id"):
        values = dict(zip(COLUMNS["orders"], row, strict=False))
        order_id = values["order_id"]
        order = msgspec.json.decode(values["body"], type=Order)
        # Every order has events and every event its order: that was looked at before.
        if msgspec.json.encode(_fold(order_id, next(events)[1])) != msgspec.json.encode(order):
            raise Damaged(f"orders: {order_id} is not what its events make")
        wanted = {
            "order_id": order.order_id,
            "request_id": order.request_id,
            "user_id": order.user_id,
            "venue": order.venue,
            "symbol": order.symbol,
            "strategy_id": order.strategy_id,
            "cycle": order.cycle,
            "state": order.state,
            "live": int(values["held_until"] is not None or not order.settled),
            "updated_ms": to_ms(order.updated_at),
            "version": order.version,
        }
        for column, value in wanted.items():
            if values[column] != value:
                raise Damaged(f"orders: {column} of {order_id} is {values[column]!r}, not {value!r}")
        _check_legs(connection, order)


def _fold(order_id: str, events: Iterator[tuple[str, bytes]]) -> Order:
    try:
        order = msgspec.json.decode(next(events)[1], type=Order)
        for _, body in events:
            order = advance(order, msgspec.json.decode(body, type=News))
    except (msgspec.DecodeError, IllegalTransition) as error:
        raise Damaged(f"events: those of order {order_id} cannot be replayed: {error}") from error
    return order


def _check_legs(connection: sqlite3.Connection, order: Order) -> None:
    for leg in order.legs:
        if leg.venue_order_id is None:
            continue
        key = (order.venue, order.user_id, leg.venue_order_id)
        sql = "SELECT order_id, role FROM legs WHERE venue = ? AND user_id = ? AND venue_order_id = ?"
        if connection.execute(sql, key).fetchone() != (order.order_id, leg.role):
            raise Damaged(f"legs: {key!r} is not known as the {leg.role} leg of {order.order_id}")
