"""The public record of one symbol: trades, candles, the day's figures.

Owned by a Market. Keeps the newest thousand trades and a day and a bit of minute candles; both
are written in rings so the disk does not grow with time.
"""

from collections import deque
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple, Protocol

import msgspec

from paper_exchange.model import AggTrade, Side
from paper_exchange.numbers import ZERO

TRADES_KEPT = 1000
CANDLES_KEPT = 1500
MINUTE_MS = 60_000
DAY_MS = 86_400_000


class Candle(msgspec.Struct):
    """`taker_base` and `taker_quote` are what takers bought."""

    symbol: str
    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    base: Decimal
    quote: Decimal
    trades: int
    first_id: int
    last_id: int
    taker_base: Decimal
    taker_quote: Decimal

    def absorb(self, other: "Candle") -> None:
        """Take in the next candle (or trade) of the same interval."""
        self.high, self.low, self.close = max(self.high, other.high), min(self.low, other.low), other.close
        self.base += other.base
        self.quote += other.quote
        self.trades += other.trades
        self.last_id = other.last_id
        self.taker_base += other.taker_base
        self.taker_quote += other.taker_quote


class Match(NamedTuple):
    """One match of a sweep."""

    match_id: int
    price: Decimal
    quantity: Decimal
    quote: Decimal


class Counter(Protocol):
    """Where a symbol's public trades are counted."""

    symbol: str
    agg_id: int


def aggregate(matches: list[Match], counter: Counter, taker_side: Side, now_ms: int) -> list[AggTrade]:
    """A sweep as public trades, one a price."""
    trades = []
    for price, group in groupby(matches, lambda match: match.price):
        same = list(group)
        counter.agg_id += 1
        trade = AggTrade(
            agg_id=counter.agg_id,
            symbol=counter.symbol,
            price=price,
            quantity=sum((match.quantity for match in same), ZERO),
            quote=sum((match.quote for match in same), ZERO),
            first_id=same[0].match_id,
            last_id=same[-1].match_id,
            buyer_is_maker=taker_side == "SELL",
            time_ms=now_ms,
            sizes=tuple(match.quantity for match in same) if len(same) > 1 else (),
        )
        trades.append(trade)
    return trades


class Tape:
    """Trades and minute candles of a symbol."""

    def __init__(self, symbol: str, trades: list[AggTrade], candles: list[Candle]) -> None:
        self.symbol = symbol
        self.trades = deque(sorted(trades, key=lambda t: t.agg_id), maxlen=TRADES_KEPT)
        self.candles = deque(sorted(candles, key=lambda c: c.open_ms), maxlen=CANDLES_KEPT)

    def add(self, trade: AggTrade) -> Candle:
        """Record a trade; the minute candle it changed."""
        self.trades.append(trade)
        fresh = _candle(trade, MINUTE_MS)
        if self.candles and self.candles[-1].open_ms >= fresh.open_ms:
            self.candles[-1].absorb(fresh)
        else:
            self.candles.append(fresh)
        return self.candles[-1]

    def up_to(self, told_ms: int) -> "Tape":
        """The record as it was then: minutes that were over as they are, the one under way from its
        trades, as far as these are still kept."""
        minute = told_ms - told_ms % MINUTE_MS
        known = [trade for trade in self.trades if trade.time_ms <= told_ms]
        over = [msgspec.structs.replace(candle) for candle in self.candles if candle.open_ms < minute]
        then = Tape(self.symbol, [trade for trade in known if trade.time_ms < minute], over)
        for trade in known:
            if trade.time_ms >= minute:
                then.add(trade)
        return then

    def klines(self, interval_ms: int, first_ms: int = 0) -> list[Candle]:
        """Candles of an interval, oldest first: under a minute from trades, else from minutes.

        One of them opens at `first_ms`, the others whole intervals before and after it.
        """
        merged: list[Candle] = []
        if interval_ms < MINUTE_MS:
            sources = [_candle(trade, interval_ms) for trade in self.trades]
        else:
            sources = [msgspec.structs.replace(candle) for candle in self.candles]
        for source in sources:
            source.open_ms -= (source.open_ms - first_ms) % interval_ms
            if merged and merged[-1].open_ms == source.open_ms:
                merged[-1].absorb(source)
            else:
                merged.append(source)
        return merged

    def day(self, now_ms: int) -> Candle | None:
        """The last 24 hours as one candle, or None when nothing traded."""
        return self.since(now_ms - DAY_MS + 1)

    def since(self, first_ms: int) -> Candle | None:
        """What traded in the minutes from then on as one candle, or None when nothing did."""
        recent = [candle for candle in self.candles if candle.open_ms >= first_ms]
        if not recent:
            return None
        total = msgspec.structs.replace(recent[0])
        for candle in recent[1:]:
            total.absorb(candle)
        return total


def _candle(trade: AggTrade, interval_ms: int) -> Candle:
    bought = not trade.buyer_is_maker
    return Candle(
        symbol=trade.symbol,
        open_ms=trade.time_ms - trade.time_ms % interval_ms,
        open=trade.price,
        high=trade.price,
        low=trade.price,
        close=trade.price,
        base=trade.quantity,
        quote=trade.quote,
        trades=trade.last_id - trade.first_id + 1,
        first_id=trade.first_id,
        last_id=trade.last_id,
        taker_base=trade.quantity if bought else ZERO,
        taker_quote=trade.quote if bought else ZERO,
    )
