"""Public REST reads: one venue's address, its request budget and its breaker.

The budget keeps this service within its own weight in every minute, so that it never spends
what placements need (architecture 5.9). When the venue says "stop" its door is closed (door.py).
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import aiohttp

from market_service.venues.door import Door
from market_service.venues.port import ReadRefused, Unavailable
from otopilot.clock import Clock
from otopilot.door import REFUSING
from otopilot.instrument import Venue

READ_SECONDS = 5.0  # for a whole answer
PATIENCE_SECONDS = 2.0  # for weight to become free
GREATEST_BODY = 64 * 1024 * 1024

Answer = TypeVar("Answer")


class WeightBudget:
    """A token bucket that stays within `per_minute` in *every* minute, not on average.

    A quarter may be spent at once, the rest flows in evenly.
    """

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._capacity = per_minute / 4
        self._per_second = (per_minute - self._capacity) / 60
        self._free = self._capacity
        self._counted_at = clock.monotonic()
        self._clock = clock

    def reserve(self, weight: int, patience: float) -> float | None:
        """Seconds until this weight may be spent, or none if that is longer than `patience`."""
        now = self._clock.monotonic()
        self._free = min(self._capacity, self._free + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        # A weight above the capacity is let through on a full bucket, or it never could be.
        lacking = min(weight, self._capacity) - self._free
        wait = max(0.0, lacking / self._per_second)
        if wait > patience:
            return None
        self._free -= weight
        return wait


class PublicRest:
    """GETs one venue's public paths. Every failure is Unavailable."""

    def __init__(
        self,
        venue: Venue,
        url: str,
        session: aiohttp.ClientSession,
        budget: WeightBudget,
        clock: Clock,
        door: Door,
    ) -> None:
        self.venue = venue
        self.url = url
        self._session = session
        self._budget = budget
        self._clock = clock
        self._door = door

    async def get(self, path: str, params: Mapping[str, str], *, weight: int) -> bytes:
        """The body of a 200. Raises ReadRefused for another 4xx, Unavailable for all else."""
        await self._admit(weight)
        try:
            async with self._session.get(
                self.url + path,
                params=params,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=READ_SECONDS),
            ) as response:
                body = await _bounded_body(response)
        except TimeoutError:
            raise self._door.unavailable(f"no answer within {READ_SECONDS:g} s") from None
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise self._door.unavailable(f"{type(error).__name__}: {error}") from None
        if response.status == 200:
            return body
        said = f"HTTP {response.status} {body[:200].decode(errors='replace')}".strip()
        if response.status in REFUSING:
            raise self._door.refused(response.status, response.headers.get("Retry-After", ""), said)
        kind = ReadRefused if 400 <= response.status < 500 else Unavailable
        raise kind(self.venue, self.url, said)

    def understood(self, parse: Callable[[], Answer]) -> Answer:
        """What `parse` makes of an answer; its ValueError says that nothing can be made of it."""
        try:
            return parse()
        except ValueError as error:
            raise self._door.unavailable(f"an answer that cannot be understood: {error}") from None

    async def _admit(self, weight: int) -> None:
        self._door.check()
        wait = self._budget.reserve(weight, PATIENCE_SECONDS)
        if wait is None:
            raise self._door.unavailable("the request budget is used up for now", PATIENCE_SECONDS)
        if wait > 0:
            await self._clock.sleep(wait)


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > GREATEST_BODY:
            raise ValueError(f"an answer of more than {GREATEST_BODY} bytes")
    return bytes(body)
