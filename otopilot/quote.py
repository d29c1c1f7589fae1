"""A price and how sure it is. Pure."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import msgspec

from otopilot.instrument import Venue


class QuoteSource(StrEnum):
    """Where a price was confirmed."""

    STREAM = "stream"
    REST = "rest"


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """The last trade's price, in quote per base; `confirmed_at` is on the service's clock."""

    venue: Venue
    symbol: str
    price: Decimal
    traded_at: datetime
    confirmed_at: datetime
    source: QuoteSource = QuoteSource.STREAM
    sequence: int = 0

    def age(self, now: datetime) -> timedelta:
        """Time since the price was last confirmed, by a frame or a REST read (product 3.3)."""
        return max(timedelta(0), now - self.confirmed_at)
