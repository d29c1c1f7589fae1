"""One request budget per venue and egress address.

A ban the venue pronounced (403, 418, 429 with Retry-After) stops every request of every user
behind this address until it is over: no request at all is made during a ban.
"""

from datetime import datetime

from order_service.denied import Denied, Kind
from order_service.venues.port import RateLimited
from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import Venue

_log = log.get("rate_budget")


class RateBudget:
    """The breaker of one venue."""

    def __init__(self, venue: Venue, clock: Clock) -> None:
        self._venue = venue
        self._clock = clock
        self._closed_until: datetime | None = None

    def closed_until(self) -> datetime | None:
        """The end of a ban that is in force."""
        if self._closed_until is not None and self._closed_until <= self._clock.now():
            self._closed_until = None
        return self._closed_until

    def close_until(self, refusal: RateLimited) -> None:
        """The venue pronounced a ban."""
        if self._closed_until is None or refusal.until > self._closed_until:
            self._closed_until = refusal.until
            _log.warning("venue closed its door", venue=self._venue, until=refusal.until.isoformat())

    def permit_placement(self) -> None:
        """Raises Denied (RATE_LIMIT) while no request may be made."""
        until = self.closed_until()
        if until is not None:
            raise Denied(
                Kind.EXHAUSTED,
                "RATE_LIMIT",
                f"{self._venue} asked for no requests before {until.isoformat()}",
                until=until.isoformat(),
            )

    async def wait_open(self) -> None:
        """Return when a request may be made."""
        while (until := self.closed_until()) is not None:
            await self._clock.sleep((until - self._clock.now()).total_seconds())
