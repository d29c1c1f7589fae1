"""What ended loops left undone: cancel wishes no order service has taken yet.

A loop ends by a fixed time whether order_service answers or not. The wishes it could not hand
over, and a BUY nobody knows whether it was placed, stand in the run table until they are taken:
asked again for as long as this process lives, and at the next start even if nothing else runs.
"""

import asyncio
from collections.abc import Callable, Iterable

from otopilot import log
from otopilot.clock import Clock
from otopilot.order import LegRole, Order, OrderId, RequestId
from otopilot.tasks import TaskOwner
from strategy_service.clients import CallFailed, OrderClient, Refused
from strategy_service.runs import Leftover, Runs
from strategy_service.state import Rules

_log = log.get("leftovers")

_LEAST_SECONDS = 0.25
_MOST_SECONDS = 5.0
# A request that reached order_service late cannot become an order after that (architecture 5.2).
_PLACING_SECONDS = 6.0
# A definite no to these means that there is nothing to cancel; any other is asked again.
_NOTHING_LEFT = frozenset({"FAILED_PRECONDITION", "NOT_FOUND", "INVALID_ARGUMENT"})


# Told of an order that a loop left open without knowing it: strategy, user, order.
Found = Callable[[str, str, OrderId], None]


def cancel_wishes(rules: Rules, orders: Iterable[Order]) -> list[Leftover]:
    """A wish for whatever of these orders is, or gets, on the book."""
    return [
        Leftover(
            rules.strategy_id,
            rules.user_id,
            order.order_id,
            RequestId(""),
            LegRole.WORKING if order.pending is None else LegRole.PENDING,
        )
        for order in orders
        if not order.is_over
    ]


class Leftovers:
    """Owns a task for each, until it is taken."""

    def __init__(self, orders: OrderClient, clock: Clock, runs: Runs, found: Found) -> None:
        self._orders = orders
        self._found = found
        self._clock = clock
        self._runs = runs
        self._tasks = TaskOwner("leftovers")
        self._open: dict[Leftover, asyncio.Task[None]] = {}

    def open(self) -> None:
        """Take up what earlier processes left."""
        for left in self._runs.leftovers():
            self._start(left)

    async def aclose(self) -> None:
        """Cut it off: the run table has it."""
        await self._tasks.close()

    def add(self, left: Iterable[Leftover]) -> None:
        """Keep them, and carry them out as soon as order_service answers."""
        for each in left:
            self._runs.leave(each)
            self._start(each)

    def forget(self, strategy_id: str, user_id: str) -> None:
        """A new loop of that user takes up whatever is open; the ids may become its own."""
        for each in [
            left for left in self._open if (left.strategy_id, left.user_id) == (strategy_id, user_id)
        ]:
            self._open.pop(each).cancel()
            self._runs.taken(each)

    async def taken(self, strategy_id: str, user_ids: Iterable[str], seconds: float) -> None:
        """Wait until nothing of these users is left, at most that long."""
        users = set(user_ids)
        waits = [
            task
            for left, task in self._open.items()
            if left.strategy_id == strategy_id and left.user_id in users
        ]
        if waits:
            await asyncio.wait(waits, timeout=seconds)

    def _start(self, left: Leftover) -> None:
        if left not in self._open:
            self._open[left] = self._tasks.spawn(self._carry_out(left), f"leftover {left.order_id}")

    async def _carry_out(self, left: Leftover) -> None:
        backoff, since = _LEAST_SECONDS, self._clock.monotonic()
        while True:
            try:
                done = await self._try(left, self._clock.monotonic() - since)
            except (CallFailed, ValueError) as error:
                done = isinstance(error, Refused) and error.code in _NOTHING_LEFT
                _log.warning("left open", user_id=left.user_id, order_id=left.order_id, error=str(error))
            if done:
                break
            await self._clock.sleep(backoff)
            backoff = min(_MOST_SECONDS, backoff * 2)
        self._runs.taken(left)
        self._open.pop(left, None)

    async def _try(self, left: Leftover, seconds: float) -> bool:
        """True when there is nothing more to do. Raises CallFailed, ValueError."""
        if not left.request_id and left.role is LegRole.WORKING:
            await self._orders.cancel(left.order_id, LegRole.WORKING, "stop")
            return True
        order = await self._look_up(left)
        if order is None:
            return seconds >= _PLACING_SECONDS
        if order.is_over or (order.working.is_over and left.role is LegRole.WORKING):
            return True
        if left.request_id:
            self._found(left.strategy_id, left.user_id, order.order_id)
        if not order.working.is_over:
            if order.open_wish(LegRole.WORKING) is None:
                await self._orders.cancel(order.order_id, LegRole.WORKING, "stop")
            return left.role is LegRole.WORKING  # else it is looked at again: it may fill
        await self._orders.cancel(order.order_id, LegRole.PENDING, "stop")
        return True

    async def _look_up(self, left: Leftover) -> Order | None:
        try:
            return await self._orders.find(left.order_id or None, left.request_id or None)
        except Refused as no:
            if no.code != "NOT_FOUND":
                raise
            return None
