"""Other indexes: a user's orders by their number, and no more of what is written at every placement.

Settled orders alone are looked for by the time they changed, and nobody looks for events by order.
"""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Drop the old ones, make the new ones."""
    op.execute("DROP INDEX events_order")
    op.execute("DROP INDEX orders_updated")
    op.create_index("orders_updated", "orders", ["updated_ms"], sqlite_where=text("live = 0"))
    op.create_index("orders_user", "orders", ["user_id", "number"])
    op.execute("PRAGMA user_version=3")
