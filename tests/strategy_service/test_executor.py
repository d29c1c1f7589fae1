"""The Python API of the seeds."""

import asyncio
from pathlib import Path

import pytest

import strategy_service
from otopilot.rpc import Fault
from strategy_service import StrategyExecutor
from strategy_service.config import ConfigError
from tests.strategy_service.fakes import FakeMarket, FakeOrders

FILE = """\
strategies:
  - strategy_id: koge_volume_boost
    strategy_name: KOGE boost
    target_token: KOGE
    target_chain: BSC
    target_volume: 120
    trade_interval_seconds: 0.05
    user_ids: [1, 2]
"""
KEYS = [
    "strategy_id",
    "strategy_name",
    "is_running",
    "target_volume",
    "total_volume",
    "progress",
    "user_volumes",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "trading_config.yaml"
    file.write_text(FILE)
    return file


def test_it_is_importable_from_strategy_service() -> None:
    assert strategy_service.__all__ == ["StrategyExecutor"]
    with pytest.raises(AttributeError):
        strategy_service.nothing  # noqa: B018


def test_status_before_anything_ran_has_the_seven_keys_in_the_seeds_order(path: Path) -> None:
    status = StrategyExecutor(path).get_strategy_status("koge_volume_boost")
    assert list(status) == KEYS
    assert status == {
        "strategy_id": "koge_volume_boost",
        "strategy_name": "KOGE boost",
        "is_running": False,
        "target_volume": "120",
        "total_volume": "0",
        "progress": "0.00%",
        "user_volumes": {"1": "0", "2": "0"},
    }


async def test_start_status_stop_without_a_with_block(path: Path) -> None:
    executor = StrategyExecutor(path, market=FakeMarket(), orders=FakeOrders())
    try:
        await executor.start_strategy("koge_volume_boost")
        assert executor.get_strategy_status("koge_volume_boost")["is_running"] is True
        await executor.stop_strategy("koge_volume_boost")
        assert executor.get_strategy_status("koge_volume_boost")["is_running"] is False
    finally:
        await executor.aclose()


async def test_it_trades_to_the_target_and_its_volumes_sum_up(path: Path) -> None:
    orders = FakeOrders()
    async with StrategyExecutor(path, market=FakeMarket(), orders=orders) as executor:
        await executor.start_strategy("koge_volume_boost")
        async with asyncio.timeout(5):
            while executor.get_strategy_status("koge_volume_boost")["is_running"]:
                await asyncio.sleep(0.01)
        await asyncio.sleep(1.1)
        (status,) = executor.get_all_strategy_status()
    assert status["total_volume"] == str(orders.counted("1") + orders.counted("2")).rstrip("0")


async def test_a_reload_of_its_config_manager_acts_on_running_loops(path: Path) -> None:
    orders = FakeOrders()
    async with StrategyExecutor(path, market=FakeMarket(), orders=orders) as executor:
        path.write_text(FILE.replace("target_volume: 120", "target_volume: 100000"))
        executor.config_manager.reload()
        await executor.start_strategy("koge_volume_boost")
        path.write_text(FILE.replace("target_volume: 120", "target_volume: 90000"))
        executor.config_manager.reload()
        async with asyncio.timeout(3):
            while next(iter(orders.scopes.values())).target != 90000:
                await asyncio.sleep(0.02)


def test_a_bad_file_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "trading_config.yaml"
    file.write_text("strategies: 3")
    with pytest.raises(ConfigError):
        StrategyExecutor(file)


async def test_an_unknown_strategy_is_said(path: Path) -> None:
    async with StrategyExecutor(path, market=FakeMarket(), orders=FakeOrders()) as executor:
        with pytest.raises(Fault, match="unknown strategy 'x'"):
            await executor.start_strategy("x")
        with pytest.raises(KeyError):
            executor.get_strategy_status("x")
