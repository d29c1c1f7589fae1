"""The line between the order service and the exchange: the port's Transport, and what befalls it.

A request that has left arrives, or not, whatever becomes of its sender. What goes wrong with it is
drawn when it leaves: lost before or after, answered late, answered with an error before or after
the exchange acted, answered from an old reading, held up by the engine, banned at the door. Requests
over a WebSocket meet the same (`send_frame`); the sockets themselves are in sockets.py.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextvars import copy_context
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from order_service.venues import port
from order_service.venues.port import VenueNotReached, VenueSilent
from otopilot.clock import Clock
from otopilot.instrument import Venue
from paper_exchange.http import Held, Request, Response
from tests.simulation.exchange import SimExchange
from tests.simulation.frames import refusal, twin
from tests.simulation.loop import SimLoop
from tests.simulation.profiles import Profile
from tests.simulation.sockets import SimSocket
from tests.simulation.trace import Trace

MOST_READINGS = 200
STALE_SECONDS = 2.0
PLACES = (
    "/order/place",
    "/oto-order/place",
    "/api/v3/order",
    "/api/v3/orderList/oto",
    "/api/v3/orderList/opo",
)


class Sent:
    """One request on its way."""

    def __init__(self, number: int, request: Request, venue: Venue, began: float, at: float) -> None:
        self.number = number
        self.began = began
        self.request = request
        self.venue = venue
        self.at = at
        self.fate = ""

    @property
    def places(self) -> bool:
        """Is it a placement?"""
        return self.request.method == "POST" and self.request.path.endswith(PLACES)

    def __str__(self) -> str:
        body = self.request.body.decode() if self.places else ""
        return f"#{self.number} {self.request.method} {self.request.path.rsplit('/', 1)[-1]} {body}"


class Network:
    """Owns what is under way. One for the whole run; each start of the service has a SimTransport."""

    def __init__(
        self, loop: SimLoop, exchange: SimExchange, profile: Profile, seed: str, trace: Trace
    ) -> None:
        self.loop = loop
        self.exchange = exchange
        self.profile: Profile | None = profile
        self.trace = trace
        self.dice = random.Random(seed)
        self.context = copy_context()  # of nobody's process
        self.sockets: list[SimSocket] = []
        self.out: dict[Venue, float] = {}  # nothing passes until then
        self.bans: dict[Venue, tuple[float, int]] = {}
        self.on_sent: list[Callable[[Sent], None]] = []
        self.on_ban_heard: list[Callable[[Venue, float], None]] = []
        self.arriving = ""  # what a request says that reaches the exchange now, not held up by the engine
        self._count = 0
        self._readings: dict[str, tuple[float, Response]] = {}
        self._under_way: dict[int, tuple[Any, Sent]] = {}
        self._frames: dict[int, tuple[Any, Callable[[], None]]] = {}

    def chance(self, name: str) -> bool:
        """Does this kind of trouble strike now?"""
        return self.profile is not None and self.dice.random() < getattr(self.profile, name)

    def latency(self) -> float:
        """One way, in seconds."""
        return 0.002 + 0.03 * self.dice.random()

    def after(self, seconds: float, callback: Callable[..., None], *args: Any) -> Any:
        """Something that happens on the line, whoever has died meanwhile."""
        return self.loop.call_later(seconds, callback, *args, context=self.context)

    def stall(self) -> None:
        """A machine dies: some of what it has just sent takes long to arrive."""
        for timer, sent in list(self._under_way.values()):
            if self.profile is not None and self.dice.random() < 0.5:
                timer.cancel()
                self._later(self.dice.uniform(3.0, 9.0), sent, None, held=False)
        for number, (timer, arrive) in list(self._frames.items()):
            if self.profile is not None and self.dice.random() < 0.5:
                timer.cancel()
                self._frames[number] = (self.after(self.dice.uniform(3.0, 9.0), arrive), arrive)

    def heal(self) -> None:
        """From now on everything works; what is still under way arrives soon."""
        self.profile = None
        self.out.clear()
        self.bans.clear()
        self.exchange.world.faults.clear()
        for timer, sent in list(self._under_way.values()):
            if timer.when() > self.loop.time() + 1:
                timer.cancel()
                self._later(0.5, sent, None, held=False)
        for number, (timer, deliver) in list(self._frames.items()):
            if timer.when() > self.loop.time() + 1:
                timer.cancel()
                self._frame_later(0.5, number, deliver)

    # ------------------------------------------------------------------ requests

    def send(
        self,
        request: Request,
        venue: Venue,
        began: float,
        answer: "asyncio.Future[port.Response]",
        lives: Callable[[], bool] = lambda: True,
    ) -> Sent:
        """It has left. The future gets an answer or VenueSilent, or nothing."""
        self._count += 1
        sent = Sent(self._count, request, venue, began, self.loop.time())
        for heard in list(self.on_sent):
            heard(sent)
        fate = self._fate(sent)
        sent.fate = fate
        if fate or sent.places:
            self.trace.add("net", f"{sent} {fate}")
        arrives = self.latency()
        if fate in ("lost", "out"):
            self._fail(answer, self.dice.choice((0.01, 3.0, 60.0)), "lost")
        elif fate == "late":
            assert self.profile is not None
            arrives = self.dice.uniform(0.5, self.profile.latest_seconds)
            self._later(arrives, sent, None, held=False)
            self._fail(answer, self.dice.choice((0.01, 3.0, 60.0)), "late")
        elif fate in ("503", "502"):
            self.after(arrives * 2, _resolve, answer, port.Response(int(fate), {}, b"upstream"))
        elif fate == "banned":
            self._refuse(sent, answer, lives)
        elif fate == "stale":
            self.after(arrives * 2, _resolve, answer, _plain(self._readings[_key(request)][1]))
        else:
            self._later(arrives, sent, answer, held=False)
        return sent

    # ------------------------------------------------------------------ requests over a socket

    def send_frame(self, socket: SimSocket, asked: Mapping[str, Any], text: str) -> None:
        """One has left on a socket; `socket` gets its answer, or not."""
        self._count += 1
        now = self.loop.time()
        sent = Sent(self._count, twin(asked), Venue.SPOT, now, now)
        for heard in list(self.on_sent):
            heard(sent)
        fate = sent.fate = self._fate(sent)
        if fate or sent.places:
            self.trace.add("net", f"ws {sent} {fate}")
        number = str(asked["id"])
        if fate in ("lost", "out"):
            if self.dice.random() < 0.5:
                self.after(self.dice.choice((0.01, 3.0)), socket.cut)
        elif fate == "late":
            assert self.profile is not None
            seconds = self.dice.uniform(0.5, self.profile.latest_seconds)
            socket.expect(number, "unheard", sent)
            self._frame_later(seconds, sent.number, lambda: socket.deliver(text))
        elif fate in ("503", "502"):
            socket.say(self.latency() * 2, refusal(number, int(fate), -1001))
        elif fate == "banned":
            self._refuse_frame(socket, number, sent)
        else:
            socket.expect(number, fate, sent)
            self._frame_later(self.latency(), sent.number, lambda: socket.deliver(text))

    def _frame_later(self, seconds: float, number: int, deliver: Callable[[], None]) -> None:
        def arrive() -> None:
            self._frames.pop(number, None)
            deliver()

        self._frames[number] = (self.after(seconds, arrive), arrive)

    def _refuse_frame(self, socket: SimSocket, number: str, sent: Sent) -> None:
        until, status = self.bans[sent.venue]
        back = self.latency() * 2
        left = max(1, round(until - self.loop.time() - back + 0.5))

        def tell() -> None:
            if socket.is_closed:
                return  # nobody hears it
            for heard in self.on_ban_heard:
                heard(sent.venue, self.loop.time() + left)
            now_ms = self.exchange.now_ms()
            data = {"serverTime": now_ms, "retryAfter": now_ms + left * 1000}
            socket.say(0.0, refusal(number, status, -1003, **data))
            if status == 418:
                self.after(0.001, socket.cut)

        self.after(back, tell)

    def _fate(self, sent: Sent) -> str:
        now, venue = self.loop.time(), sent.venue
        if sent.request.path.startswith("/control"):
            return ""
        if self.out.get(venue, 0.0) > now:
            return "out"
        if venue in self.bans and self.bans[venue][0] > now:
            return "banned"
        if self.profile is None:
            return ""
        for name, fate in (
            ("lost_request", "lost"),
            ("late_request", "late"),
            ("error_before", "503"),
            ("lost_answer", "unheard"),
            ("error_after", "error after"),
            ("garbage", "garbage"),
            ("late_answer", "late answer"),
            ("ban", "banned"),
        ):
            if self.chance(name):
                if fate == "banned":
                    self.bans[venue] = (now + self.dice.randint(2, 6), self.dice.choice((429, 418)))
                return fate
        if sent.request.method == "GET" and self.chance("stale_read"):
            known = self._readings.get(_key(sent.request))
            if known is not None and now - known[0] <= STALE_SECONDS:
                return "stale"
        return ""

    def _later(
        self, seconds: float, sent: Sent, answer: "asyncio.Future[port.Response] | None", *, held: bool
    ) -> None:
        timer = self.after(seconds, self._arrive, sent, answer, held)
        self._under_way[sent.number] = (timer, sent)

    def _arrive(self, sent: Sent, answer: "asyncio.Future[port.Response] | None", held: bool) -> None:
        self._under_way.pop(sent.number, None)
        self.arriving = "" if held else sent.request.body.decode()
        result = self.exchange.world.handle(sent.request, self.exchange.now_ms(), held=held)
        self.arriving = ""
        self.exchange.moved()
        if isinstance(result, Held):
            self.trace.add("exchange", f"#{sent.number} waits for the engine")
            seconds = (result.until_ms - self.exchange.now_ms()) / 1000
            if answer is not None:
                self._fail(answer, 60.0, "engine")
            self._later(max(0.0, seconds), sent, answer, held=True)
            return
        if sent.places:
            self.trace.add("exchange", f"#{sent.number} answers {result.status} {result.body.decode()[:160]}")
        if sent.request.method == "GET" and not result.dropped:
            self._remember(sent.request, result)
        if answer is not None:
            self._answer(sent, answer, result)

    def _answer(self, sent: Sent, answer: "asyncio.Future[port.Response]", result: Response) -> None:
        back = self.latency() + result.delay_ms / 1000
        if sent.fate == "unheard" or result.dropped:
            self._fail(answer, self.dice.choice((0.01, 3.0, 60.0)), "unheard")
        elif sent.fate == "error after":
            status = self.dice.choice((500, 502, 503, 504))
            self.after(back, _resolve, answer, port.Response(status, {}, b"gateway"))
        elif sent.fate == "garbage":
            self.after(back, _resolve, answer, port.Response(200, {}, result.body[: len(result.body) // 2]))
        else:
            if sent.fate == "late answer":
                back += self.dice.uniform(1.0, 9.0)
            self.after(back, _resolve, answer, _plain(result))

    def _refuse(self, sent: Sent, answer: "asyncio.Future[port.Response]", lives: Callable[[], bool]) -> None:
        until, status = self.bans[sent.venue]
        back = self.latency() * 2
        left = max(1, round(until - self.loop.time() - back + 0.5))
        response = port.Response(status, {"retry-after": str(left)}, b"{}")

        def tell() -> None:
            if not answer.done() and lives():  # a killed process hears nothing
                for heard in self.on_ban_heard:
                    heard(sent.venue, self.loop.time() + left)
            _resolve(answer, response)

        self.after(back, tell)

    def _fail(self, answer: "asyncio.Future[port.Response]", seconds: float, why: str) -> None:
        def tell() -> None:
            if not answer.done():
                answer.set_exception(VenueSilent("connection", f"sent, no whole answer: {why}"))

        self.after(seconds, tell)

    def _remember(self, request: Request, response: Response) -> None:
        self._readings[_key(request)] = (self.loop.time(), response)
        while len(self._readings) > MOST_READINGS:
            del self._readings[next(iter(self._readings))]


class SimTransport:
    """The port's Transport for one start of the order service."""

    def __init__(self, network: Network, clock: Clock) -> None:
        self._network = network
        self._clock = clock
        self.closed = False

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
        network, parts = self._network, urlsplit(url)
        began = network.loop.time()
        venue = Venue.ALPHA if parts.path.startswith("/bapi") else Venue.SPOT
        if network.chance("refused_connection"):
            await asyncio.sleep(network.latency())
            raise VenueNotReached("connection", "not sent: refused")
        if network.profile is not None and network.dice.random() < 0.05:
            await asyncio.sleep(network.dice.choice((0.05, 0.6, 1.5)))  # a connection is being made
        if self.closed:
            raise VenueNotReached("connection", "not sent: closed")
        if not_after is not None and self._clock.now() > not_after:
            raise VenueNotReached("too_late", "older than allowed when it would have left")
        request = Request(
            method=method,
            path=parts.path,
            query_string=parts.query,
            headers={name.lower(): value for name, value in headers.items()},
            body=body,
            remote="10.0.0.1",
        )
        answer: asyncio.Future[port.Response] = network.loop.create_future()
        network.send(request, venue, began, answer, lambda: not self.closed)
        give_up = network.loop.call_later(timeout_seconds, _time_out, answer)
        try:
            return await answer
        finally:
            give_up.cancel()

    async def connect(self, url: str) -> port.Socket:
        """Open a WebSocket."""
        network = self._network
        await asyncio.sleep(network.latency())
        venue = Venue.SPOT if "/ws-api" in url else Venue.ALPHA
        out = network.out.get(venue, 0.0) > network.loop.time()
        if self.closed or out or network.chance("refused_connection"):
            raise VenueNotReached("connection", "no WebSocket")
        return SimSocket(network, urlsplit(url).path)

    def heard(self, used_weight: int | None, ban: port.RateLimited | None) -> None:
        """What an answer on a socket said of the limits: kept by the gate above."""

    async def aclose(self) -> None:
        """Close every connection."""
        self.closed = True


def _key(request: Request) -> str:
    who = request.headers.get("cookie", "")
    return f"{request.path}?{request.query_string}|{who}"


def _plain(response: Response) -> port.Response:
    return port.Response(response.status, dict(response.headers), response.body)


def _resolve(answer: "asyncio.Future[port.Response]", response: port.Response) -> None:
    if not answer.done():
        answer.set_result(response)


def _time_out(answer: "asyncio.Future[port.Response]") -> None:
    if not answer.done():
        answer.set_exception(VenueSilent("timeout", "sent, no whole answer in time"))
