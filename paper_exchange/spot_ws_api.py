"""Spot's WS API: its connections, and the user data that goes out on them.

Owns the sessions, also those whose client has gone while the engine still had a request of theirs;
what one of them asks stands in spot_session.py (binance-spot 6, 7).
"""

from urllib.parse import parse_qsl

from paper_exchange.exchange import Exchange
from paper_exchange.faults import Scope
from paper_exchange.http import Request
from paper_exchange.model import Event
from paper_exchange.spot_auth import SpotAuth
from paper_exchange.spot_calls import SpotCalls
from paper_exchange.spot_events import account_of, rows_of, symbol_of, told
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_session import Session
from paper_exchange.spot_wire import UNITS, encode
from paper_exchange.streams import Connection, Send

PATH = "/ws-api/v3"
CONNECT_WEIGHT = 2

Listeners = dict[str, list[tuple[Session, int]]]


class SpotWsApi:
    """Every WS API connection."""

    def __init__(self, exchange: Exchange, calls: SpotCalls, auth: SpotAuth, limits: SpotLimits) -> None:
        self._exchange = exchange
        self._calls = calls
        self._auth = auth
        self._limits = limits
        self._sessions: dict[int, Session] = {}
        self._left: list[Session] = []

    def serves(self, path: str) -> bool:
        return path == PATH

    def connect(self, request: Request, send: Send, *, pings: bool) -> Session:
        """A URL may ask for microseconds and for answers without rate limits."""
        wanted = dict(parse_qsl(request.query_string))
        session = Session(
            self._exchange,
            self._calls,
            self._auth,
            self._limits,
            send,
            remote=request.remote,
            pings=pings,
            micros=UNITS.get(wanted.get("timeUnit", ""), False),
            shows_limits=wanted.get("returnRateLimits", "true") != "false",
        )
        self._sessions[id(session)] = session
        self._limits.weigh(request.remote, CONNECT_WEIGHT, self._exchange.now_ms)
        return session

    def disconnect(self, connection: Connection) -> None:
        session = self._sessions.pop(id(connection), None)
        if session is not None:
            session.leave()
            self._left.append(session)

    def publish(self, events: list[Event]) -> None:
        """Let the calls know; tell the accounts that listen, in the venue's order."""
        self._calls.see(events)
        private = told(events) if self._sessions else []
        if not private:
            return
        listeners = self._listeners()
        state, faults = self._exchange.state, self._exchange.faults
        for event in private:
            key = account_of(event)
            if key not in listeners:
                continue
            account = state.accounts.owner(key)
            scope = Scope("spot", "order_stream", account.user_id, symbol_of(event))
            for row in rows_of(event, account, state.markets):
                for session, number in listeners[key]:
                    frame = encode({"subscriptionId": number, "event": row}, micros=session.micros)
                    session.push_order(frame, faults, scope, self._exchange.now_ms)

    def _listeners(self) -> Listeners:
        found: Listeners = {}
        for session in self._sessions.values():
            for number, key in session.subscriptions.items():
                found.setdefault(key, []).append((session, number))
        return found

    def next_due(self) -> int | None:
        dues = (session.next_due() for session in (*self._sessions.values(), *self._left))
        return min((due for due in dues if due is not None), default=None)

    def advance(self, now_ms: int) -> None:
        for session in (*self._sessions.values(), *self._left):
            session.advance(now_ms)
        self._left = [session for session in self._left if session.next_due() is not None]
