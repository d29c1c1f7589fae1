"""StrategyExecutor: the Python API of the seeds.

It embeds the supervisor that the service also drives, with clients to the market and order
services; start_strategy takes the placing right, so a strategy service beside it stands down
until it is told to start again, and then this one does. Status is read from memory. Use it as
`async with`, or call aclose() at the end.
"""

from pathlib import Path

import grpc

from otopilot import settings as service_settings
from otopilot.clock import Clock, SystemClock
from otopilot.rpc import channel
from otopilot.settings import Settings
from strategy_service.clients import GrpcMarket, GrpcOrders, MarketClient, OrderClient
from strategy_service.config import ConfigManager
from strategy_service.runs import Runs
from strategy_service.status import UserState, UserStatus
from strategy_service.strategy_run import describe
from strategy_service.supervisor import Supervisor


class StrategyExecutor:
    """Runs the strategies of one configuration file."""

    def __init__(
        self,
        config_path: str | Path | None = None,
        *,
        settings: Settings | None = None,
        market: MarketClient | None = None,
        orders: OrderClient | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Read the configuration; raises ConfigError. Clients default to the settings' services."""
        self.config_manager = ConfigManager(config_path)
        self._settings = settings
        self._market = market
        self._orders = orders
        self._clock = clock or SystemClock()
        self._supervisor: Supervisor | None = None
        self._channels: list[grpc.aio.Channel] = []
        self._runs: Runs | None = None

    async def __aenter__(self) -> "StrategyExecutor":
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start_strategy(self, strategy_id: str) -> None:
        """Start a strategy; returns when its loops run. Raises otopilot.rpc.Fault."""
        supervisor = await self._open()
        await supervisor.start(str(strategy_id))

    async def stop_strategy(self, strategy_id: str) -> None:
        """Stop a strategy; returns after the drain. Raises otopilot.rpc.Fault."""
        supervisor = await self._open()
        await supervisor.stop(str(strategy_id))

    def get_strategy_status(self, strategy_id: str) -> dict[str, object]:
        """The seed's seven keys. Raises KeyError for a strategy that is not configured."""
        if self._supervisor is None:
            return self._idle(str(strategy_id))
        self.config_manager.config.strategy(str(strategy_id))
        return self._supervisor.status(str(strategy_id)).seven()

    def get_all_strategy_status(self) -> list[dict[str, object]]:
        """The same of every strategy, in the configuration's order."""
        return [
            self.get_strategy_status(strategy.strategy_id)
            for strategy in self.config_manager.config.strategies
        ]

    async def aclose(self) -> None:
        """Cut the loops off and close the connections; stop the strategies first to drain them."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            await supervisor.aclose()
        for each in self._channels:
            await each.close()
        self._channels = []
        if self._runs is not None:
            self._runs.close()
            self._runs = None

    async def _open(self) -> Supervisor:
        if self._supervisor is None:
            market, orders = self._clients()
            # Its own memory: a strategy service keeps the run table of the data directory.
            self._runs = Runs(None)
            self._supervisor = Supervisor(
                self.config_manager, market, orders, self._runs, self._clock, owner="executor"
            )
            await self._supervisor.open()
        return self._supervisor

    def _clients(self) -> tuple[MarketClient, OrderClient]:
        market, orders = self._market, self._orders
        if market is None or orders is None:
            chosen = self._settings or service_settings.load()
            if market is None:
                self._channels.append(channel(chosen.market.target))
                market = GrpcMarket(self._channels[-1])
            if orders is None:
                self._channels.append(channel(chosen.order.target))
                orders = GrpcOrders(self._channels[-1])
        return market, orders

    def _idle(self, strategy_id: str) -> dict[str, object]:
        config = self.config_manager.config.strategy(strategy_id)
        users = tuple(UserStatus(user_id=user, state=UserState.IDLE) for user in config.user_ids)
        return describe(config, users, symbol="").seven()
