"""Public REST reads: one venue's address, its request budget and its breaker.

The budget keeps this service within its own weight in every minute, so that it never spends
what placements need (architecture 5.9). The breaker opens when the venue says "stop" (403,
418, 429): until the time it named nothing is sent at all.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import aiohttp

from market_service.venues.port import ReadRefused, Unavailable
from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import Venue

READ_SECONDS = 5.0  # for a whole answer
PATIENCE_SECONDS = 2.0  # for weight to become free
GREATEST_BODY = 64 * 1024 * 1024
STOP_STATUSES = {403: 60.0, 418: 120.0, 429: 10.0}  # and how long, when the venue does not say

_log = log.get("rest")
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
        self, venue: Venue, url: str, session: aiohttp.ClientSession, budget: WeightBudget, clock: Clock
    ) -> None:
        self.venue = venue
        self.url = url
        self._session = session
        self._budget = budget
        self._clock = clock
        self._closed_until = 0.0  # monotonic; the breaker

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
            raise self._unavailable(f"no answer within {READ_SECONDS:g} s") from None
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise self._unavailable(f"{type(error).__name__}: {error}") from None
        if response.status == 200:
            return body
        said = f"HTTP {response.status} {body[:200].decode(errors='replace')}".strip()
        if response.status in STOP_STATUSES:
            raise self._open_breaker(response.status, response.headers.get("Retry-After", ""), said)
        kind = ReadRefused if 400 <= response.status < 500 else Unavailable
        raise kind(self.venue, self.url, said)

    def understood(self, parse: Callable[[], Answer]) -> Answer:
        """What `parse` makes of an answer; its ValueError says that nothing can be made of it."""
        try:
            return parse()
        except ValueError as error:
            raise self._unavailable(f"an answer that cannot be understood: {error}") from None

    async def _admit(self, weight: int) -> None:
        closed = self._closed_until - self._clock.monotonic()
        if closed > 0:
            raise self._unavailable(f"the venue asked for silence, {closed:.0f} s more", closed)
        wait = self._budget.reserve(weight, PATIENCE_SECONDS)
        if wait is None:
            raise self._unavailable("the request budget is used up for now", PATIENCE_SECONDS)
        if wait > 0:
            await self._clock.sleep(wait)

    def _open_breaker(self, status: int, retry_after: str, said: str) -> Unavailable:
        seconds = float(retry_after) if retry_after.isdecimal() else STOP_STATUSES[status]
        self._closed_until = max(self._closed_until, self._clock.monotonic() + seconds)
        _log.warning("venue asked for silence", venue=self.venue, url=self.url, seconds=seconds, said=said)
        return self._unavailable(f"{said}; silent for {seconds:g} s", seconds)

    def _unavailable(self, cause: str, retry_after: float = 0.0) -> Unavailable:
        return Unavailable(self.venue, self.url, cause, retry_after=retry_after)


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > GREATEST_BODY:
            raise ValueError(f"an answer of more than {GREATEST_BODY} bytes")
    return bytes(body)
