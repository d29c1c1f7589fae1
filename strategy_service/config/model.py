"""The configuration as everybody else sees it: frozen, whole, resolved.

UserSettings holds what one user's loop obeys, after all four layers (product section 2); its
field defaults are the built-in layer. StrategyConfig and TradingConfig hold the rest. A
value's origins ride along for explain() and take no part in comparisons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from otopilot import money
from otopilot.instrument import Venue
from strategy_service.config.problems import Origin, UnknownName

TargetScope = Literal["shared", "per_user"]
VolumeSide = Literal["buy", "both"]

DEFAULT_MAX_CONCURRENT_USERS = 10


@dataclass(frozen=True, slots=True)
class VolumeWindow:
    """When a trade counts: the UTC day (half-open), always, or from a moment on."""

    kind: Literal["day", "all", "since"] = "day"
    since: datetime | None = None

    def __str__(self) -> str:
        if self.since is None:
            return self.kind
        return f"since {self.since.astimezone(UTC).isoformat().replace('+00:00', 'Z')}"


Value = Decimal | int | bool | str | VolumeWindow | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and the place that set it."""

    value: Value
    origin: Origin


def value_text(value: Value) -> str:
    """A value as messages and tables show it: exact, "none" for nothing."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case Decimal():
            return money.text(value)
        case tuple():
            return ", ".join(value)
        case _:
            return str(value)


_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return _NOTHING


@dataclass(frozen=True, slots=True)
class UserSettings:
    """What one user's loop obeys: amounts in USDT, waits in seconds, percentages as 0.5 for 0.5 %."""

    user_id: str
    strategy_id: str
    single_trade_amount_usdt: Decimal = Decimal("30")
    trade_interval_seconds: Decimal = Decimal("1")
    buy_offset_percentage: Decimal = Decimal("0.5")
    sell_profit_percentage: Decimal = Decimal("1.0")
    fill_timeout_seconds: Decimal = Decimal("2")
    slippage_step_percentage: Decimal = Decimal("0.2")
    max_slippage_steps: int = 5
    sell_timeout_seconds: Decimal | None = None
    max_sell_discount_percentage: Decimal = Decimal("2.0")
    max_open_sells: int | None = None
    max_quote_age_seconds: Decimal = Decimal("3")
    max_price_volatility_percentage: Decimal = Decimal("5.0")
    volatility_window_seconds: Decimal = Decimal("60")
    max_cost_usdt: Decimal | None = None
    max_cost_per_1000: Decimal | None = None
    overrides: Mapping[str, Sourced] = field(default_factory=_nothing, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class StrategyConfig:
    """One entry of strategies: what to trade, how much, for whom."""

    strategy_id: str
    strategy_name: str
    enabled: bool = True
    venue: Venue
    target_token: str
    target_chain: str | None = None
    target_volume: Decimal
    target_scope: TargetScope = "shared"
    volume_side: VolumeSide = "buy"
    volume_window: VolumeWindow = VolumeWindow()
    user_ids: tuple[str, ...]
    users: tuple[UserSettings, ...]
    layers: Mapping[str, tuple[Sourced, ...]] = field(
        default_factory=_nothing, compare=False, repr=False
    )  # every key's values below the overrides, lowest layer first

    @cached_property
    def _by_user(self) -> dict[str, UserSettings]:
        return {settings.user_id: settings for settings in self.users}

    def user(self, user_id: str) -> UserSettings:
        """That user's settings; UnknownName (a KeyError) when the strategy does not list the user."""
        try:
            return self._by_user[user_id]
        except KeyError:
            of = f" of strategy {self.strategy_id}"
            raise UnknownName("user", user_id, self.user_ids, of) from None


@dataclass(frozen=True, kw_only=True)
class TradingConfig:
    """The whole file; revision names its content (the first 12 digits of its SHA-256)."""

    path: str
    revision: str
    max_concurrent_users: int = DEFAULT_MAX_CONCURRENT_USERS
    strategies: tuple[StrategyConfig, ...]
    notices: tuple[str, ...] = ()
    layers: Mapping[str, tuple[Sourced, ...]] = field(
        default_factory=_nothing, compare=False, repr=False
    )  # of the keys that belong to no strategy

    @cached_property
    def _by_id(self) -> dict[str, StrategyConfig]:
        return {strategy.strategy_id: strategy for strategy in self.strategies}

    def strategy(self, strategy_id: str) -> StrategyConfig:
        """That strategy, enabled or not; UnknownName (a KeyError) when there is none."""
        try:
            return self._by_id[strategy_id]
        except KeyError:
            raise UnknownName("strategy", strategy_id, tuple(self._by_id)) from None

    def enabled(self) -> tuple[StrategyConfig, ...]:
        """The strategies that are to run, in the order of the file."""
        return tuple(strategy for strategy in self.strategies if strategy.enabled)
