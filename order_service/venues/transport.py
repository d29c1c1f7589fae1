"""HTTP and WebSocket over aiohttp: sent once, to allowed hosts only, and honest about what left.

Owns the connection pool. Whether a request may have left this machine is decided in one place,
the moment before its bytes are written (`_Sending.leave`): an error before it is NotReached, any
error after it is Silent. A reused connection that the server had closed is therefore Silent.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any, NoReturn

import aiohttp
from yarl import URL

from order_service.venues.door import opens_at
from order_service.venues.port import (
    RateLimited,
    Response,
    Socket,
    VenueError,
    VenueNotReached,
    VenueSilent,
)
from otopilot import door
from otopilot.clock import Clock

Origin = tuple[str, int]  # host and port

MAX_BODY_BYTES = 32 * 1024 * 1024  # Alpha's exchange info is a few megabytes
MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_CONNECTIONS = 256
CONNECT_SECONDS = 10.0
SEND_SECONDS = 10.0
CLOSE_SECONDS = 1.0
HEARTBEAT_SECONDS = 20.0  # a socket that answers no ping for this long is given up
KEEP_ALIVE_SECONDS = 50.0


class _TooLateError(Exception):
    """The time by which the bytes had to leave has passed."""


class _SentTwiceError(Exception):
    """The library was about to repeat a request by itself."""


class _RedirectedError(Exception):
    """The server pointed elsewhere."""


class _Sending:
    """One request on its way: has it left?"""

    def __init__(self, clock: Clock, not_after: datetime | None) -> None:
        self._clock = clock
        self._not_after = not_after
        self.left = False

    def leave(self) -> None:
        """Called when a connection is had and the next thing is to write to it."""
        if self.left:
            raise _SentTwiceError
        if self._not_after is not None and self._clock.now() > self._not_after:
            raise _TooLateError
        self.left = True


class HttpTransport:
    """The port's Transport over the network; only the given origins can be reached."""

    def __init__(
        self,
        clock: Clock,
        *,
        origins: frozenset[Origin],
        tls_only: bool,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._clock = clock
        self._origins = origins
        self._tls_only = tls_only
        self._max_body_bytes = max_body_bytes
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_seconds: float,
        not_after: datetime | None = None,
    ) -> Response:
        """One request, sent once: no retry, no redirect (see the port)."""
        sending = _Sending(self._clock, not_after)
        target = self._allowed(url, "https")
        try:
            async with self._pool().request(
                method,
                target,
                headers=headers,
                data=body or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
                trace_request_ctx=sending,
            ) as answer:
                content = await self._read(answer)
                found = {name.lower(): value for name, value in answer.headers.items()}
                return Response(status=answer.status, headers=found, body=content)
        except (aiohttp.ClientError, OSError, ValueError, _TooLateError, _SentTwiceError) as error:
            _fail(sending, error)

    async def connect(self, url: str) -> Socket:
        """Open a WebSocket; VenueNotReached when it cannot be opened."""
        target = self._allowed(url, "wss")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                opened = await self._pool().ws_connect(
                    target,
                    heartbeat=HEARTBEAT_SECONDS,
                    max_msg_size=MAX_FRAME_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                )
        except aiohttp.WSServerHandshakeError as refusal:
            raise self._turned_away(refusal) from None
        except (aiohttp.ClientError, OSError, ValueError, _RedirectedError) as error:
            raise VenueNotReached("connection", f"no WebSocket: {_said(error)}") from None
        return _Socket(opened)

    def heard(self, used_weight: int | None, ban: RateLimited | None) -> None:
        """Nobody keeps a budget here: the gate in front of this does."""

    def _turned_away(self, refusal: aiohttp.WSServerHandshakeError) -> VenueError:
        """An answer instead of a WebSocket; 403, 418 and 429 are the door's (architecture 5.4)."""
        message = f"no WebSocket: HTTP {refusal.status}"
        if refusal.status not in door.REFUSING:
            return VenueNotReached("connection", message)
        wait = door.told(refusal.headers.get("Retry-After", "") if refusal.headers else "")
        until = opens_at(refusal.status, wait, self._clock.now())
        return RateLimited(f"http_{refusal.status}", message, until)

    async def aclose(self) -> None:
        """Close every connection; whoever asks from now on is told that nothing left."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _allowed(self, url: str, tls_scheme: str) -> URL:
        try:
            # encoded: what was signed must go out byte for byte.
            target = URL(url, encoded=True)
            origin = (target.host or "", target.port or 0)
        except ValueError:
            raise VenueNotReached("host_not_allowed", "not a URL") from None
        if origin not in self._origins or (self._tls_only and target.scheme != tls_scheme):
            raise VenueNotReached("host_not_allowed", f"{target.scheme}://{origin[0]}:{origin[1]}")
        return target

    def _pool(self) -> aiohttp.ClientSession:
        if self._closed:
            raise VenueNotReached("closed", "the service is ending")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
                # Users share the pool: no cookie of one may ever be sent for another.
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[_tracing()],
            )
        return self._session

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for piece in answer.content.iter_chunked(65536):
            content += piece
            if len(content) > self._max_body_bytes:
                raise VenueSilent("too_large", f"an answer of more than {self._max_body_bytes} bytes")
        return bytes(content)


class _Socket:
    """The port's Socket over an aiohttp WebSocket."""

    def __init__(self, opened: "aiohttp.ClientWebSocketResponse[Any]") -> None:
        self._opened = opened

    async def send(self, text: str) -> None:
        """Send a text frame; VenueSilent when it broke."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._opened.send_str(text)
        except (aiohttp.ClientError, OSError) as error:
            raise VenueSilent("connection", f"WebSocket: {_said(error)}") from None

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while True:
            message = await self._opened.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                return str(message.data)
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise StopAsyncIteration

    async def close(self) -> None:
        """Close it."""
        await self._opened.close()


def _tracing() -> aiohttp.TraceConfig:
    """Tell a request's _Sending when its bytes are about to be written; refuse redirects of sockets.

    aiohttp calls on_request_headers_sent before it writes, with a connection in hand; an exception
    there closes the connection unused. It also repeats a GET or DELETE by itself when a reused
    connection turns out closed: the second call of leave() stops that.
    """

    async def before_bytes(_: object, context: SimpleNamespace, __: object) -> None:
        sending = context.trace_request_ctx
        if sending is not None:
            sending.leave()

    async def on_redirect(_: object, __: SimpleNamespace, ___: object) -> None:
        raise _RedirectedError("redirected")

    config = aiohttp.TraceConfig()
    config.on_request_headers_sent.append(before_bytes)
    config.on_request_redirect.append(on_redirect)
    return config


def _fail(sending: _Sending, error: Exception) -> NoReturn:
    """The port's failure for this error, without it as a cause: its text may quote what was sent."""
    if isinstance(error, _TooLateError):
        raise VenueNotReached("too_late", "older than allowed when it would have left") from None
    code = "timeout" if isinstance(error, TimeoutError) else "connection"
    if sending.left:
        raise VenueSilent(code, f"sent, no whole answer: {_said(error)}") from None
    raise VenueNotReached(code, f"not sent: {_said(error)}") from None


def _said(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__} {reason}".strip()
