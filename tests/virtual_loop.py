"""An event loop on virtual time: when nothing can run, the clock jumps to the next timer.

Timeouts and sleeps of hours take no time and end at the exact moment, in an order that does not depend
on the machine. No threads and no sockets: whatever waits for those would see the clock run away.
"""

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


class Deadlock(Exception):
    """Nothing is ready and no timer is set: the test would wait for ever."""


class _Selector(selectors.SelectSelector):
    """Instead of waiting, it moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Deadlock("nothing is left that could ever happen")
        self.time += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop over a clock that jumps."""

    def __init__(self) -> None:
        self._moved = _Selector()
        super().__init__(self._moved)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._moved.time


class VirtualClock:
    """The services' clock on a virtual loop; ids count, chance is the middle."""

    def __init__(self) -> None:
        self._ids = 0

    def now(self) -> datetime:
        """START plus the loop's time."""
        return START + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(max(0.0, seconds))

    def new_id(self) -> str:
        """16 hexadecimal digits that count."""
        self._ids += 1
        return f"{self._ids:016x}"

    def uniform(self, low: float, high: float) -> float:
        """The middle."""
        return (low + high) / 2


class SettableClock(VirtualClock):
    """A time of day that somebody sets; the monotonic clock goes on as it did."""

    def __init__(self) -> None:
        super().__init__()
        self.set_by = timedelta()

    def now(self) -> datetime:
        """START plus the loop's time, and by what it was set."""
        return super().now() + self.set_by

    def set(self, seconds: float) -> None:
        """Forward, or back."""
        self.set_by += timedelta(seconds=seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def virtual(test: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Make an asynchronous test a plain one that runs on virtual time."""

    @functools.wraps(test)
    def on_virtual_time(*args: P.args, **kwargs: P.kwargs) -> T:
        async def main() -> T:
            return await test(*args, **kwargs)

        return run(main())

    return on_virtual_time
