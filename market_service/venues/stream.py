"""One WebSocket of a venue's public trades: subscribe, read, doubt, reconnect.

A socket is believed as long as it speaks, or a REST read agrees with its silence: a market
without trades is quiet, and a socket that only answers pings looks the same. When neither
happened for `reconnect_seconds`, or a read brought a trade that the socket still has not
brought after that time, it is opened anew.
"""

import asyncio
from collections.abc import Callable
from typing import NoReturn

import aiohttp
import msgspec

from market_service.venues.aggregate_trades import StreamEnds, read_frame
from market_service.venues.port import OnTick
from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import Venue

NAMES_PER_MESSAGE = 100
MESSAGE_SPACING_SECONDS = 0.25  # Binance cuts a socket that hears more than 5 messages a second
CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 1.0
GREATEST_FRAME = 1 << 20
FIRST_BACKOFF_SECONDS = 0.5
GREATEST_BACKOFF_SECONDS = 10.0

_log = log.get("stream")


class StreamPlace(msgspec.Struct, frozen=True):
    """Where a venue's public stream is, and how many symbols one socket takes."""

    venue: Venue
    url: str
    symbols_per_socket: int
    reconnect_seconds: float


class _Lost(Exception):
    """This connection is over; the next one follows."""


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


class TradeStream:
    """Carries symbols over one socket. Owned by the hub, which runs run() as a task."""

    def __init__(
        self,
        place: StreamPlace,
        session: aiohttp.ClientSession,
        clock: Clock,
        on_tick: OnTick,
        wanted: Callable[[], bool],
        rejections: Rejections,
    ) -> None:
        self._place = place
        self._session = session
        self._clock = clock
        self._on_tick = on_tick
        self._wanted = wanted
        self._rejections = rejections
        self._symbols: set[str] = set()
        self._changed = asyncio.Event()
        self._vouched_at = 0.0  # monotonic: when it last spoke, or a read agreed with it
        self._missed: dict[str, float] = {}  # symbol -> monotonic time of the first trade it missed
        self._attempt = 0

    @property
    def has_room(self) -> bool:
        """May another symbol be added?"""
        return len(self._symbols) < self._place.symbols_per_socket

    def add(self, symbol: str) -> None:
        """Carry this symbol too."""
        self._symbols.add(symbol)
        self._changed.set()

    def drop(self, symbol: str) -> None:
        """Carry this symbol no more."""
        self._symbols.discard(symbol)
        self._missed.pop(symbol, None)
        self._changed.set()

    def vouch(self, symbol: str) -> None:
        """A read agrees with what this socket said."""
        if symbol not in self._missed:
            self._vouched_at = self._clock.monotonic()

    def missed(self, symbol: str) -> None:
        """A read brought a trade that this socket did not bring."""
        self._missed.setdefault(symbol, self._clock.monotonic())

    async def run(self) -> None:
        """Connect again and again, with full-jitter backoff, until cancelled."""
        while True:
            try:
                await self._one_connection()
            except* (_Lost, StreamEnds, aiohttp.ClientError, OSError, TimeoutError) as group:
                reason = "; ".join(str(error) or type(error).__name__ for error in group.exceptions)
            ceiling = min(GREATEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**self._attempt)
            self._attempt = min(self._attempt + 1, 10)
            pause = self._clock.uniform(0, ceiling)
            _log.warning(
                "stream lost",
                venue=self._place.venue,
                url=self._place.url,
                reason=reason,
                pause=round(pause, 2),
            )
            await self._clock.sleep(pause)

    async def _one_connection(self) -> NoReturn:
        async with asyncio.timeout(CONNECT_SECONDS):
            socket = await self._session.ws_connect(
                self._place.url,
                heartbeat=self._place.reconnect_seconds,  # a half-open socket, even one nobody follows
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                max_msg_size=GREATEST_FRAME,
                decode_text=False,
            )
        async with socket:
            self._vouched_at = self._clock.monotonic()
            self._missed.clear()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._subscribe(socket))
                tasks.create_task(self._doubt())
                tasks.create_task(self._read(socket))
        raise AssertionError("a connection ends with a reason")

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> NoReturn:
        asked: set[str] = set()
        message_id = 0
        while True:
            self._changed.clear()
            while names := sorted(self._symbols ^ asked)[:NAMES_PER_MESSAGE]:
                gone = [name for name in names if name in asked]
                names, method = (gone, "UNSUBSCRIBE") if gone else (names, "SUBSCRIBE")
                asked.symmetric_difference_update(names)
                message_id += 1
                streams = [f"{name.lower()}@aggTrade" for name in names]
                message = {"method": method, "params": streams, "id": message_id}
                await socket.send_str(msgspec.json.encode(message).decode())
                await self._clock.sleep(MESSAGE_SPACING_SECONDS)
            await self._changed.wait()

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
            tick = read_frame(raw, self._clock.now())
            if tick is None:
                return
            if tick.symbol not in self._symbols:
                raise ValueError(f"symbol {tick.symbol[:40]!r} was not asked for")
        except ValueError as error:
            self._rejections.add(str(error))
            return
        self._attempt = 0
        self._vouched_at = self._clock.monotonic()
        self._missed.pop(tick.symbol, None)
        self._on_tick(tick)

    async def _doubt(self) -> NoReturn:
        limit = self._place.reconnect_seconds
        while True:
            await self._clock.sleep(limit / 5)
            now = self._clock.monotonic()
            if self._symbols and self._wanted() and now - self._vouched_at > limit:
                raise _Lost(f"silent for {limit:g} s")
            if late := [symbol for symbol, since in self._missed.items() if now - since > limit]:
                raise _Lost(f"silent on {', '.join(late[:5])}, which trade")
