"""A whole paper exchange without a network: the core, its surfaces and its streams.

A server hands it requests and messages from sockets; a simulation hands them in directly. Time
is whatever the caller says it is.
"""

import random

from paper_exchange.alpha_api import AlphaApi
from paper_exchange.alpha_streams import AlphaStreams
from paper_exchange.config import Config
from paper_exchange.connections import Connections
from paper_exchange.control_api import ControlApi
from paper_exchange.exchange import Exchange
from paper_exchange.faults import Faults
from paper_exchange.http import Answer, Request, Response, json_response
from paper_exchange.model import Event
from paper_exchange.spot_api import SpotApi
from paper_exchange.spot_auth import SpotAuth
from paper_exchange.spot_calls import SpotCalls
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_streams import SpotStreams
from paper_exchange.spot_ws_api import SpotWsApi
from paper_exchange.store import Store
from paper_exchange.streams import Connection, Send, Streams


class World:
    """Owns the exchange and every surface over it."""

    def __init__(
        self, config: Config, store: Store, *, rng: random.Random, world_id: str, now_ms: int
    ) -> None:
        self._streams: list[Streams] = []
        dice = random.Random(rng.getrandbits(64))  # noqa: S311 - faults on demand
        self.faults = Faults(config.faults, dice, now_ms)
        self.exchange = Exchange(
            config,
            store,
            rng=rng,
            world_id=world_id,
            now_ms=now_ms,
            sink=self._publish,
            faults=self.faults,
        )
        self._alpha = AlphaApi(self.exchange)
        limits = SpotLimits(config.spot)
        self._connections = Connections(config.spot, self.faults, limits)
        self._control = ControlApi(self.exchange, self._connections, limits)
        auth = SpotAuth(self.exchange.state.accounts)
        self._calls = calls = SpotCalls(self.exchange, auth, limits)
        self._spot = SpotApi(calls, limits)
        self._streams += [
            AlphaStreams(self.exchange),
            SpotWsApi(self.exchange, calls, auth, limits),
            SpotStreams(self.exchange, limits),
        ]

    def handle(self, request: Request, now_ms: int, *, held: bool = False) -> Answer:
        """Answer one HTTP request; a Held answer is to be handed in again with `held=True`."""
        self.advance(now_ms)
        if self._control.serves(request.path):
            return self._control.handle(request)
        if self._alpha.serves(request.path):
            return self._alpha.handle(request, held=held)
        if self._spot.serves(request.path):
            return self._spot.handle(request, held=held)
        return json_response({"error": f"no surface serves {request.path}"}, status=404)

    def refuse(self, request: Request, now_ms: int) -> Response | None:
        """What a client is told instead of a stream connection; None: it may connect."""
        self.advance(now_ms)
        return self._connections.refuse(request, now_ms)

    def connect(self, request: Request, send: Send, *, pings: bool = False) -> Connection | None:
        """Open a stream connection; None if no surface has streams at this path. With `pings` the
        client is asked whether it lives: `send` gets each Ping, and pong() the answer."""
        for streams in self._streams:
            if streams.serves(request.path):
                return streams.connect(request, send, pings=pings)
        return None

    def receive(self, connection: Connection, frame: str, now_ms: int) -> None:
        """Hand in a client's message; answers go out by the connection's `send`."""
        self.advance(now_ms)
        connection.receive(frame)

    def pinged(self, connection: Connection, now_ms: int) -> None:
        """The client sent a ping; it has been answered."""
        self.advance(now_ms)
        connection.pinged()

    def ponged(self, connection: Connection, payload: bytes, now_ms: int) -> None:
        """The client sent a pong."""
        self.advance(now_ms)
        connection.ponged(payload)

    def disconnect(self, connection: Connection) -> None:
        for streams in self._streams:
            streams.disconnect(connection)

    def advance(self, now_ms: int) -> None:
        """Execute and send everything due by now."""
        self.faults.advance(now_ms)
        self.exchange.advance(now_ms)
        self._calls.advance(now_ms)
        for streams in self._streams:
            streams.advance(now_ms)

    def next_due(self) -> int | None:
        """When advance() next has something to do; None if never."""
        dues = [self.exchange.next_due(), self._calls.next_due()]
        dues += (streams.next_due() for streams in self._streams)
        return min((due for due in dues if due is not None), default=None)

    def _publish(self, events: list[Event]) -> None:
        for streams in self._streams:
            streams.publish(events)


def fresh_rng(seed: int, boots: int) -> random.Random:
    """The randomness of one run of a world: the same seed gives the same first run."""
    return random.Random(f"{seed}/{boots}")  # noqa: S311 - a market, not a secret
