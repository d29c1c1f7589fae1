"""kill -9 of the strategy service where it reloads and where it stops: it goes on as it was wished.

The order service, the market service and the exchange live on; what is wished stands in the run table.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from otopilot import rpc
from otopilot.probe import serving
from protos import market_pb2, order_pb2_grpc, strategy_pb2_grpc
from protos import order_pb2 as orders
from protos import strategy_pb2 as pb
from tests.faults import audit
from tests.faults.processes import ROOT, Pair, Process, free_port

CONFIG = """\
strategies:
  - strategy_id: koge
    target_token: KOGE
    target_chain: BSC
    target_volume: {target}
    single_trade_amount_usdt: 30
    trade_interval_seconds: 1
    user_ids: [1, 2]
"""
FAILPOINTS = ("reload.before_apply", "stop.after_wish")
SETTLE_SECONDS = 60.0


class StrategyDeath(NamedTuple):
    """One death and how the service came back."""

    failpoint: str
    serving_seconds: float
    differences: list[str]


class Whole:
    """All four processes over one directory."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.config = root / "trading.yaml"
        market_port, self._port = free_port(), free_port()
        self.pair = Pair(root, sweep_seconds=3, config=ROOT / "config" / "paper.yaml")
        env = self.pair.env | {
            "OTOPILOT_MARKET__PORT": str(market_port),
            "OTOPILOT_STRATEGY__PORT": str(self._port),
            "OTOPILOT_STRATEGY__CONFIG": str(self.config),
        }
        self.market = Process("market_service", [], env, root / "market.log")
        self.strategy = Process("strategy_service", [], env, root / "strategy.log")
        self.write(target=100_000)

    def write(self, target: int) -> None:
        self.config.write_text(CONFIG.format(target=target), encoding="utf-8")

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        self.pair.__enter__()
        self.market.start()

    def start_strategy(self, **env: str) -> float:
        """The seconds until it serves."""
        began = time.monotonic()
        self.strategy.start(**env)
        while not serving(self.target, 1.0):
            assert self.strategy.exit_code is None, self.strategy.tail()
            assert time.monotonic() < began + 30, self.strategy.tail()
            time.sleep(0.05)
        return time.monotonic() - began

    def end(self) -> None:
        for process in (self.strategy, self.market):
            process.end()
        self.pair.__exit__(None, None, None)


async def die_at(root: Path, failpoint: str) -> StrategyDeath:
    """Trade, die where the wish is acted on, come back, and see that the wish holds."""
    whole = Whole(root)
    try:
        await asyncio.to_thread(whole.start)
        await _enlist(whole)
        await asyncio.to_thread(whole.start_strategy, OTOPILOT_FAILPOINTS=f"{failpoint}=kill")
        async with rpc.channel(whole.target) as channel:
            stub: Any = strategy_pb2_grpc.StrategyServiceStub(channel)
            await stub.StartStrategy(pb.StartStrategyRequest(strategy_id="koge"), timeout=30)
            await _until(lambda: _trades(whole) >= 2, 40, whole)
            try:
                await _wish(stub, whole, failpoint)
            except grpc.aio.AioRpcError as gone:
                if gone.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            assert await asyncio.to_thread(whole.strategy.wait, 10) == -signal.SIGKILL
        seconds = await asyncio.to_thread(whole.start_strategy)
        async with rpc.channel(whole.target) as channel:
            differences = await _goes_on(strategy_pb2_grpc.StrategyServiceStub(channel), whole, failpoint)
        return StrategyDeath(failpoint, seconds, differences + await _audit(whole))
    finally:
        await asyncio.to_thread(whole.end)


async def _enlist(whole: Whole) -> None:
    async with rpc.channel(whole.pair.target) as channel:
        admin: Any = order_pb2_grpc.OrderAdminServiceStub(channel)
        for user in ("1", "2"):
            kind, secret = await asyncio.to_thread(whole.pair.open_account, user, "alpha")
            put = orders.PutCredentialRequest(
                user_id=user, venue=market_pb2.VENUE_ALPHA, kind=kind, secret=secret
            )
            await admin.PutCredential(put, timeout=30)


async def _wish(stub: Any, whole: Whole, failpoint: str) -> None:
    if failpoint.startswith("reload"):
        whole.write(target=200_000)
        await stub.ReloadConfig(pb.ReloadConfigRequest(), timeout=10)
    else:
        await stub.StopStrategy(pb.StopStrategyRequest(strategy_id="koge", request_id="stop 1"), timeout=40)


async def _goes_on(stub: Any, whole: Whole, failpoint: str) -> list[str]:
    """What of the wish does not hold after the restart."""
    asked = pb.GetStrategyStatusRequest(strategy_id="koge")
    if failpoint.startswith("reload"):
        before = _trades(whole)
        await _until(lambda: _trades(whole) > before, 40, whole)
        status = await stub.GetStrategyStatus(asked, timeout=10)
        return [] if status.target_volume == "200000" else [f"it goes by a target of {status.target_volume}"]
    stop = pb.StopStrategyRequest(strategy_id="koge", request_id="stop 1")
    await stub.StopStrategy(stop, timeout=60)
    deadline = time.monotonic() + 20  # the drain that the death cut short is finished first
    while (await stub.GetStrategyStatus(asked, timeout=10)).is_running and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    status = await stub.GetStrategyStatus(asked, timeout=10)
    lists = _lists(whole)
    await asyncio.sleep(3)
    differences = ["it still runs"] if status.is_running else []
    differences += ["it bought after it was stopped"] if _lists(whole) != lists else []
    await stub.StartStrategy(pb.StartStrategyRequest(strategy_id="koge"), timeout=30)
    await _until(lambda: _lists(whole) > lists, 40, whole)
    await stub.StopStrategy(pb.StopStrategyRequest(strategy_id="koge", mode=pb.STOP_MODE_CANCEL), timeout=60)
    return differences


async def _audit(whole: Whole) -> list[str]:
    await asyncio.to_thread(whole.strategy.end)
    await asyncio.to_thread(whole.pair.control, "POST", "freeze", {})
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        verdict = audit.compare(await asyncio.to_thread(audit.read, whole.pair))
        if not (verdict.differences or verdict.figures["still in doubt"]) or time.monotonic() > deadline:
            return verdict.differences
        await asyncio.sleep(0.5)


def _trades(whole: Whole) -> int:
    return len(whole.pair.control("GET", "trades")["trades"])


def _lists(whole: Whole) -> int:
    return int(whole.pair.control("GET", "report")["totals"]["accepted_lists"])


async def _until(holds: Callable[[], bool], seconds: float, whole: Whole) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, whole.strategy.tail()
        await asyncio.sleep(0.1)
