"""Spot's public reads: time, book, trades, candles, tickers (binance-spot 2.1).

Each method takes what was sent and returns the answer's content.
"""

from collections.abc import Callable
from typing import Any

from paper_exchange.config import Instrument
from paper_exchange.exchange import Exchange
from paper_exchange.intervals import OF_SPOT, candles
from paper_exchange.market import Market
from paper_exchange.model import AggTrade
from paper_exchange.spot_database import SpotDatabase
from paper_exchange.spot_errors import SpotError, bad_combination, bad_symbol, not_valid
from paper_exchange.spot_finding import SpotFinding
from paper_exchange.spot_info import STATUSES, SpotInfo
from paper_exchange.spot_params import Params
from paper_exchange.spot_quotes import Day, agg_trade, average_price, best, kline, levels, matches_of
from paper_exchange.spot_wire import Ms, Row, price, quantity

DEEPEST = 5000
MOST_TICKERS = 100
MINUTE_MS = 60_000


class SpotMarketData:
    """What anybody may ask."""

    def __init__(
        self, exchange: Exchange, finding: SpotFinding, info: SpotInfo, database: SpotDatabase
    ) -> None:
        self._exchange = exchange
        self._database = database
        self._finding = finding
        self._info = info

    def ping(self, params: Params) -> Row:
        params.finish()
        return {}

    def time(self, params: Params) -> Row:
        params.finish()
        return {"serverTime": Ms(self._exchange.conditions.door_ms)}

    # One symbol.

    def depth(self, params: Params) -> Row:
        market, limit = self._market(params), params.limit(100, DEEPEST)
        self._check_status(params, market.instrument)
        params.finish()
        return {
            "lastUpdateId": market.book.update_id,
            "bids": levels(market, "BUY", limit),
            "asks": levels(market, "SELL", limit),
        }

    def trades(self, params: Params) -> list[Row]:
        market, limit = self._market(params), params.limit(500, 1000)
        params.finish()
        return [row for trade in market.tape.trades for row in _trade_rows(trade, market)][-limit:]

    def historical_trades(self, params: Params) -> list[Row]:
        market, limit, from_id = self._market(params), params.limit(500, 1000), params.whole("fromId")
        params.finish()
        rows = [row for trade in self._database.tape(market).trades for row in _trade_rows(trade, market)]
        if from_id is not None:
            return [row for row in rows if row["id"] >= from_id][:limit]
        return rows[-limit:]

    def agg_trades(self, params: Params) -> list[Row]:
        market, limit, from_id = self._market(params), params.limit(500, 1000), params.whole("fromId")
        since, until = params.span(self._exchange.conditions.door_ms)
        params.finish()
        if from_id is not None and (since is not None or until is not None):
            raise bad_combination()
        found = [
            trade
            for trade in self._database.tape(market).trades
            if (from_id is None or trade.agg_id >= from_id)
            and (since is None or trade.time_ms >= since)
            and (until is None or trade.time_ms <= until)
        ]
        oldest_first = from_id is not None or since is not None
        return [agg_trade(trade, market) for trade in (found[:limit] if oldest_first else found[-limit:])]

    def klines(self, params: Params) -> list[list[object]]:
        market, interval, limit = self._market(params), params.need("interval"), params.limit(500, 1000)
        since, until = params.span(self._exchange.conditions.door_ms)
        shift_ms = read_shift(params.text("timeZone", "0"))
        params.finish()
        if interval not in OF_SPOT:
            raise SpotError(-1120, "Invalid interval.")
        found = [
            candle
            for candle in candles(self._database.tape(market), interval, shift_ms)
            if (since is None or candle.open_ms >= since) and (until is None or candle.open_ms <= until)
        ]
        chosen = found[:limit] if since is not None else found[-limit:]
        return [kline(candle, market, interval, shift_ms) for candle in chosen]

    def average_price(self, params: Params) -> Row:
        market = self._market(params)
        params.finish()
        return average_price(market, self._exchange.now_ms)

    # Tickers.

    def ticker_price(self, params: Params) -> Row | list[Row]:
        return self.tickers(params, lambda market: {"price": price(market.instrument, market.last_price)})

    def book_ticker(self, params: Params) -> Row | list[Row]:
        def row(market: Market) -> Row:
            bid, ask = best(market, "BUY"), best(market, "SELL")
            return {"bidPrice": bid[0], "bidQty": bid[1], "askPrice": ask[0], "askQty": ask[1]}

        return self.tickers(params, row)

    def ticker_24hr(self, params: Params) -> Row | list[Row]:
        kind = params.choice("type", ("FULL", "MINI"), SpotError(-1139, "Invalid ticker type."), "FULL")
        now = self._exchange.now_ms
        shape = _full_day if kind == "FULL" else _mini_day
        return self.tickers(params, lambda market: shape(Day(market, now)))

    def tickers(
        self, params: Params, shape: Callable[[Market], Row], most: int | None = None
    ) -> Row | list[Row]:
        """An object for `symbol`, else an array, even of one (binance-spot 2.1)."""
        symbol, symbols = params.text("symbol"), params.symbols()
        status = params.choice("symbolStatus", STATUSES, SpotError(-1122, "Invalid symbolStatus."))
        params.finish()
        if symbol and symbols is not None:
            raise bad_combination()
        listed = {one.symbol: one for one in self._info.instruments()}
        wanted = list(listed) if symbols is None else symbols
        names = [symbol] if symbol else wanted
        if most is not None and len(names) > most:
            raise SpotError(-1101, f"Too many parameters; expected '{most}' and received '{len(names)}'.")
        if not listed.keys() >= set(names):
            raise bad_symbol()
        fitting = [name for name in names if status in ("", self._info.status(listed[name]))]
        if symbol and not fitting:
            raise _status_mismatch()
        rows = [{"symbol": name} | shape(self._exchange.state.markets[name]) for name in fitting]
        return rows[0] if symbol else rows

    def _market(self, params: Params) -> Market:
        return self._exchange.state.markets[self._finding.instrument(params.need("symbol")).symbol]

    def _check_status(self, params: Params, instrument: Instrument) -> None:
        wanted = params.choice("symbolStatus", STATUSES, SpotError(-1122, "Invalid symbolStatus."))
        if wanted not in ("", self._info.status(instrument)):
            raise _status_mismatch()


def _status_mismatch() -> SpotError:
    return SpotError(-1220, "The symbol's status does not match the requested symbolStatus.")


def _trade_rows(trade: AggTrade, market: Market) -> list[dict[str, Any]]:
    return [
        {
            "id": trade_id,
            "price": price(market.instrument, trade.price),
            "qty": quantity(market.instrument, size),
            "quoteQty": price(market.instrument, quote),
            "time": Ms(trade.time_ms),
            "isBuyerMaker": trade.buyer_is_maker,
            "isBestMatch": True,
        }
        for trade_id, size, quote in matches_of(trade, market)
    ]


def read_shift(zone: str) -> int:
    """A time zone such as -1:00, 05:45 or 8, from -12:00 to +14:00, in ms."""
    hours, _, minutes = zone.lstrip("+-").partition(":")
    if not (hours + minutes).isascii() or not (hours + minutes).isdigit() or int(minutes or 0) >= 60:
        raise not_valid("timeZone")
    shift = (int(hours or 0) * 60 + int(minutes or 0)) * MINUTE_MS
    shift = -shift if zone.startswith("-") else shift
    if not -12 * 60 <= shift // MINUTE_MS <= 14 * 60:
        raise not_valid("timeZone")
    return shift


def _mini_day(day: Day) -> Row:
    instrument, candle = day.instrument, day.candle
    return {
        "openPrice": price(instrument, candle.open),
        "highPrice": price(instrument, candle.high),
        "lowPrice": price(instrument, candle.low),
        "lastPrice": price(instrument, candle.close),
        "volume": quantity(instrument, candle.base),
        "quoteVolume": price(instrument, candle.quote),
        "openTime": Ms(day.open_ms),
        "closeTime": Ms(day.now_ms),
        "firstId": candle.first_id,
        "lastId": candle.last_id,
        "count": candle.trades,
    }


def _full_day(day: Day) -> Row:
    instrument = day.instrument
    bid, ask = best(day.market, "BUY"), best(day.market, "SELL")
    mini = _mini_day(day)
    return {
        "priceChange": price(instrument, day.change),
        "priceChangePercent": day.change_percent,
        "weightedAvgPrice": price(instrument, day.average),
        "prevClosePrice": price(instrument, day.candle.open),
        "lastPrice": mini.pop("lastPrice"),
        "lastQty": quantity(instrument, day.last_quantity),
        "bidPrice": bid[0],
        "bidQty": bid[1],
        "askPrice": ask[0],
        "askQty": ask[1],
        **mini,
    }
