"""What an operator is told of strategies and users: plain data, and its arithmetic. Pure.

The servicer puts it on the wire, the executor makes the seed's seven keys of it. Amounts are
quote (inventory and residual base), totals are sums of what order_service counted.
"""

from collections import deque
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from otopilot import money
from otopilot.instrument import Venue
from otopilot.money import ZERO
from otopilot.position import Position
from strategy_service.prices import progress
from strategy_service.reasons import Reason

_THOUSAND = Decimal(1000)
_MINUTE_SECONDS = 60.0
_LEAST_SPAN_SECONDS = 5.0  # below this a rate says nothing


class UserState(StrEnum):
    """What one user's loop is doing; the names of UserRunState."""

    IDLE = "idle"
    QUEUED = "queued"
    RUNNING = "running"
    BLOCKED = "blocked"
    NEEDS_PERSON = "needs_person"
    PAUSED = "paused"
    STOPPING = "stopping"
    REACHED = "reached"
    SKIPPED = "skipped"
    STOPPED = "stopped"
    COST_LIMIT = "cost_limit"


ENDED = frozenset(
    {UserState.IDLE, UserState.REACHED, UserState.SKIPPED, UserState.STOPPED, UserState.COST_LIMIT}
)


class UserStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One user of a strategy."""

    user_id: str
    state: UserState
    code: Reason = Reason.IDLE
    reason: str = ""
    since: datetime | None = None
    volume: Decimal = ZERO
    volume_known: bool = False  # false until it was read for the first time
    volume_complete: bool = True
    target: Decimal | None = None
    volume_per_minute: Decimal = ZERO
    cycles: int = 0
    position: Position | None = None
    guard_waits: int = 0
    left_open: tuple[str, ...] = ()
    leaving: bool = False  # the configuration does not list it any more: it winds down, and counts nowhere

    @property
    def reason_code(self) -> str:
        """The code as a word."""
        return self.code.value

    @property
    def is_running(self) -> bool:
        """Does its loop run or wait?"""
        return self.state not in ENDED


class StrategyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy and its users."""

    strategy_id: str
    strategy_name: str
    enabled: bool
    venue: Venue
    symbol: str
    token: str
    target_scope: str
    target_volume: Decimal
    users: tuple[UserStatus, ...]
    last_price: Decimal | None = None
    price_age_ms: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    config_revision: str = ""

    @property
    def is_running(self) -> bool:
        """Does a loop of it run or wait?"""
        return any(user.is_running for user in self.users)

    @property
    def members(self) -> tuple[UserStatus, ...]:
        """The users that the configuration lists."""
        return tuple(user for user in self.users if not user.leaving)

    @property
    def total_volume(self) -> Decimal:
        """Counted over all users."""
        return sum((user.volume for user in self.members), ZERO)

    @property
    def total_complete(self) -> bool:
        """False: the total is "at least"."""
        return all(user.volume_complete for user in self.members)

    @property
    def volume_per_minute(self) -> Decimal:
        """Over all users."""
        return sum((user.volume_per_minute for user in self.users), ZERO)

    @property
    def progress(self) -> str:
        """Of the target, truncated to two decimals; per user no more than its own target counts."""
        if self.target_scope == "shared":
            return progress(self.total_volume, self.target_volume)
        members = self.members
        counted = sum((min(user.volume, self.target_volume) for user in members), ZERO)
        return progress(counted, self.target_volume * len(members))

    @property
    def eta_seconds(self) -> int:
        """To the target at the rate of the last minute; -1 when that cannot be said."""
        if self.target_scope == "shared":
            return _eta(self.target_volume - self.total_volume, self.volume_per_minute)
        running = [user for user in self.users if user.is_running]
        etas = [_eta(self.target_volume - user.volume, user.volume_per_minute) for user in running]
        return -1 if -1 in etas else max(etas, default=0)

    @property
    def cost(self) -> Decimal:
        """Realised, over all users."""
        return sum((user.position.realised_cost for user in self.users if user.position), ZERO)

    @property
    def cost_per_1000(self) -> Decimal | None:
        """Per 1000 quote of own BUY volume; none before the first trade."""
        bought = sum((user.position.bought_quote for user in self.users if user.position), ZERO)
        return per_1000(self.cost, bought)

    def seven(self) -> dict[str, object]:
        """The seed's status document, its keys and types."""
        return {
            "strategy_id": self.strategy_id,
            "strategy_name": self.strategy_name,
            "is_running": self.is_running,
            "target_volume": money.text(self.target_volume),
            "total_volume": money.text(self.total_volume),
            "progress": self.progress,
            "user_volumes": {user.user_id: money.text(user.volume) for user in self.members},
        }


def per_1000(cost: Decimal, bought: Decimal) -> Decimal | None:
    """Cost per 1000 quote bought, to six decimals."""
    return money.truncate(cost * _THOUSAND / bought, 6) if bought > 0 else None


def _eta(left: Decimal, per_minute: Decimal) -> int:
    if left <= 0:
        return 0
    return int(left * 60 / per_minute) if per_minute > 0 else -1


class Rate:
    """Volume of the last minute, from one sample a second."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Decimal]] = deque(maxlen=120)

    def sample(self, now: float, volume: Decimal) -> None:
        """The volume at a monotonic time. A new day starts anew."""
        if self._samples and volume < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, volume))
        while len(self._samples) > 1 and self._samples[1][0] <= now - _MINUTE_SECONDS:
            self._samples.popleft()

    def per_minute(self) -> Decimal:
        """In quote; from a shorter time it is scaled up to the minute."""
        if len(self._samples) < 2:
            return ZERO
        (start, low), (end, high) = self._samples[0], self._samples[-1]
        span = max(end - start, _LEAST_SPAN_SECONDS)
        milliseconds = Decimal(round(span * 1000))
        return money.truncate((high - low) * 60_000 / milliseconds, 8)
