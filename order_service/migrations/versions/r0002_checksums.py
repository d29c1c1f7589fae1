"""A checksum behind every row; an event's covers the one before it.

Every table is made again under its name and filled from the old one, because SQLite cannot add a
column that must not be missing.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from alembic import op
from sqlalchemy import Column, Connection, Integer, LargeBinary, Text, text

revision = "0002"
down_revision = "0001"

# name: (key, columns, kept without row ids). "?" may be missing, "=" is unique.
TABLES: dict[str, tuple[str, str, bool]] = {
    "meta": ("key", "key value", True),
    "orders": (
        "order_id",
        "order_id request_id= request_hash user_id venue symbol strategy_id cycle:int state live:int "
        "held_until? updated_ms:int version:int number:int= body:blob",
        True,
    ),
    "events": ("sequence", "sequence:int order_id version:int body:blob", True),
    "legs": ("venue user_id venue_order_id", "venue user_id venue_order_id order_id role", False),
    "trades": (
        "venue user_id symbol trade_key",
        "venue user_id symbol trade_key order_id? side price quantity quote fee fee_asset fee_value? "
        "traded_at_ms:int venue_order_id",
        False,
    ),
    "totals": ("venue user_id symbol side day", "venue user_id symbol side day quantity quote", False),
    "scopes": ("scope_id", "scope_id body:blob", True),
    "users": (
        "user_id venue",
        "user_id venue kind sealed:blob stored_at stopped_code stopped_reason",
        True,
    ),
    "cursors": (
        "venue user_id symbol",
        "venue user_id symbol covered_since_ms:int next_from_ms:int",
        False,
    ),
}
INDEXES = {
    "orders_live": ("orders", ["live"]),
    "orders_updated": ("orders", ["updated_ms"]),
    "orders_cycle": ("orders", ["strategy_id", "user_id", "venue", "symbol", "cycle"]),
    "events_order": ("events", ["order_id", "sequence"]),
    "trades_time": ("trades", ["venue", "user_id", "symbol", "traded_at_ms"]),
}
_TYPES = {"int": Integer, "blob": LargeBinary, "": Text}


def upgrade() -> None:
    """Make the tables again, and copy what was in them."""
    connection = op.get_bind()
    for index in INDEXES:
        op.execute(f"DROP INDEX {index}")
    for table, (key, words, rowid) in TABLES.items():
        op.execute(f"ALTER TABLE {table} RENAME TO {table}_0001")
        columns = [_column(word, key.split()) for word in words.split()]
        checksum = Column("checksum", Integer, nullable=False)
        op.create_table(table, *columns, checksum, sqlite_with_rowid=rowid)
        _copy(connection, table, [column.name for column in columns])
        op.execute(f"DROP TABLE {table}_0001")
    for index, (table, names) in sorted(INDEXES.items()):
        where = text("live = 1") if index == "orders_live" else None
        op.create_index(index, table, names, sqlite_where=where)
    op.execute("PRAGMA user_version=2")


def _column(word: str, key: Sequence[str]) -> Column[Any]:
    name, _, kind = word.rstrip("?=").partition(":")
    return Column(
        name,
        _TYPES[kind],
        primary_key=name in key,
        nullable=word.endswith("?"),
        unique=word.endswith("=") or None,
        autoincrement=False,
    )


def _copy(connection: Connection, table: str, names: list[str]) -> None:
    order = " ORDER BY sequence" if table == "events" else ""
    columns = ", ".join(f'"{name}"' for name in names)
    rows = connection.exec_driver_sql(f"SELECT {columns} FROM {table}_0001{order}")  # noqa: S608
    sql = f"INSERT INTO {table} VALUES ({', '.join('?' * (len(names) + 1))})"  # noqa: S608 - own names
    for row in _with_checksums(table, (tuple(row) for row in rows)):
        connection.exec_driver_sql(sql, row)


def _with_checksums(table: str, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    seed, chain = zlib.crc32(table.encode()), 0
    for row in rows:
        chain = zlib.crc32(msgspec.msgpack.encode(row), chain ^ seed)
        yield (*row, chain)
        if table != "events":
            chain = 0
