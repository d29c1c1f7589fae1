"""The journal as an auditor keeps it: built from what was committed, never from the service's memory.

Each commit's statements are read off the disk's door and folded into plain maps; `compare()`
holds them against the file itself.
"""

import functools
import re
import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from order_service.records import COLUMNS
from order_service.store import Statement
from otopilot.order import Order
from otopilot.position import VolumeScope

AccountSymbol = tuple[str, str, str]  # venue, user, symbol
TradeId = tuple[str, str, str, str]  # and the key


@dataclass
class TradeRow:
    """A row of the ledger, as text."""

    venue: str
    user_id: str
    symbol: str
    key: str
    order_id: str | None
    side: str
    price: str
    quantity: str
    quote: str
    fee: str
    fee_asset: str
    fee_value: str | None
    traded_at_ms: int
    venue_order_id: str

    @property
    def account(self) -> AccountSymbol:
        """Whose, where, of what."""
        return (self.venue, self.user_id, self.symbol)


@dataclass
class Changes:
    """What one commit changed."""

    placed: list[Order] = field(default_factory=list)
    updated: list[tuple[Order, Order]] = field(default_factory=list)  # before, after
    traded: list[TradeRow] = field(default_factory=list)
    adopted: list[TradeRow] = field(default_factory=list)  # a foreign trade that became own
    events: list[tuple[int, str, int, bytes]] = field(default_factory=list)
    metas: list[tuple[str, str]] = field(default_factory=list)
    scopes: list[VolumeScope] = field(default_factory=list)
    stopped: list[tuple[str, str, str]] = field(default_factory=list)  # venue, user, code


class JournalView:
    """Everything the journal says."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.bodies: dict[str, bytes] = {}
        self.held: dict[str, str | None] = {}
        self.events: dict[str, list[bytes]] = defaultdict(list)
        self.trades: dict[TradeId, TradeRow] = {}
        self.by_account: dict[AccountSymbol, dict[str, TradeRow]] = defaultdict(dict)
        self.totals: dict[tuple[str, str, str, str, str], tuple[str, str]] = {}
        self.scopes: dict[str, VolumeScope] = {}
        self.meta: dict[str, str] = {}
        self.sequence = 0

    def take(self, statements: list[Statement]) -> Changes:
        """Fold a commit in."""
        changes = Changes()
        for sql, values in statements:
            verb, table, columns = _shape(sql)
            row = dict(zip(columns, values, strict=False))  # what follows the columns is a checksum
            if table == "orders" and verb == "INSERT":
                self._insert(row, changes)
            elif table == "orders":
                self._update(row, changes)
            elif table == "events":
                self.sequence = row["sequence"]
                self.events[row["order_id"]].append(row["body"])
                changes.events.append((row["sequence"], row["order_id"], row["version"], row["body"]))
            elif table == "trades" and verb == "INSERT":
                row["key"] = row.pop("trade_key")
                trade = TradeRow(**row)
                self.trades[trade.venue, trade.user_id, trade.symbol, trade.key] = trade
                self.by_account[trade.account][trade.key] = trade
                changes.traded.append(trade)
            elif table == "trades":
                trade = self.trades[row["venue"], row["user_id"], row["symbol"], row["trade_key"]]
                trade.order_id, trade.fee_value = row["order_id"], row.get("fee_value")
                rest = {name: value for name, value in row.items() if name not in ("trade_key", "key")}
                assert all(getattr(trade, name) == value for name, value in rest.items()), (trade, row)
                changes.adopted.append(trade)
            else:
                self._rest(table, row, changes)
        return changes

    def _rest(self, table: str, row: dict[str, Any], changes: Changes) -> None:
        if table == "totals":
            key = (row["venue"], row["user_id"], row["symbol"], row["side"], row["day"])
            self.totals[key] = (row["quantity"], row["quote"])
        elif table == "scopes":
            scope = msgspec.json.decode(row["body"], type=VolumeScope)
            self.scopes[scope.scope_id] = scope
            changes.scopes.append(scope)
        elif table == "meta":
            self.meta[row["key"]] = row["value"]
            changes.metas.append((row["key"], row["value"]))
        elif table == "users" and row.get("stopped_code"):
            changes.stopped.append((row["venue"], row["user_id"], row["stopped_code"]))

    def _insert(self, row: dict[str, Any], changes: Changes) -> None:
        order = msgspec.json.decode(row["body"], type=Order)
        assert order.order_id not in self.orders
        self.orders[order.order_id] = order
        self.bodies[order.order_id] = row["body"]
        self.held[order.order_id] = None
        changes.placed.append(order)

    def _update(self, row: dict[str, Any], changes: Changes) -> None:
        order_id = row["order_id"]
        before = self.orders[order_id]
        after = msgspec.json.decode(row["body"], type=Order)
        self.orders[order_id], self.bodies[order_id] = after, row["body"]
        self.held[order_id] = row["held_until"]
        changes.updated.append((before, after))

    def compare(self, path: Path) -> str:
        """What of this and the file differs; empty when nothing does."""
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            orders = dict(db.execute("SELECT order_id, body FROM orders"))
            if orders != self.bodies:
                return "orders differ from what was committed"
            rows = set(db.execute("SELECT venue, user_id, symbol, trade_key, order_id, quantity FROM trades"))
            if rows != {(*key, row.order_id, row.quantity) for key, row in self.trades.items()}:
                return "trades differ from what was committed"
            read = "SELECT venue, user_id, symbol, side, day, quantity, quote FROM totals"
            totals = {row[:5]: row[5:] for row in db.execute(read)}
            if totals != self.totals:
                return "totals differ from what was committed"
            events = db.execute("SELECT count(*), coalesce(max(sequence), 0) FROM events").fetchone()
            if events != (sum(map(len, self.events.values())), self.sequence):
                return "events differ from what was committed"
        finally:
            db.close()
        return ""


@functools.cache
def _shape(sql: str) -> tuple[str, str, tuple[str, ...]]:
    """What a statement does, to which table, and which columns its values are of."""
    words = sql.split()
    if words[0] == "INSERT":
        table = words[words.index("INTO") + 1]
        return "REPLACE" if words[1] == "OR" else "INSERT", table, COLUMNS[table]
    table = words[words.index("FROM") + 1] if words[0] == "DELETE" else words[1]
    return words[0], table, tuple(re.findall(r"(\w+) = \?", sql))
