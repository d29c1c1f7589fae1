"""Watching the file is asked for; it reads what stands still, once a change."""

import asyncio
from pathlib import Path

import pytest

from otopilot.clock import SystemClock
from otopilot.settings import Settings
from strategy_service import watching


async def test_a_change_is_told_once_when_the_file_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SECONDS", 0.02)
    path = tmp_path / "trading_config.yaml"
    path.write_text("one")
    told: list[str] = []
    task = asyncio.create_task(watching.watch(path, SystemClock(), lambda: told.append(path.read_text())))
    await asyncio.sleep(0.1)
    assert told == []
    for word in ("two, in", "two, in parts"):
        path.write_text(word)
    async with asyncio.timeout(5):
        while not told:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert told == ["two, in parts"]
    path.unlink()  # an editor that moves files about
    await asyncio.sleep(0.1)
    path.write_text("three")
    async with asyncio.timeout(5):
        while len(told) < 2:
            await asyncio.sleep(0.01)
    assert told == ["two, in parts", "three"]
    task.cancel()


def test_it_is_off_unless_somebody_wants_it() -> None:
    assert Settings().strategy.watch_config is False
