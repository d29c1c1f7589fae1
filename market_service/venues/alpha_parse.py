"""Binance Alpha's public REST answers, parsed once into types that cannot be wrong. Pure.

Every answer comes in an envelope whose code "000000" is success; `success` is a hint that
some answers lack. Unknown extra keys pass; a row that cannot be understood is set aside
with its reason and spoils no other.
"""

from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar

import msgspec

from market_service.venues import filters
from market_service.venues.aggregate_trades import AggregateTrade, newest
from market_service.venues.filters import Filter
from market_service.venues.port import FeeRates, Listing, Tick
from otopilot.instrument import Instrument, InstrumentStatus, Venue
from otopilot.money import ONE

SUCCESS = "000000"
FEE_UNIT = Decimal("0.000001")  # fee rates are whole numbers of this

Data = TypeVar("Data")


class _Envelope(msgspec.Struct, Generic[Data]):
    code: str = ""
    message: str | None = None
    data: Data | None = None


class Token(msgspec.Struct):
    """A row of the token list."""

    alphaId: str
    symbol: str  # the display ticker: not unique across chains or re-listings
    chainId: str
    chainName: str
    offline: bool = False  # withdrawn from Alpha
    offsell: bool = False  # selling is closed too


class _Symbol(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[Filter]
    baseAssetPrecision: int = 8
    quotePrecision: int = 8


class _Named(msgspec.Struct):
    symbol: str = ""


class _ExchangeInfo(msgspec.Struct):
    symbols: list[msgspec.Raw]


class _FeeRate(msgspec.Struct):
    buyerCommission: int
    sellerCommission: int


_STATUSES = {"TRADING": InstrumentStatus.TRADING, "DELISTED": InstrumentStatus.DELISTED}

_tokens = msgspec.json.Decoder(_Envelope[list[msgspec.Raw]])
_infos = msgspec.json.Decoder(_Envelope[_ExchangeInfo])
_fees = msgspec.json.Decoder(_Envelope[_FeeRate])
_trades = msgspec.json.Decoder(_Envelope[list[AggregateTrade]])


def _open(decoder: msgspec.json.Decoder[_Envelope[Data]], raw: bytes) -> Data:
    """The envelope's data. Raises ValueError when it is no success."""
    try:
        envelope = decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise ValueError(f"not an answer of this kind: {error}") from None
    if envelope.code != SUCCESS:
        raise ValueError(f"code {envelope.code!r}: {(envelope.message or '')[:200]}")
    if envelope.data is None:
        raise ValueError("an answer without data")
    return envelope.data


def read_listing(token_list: bytes, exchange_info: bytes) -> Listing:
    """Tokens and pairs joined by the Alpha id. Raises ValueError when either is no answer at all."""
    unreadable: dict[str, str] = {}
    tokens: dict[str, Token] = {}
    for row in _open(_tokens, token_list):
        try:
            token = msgspec.json.decode(row, type=Token)
        except msgspec.DecodeError as error:
            unreadable[f"token row {len(tokens) + len(unreadable)}"] = str(error)
        else:
            tokens[token.alphaId] = token
    instruments: dict[str, Instrument] = {}
    for row in _open(_infos, exchange_info).symbols:
        try:
            item = _instrument(msgspec.json.decode(row, type=_Symbol), tokens)
            instruments[item.symbol] = item
        except (msgspec.DecodeError, ValueError) as error:
            unreadable[_name_of(row)] = str(error)
    chains = {token.chainId: token.chainName for token in tokens.values()}
    return Listing(instruments, chains, unreadable)


def _instrument(row: _Symbol, tokens: dict[str, Token]) -> Instrument:
    if row.status not in _STATUSES:
        raise ValueError(f"status {row.status!r} is not one this version knows")
    token = tokens.get(row.baseAsset)
    bare = Instrument(
        venue=Venue.ALPHA,
        symbol=row.symbol,
        token=token.symbol if token else row.baseAsset,
        chain=token.chainName if token else "",
        base_asset=row.baseAsset,
        quote_asset=row.quoteAsset,
        status=_status(_STATUSES[row.status], token),
        tick_size=ONE,
        step_size=ONE,
        base_precision=row.baseAssetPrecision,
        quote_precision=row.quotePrecision,
    )
    return filters.apply(bare, row.filters)


def _status(listed: InstrumentStatus, token: Token | None) -> InstrumentStatus:
    """An offline token that may still be sold is halted; one that may not is gone."""
    if listed is not InstrumentStatus.TRADING or token is None or not (token.offline or token.offsell):
        return listed
    both = token.offline and token.offsell
    return InstrumentStatus.DELISTED if both else InstrumentStatus.HALTED


def _name_of(row: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(row, type=_Named).symbol
    except msgspec.DecodeError:
        return ""


def read_fee_rates(raw: bytes) -> FeeRates:
    """Fees as fractions: 100 is 0.01 %. Raises ValueError."""
    rate = _open(_fees, raw)
    if rate.buyerCommission < 0 or rate.sellerCommission < 0:
        raise ValueError(f"fee rates {rate.buyerCommission} and {rate.sellerCommission} are below zero")
    return FeeRates(rate.buyerCommission * FEE_UNIT, rate.sellerCommission * FEE_UNIT)


def read_last_trade(raw: bytes, symbol: str, now: datetime) -> Tick | None:
    """The newest trade; none when there never was one. Raises ValueError."""
    return newest(_open(_trades, raw), symbol, now)
