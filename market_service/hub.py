"""The last price of each symbol: one upstream per symbol, fanned out by callback.

Owns the feeds, their sockets and their REST reads; every task lives in one group that ends
with the hub. The newest trade wins, wherever it came from. A price's age is the time since a
frame of its symbol, or a REST read made after `silence_seconds` without one, last confirmed
it (product 3.3).
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec

from market_service.venues.port import Line, MarketVenue, Reading, ReadRefused, Tick, Unavailable
from market_service.watch import Key, Watch
from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.quote import Quote, QuoteSource

GREATEST_SYMBOLS = 1000
WANTED_SECONDS = 60.0  # a symbol asked for this recently is kept fresh without a watcher
IDLE_SECONDS = 600.0  # a symbol nobody watched or asked for in that time is let go
READS_AT_ONCE = 4  # per venue
GREATEST_BEAT_SECONDS = 0.25
LATE_FRAME = timedelta(seconds=5)
UNREAD_SECONDS = 5.0  # a symbol that has no trade, or was refused, is asked for again after this
FIRST_BACKOFF_SECONDS = 0.5
GREATEST_BACKOFF_SECONDS = 10.0

_log = log.get("hub")


class TooManySymbols(Exception):
    """The hub follows as many symbols as it may."""


class _Upstream:
    """One venue: its sockets and the state of its reads."""

    def __init__(self, venue: MarketVenue) -> None:
        self.venue = venue
        self.lines: list[Line] = []
        self.reads = 0  # in flight
        self.failures = 0  # in a row
        self.read_again_at = 0.0  # monotonic


class _Feed:
    """One symbol."""

    def __init__(self, upstream: _Upstream, symbol: str, line: Line) -> None:
        self.upstream = upstream
        self.symbol = symbol
        self.line = line
        self.tick: Tick | None = None
        self.quote: Quote | None = None
        self.watches: dict[Watch, None] = {}
        self.first_price: set[asyncio.Future[Unavailable | None]] = set()
        self.wanted_until = 0.0  # monotonic, as the next three
        self.used_at = 0.0  # when it was last watched or asked for
        self.heard_at = 0.0
        self.read_again_at = 0.0
        self.reading = False
        self.alone = True  # its reads are not batched with others: not known yet, or refused


class Hub:
    """Prices of every venue. Use inside `async with hub.running()`."""

    def __init__(self, venues: Mapping[Venue, MarketVenue], clock: Clock, silence_seconds: float) -> None:
        self._upstreams = {name: _Upstream(venue) for name, venue in venues.items()}
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._beat_seconds = min(GREATEST_BEAT_SECONDS, silence_seconds / 4)
        self._feeds: dict[Key, _Feed] = {}
        self._watches: dict[Watch, None] = {}
        self._ending = False
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Hub"]:
        """Run until the block ends. A task that fails ends the block with its error."""
        failure: Exception | None = None
        async with asyncio.TaskGroup() as self._group:
            self._own(self._beat())
            try:
                yield self
            except Exception as error:
                failure = error  # the block's own: it leaves as it is, not inside a group
            finally:
                self.end_watches()
                for task in self._tasks:
                    task.cancel()
        if failure is not None:
            raise failure

    def follows(self, key: Key) -> bool:
        """Is this symbol's upstream running?"""
        return key in self._feeds

    async def price(self, key: Key, wait_seconds: float) -> Quote:
        """The last price; the first question starts the upstream and waits for it.

        Raises Unavailable when there is none within that time, TooManySymbols.
        """
        feed = self._open(key)
        asleep = not self._is_wanted(feed)
        feed.wanted_until = self._clock.monotonic() + WANTED_SECONDS
        if feed.quote is not None and not (asleep and self._is_silent(feed)):
            return feed.quote
        try:
            await self._read_now(feed, wait_seconds)
        except Unavailable:
            if feed.quote is None:
                raise
        assert feed.quote is not None
        return feed.quote

    @contextmanager
    def watch(self, keys: Iterable[Key], stale_after_ms: int) -> Iterator[Watch]:
        """News of these symbols while the block lasts. Raises TooManySymbols."""
        feeds = [self._open(key) for key in keys]
        known = [feed.quote for feed in feeds if feed.quote is not None]
        watch = Watch(stale_after_ms, self._clock, known)
        self._watches[watch] = None
        for feed in feeds:
            feed.watches[watch] = None
        for upstream in self._upstreams.values():
            self._read_silent(upstream)
        if self._ending:
            watch.close()
        try:
            yield watch
        finally:
            self._watches.pop(watch, None)
            for feed in feeds:
                feed.watches.pop(watch, None)
                feed.used_at = self._clock.monotonic()

    def end_watches(self) -> None:
        """Let every reader's stream end: the service is going."""
        self._ending = True
        for watch in self._watches:
            watch.close()

    # -------------------------------------------------------------- feeds and sockets

    def _open(self, key: Key) -> _Feed:
        if feed := self._feeds.get(key):
            feed.used_at = self._clock.monotonic()
            return feed
        if len(self._feeds) >= GREATEST_SYMBOLS:
            raise TooManySymbols(f"{GREATEST_SYMBOLS} symbols are followed already, no more are taken")
        venue, symbol = key
        upstream = self._upstreams[venue]
        feed = self._feeds[key] = _Feed(upstream, symbol, self._line_with_room(upstream))
        feed.line.add(symbol)
        feed.used_at = self._clock.monotonic()
        return feed

    def _let_go(self) -> None:
        """The bound is one on use: a symbol nobody has used for long makes room."""
        long_ago = self._clock.monotonic() - IDLE_SECONDS
        for key, feed in list(self._feeds.items()):
            if feed.used_at <= long_ago and not (feed.watches or feed.first_price or feed.reading):
                del self._feeds[key]
                feed.line.drop(feed.symbol)

    def _line_with_room(self, upstream: _Upstream) -> Line:
        for line in upstream.lines:
            if line.has_room:
                return line
        name = upstream.venue.venue

        def on_tick(tick: Tick) -> None:
            if feed := self._feeds.get((name, tick.symbol)):
                self._take_frame(feed, tick)

        def wanted() -> bool:
            return any(feed.line is line and self._is_wanted(feed) for feed in self._feeds.values())

        line = upstream.venue.line(on_tick, wanted)
        upstream.lines.append(line)
        self._own(line.run())
        return line

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            work.close()
            raise RuntimeError("the hub is not running")
        task = self._group.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def _is_wanted(self, feed: _Feed) -> bool:
        return bool(feed.watches) or self._clock.monotonic() < feed.wanted_until

    def _is_silent(self, feed: _Feed) -> bool:
        return feed.quote is None or self._clock.monotonic() - feed.heard_at >= self._silence_seconds

    def _is_due(self, feed: _Feed) -> bool:
        """Should it be read by REST now?"""
        rested = not feed.reading and self._clock.monotonic() >= feed.read_again_at
        return rested and self._is_silent(feed) and self._is_wanted(feed)

    # -------------------------------------------------------------- what the venue says

    def _take_frame(self, feed: _Feed, tick: Tick) -> None:
        now = self._clock.now()
        confirmed_at = now
        if tick.sent_at is not None and now - tick.sent_at > LATE_FRAME:
            confirmed_at = tick.sent_at  # a backlog: it tells how things were then
        self._learn(feed, tick, QuoteSource.STREAM, confirmed_at)

    def _take_read(self, feed: _Feed, reading: Reading) -> None:
        tick = reading.tick
        if feed.tick is None or not tick.is_newer_than(feed.tick):
            feed.line.vouch(feed.symbol)
        else:
            feed.line.missed(feed.symbol)
        # Confirmed when it was asked for: what happened while the answer travelled is unknown.
        self._learn(feed, tick, QuoteSource.REST, reading.asked_at)

    def _learn(self, feed: _Feed, tick: Tick, source: QuoteSource, confirmed_at: datetime) -> None:
        known, quote = feed.tick, feed.quote
        # A known confirmation in the future means that the machine's clock was set back since.
        if quote is not None and confirmed_at < quote.confirmed_at <= self._clock.now():
            confirmed_at = quote.confirmed_at
        if known is None or quote is None or tick.is_newer_than(known):
            feed.tick = tick
            feed.quote = Quote(
                venue=feed.upstream.venue.venue,
                symbol=feed.symbol,
                price=tick.price,
                traded_at=tick.traded_at,
                confirmed_at=confirmed_at,
                source=source,
                sequence=quote.sequence + 1 if quote else 1,
            )
        elif tick.is_same_trade_as(known) and confirmed_at != quote.confirmed_at:
            feed.quote = msgspec.structs.replace(quote, confirmed_at=confirmed_at, source=source)
        else:
            return  # an older trade tells nothing about now
        feed.heard_at = self._clock.monotonic()
        for watch in feed.watches:
            watch.put(feed.quote)
        _settle(feed.first_price, None)

    # -------------------------------------------------------------- reads

    async def _read_now(self, feed: _Feed, wait_seconds: float) -> None:
        """Until a read of this feed, or a frame, brought a price. Raises Unavailable."""
        if not feed.reading:
            self._start_read(feed.upstream, [feed])
        waiter: asyncio.Future[Unavailable | None] = asyncio.get_running_loop().create_future()
        feed.first_price.add(waiter)
        try:
            async with asyncio.timeout(wait_seconds):
                failure = await waiter
        except TimeoutError:
            venue = feed.upstream.venue
            cause = f"no price of {feed.symbol} within {wait_seconds:.1f} s"
            raise Unavailable(venue.venue, venue.url, cause) from None
        finally:
            feed.first_price.discard(waiter)
        if failure is not None:
            raise failure

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(self._beat_seconds)
            self._let_go()
            for upstream in self._upstreams.values():
                self._read_silent(upstream)

    def _read_silent(self, upstream: _Upstream) -> None:
        """Read what has been silent, what was read longest ago first, as far as reads are free."""
        free = READS_AT_ONCE - upstream.reads
        if free <= 0 or self._clock.monotonic() < upstream.read_again_at:
            return
        due = [feed for feed in self._feeds.values() if feed.upstream is upstream and self._is_due(feed)]
        due.sort(key=lambda feed: feed.read_again_at)
        alone = [[feed] for feed in due if feed.alone]
        others = [feed for feed in due if not feed.alone]
        size = upstream.venue.symbols_per_read
        batches = alone + [others[start : start + size] for start in range(0, len(others), size)]
        batches.sort(key=lambda batch: batch[0].read_again_at)
        for batch in batches[:free]:
            self._start_read(upstream, batch)

    def _start_read(self, upstream: _Upstream, feeds: list[_Feed]) -> None:
        for feed in feeds:
            feed.reading, feed.alone = True, False
            feed.read_again_at = self._clock.monotonic() + self._silence_seconds
        upstream.reads += 1
        self._own(self._read(upstream, feeds))

    async def _read(self, upstream: _Upstream, feeds: list[_Feed]) -> None:
        missing = {feed.symbol: feed for feed in feeds}
        try:
            async for reading in upstream.venue.last_trades({feed.symbol: feed.tick for feed in feeds}):
                self._take_read(missing.pop(reading.tick.symbol), reading)
        except ReadRefused as error:
            _log.warning("read refused", why=str(error))  # these symbols' trouble, not the venue's
            self._give_up(missing.values(), error, UNREAD_SECONDS)
        except Unavailable as error:
            self._read_failed(upstream, error)
            self._give_up(missing.values(), error, 0.0)
        else:
            upstream.failures = 0
            venue = upstream.venue
            never = Unavailable(venue.venue, venue.url, f"no trade of {', '.join(missing)} yet")
            self._give_up(missing.values(), never, UNREAD_SECONDS)
        finally:
            upstream.reads -= 1
            for feed in feeds:
                feed.reading = False
        self._read_silent(upstream)

    def _give_up(self, feeds: Iterable[_Feed], error: Unavailable, rest_seconds: float) -> None:
        """These were not read: whoever waits hears it, and they come again later and singly."""
        for feed in feeds:
            feed.alone = True
            feed.read_again_at = self._clock.monotonic() + rest_seconds
            _settle(feed.first_price, error)

    def _read_failed(self, upstream: _Upstream, error: Unavailable) -> None:
        upstream.failures += 1
        ceiling = min(GREATEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(upstream.failures, 10))
        pause = max(error.retry_after, self._clock.uniform(0, ceiling))
        upstream.read_again_at = self._clock.monotonic() + pause
        if upstream.failures & (upstream.failures - 1) == 0:
            _log.warning("price not read", why=str(error), failures=upstream.failures)


def _settle(waiters: Iterable[asyncio.Future[Unavailable | None]], failure: Unavailable | None) -> None:
    """Tell everyone who waits for a first price."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(failure)
