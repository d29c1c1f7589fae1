"""The journal's schema, as SQLAlchemy metadata; new journals are made from it, old ones migrated to it.

Imported only where a journal is made, upgraded or compared: the writer itself speaks SQL to sqlite3
(architecture 10). Amounts are text: nothing here may sum them.
"""

import sqlite3

from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from order_service import records
from order_service.records import COLUMNS, SCHEMA_VERSION

REVISION = f"{SCHEMA_VERSION:04}"  # alembic's name of the newest version

metadata = MetaData()

_BLOBS = {"body", "sealed"}
_INTEGERS = {
    "cycle",
    "live",
    "updated_ms",
    "version",
    "number",
    "sequence",
    "traded_at_ms",
    "covered_since_ms",
    "next_from_ms",
}
_MAY_BE_MISSING = {("orders", "held_until"), ("trades", "order_id"), ("trades", "fee_value")}
_UNIQUE = {("orders", "request_id"), ("orders", "number")}


def _table(name: str, *key: str, rowid: bool) -> Table:
    """A table of COLUMNS with the checksum behind them."""
    columns: list[Column[object]] = []
    for column in COLUMNS[name]:
        type_ = LargeBinary if column in _BLOBS else Integer if column in _INTEGERS else Text
        columns.append(
            Column(
                column,
                type_,
                primary_key=column in key,
                nullable=(name, column) in _MAY_BE_MISSING,
                unique=(name, column) in _UNIQUE or None,
                autoincrement=False,
            )
        )
    columns.append(Column("checksum", Integer, nullable=False))
    return Table(name, metadata, *columns, sqlite_with_rowid=rowid)


meta = _table("meta", "key", rowid=True)
orders = _table("orders", "order_id", rowid=True)
events = _table("events", "sequence", rowid=True)
legs = _table("legs", "venue", "user_id", "venue_order_id", rowid=False)
trades = _table("trades", "venue", "user_id", "symbol", "trade_key", rowid=False)
totals = _table("totals", "venue", "user_id", "symbol", "side", "day", rowid=False)
scopes = _table("scopes", "scope_id", rowid=True)
users = _table("users", "user_id", "venue", rowid=True)
cursors = _table("cursors", "venue", "user_id", "symbol", rowid=False)
Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

Index("orders_live", orders.c.live, sqlite_where=text("live = 1"))
Index("orders_updated", orders.c.updated_ms, sqlite_where=text("live = 0"))
Index("orders_user", orders.c.user_id, orders.c.number)
Index("orders_cycle", orders.c.strategy_id, orders.c.user_id, orders.c.venue, orders.c.symbol, orders.c.cycle)
Index("trades_time", trades.c.venue, trades.c.user_id, trades.c.symbol, trades.c.traded_at_ms)


def statements() -> list[str]:
    """The schema as SQL."""
    dialect = sqlite.dialect()
    made: list[str] = []
    for table in metadata.sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        made.extend(str(CreateIndex(index).compile(dialect=dialect)) for index in indexes)
    return made


def create(connection: sqlite3.Connection) -> None:
    """A new, empty journal, all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements():
            connection.execute(statement)
        connection.execute("INSERT INTO alembic_version VALUES (?)", (REVISION,))
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        note_schema(connection)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def note_schema(connection: sqlite3.Connection) -> None:
    """Keep the schema's own checksum, so that damage to it is seen as well."""
    values = ("schema", str(records.schema_checksum(connection)))
    connection.execute(records.REPLACE["meta"], (*values, records.checksum("meta", values)))
