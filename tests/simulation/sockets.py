"""A WebSocket to the exchange over the bad line: frames get lost, doubled, late; sockets get cut.

Pushed frames are drawn for one by one. An answer to a request about orders has its request's fate.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from order_service.venues.port import VenueSilent
from paper_exchange.http import Request
from paper_exchange.streams import HANG_UP

if TYPE_CHECKING:
    from tests.simulation.network import Network, Sent

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
        self._answers: dict[str, Sent] = {}  # to come, by the request's id
        network.sockets.append(self)

    # ------------------------------------------------------------------ the port

    async def send(self, text: str) -> None:
        """Send a text frame."""
        if self._closed:
            raise VenueSilent("connection", "WebSocket: closed")
        asked = json.loads(text)
        if str(asked.get("method", "")).startswith(("order.", "orderList.")):
            self._network.send_frame(self, asked, text)
        else:
            self._network.after(self._network.latency(), self.deliver, text)

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

    @property
    def is_closed(self) -> bool:
        """Does its client hear nothing any more?"""
        return self._closed

    def abandon(self, seconds: float) -> None:
        """Its client has died: what it had sent may arrive until the exchange notices."""
        self._closed = True
        if self in self._network.sockets:
            self._network.sockets.remove(self)
        self._network.after(seconds, self.cut)

    def expect(self, number: str, fate: str, sent: "Sent") -> None:
        """The answer of that number is to meet this."""
        sent.fate = fate
        self._answers[number] = sent

    def say(self, seconds: float, frame: bytes) -> None:
        """A frame that the exchange never sent."""
        self._network.after(seconds, self._take, frame)

    def deliver(self, text: str) -> None:
        """A frame of the client's arrives, if the exchange still has the connection."""
        if self._connection is not None:
            exchange = self._network.exchange
            self._network.arriving = text
            exchange.world.receive(self._connection, text, exchange.now_ms())
            self._network.arriving = ""
            exchange.moved()

    def _hear(self, frame: bytes) -> None:
        network = self._network
        if frame == HANG_UP:
            network.after(network.latency(), self._end)
            return
        if self._answers and (sent := self._answered(frame)) is not None:
            self._answer(sent, frame)
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

    def _answered(self, frame: bytes) -> "Sent | None":
        return self._answers.pop(str(json.loads(frame).get("id")), None)

    def _answer(self, sent: "Sent", frame: bytes) -> None:
        network, back = self._network, self._network.latency()
        if sent.places:
            network.trace.add("exchange", f"#{sent.number} answers {frame.decode()[:160]}")
        if sent.fate == "unheard":
            if network.dice.random() < 0.5:
                network.after(back, self.cut)
            return
        if sent.fate == "error after":
            row = {"id": json.loads(frame)["id"], "status": network.dice.choice((500, 503, 504))}
            frame = json.dumps(row | {"error": {"code": -1007, "msg": "gateway"}}).encode()
        elif sent.fate == "garbage":
            frame = frame[: len(frame) // 2]
        elif sent.fate == "late answer":
            back += network.dice.uniform(1.0, 9.0)
        network.after(back, self._take, frame)

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
