"""A symbol's market in Spot's keys, shared by REST answers and streams (binance-spot 2.1, 5)."""

from decimal import Decimal

from paper_exchange.intervals import last_ms
from paper_exchange.market import Market
from paper_exchange.model import AggTrade, Side
from paper_exchange.numbers import ZERO, cut, half_up, product
from paper_exchange.spot_wire import Ms, Row, price, quantity
from paper_exchange.tape import DAY_MS, Candle

AVERAGE_MINUTES = 5


def levels(market: Market, side: Side, limit: int) -> list[list[str]]:
    """Price and quantity of the best levels, best first."""
    instrument = market.instrument
    return [[price(instrument, p), quantity(instrument, q)] for p, q in market.book.depth(side, limit)]


def best(market: Market, side: Side) -> list[str]:
    """The best level; zeros for an empty side."""
    found = levels(market, side, 1)
    return found[0] if found else [price(market.instrument, ZERO), quantity(market.instrument, ZERO)]


def matches_of(trade: AggTrade, market: Market) -> list[tuple[int, Decimal, Decimal]]:
    """The single trades of a public trade: id, quantity, quote amount."""
    sizes = trade.sizes or (trade.quantity,)
    places = market.instrument.quote_precision
    return [
        (trade.first_id + n, size, cut(product(trade.price, size), places)) for n, size in enumerate(sizes)
    ]


def agg_trade(trade: AggTrade, market: Market) -> Row:
    instrument = market.instrument
    return {
        "a": trade.agg_id,
        "p": price(instrument, trade.price),
        "q": quantity(instrument, trade.quantity),
        "f": trade.first_id,
        "l": trade.last_id,
        "T": Ms(trade.time_ms),
        "m": trade.buyer_is_maker,
        "M": True,
    }


def kline(candle: Candle, market: Market, interval: str, shift_ms: int = 0) -> list[object]:
    instrument = market.instrument
    return [
        Ms(candle.open_ms),
        price(instrument, candle.open),
        price(instrument, candle.high),
        price(instrument, candle.low),
        price(instrument, candle.close),
        quantity(instrument, candle.base),
        Ms(last_ms(candle.open_ms, interval, shift_ms)),
        price(instrument, candle.quote),
        candle.trades,
        quantity(instrument, candle.taker_base),
        price(instrument, candle.taker_quote),
        "0",
    ]


def average_price(market: Market, now_ms: int) -> Row:
    """Over the minutes of the symbol's filters, or where these have none over five."""
    minutes = market.instrument.avg_price_mins or AVERAGE_MINUTES
    trades = market.tape.trades
    return {
        "mins": minutes,
        "price": price(market.instrument, market.average_price(now_ms, minutes)),
        "closeTime": Ms(trades[-1].time_ms if trades else now_ms),
    }


class Span:
    """What a symbol did since a moment; one without a trade stands at its price with no volume."""

    def __init__(self, market: Market, open_ms: int, now_ms: int) -> None:
        self.market = market
        self.instrument = market.instrument
        self.open_ms = open_ms
        self.now_ms = now_ms
        last = market.last_price
        self.candle = market.tape.since(open_ms) or Candle(
            symbol=market.instrument.symbol,
            open_ms=now_ms,
            open=last,
            high=last,
            low=last,
            close=last,
            base=ZERO,
            quote=ZERO,
            trades=0,
            first_id=-1,
            last_id=-1,
            taker_base=ZERO,
            taker_quote=ZERO,
        )

    @property
    def last_quantity(self) -> Decimal:
        trades = self.market.tape.trades
        return trades[-1].quantity if trades else ZERO

    @property
    def change(self) -> Decimal:
        return self.candle.close - self.candle.open

    @property
    def change_percent(self) -> str:
        return format(half_up(self.change / self.candle.open * 100, 3), "f")

    @property
    def average(self) -> Decimal:
        if not self.candle.base:
            return self.candle.close
        return half_up(self.candle.quote / self.candle.base, self.instrument.quote_precision)


class Day(Span):
    """The last 24 hours."""

    def __init__(self, market: Market, now_ms: int) -> None:
        super().__init__(market, now_ms - DAY_MS, now_ms)
