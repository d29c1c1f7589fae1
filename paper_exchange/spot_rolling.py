"""Spot's tickers over a window of the client's choice and over its trading day (binance-spot 2.1, 5).

Both are made of minute candles, so a window begins on a minute, as on the venue.
"""

import re
from collections.abc import Callable

from paper_exchange.exchange import Exchange
from paper_exchange.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from paper_exchange.market import Market
from paper_exchange.numbers import half_up
from paper_exchange.spot_errors import SpotError, both_missing, not_valid
from paper_exchange.spot_market import MOST_TICKERS, SpotMarketData, read_shift
from paper_exchange.spot_params import Params
from paper_exchange.spot_quotes import Span
from paper_exchange.spot_wire import Ms, Row, price, quantity

_WINDOW = re.compile(r"([1-9][0-9]?)([mhd])")
_UNITS = {"m": (MINUTE_MS, 59), "h": (HOUR_MS, 23), "d": (DAY_MS, 7)}


def window_ms(name: str) -> int | None:
    """1m to 59m, 1h to 23h, 1d to 7d; None for anything else."""
    found = _WINDOW.fullmatch(name)
    if found is None:
        return None
    length, most = _UNITS[found[2]]
    return int(found[1]) * length if int(found[1]) <= most else None


class SpotRolling:
    """Tickers of windows."""

    def __init__(self, exchange: Exchange, market: SpotMarketData) -> None:
        self._exchange = exchange
        self._market = market

    def rolling(self, params: Params) -> Row | list[Row]:
        length = window_ms(params.text("windowSize", "1d"))
        if length is None:
            raise not_valid("windowSize")
        since = (self._exchange.now_ms - length) // MINUTE_MS * MINUTE_MS
        return self._answer(params, lambda: since)

    def trading_day(self, params: Params) -> Row | list[Row]:
        """From midnight where the client is."""
        shift = read_shift(params.text("timeZone", "0"))
        return self._answer(params, lambda: (self._exchange.now_ms + shift) // DAY_MS * DAY_MS - shift)

    def _answer(self, params: Params, since: Callable[[], int]) -> Row | list[Row]:
        if "symbol" not in params and "symbols" not in params:
            raise both_missing("symbol", "symbols")
        kind = params.choice("type", ("FULL", "MINI"), SpotError(-1139, "Invalid ticker type."), "FULL")
        shape = _mini if kind == "MINI" else _full
        now = self._exchange.now_ms
        return self._market.tickers(params, lambda market: shape(Span(market, since(), now)), MOST_TICKERS)


def _mini(span: Span) -> Row:
    instrument, candle = span.instrument, span.candle
    return {
        "openPrice": price(instrument, candle.open),
        "highPrice": price(instrument, candle.high),
        "lowPrice": price(instrument, candle.low),
        "lastPrice": price(instrument, candle.close),
        "volume": quantity(instrument, candle.base),
        "quoteVolume": price(instrument, candle.quote),
        "openTime": Ms(span.open_ms),
        "closeTime": Ms(span.now_ms),
        "firstId": candle.first_id,
        "lastId": candle.last_id,
        "count": candle.trades,
    }


def _full(span: Span) -> Row:
    instrument = span.instrument
    return {
        "priceChange": price(instrument, span.change),
        "priceChangePercent": span.change_percent,
        "weightedAvgPrice": price(instrument, span.average),
    } | _mini(span)


def rolling_frame(market: Market, now_ms: int, name: str) -> Row:
    """A rolling window's ticker on the stream `<symbol>@ticker_<window>`."""
    length = window_ms(name)
    if length is None:
        raise AssertionError(f"no window: {name}")
    span = Span(market, (now_ms - length) // MINUTE_MS * MINUTE_MS, now_ms)
    instrument, candle = span.instrument, span.candle
    return {
        "e": f"{name}Ticker",
        "E": Ms(now_ms),
        "s": instrument.symbol,
        "p": price(instrument, span.change),
        "P": span.change_percent,
        "o": price(instrument, candle.open),
        "h": price(instrument, candle.high),
        "l": price(instrument, candle.low),
        "c": price(instrument, candle.close),
        "w": price(instrument, half_up(span.average, instrument.quote_precision)),
        "v": quantity(instrument, candle.base),
        "q": price(instrument, candle.quote),
        "O": Ms(span.open_ms),
        "C": Ms(now_ms),
        "F": candle.first_id,
        "L": candle.last_id,
        "n": candle.trades,
    }
