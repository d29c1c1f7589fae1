"""What Spot measures PERCENT_PRICE and PERCENT_PRICE_BY_SIDE from (binance-spot 2.3).

The symbol's reference price where it has one, else the average price over the filter's `avgPriceMins`,
else, with `avgPriceMins` 0, the last price. A price that cannot be read in time is not known, and then
the venue decides: it refuses with a definite no whatever is outside its band (binance-spot 2.3), which
costs less than to hold back orders that it would take. A price that is nonsense places nothing.
"""

import asyncio
from decimal import Decimal
from typing import Any

import msgspec

from order_service.venues import spot_parse as spot
from order_service.venues.port import VenueError, VenueRefused
from order_service.venues.reading import Kept
from order_service.venues.spot_rest import SpotRest
from otopilot import log
from otopilot.clock import Clock

BAND_SECONDS = 2.0
BAND_WITHIN_SECONDS = 0.5  # of a placement; then it goes on without
NEVER_FOR = 300.0  # a symbol that never had a reference price: it may get one
MAX_SYMBOLS = 1000
UNREADABLE = "unreadable"
_NEVER_HAD_ONE = "-2043"

_log = log.get("spot_band")


class _Found(msgspec.Struct, frozen=True):
    """An answer, also when it is that nothing is known: nobody waits for the same again at once."""

    price: Decimal | None


class BandPrices:
    """One venue's; shared by its accounts."""

    def __init__(self, rest: SpotRest, clock: Clock) -> None:
        self._rest = rest
        self._clock = clock
        self._kept: dict[tuple[str, int | None], Kept[_Found]] = {}
        self._never_until: dict[str, float] = {}

    async def get(self, symbol: str, minutes: int | None) -> Decimal | None:
        """The price; `minutes`: the filter's avgPriceMins, none where it is not told."""
        key = (symbol, minutes)
        if key not in self._kept:
            if len(self._kept) >= MAX_SYMBOLS:
                self._kept.clear()
                self._never_until.clear()

            async def read() -> _Found:
                return await self._in_time(symbol, minutes)

            self._kept[key] = Kept(self._clock, BAND_SECONDS, read, keep_last=False)
        return (await self._kept[key].get()).price

    async def _in_time(self, symbol: str, minutes: int | None) -> _Found:
        try:
            async with asyncio.timeout(BAND_WITHIN_SECONDS):
                return _Found(await self._read(symbol, minutes))
        except (VenueError, TimeoutError) as error:
            if isinstance(error, VenueError) and error.code == UNREADABLE:
                raise  # an absurd price is no missing one: nothing is placed on it (reliability 60)
            _log.info("price of the band not known: the venue decides", symbol=symbol, error=str(error))
            return _Found(None)

    async def _read(self, symbol: str, minutes: int | None) -> Decimal | None:
        own = await self._reference(symbol)
        if own is not None or minutes is None:
            return own
        if minutes == 0:
            return await self._rest.get("/api/v3/ticker/price", {"symbol": symbol}, spot.last_price)

        def average(answer: Any) -> Decimal | None:
            return spot.average_price(answer, minutes)

        return await self._rest.get("/api/v3/avgPrice", {"symbol": symbol}, average)

    async def _reference(self, symbol: str) -> Decimal | None:
        now = self._clock.monotonic()
        if now < self._never_until.get(symbol, now):
            return None
        try:
            return await self._rest.get("/api/v3/referencePrice", {"symbol": symbol}, spot.reference_price)
        except VenueRefused as refusal:
            if refusal.code != _NEVER_HAD_ONE:
                raise
        self._never_until[symbol] = now + NEVER_FOR
        return None
