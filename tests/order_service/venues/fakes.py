"""Fakes below and around the adapters: a transport that is told what to answer, a clock, orders."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from order_service.venues.port import RateLimited, Response, Socket
from otopilot.instrument import Side, Venue
from otopilot.order import Leg, LegRole, Order, OrderId, RequestId, StrategyId, UserId, VenueOrderId

FIXTURES = Path(__file__).parents[2] / "fixtures"
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def fixture(name: str) -> Any:
    """A venue's payload, e.g. "alpha/errors"."""
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


class FakeClock:
    """Stands still unless moved; sleeping moves it."""

    def __init__(self) -> None:
        self.time = NOW
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def new_id(self) -> str:
        return "0" * 16

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


class Sent(msgspec.Struct, frozen=True):
    """A request as it would have left."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    not_after: datetime | None


Reply = Response | Exception | Callable[[Sent], Response]


def reply(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with a JSON body."""
    return Response(status=status, headers=headers or {}, body=json.dumps(content).encode())


def alpha_reply(data: Any) -> Response:
    """Alpha's envelope of success."""
    return reply({"code": "000000", "message": None, "data": data, "success": True})


class FakeSocket:
    """A socket that says what it was told to say, after the first frame it is sent."""

    def __init__(self, frames: list[Any], *, stays_open: bool = False) -> None:
        self.sent: list[Any] = []
        self.closed = False
        self._frames = frames
        self._stays_open = stays_open

    async def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    async def __aiter__(self) -> AsyncIterator[str]:
        for frame in self._frames:
            yield frame if isinstance(frame, str) else json.dumps(frame)
        if self._stays_open:
            await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True


class FakeTransport:
    """Answers by the path's end; a list of replies is used up, a single one is repeated."""

    def __init__(self, replies: Mapping[str, Reply | list[Reply]] | None = None) -> None:
        self.replies = dict(replies or {})
        self.sockets: list[FakeSocket] = []
        self.opened: list[str] = []
        self.sent: list[Sent] = []
        self.told: list[tuple[int | None, RateLimited | None]] = []

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
        request = Sent(method, url, dict(headers), body, not_after)
        self.sent.append(request)
        path = url.split("?")[0]
        wanted = next(
            (end for end in sorted(self.replies, key=len, reverse=True) if path.endswith(end)), None
        )
        assert wanted is not None, f"no answer is prepared for {path}"
        answer = self.replies[wanted]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Response) else answer(request)

    async def connect(self, url: str) -> Socket:
        self.opened.append(url)
        return self.sockets.pop(0)

    def heard(self, used_weight: int | None, ban: RateLimited | None) -> None:
        self.told.append((used_weight, ban))

    async def aclose(self) -> None:
        return None

    def paths(self) -> list[str]:
        """Last parts of what was asked, in order."""
        return [request.url.split("?")[0].rsplit("/", 1)[1] for request in self.sent]


class FakeCredential:
    """Signs with a constant."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def headers(self) -> Mapping[str, str]:
        return {"cookie": "c"} if self.kind == "session" else {"x-mbx-apikey": "key"}

    def api_key(self) -> str:
        return "" if self.kind == "session" else "key"

    def sign(self, payload: bytes) -> str:
        return "a+b/c="


def leg(role: LegRole, side: Side, price: str, quantity: str, venue_order_id: str | None = None) -> Leg:
    return Leg(
        role=role,
        side=side,
        asked_price=Decimal(price),
        price=Decimal(price),
        quantity=Decimal(quantity),
        client_id=f"o00000000000000aa{'w' if role is LegRole.WORKING else 'p'}",
        venue_order_id=VenueOrderId(venue_order_id) if venue_order_id else None,
    )


def an_order(symbol: str, *legs: Leg, venue: Venue = Venue.ALPHA, submitted_at: datetime = NOW) -> Order:
    return Order(
        order_id=OrderId("00000000000000aa"),
        request_id=RequestId("s/1/1/1"),
        user_id=UserId("1"),
        venue=venue,
        symbol=symbol,
        strategy_id=StrategyId("s"),
        cycle=1,
        try_number=1,
        step=0,
        legs=legs,
        submitted_at=submitted_at,
        updated_at=submitted_at,
    )


def oto(symbol: str, buy: tuple[str, str], sell: tuple[str, str], venue: Venue = Venue.ALPHA) -> Order:
    return an_order(
        symbol,
        leg(LegRole.WORKING, Side.BUY, *buy),
        leg(LegRole.PENDING, Side.SELL, *sell),
        venue=venue,
    )
