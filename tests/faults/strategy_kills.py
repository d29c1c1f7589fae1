"""kill -9 of the strategy service where it reloads and where it stops, before and after: wishes hold.

The order service, the market service and the exchange live on; what is wished stands in the run table.
A caller whose call died asks again with the same request id, and each place has its own claim of what
holds until then.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
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
USERS = ("1", "2")
STOP = pb.StopStrategyRequest(strategy_id="koge", request_id="stop 1")
SETTLE_SECONDS = 60.0
TRADE_SECONDS = 40.0
QUIET_SECONDS = 3.0  # in which a user who runs has bought again


class StrategyDeath(NamedTuple):
    """One death and how the service came back.

    `trading_seconds`: from its start until every user had a new BUY accepted; after a stop that
    holds, from the moment it was told to trade again.
    """

    failpoint: str
    serving_seconds: float
    trading_seconds: float
    differences: list[str]


class Before(NamedTuple):
    """What was when the service had died."""

    buys: Counter[str]  # accepted by the exchange, by user
    run: pb.StrategyStatus


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
    """Trade, die where the wish is acted on, come back, and see that the claim of this place holds."""
    whole = Whole(root)
    try:
        await asyncio.to_thread(whole.start)
        await _enlist(whole)
        await asyncio.to_thread(whole.start_strategy, OTOPILOT_FAILPOINTS=f"{failpoint}=kill")
        async with rpc.channel(whole.target) as channel:
            stub: Any = strategy_pb2_grpc.StrategyServiceStub(channel)
            await stub.StartStrategy(pb.StartStrategyRequest(strategy_id="koge"), timeout=30)
            await _until(lambda: _trades(whole) >= 2, TRADE_SECONDS, whole)
            run = await _status(stub)
            try:
                await _wish(stub, whole, failpoint)
            except grpc.aio.AioRpcError as gone:
                if gone.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            assert await asyncio.to_thread(whole.strategy.wait, 10) == -signal.SIGKILL
        await asyncio.sleep(1)  # what was on its way has arrived
        before = Before(await asyncio.to_thread(_buys, whole), run)
        serving_seconds = await asyncio.to_thread(whole.start_strategy)
        async with rpc.channel(whole.target) as channel:
            claim = CLAIMS[failpoint]
            seconds, differences = await claim(strategy_pb2_grpc.StrategyServiceStub(channel), whole, before)
        if not failpoint.startswith("stop.after"):
            seconds += serving_seconds
        return StrategyDeath(failpoint, serving_seconds, seconds, differences + await _audit(whole))
    finally:
        await asyncio.to_thread(whole.end)


def show(death: StrategyDeath) -> None:
    """A row of the table."""
    print(
        f"{death.failpoint:<24} served after {death.serving_seconds:5.1f} s  "
        f"all trade after {death.trading_seconds:6.1f} s  differences {len(death.differences)}",
        flush=True,
    )
    for difference in death.differences[:20]:
        print(f"    {difference}")


async def _enlist(whole: Whole) -> None:
    async with rpc.channel(whole.pair.target) as channel:
        admin: Any = order_pb2_grpc.OrderAdminServiceStub(channel)
        for user in USERS:
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
        await stub.StopStrategy(STOP, timeout=40)


# ---------------------------------------------------------------------- what must hold, place by place


async def _reloaded(stub: Any, whole: Whole, before: Before) -> tuple[float, list[str]]:
    """The same run goes on by the new file, and there is nothing left to be reloaded."""
    seconds = await _trades_on(whole, before.buys)
    status = await _status(stub)
    again = await stub.ReloadConfig(pb.ReloadConfigRequest(), timeout=10)
    differences = [f"a reload still finds {change}" for change in again.changes]
    if status.target_volume != "200000":
        differences.append(f"it goes by a target of {status.target_volume}")
    if again.config_revision == before.run.config_revision:
        differences.append(f"it goes by the old file, {again.config_revision}")
    if status.config_revision != again.config_revision:
        differences.append(f"its run has {status.config_revision}, the service {again.config_revision}")
    if status.started_at != before.run.started_at:
        differences.append("another run began")
    return seconds, differences


async def _not_stopped_yet(stub: Any, whole: Whole, before: Before) -> tuple[float, list[str]]:
    """Nobody has heard of the wish: it trades on, until the caller asks again."""
    seconds = await _trades_on(whole, before.buys)
    status = await _status(stub)
    differences = [] if status.is_running else ["it stopped for a wish that was not written"]
    differences += await _stops(stub, whole)
    await _starts_again(stub, whole)
    return seconds, differences


async def _stopped(stub: Any, whole: Whole, before: Before) -> tuple[float, list[str]]:
    """The wish is written: it buys no more, also before the caller asks again; told to trade, it does."""
    await asyncio.sleep(QUIET_SECONDS)
    bought = await asyncio.to_thread(_buys, whole) - before.buys
    differences = [f"it bought after it was stopped: {dict(bought)}"] if bought else []
    differences += await _stops(stub, whole)
    return await _starts_again(stub, whole), differences


CLAIMS: dict[str, Callable[[Any, Whole, Before], Awaitable[tuple[float, list[str]]]]] = {
    "reload.before_apply": _reloaded,
    "reload.after_apply": _reloaded,
    "stop.before_wish": _not_stopped_yet,
    "stop.after_wish": _stopped,
}
FAILPOINTS = tuple(CLAIMS)


async def _stops(stub: Any, whole: Whole) -> list[str]:
    """What does not hold after the caller has asked once more."""
    await stub.StopStrategy(STOP, timeout=60)
    deadline = time.monotonic() + 20  # the drain that the death cut short is finished first
    while (status := await _status(stub)).is_running and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    buys = await asyncio.to_thread(_buys, whole)
    await asyncio.sleep(QUIET_SECONDS)
    differences = ["it still runs"] if status.is_running else []
    if await asyncio.to_thread(_buys, whole) != buys:
        differences.append("it bought after it was stopped")
    return differences


async def _starts_again(stub: Any, whole: Whole) -> float:
    """The seconds until everybody trades, from the word on; then it is stopped for the last time."""
    buys, began = await asyncio.to_thread(_buys, whole), time.monotonic()
    await stub.StartStrategy(pb.StartStrategyRequest(strategy_id="koge"), timeout=30)
    await _trades_on(whole, buys)
    seconds = time.monotonic() - began
    await stub.StopStrategy(pb.StopStrategyRequest(strategy_id="koge", mode=pb.STOP_MODE_CANCEL), timeout=60)
    return seconds


async def _trades_on(whole: Whole, buys: Counter[str]) -> float:
    """The seconds until the exchange has accepted more than these of every user."""
    began = time.monotonic()

    def everybody() -> bool:
        now = _buys(whole)
        return all(now[user] > buys[user] for user in USERS)

    await _until(everybody, TRADE_SECONDS, whole)
    return time.monotonic() - began


async def _status(stub: Any) -> pb.StrategyStatus:
    status: pb.StrategyStatus = await stub.GetStrategyStatus(
        pb.GetStrategyStatusRequest(strategy_id="koge"), timeout=10
    )
    return status


# ---------------------------------------------------------------------- the books


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


def _buys(whole: Whole) -> Counter[str]:
    """How many BUYs the exchange accepted of each user."""
    orders = whole.pair.control("GET", "orders")["orders"]
    return Counter(order["user_id"] for order in orders if order["side"] == "BUY")


async def _until(holds: Callable[[], bool], seconds: float, whole: Whole) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, whole.strategy.tail()
        await asyncio.sleep(0.1)
