"""An event loop on virtual time with a seeded scheduler, and processes that can be killed in it.

A step is one ready callback. Which of the ready ones runs next is drawn from the seed; when none
is ready the clock jumps to the next timer. A process is a mark in the context of its tasks: after
kill() none of its callbacks ever runs again, not even a `finally`, as after kill -9.
"""

import asyncio
import heapq
import random
import sys
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

SHUFFLED = 0.3  # share of the steps that take any of the ready callbacks instead of the oldest


MOST_STEPS_OF_A_MOMENT = 20_000


class Deadlock(Exception):
    """Nothing is ready and no timer is set."""


class Livelock(Exception):
    """Something goes round for ever and no time passes."""


class Process:
    """Something that can be killed or paused as a whole."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.held: list[_Handle] | None = None  # while it is paused: what would have run
        self.context = copy_context()
        self.context.run(_process.set, self)


_process: ContextVar[Process | None] = ContextVar("process", default=None)


class _Handle:
    """What call_soon() and call_at() return."""

    __slots__ = ("args", "callback", "context", "gone", "moment")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.gone = False
        self.moment = 0.0

    def cancel(self) -> None:
        self.gone = True

    def cancelled(self) -> bool:
        return self.gone

    def when(self) -> float:
        return self.moment


class SimLoop(asyncio.AbstractEventLoop):
    """Just as much of an event loop as code without sockets and threads needs."""

    def __init__(self, seed: str) -> None:
        self.steps = 0
        self.after_step: Callable[[], None] = _nothing
        self.failures: list[dict[str, Any]] = []
        self.reaping = False
        self._dice = random.Random(seed).random
        self._now = 0.0
        self._ready: list[_Handle] = []
        self._timers: list[tuple[float, int, _Handle]] = []
        self._count = 0
        self._moment = 0  # the step at which the present moment began
        self._buried: list[_Handle] = []
        self._paused: list[Process] = []
        self._corpses: list[asyncio.Task[Any]] = []
        self._generators: list[Any] = []  # never finalised by chance of the garbage collector
        self._running = False

    # ------------------------------------------------------------------ time and callbacks

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        """A callback that is ready now; one of a dead process is forgotten."""
        if context is None:
            context = copy_context()
        handle = _Handle(callback, args, context)
        self._now_ready(handle)
        return handle

    def _now_ready(self, handle: _Handle) -> None:
        process = handle.context.get(_process)
        if process is None or self.reaping:
            self._ready.append(handle)
        elif process.dead:
            self._buried.append(handle)
        elif process.held is not None:
            process.held.append(handle)
        else:
            self._ready.append(handle)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        """A callback in so many seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        """A callback at a time of the loop."""
        handle = _Handle(callback, args, copy_context() if context is None else context)
        handle.moment = when
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def pause(self, process: Process) -> None:
        """Nothing of it runs until it is resumed, as when its machine stands still."""
        if process.held is None:
            process.held = [h for h in self._ready if h.context.get(_process) is process]
            self._paused.append(process)
            self._ready[:] = [h for h in self._ready if h.context.get(_process) is not process]

    def resume(self, process: Process) -> None:
        """It goes on, with everything that has come due meanwhile."""
        held, process.held = process.held or [], None
        self._paused = [each for each in self._paused if each is not process]
        if not process.dead:
            self._ready += held

    def kill(self, process: Process) -> None:
        """Nothing of it runs any more."""
        process.dead = True
        self._buried += process.held or []
        process.held = None
        # Kept until the end: what the garbage collector closes would run its `finally`.
        self._buried += [h for h in self._ready if h.context.get(_process) is process]
        self._corpses += asyncio.all_tasks(self)
        self._ready[:] = [h for h in self._ready if h.context.get(_process) is not process]
        for _, _, handle in self._timers:
            if handle.context.get(_process) is process:
                handle.gone = True

    # ------------------------------------------------------------------ futures and tasks

    def create_future(self) -> Any:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None) -> Any:
        """A task of this loop."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def spawn(self, process: Process, work: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
        """A task of a process."""
        context = process.context.run(copy_context)
        return context.run(lambda: asyncio.Task(work, loop=self, name=name, context=context))

    # ------------------------------------------------------------------ running

    def run_until_complete(self, future: Any) -> Any:
        """Step until the coroutine has ended; its result."""
        task = asyncio.ensure_future(future, loop=self)
        hooks = sys.get_asyncgen_hooks()
        self._running = True
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=self._generators.append, finalizer=_nothing_with)
        try:
            while not task.done():
                self._step()
        finally:
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(None)
            self._running = False
        return task.result()

    def _step(self) -> None:
        ready = self._ready
        while not ready:
            self._jump()
        index = 0
        if len(ready) > 1 and self._dice() < SHUFFLED:
            index = int(self._dice() * len(ready))
        handle = ready.pop(index)
        if handle.gone:
            return
        handle.context.run(handle.callback, *handle.args)
        self.steps += 1
        if self.steps - self._moment > MOST_STEPS_OF_A_MOMENT:
            raise Livelock(repr(handle.callback))
        self.after_step()

    def _jump(self) -> None:
        """To the next timer; all of that moment become ready."""
        timers = self._timers
        while timers and timers[0][2].gone:
            heapq.heappop(timers)
        if not timers:
            raise Deadlock("nothing is left that could ever happen")
        if timers[0][0] > self._now:
            self._now = timers[0][0]
            self._moment = self.steps
        while timers and timers[0][0] <= self._now:
            handle = heapq.heappop(timers)[2]
            if not handle.gone:
                self._now_ready(handle)

    def reap(self) -> None:
        """End every task without letting time pass: the world is over."""
        self.after_step = _nothing
        self.reaping = True
        self._timers = []
        for process in list(self._paused):
            self.resume(process)  # or what it was about to do would never end
        self._ready, self._buried = [*self._ready, *self._buried], []
        events._set_running_loop(self)
        try:
            for _ in range(100):
                tasks = [task for task in asyncio.all_tasks(self) if not task.done()]
                if not tasks:
                    break
                for task in tasks:
                    task.cancel()
                for _ in range(100_000):
                    if not self._ready:
                        break
                    handle = self._ready.pop(0)
                    if not handle.gone:
                        self._bury(handle)
        finally:
            events._set_running_loop(None)
        self._ready, self._timers, self._generators, self._corpses = [], [], [], []

    def _bury(self, handle: _Handle) -> None:
        """Call it, so that its task may end; of a dead process it may find its files closed."""
        try:
            handle.context.run(handle.callback, *handle.args)
        except Exception as error:
            self.call_exception_handler({"message": "buried", "exception": error})

    # ------------------------------------------------------------------ what asyncio asks for

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return False

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """Cancelled timers are skipped when their time comes."""

    def get_exception_handler(self) -> Any:
        return None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.reaping:
            self.failures.append(context)


def _nothing() -> None:
    return None


def _nothing_with(_: object) -> None:
    return None
