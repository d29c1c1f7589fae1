"""A supervisor over fakes, and how to wait for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from otopilot.clock import Clock, SystemClock
from strategy_service.config import StrategyConfig, TradingConfig
from strategy_service.runs import Runs
from strategy_service.supervisor import Supervisor
from tests.strategy_service.builders import trading
from tests.strategy_service.fakes import FakeMarket, FakeOrders
from tests.virtual_loop import VirtualClock


class Desk(SimpleNamespace):
    """Fakes, run table and a supervisor over them."""

    market: FakeMarket
    orders: FakeOrders
    runs: Runs
    manager: SimpleNamespace
    supervisor: Supervisor

    def configure(self, config: TradingConfig) -> None:
        """What ConfigManager.reload() does to whoever holds the manager."""
        self.manager.config = config

    async def until(self, true: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait for a claim to become true."""
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.005)

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Supervisor]:
        """A new process over the same journal and run table."""
        supervisor = Supervisor(self.manager, self.market, self.orders, self.runs, SystemClock())  # type: ignore[arg-type]
        async with supervisor:
            yield supervisor


def made(
    *strategies: StrategyConfig, places: int = 10, runs: Runs | None = None, clock: Clock | None = None
) -> Desk:
    """A desk with these strategies; whoever makes it closes it."""
    manager = SimpleNamespace(config=trading(*strategies, places=places))
    market, orders = FakeMarket(), FakeOrders()
    table = runs or Runs(None)
    supervisor = Supervisor(manager, market, orders, table, clock or SystemClock())  # type: ignore[arg-type]
    return Desk(market=market, orders=orders, runs=table, manager=manager, supervisor=supervisor)


@asynccontextmanager
async def virtual_desk(*strategies: StrategyConfig) -> AsyncIterator[Desk]:
    """An open one on virtual time."""
    desk = made(*strategies, clock=VirtualClock())
    async with desk.supervisor:
        yield desk
    desk.runs.close()


@pytest.fixture
async def desk() -> AsyncIterator[Callable[..., Desk]]:
    """Makes a desk with these strategies; closes it at the end."""
    opened: list[Desk] = []

    def make(*strategies: StrategyConfig, places: int = 10, runs: Runs | None = None) -> Desk:
        opened.append(made(*strategies, places=places, runs=runs))
        return opened[-1]

    yield make
    for each in opened:
        await each.supervisor.aclose()
        each.runs.close()
