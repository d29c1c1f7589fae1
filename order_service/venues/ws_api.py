"""One connection to Spot's WS API: requests by their id, answers in any order, events as they come.

Knows frames and what became of a request, no user and no order. A request is written once. One that
was on its way when the connection ended is Silent, and no other is concerned (architecture 5.10).
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from order_service.venues import spot_answers as spot
from order_service.venues.fields import Row, Unreadable, decode, row_of
from order_service.venues.port import RateLimited, Socket, VenueError, VenueNotReached, VenueSilent
from otopilot import log
from otopilot.clock import Clock

T = TypeVar("T")

NO_CONNECTION = "no_connection"  # nothing was written: another path may have it
MOST_IN_FLIGHT = 1000
SHUTDOWN = "serverShutdown"  # the event of a server that is about to go (binance-spot 6)

# An answer's used weight, its orders counted by the seconds of their windows, and a ban it pronounces.
Heard = Callable[[int | None, RateLimited | None], None]

_log = log.get("ws_api")


@dataclass
class _Request:
    """One request on its way."""

    read: Callable[[Row], None]  # resolves the future, at once when the answer is here
    future: "asyncio.Future[Any]"


class WsApi:
    """Call `run` once; `call` as long as it is not ended."""

    def __init__(
        self,
        socket: Socket,
        clock: Clock,
        *,
        on_event: "Callable[[WsApi, str, Row], None]",
        heard: Heard,
        most_unreadable: int = 0,
    ) -> None:
        """`most_unreadable` frames that are no answer and no event are passed over before it is given up."""
        self._socket = socket
        self._clock = clock
        self._on_event = on_event  # told the subscription's number, "" when there is none, and the event
        self._heard = heard
        self._requests: dict[str, _Request] = {}
        self._count = 0
        self._most_unreadable = most_unreadable
        self._unreadable = 0
        self.ended: VenueError | None = None

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._requests)

    async def run(self) -> VenueError:
        """Read until the connection ends, then close it; why it ended."""
        reason: VenueError = VenueSilent("closed", "the venue closed the connection")
        try:
            async for frame in self._socket:
                self._take(frame)
        except VenueError as error:
            reason = error
        finally:
            self._end(reason)
            await self._socket.close()
        return reason

    def _end(self, reason: VenueError) -> None:
        self.ended = reason
        requests, self._requests = list(self._requests.values()), {}
        for request in requests:
            if not request.future.done():
                silence = VenueSilent("connection", f"sent, and the connection ended: {reason.code}")
                request.future.set_exception(silence)

    async def call(
        self,
        method: str,
        params: Mapping[str, Any],
        parse: Callable[[Any], T],
        *,
        seconds: float,
        not_after: datetime | None = None,
        counts: Callable[[dict[int, int]], None] | None = None,
    ) -> T:
        """Send a request, once, and what `parse` makes of its result the moment it is here.

        VenueNotReached when it was not written, VenueSilent when it was and no answer came that
        can be believed; else what the answer proves. `counts` hears the account's order counts.
        """
        if self.ended is not None or len(self._requests) >= MOST_IN_FLIGHT:
            raise VenueNotReached(NO_CONNECTION, "not sent: no connection to the WS API")
        if not_after is not None and self._clock.now() > not_after:
            raise VenueNotReached("too_late", "older than allowed when it would have left")
        self._count += 1
        number = str(self._count)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def read(message: Row) -> None:
            try:
                if counts is not None:
                    counts(spot.ws_order_counts(message))
                future.set_result(parse(spot.ws_result(message, self._clock.now())))
            except Unreadable as error:
                future.set_exception(VenueSilent("unreadable", str(error)))
            except VenueError as error:
                future.set_exception(error)

        self._requests[number] = _Request(read, future)
        try:
            await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            raise VenueSilent("timeout", f"sent, no answer within {seconds:g} s") from None
        finally:
            self._requests.pop(number, None)
            if future.done() and not future.cancelled():
                future.exception()  # when sending failed, nobody else looks at it

    async def close(self) -> None:
        """Close it; `run` returns."""
        await self._socket.close()

    def _take(self, frame: str) -> None:
        """One frame. What cannot be read may have been anybody's answer or event."""
        try:
            message = row_of(decode(frame), "frame")
            event = message.get("event")
            if isinstance(event, dict):
                number = message.get("subscriptionId")
                self._on_event(self, number if isinstance(number, str) else "", event)
                return
            self._answered(message)
        except Unreadable as error:
            self._unreadable += 1
            _log.warning("unreadable frame", why=str(error), count=self._unreadable)
            if self._unreadable > self._most_unreadable:
                raise VenueSilent("unreadable", f"{self._unreadable} frames could not be read") from None

    def _answered(self, message: Row) -> None:
        number = message.get("id")
        request = self._requests.pop(number, None) if isinstance(number, str) else None
        self._heard(spot.ws_used_weight(message), self._ban(message))
        if request is not None:
            if not request.future.done():
                request.read(message)
        elif number is None:
            # Nobody's answer: the connection itself is told something (binance-spot 6).
            spot.ws_result(message, self._clock.now())

    def _ban(self, message: Row) -> RateLimited | None:
        """What an error pronounces for all; a server that says it is going has announced its end."""
        if "error" not in message:
            return None
        try:
            spot.ws_result(message, self._clock.now())
        except RateLimited as ban:
            return ban
        except VenueError as error:
            if error.code == spot.GOING_CODE:
                self._on_event(self, "", {"e": SHUTDOWN})
        except Unreadable:
            return None
        return None
