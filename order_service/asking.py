"""What a caller asks for, and what was read from the venue before it is decided. Pure."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import msgspec

from order_service.guard import Verdict
from order_service.ledger import AccountKey
from order_service.venues.port import FeeRates
from otopilot.instrument import Instrument, Side, Venue
from otopilot.order import Purpose, RequestId, ScopeId, StrategyId, UserId

BEGIN_WITHIN_SECONDS = 2.5  # after this a placement never begins (architecture 5.2)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asked for. Prices in quote per base, quantity in base."""

    request_id: RequestId
    owner_epoch: int
    user_id: UserId
    venue: Venue
    symbol: str
    strategy_id: StrategyId
    cycle: int
    try_number: int
    step: int
    scope_id: ScopeId | None
    purpose: Purpose
    side: Side
    quantity: Decimal
    price: Decimal
    limit_price: Decimal | None  # the guard's room: lowest for a BUY, highest for a SELL
    pending_price: Decimal | None = None
    max_pending_price: Decimal | None = None
    price_confirmed_at: datetime | None = None
    max_price_age: timedelta = timedelta(seconds=3)
    validate_only: bool = False

    @property
    def account(self) -> AccountKey:
        """The account and symbol it is for."""
        return AccountKey(self.user_id, self.venue, self.symbol)

    @property
    def prices(self) -> Verdict:
        """The prices it asks for."""
        if self.side is Side.BUY:
            return Verdict(self.price, self.pending_price)
        return Verdict(None, self.price)

    @property
    def least_prices(self) -> Verdict:
        """The prices it concedes at most."""
        lowest = min(self.price, self.limit_price) if self.limit_price is not None else self.price
        if self.side is Side.BUY:
            ask = self.pending_price
            if ask is not None and self.max_pending_price is not None:
                ask = max(ask, self.max_pending_price)
            return Verdict(lowest, ask)
        return Verdict(None, self.price if self.limit_price is None else max(self.price, self.limit_price))

    def content_hash(self) -> str:
        """A hash of what was asked, without the epoch: a new owner repeats the old one's ids."""
        content = msgspec.structs.replace(self, owner_epoch=0, validate_only=False)
        return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What was read from the venue before the transaction."""

    instrument: Instrument
    fees: FeeRates
    band_price: Decimal | None  # what the venue measures its price bands from; none: not known
    free_quote: Decimal
    free_quote_at: datetime
    held_base: Decimal | None = None  # free or locked, with the same read; none: not known
    order_limits: Mapping[str, Decimal] = {}  # what one order may be worth of an asset
    has_client_ids: bool
    ahead: timedelta = timedelta()  # the venue's clock, of ours


class Signed(NamedTuple):
    """When a request of this process was signed, by two clocks that nobody sets."""

    monotonic: float
    venue_time: datetime
