"""The service in this process on a free port, over real gRPC, against an imitated venue."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from market_service.__main__ import open_service
from otopilot import rpc
from otopilot.clock import SystemClock
from otopilot.settings import MarketSettings, PaperSettings, Settings
from protos import market_pb2 as pb
from protos import market_pb2_grpc
from tests.market_service.imitation import Imitation

Stub = Any
Start = Callable[..., Awaitable[Stub]]


@pytest.fixture
async def venue() -> AsyncIterator[Imitation]:
    async with Imitation().running() as imitation:
        yield imitation


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def start(stack: AsyncExitStack) -> Start:
    """Starts the service on a paper address; its client."""

    async def started(url: str, **market: Any) -> Stub:
        chosen = {"silence_seconds": 0.2, "reconnect_seconds": 0.8, "port": 0} | market
        settings = Settings(paper=PaperSettings(url=url), market=MarketSettings(**chosen))
        server, _ = await open_service(stack, settings, SystemClock())
        channel = await stack.enter_async_context(rpc.channel(f"127.0.0.1:{server.port}"))
        return market_pb2_grpc.MarketServiceStub(channel)

    return started


@pytest.fixture
async def market(venue: Imitation, start: Start) -> Stub:
    return await start(venue.url)


async def refused(call: Awaitable[Any]) -> rpc.Fault:
    """The Fault that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return rpc.fault_of(caught.value)


def alpha(symbol: str = "ALPHA_22USDT") -> pb.PriceKey:
    """Names an Alpha price."""
    return pb.PriceKey(venue=pb.VENUE_ALPHA, symbol=symbol)
