"""The order service's core over the real adapters and the paper exchange, on virtual time, without sockets.

`async with Floor(path, venue) as floor:` is one user's or many users' day at one venue: faults are
switched on over the exchange's control API, and `books()` compares what both sides have at the end.
"""

import asyncio
import functools
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from order_service.gate import GatedTransport
from order_service.ledger import AccountKey
from order_service.venues import binance, port
from order_service.venues.port import VenueNotReached, VenuePort, VenueSilent
from otopilot.clock import to_ms
from otopilot.instrument import Venue
from otopilot.order import LegRole, Order, OrderState, Purpose, ScopeId, UserId
from otopilot.position import ScopeMember, VolumeScope
from otopilot.settings import PaperSettings, Settings
from paper_exchange.http import Held, Request, Response
from paper_exchange.store import MemoryStore
from paper_exchange.streams import HANG_UP
from paper_exchange.world import World
from tests.faults import audit
from tests.order_service.desk import Desk
from tests.paper_exchange.desk import make_config
from tests.virtual_loop import VirtualClock

SYMBOLS = {Venue.ALPHA: "ALPHA_22USDT", Venue.SPOT: "BNBUSDT"}
PRICES = {Venue.ALPHA: Decimal(48), Venue.SPOT: Decimal(800)}
REMOTE = "10.0.0.1"
WS_PLACES = ("WS order.place", "WS orderList.place")
PLACES = ("/order/place", "/oto-order/place", "/api/v3/order", "/orderList/oto", "/orderList/opo")


class Line:
    """The port's Transport: a request that left arrives, whatever becomes of its sender."""

    def __init__(self, world: World, clock: VirtualClock) -> None:
        self._world = world
        self._clock = clock
        self._under_way: set[asyncio.Task[Response]] = set()
        self.sent: list[str] = []  # method and path, or the WS API's method, of whatever left

    def now_ms(self) -> int:
        return to_ms(self._clock.now())

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_seconds: float,
        not_after: datetime | None = None,
    ) -> port.Response:
        """One request, sent once."""
        if not_after is not None and self._clock.now() > not_after:
            raise VenueNotReached("too_late", "older than allowed when it would have left")
        parts = urlsplit(url)
        lower = {name.lower(): value for name, value in headers.items()}
        request = Request(method, parts.path, parts.query, lower, body, REMOTE)
        self.sent.append(f"{method} {parts.path}")
        arriving = asyncio.create_task(self._arrive(request))
        self._under_way.add(arriving)
        arriving.add_done_callback(self._under_way.discard)
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await asyncio.shield(arriving)
                await asyncio.sleep(answer.delay_ms / 1000)
        except TimeoutError:
            raise VenueSilent("timeout", "sent, no whole answer in time") from None
        if answer.dropped:
            raise VenueSilent("connection", "sent, no whole answer")
        return port.Response(answer.status, dict(answer.headers), answer.body)

    async def _arrive(self, request: Request) -> Response:
        answer = self._world.handle(request, self.now_ms())
        while isinstance(answer, Held):
            await asyncio.sleep((answer.until_ms - self.now_ms()) / 1000)
            answer = self._world.handle(request, self.now_ms(), held=True)
        return answer

    async def connect(self, url: str) -> port.Socket:
        """Open a WebSocket."""
        request = Request("GET", urlsplit(url).path, urlsplit(url).query, remote=REMOTE)
        if refused := self._world.refuse(request, self.now_ms()):
            raise VenueNotReached("connection", f"WebSocket: {refused.status}")
        return LineSocket(self._world, request, self.now_ms, self.sent)

    def heard(self, used_weight: int | None, ban: port.RateLimited | None) -> None:
        """The gate in front keeps the budget."""

    async def aclose(self) -> None:
        """Nothing is kept open."""


class LineSocket:
    """The port's Socket over the World's own streams."""

    def __init__(self, world: World, request: Request, now_ms: Callable[[], int], sent: list[str]) -> None:
        self._world = world
        self._now_ms = now_ms
        self._sent = sent
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._connection = world.connect(request, self._frames.put_nowait)
        assert self._connection is not None, request.path

    async def send(self, text: str) -> None:
        if self._connection is None:
            raise VenueSilent("connection", "WebSocket: closed")
        self._sent.append(f"WS {json.loads(text)['method']}")
        self._world.receive(self._connection, text, self._now_ms())

    async def __aiter__(self) -> AsyncIterator[str]:
        while self._connection is not None:
            frame = await self._frames.get()
            if frame == HANG_UP:
                break
            yield frame.decode(errors="replace")
        await self.close()

    async def close(self) -> None:
        if self._connection is not None:
            self._world.disconnect(self._connection)
            self._connection = None
            self._frames.put_nowait(HANG_UP)


class Gate:
    """The service's own gate, once there is a service."""

    def __init__(self, way: port.Transport, floor: "Floor") -> None:
        self._way = way
        self._floor = floor

    @functools.cached_property
    def _door(self) -> GatedTransport:
        return GatedTransport(self._way, self._floor.desk.budgets[self._floor.venue], self._floor.clock)

    async def request(self, method: str, url: str, **more: Any) -> port.Response:
        return await self._door.request(method, url, **more)

    async def connect(self, url: str) -> port.Socket:
        return await self._door.connect(url)

    def heard(self, used_weight: int | None, ban: port.RateLimited | None) -> None:
        self._door.heard(used_weight, ban)

    async def aclose(self) -> None:
        """Nothing is kept open."""


class Floor:
    """One venue, its users, and the service that trades for them."""

    def __init__(self, path: Path, venue: Venue, **settings: Any) -> None:
        """`settings` are the venue's own, as in the paper exchange's configuration."""
        self.venue, self.symbol, self.price = venue, SYMBOLS[venue], PRICES[venue]
        self.clock = VirtualClock()
        self._path = path / "journal.db"
        self._settings = settings
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Floor":
        own = {str(self.venue): {"fill_delay_seconds": ["0.02", "0.05"]} | self._settings}
        house = {"spread_percent": "0.002", "level_notional": "1000000"}
        config = make_config(alpha=own.get("alpha"), spot=own.get("spot"), house=house)
        dice = random.Random(1)
        now_ms = to_ms(self.clock.now())
        self.world = World(config, MemoryStore(), rng=dice, world_id="ab" * 16, now_ms=now_ms)
        self.line = Line(self.world, self.clock)
        services = Settings(paper=PaperSettings(url="http://paper:1"))
        ports = binance.paper_venues(services, self.line, self.clock, lambda venue, way: Gate(way, self))
        self.port: VenuePort = ports[self.venue]
        beating = asyncio.create_task(self._beat())
        self._stack.callback(beating.cancel)
        self.move_price(self.price)
        limits = binance.limits(services)[self.venue]
        self.desk = Desk(self._path, self.port, clock=self.clock, limits=limits)  # type: ignore[arg-type]
        await self._stack.enter_async_context(self.desk)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _beat(self) -> None:
        while True:
            self.world.advance(self.line.now_ms())
            await asyncio.sleep(0.05)

    # ------------------------------------------------------------------ the exchange

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the exchange's control API."""
        request = Request(method, f"/control/{path}", body=json.dumps(body or {}).encode())
        answer = self.world.handle(request, self.line.now_ms())
        assert isinstance(answer, Response)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def fault(self, kind: str, **rule: Any) -> int:
        """Switch a fault on at this venue."""
        return int(self.control("POST", "faults", {"kind": kind, "venue": str(self.venue), **rule})["id"])

    def heal(self) -> list[dict[str, Any]]:
        """Switch all faults off; what they were and how often each struck."""
        found = self.control("GET", "faults")
        self.control("DELETE", "faults")
        rules: list[dict[str, Any]] = found["faults"] + found["ended"]
        return rules

    def move_price(self, price: Decimal) -> None:
        """Hold the market there."""
        self.control("POST", "price", {"symbol": self.symbol, "price": format(price, "f")})

    def accepted(self, user: str = "1") -> int:
        """Lists the exchange took from a user."""
        rows = self.control("GET", "report")["users"]
        return sum(int(row["accepted_lists"]) for row in rows if row["user_id"] == user)

    def placements_sent(self) -> int:
        """Requests that place something and have left, whatever became of them."""
        posted = sum(sent.startswith("POST ") and sent.endswith(PLACES) for sent in self.line.sent)
        return posted + sum(sent.startswith(WS_PLACES) for sent in self.line.sent)

    # ------------------------------------------------------------------ the service

    async def add(self, *users: str, target: str = "1000000") -> None:
        """Users with money, a credential and one scope over all of them."""
        for user in users:
            body = {"user_id": user, "venue": str(self.venue)}
            secret = self.control("POST", "accounts", body)["credential"]
            kind = secret.pop("kind")
            await self.desk.users.put(UserId(user), self.venue, kind, json.dumps(secret).encode())
        members = tuple(ScopeMember(UserId(user), self.venue, self.symbol) for user in users)
        scope = VolumeScope(scope_id=ScopeId("s"), members=members, target=Decimal(target))
        await self.desk.accounts.set_scope(scope, self.desk.epoch)
        await self.desk.settle()

    async def place(self, user: str = "1", *, buy: str = "1", sell: str = "1.01", **changes: Any) -> Order:
        """An OTO; `buy` and `sell` are multiples of the market's price. 0.5 KOGE or 0.05 BNB."""
        quantity = Decimal("0.5") if self.venue is Venue.ALPHA else Decimal("0.05")
        terms: dict[str, Any] = {
            "venue": self.venue,
            "symbol": self.symbol,
            "quantity": quantity,
            "price": (self.price * Decimal(buy)).quantize(Decimal("0.01")),
            "pending_price": (self.price * Decimal(sell)).quantize(Decimal("0.01")),
            "price_confirmed_at": self.clock.now(),
        }
        return await self.desk.manager.place(self.desk.ask(user, **(terms | changes)))

    async def sell(self, quantity: Decimal, at: str, user: str = "1") -> Order:
        """A single SELL of what no other covers."""
        price = (self.price * Decimal(at)).quantize(Decimal("0.01"))
        return await self.desk.manager.place(
            self.desk.sell_ask(
                user, venue=self.venue, symbol=self.symbol, quantity=quantity, price=price,
                purpose=Purpose.RESIDUAL,
            )
        )  # fmt: skip

    async def cancel(self, order: Order, role: LegRole = LegRole.WORKING) -> None:
        await self.desk.manager.cancel(order.order_id, role, "test")

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def account(self, user: str = "1") -> AccountKey:
        """The journal's name for a user on the symbol."""
        return AccountKey(UserId(user), self.venue, self.symbol)

    def order(self, order: Order) -> Order:
        """As it is now."""
        return self.desk.order(order)

    async def reaches(self, order: Order, *states: OrderState, seconds: float = 60) -> Order:
        """The order once it is in one of these states."""
        until = self.clock.monotonic() + seconds
        while self.order(order).state not in states:
            assert self.clock.monotonic() < until, f"{self.order(order)} never was in {states}"
            await self.sleep(0.1)
        return self.order(order)

    async def agree(self, seconds: float = 60) -> audit.Verdict:
        """Heal, and wait until journal, ledger and the exchange's books agree; at most 60 s (I3)."""
        self.heal()
        self.control("POST", "freeze")
        until = self.clock.monotonic() + seconds
        while True:
            verdict = audit.compare(self.books())
            if not (verdict.differences or verdict.figures["still in doubt"]):
                return verdict
            assert self.clock.monotonic() < until, verdict
            await self.sleep(1)

    def books(self) -> audit.Books:
        """All books as they are now."""
        orders, trades = self.control("GET", "orders")["orders"], self.control("GET", "trades")["trades"]
        report = self.control("GET", "report")
        return audit.Books(*audit.journal(self._path), orders=orders, trades=trades, report=report)
