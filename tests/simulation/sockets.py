"""A WebSocket to the exchange over the bad line: frames get lost, doubled, late; sockets get cut."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from order_service.venues.port import VenueSilent
from paper_exchange.http import Request
from paper_exchange.streams import HANG_UP

if TYPE_CHECKING:
    from tests.simulation.network import Network

NOTICED_SECONDS = 30.0  # until a half-open socket is given up by its heartbeat


class SimSocket:
    """The port's Socket. Frames keep their order, unless one is late."""

    def __init__(self, network: "Network", path: str) -> None:
        self._network = network
        self._frames: deque[str] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._newest = 0.0
        self._connection: Any = network.exchange.world.connect(
            Request(method="GET", path=path, remote="10.0.0.1"), self._hear
        )
        assert self._connection is not None, path
        self._subscribed = False  # the acknowledgement of a subscription passes
        network.sockets.append(self)

    # ------------------------------------------------------------------ the port

    async def send(self, text: str) -> None:
        """Send a text frame."""
        if self._closed:
            raise VenueSilent("connection", "WebSocket: closed")
        self._network.after(self._network.latency(), self._deliver, text)

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while not self._frames:
            if self._closed:
                raise StopAsyncIteration
            self._waiter = self._network.loop.create_future()
            await self._waiter
        return self._frames.popleft()

    async def close(self) -> None:
        """Close it."""
        self.cut()

    # ------------------------------------------------------------------ the line

    def cut(self, *, noticed: bool = True) -> None:
        """The exchange loses it at once; the client at once, or when nothing has come for long."""
        if self._connection is not None:
            self._network.exchange.world.disconnect(self._connection)
            self._network.exchange.moved()
            self._connection = None
            if self in self._network.sockets:
                self._network.sockets.remove(self)
        if noticed:
            self._end()
        else:
            self._network.after(NOTICED_SECONDS, self._end)

    def _deliver(self, text: str) -> None:
        if self._connection is not None:
            exchange = self._network.exchange
            exchange.world.receive(self._connection, text, exchange.now_ms())
            exchange.moved()

    def _hear(self, frame: bytes) -> None:
        network = self._network
        if frame == HANG_UP:
            network.after(network.latency(), self._end)
            return
        pushed = self._subscribed
        self._subscribed = True
        if pushed and network.chance("frame_lost"):
            return
        seconds = network.latency()
        if pushed and network.chance("frame_late"):
            network.after(seconds + network.dice.uniform(0.05, 3.0), self._take, frame)
            return
        self._newest = max(self._newest, network.loop.time() + seconds)
        for _ in range(2 if pushed and network.chance("frame_twice") else 1):
            network.loop.call_at(self._newest, self._take, frame, context=network.context)
            self._newest += 1e-6

    def _take(self, frame: bytes) -> None:
        if not self._closed:
            self._frames.append(frame.decode())
            self._wake()

    def _end(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
