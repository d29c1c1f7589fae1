"""The services' clock in the simulation: the loop's time, ids and chance of the seed."""

import asyncio
import random
from datetime import datetime, timedelta

from tests.simulation.loop import SimLoop


class SimClock:
    """otopilot.clock.Clock over a SimLoop. One per process start: its ids never repeat."""

    def __init__(self, loop: SimLoop, start: datetime, seed: str) -> None:
        self._loop = loop
        self._start = start
        self._dice = random.Random(seed)
        self._moment, self._now = 0.0, start  # asked for many times a moment

    def now(self) -> datetime:
        """The time of day."""
        moment = self._loop.time()
        if moment != self._moment:
            self._moment, self._now = moment, self._start + timedelta(seconds=moment)
        return self._now

    def monotonic(self) -> float:
        """The loop's time."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(max(0.0, seconds))

    def new_id(self) -> str:
        """16 hexadecimal digits."""
        return f"{self._dice.getrandbits(64):016x}"

    def uniform(self, low: float, high: float) -> float:
        """Chance of the seed."""
        return self._dice.uniform(low, high)
