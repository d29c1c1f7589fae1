"""Four real processes of one world, killed and started at will: what drills and benchmarks trade on.

Whoever opens a Fleet owns its processes. The paper exchange moves fast and its limits for one
address are raised, because here many accounts share one; the services' settings are as shipped,
apart from what settles doubt (tests/faults/processes.py).
"""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import grpc
import yaml

from otopilot import wire
from otopilot.instrument import Venue
from otopilot.probe import serving
from protos import order_pb2 as orders
from protos import order_pb2_grpc, strategy_pb2_grpc
from protos import strategy_pb2 as pb
from strategy_service.cli.clients import connect
from tests.faults.processes import ROOT, START_SECONDS, Pair, Process, free_port

RAISED_WEIGHT = 100_000_000
SERVICES = ("market_service", "order_service", "strategy_service", "paper_exchange")
STEP_SECONDS = 0.02
CALL_SECONDS = 5.0


class Team(NamedTuple):
    """One strategy: where it trades, who takes part, and its keys of the trading configuration."""

    strategy_id: str
    venue: Venue
    token: str
    users: tuple[str, ...]
    keys: Mapping[str, str] = {}


def paper_config(path: Path, *, amplitude_percent: str = "0.6", answer_seconds: str = "0.15") -> Path:
    """The repository's paper exchange: prices that swing, limits that no test of this size meets."""
    raw = yaml.load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    raw["alpha"] |= {"fill_delay_seconds": ["0.02", "0.08"], "default_balances": {"USDT": "1000000"}}
    raw["spot"] |= {
        "default_balances": {"USDT": "1000000"},
        "weight_limit_per_minute": str(RAISED_WEIGHT),
        "order_limit_10s": "10000",
        "order_limit_day": "10000000",
        "connections_per_5_minutes": "1000000",
    }
    # The period is no whole number of ticks: prices, and with them fingerprints, do not come again.
    swing = {
        "kind": "swing",
        "amplitude_percent": amplitude_percent,
        "period_seconds": "12.347",
        "tick_interval_seconds": "0.2",
    }
    room = {"max_num_orders": "5000", "max_num_order_lists": "5000"}
    raw["instruments"] = [
        one | room | {"path": {"start": one["path"]["start"]} | swing}
        for one in raw["instruments"]
        if one["symbol"] in ("ALPHA_22USDT", "BNBUSDT")
    ]
    # A venue is further away than a loopback: orders are under way long enough to be caught there.
    delay = {"kind": "delay_response", "endpoint": "place_o*", "seconds": answer_seconds}
    raw["faults"] = [delay] if answer_seconds != "0" else []
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def trading_config(path: Path, teams: tuple[Team, ...]) -> Path:
    """The trading configuration of these teams."""
    strategies = [
        {"strategy_id": team.strategy_id, "venue": team.venue.value, "target_token": team.token}
        | ({"target_chain": "BSC"} if team.venue is Venue.ALPHA else {})
        | dict(team.keys)
        | {"user_ids": list(team.users)}
        for team in teams
    ]
    everybody = sum(len(team.users) for team in teams)
    whole = {"global_settings": {"max_concurrent_users": everybody}, "strategies": strategies}
    # Plain scalars: the loader takes amounts as they are written.
    path.write_text(_plain(yaml.safe_dump(whole, sort_keys=False)), encoding="utf-8")
    return path


def _plain(text: str) -> str:
    return text.replace("'", "")


class Fleet(AbstractContextManager["Fleet"]):
    """The exchange, the order service, the market service and the strategy service."""

    def __init__(self, root: Path, teams: tuple[Team, ...], config: Path | None = None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.teams = teams
        self.pair = Pair(root, config=config or paper_config(root / "paper.yaml"))
        ports = {"market_service": free_port(), "strategy_service": free_port()}
        env = {
            "OTOPILOT_MARKET__PORT": str(ports["market_service"]),
            "OTOPILOT_STRATEGY__PORT": str(ports["strategy_service"]),
            "OTOPILOT_STRATEGY__CONFIG": str(trading_config(root / "trading.yaml", teams)),
        }
        self.pair.env.update(env)
        self.processes = {"paper_exchange": self.pair.paper, "order_service": self.pair.orders}
        for name in ports:
            self.processes[name] = Process(name, [], self.pair.env, root / f"{name}.log")
        targets = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        self._targets = targets | {"order_service": self.pair.target}
        self._channels: dict[str, grpc.Channel] = {}

    def __enter__(self) -> "Fleet":
        try:
            for name in ("paper_exchange", "market_service", "order_service", "strategy_service"):
                self.start(name)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all four."""
        for channel in self._channels.values():
            channel.close()
        for name in reversed(SERVICES):
            self.processes[name].end()

    # ------------------------------------------------------------------ processes

    def start(self, name: str) -> float:
        """Start one and wait until it serves; the seconds it took."""
        began = time.monotonic()
        process = self.processes[name]
        process.start()
        while not self.serves(name):
            late = time.monotonic() > began + START_SECONDS
            if process.exit_code is not None or late:
                raise AssertionError(f"{name} did not come up:\n{process.tail()}")
            time.sleep(STEP_SECONDS)
        return time.monotonic() - began

    def serves(self, name: str) -> bool:
        """Does it do its work?"""
        if name != "paper_exchange":
            return serving(self._targets[name], 1.0)
        try:
            self.pair.control("GET", "world")
        except OSError:
            return False
        return True

    def fallen(self) -> list[str]:
        """Processes that ended without having been killed, with what they said."""
        return [
            f"{name} ended by itself with {process.exit_code}: {process.tail(2000)}"
            for name, process in self.processes.items()
            if process.exit_code is not None
        ]

    # ------------------------------------------------------------------ what is asked of them

    @property
    def users(self) -> list[str]:
        """Everybody."""
        return [user for team in self.teams for user in team.users]

    def enlist(self) -> None:
        """An account at the exchange and a credential at the order service for everybody."""
        admin: Any = order_pb2_grpc.OrderAdminServiceStub(self._channel("order_service"))
        for team in self.teams:
            for user in team.users:
                kind, secret = self.pair.open_account(user, team.venue.value)
                venue = wire.venue_to_pb(team.venue)
                put = orders.PutCredentialRequest(user_id=user, venue=venue, kind=kind, secret=secret)
                admin.PutCredential(put, timeout=30)

    def strategy(self) -> Any:
        """A stub of the strategy service; its channel finds it again after a restart."""
        return strategy_pb2_grpc.StrategyServiceStub(self._channel("strategy_service"))

    def begin(self) -> None:
        """Start every strategy."""
        self.strategy().StartStrategy(pb.StartStrategyRequest(), timeout=60)

    def stop(self, mode: "pb.StopMode.ValueType" = pb.STOP_MODE_DRAIN) -> None:
        """Stop every strategy; returns when their loops have ended."""
        self.strategy().StopStrategy(pb.StopStrategyRequest(mode=mode, request_id="end"), timeout=120)

    def statuses(self) -> dict[str, pb.UserStatus]:
        """Every user's status; none while the service does not answer."""
        try:
            listed = self.strategy().ListStrategies(pb.ListStrategiesRequest(), timeout=CALL_SECONDS)
        except grpc.RpcError:
            return {}
        return {user.user_id: user for strategy in listed.strategies for user in strategy.users}

    def settle(self) -> None:
        """Have the order service read everything from the exchange now."""
        admin: Any = order_pb2_grpc.OrderAdminServiceStub(self._channel("order_service"))
        admin.Settle(orders.SettleRequest(), timeout=60)

    def _channel(self, name: str) -> grpc.Channel:
        if name not in self._channels:
            self._channels[name] = connect(self._targets[name])
        return self._channels[name]
