"""Row 51's other half: a loop that is held up says so, and one that stands still is seen from outside."""

import asyncio
import threading
import time
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from otopilot import rpc
from otopilot.clock import SystemClock
from otopilot.loop_watch import BEAT_SECONDS, QUIET_SECONDS, LoopWatch
from otopilot.probe import serving
from otopilot.settings import Endpoint
from tests.virtual_loop import VirtualClock, virtual

PATIENCE_SECONDS = 60.0
Line = MutableMapping[str, Any]


class Log(LogCapture):
    """What was logged, from whichever thread."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Event()

    def __call__(self, logger: Any, name: str, line: Line) -> Any:
        self.entries.append({**line, "level": name})
        self.came.set()
        raise structlog.DropEvent

    def of(self, event: str) -> list[Line]:
        return [line for line in self.entries if line["event"] == event]


@pytest.fixture
def log() -> Iterator[Log]:
    kept = structlog.get_config()["processors"]
    capture = Log()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture])
    yield capture
    structlog.configure(processors=kept)


class HeldUp(VirtualClock):
    """A clock that jumps while a callback runs: what a long computation does to it."""

    def __init__(self) -> None:
        super().__init__()
        self.spent = 0.0
        self._loop = asyncio.get_running_loop()  # also for the thread, which has none

    def monotonic(self) -> float:
        return self._loop.time() + self.spent


@virtual
async def _hold_up(seconds: list[float]) -> None:
    clock = HeldUp()
    with LoopWatch(clock, look_seconds=PATIENCE_SECONDS):
        for each in seconds:
            clock.spent += each
            await asyncio.sleep(BEAT_SECONDS * 2)


def test_a_loop_that_was_held_up_says_so_with_the_longest_time(log: Log) -> None:
    _hold_up([0.4])
    (line,) = log.of("event loop was held up")
    assert line["longest_ms"] == pytest.approx(400, abs=1)


def test_a_loop_that_turns_in_time_says_nothing(log: Log) -> None:
    _hold_up([0.0, 0.2, 0.1, 0.24])
    assert log.entries == []


def test_what_follows_within_the_quiet_time_is_told_in_one_line_after_it(log: Log) -> None:
    _hold_up([0.3, 0.5, 0.7, 0.26, QUIET_SECONDS - 2, 0.0])
    first, second = log.of("event loop was held up")
    assert (round(first["longest_ms"], -1), first["times"]) == (300, 1)
    assert (second["times"], second["longest_ms"] > 57_000) == (4, True)


async def test_row_51_a_loop_that_never_yields_is_named_with_its_stack_while_it_does_not(log: Log) -> None:
    def never_yields() -> None:
        assert log.came.wait(PATIENCE_SECONDS)

    with (
        structlog.contextvars.bound_contextvars(service="some-service"),
        LoopWatch(SystemClock(), still_seconds=0.3, look_seconds=0.05),
    ):
        await asyncio.sleep(0.1)
        never_yields()
    line = log.entries[0]
    assert (line["event"], line["level"], line["service"]) == (
        "event loop stands still",
        "error",
        "some-service",
    )
    assert "never_yields" in line["stack"]


async def test_one_time_of_standing_still_is_told_once(log: Log) -> None:
    with LoopWatch(SystemClock(), still_seconds=0.2, look_seconds=0.02):
        assert log.came.wait(PATIENCE_SECONDS)
        time.sleep(0.5)
    assert len(log.of("event loop stands still")) == 1


async def test_a_stopped_machine_is_not_taken_for_a_loop_that_stands_still(log: Log) -> None:
    class Stopped(SystemClock):
        """Ten seconds more with every look: the whole process stood still between two of them."""

        looks = 0

        def monotonic(self) -> float:
            if threading.current_thread() is threading.main_thread():
                return super().monotonic()
            self.looks += 1
            return super().monotonic() + 10.0 * self.looks

    clock = Stopped()
    with LoopWatch(clock, still_seconds=0.2, look_seconds=0.02):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while clock.looks < 5:
                await asyncio.sleep(0.02)
    assert log.of("event loop stands still") == []


async def test_row_51_a_service_whose_loop_stands_still_is_not_serving_until_it_turns_again() -> None:
    async with rpc.serve(Endpoint(port=0), [], grace_seconds=0.1) as server:
        await server.set_serving(True)
        target = f"127.0.0.1:{server.port}"
        assert await asyncio.to_thread(serving, target, PATIENCE_SECONDS)
        assert not serving(target, 0.5)  # asked on the loop itself, which stands still meanwhile
        assert await asyncio.to_thread(serving, target, PATIENCE_SECONDS)
