"""One WebSocket connection to a venue's public trades, from its opening to its end: subscribe, read, doubt.

A connection is believed as long as it speaks, or a REST read agrees with its silence: a market
without trades is quiet, and a connection that only answers pings looks the same. When neither
happened for `reconnect_seconds`, or a read brought a trade that the connection still has not
brought after that time, it ends. What follows it is stream.py's.
"""

import asyncio
from collections.abc import Callable, Set
from typing import NoReturn

import aiohttp
import msgspec

from market_service.venues.aggregate_trades import Acknowledged, Leaving, StreamEnds, read_frame
from market_service.venues.door import Door
from market_service.venues.port import OnTick
from otopilot import log
from otopilot.clock import Clock
from otopilot.door import REFUSING
from otopilot.instrument import Venue

NAMES_PER_MESSAGE = 100
# Binance cuts a socket that hears more than 5 messages in a second: three of these, a ping and a pong.
MESSAGE_SPACING_SECONDS = 0.35
CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 1.0
GREATEST_FRAME = 1 << 20

_log = log.get("stream")


class StreamPlace(msgspec.Struct, frozen=True):
    """Where a venue's public stream is, and how many symbols one socket takes."""

    venue: Venue
    url: str
    symbols_per_socket: int
    reconnect_seconds: float


class Rejections:
    """Counts what a venue sent that cannot be believed; logs the first and every power of two."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.count = 0

    def add(self, why: str) -> None:
        """One more."""
        self.count += 1
        if self.count & (self.count - 1) == 0:
            _log.warning("rejected what the venue sent", venue=self._venue, why=why, count=self.count)


class _Lost(Exception):
    """This connection is over."""


class Connection:
    """Its owner runs run() as a task, once; `symbols` is the owner's and may change meanwhile."""

    def __init__(
        self,
        place: StreamPlace,
        session: aiohttp.ClientSession,
        clock: Clock,
        door: Door,
        symbols: Set[str],
        on_tick: OnTick,
        wanted: Callable[[], bool],
        rejections: Rejections,
    ) -> None:
        self._place = place
        self._session = session
        self._clock = clock
        self._door = door
        self._symbols = symbols
        self._on_tick = on_tick
        self._wanted = wanted
        self._rejections = rejections
        self._opened_at = clock.monotonic()
        self._changed = asyncio.Event()
        self._asked: set[str] = set()
        self._unanswered: set[int] = set()  # ids of control messages
        self._vouched_at = 0.0  # monotonic: when it last spoke, or a read agreed with it
        self._missed: dict[str, float] = {}  # symbol -> monotonic time of the first trade it missed
        self.ticks = 0
        self.reason = "it did not deliver in time"  # why it ended, once it has
        loop = asyncio.get_running_loop()
        self.subscribed: asyncio.Future[None] = loop.create_future()  # once every symbol was acknowledged
        self.leaving: asyncio.Future[None] = loop.create_future()  # once the venue has announced the end
        self.ended: asyncio.Future[None] = loop.create_future()

    @property
    def age_seconds(self) -> float:
        """Since its opening began."""
        return self._clock.monotonic() - self._opened_at

    def symbols_changed(self) -> None:
        """The owner's set is another one."""
        self._changed.set()

    def forget(self, symbol: str) -> None:
        """This symbol is not carried any more."""
        self._missed.pop(symbol, None)

    def vouch(self, symbol: str) -> None:
        """A read agrees with what this connection said."""
        if symbol not in self._missed:
            self._vouched_at = self._clock.monotonic()

    def missed(self, symbol: str) -> None:
        """A read brought a trade that this connection did not bring."""
        self._missed.setdefault(symbol, self._clock.monotonic())

    async def run(self) -> None:
        """Until it ends; `reason` says why."""
        try:
            await self._live()
        except* (_Lost, StreamEnds, aiohttp.ClientError, OSError, TimeoutError) as group:
            self.reason = "; ".join(str(error) or type(error).__name__ for error in group.exceptions)
        finally:
            _happened(self.ended)

    async def _live(self) -> NoReturn:
        async with await self._connect() as socket:
            self._vouched_at = self._clock.monotonic()
            self._missed.clear()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._subscribe(socket))
                tasks.create_task(self._doubt())
                tasks.create_task(self._read(socket))
        raise AssertionError("a connection ends with a reason")

    async def _connect(self) -> aiohttp.ClientWebSocketResponse[bool]:
        await self._door.wait_to_connect()
        self._opened_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._session.ws_connect(
                    self._place.url,
                    heartbeat=self._place.reconnect_seconds,  # a half-open socket, even one nobody follows
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                    max_msg_size=GREATEST_FRAME,
                    decode_text=False,
                )
        except aiohttp.WSServerHandshakeError as answer:
            if answer.status not in REFUSING:
                raise
            told = "" if answer.headers is None else answer.headers.get("Retry-After", "")
            raise _Lost(str(self._door.refused(answer.status, told, f"HTTP {answer.status}"))) from answer

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> NoReturn:
        message_id = 0
        while True:
            self._changed.clear()
            while names := sorted(self._symbols ^ self._asked)[:NAMES_PER_MESSAGE]:
                gone = [name for name in names if name in self._asked]
                names, method = (gone, "UNSUBSCRIBE") if gone else (names, "SUBSCRIBE")
                self._asked.symmetric_difference_update(names)
                message_id += 1
                self._unanswered.add(message_id)
                streams = [f"{name.lower()}@aggTrade" for name in names]
                message = {"method": method, "params": streams, "id": message_id}
                await socket.send_str(msgspec.json.encode(message).decode())
                await self._clock.sleep(MESSAGE_SPACING_SECONDS)
            self._see_whether_subscribed()
            await self._changed.wait()

    def _see_whether_subscribed(self) -> None:
        if not self._unanswered and self._asked == self._symbols:
            _happened(self.subscribed)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> NoReturn:
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self._take(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                self._rejections.add("a binary frame")
            else:
                raise _Lost(f"closed ({socket.close_code}) {socket.exception() or ''}".strip())

    def _take(self, raw: bytes) -> None:
        try:
            news = read_frame(raw, self._clock.now())
            if isinstance(news, Leaving):
                _happened(self.leaving)
                return
            if isinstance(news, Acknowledged):
                self._unanswered.discard(news.message_id)
                self._see_whether_subscribed()
                return
            if news is None:
                return
            if news.symbol not in self._symbols:
                raise ValueError(f"symbol {news.symbol[:40]!r} was not asked for")
        except ValueError as error:
            self._rejections.add(str(error))
            return
        self.ticks += 1
        self._vouched_at = self._clock.monotonic()
        self._missed.pop(news.symbol, None)
        self._on_tick(news)

    async def _doubt(self) -> NoReturn:
        limit = self._place.reconnect_seconds
        while True:
            await self._clock.sleep(limit / 5)
            now = self._clock.monotonic()
            if self._symbols and self._wanted() and now - self._vouched_at > limit:
                raise _Lost(f"silent for {limit:g} s")
            if late := [symbol for symbol, since in self._missed.items() if now - since > limit]:
                raise _Lost(f"silent on {', '.join(late[:5])}, which trade")


def _happened(once: asyncio.Future[None]) -> None:
    if not once.done():
        once.set_result(None)
