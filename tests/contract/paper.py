"""A paper exchange on a free port, for the adapters that are tested against it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from paper_exchange.config import Config
from paper_exchange.server import Server, now_ms
from paper_exchange.store import MemoryStore
from paper_exchange.world import World, fresh_rng
from tests.paper_exchange.desk import make_config


class Paper:
    """Where it is, and its control interface."""

    def __init__(self, url: str, web: aiohttp.ClientSession) -> None:
        self.url = url
        self._web = web

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the control interface."""
        data = None if body is None else json.dumps(body)
        async with self._web.request(method, f"{self.url}/control/{path}", data=data) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def pin(self, symbol: str, price: str) -> None:
        """Hold the price, and let the house quote around it."""
        await self.control("POST", "price", {"symbol": symbol, "price": price})
        await asyncio.sleep(0.3)


@asynccontextmanager
async def running(config: Config | None = None) -> AsyncIterator[Paper]:
    """A fresh world over real sockets."""
    world = World(
        config or make_config(), MemoryStore(), rng=fresh_rng(1, 1), world_id="test-world", now_ms=now_ms()
    )
    server = Server(world)
    port = await server.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as web:
            yield Paper(f"http://127.0.0.1:{port}", web)
    finally:
        await server.close()
    assert server.failure is None


async def until(condition: Callable[[], Any], seconds: float = 5) -> Any:
    """The first true value of the condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass in time")
