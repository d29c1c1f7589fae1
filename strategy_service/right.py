"""The placing right: Claim, and the volume scopes that go with it.

order_service lets one owner place, and names the present one to whoever is refused. An owner that
finds another one stands down, or the two would take the right from each other and flip the targets:
it neither claims nor writes scopes until a person starts a strategy again. Under its own name it
goes on by itself, after its own restart or that of order_service. The scopes are written again when
the order stream comes back, the configuration changes or one is missing; a known one stays as it is.
"""

import asyncio
from collections.abc import Awaitable, Callable

from otopilot import log
from otopilot.clock import Clock
from strategy_service.clients import CallFailed, OrderClient, Refused

_log = log.get("right")

_LEAST_SECONDS = 0.2
_MOST_SECONDS = 2.0

# Writes every scope under that epoch: how many were taken, and what was wrong with others.
# Raises Refused (STALE_OWNER).
WriteScopes = Callable[[int], Awaitable[tuple[int, str]]]


class PlacingRight:
    """Owns the owner epoch."""

    def __init__(
        self,
        orders: OrderClient,
        clock: Clock,
        owner: str,
        write_scopes: WriteScopes,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.owner_epoch = 0
        self.error = ""
        self.other_owner = ""  # who took it; then this one stands down
        self._orders = orders
        self._clock = clock
        self._owner = owner
        self._write_scopes = write_scopes
        self._changed = changed
        self._stale = False  # order_service does not take the epoch, and nobody else has the right
        self._forced = False  # a person wants it, whoever has it
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()  # no claim is outstanding
        self._settled.set()

    def want(self) -> None:
        """Write the scopes, soon."""
        self._wanted.set()

    def take(self) -> None:
        """Have the right, whoever has it now: a person started a strategy here."""
        self.other_owner, self._forced = "", True
        self._settled.clear()
        self._wanted.set()

    def refused(self, owner_epoch: int, no: CallFailed) -> None:
        """A call under that epoch was refused; an older one says nothing about the present one."""
        if no.reason in ("UNKNOWN_SCOPE", "REQUEST_REUSED"):
            self._wanted.set()  # the id may be another owner's, which writing a scope would tell
        if no.reason != "STALE_OWNER" or owner_epoch != self.owner_epoch or self._forced:
            return
        if self._is_mine(no):
            self._stale = True
            self._settled.clear()
            self._wanted.set()
        elif not self.other_owner:
            self.other_owner = no.metadata["owner"]
            _log.warning("placing right lost", to=self.other_owner)
            self._changed()

    def _is_mine(self, no: CallFailed) -> bool:
        """Was the epoch stale under this very name, or has nobody claimed yet?"""
        return no.metadata.get("owner", "") in ("", self._owner)

    async def held(self, seconds: float) -> bool:
        """Wait until nothing is known against placing; false when that does not come in that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._settled.wait()
        except TimeoutError:
            return False
        return not self.other_owner

    async def keep(self) -> None:
        """Claim and write scopes whenever it is wanted, for ever."""
        backoff = _LEAST_SECONDS
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self.other_owner:
                continue
            try:
                self.error = await self._secure()
            except (CallFailed, ValueError) as error:
                self.error = str(error)
            else:
                self._settled.set()
            if self.error:
                self._wanted.set()
                await self._clock.sleep(backoff)
                backoff = min(_MOST_SECONDS, backoff * 2)
            else:
                backoff = _LEAST_SECONDS
                await self._clock.sleep(_LEAST_SECONDS)

    async def _secure(self) -> str:
        """The scopes written, under a new epoch where one is needed; what could not be written."""
        written, unwritten = 0, ""
        if self.owner_epoch and not self._stale:
            epoch = self.owner_epoch
            try:
                written, unwritten = await self._write_scopes(epoch)
            except Refused as no:
                if not self._forced:
                    self.refused(epoch, no)
                    return ""
        if self._stale or (self._forced and not written):
            self.owner_epoch = (await self._orders.claim(self._owner)).owner_epoch
            self._stale = self._forced = False
            _log.info("placing right claimed", owner_epoch=self.owner_epoch)
            _, unwritten = await self._write_scopes(self.owner_epoch)
            self._changed()
        self._forced = False
        return unwritten
