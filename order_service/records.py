"""The journal's rows: their columns, the statements that write them, and their checksums.

Every row ends in a CRC-32 over its table's name and all its other columns; an event's covers the
checksum of the event before it as well, so none can be changed, lost or swapped unseen
(reliability 39). They find damage, not malice. schema.py gives the same columns their types.
"""

import sqlite3
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from order_service.ledger import AccountKey, LedgerRow
from otopilot import money
from otopilot.clock import from_ms, to_ms
from otopilot.instrument import Side, Venue
from otopilot.order import Fee, Trade, TradeKey, UserId, VenueOrderId

SCHEMA_VERSION = 3  # of PRAGMA user_version; the newest of migrations/versions

# Without the checksum, which is the last of each.
COLUMNS: dict[str, tuple[str, ...]] = {
    table: tuple(columns.split())
    for table, columns in {
        "meta": "key value",
        "orders": "order_id request_id request_hash user_id venue symbol strategy_id cycle state live "
        "held_until updated_ms version number body",
        "events": "sequence order_id version body",
        "legs": "venue user_id venue_order_id order_id role",
        "trades": "venue user_id symbol trade_key order_id side price quantity quote fee fee_asset "
        "fee_value traded_at_ms venue_order_id",
        "totals": "venue user_id symbol side day quantity quote",
        "scopes": "scope_id body",
        "users": "user_id venue kind sealed stored_at stopped_code stopped_reason",
        "cursors": "venue user_id symbol covered_since_ms next_from_ms",
    }.items()
}

_SEED = {table: zlib.crc32(table.encode()) for table in COLUMNS}
_encode = msgspec.msgpack.Encoder().encode


def _values(table: str) -> str:
    return f"{table} VALUES ({', '.join('?' * (len(COLUMNS[table]) + 1))})"


INSERT = {table: f"INSERT INTO {_values(table)}" for table in COLUMNS}
REPLACE = {table: f"INSERT OR REPLACE INTO {_values(table)}" for table in COLUMNS}
UPDATE_ORDER = (
    "UPDATE orders SET state = ?, live = ?, held_until = ?, updated_ms = ?, version = ?, body = ?,"
    " checksum = ? WHERE order_id = ?"
)


def checksum(table: str, values: Sequence[Any]) -> int:
    """Of a row's values, in the order of the columns."""
    return zlib.crc32(_encode(values), _SEED[table])


def event_checksum(before: int, values: Sequence[Any]) -> int:
    """Of an event, after the one whose checksum is given; 0 before the first."""
    return zlib.crc32(_encode(values), before ^ _SEED["events"])


def schema_checksum(connection: sqlite3.Connection) -> int:
    """Of all tables and indexes as the file defines them."""
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")
    return zlib.crc32(_encode(found.fetchall()))


def trade_values(row: LedgerRow) -> tuple[Any, ...]:
    """A ledger row's column values."""
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


def ledger_row(values: tuple[Any, ...]) -> LedgerRow:
    """The ledger row of column values."""
    venue, user, symbol, key, order_id, side, price, quantity, quote, fee, asset, value, at, venue_id = values
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
