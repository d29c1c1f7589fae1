"""Spot's market stream payloads (binance-spot 5).

bookTicker and partial depth carry no event type and no time, as on the venue.
"""

from paper_exchange.intervals import last_ms
from paper_exchange.market import Market
from paper_exchange.model import AggTrade
from paper_exchange.numbers import ZERO
from paper_exchange.spot_quotes import (
    Day,
    agg_trade,
    average_price,
    best,
    levels,
    matches_of,
)
from paper_exchange.spot_wire import Ms, Row, price, quantity
from paper_exchange.tape import Candle

Levels = dict[str, str]


def agg_trade_frame(trade: AggTrade, market: Market) -> Row:
    return {"e": "aggTrade", "E": Ms(trade.time_ms), "s": trade.symbol} | agg_trade(trade, market)


def trade_frames(trade: AggTrade, market: Market) -> list[Row]:
    return [
        {
            "e": "trade",
            "E": Ms(trade.time_ms),
            "s": trade.symbol,
            "t": trade_id,
            "p": price(market.instrument, trade.price),
            "q": quantity(market.instrument, size),
            "T": Ms(trade.time_ms),
            "m": trade.buyer_is_maker,
            "M": True,
        }
        for trade_id, size, _ in matches_of(trade, market)
    ]


def book_ticker_frame(market: Market) -> Row:
    bid, ask = best(market, "BUY"), best(market, "SELL")
    return {
        "u": market.book.update_id,
        "s": market.instrument.symbol,
        "b": bid[0],
        "B": bid[1],
        "a": ask[0],
        "A": ask[1],
    }


def partial_depth_frame(market: Market, limit: int) -> Row:
    return {
        "lastUpdateId": market.book.update_id,
        "bids": levels(market, "BUY", limit),
        "asks": levels(market, "SELL", limit),
    }


def depth_frame(
    market: Market, now_ms: int, last_update_id: int, bids: list[list[str]], asks: list[list[str]]
) -> Row:
    """What changed since the update id told last."""
    return {
        "e": "depthUpdate",
        "E": Ms(now_ms),
        "s": market.instrument.symbol,
        "U": last_update_id + 1,
        "u": market.book.update_id,
        "b": bids,
        "a": asks,
    }


def changes(before: Levels, after: Levels, market: Market) -> list[list[str]]:
    """Levels that are new or other than before; a quantity of zero removes one."""
    gone = {level: quantity(market.instrument, ZERO) for level in before if level not in after}
    moved = {level: size for level, size in after.items() if before.get(level) != size}
    return [[level, size] for level, size in (gone | moved).items()]


def kline_frame(candle: Candle, market: Market, now_ms: int, interval: str, shift_ms: int = 0) -> Row:
    instrument = market.instrument
    closes_ms = last_ms(candle.open_ms, interval, shift_ms)
    return {
        "e": "kline",
        "E": Ms(now_ms),
        "s": candle.symbol,
        "k": {
            "t": Ms(candle.open_ms),
            "T": Ms(closes_ms),
            "s": candle.symbol,
            "i": interval,
            "f": candle.first_id,
            "L": candle.last_id,
            "o": price(instrument, candle.open),
            "c": price(instrument, candle.close),
            "h": price(instrument, candle.high),
            "l": price(instrument, candle.low),
            "v": quantity(instrument, candle.base),
            "n": candle.trades,
            "x": now_ms > closes_ms,
            "q": price(instrument, candle.quote),
            "V": quantity(instrument, candle.taker_base),
            "Q": price(instrument, candle.taker_quote),
            "B": "0",
        },
    }


def mini_ticker_frame(market: Market, now_ms: int) -> Row:
    instrument, candle = market.instrument, Day(market, now_ms).candle
    return {
        "e": "24hrMiniTicker",
        "E": Ms(now_ms),
        "s": instrument.symbol,
        "c": price(instrument, candle.close),
        "o": price(instrument, candle.open),
        "h": price(instrument, candle.high),
        "l": price(instrument, candle.low),
        "v": quantity(instrument, candle.base),
        "q": price(instrument, candle.quote),
    }


def ticker_frame(market: Market, now_ms: int) -> Row:
    day, instrument = Day(market, now_ms), market.instrument
    candle, bid, ask = day.candle, best(market, "BUY"), best(market, "SELL")
    return {
        "e": "24hrTicker",
        "E": Ms(now_ms),
        "s": instrument.symbol,
        "p": price(instrument, day.change),
        "P": day.change_percent,
        "w": price(instrument, day.average),
        "x": price(instrument, candle.open),
        "c": price(instrument, candle.close),
        "Q": quantity(instrument, day.last_quantity),
        "b": bid[0],
        "B": bid[1],
        "a": ask[0],
        "A": ask[1],
        "o": price(instrument, candle.open),
        "h": price(instrument, candle.high),
        "l": price(instrument, candle.low),
        "v": quantity(instrument, candle.base),
        "q": price(instrument, candle.quote),
        "O": Ms(day.open_ms),
        "C": Ms(now_ms),
        "F": candle.first_id,
        "L": candle.last_id,
        "n": candle.trades,
    }


def average_frame(market: Market, now_ms: int) -> Row:
    found = average_price(market, now_ms)
    return {
        "e": "avgPrice",
        "E": Ms(now_ms),
        "s": market.instrument.symbol,
        "i": f"{found['mins']}m",
        "w": found["price"],
        "T": found["closeTime"],
    }


def reference_frames(market: Market, now_ms: int) -> list[Row]:
    """None for a symbol that never had a reference price; null while it has none (binance-spot 2.4)."""
    if market.instrument.reference_price == "never":
        return []
    found = market.reference_price
    told = None if found is None else price(market.instrument, found)
    return [{"e": "referencePrice", "s": market.instrument.symbol, "r": told, "t": Ms(now_ms)}]
