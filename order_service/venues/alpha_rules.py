"""Alpha's rules of a symbol, from its two public lists: the pairs, and the tokens it has withdrawn. Pure.

What the venue says when an order breaks a rule is known for two of them only (binance-alpha 3.9), and
whatever else it says leaves the order in doubt: all of them are held to here, before anything is sent.
"""

from collections.abc import Mapping
from typing import Any

from order_service.venues.fields import (
    Row,
    above_zero_of,
    id_of,
    not_negative_of,
    positive_of,
    row_of,
    rows_of,
    text_of,
    whole_of,
)
from order_service.venues.filters import filters_of, status_of, status_under, strictest
from otopilot.instrument import Instrument, InstrumentStatus, Venue
from otopilot.money import ZERO

_STATUSES = {"TRADING": InstrumentStatus.TRADING, "DELISTED": InstrumentStatus.DELISTED}


def symbols(data: Any) -> Mapping[str, Row]:
    """Exchange info by symbol, unread: one odd pair of hundreds must not take the others along."""
    return {id_of(row, "symbol"): row for row in rows_of(row_of(data, "data").get("symbols"), "symbols")}


def withdrawn(data: Any) -> Mapping[str, InstrumentStatus]:
    """What the token list says of tokens that are no longer traded, by alpha id (binance-alpha 1.1).

    Offline is halted, and gone where selling is closed too; a flag that cannot be read is no yes.
    """
    found = {}
    for row in rows_of(data, "tokens"):
        offline, offsell = (row.get(flag) or False for flag in ("offline", "offsell"))
        if offline is not False or offsell is not False:
            gone = offline is True and offsell is True
            found[text_of(row, "alphaId", "")] = (
                InstrumentStatus.DELISTED if gone else InstrumentStatus.HALTED
            )
    return found


def instrument(row: Row) -> Instrument:
    """One pair of exchange info. Where two filters rule the same thing, both hold."""
    filters = filters_of(row.get("filters"))
    price, lot = filters.get("PRICE_FILTER", {}), filters.get("LOT_SIZE", {})
    least = {"MIN_NOTIONAL": "minNotional", "NOTIONAL": "minNotional"}
    most = {"MAX_NOTIONAL": "maxNotional", "NOTIONAL": "maxNotional"}

    def band(side: str, part: str) -> dict[str, str]:
        return {"PERCENT_PRICE_BY_SIDE": f"{side}Multiplier{part}", "PERCENT_PRICE": f"multiplier{part}"}

    base, symbol = id_of(row, "baseAsset"), id_of(row, "symbol")
    return Instrument(
        venue=Venue.ALPHA,
        symbol=symbol,
        token=base,  # exchange info knows no names; market_service does
        base_asset=base,
        quote_asset=id_of(row, "quoteAsset"),
        status=status_under(filters, status_of(row, _STATUSES), symbol),
        tick_size=above_zero_of(price, "tickSize"),
        step_size=above_zero_of(lot, "stepSize"),
        min_price=not_negative_of(price, "minPrice", ZERO),
        max_price=positive_of(price, "maxPrice"),
        min_quantity=not_negative_of(lot, "minQty", ZERO),
        max_quantity=positive_of(lot, "maxQty"),
        min_notional=strictest(filters, least, max) or ZERO,
        max_notional=strictest(filters, most, min),
        bid_multiplier_down=strictest(filters, band("bid", "Down"), max),
        bid_multiplier_up=strictest(filters, band("bid", "Up"), min),
        ask_multiplier_down=strictest(filters, band("ask", "Down"), max),
        ask_multiplier_up=strictest(filters, band("ask", "Up"), min),
        max_num_orders=whole_of(filters.get("MAX_NUM_ORDERS", {}), "limit", 0),
        base_precision=whole_of(row, "baseAssetPrecision", 8),
        quote_precision=whole_of(row, "quotePrecision", 8),
    )
