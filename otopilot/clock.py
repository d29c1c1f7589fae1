"""The services' only door to time, ids and randomness.

Everything that waits or stamps takes a Clock, so that the simulation can give it another
one. Times are aware UTC; durations are monotonic seconds.
"""

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What a service may know of time and chance."""

    def now(self) -> datetime:
        """The time of day, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        ...

    def new_id(self) -> str:
        """16 fresh hexadecimal digits."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """A random number in the range, for jitter only."""
        ...


class SystemClock:
    """The machine's clock and its source of randomness."""

    def now(self) -> datetime:
        """The time of day, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that long on the running event loop."""
        await asyncio.sleep(max(0.0, seconds))

    def new_id(self) -> str:
        """16 fresh hexadecimal digits."""
        return secrets.token_hex(8)

    def uniform(self, low: float, high: float) -> float:
        """A random number in the range, for jitter only."""
        return random.uniform(low, high)  # noqa: S311 - jitter, not a secret


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def from_ms(milliseconds: int) -> datetime:
    """A venue's epoch milliseconds as aware UTC, exact to the millisecond."""
    return _EPOCH + milliseconds * _MILLISECOND


def to_ms(moment: datetime) -> int:
    """Epoch milliseconds of an aware time, cut, not rounded."""
    return (moment - _EPOCH) // _MILLISECOND
