"""How both venues' rules are read: which filters we know, the stricter of two, and whether a symbol trades.

A filter by another name may forbid what we would send: a symbol that has one is halted until somebody has
read what it means (reliability 30); so is one whose status is a word that we do not know.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from order_service.venues.fields import Row, not_negative_of, quoted, rows_of, text_of
from otopilot import log
from otopilot.instrument import InstrumentStatus
from otopilot.money import ZERO

# Those that the adapters obey, that bind no limit order, or that only the venue can count (binance-spot 2.3).
KNOWN = frozenset(
    {
        "PRICE_FILTER",
        "LOT_SIZE",
        "NOTIONAL",
        "MIN_NOTIONAL",
        "MAX_NOTIONAL",
        "PERCENT_PRICE",
        "PERCENT_PRICE_BY_SIDE",
        "MAX_NUM_ORDERS",
        "MAX_NUM_ORDER_LISTS",
        "MARKET_LOT_SIZE",
        "ICEBERG_PARTS",
        "TRAILING_DELTA",
        "MAX_NUM_ALGO_ORDERS",
        "MAX_NUM_ICEBERG_ORDERS",
        "MAX_NUM_ORDER_AMENDS",
        "MAX_POSITION",
        "MAX_ASSET",
        "EXCHANGE_MAX_NUM_ORDERS",
        "EXCHANGE_MAX_NUM_ALGO_ORDERS",
        "EXCHANGE_MAX_NUM_ICEBERG_ORDERS",
        "EXCHANGE_MAX_NUM_ORDER_LISTS",
    }
)

_log = log.get("filters")


def filters_of(rows: Any) -> Mapping[str, Row]:
    """The filters by their names."""
    return {text_of(row, "filterType"): row for row in rows_of(rows, "filters")}


def strictest(
    filters: Mapping[str, Row], parts: Mapping[str, str], pick: Callable[..., Decimal | None]
) -> Decimal | None:
    """Where two filters rule the same thing, both hold."""
    found = [not_negative_of(filters.get(name, {}), part, ZERO) for name, part in parts.items()]
    return pick((value for value in found if value > 0), default=None)


def status_of(row: Row, known: Mapping[str, InstrumentStatus]) -> InstrumentStatus:
    """What the row's status means; a symbol that takes no limit orders does not trade for us."""
    word, kinds = text_of(row, "status"), row.get("orderTypes", ["LIMIT"])
    status = known.get(word)
    if status is None:
        _log.error("symbol halted: a status that we do not know", symbol=row["symbol"], status=quoted(word))
        return InstrumentStatus.HALTED
    takes_limits = isinstance(kinds, list) and "LIMIT" in kinds
    return status if takes_limits or status is not InstrumentStatus.TRADING else InstrumentStatus.HALTED


def status_under(filters: Mapping[str, Row], status: InstrumentStatus, symbol: str) -> InstrumentStatus:
    """The status, or halted while there are filters that nobody knows."""
    unknown = sorted(filters.keys() - KNOWN)
    if not unknown:
        return status
    _log.error("symbol halted: filters that we do not know", symbol=symbol, filters=unknown)
    return InstrumentStatus.HALTED
