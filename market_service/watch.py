"""One reader of prices: what it has not seen yet, at most one entry a symbol.

Newest wins: a slow reader skips prices, it never delays the feed and never makes it grow.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta

import msgspec

from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.quote import Quote

Key = tuple[Venue, str]

FLUSH_SECONDS = 0.05  # changes within this time travel together
HEARTBEAT_SECONDS = 0.9  # a little under the second that is promised


class Batch(msgspec.Struct, frozen=True):
    """What is new for a reader at one moment; empty in a heartbeat."""

    quotes: tuple[Quote, ...]
    made_at: datetime
    snapshot: bool = False


class Watch:
    """The news for one reader. The hub puts, the reader takes."""

    def __init__(self, stale_after_ms: int, clock: Clock, known: Iterable[Quote] = ()) -> None:
        self._stale_after = timedelta(milliseconds=stale_after_ms)
        self._clock = clock
        self._news: dict[Key, Quote] = {(quote.venue, quote.symbol): quote for quote in known}
        self._fresh: dict[Key, Quote] = {}  # what the reader was told last, where that was not stale
        self._look_at: datetime | None = None  # none of _fresh turns stale before this
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, quote: Quote) -> None:
        """Keep only the newest quote of its symbol."""
        self._news[quote.venue, quote.symbol] = quote
        self._wake.set()

    def close(self) -> None:
        """No more news: the reader's iteration ends."""
        self._closed = True
        self._wake.set()

    async def batches(self) -> AsyncIterator[Batch]:
        """A snapshot, then changes as they come; where there are none, a heartbeat every second."""
        heartbeat_at = self._clock.monotonic() + HEARTBEAT_SECONDS
        yield self._take(snapshot=True)
        while not self._closed:
            await self._clock.sleep(FLUSH_SECONDS)
            await self._wait_until(heartbeat_at)
            batch = self._take()
            if batch.quotes or self._clock.monotonic() >= heartbeat_at:
                heartbeat_at = self._clock.monotonic() + HEARTBEAT_SECONDS
                yield batch

    async def _wait_until(self, heartbeat_at: float) -> None:
        """Until there is news, or a price turns stale, or the heartbeat is due."""
        seconds = heartbeat_at - self._clock.monotonic()
        if self._look_at is not None:
            seconds = min(seconds, (self._look_at - self._clock.now()).total_seconds())
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return  # nothing new by then: the caller looks at the clock

    def _take(self, *, snapshot: bool = False) -> Batch:
        now = self._clock.now()
        news, self._news = self._news, {}
        self._wake.clear()
        if self._closed:
            self._wake.set()
        if self._look_at is not None and now >= self._look_at:
            for key, quote in self._fresh.items():
                if self._is_stale(quote, now):
                    news.setdefault(key, quote)
        self._remember(news, now)
        return Batch(tuple(news.values()), now, snapshot)

    def _remember(self, told: dict[Key, Quote], now: datetime) -> None:
        for key, quote in told.items():
            if self._is_stale(quote, now):
                self._fresh.pop(key, None)
            else:
                self._fresh[key] = quote
        due = self._look_at is None or now >= self._look_at
        # A quote told later turns stale later, so the next look stays right until it is due.
        if due and self._fresh:
            earliest = min(quote.confirmed_at for quote in self._fresh.values())
            self._look_at = earliest + self._stale_after + timedelta(milliseconds=1)
        elif due:
            self._look_at = None

    def _is_stale(self, quote: Quote, now: datetime) -> bool:
        return quote.age(now) // timedelta(milliseconds=1) * timedelta(milliseconds=1) > self._stale_after
