"""Where an account stands: volume scopes and positions, as order_service tells them. Pure."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from otopilot.instrument import Venue
from otopilot.money import ZERO
from otopilot.order import Order, ScopeId, UserId


class VolumeSide(StrEnum):
    """Which trades a volume counts."""

    BUY = "buy"
    BOTH = "both"


class VolumeWindow(StrEnum):
    """Which time a volume counts: the UTC day, everything, or from a moment on."""

    DAY = "day"
    ALL = "all"
    SINCE = "since"


class ScopeMember(msgspec.Struct, frozen=True):
    """An account and symbol whose trades count in a scope, and the realised cost it may come to.

    Costs in quote, `max_cost_per_1000` per 1,000 bought. No BUY is admitted at a limit, nor under one
    while the cost is not known.
    """

    user_id: UserId
    venue: Venue
    symbol: str
    max_cost: Decimal | None = None
    max_cost_per_1000: Decimal | None = None


class VolumeScope(msgspec.Struct, frozen=True, kw_only=True):
    """A target over a set of accounts (architecture 5.7). Target in quote."""

    scope_id: ScopeId
    members: tuple[ScopeMember, ...]
    side: VolumeSide = VolumeSide.BUY
    window: VolumeWindow = VolumeWindow.DAY
    since: datetime | None = None
    target: Decimal
    revision: int = 1


class MemberVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A member's counted volume, in quote; not complete means "at least"."""

    user_id: UserId
    counted: Decimal
    complete: bool


class ScopeVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A scope's figures, in quote. What is left is what a placement may still take."""

    scope: VolumeScope
    counted: Decimal
    reserved: Decimal
    complete: bool
    members: tuple[MemberVolume, ...]
    window_start: datetime | None

    @property
    def left(self) -> Decimal:
        """target - counted - reserved, not below zero."""
        return max(ZERO, self.scope.target - self.counted - self.reserved)


class UserState(StrEnum):
    """Can a user trade?"""

    READY = "ready"
    SETTLING = "settling"
    STOPPED = "stopped"


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user of one venue and its condition; a stopped one needs a person."""

    user_id: UserId
    venue: Venue
    state: UserState
    reason_code: str = ""
    reason: str = ""
    credential_kind: str = ""
    stored_at: datetime | None = None


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """One user on one symbol, from the ledger of own trades. Base and quote amounts."""

    user: User
    last_cycle: int = 0
    cycle_orders: tuple[Order, ...] = ()
    open_orders: tuple[Order, ...] = ()
    inventory: Decimal = ZERO
    inventory_cost: Decimal = ZERO
    uncovered: Decimal = ZERO
    average_cost: Decimal | None = None
    realised_cost: Decimal = ZERO
    cost_complete: bool = True
    bought_quote: Decimal = ZERO
    sold_quote: Decimal = ZERO
    open_sells: int = 0
    buy_fee_rate: Decimal | None = None  # a fraction of the base bought; none: not read yet
