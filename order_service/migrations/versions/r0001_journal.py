"""The journal as it began: orders, events, legs, trades, totals, scopes, users, cursors."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE orders (order_id TEXT PRIMARY KEY, request_id TEXT NOT NULL UNIQUE,"
    " request_hash TEXT NOT NULL, user_id TEXT NOT NULL, venue TEXT NOT NULL, symbol TEXT NOT NULL,"
    " strategy_id TEXT NOT NULL, cycle INTEGER NOT NULL, state TEXT NOT NULL, live INTEGER NOT NULL,"
    " held_until TEXT, updated_ms INTEGER NOT NULL, version INTEGER NOT NULL,"
    " number INTEGER NOT NULL UNIQUE, body BLOB NOT NULL)",
    "CREATE INDEX orders_live ON orders (live) WHERE live = 1",
    "CREATE INDEX orders_updated ON orders (updated_ms)",
    "CREATE INDEX orders_cycle ON orders (strategy_id, user_id, venue, symbol, cycle)",
    "CREATE TABLE events (sequence INTEGER PRIMARY KEY, order_id TEXT NOT NULL,"
    " version INTEGER NOT NULL, body BLOB NOT NULL)",
    "CREATE INDEX events_order ON events (order_id, sequence)",
    "CREATE TABLE legs (venue TEXT NOT NULL, user_id TEXT NOT NULL, venue_order_id TEXT NOT NULL,"
    " order_id TEXT NOT NULL, role TEXT NOT NULL,"
    " PRIMARY KEY (venue, user_id, venue_order_id)) WITHOUT ROWID",
    "CREATE TABLE trades (venue TEXT NOT NULL, user_id TEXT NOT NULL, symbol TEXT NOT NULL,"
    " trade_key TEXT NOT NULL, order_id TEXT, side TEXT NOT NULL, price TEXT NOT NULL,"
    " quantity TEXT NOT NULL, quote TEXT NOT NULL, fee TEXT NOT NULL, fee_asset TEXT NOT NULL,"
    " fee_value TEXT, traded_at_ms INTEGER NOT NULL, venue_order_id TEXT NOT NULL,"
    " PRIMARY KEY (venue, user_id, symbol, trade_key)) WITHOUT ROWID",
    "CREATE INDEX trades_time ON trades (venue, user_id, symbol, traded_at_ms)",
    "CREATE TABLE totals (venue TEXT NOT NULL, user_id TEXT NOT NULL, symbol TEXT NOT NULL,"
    " side TEXT NOT NULL, day TEXT NOT NULL, quantity TEXT NOT NULL, quote TEXT NOT NULL,"
    " PRIMARY KEY (venue, user_id, symbol, side, day)) WITHOUT ROWID",
    "CREATE TABLE scopes (scope_id TEXT PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE users (user_id TEXT NOT NULL, venue TEXT NOT NULL, kind TEXT NOT NULL,"
    " sealed BLOB NOT NULL, stored_at TEXT NOT NULL, stopped_code TEXT NOT NULL DEFAULT '',"
    " stopped_reason TEXT NOT NULL DEFAULT '', PRIMARY KEY (user_id, venue))",
    "CREATE TABLE cursors (venue TEXT NOT NULL, user_id TEXT NOT NULL, symbol TEXT NOT NULL,"
    " covered_since_ms INTEGER NOT NULL, next_from_ms INTEGER NOT NULL,"
    " PRIMARY KEY (venue, user_id, symbol)) WITHOUT ROWID",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in TABLES:
        op.execute(statement)
    op.execute("PRAGMA user_version=1")
