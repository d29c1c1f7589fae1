"""One leg of an order: what a venue may tell of it, and how that merges. Pure.

Trades are a set by their key and a status only moves forward, so every order and repetition
of news ends in the same leg (architecture 4). What the legs mean together is in order.py.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NewType

import msgspec

from otopilot.instrument import Side
from otopilot.money import ZERO

VenueOrderId = NewType("VenueOrderId", str)  # theirs
TradeKey = NewType("TradeKey", str)  # made by the venue adapter, unique within (user, symbol)


class LegRole(StrEnum):
    """An order's part: the only leg or an OTO's BUY; an OTO's SELL."""

    WORKING = "working"
    PENDING = "pending"


class LegStatus(StrEnum):
    """What is known of a leg at the venue, from nothing to its end."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    OPEN = "open"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELED = "canceled"
    FILLED = "filled"


# A status only moves forward along this row. Two different ends cannot both be true; taking
# the later one makes the merge independent of the order of arrival.
_RANK = {status: rank for rank, status in enumerate(LegStatus)}
_ENDED = frozenset({LegStatus.REJECTED, LegStatus.EXPIRED, LegStatus.CANCELED, LegStatus.FILLED})


def later(one: LegStatus, other: LegStatus) -> LegStatus:
    """The one that is further along."""
    return max(one, other, key=_RANK.__getitem__)


class Fee(msgspec.Struct, frozen=True):
    """A sum of fees in one asset."""

    asset: str
    amount: Decimal


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One execution as the venue's books tell it. Quantity in base, quote = price x quantity."""

    key: TradeKey
    side: Side
    price: Decimal
    quantity: Decimal
    quote: Decimal
    fee: Fee
    traded_at: datetime
    venue_order_id: VenueOrderId


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """The venue's word on a leg. A report of an end carries the final cumulative quantity."""

    role: LegRole
    status: LegStatus
    at: datetime
    venue_order_id: VenueOrderId | None = None
    list_id: str | None = None
    quantity: Decimal | None = None
    reported_quantity: Decimal = ZERO
    expiry_reason: str = ""


class Traded(msgspec.Struct, frozen=True, kw_only=True, tag="traded"):
    """A trade of a leg, as read from the venue's books."""

    role: LegRole
    trade: Trade
    at: datetime


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One limit order at the venue. Prices in quote per base, quantities in base."""

    role: LegRole
    side: Side
    asked_price: Decimal
    price: Decimal
    quantity: Decimal
    client_id: str = ""
    venue_order_id: VenueOrderId | None = None
    status: LegStatus = LegStatus.UNKNOWN
    reported_quantity: Decimal = ZERO
    filled_quantity: Decimal = ZERO
    filled_quote: Decimal = ZERO
    fees: tuple[Fee, ...] = ()
    trade_keys: tuple[TradeKey, ...] = ()
    expiry_reason: str = ""

    @property
    def is_over(self) -> bool:
        """Nothing more can happen to it at the venue."""
        return self.status in _ENDED

    @property
    def settled(self) -> bool:
        """It is over and every trade of it is in the ledger."""
        return self.is_over and self.filled_quantity >= self.reported_quantity

    @property
    def unfilled(self) -> Decimal:
        """Base that may still enter the ledger as trades of this leg."""
        whole = self.reported_quantity if self.is_over else self.quantity
        return max(ZERO, whole - self.filled_quantity)

    def after(self, news: Report) -> "Leg":
        """The leg after the venue's word; one that says nothing new changes nothing."""
        status = later(self.status, news.status)
        # A pending leg that the venue sizes gets its quantity when it goes on the book; a fill tells it too.
        sized = news.quantity
        if not sized and news.status is LegStatus.FILLED:
            sized = news.reported_quantity
        on_book = _RANK[news.status] >= _RANK[LegStatus.OPEN]
        quantity = sized if sized and on_book else self.quantity
        # Filled means all of it, whichever of size and fill was heard first.
        filled = status is LegStatus.FILLED
        reported = quantity if filled else max(self.reported_quantity, news.reported_quantity)
        return msgspec.structs.replace(
            self,
            status=status,
            reported_quantity=reported,
            quantity=quantity,
            venue_order_id=self.venue_order_id or news.venue_order_id,
            # Sources word a reason differently: one of them stays, whichever came first.
            expiry_reason=max(self.expiry_reason, news.expiry_reason),
        )

    def with_trade(self, trade: Trade) -> "Leg":
        """The leg with one more trade of it; one that is known changes nothing."""
        if trade.key in self.trade_keys:
            return self
        fees = {fee.asset: fee.amount for fee in self.fees}
        fees[trade.fee.asset] = fees.get(trade.fee.asset, ZERO) + trade.fee.amount
        return msgspec.structs.replace(
            self,
            # A trade proves that the leg is, or was, on the book.
            status=later(self.status, LegStatus.OPEN),
            venue_order_id=self.venue_order_id or trade.venue_order_id,
            filled_quantity=self.filled_quantity + trade.quantity,
            filled_quote=self.filled_quote + trade.quote,
            fees=tuple(Fee(asset, amount) for asset, amount in sorted(fees.items())),
            trade_keys=tuple(sorted((*self.trade_keys, trade.key))),
        )
