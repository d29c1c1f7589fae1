"""Keeping a user stream up: connect, say StreamUp once subscribed, reconnect with backoff.

Both venues' streams lose what happens while they are down, so every subscription begins with
StreamUp, which makes the reader sweep.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import NoReturn

from order_service.venues.fields import Unreadable
from order_service.venues.port import (
    CredentialRefused,
    RateLimited,
    Socket,
    StreamDown,
    StreamNews,
    StreamSink,
    StreamUp,
    VenueError,
    VenueSilent,
)
from otopilot.clock import Clock

ACK_SECONDS = 10.0
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 10.0
_CREDENTIAL_WAIT_SECONDS = 60.0

# Reads a frame: True is the subscription's acknowledgement.
Reader = Callable[[str], bool | Iterable[StreamNews]]


async def keep_up(
    session: Callable[[StreamSink], Awaitable[None]], sink: StreamSink, clock: Clock
) -> NoReturn:
    """Run sessions until cancelled. One that returns wants a fresh connection at once."""
    failures = 0

    def hear(news: StreamNews) -> None:
        nonlocal failures
        if isinstance(news, StreamUp):
            failures = 0
        sink(news)

    while True:
        try:
            await session(hear)
        except VenueError as error:
            sink(StreamDown(str(error), error if isinstance(error, RateLimited) else None))
            await clock.sleep(wait_seconds(error, failures, clock))
            failures += 1


def wait_seconds(error: VenueError, failures: int, clock: Clock) -> float:
    """How long to wait after a failure, as many of which came before it in a row."""
    if isinstance(error, RateLimited):
        return max(_FIRST_WAIT_SECONDS, (error.until - clock.now()).total_seconds())
    if isinstance(error, CredentialRefused):
        return _CREDENTIAL_WAIT_SECONDS
    wait = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * (1 << min(failures, 10)))
    return clock.uniform(0.0, wait)  # full jitter: those cut off together do not come back together


async def listen(
    socket: Socket, subscribe: str, read: Reader, sink: StreamSink, *, renew_seconds: float
) -> None:
    """Subscribe on an open socket and pass its news on; returns after `renew_seconds`.

    Raises VenueSilent when the socket closes, says something unreadable or does not acknowledge
    in time, and what `read` raises. Closes the socket.
    """
    subscribed = False
    try:
        async with asyncio.timeout(ACK_SECONDS) as deadline:
            await socket.send(subscribe)
            async for frame in socket:
                news = read(frame)
                if news is True and not subscribed:
                    subscribed = True
                    deadline.reschedule(asyncio.get_running_loop().time() + renew_seconds)
                    sink(StreamUp())
                elif not isinstance(news, bool):
                    for one in news:
                        sink(one)
    except TimeoutError:
        if subscribed:
            return
        raise VenueSilent("no_ack", f"no acknowledgement in {ACK_SECONDS:g} s") from None
    except Unreadable as error:
        raise VenueSilent("unreadable", f"stream: {error}") from error
    finally:
        await socket.close()
    raise VenueSilent("closed", "the venue closed the stream")
