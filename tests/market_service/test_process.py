"""The real process against the real paper exchange: KOGE on BSC, from instrument to live price."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from otopilot import rpc
from protos import market_pb2 as pb
from protos import market_pb2_grpc
from tests.market_service.conftest import Stub, alpha, refused
from tests.market_service.imitation import KOGE

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def process(module: str, *arguments: str, **environment: str) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


def market_process(port: int, paper_port: int) -> AbstractAsyncContextManager[Process]:
    return process(
        "market_service",
        OTOPILOT_MARKET__PORT=str(port),
        OTOPILOT_PAPER__URL=f"http://127.0.0.1:{paper_port}",
    )


async def serving(channel: grpc.aio.Channel) -> None:
    """Until health says so."""
    stub = health_pb2_grpc.HealthStub(channel)
    asked = health_pb2.HealthCheckRequest(service="otopilot.market.v1.MarketService")
    answer = await stub.Check(asked, wait_for_ready=True, timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_koge_from_instrument_to_live_price_and_a_clean_stop(tmp_path: Path) -> None:
    port, paper_port = free_port(), free_port()
    async with market_process(port, paper_port) as service, rpc.channel(f"127.0.0.1:{port}") as channel:
        await serving(channel)
        stub = market_pb2_grpc.MarketServiceStub(channel)
        paper = ("--data-dir", str(tmp_path), "--port", str(paper_port))
        async with process("paper_exchange", *paper):
            koge = await _instrument(stub)
            assert (koge.symbol, koge.buy_fee_rate, koge.max_num_orders) == (KOGE, "0.0001", 200)
            stream = stub.WatchPrices(pb.WatchPricesRequest(keys=[alpha()]), timeout=30)
            seen = set()
            while len(seen) < 3:
                message = await stream.read()
                seen |= {p.price for p in message.prices if p.source == pb.PRICE_SOURCE_STREAM}
                assert not any(price.stale for price in message.prices)
            service.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(service.wait(), 5) == 0


async def _instrument(stub: Stub) -> pb.Instrument:
    """Asked until the paper exchange is up: until then the venue cannot be read."""
    request = pb.GetInstrumentRequest(token="KOGE", chain="BSC")
    fault = await refused(stub.GetInstrument(request))
    assert fault.code is grpc.StatusCode.UNAVAILABLE
    async with asyncio.timeout(20):
        while True:
            try:
                return await stub.GetInstrument(request)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.2)


async def test_a_port_in_use_is_refused_with_exit_code_4() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with market_process(port, 9) as service:
            _, said = await asyncio.wait_for(service.communicate(), 20)
    assert service.returncode == 4
    assert f"127.0.0.1:{port}" in said.decode()


async def test_live_needs_the_settings_and_the_flag() -> None:
    async with process("market_service", "--live") as service:
        _, said = await asyncio.wait_for(service.communicate(), 20)
    assert service.returncode == 4
    assert "live" in said.decode()
