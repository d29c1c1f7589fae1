"""A venue's stream server for virtual time: it acknowledges, tells trades, says that it goes, and cuts.

It stands where aiohttp's session stands; it counts who is served, and what each connection sent when.
"""

import asyncio
import json
from collections.abc import Callable, Set
from types import SimpleNamespace
from typing import Any

from aiohttp import ClientConnectionError, RequestInfo, WSMessage, WSMsgType, WSServerHandshakeError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from market_service.venues.connection import Connection, Rejections, StreamPlace
from market_service.venues.door import Door
from market_service.venues.port import OnTick
from market_service.venues.stream import TradeStream
from otopilot.clock import to_ms
from tests.market_service.fakes import FakeVenue
from tests.virtual_loop import VirtualClock

ANSWER_SECONDS = 0.1
PLACE = StreamPlace(FakeVenue.venue, "wss://venue.test/stream", 1000, 10.0)


class FakeSocket:
    """One connection, from both sides."""

    def __init__(self, server: "FakeStreamServer") -> None:
        self.names: set[str] = set()
        self.sent_at: list[float] = []
        self.opened_at = server.clock.monotonic()
        self.open = True
        self.mute = server.mute
        self.close_code = 1006
        self._server = server
        self._frames: asyncio.Queue[WSMessage] = asyncio.Queue()

    # The client's side.

    async def __aenter__(self) -> "FakeSocket":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()

    async def send_str(self, text: str) -> None:
        self.sent_at.append(self._server.clock.monotonic())
        asked = json.loads(text)
        change = self.names.update if asked["method"] == "SUBSCRIBE" else self.names.difference_update
        change(asked["params"])
        if not self._server.deaf:
            answer = {"result": None, "id": asked["id"]}
            asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.say, answer)

    async def receive(self) -> WSMessage:
        return await self._frames.get()

    def exception(self) -> None:
        return None

    # The server's.

    def say(self, frame: object) -> None:
        self._frames.put_nowait(WSMessage(WSMsgType.TEXT, json.dumps(frame).encode(), None))  # type: ignore[arg-type]

    def end(self) -> None:
        if self.open:
            self.open = False
            self._frames.put_nowait(WSMessage(WSMsgType.CLOSED, None, None))
            self._server.note()


class FakeStreamServer:
    """Every knob is an attribute."""

    def __init__(self, clock: VirtualClock, life_seconds: float = 24 * 3600.0) -> None:
        self.clock = clock
        self.sockets: list[FakeSocket] = []
        self.attempts: list[float] = []
        self.refusing = False
        self.deaf = False  # acknowledges nothing
        self.mute = False  # connections opened meanwhile never bring a trade
        self.unserved = 0  # moments at which a connection ended and none was left
        self.door = Door(FakeVenue.venue, "wss://venue.test", clock)
        self.ban: tuple[int, dict[str, str]] | None = None  # the status and headers of every handshake
        self._life_seconds = life_seconds
        self._trade = 0

    @property
    def serving(self) -> list[FakeSocket]:
        """Connections that are open and follow something."""
        return [socket for socket in self.sockets if socket.open and socket.names]

    async def ws_connect(self, *_: object, **__: object) -> FakeSocket:
        self.attempts.append(self.clock.monotonic())
        await asyncio.sleep(ANSWER_SECONDS)
        if self.ban is not None:
            status, headers = self.ban
            asked = RequestInfo(URL(PLACE.url), "GET", CIMultiDictProxy(CIMultiDict()), URL(PLACE.url))
            raise WSServerHandshakeError(asked, (), status=status, headers=CIMultiDict(headers))
        if self.refusing:
            raise ClientConnectionError("refused")
        socket = FakeSocket(self)
        self.sockets.append(socket)
        asyncio.get_running_loop().call_later(self._life_seconds, socket.end)
        return socket

    def note(self) -> None:
        self.unserved += not self.serving

    def trade(self, symbol: str, price: str) -> None:
        """Told to everyone who follows the symbol."""
        self._trade += 1
        now, stream = to_ms(self.clock.now()), f"{symbol.lower()}@aggTrade"
        data = {"e": "aggTrade", "E": now, "s": symbol, "a": self._trade, "p": price, "T": now}
        for socket in self.serving:
            if stream in socket.names and not socket.mute:
                socket.say({"stream": stream, "data": data})

    def say_shutdown(self, lead_seconds: float) -> None:
        """To those who are connected now; they are cut so much later."""
        for socket in self.serving:
            socket.say({"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1}})
            asyncio.get_running_loop().call_later(lead_seconds, socket.end)

    def greatest_rate(self) -> int:
        """The most messages that one connection sent within any second."""
        return max(
            sum(at <= other < at + 1.0 for other in socket.sent_at)
            for socket in self.sockets
            for at in socket.sent_at
        )


class StreamedVenue(FakeVenue):
    """Its reads are a fake's; its lines are real ones, to the fake server."""

    def __init__(self, clock: VirtualClock, server: FakeStreamServer) -> None:
        super().__init__(clock)  # type: ignore[arg-type]
        self._server = server

    def line(self, on_tick: OnTick, wanted: Callable[[], bool]) -> Any:
        return line(self._server, on_tick, wanted)


def line(server: FakeStreamServer, on_tick: OnTick, wanted: Callable[[], bool] = lambda: True) -> TradeStream:
    """A real line to this server."""
    session: Any = SimpleNamespace(ws_connect=server.ws_connect)
    rejections = Rejections(PLACE.venue)

    def connect(symbols: Set[str]) -> Connection:
        return Connection(PLACE, session, server.clock, server.door, symbols, on_tick, wanted, rejections)

    return TradeStream(PLACE, server.clock, connect)
