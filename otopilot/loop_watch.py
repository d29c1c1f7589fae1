"""Does the event loop turn? Logs how long it was held up, and where it stands still (reliability 51).

One LoopWatch a process, owned by rpc.run_service; the simulation has none. A callback that comes late
measures what held the loop up. A loop that never yields runs no callback at all: for that there is a
thread, which only reads and logs. Health needs no word of either: checks are answered by this same loop,
so that a probe of one that stands still ends by its deadline.
"""

import asyncio
import contextvars
import sys
import threading
import traceback
from types import TracebackType

from otopilot import log
from otopilot.clock import Clock

BEAT_SECONDS = 0.05
HELD_UP_SECONDS = 0.25
STILL_SECONDS = 5.0
LOOK_SECONDS = 1.0
QUIET_SECONDS = 60.0  # between two lines of the same kind

_log = log.get("loop_watch")


class LoopWatch:
    """`with LoopWatch(clock):` inside the loop that is watched."""

    def __init__(
        self, clock: Clock, *, still_seconds: float = STILL_SECONDS, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._clock = clock
        self._still_seconds = still_seconds
        self._look_seconds = look_seconds
        self._turned_at = self._due = clock.monotonic()
        self._longest = 0.0
        self._times = 0
        self._quiet_until = self._turned_at
        self._beat_handle: asyncio.TimerHandle | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "LoopWatch":
        self.beat()
        # With the context of the process, so that these lines name their service too.
        look = contextvars.copy_context().run
        arguments = (self._look, threading.get_ident())
        self._thread = threading.Thread(target=look, args=arguments, name="loop watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._beat_handle is not None:
            self._beat_handle.cancel()
        if self._thread is not None:
            self._thread.join(self._look_seconds)

    # ------------------------------------------------------------------ on the loop

    def beat(self) -> None:
        """The loop has turned: how late, and when again."""
        now = self._clock.monotonic()
        late = now - self._due
        if late > HELD_UP_SECONDS:
            self._longest = max(self._longest, late)
            self._times += 1
        if self._times and now >= self._quiet_until:
            _log.warning("event loop was held up", longest_ms=round(self._longest * 1000), times=self._times)
            self._longest, self._times = 0.0, 0
            self._quiet_until = now + QUIET_SECONDS
        self._turned_at, self._due = now, now + BEAT_SECONDS
        self._beat_handle = asyncio.get_running_loop().call_later(BEAT_SECONDS, self.beat)

    # ------------------------------------------------------------------ in the thread

    def _look(self, watched: int) -> None:
        looked_at, told_at, told_of = self._clock.monotonic(), 0.0, None
        while not self._closed.wait(self._look_seconds):
            before, looked_at = looked_at, self._clock.monotonic()
            if looked_at - before > self._look_seconds + self._still_seconds / 2:
                continue  # this thread stood still too: a stopped process or machine, not the loop
            turned_at = self._turned_at
            still = looked_at - turned_at
            is_news = turned_at != told_of or looked_at - told_at >= QUIET_SECONDS
            if still >= self._still_seconds and is_news:
                told_at, told_of = looked_at, turned_at
                frame = sys._current_frames().get(watched)
                stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
                _log.error("event loop stands still", seconds=round(still, 1), stack=stack)
