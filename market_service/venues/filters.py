"""Exchange-info filters of both venues, combined into an instrument's rules.

A filter part that is zero or null is off; on Spot a grid that is off is the asset's precision, which
rules nothing otherwise. Where two filters rule the same thing, the stricter counts.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from otopilot import money
from otopilot.instrument import Instrument, Venue
from otopilot.money import ZERO


class Filter(msgspec.Struct):
    """Every key of a filter that an instrument can have; what does not apply is missing or null."""

    filterType: str = ""
    minPrice: str | None = None
    maxPrice: str | None = None
    tickSize: str | None = None
    minQty: str | None = None
    maxQty: str | None = None
    stepSize: str | None = None
    minNotional: str | None = None
    maxNotional: str | None = None
    multiplierDown: str | None = None
    multiplierUp: str | None = None
    bidMultiplierDown: str | None = None
    bidMultiplierUp: str | None = None
    askMultiplierDown: str | None = None
    askMultiplierUp: str | None = None
    limit: int | None = None
    maxNumOrders: int | None = None
    maxNumOrderLists: int | None = None


def apply(bare: Instrument, filters: Iterable[Filter]) -> Instrument:
    """The instrument with its filters' rules. Raises ValueError when it has no tick or no step."""
    rules = list(filters)

    def values(*names: str) -> list[Decimal]:
        found = [money.parse(text) for name in names for rule in rules if (text := getattr(rule, name))]
        return [value for value in found if value > 0]

    def least(*names: str) -> Decimal | None:
        return min(values(*names), default=None)

    def greatest(*names: str) -> Decimal | None:
        return max(values(*names), default=None)

    def count(*names: str) -> int:
        return min((n for name in names for rule in rules if (n := getattr(rule, name))), default=0)

    def grid(name: str, precision: int) -> Decimal:
        told = any(getattr(rule, name) for rule in rules)
        found = greatest(name)
        if found is None and told and bare.venue is Venue.SPOT:
            return Decimal(1).scaleb(-precision)
        if found is None:
            raise ValueError(f"{bare.symbol} has no {name}")
        return found

    changes: dict[str, Any] = {
        "tick_size": grid("tickSize", bare.quote_precision),
        "step_size": grid("stepSize", bare.base_precision),
        "min_price": greatest("minPrice") or ZERO,
        "max_price": least("maxPrice"),
        "min_quantity": greatest("minQty") or ZERO,
        "max_quantity": least("maxQty"),
        "min_notional": greatest("minNotional") or ZERO,
        "max_notional": least("maxNotional"),
        "bid_multiplier_down": greatest("bidMultiplierDown", "multiplierDown"),
        "bid_multiplier_up": least("bidMultiplierUp", "multiplierUp"),
        "ask_multiplier_down": greatest("askMultiplierDown", "multiplierDown"),
        "ask_multiplier_up": least("askMultiplierUp", "multiplierUp"),
        "max_num_orders": count("limit", "maxNumOrders"),
        "max_num_order_lists": count("maxNumOrderLists"),
    }
    return msgspec.structs.replace(bare, **changes)
