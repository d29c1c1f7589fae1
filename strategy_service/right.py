"""The placing right: Claim, and the volume scopes that go with it.

order_service lets one owner place. The right is claimed at the start, when the order stream
comes back (the service may be another instance) and when a placement was refused for want of
it; after each claim every scope is written again, which changes nothing where it is known.
"""

import asyncio
from collections.abc import Awaitable, Callable

from otopilot import log
from otopilot.clock import Clock
from strategy_service.clients import CallFailed, OrderClient

_log = log.get("right")

_LEAST_SECONDS = 0.2
_MOST_SECONDS = 2.0


class PlacingRight:
    """Owns the owner epoch."""

    def __init__(
        self,
        orders: OrderClient,
        clock: Clock,
        owner: str,
        write_scopes: Callable[[int], Awaitable[None]],
    ) -> None:
        self.owner_epoch = 0
        self.error = ""
        self._orders = orders
        self._clock = clock
        self._owner = owner
        self._write_scopes = write_scopes
        self._wanted = asyncio.Event()
        self._held = asyncio.Event()

    def want(self) -> None:
        """Claim, soon."""
        self._wanted.set()

    def lost(self, owner_epoch: int) -> None:
        """A call under that epoch was refused; an older one says nothing about the present one."""
        if owner_epoch == self.owner_epoch:
            self._wanted.set()

    async def held(self, seconds: float) -> bool:
        """Wait until there is a right; false when there is none in that time."""
        if not self._held.is_set():
            self._wanted.set()
        try:
            async with asyncio.timeout(seconds):
                await self._held.wait()
        except TimeoutError:
            return False
        return True

    async def keep(self) -> None:
        """Claim whenever it is wanted, for ever."""
        backoff = _LEAST_SECONDS
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                claimed = await self._orders.claim(self._owner)
                self.owner_epoch = claimed.owner_epoch
                await self._write_scopes(claimed.owner_epoch)
            except (CallFailed, ValueError) as error:
                self.error = str(error)
                self._wanted.set()
                await self._clock.sleep(backoff)
                backoff = min(_MOST_SECONDS, backoff * 2)
            else:
                _log.info("placing right claimed", owner_epoch=self.owner_epoch)
                self.error = ""
                self._held.set()
                backoff = _LEAST_SECONDS
                await self._clock.sleep(_LEAST_SECONDS)
