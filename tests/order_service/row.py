"""An order as the books of the venue in memory hold it (fakes.py)."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from order_service.venues.port import VenueOrder
from otopilot.instrument import Side
from otopilot.money import ZERO
from otopilot.order import LegRole, LegStatus, VenueOrderId

KOGE = "ALPHA_22USDT"


@dataclass
class Row:
    """An order as the venue's books hold it."""

    venue_id: VenueOrderId
    side: Side
    price: Decimal
    quantity: Decimal
    status: LegStatus | None
    created_at: datetime
    updated_at: datetime
    client_id: str = ""
    list_id: str | None = None
    role: LegRole | None = None
    executed: Decimal = ZERO
    executed_quote: Decimal = ZERO
    raw_status: str = ""
    symbol: str = KOGE

    def fact(self) -> VenueOrder:
        """The row as the venue tells it."""
        return VenueOrder(
            venue_order_id=self.venue_id,
            symbol=self.symbol,
            side=self.side,
            price=self.price,
            quantity=self.quantity if self.status is not LegStatus.PENDING else ZERO,
            status=self.status,
            raw_status=self.raw_status,
            executed_quantity=self.executed,
            executed_quote=self.executed_quote,
            client_id=self.client_id,
            list_id=self.list_id,
            role=self.role,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )

    @property
    def is_open(self) -> bool:
        """Does it rest, or wait for its trigger?"""
        return self.status in (None, LegStatus.OPEN, LegStatus.PENDING)
