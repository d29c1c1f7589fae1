"""A line of public trades that is kept up: opened again when it is lost, renewed before it ends.

Before its day is over, and when the venue announces its end, the next connection is opened and
has every symbol acknowledged before the one before is closed (reliability 26). Both are heard
meanwhile: the hub takes the newest trade, and the same one told twice changes no price. Where no
next one can be had the old one serves until it ends; then reads take over until there is another.
"""

import asyncio
from collections.abc import Callable, Set

from market_service.venues.connection import Connection, StreamPlace
from otopilot import log
from otopilot.clock import Clock

RENEW_SECONDS = 23 * 3600.0  # the venue drops a connection after 24 hours
RENEW_JITTER = 0.02  # as a share, either way: lines opened together are not renewed together
SUBSCRIBED_SECONDS = 20.0  # in which a successor must have every symbol acknowledged
OVERLAP_SECONDS = 5.0  # in which both are heard; also the least between two openings
SERVED_SECONDS = 30.0  # a connection that lasted this long did not fail at once
FIRST_BACKOFF_SECONDS = 0.5
GREATEST_BACKOFF_SECONDS = 10.0

_log = log.get("stream")


class TradeStream:
    """Carries symbols over one connection, over two while it is renewed. The hub runs run() as a task."""

    def __init__(
        self,
        place: StreamPlace,
        clock: Clock,
        connect: Callable[[Set[str]], Connection],  # a connection that carries what is in the set
    ) -> None:
        self._place = place
        self._clock = clock
        self._connect = connect
        self._symbols: set[str] = set()
        self._live: dict[Connection, asyncio.Task[None]] = {}  # one; two while it is renewed

    @property
    def has_room(self) -> bool:
        """May another symbol be added?"""
        return len(self._symbols) < self._place.symbols_per_socket

    def add(self, symbol: str) -> None:
        """Carry this symbol too."""
        self._symbols.add(symbol)
        for connection in self._live:
            connection.symbols_changed()

    def drop(self, symbol: str) -> None:
        """Carry this symbol no more."""
        self._symbols.discard(symbol)
        for connection in self._live:
            connection.forget(symbol)
            connection.symbols_changed()

    def vouch(self, symbol: str) -> None:
        """A read agrees with what was said here."""
        for connection in self._live:
            connection.vouch(symbol)

    def missed(self, symbol: str) -> None:
        """A read brought a trade that was not said here."""
        for connection in self._live:
            connection.missed(symbol)

    async def run(self) -> None:
        """Connect again and again, with full-jitter backoff, until cancelled."""
        failures = 0
        async with asyncio.TaskGroup() as tasks:
            while True:
                connection = self._open(tasks)
                while successor := await self._succeeded(connection, tasks):
                    connection = successor
                if connection.age_seconds > SERVED_SECONDS:
                    failures = 0
                pause = self._pause(failures)
                failures += 1
                _log.warning(
                    "stream lost",
                    venue=self._place.venue,
                    url=self._place.url,
                    reason=connection.reason,
                    pause=round(pause, 2),
                )
                await self._clock.sleep(pause)

    def _open(self, tasks: asyncio.TaskGroup) -> Connection:
        connection = self._connect(self._symbols)
        task = self._live[connection] = tasks.create_task(connection.run())
        task.add_done_callback(lambda _: self._live.pop(connection))
        return connection

    def _pause(self, failures: int) -> float:
        ceiling = min(GREATEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(failures, 10))
        return self._clock.uniform(0, ceiling)

    async def _succeeded(self, old: Connection, tasks: asyncio.TaskGroup) -> Connection | None:
        """The connection that follows this one without a gap; none when this one just ended."""
        # One that is told to leave as it comes is kept a while: a storm of openings helps nobody.
        await _first(OVERLAP_SECONDS - old.age_seconds, old.ended)
        life = RENEW_SECONDS * (1 + self._clock.uniform(-RENEW_JITTER, RENEW_JITTER))
        await _first(life - old.age_seconds, old.ended, old.leaving)
        failures = 0
        while not old.ended.done():
            new = self._open(tasks)
            if await self._takes_over(new, old):
                self._close(old)
                _log.info("stream renewed", venue=self._place.venue, failures=failures)
                return new
            self._close(new)
            if failures & (failures + 1) == 0:
                _log.warning(
                    "stream not renewed", venue=self._place.venue, reason=new.reason, failures=failures + 1
                )
            await _first(self._pause(failures), old.ended)
            failures += 1
        return None

    async def _takes_over(self, new: Connection, old: Connection) -> bool:
        """Does the new one deliver? Where the old one ends meanwhile, it need only be alive."""
        await _first(SUBSCRIBED_SECONDS, new.ended, old.ended, new.subscribed)
        if new.subscribed.done():
            told = old.ticks
            await _first(OVERLAP_SECONDS, new.ended, old.ended)
            delivers = new.ticks > 0 or old.ticks == told  # a market without trades is quiet on both
        else:
            delivers = False
        return not new.ended.done() and (delivers or old.ended.done())

    def _close(self, connection: Connection) -> None:
        if task := self._live.get(connection):
            task.cancel()


async def _first(seconds: float, *events: asyncio.Future[None]) -> None:
    """Until one of these has happened or the time is up."""
    await asyncio.wait(events, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
