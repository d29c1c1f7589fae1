"""What a venue lets in from this address: nothing while it asked for silence, and so many connections.

Reads and streams go through one door: a "stop" (403, 418, 429) said to either keeps both quiet until
the time it named, for whoever goes on during a ban makes it longer (binance-spot 5, 8).
"""

from collections import deque

from market_service.venues.port import Unavailable
from otopilot import log
from otopilot.clock import Clock
from otopilot.door import shut_for, told
from otopilot.instrument import Venue

# The venue takes 300 of one address in five minutes; order_service takes up to 200 of these.
CONNECTS = 80
CONNECTS_SECONDS = 300.0
_SHORTEST_WAIT_SECONDS = 0.01  # what rounding leaves of a wait would be waited for again and again

_log = log.get("door")


class Door:
    """One venue's; owned by its adapter, shared by its reads and its streams."""

    def __init__(self, venue: Venue, url: str, clock: Clock) -> None:
        self._venue = venue
        self._url = url
        self._clock = clock
        self._closed_until = 0.0  # monotonic
        self._connects: deque[float] = deque()  # monotonic, of the last CONNECTS_SECONDS

    def check(self) -> None:
        """Raises Unavailable while the venue wants silence."""
        closed = self._closed_seconds()
        if closed > 0:
            raise self.unavailable(f"the venue asked for silence, {closed:.0f} s more", closed)

    def refused(self, status: int, retry_after: str, said: str) -> Unavailable:
        """The venue refused at the door: closed for as long as it says, three days at most."""
        seconds = shut_for(status, told(retry_after)).total_seconds()
        self._closed_until = max(self._closed_until, self._clock.monotonic() + seconds)
        _log.warning("venue asked for silence", venue=self._venue, url=self._url, seconds=seconds, said=said)
        return self.unavailable(f"{said}; silent for {seconds:g} s", seconds)

    async def wait_to_connect(self) -> None:
        """Until one more connection may be opened; it is counted then."""
        while (seconds := max(self._closed_seconds(), self._crowded_seconds())) > 0:
            await self._clock.sleep(max(_SHORTEST_WAIT_SECONDS, seconds))
        self._connects.append(self._clock.monotonic())

    def unavailable(self, cause: str, retry_after: float = 0.0) -> Unavailable:
        """The venue's failure, with its address."""
        return Unavailable(self._venue, self._url, cause, retry_after=retry_after)

    def _closed_seconds(self) -> float:
        return self._closed_until - self._clock.monotonic()

    def _crowded_seconds(self) -> float:
        since = self._clock.monotonic() - CONNECTS_SECONDS
        while self._connects and self._connects[0] <= since:
            self._connects.popleft()
        return self._connects[0] - since if len(self._connects) >= CONNECTS else 0.0
