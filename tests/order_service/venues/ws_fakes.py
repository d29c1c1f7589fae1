"""A WS API on virtual time: sockets that answer by themselves, get cut, and are counted."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any

from order_service.venues.binance_spot import SpotVenue
from order_service.venues.port import RateLimited, Response, Transport, VenueNotReached, VenueSilent
from otopilot.clock import to_ms
from tests.order_service.venues.fakes import reply
from tests.virtual_loop import VirtualClock

Frame = Mapping[str, Any]
SUBSCRIBE = "userDataStream.subscribe.signature"
URL = "wss://spot/ws-api/v3"


class Wire:
    """The port's Socket; what is sent on it is answered by the venue's `answer`."""

    def __init__(self, venue: "FakeWsApi") -> None:
        self.venue = venue
        self.asked: list[dict[str, Any]] = []
        self.accounts: dict[str, int] = {}  # subscribed, by API key
        self._frames: asyncio.Queue[str | None] = asyncio.Queue()
        self.open = True

    async def send(self, text: str) -> None:
        if not self.open:
            raise VenueSilent("connection", "WebSocket: closed")
        message = json.loads(text)
        self.asked.append(message)
        self.venue.asked.append((asyncio.get_running_loop().time(), message))
        for frame in self.venue.answer(self, message):
            self.say(frame)

    def say(self, frame: Frame | str) -> None:
        """A frame of the venue's."""
        self._frames.put_nowait(frame if isinstance(frame, str) else json.dumps(frame))

    def push(self, key: str, event: Frame) -> None:
        """An event of an account that is subscribed here."""
        self.say({"subscriptionId": self.accounts[key], "event": event})

    def cut(self) -> None:
        """The connection ends."""
        self.open = False
        self._frames.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[str]:
        while (frame := await self._frames.get()) is not None:
            yield frame

    async def close(self) -> None:
        self.cut()


def ok(message: Mapping[str, Any], result: Any, used: int = 0) -> Frame:
    """A result, and the weight used."""
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}
    return {"id": message["id"], "status": 200, "result": result, "rateLimits": [weight | {"count": used}]}


def no(message: Mapping[str, Any], code: int, status: int = 400, **data: Any) -> Frame:
    """An error."""
    error = {"code": code, "msg": "no"} | ({"data": data} if data else {})
    return {"id": message["id"], "status": status, "error": error}


Answer = Callable[[Wire, dict[str, Any]], list[Frame | str]]


class FakeWsApi:
    """A Transport: the time over HTTP, everything else over sockets."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.asked: list[tuple[float, dict[str, Any]]] = []
        self.connects: list[float] = []
        self.refuse: Exception | None = None
        self.told: list[tuple[int | None, RateLimited | None]] = []
        self.clock = VirtualClock()
        self.answer: Answer = subscribe
        self.http: Callable[[str, str, bytes], Response] | None = None

    @property
    def open(self) -> list[Wire]:
        """Sockets that stand."""
        return [wire for wire in self.wires if wire.open]

    def venue(self, order_connections: int = 0, transport: Transport | None = None) -> SpotVenue:
        """The adapter on it."""
        return SpotVenue(
            transport or self,
            self.clock,
            rest_url="https://spot",
            ws_api_url=URL,
            order_connections=order_connections,
        )

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
        if url.endswith("/time"):
            return reply({"serverTime": to_ms(self.clock.now())})
        if self.http is None:
            raise VenueNotReached("connection", "no REST here")
        return self.http(method, url, body)

    async def connect(self, url: str) -> Wire:
        assert url == URL
        self.connects.append(asyncio.get_running_loop().time())
        if self.refuse is not None:
            raise self.refuse
        self.wires.append(Wire(self))
        return self.wires[-1]

    def heard(self, used_weight: int | None, ban: RateLimited | None) -> None:
        self.told.append((used_weight, ban))

    async def aclose(self) -> None:
        return None


def subscribe(wire: Wire, message: dict[str, Any]) -> list[Frame | str]:
    """As the venue does it: one subscription an account and connection, numbered from 0."""
    params = message["params"]
    if message["method"] == SUBSCRIBE:
        key = params["apiKey"]
        if key in wire.accounts:
            return [no(message, -2035)]
        wire.accounts[key] = len(wire.asked) - 1
        return [ok(message, {"subscriptionId": wire.accounts[key]}, used=len(wire.asked) * 2)]
    assert message["method"] == "userDataStream.unsubscribe", message
    for key, number in list(wire.accounts.items()):
        if number == params["subscriptionId"]:
            del wire.accounts[key]
            ended = {"subscriptionId": number, "event": {"e": "eventStreamTerminated", "E": 1}}
            return [ok(message, {}), ended]
    return [no(message, -2036)]


class Key:
    """An API key's credential, named as its user."""

    kind = "hmac"

    def __init__(self, user_id: str) -> None:
        self._key = f"key-{user_id}"

    def headers(self) -> Mapping[str, str]:
        return {"x-mbx-apikey": self._key}

    def api_key(self) -> str:
        return self._key

    def sign(self, payload: bytes) -> str:
        return f"signed by {self._key}"
