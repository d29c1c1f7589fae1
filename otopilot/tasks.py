"""Every task has an owner: this one. A task that fails says so, and never silently.

`async with TaskOwner(name) as tasks:` cancels what still runs when the block ends.
Work that must never end is spawned as `restarted(work, clock, name)`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from otopilot import log
from otopilot.clock import Clock

T = TypeVar("T")
_log = log.get("tasks")

_RESTART_SECONDS = 1.0


class TaskOwner:
    """Holds a strong reference to each task until it ends."""

    def __init__(self, name: str) -> None:
        self._name = name
        # A dict keeps the order of insertion: nothing here may depend on hashes (simulation).
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run a coroutine until it ends or the owner closes."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task failed", owner=self._name, task=task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel everything and wait until it is gone."""
        # Again until none is left: a task that is cancelled may spawn another to tidy up.
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> "TaskOwner":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def restarted(work: Callable[[], Awaitable[None]], clock: Clock, name: str) -> None:
    """Until the work returns: a defect in it is logged whole, and it starts anew a second later."""
    while True:
        try:
            await work()
        except Exception:
            _log.exception("task failed", task=name)
            await clock.sleep(_RESTART_SECONDS)
        else:
            return
