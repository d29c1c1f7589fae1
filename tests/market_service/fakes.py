"""A clock and a venue that do what a test says, in no time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from market_service.venues.port import FeeRates, Listing, OnTick, Reading, Tick, Unavailable
from otopilot.instrument import Instrument, Venue

START = datetime(2026, 11, 20, tzinfo=UTC)


class FakeClock:
    """Time stands still until advanced; sleeping lets others run and takes no time."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.wall_offset = timedelta()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed) + self.wall_offset

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def new_id(self) -> str:
        return "0" * 16

    def uniform(self, low: float, high: float) -> float:
        return high


class FakeLine:
    """A socket that only remembers."""

    def __init__(self, on_tick: OnTick, room: int, run: Callable[[], Awaitable[None]]) -> None:
        self.say = on_tick
        self.run = run
        self.symbols: list[str] = []
        self._room = room

    @property
    def has_room(self) -> bool:
        return len(self.symbols) < self._room

    def add(self, symbol: str) -> None:
        self.symbols.append(symbol)

    def drop(self, symbol: str) -> None:
        self.symbols.remove(symbol)

    def vouch(self, symbol: str) -> None: ...

    def missed(self, symbol: str) -> None: ...


async def _forever() -> None:
    await asyncio.Event().wait()


class FakeVenue:
    """A venue whose reads answer from dictionaries, or fail."""

    venue = Venue.ALPHA
    url = "http://venue.test"
    symbols_per_read = 10

    def __init__(self, clock: FakeClock, *instruments: Instrument, room: int = 200) -> None:
        self.instruments = {item.symbol: item for item in instruments}
        self.ticks: dict[str, Tick] = {}
        self.lines: list[FakeLine] = []
        self.reads: list[tuple[str, ...]] = []
        self.listings = 0
        self.failing = False
        self.line_runs: Callable[[], Awaitable[None]] = _forever
        self._clock = clock
        self._room = room

    async def listing(self) -> Listing:
        self.listings += 1
        await asyncio.sleep(0)
        self._fail()
        return Listing(dict(self.instruments), {"56": "BSC"})

    async def fee_rates(self, symbol: str) -> FeeRates | None:
        self._fail()
        return FeeRates(Decimal("0.0001"), Decimal("0.0001"))

    async def last_trades(self, known: Mapping[str, Tick | None]) -> AsyncIterator[Reading]:
        self.reads.append(tuple(known))
        await asyncio.sleep(0)
        self._fail()
        for symbol in known:
            if symbol in self.ticks:
                yield Reading(self.ticks[symbol], self._clock.now())

    def line(self, on_tick: OnTick, wanted: Callable[[], bool]) -> FakeLine:
        self.lines.append(FakeLine(on_tick, self._room, self.line_runs))
        return self.lines[-1]

    def _fail(self) -> None:
        if self.failing:
            raise Unavailable(self.venue, self.url, "told to fail")


def instrument(symbol: str, token: str, chain: str = "BSC", **other: object) -> Instrument:
    """An instrument with plain rules."""
    base = symbol.removesuffix("USDT").removesuffix("USDC")
    rules = {"tick_size": Decimal("0.01"), "step_size": Decimal("0.01"), "quote_asset": "USDT"} | other
    return Instrument(venue=Venue.ALPHA, symbol=symbol, token=token, chain=chain, base_asset=base, **rules)  # type: ignore[arg-type]


def tick(symbol: str, price: str, number: int = 1, at: datetime = START) -> Tick:
    """A trade."""
    return Tick(symbol, Decimal(price), at + timedelta(milliseconds=number), number)
