"""The strategy service as a process that can be killed: its supervisor, loops and run table."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otopilot.rpc import Fault
from strategy_service.config import TradingConfig
from strategy_service.runs import Runs
from strategy_service.supervisor import Supervisor
from tests.simulation.clock import SimClock
from tests.simulation.loop import Process
from tests.simulation.market import SimMarket
from tests.simulation.rpc import SimOrders

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


class HeldConfig:
    """A ConfigManager whose file is in memory."""

    def __init__(self, config: TradingConfig) -> None:
        self.config = config

    def preview(self) -> Any:
        """Nothing to compare with."""
        return None

    def reload(self) -> Any:
        """Nothing to read."""
        return None


class StrategyProcess:
    """One start of the strategy service."""

    def __init__(
        self, sim: "Simulation", clock: SimClock, path: Path, config: TradingConfig, seed: str
    ) -> None:
        self._sim = sim
        self.process = Process("strategy")
        self.config = HeldConfig(config)
        self.runs = Runs(path)
        orders, market = SimOrders(sim, f"{seed}/calls"), SimMarket(sim, f"{seed}/prices")
        self.market = market
        make = lambda: Supervisor(self.config, market, orders, self.runs, clock)  # type: ignore[arg-type]  # noqa: E731
        self.supervisor = self.process.context.run(make)
        self.clock = clock
        self.dead = False

    def start(self) -> None:
        """Open it, and begin every strategy that was not begun before."""
        self._sim.loop.spawn(self.process, self._run(), "strategy service")

    async def _run(self) -> None:
        await self.supervisor.open()
        for strategy in self.config.config.enabled():
            if self.runs.run(strategy.strategy_id) is not None:
                continue  # wanted since an earlier start
            while True:
                try:
                    await self.supervisor.start(strategy.strategy_id)
                except Fault as fault:
                    self._sim.trace.add("strategy", f"{strategy.strategy_id} not started: {fault.reason}")
                    await self.clock.sleep(0.5)
                else:
                    break

    def ask(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        """A request that came in: a task of this process."""
        return self._sim.loop.spawn(self.process, work, name)

    def kill(self) -> None:
        """As kill -9 does it."""
        self.dead = True
        self._sim.loop.kill(self.process)
        self.runs._db.close()  # nothing more is written
