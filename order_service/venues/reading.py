"""What both adapters do around a read: repeat it, and keep what changes rarely.

Only reads come through here; a placement or a cancel is sent once (architecture 5.3).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import stamina

from order_service.venues.fields import Unreadable, decode, row_of, text_of
from order_service.venues.port import (
    Transport,
    VenueBusy,
    VenueError,
    VenueNotReached,
    VenueRefused,
    VenueSilent,
)
from otopilot.clock import Clock

T = TypeVar("T")

READ_SECONDS = 5.0  # deadline of one try
_FIRST_PAUSE = 0.1
_AGAIN = 2  # tries after the first
_AFTER_FAILURE_SECONDS = 5.0
DENIED_SECONDS = 30.0  # the rules an order was denied by: they may have been loosened since
HALTED_SECONDS = 10.0  # the rules of a symbol that does not trade: it may again at any moment


def _may_repeat(error: Exception) -> bool:
    clock = isinstance(error, VenueRefused) and error.code == "clock"
    silent = isinstance(error, (VenueNotReached, VenueSilent))
    return clock or (silent and not isinstance(error, VenueBusy))


async def repeat(read: Callable[[], Awaitable[T]]) -> T:
    """The read's answer, after at most three tries; refusals other than of the clock are final.

    So is the word that the venue is overloaded: more of the same is no cure for that.
    """
    try:
        return await read()  # nearly always all there is to it
    except VenueError as error:
        if not _may_repeat(error):
            raise
    await asyncio.sleep(_FIRST_PAUSE)
    async for attempt in stamina.retry_context(
        on=_may_repeat,
        attempts=_AGAIN,
        timeout=None,  # each try has its own deadline; this one would go by the wall's clock
        wait_initial=_FIRST_PAUSE * 2,
        wait_max=1.0,
        wait_jitter=0,  # the simulation repeats a run exactly
    ):
        with attempt:
            answer = await read()
    return answer


class Kept(Generic[T]):
    """A value that is read anew when it is older than allowed; concurrent readers share one read.

    With `keep_last` a failed read leaves the last good value in force, and is tried again after
    five seconds, whoever asks: readers that queued for a venue which hangs would wait one read after
    the other. Refusals always get through.
    """

    def __init__(
        self, clock: Clock, seconds: float, read: Callable[[], Awaitable[T]], *, keep_last: bool
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._read = read
        self._keep_last = keep_last
        self._lock = asyncio.Lock()
        self._good_until = 0.0
        self._failed_until = 0.0
        self._distrusted = False
        self._doubted = False
        self.newest: T | None = None

    async def get(self, within: float | None = None) -> T:
        """The value, not older than allowed or than `within` seconds. Raises what the read raises."""
        async with self._lock:
            now = self._clock.monotonic()
            left = self._good_until - now
            if self._doubted:
                within = min(DENIED_SECONDS, self._seconds if within is None else within)
            if within is not None:
                left -= self._seconds - within
            if self.newest is not None and (left > 0 or now < self._failed_until):
                return self.newest
            try:
                self.newest = await self._read()
            except (VenueNotReached, VenueSilent):
                if self.newest is None or not self._keep_last:
                    raise
                self._failed_until = self._clock.monotonic() + _AFTER_FAILURE_SECONDS
                return self.newest
            self._good_until = self._clock.monotonic() + self._seconds
            self._distrusted = self._doubted = False
            return self.newest

    async def known(self) -> T:
        """The value at any age, without waiting, unless there is none or it has been proven wrong."""
        if self.newest is not None and not self._distrusted:
            return self.newest
        return await self.get()

    def distrust(self) -> None:
        """The value has been proven wrong: the next reader reads it anew."""
        self._good_until = self._failed_until = 0.0
        self._distrusted = True

    def doubt(self) -> None:
        """The value may be wrong: whoever does not mind waiting reads it anew soon."""
        self._doubted = True


async def before_sending(read: Awaitable[T]) -> T:
    """A read that a placement needs first: when it fails, nothing of the placement has left."""
    try:
        return await read
    except VenueSilent as error:
        raise VenueNotReached(error.code, f"not sent, a read before it failed: {error.message}") from error


async def read_world(transport: Transport, url: str) -> str:
    """The world id that the paper exchange's control interface tells."""

    async def read() -> str:
        response = await transport.request("GET", url, headers={}, timeout_seconds=READ_SECONDS)
        if response.status != 200:
            raise VenueSilent(f"http_{response.status}", "no world id")
        try:
            return text_of(row_of(decode(response.body), "world"), "world_id")
        except Unreadable as error:
            raise VenueSilent("unreadable", str(error)) from error

    return await repeat(read)
