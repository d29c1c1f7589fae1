"""The CLI on a fake wire: grpcio-testing's channel, where the test plays the service."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import grpc_testing
import pytest

from otopilot.settings import Settings
from protos import market_pb2, order_pb2, strategy_pb2
from strategy_service.cli.app import main
from strategy_service.cli.clients import Services

FILES = (market_pb2, order_pb2, strategy_pb2)
DESCRIPTORS = {
    method.full_name.rsplit(".", 1)[1]: method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


class Wire:
    """Runs command lines in a thread and answers their calls."""

    def __init__(self) -> None:
        services = [each for file in FILES for each in file.DESCRIPTOR.services_by_name.values()]
        self.channel = grpc_testing.channel(services, grpc_testing.strict_real_time())
        self.targets: list[str] = []
        self.services = Services(Settings(), self._connect)
        self._pool = ThreadPoolExecutor(1)

    def _connect(self, target: str) -> grpc.Channel:
        self.targets.append(target)
        channel: grpc.Channel = self.channel
        return channel

    def run(self, *argv: str) -> "Future[int]":
        """Start a command line; its exit code comes when its calls are answered."""
        return self._pool.submit(main, argv, self.services)

    def answer(
        self,
        method: str,
        response: Any = None,
        code: grpc.StatusCode = grpc.StatusCode.OK,
        message: str = "",
        trailing: tuple[Any, ...] = (),
    ) -> Any:
        """Answer the next unary call of that name; returns its request."""
        _, request, rpc = self.channel.take_unary_unary(DESCRIPTORS[method])
        rpc.send_initial_metadata(())
        rpc.terminate(response, trailing, code, message)
        return request

    def stream(self, method: str, *items: Any, message: str = "") -> Any:
        """Answer the next streaming call with these items and an end; returns its request."""
        _, request, rpc = self.channel.take_unary_stream(DESCRIPTORS[method])
        rpc.send_initial_metadata(())
        for item in items:
            rpc.send_response(item)
        rpc.terminate((), grpc.StatusCode.OK, message)
        return request

    def close(self) -> None:
        """No thread outlives the test."""
        self._pool.shutdown()


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A wire without anybody on it yet."""
    made = Wire()
    yield made
    made.close()


@pytest.fixture
def koge() -> Callable[..., strategy_pb2.StrategyStatus]:
    """A strategy half way, with whatever the test changes."""

    def make(**changes: Any) -> strategy_pb2.StrategyStatus:
        users = changes.pop("users", None) or [
            strategy_pb2.UserStatus(
                user_id=user,
                state=strategy_pb2.USER_RUN_STATE_RUNNING,
                reason_code="interval",
                reason="waits for its interval",
                volume=volume,
                volume_complete=True,
                cost="0.12345",
                cost_complete=True,
                inventory="9.5",
                inventory_cost="456.789",
                open_sells=9,
            )
            for user, volume in (("1", "456.78"), ("2", "389.12"), ("3", "388.66"))
        ]
        values: dict[str, Any] = {
            "strategy_id": "koge_volume_boost",
            "strategy_name": "KOGE 刷量策略",
            "is_running": True,
            "enabled": True,
            "target_volume": "16384",
            "total_volume": "1234.56",
            "total_complete": True,
            "progress": "7.53%",
            "target_scope": "shared",
            "venue": market_pb2.VENUE_ALPHA,
            "symbol": "ALPHA_22USDT",
            "token": "KOGE",
            "last_price": "48.01706542",
            "price_age_ms": 260,
            "eta_seconds": 151,
            "volume_per_minute": "5999.999",
            "cost": "0.37",
            "cost_per_1000": "0.29999",
            "users": users,
        }
        return strategy_pb2.StrategyStatus(**(values | changes))

    return make
