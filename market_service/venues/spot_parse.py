"""Binance Spot's public REST answers, parsed once into types that cannot be wrong. Pure.

Unknown extra keys pass; a symbol that cannot be understood is set aside with its reason.
"""

from decimal import Decimal

import msgspec

from market_service.venues import filters
from market_service.venues.filters import Filter
from market_service.venues.port import Listing
from otopilot import money
from otopilot.instrument import Instrument, InstrumentStatus, Venue
from otopilot.money import ONE

# Filters that rule a limit order. Others reuse the same keys for something else
# (MARKET_LOT_SIZE, ICEBERG_PARTS) and must not be mixed in.
LIMIT_ORDER_FILTERS = {
    "PRICE_FILTER",
    "LOT_SIZE",
    "MIN_NOTIONAL",
    "NOTIONAL",
    "PERCENT_PRICE",
    "PERCENT_PRICE_BY_SIDE",
    "MAX_NUM_ORDERS",
    "MAX_NUM_ORDER_LISTS",
}

_STATUSES = {
    "TRADING": InstrumentStatus.TRADING,
    "END_OF_DAY": InstrumentStatus.HALTED,
    "HALT": InstrumentStatus.HALTED,
    "BREAK": InstrumentStatus.HALTED,
    "CANCEL_ONLY": InstrumentStatus.HALTED,
}


class _Symbol(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[Filter]
    baseAssetPrecision: int = 8
    quotePrecision: int = 8
    otoAllowed: bool = False
    opoAllowed: bool = False
    isSpotTradingAllowed: bool = True


class _Named(msgspec.Struct):
    symbol: str = ""


class _ExchangeInfo(msgspec.Struct):
    symbols: list[msgspec.Raw]


class _Price(msgspec.Struct):
    symbol: str
    price: str


_infos = msgspec.json.Decoder(_ExchangeInfo)
_prices = msgspec.json.Decoder(list[_Price] | _Price)


def read_listing(raw: bytes) -> Listing:
    """Every symbol. Raises ValueError when it is no exchange info at all."""
    try:
        rows = _infos.decode(raw).symbols
    except msgspec.DecodeError as error:
        raise ValueError(f"not an exchange info: {error}") from None
    instruments: dict[str, Instrument] = {}
    unreadable: dict[str, str] = {}
    for row in rows:
        try:
            item = _instrument(msgspec.json.decode(row, type=_Symbol))
            instruments[item.symbol] = item
        except (msgspec.DecodeError, ValueError) as error:
            unreadable[_name_of(row)] = str(error)
    return Listing(instruments, unreadable=unreadable)


def _instrument(row: _Symbol) -> Instrument:
    if row.status not in _STATUSES:
        raise ValueError(f"status {row.status!r} is not one this version knows")
    bare = Instrument(
        venue=Venue.SPOT,
        symbol=row.symbol,
        token=row.baseAsset,
        base_asset=row.baseAsset,
        quote_asset=row.quoteAsset,
        status=_STATUSES[row.status] if row.isSpotTradingAllowed else InstrumentStatus.HALTED,
        tick_size=ONE,
        step_size=ONE,
        oto_allowed=row.otoAllowed,
        opo_allowed=row.otoAllowed and row.opoAllowed,
        base_precision=row.baseAssetPrecision,
        quote_precision=row.quotePrecision,
    )
    return filters.apply(bare, (one for one in row.filters if one.filterType in LIMIT_ORDER_FILTERS))


def _name_of(row: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(row, type=_Named).symbol
    except msgspec.DecodeError:
        return ""


def read_prices(raw: bytes) -> dict[str, Decimal]:
    """Prices by symbol, from one object or an array. Raises ValueError."""
    try:
        rows = _prices.decode(raw)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a price ticker: {error}") from None
    return {row.symbol: money.parse(row.price) for row in (rows if isinstance(rows, list) else [rows])}
