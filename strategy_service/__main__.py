"""The strategy service's process: settings in, everything put together, serve until told to stop.

SIGHUP reads the configuration again, and so does a change of the file where `strategy.watch_config`
is set. SIGTERM and SIGINT drain: no new try, a BUY that is out may
fill until its timeout, SELLs rest; what was wanted goes on at the next start. A second one ends
the process at once, which is as safe as kill -9: journal and run table know all there is to know.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from otopilot import log
from otopilot.clock import SystemClock
from otopilot.rpc import RefuseStart, channel, run_service, serve
from otopilot.settings import Settings
from otopilot.tasks import TaskOwner, restarted
from strategy_service.clients import GrpcMarket, GrpcOrders
from strategy_service.config import ConfigError, ConfigManager
from strategy_service.config.kept import KeptConfig
from strategy_service.runs import Runs, RunsInUse
from strategy_service.servicer import StrategyServicer
from strategy_service.supervisor import Supervisor
from strategy_service.watching import watch

_log = log.get("strategy-service")


async def serve_strategies(settings: Settings, stop: asyncio.Event) -> None:
    """Runs OTO strategies: loops for many users, driven by the trading configuration."""
    clock = SystemClock()
    try:
        manager = ConfigManager(settings.strategy.config, KeptConfig(settings.data_dir / "config-in-force"))
    except ConfigError as error:
        raise RefuseStart(f"the trading configuration cannot be used:\n{error}") from error
    for notice in manager.config.notices:
        _log.warning("trading configuration", notice=notice)
    try:
        runs = Runs(settings.data_dir / "runs.db")
    except RunsInUse as error:
        raise RefuseStart(str(error)) from error
    async with AsyncExitStack() as stack:
        stack.callback(runs.close)
        market = channel(settings.market.target)
        stack.push_async_callback(market.close)
        orders = channel(settings.order.target)
        stack.push_async_callback(orders.close)
        supervisor = Supervisor(manager, GrpcMarket(market), GrpcOrders(orders), runs, clock)
        servicer = StrategyServicer(supervisor, clock)
        server = await stack.enter_async_context(serve(settings.strategy, [servicer.registration()]))
        # After the port is ours: a second process must not place anything.
        await stack.enter_async_context(supervisor)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, supervisor)
        if settings.strategy.watch_config:
            tasks = await stack.enter_async_context(TaskOwner("configuration"))
            path = Path(manager.config.path)
            watching = partial(watch, path, clock, partial(_reload, supervisor))
            tasks.spawn(restarted(watching, clock, "watch"), "watch")
        await server.set_serving(True)
        _log.info("serving", port=server.port, config=manager.config.path)
        await stop.wait()
        await server.set_serving(False)
        await _drain(supervisor)


async def _drain(supervisor: Supervisor) -> None:
    """Until the loops have ended, or somebody is in a hurry."""
    loop, hurry = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hurry.set)
    _log.info("draining")
    waits = [asyncio.ensure_future(supervisor.drain()), asyncio.ensure_future(hurry.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def _reload(supervisor: Supervisor) -> None:
    try:
        changes = supervisor.reload()
    except ConfigError as error:
        _log.error("configuration not reloaded", problems=[str(problem) for problem in error.problems])
    else:
        _log.info("configuration reloaded", changes=list(changes.lines))


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return run_service("strategy-service", serve_strategies, argv)


if __name__ == "__main__":
    sys.exit(main())
