"""One symbol's market: its book, its path, its tape, and how the house quotes around the path."""

import random
from decimal import ROUND_CEILING, Decimal

import msgspec

from paper_exchange.config import Instrument
from paper_exchange.matching import Book, crosses, opposite
from paper_exchange.model import AggTrade, Side
from paper_exchange.numbers import EXACT, HUNDRED, ZERO, floor_to, half_up, product
from paper_exchange.price_path import PathState, PricePath
from paper_exchange.tape import MINUTE_MS, Candle, Tape

FIRST_MATCH_ID = 900_000


class MarketRecord(msgspec.Struct):
    """What of a market survives a restart; the house quotes afresh."""

    symbol: str
    path: PathState
    next_tick_ms: int
    match_id: int = FIRST_MATCH_ID
    agg_id: int = 0
    update_id: int = 1
    prevented_id: int = 0


class Market:
    """Owns a symbol's book, path and tape; the engine drives it."""

    def __init__(
        self,
        instrument: Instrument,
        seed: str,
        record: MarketRecord | None,
        trades: list[AggTrade],
        candles: list[Candle],
        now_ms: int,
    ) -> None:
        self.instrument = instrument
        self.path = PricePath(instrument.path, f"{seed}/{instrument.symbol}")
        self.tick_ms = int(instrument.path.tick_interval_seconds * 1000)
        self.record = record or MarketRecord(
            symbol=instrument.symbol,
            path=PathState(ticks=0, price=instrument.path.start),
            next_tick_ms=now_ms,
        )
        self.book = Book(self.record.update_id)
        # What a fault multiplies the path's price with.
        self.spike = Decimal(1)
        self.tape = Tape(instrument.symbol, trades, candles)

    @property
    def path_price(self) -> Decimal:
        """Where the path stands, as the market sees it."""
        return self.record.path.price * self.spike

    @property
    def last_price(self) -> Decimal:
        """The last public trade's price, or where the path stands before any."""
        return self.tape.trades[-1].price if self.tape.trades else self.on_grid(self.path_price, "BUY")

    @property
    def reference_price(self) -> Decimal | None:
        """What the venue calls the symbol's reference price; None if it has none now."""
        if self.instrument.reference_price != "path":
            return None
        return self.on_grid(self.path_price, "BUY")

    def average_price(self, now_ms: int, minutes: int) -> Decimal:
        """Weighted by volume over the last minutes; the last price when nothing traded in them."""
        recent = [c for c in self.tape.candles if c.open_ms > now_ms - (minutes + 1) * MINUTE_MS]
        base = sum((candle.base for candle in recent), ZERO)
        if not base:
            return self.last_price
        return half_up(sum((candle.quote for candle in recent), ZERO) / base, self.instrument.quote_precision)

    def percent_reference(self, now_ms: int) -> Decimal:
        """What PERCENT_PRICE measures from: the reference price, else the average over the filter's
        minutes, else the last price (binance-spot 2.3)."""
        minutes = self.instrument.avg_price_mins
        average = self.average_price(now_ms, minutes) if minutes else self.last_price
        return self.reference_price or average

    def would_match(self, side: Side, price: Decimal) -> bool:
        """Whether an order of this side and price would trade at once."""
        best = self.book.best(opposite(side))
        return best is not None and crosses(side, price, best.price)

    def on_grid(self, price: Decimal, side: Side) -> Decimal:
        """The price on the tick grid, rounded away from the other side."""
        tick = self.instrument.tick_size
        if side == "BUY":
            rounded = floor_to(price, tick)
        else:
            rounded = product(EXACT.divide(price, tick).to_integral_value(ROUND_CEILING), tick)
        return min(max(rounded, self.instrument.min_price), self.instrument.max_price)

    def quantity_of(self, notional: Decimal, price: Decimal) -> Decimal:
        """A quantity on the step worth about so much."""
        quantity = floor_to(notional / price, self.instrument.step_size)
        return min(max(quantity, self.instrument.min_quantity), self.instrument.max_quantity)

    def house_levels(self, side: Side) -> list[tuple[Decimal, Decimal]]:
        """The house's price levels of one side around the path, best first."""
        house = self.instrument.house
        away = -1 if side == "BUY" else 1
        levels = []
        for index in range(house.levels):
            percent = house.spread_percent / 2 + index * house.level_gap_percent
            price = self.on_grid(self.path_price * (1 + away * percent / HUNDRED), side)
            levels.append((price, self.quantity_of(house.level_notional, price)))
        return levels

    def dice(self) -> random.Random:
        """Randomness that belongs to the next public trade alone."""
        return self.path.dice(self.record.agg_id)

    def house_print(self, dice: random.Random) -> tuple[Decimal, Decimal]:
        """Price and quantity of a trade the house prints: on the path, but inside the book."""
        house = self.instrument.house
        price = self.on_grid(self.path_price, "BUY")
        bid, ask = self.book.best("BUY"), self.book.best("SELL")
        if bid is not None:
            price = max(price, bid.price)
        if ask is not None:
            price = min(price, ask.price)
        span = house.print_notional_max - house.print_notional_min
        notional = house.print_notional_min + max(span, Decimal(0)) * dice.randrange(1000) / 1000
        return price, self.quantity_of(notional, price)
