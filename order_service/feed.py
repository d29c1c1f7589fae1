"""Order news for watchers: a bounded ring that every reader walks at its own pace.

Nothing is dropped silently: a reader that falls behind the ring is told so and starts again
with a snapshot. There is one ring, not a queue per reader, so a slow reader costs nothing.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

import msgspec

from otopilot.order import Order, UserId
from otopilot.position import User

RING = 20_000


class FeedItem(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of news: an order changed, a user changed, or a denied request may pass now."""

    order: Order | None = None
    user: User | None = None
    ask_again: tuple[UserId, ...] = ()


class FellBehind(Exception):
    """The sequence is no longer kept, or never was: start with a snapshot."""


class Feed:
    """The ring. Sequences rise with every item, also over restarts: each start has its own range."""

    def __init__(self, instance_epoch: int) -> None:
        self._items: deque[tuple[int, FeedItem]] = deque(maxlen=RING)
        self._first = instance_epoch << 32
        self._newest = self._first
        self._wakers: list[asyncio.Future[None]] = []

    @property
    def newest(self) -> int:
        """The sequence of the newest item."""
        return self._newest

    def publish(self, items: Sequence[FeedItem]) -> None:
        """Append items and wake the readers."""
        for item in items:
            self._newest += 1
            self._items.append((self._newest, item))
        if items:
            wakers, self._wakers = self._wakers, []
            for waker in wakers:
                if not waker.done():
                    waker.set_result(None)

    def after(self, sequence: int, most: int = 500) -> list[tuple[int, FeedItem]]:
        """Items after a sequence, oldest first. Raises FellBehind."""
        oldest = self._items[0][0] if self._items else self._newest + 1
        if sequence > self._newest or sequence < max(self._first, oldest - 1):
            raise FellBehind
        skip = len(self._items) - (self._newest - sequence)
        return [self._items[place] for place in range(skip, min(skip + most, len(self._items)))]

    async def wait(self, sequence: int, seconds: float) -> None:
        """Return when there is something after the sequence, or after so many seconds."""
        if self._newest > sequence:
            return
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wakers.append(waker)
        try:
            await asyncio.wait((waker,), timeout=seconds)
        finally:
            if not waker.done():
                self._wakers.remove(waker)
