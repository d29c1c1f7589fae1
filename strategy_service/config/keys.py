"""Every key of the trading configuration: where it may stand, how it is read, its default.

The table of product section 2 as data. Keys marked per_user may stand in a strategy, as
default_<key> in global_settings, and in a user override: amounts, interval, offsets, timeouts
and limits. What a strategy is (identity, target, scope, window) may not be overridden for one
user, because its users share it.
"""

from dataclasses import dataclass, fields
from typing import Any

from strategy_service.config import values
from strategy_service.config.model import UserSettings, Value, VolumeWindow
from strategy_service.config.values import Reader


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the table."""

    name: str
    read: Reader[Value]
    meaning: str
    per_user: bool = True
    has_global_default: bool = True
    default: Value = None

    @property
    def global_name(self) -> str:
        """Its name in global_settings."""
        return f"default_{self.name}"


_BUILT_IN: dict[str, Any] = {field.name: field.default for field in fields(UserSettings)}


def _per_user(name: str, read: Reader[Value], meaning: str) -> Key:
    return Key(name, read, meaning, default=_BUILT_IN[name])


def _of_strategy(
    name: str, read: Reader[Value], meaning: str, *, default: Value = None, shared: bool = False
) -> Key:
    return Key(name, read, meaning, per_user=False, has_global_default=shared, default=default)


_PERCENT = values.number("-50", "50")

PER_USER: tuple[Key, ...] = (
    _per_user(
        "single_trade_amount_usdt",
        values.number("0", "1000000000", above_low=True),
        "USDT of one cycle; the last one is cut to what is left",
    ),
    _per_user(
        "trade_interval_seconds",
        values.number("0", "86400", above_low=True),
        "seconds from one cycle's start to the next one's",
    ),
    _per_user("buy_offset_percentage", _PERCENT, "buy = price x (1 + offset / 100)"),
    _per_user(
        "sell_profit_percentage",
        values.number("-50", "1000"),
        "sell = buy x (1 + profit / 100); may be negative",
    ),
    _per_user(
        "fill_timeout_seconds",
        values.number("0.1", "3600"),
        "how long the BUY may wait for its fill, from the venue's acceptance",
    ),
    _per_user("slippage_step_percentage", values.number("0", "10"), "what each re-try adds to the offset"),
    _per_user("max_slippage_steps", values.whole(0, 100), "re-tries after the first try"),
    _per_user(
        "sell_timeout_seconds",
        values.optional(values.number("0.1", "31536000")),
        "none: the SELL rests; set: it is cancelled and re-priced one step down at a time",
    ),
    _per_user(
        "max_sell_discount_percentage", values.number("0", "50"), "re-pricing floor below the buy price"
    ),
    _per_user(
        "max_open_sells",
        values.optional(values.whole(1, 10_000)),
        "resting SELLs per user and symbol; none: the venue's limit less 10 %",
    ),
    _per_user("max_quote_age_seconds", values.number("0.1", "60"), "no trading on an older price"),
    _per_user(
        "max_price_volatility_percentage",
        values.number("0", "1000", above_low=True),
        "(max - min) / min over the window; above it the loop pauses",
    ),
    _per_user("volatility_window_seconds", values.number("1", "86400"), "that window"),
    _per_user(
        "max_cost_usdt",
        values.optional(values.number("0", "1000000000", above_low=True)),
        "realised cost at which the user stops",
    ),
    _per_user(
        "max_cost_per_1000",
        values.optional(values.number("0", "1000", above_low=True)),
        "realised cost per 1,000 USDT at which the user stops",
    ),
)

STRATEGY_ID = _of_strategy("strategy_id", values.identifier, "the strategy's unique name")
VENUE = _of_strategy("venue", values.choice("spot", "alpha"), "spot or alpha", shared=True)
# user_ids is the one list; resolve.py reads it.
OF_STRATEGY: tuple[Key, ...] = (
    STRATEGY_ID,
    _of_strategy("strategy_name", values.title, "its name for people"),
    _of_strategy("enabled", values.flag, "whether it runs", default=True),
    VENUE,
    _of_strategy("target_token", values.token, "what to trade"),
    _of_strategy("target_chain", values.token, "the chain of an alpha token"),
    _of_strategy(
        "target_volume", values.number("0", "1000000000000", above_low=True), "USDT of volume to reach"
    ),
    _of_strategy(
        "target_scope",
        values.choice("shared", "per_user"),
        "the sum of all users, or each user's own",
        default="shared",
        shared=True,
    ),
    _of_strategy(
        "volume_side", values.choice("buy", "both"), "which trades count", default="buy", shared=True
    ),
    _of_strategy(
        "volume_window", values.window, "when a trade counts", default=VolumeWindow("day"), shared=True
    ),
)
USER_IDS = "user_ids"
MAX_CONCURRENT_USERS = "max_concurrent_users"
VOLATILITY = "max_price_volatility_percentage"

BY_NAME: dict[str, Key] = {key.name: key for key in (*OF_STRATEGY, *PER_USER)}
REQUIRED = ("target_token", "target_volume")
SECTIONS = ("global_settings", "strategies", "user_overrides")
