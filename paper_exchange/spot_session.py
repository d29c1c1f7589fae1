"""One WS API connection: its requests, its logon, its subscriptions, its answers on their way.

Answers go out as they are ready; a fault can hold a request back until the engine takes it, or an
answer until its time (binance-spot 6).
"""

import heapq
import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from paper_exchange.exchange import Exchange
from paper_exchange.faults import Scope
from paper_exchange.http import Held, Response, read_json
from paper_exchange.lifetimes import Keepalive, Lifetime
from paper_exchange.model import Account
from paper_exchange.spot_auth import Claim, SpotAuth
from paper_exchange.spot_calls import Call, SpotCalls
from paper_exchange.spot_endpoints import METHODS, Endpoint
from paper_exchange.spot_errors import SpotError, bad_key
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_params import Params
from paper_exchange.spot_wire import Ms, Row, encode
from paper_exchange.streams import HANG_UP, OrderFrames, Send

MOST_SUBSCRIPTIONS = 65_535
LONGEST_ID = 36
_VERSION = re.compile(r"v\d+/")


class _Literal(str):
    """A JSON number, as it was written: signatures cover its text."""


class Asked(msgspec.Struct, frozen=True):
    """A request frame. `id` is as it will be echoed."""

    id: object
    method: str
    sent: Mapping[str, str]


def read_request(frame: str | bytes) -> Asked:
    """SpotError for what is no request."""
    try:
        raw = read_json(frame, parse_int=_Literal, parse_float=_Literal)
    except ValueError:
        raise _bad_json() from None
    if not isinstance(raw, dict) or not isinstance(raw.get("method"), str):
        raise _bad_json()
    params = raw.get("params", {})
    if not isinstance(params, dict):
        raise _bad_json()
    sent = {name: _text(value) for name, value in params.items()}
    return Asked(_echo(raw.get("id")), _VERSION.sub("", raw["method"], count=1), sent)


def _bad_json() -> SpotError:
    return SpotError(-1135, "Invalid JSON Request")


def _echo(raw: Any) -> object:
    if isinstance(raw, _Literal) and re.fullmatch(r"-?[0-9]{1,19}", raw):
        return msgspec.Raw(raw.encode())
    if raw is None or (type(raw) is str and len(raw) <= LONGEST_ID):
        return raw
    raise _bad_json()


def _text(value: Any) -> str:
    """A parameter's text; a list is what a query would carry."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return str(value) if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def signed_payload(sent: Mapping[str, str]) -> bytes:
    """Everything but the signature, sorted by name, raw (binance-spot 1.4)."""
    return "&".join(f"{name}={sent[name]}" for name in sorted(sent) if name != "signature").encode()


def _nobody(_: bytes) -> None:
    """Hears what is sent to a client that is gone."""


class Session(OrderFrames):
    """One connection's state."""

    def __init__(
        self,
        exchange: Exchange,
        calls: SpotCalls,
        auth: SpotAuth,
        limits: SpotLimits,
        send: Send,
        *,
        remote: str,
        pings: bool,
        micros: bool,
        shows_limits: bool,
    ) -> None:
        super().__init__(send)
        self._exchange = exchange
        self._calls = calls
        self._auth = auth
        self._limits = limits
        self._remote = remote
        self.micros = micros
        self._shows_limits = shows_limits
        self._connected_ms = exchange.now_ms
        self._settings = exchange.state.config.spot
        self._lifetime = Lifetime(
            exchange.now_ms, self._settings.connection_seconds, self._settings.shutdown_warning_seconds
        )
        self._keepalive = Keepalive(send, exchange.now_ms) if pings else None
        self._account: Account | None = None
        self._authorized_ms = 0
        self._logon_subscription: int | None = None
        self._next_subscription = 0
        self.subscriptions: dict[int, str] = {}
        self._after: list[Row] = []
        self._later: list[tuple[int, int, str | bytes]] = []
        self._queued = 0
        self._own = self._session_endpoints()

    def _session_endpoints(self) -> dict[str, Endpoint]:
        return {
            "session.logon": Endpoint("logon", self._logon, 2, signed=True),
            "session.status": Endpoint("session_status", self._status, 2),
            "session.logout": Endpoint("logout", self._logout, 2),
            "session.subscriptions": Endpoint("subscriptions", self._list_subscriptions, 2),
            "userDataStream.subscribe": Endpoint("subscribe", self._subscribe_session, 2),
            "userDataStream.subscribe.signature": Endpoint("subscribe", self._subscribe, 2, signed=True),
            "userDataStream.unsubscribe": Endpoint("unsubscribe", self._unsubscribe, 2),
        }

    # Requests and answers.

    def pinged(self) -> None:
        """No limit on these is documented here."""

    def ponged(self, payload: bytes) -> None:
        if self._keepalive is not None:
            self._keepalive.pong(payload)

    def receive(self, frame: str | bytes) -> None:
        self._serve(frame, held=False)

    def _serve(self, frame: str | bytes, *, held: bool) -> None:
        try:
            asked = read_request(frame)
        except SpotError as error:
            return self._reply(None, None, self._calls.refused(error), None, self._shows_limits)
        endpoint = self._own.get(asked.method) or self._calls.endpoints.get(METHODS.get(asked.method, ""))
        if endpoint is None:
            code = self._exchange.state.config.spot.unknown_method_code
            response = self._calls.refused(SpotError(code, "This operation is not supported."))
            return self._reply(asked.id, None, response, None, self._shows_limits)
        if self._is_revoked(endpoint, asked):  # with its limits, though the venue's sample has none
            self._account = None
            response = self._calls.refused(bad_key())
            return self._reply(None, None, response, None, self._shows_limits)
        params = Params(asked.sent)
        params.skip("returnRateLimits")
        wants = params.peek("returnRateLimits")
        claim = Claim(
            params.peek("apiKey"), params.peek("signature"), signed_payload(asked.sent), self._account
        )
        call = Call(params, claim, self._remote, self.micros, held)
        answer = self._calls.answer(endpoint, call)
        if isinstance(answer, Held):
            return self._queue(answer.until_ms, frame if isinstance(frame, str) else frame.decode())
        shows = self._shows_limits if not wants else wants == "true"
        return self._reply(asked.id, endpoint, answer, claim, shows)

    def _is_revoked(self, endpoint: Endpoint, asked: Asked) -> bool:
        """The key a session logged on with is valid no more: its next request is told (binance-spot 6)."""
        if self._account is None or not endpoint.signed or "apiKey" in asked.sent:
            return False
        scope = Scope("spot", endpoint.name, self._account.user_id)
        return self._exchange.faults.strike(scope, "revoke") is not None

    def _reply(
        self, echo: object, endpoint: Endpoint | None, response: Response, claim: Claim | None, shows: bool
    ) -> None:
        frame = HANG_UP
        if not response.dropped:
            row: Row = {"id": echo, "status": response.status} | self._content(response)
            if shows:
                row["rateLimits"] = self._rate_limits(endpoint, claim)
            frame = encode(row)
        frames = [frame, *(encode(event, micros=self.micros) for event in self._after)]
        if response.status in (403, 418):
            frames.append(HANG_UP)
        self._after = []
        for one in frames:
            if response.delay_ms:
                self._queue(self._exchange.now_ms + response.delay_ms, one)
            else:
                self._send(one)

    def _content(self, response: Response) -> Row:
        if response.status == 200:
            return {"result": msgspec.Raw(response.body)}
        try:
            error: Row = json.loads(response.body)
        except ValueError:
            # A fault's plain text: what a gateway before the API would have said.
            error = {"code": -1000, "msg": response.body.decode() or "An unknown error occurred."}
        if (seconds := response.headers.get("retry-after")) is not None:
            now = self._exchange.now_ms
            error["data"] = {"serverTime": Ms(now), "retryAfter": Ms(now + int(seconds) * 1000)}
        return {"error": error}

    def _rate_limits(self, endpoint: Endpoint | None, claim: Claim | None) -> list[Row]:
        now = self._exchange.now_ms
        weight = self._limits.weight_row() | {"count": self._limits.used(self._remote, now)}
        if endpoint is None or claim is None or not endpoint.counts:
            return [weight]
        try:
            account = self._auth.owner(claim)
        except SpotError:
            return [weight]
        return [*self._limits.order_rows(account.key, now), weight]

    def leave(self) -> None:
        """The client is gone: nothing is told any more, but what the engine was given it will take."""
        self._send = _nobody
        self._held = None
        self.subscriptions.clear()
        self._later = [waiting for waiting in self._later if isinstance(waiting[2], str)]
        heapq.heapify(self._later)

    # What waits.

    def _queue(self, due_ms: int, what: str | bytes) -> None:
        """A request (text) for the engine or a frame (bytes) for the client."""
        self._queued += 1
        heapq.heappush(self._later, (due_ms, self._queued, what))

    def next_due(self) -> int | None:
        dues = [self.held_until(), self._later[0][0] if self._later else None]
        if self._send is not _nobody:
            dues.append(self._lifetime.next_due())
            dues.append(self._keepalive.next_due() if self._keepalive is not None else None)
        return min((due for due in dues if due is not None), default=None)

    def advance(self, now_ms: int) -> None:
        if self._send is not _nobody:
            self._tell_of_the_end(now_ms)
        held_until = self.held_until()
        if held_until is not None and held_until <= now_ms:
            self.release()
        while self._later and self._later[0][0] <= now_ms:
            _, _, what = heapq.heappop(self._later)
            if isinstance(what, str):
                self._serve(what, held=True)
            else:
                self._send(what)

    def _tell_of_the_end(self, now_ms: int) -> None:
        """Subscriptions that a fault ends, the server's own going, the end of a connection's day."""
        faults, accounts = self._exchange.faults, self._exchange.state.accounts
        for number, key in list(self.subscriptions.items()):
            scope = Scope("spot", "order_stream", accounts.owner(key).user_id)
            if faults.strike(scope, "order_terminate"):
                self._end_subscription(number)
        if self._lifetime.warns(faults, Scope("spot", "ws_api"), now_ms):
            self._after.append({"event": {"e": "serverShutdown", "E": Ms(now_ms)}})
        ended, self._after = self._after, []
        for event in ended:
            self._send(encode(event, micros=self.micros))
        answers = self._keepalive is None or self._keepalive.advance(now_ms)
        if self._lifetime.until_ms <= now_ms or not answers:
            self._send(HANG_UP)
            self._send = _nobody

    # The session.

    def _logon(self, account: Account, params: Params) -> Row:
        params.finish()
        kind = account.credential.get("kind", "hmac")
        if kind != "ed25519":
            name = "HMAC_SHA_256" if kind == "hmac" else "RSA"
            # Neither code nor text is documented.
            code = self._exchange.state.config.spot.hmac_logon_code
            raise SpotError(code, f"{name} API key is not supported.")
        self._account, self._authorized_ms = account, self._exchange.now_ms
        return self._status_row()

    def _status(self, params: Params) -> Row:
        params.finish()
        return self._status_row()

    def _logout(self, params: Params) -> Row:
        """The socket stays; the subscription that came with the logon ends."""
        params.finish()
        self._account = None
        if self._logon_subscription is not None:
            self._end_subscription(self._logon_subscription)
        return self._status_row()

    def _status_row(self) -> Row:
        account = self._account
        return {
            "apiKey": account.credential["token"] if account else None,
            "authorizedSince": Ms(self._authorized_ms) if account else None,
            "connectedSince": Ms(self._connected_ms),
            "returnRateLimits": self._shows_limits,
            "serverTime": Ms(self._exchange.conditions.door_ms),
            "userDataStream": self._logon_subscription is not None,
        }

    # User data.

    def _subscribe(self, account: Account, params: Params) -> Row:
        params.finish()
        if account.key in self.subscriptions.values():
            raise SpotError(-2035, "User Data Stream subscription already active.")
        if len(self.subscriptions) >= self._settings.active_subscriptions:
            # Neither code nor text is documented.
            code = self._settings.too_many_subscriptions_code
            raise SpotError(code, "Too many active subscriptions on this connection.")
        if self._next_subscription >= MOST_SUBSCRIPTIONS:
            # The text is not documented.
            raise SpotError(-2042, "No more subscriptions can be made on this connection.")
        number = self._next_subscription
        self._next_subscription += 1
        self.subscriptions[number] = account.key
        return {"subscriptionId": number}

    def _subscribe_session(self, params: Params) -> Row:
        if self._account is None:
            raise bad_key()
        row = self._subscribe(self._account, params)
        self._logon_subscription = row["subscriptionId"]
        return row

    def _unsubscribe(self, params: Params) -> Row:
        number = params.whole("subscriptionId")
        params.finish()
        if number is not None and number not in self.subscriptions:
            raise SpotError(-2036, "User Data Stream subscription not active.")
        for one in list(self.subscriptions) if number is None else [number]:
            self._end_subscription(one)
        return {}

    def _end_subscription(self, number: int) -> None:
        """The client is told after the answer to what ended it."""
        self.subscriptions.pop(number, None)
        if number == self._logon_subscription:
            self._logon_subscription = None
        event = {"e": "eventStreamTerminated", "E": Ms(self._exchange.now_ms)}
        self._after.append({"subscriptionId": number, "event": event})

    def _list_subscriptions(self, params: Params) -> list[Row]:
        params.finish()
        return [{"subscriptionId": number} for number in self.subscriptions]
