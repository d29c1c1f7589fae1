"""The filters of exchange info that we know: one by another name may forbid what we would send.

A symbol with such a filter is halted until somebody has read what it means (reliability 30).
"""

from collections.abc import Mapping

from order_service.venues.fields import Row
from otopilot import log
from otopilot.instrument import InstrumentStatus

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


def status_under(filters: Mapping[str, Row], status: InstrumentStatus, symbol: str) -> InstrumentStatus:
    """The status, or halted while there are filters that nobody knows."""
    unknown = sorted(filters.keys() - KNOWN)
    if not unknown:
        return status
    _log.error("symbol halted: filters that we do not know", symbol=symbol, filters=unknown)
    return InstrumentStatus.HALTED
