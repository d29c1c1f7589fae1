"""Prices as the strategy service gets them: of the exchange, with stalls and breaks."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from otopilot.instrument import Instrument, Venue
from otopilot.quote import Quote
from strategy_service.clients import PriceKey, Refused, Unreached
from tests.simulation.scenario import MARKETS

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

BEAT_SECONDS = 0.5


class SimMarket:
    """MarketClient over the exchange's last prices."""

    def __init__(self, simulation: "Simulation", seed: str) -> None:
        self._sim = simulation
        self._dice = random.Random(seed)
        self._sequence = 0

    async def instrument(
        self, venue: Venue, token: str, chain: str | None, max_age_seconds: float
    ) -> Instrument:
        """As the order service's adapter reads it."""
        server = self._sim.order
        symbol = next(m[0] for m in MARKETS if (m[1], m[2]) == (venue, token))
        if server is None or not server.ready:
            raise Unreached("UNAVAILABLE", "UNAVAILABLE", "no connection")
        session = next((s for s in server.sessions.all() if s.venue is venue), None)
        if session is None:
            raise Unreached("UNAVAILABLE", "UNAVAILABLE", "no connection")
        reading = server.call(session.port.instrument(symbol), "instrument")
        try:
            done, _ = await asyncio.wait({reading}, timeout=5.0)
        finally:
            reading.cancel()
        if not done or reading.exception() is not None:
            raise Unreached("UNAVAILABLE", "UNAVAILABLE", "no instrument")
        found: Instrument = reading.result()
        return found

    async def price(self, key: PriceKey) -> Quote:
        """The last price, just confirmed."""
        await asyncio.sleep(0.002)
        profile = self._sim.network.profile
        if profile is not None and self._dice.random() < profile.price_stall * 4:
            raise Unreached("UNAVAILABLE", "UNAVAILABLE", "no connection")
        if key.symbol not in self._sim.exchange.state.markets:
            raise Refused("NOT_FOUND", "UNKNOWN_SYMBOL", key.symbol)
        return self.quote(key)

    async def watch(self, keys: Sequence[PriceKey]) -> AsyncIterator[Sequence[Quote]]:
        """A batch on every beat; sometimes nothing for long, sometimes a broken stream."""
        while True:
            yield [self.quote(key) for key in keys]
            await asyncio.sleep(BEAT_SECONDS)
            profile = self._sim.network.profile
            if profile is not None and self._dice.random() < profile.price_stall:
                await asyncio.sleep(self._dice.uniform(1.0, 8.0))
                if self._dice.random() < 0.5:
                    raise Unreached("UNAVAILABLE", "UNAVAILABLE", "stream broken")

    def quote(self, key: PriceKey) -> Quote:
        """The price as it is now; told to somebody."""
        now = self._sim.clock.now()
        self._sequence += 1
        quote = Quote(
            venue=key.venue,
            symbol=key.symbol,
            price=self._sim.exchange.price(key.symbol),
            traded_at=now,
            confirmed_at=now,
            sequence=self._sequence,
        )
        self._sim.quoted(quote)
        return quote
