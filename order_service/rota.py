"""Whose turn it is to be swept: a few users of a venue at a time, the urgent first, the rest in rotation.

The rate budget says how much may be asked; the rota keeps many half-read accounts from sharing it, so
that each sweep is short and the time a whole rotation takes is known (architecture 5.9, reliability 10).
"""

import asyncio
import heapq
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.order import UserId

MOST_AT_ONCE = 16  # a user whose venue side hangs delays the others' rotation, but does not stop it
SLOW_SECONDS = 60.0

_log = log.get("rota")
Key = tuple[Venue, UserId]


@dataclass
class _Line:
    """Those of one venue who are swept, and those who wait for it."""

    busy: int = 0
    waiting: list[tuple[bool, int, "asyncio.Future[None]"]] = field(default_factory=list)


class Rota:
    """Gives out turns, and knows how long each user's last rotation took."""

    def __init__(self, clock: Clock, most: int = MOST_AT_ONCE) -> None:
        self._clock = clock
        self._most = most
        self._lines: dict[Venue, _Line] = defaultdict(_Line)
        self._number = 0
        self._swept_at: dict[Key, float] = {}
        self._took: dict[Key, float] = {}
        self._warned_at = -SLOW_SECONDS

    @asynccontextmanager
    async def turn(self, key: Key, *, urgent: bool) -> AsyncIterator[None]:
        """The user's turn: urgent where something is not settled, else when its place comes."""
        line = self._lines[key[0]]
        await self._wait(line, urgent)
        try:
            yield
        finally:
            line.busy -= 1
            self._let_in(line)

    def swept(self, key: Key) -> None:
        """The user was read whole just now."""
        now = self._clock.monotonic()
        before = self._swept_at.get(key)
        self._swept_at[key] = now
        if before is None:
            return
        self._took[key] = now - before
        if now - before > SLOW_SECONDS and now - self._warned_at >= SLOW_SECONDS:
            self._warned_at = now
            _log.warning("sweeps are slow", venue=key[0], seconds=round(self.rotation_seconds(key[0]), 1))

    def forget(self, key: Key) -> None:
        """The user is kept no more."""
        self._swept_at.pop(key, None)
        self._took.pop(key, None)

    def rotation_seconds(self, venue: Venue) -> float:
        """The longest time between a user's last two sweeps there; 0 before there were two."""
        return max((took for (where, _), took in self._took.items() if where is venue), default=0.0)

    def waiting(self, venue: Venue) -> int:
        """How many wait for their turn."""
        return len(self._lines[venue].waiting)

    async def _wait(self, line: _Line, urgent: bool) -> None:
        if line.busy < self._most and not line.waiting:
            line.busy += 1
            return
        self._number += 1
        place = (not urgent, self._number, asyncio.get_running_loop().create_future())
        heapq.heappush(line.waiting, place)
        self._let_in(line)
        try:
            await place[2]
        except asyncio.CancelledError:
            if place in line.waiting:
                line.waiting.remove(place)
                heapq.heapify(line.waiting)
            elif not place[2].cancelled():
                line.busy -= 1  # it had just been let in
                self._let_in(line)
            raise

    def _let_in(self, line: _Line) -> None:
        while line.waiting and line.busy < self._most:
            _, _, future = heapq.heappop(line.waiting)
            if not future.done():
                line.busy += 1
                future.set_result(None)
