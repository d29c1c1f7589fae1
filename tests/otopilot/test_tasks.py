"""A task belongs to its owner: its failure is told, and it ends when the owner does."""

import asyncio

import pytest
from structlog.testing import capture_logs

from otopilot.tasks import TaskOwner


async def _fail() -> None:
    raise ValueError("odd")


async def test_a_failing_task_is_logged_with_its_owner_and_name() -> None:
    with capture_logs() as lines:
        async with TaskOwner("orders") as tasks:
            task = tasks.spawn(_fail(), "send 00aa")
            await asyncio.wait((task,))
    (line,) = lines
    assert (line["event"], line["owner"], line["task"]) == ("task failed", "orders", "send 00aa")
    assert str(line["exc_info"]) == "odd"


async def test_a_failing_task_leaves_the_others_alone() -> None:
    with capture_logs():
        async with TaskOwner("orders") as tasks:
            good = tasks.spawn(asyncio.sleep(0.01, "done"), "good")
            tasks.spawn(_fail(), "bad")
            assert await good == "done"


async def test_who_waits_for_a_task_gets_its_error() -> None:
    with capture_logs():
        async with TaskOwner("orders") as tasks:
            with pytest.raises(ValueError, match="odd"):
                await tasks.spawn(_fail(), "bad")


async def test_closing_cancels_and_waits_and_says_nothing() -> None:
    tidied = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append(True)

    with capture_logs() as lines:
        async with TaskOwner("orders") as tasks:
            running = [tasks.spawn(work(), str(number)) for number in range(3)]
            await asyncio.sleep(0)
    assert tidied == [True] * 3
    assert all(task.cancelled() for task in running)
    assert lines == []


async def test_closing_also_ends_what_a_cancelled_task_spawned() -> None:
    late: list[asyncio.Task[bool]] = []
    tasks = TaskOwner("orders")

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            late.append(tasks.spawn(asyncio.Event().wait(), "late"))

    tasks.spawn(work(), "work")
    await asyncio.sleep(0)
    await tasks.close()
    assert late[0].cancelled()


async def test_an_error_in_the_block_ends_the_tasks_too() -> None:
    spawned: list[asyncio.Task[bool]] = []

    async def block() -> None:
        async with TaskOwner("orders") as tasks:
            spawned.append(tasks.spawn(asyncio.Event().wait(), "forever"))
            raise KeyError

    with pytest.raises(KeyError):
        await block()
    assert spawned[0].cancelled()
