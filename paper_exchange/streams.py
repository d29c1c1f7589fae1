"""WebSocket sessions without sockets: who subscribed to what, and how a frame reaches them.

A surface's streams (alpha_streams.py) decide which frames exist; a session hands its frames to
the `send` it was opened with. The server gives it a queue, a simulation gives it a list. The
frame faults act here, at the last step before a frame leaves.
"""

import copy
from collections.abc import Callable
from typing import Any, Protocol

from paper_exchange.config import AlphaSettings
from paper_exchange.faults import Faults, Scope
from paper_exchange.http import Request, decode, encode
from paper_exchange.lifetimes import Keepalive, Lifetime
from paper_exchange.model import Event
from paper_exchange.spoiling import spoiled

Send = Callable[[bytes], None]

MAX_STREAMS = 200
# Handed to `send` instead of a frame: the venue hangs up.
HANG_UP = b""


class Connection(Protocol):
    """One client's socket, as a surface sees it."""

    def receive(self, frame: str | bytes) -> None: ...

    def pinged(self) -> None:
        """The client sent a ping; whoever carries the socket has answered it."""

    def ponged(self, payload: bytes) -> None:
        """The client sent a pong."""


class Streams(Protocol):
    """One surface's sockets. disconnect() of a connection it never made does nothing.

    `pings`: the far end is a real socket and takes a Ping; else nobody is asked whether he lives.
    """

    def serves(self, path: str) -> bool: ...

    def connect(self, request: Request, send: Send, *, pings: bool) -> Connection: ...

    def disconnect(self, connection: Connection) -> None: ...

    def publish(self, events: list[Event]) -> None: ...

    def advance(self, now_ms: int) -> None: ...

    def next_due(self) -> int | None: ...


class OrderFrames:
    """The way out of one connection, with a frame held back by a fault."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: bytes | None = None
        self._held_until_ms = 0

    def push_order(self, frame: bytes, faults: Faults, scope: Scope, now_ms: int) -> None:
        """Send an order frame, unless a fault drops, doubles or delays it past the next one."""
        if faults.holds("order_stall", scope) or faults.strike(scope, "order_frame_drop"):
            return
        if faults.strike(scope, "hang_up"):
            self._send(HANG_UP)
            return
        frame = spoiled(frame, faults, scope)
        if self._held is None and (rule := faults.strike(scope, "order_frame_reorder")):
            self._held, self._held_until_ms = frame, now_ms + int(rule.seconds * 1000)
            return
        self._send(frame)
        if faults.strike(scope, "order_frame_duplicate"):
            self._send(frame)
        self.release()

    def release(self) -> None:
        """Send the frame held back, if there is one."""
        if self._held is not None:
            held, self._held = self._held, None
            self._send(held)

    def held_until(self) -> int | None:
        return self._held_until_ms if self._held is not None else None


def market_payload(payload: Any, faults: Faults, scope: Scope) -> Any:
    """A market stream's payload as the faults leave it; None if it is not sent, HANG_UP for the end."""
    if faults.holds("market_stall", scope) or faults.strike(scope, "market_frame_drop"):
        return None
    if faults.strike(scope, "hang_up"):
        return HANG_UP
    if isinstance(payload, dict) and {"b", "a"} <= payload.keys() and faults.strike(scope, "market_cross"):
        payload = _crossed(payload)
    return payload


def _crossed(payload: dict[str, Any]) -> dict[str, Any]:
    """Bids where asks belong: the best bid is above the best ask."""
    crossed = copy.copy(payload)
    for one, other in (("b", "a"), ("B", "A")):
        if one in payload and other in payload:
            crossed[one], crossed[other] = payload[other], payload[one]
    return crossed


class Session(OrderFrames):
    """One Alpha connection and its subscriptions; its life is that of its neighbours (binance-alpha 2)."""

    def __init__(
        self,
        send: Send,
        accepts: Callable[["Session", str], bool],
        settings: AlphaSettings,
        clock: Callable[[], int],
        *,
        pings: bool,
    ) -> None:
        super().__init__(send)
        self._accepted: dict[str, Any] = {} if settings.bare_acks else {"result": None}
        self._clock = clock
        self._most = settings.messages_per_second
        self._second = self._heard = 0
        self._lifetime = Lifetime(clock(), settings.connection_seconds)
        beat = (settings.ping_seconds * 1000, settings.pong_within_seconds * 1000)
        self._keepalive = Keepalive(send, clock(), *beat) if pings else None
        self.names: dict[str, None] = {}
        self._accepts = accepts

    def pinged(self) -> None:
        """No limit on these is known."""

    def ponged(self, payload: bytes) -> None:
        if self._keepalive is not None:
            self._keepalive.pong(payload)

    def next_due(self) -> int:
        dues = [self._lifetime.until_ms, self.held_until()]
        if self._keepalive is not None:
            dues.append(self._keepalive.next_due())
        return min(due for due in dues if due is not None)

    def advance(self, now_ms: int) -> bool:
        """Send what was held back, ping if it is time. False: the connection's time is over."""
        answers = self._keepalive is None or self._keepalive.advance(now_ms)
        if not answers or now_ms >= self._lifetime.until_ms:
            self._send(HANG_UP)
            return False
        if (due := self.held_until()) is not None and due <= now_ms:
            self.release()
        return True

    def _talks_too_much(self) -> bool:
        second = self._clock() // 1000
        if second != self._second:
            self._second, self._heard = second, 0
        self._heard += 1
        return self._heard > self._most

    def receive(self, frame: str | bytes) -> None:
        """A client's message: SUBSCRIBE, UNSUBSCRIBE or LIST_SUBSCRIPTIONS."""
        if self._talks_too_much():
            self._lifetime.until_ms = self._clock()
            return None
        try:
            message = decode(frame.encode() if isinstance(frame, str) else frame)
        except ValueError:
            return self._fail(None, "Invalid JSON")
        if not isinstance(message, dict):
            return self._fail(None, "Invalid request")
        request_id, method, params = message.get("id"), message.get("method"), message.get("params", [])
        if method == "LIST_SUBSCRIPTIONS":
            return self.push({"result": list(self.names), "id": request_id})
        if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
            return self._fail(request_id, "Invalid request: params must be an array of strings")
        if method == "SUBSCRIBE":
            return self._subscribe(params, request_id)
        if method == "UNSUBSCRIBE":
            for name in params:
                self.names.pop(name, None)
            return self.push(self._accepted | {"id": request_id})
        return self._fail(request_id, "Invalid request: unknown method")

    def _subscribe(self, params: list[str], request_id: Any) -> None:
        if len(self.names) + len(params) > MAX_STREAMS:
            return self._fail(request_id, "Too many streams")
        for name in params:
            if not self._accepts(self, name):
                return self._fail(request_id, f"Invalid stream: {name[:80]}")
        self.names.update(dict.fromkeys(params))
        return self.push(self._accepted | {"id": request_id})

    def _fail(self, request_id: Any, text: str) -> None:
        self.push({"error": {"code": 2, "msg": text}, "id": request_id})

    def push(self, value: object) -> None:
        """Send a value as it is."""
        self._send(encode(value))

    def push_frame(self, frame: bytes) -> None:
        self._send(frame)
