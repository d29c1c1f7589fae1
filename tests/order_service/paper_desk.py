"""The order service's core over a real adapter and a real paper exchange, on virtual time, without sockets.

`PaperLine` is the port's Transport straight into a world; a test may lose answers and refuse at the door.
WebSockets cannot be had: orders go by REST, and what a stream would push is swept.
"""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from order_service.ledger import AccountKey
from order_service.placing import Ask
from order_service.venues.binance_alpha import AlphaVenue
from order_service.venues.binance_spot import SpotVenue
from order_service.venues.port import RateLimited, Response, Socket, VenueNotReached, VenueSilent
from otopilot.clock import to_ms
from otopilot.instrument import Venue
from otopilot.order import Order, OrderState, UserId
from paper_exchange.config import Config
from paper_exchange.http import Held, Request
from paper_exchange.store import MemoryStore
from paper_exchange.world import World
from tests.order_service.desk import Desk
from tests.order_service.fakes import FakeVenue
from tests.paper_exchange.desk import make_config
from tests.virtual_loop import VirtualClock

SYMBOLS = {Venue.SPOT: ("BNBUSDT", "800"), Venue.ALPHA: ("ALPHA_22USDT", "48")}
USER = "1"
QUICK = {"fill_delay_seconds": ["0.02", "0.05"]}


class PaperLine:
    """One world, and the way to it. `spoil` may replace an answer, or raise instead of it."""

    def __init__(self, config: Config) -> None:
        self.clock = VirtualClock()
        self.world = World(
            config, MemoryStore(), rng=random.Random(1), world_id="ab" * 16, now_ms=to_ms(self.clock.now())
        )
        self.state = self.world.exchange.state
        self.spoil: Callable[[Request, Response], Response] = lambda _, answer: answer
        self.asked: list[Request] = []

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
        """One request, 5 ms each way; what has left arrives whatever becomes of its sender."""
        parts = urlsplit(url)
        if not_after is not None and self.clock.now() > not_after:
            raise VenueNotReached("too_late", "older than allowed when it would have left")
        lower = {name.lower(): value for name, value in headers.items()}
        request = Request(method, parts.path, parts.query, lower, body, "10.0.0.1")
        self.asked.append(request)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(asyncio.ensure_future(self._exchange(request)))
        except TimeoutError:
            raise VenueSilent("timeout", "sent, no whole answer in time") from None

    async def _exchange(self, request: Request) -> Response:
        await asyncio.sleep(0.005)
        answer = self.handle(request)
        while isinstance(answer, Held):
            await asyncio.sleep((answer.until_ms - to_ms(self.clock.now())) / 1000)
            answer = self.handle(request, held=True)
        await asyncio.sleep(0.005 + answer.delay_ms / 1000)
        if answer.dropped:
            raise VenueSilent("connection", "sent, no whole answer")
        return self.spoil(request, Response(answer.status, dict(answer.headers), answer.body))

    def handle(self, request: Request, *, held: bool = False) -> Any:
        """Hand a request in now; the world has lived until then."""
        now_ms = to_ms(self.clock.now())
        self.world.advance(now_ms)
        return self.world.handle(request, now_ms, held=held)

    def control(self, method: str, path: str, **body: Any) -> Any:
        """A call of the control interface."""
        answer = self.handle(Request(method, f"/control/{path}", body=json.dumps(body).encode()))
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    async def connect(self, url: str) -> Socket:
        """There are none."""
        raise VenueNotReached("connection", "no WebSocket")

    def heard(self, used_weight: int | None, ban: RateLimited | None) -> None:
        """Only sockets tell it so."""

    async def aclose(self) -> None:
        """Nothing to close."""

    def paths(self) -> list[str]:
        """Last parts of what was asked, in order."""
        return [request.path.rsplit("/", 1)[-1] for request in self.asked]


def line_of(venue: Venue, **settings: Any) -> PaperLine:
    """A fresh world with such settings of the venue; its price stands still."""
    own = QUICK | settings
    line = PaperLine(make_config(spot=own) if venue is Venue.SPOT else make_config(alpha=own))
    symbol, price = SYMBOLS[venue]
    line.control("POST", "price", symbol=symbol, price=price)
    return line


class PaperDesk(Desk):
    """The service over the venue's real adapter; the line outlives it, as a venue does."""

    def __init__(self, path: Path, venue: Venue, line: PaperLine, **more: Any) -> None:
        self.line = line
        where = {"rest_url": "http://paper", "world_url": "http://paper/control/world"}
        port: SpotVenue | AlphaVenue
        if venue is Venue.SPOT:
            port = SpotVenue(
                line, line.clock, ws_api_url="ws://paper/ws-api/v3", order_connections=0, **where
            )
        else:
            port = AlphaVenue(line, line.clock, stream_url="ws://paper", **where)
        self.symbol = SYMBOLS[venue][0]
        # The bench below speaks the port's words to it; what it does to a fake is not used here.
        super().__init__(path, cast(FakeVenue, port), clock=line.clock, **more)

    async def open_user(self) -> None:
        """A user with money at the venue, stored and settled, with a scope."""
        venue = self.venue.venue
        opened = self.line.control("POST", "accounts", user_id=USER, venue=str(venue))
        secret = opened["credential"]
        kind = secret.pop("kind")
        await self.users.put(UserId(USER), venue, kind, json.dumps(secret).encode())
        await self.scope("100000", USER, symbol=self.symbol)
        await self.settle()

    def key(self, user: str = USER) -> AccountKey:
        """The account and symbol of a user."""
        return AccountKey(UserId(user), self.venue.venue, self.symbol)

    def ask(self, user: str = USER, **changes: Any) -> Ask:
        """An OTO that rests: ten per cent under the market, and over it."""
        price = Decimal(SYMBOLS[self.venue.venue][1])
        fields: dict[str, Any] = {
            "symbol": self.symbol,
            "quantity": Decimal(1),
            "price": price * Decimal("0.9"),
            "pending_price": price * Decimal("1.1"),
        }
        return super().ask(user, **(fields | changes))

    async def becomes(self, order: Order, *states: OrderState, seconds: float = 60.0) -> Order:
        """The order once it is in one of these states."""
        for _ in range(int(seconds / 0.1)):
            known = self.order(order)
            if known.state in states:
                return known
            await self.sleep(0.1)
        raise AssertionError(f"it never was in {states}: {self.order(order)}")

    @property
    def crossing(self) -> dict[str, Decimal]:
        """Changes of an ask that make its BUY fill at once."""
        return {"price": Decimal(SYMBOLS[self.venue.venue][1]) * Decimal("1.01")}


def is_placement(request: Request) -> bool:
    """Does the request place something?"""
    return request.method == "POST" and request.path.endswith(("/order", "/oto", "/opo", "/place"))
