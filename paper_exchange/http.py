"""Requests and answers as plain values, and the faults that act between a client and a surface.

The surfaces are functions from Request to Answer; a server or a simulated transport carries
them out. A Held answer means: the engine is slow, call again with `held=True` at that time,
whether or not the client still waits.
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from paper_exchange.faults import FaultRule, Faults, Scope
from paper_exchange.spoiling import spoiled

JSON_HEADERS = {"content-type": "application/json"}
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Request(msgspec.Struct, frozen=True):
    """Header names are lower case; the query stays as sent, because signatures cover it.

    `remote` is the client's address, by which venues limit.
    """

    method: str
    path: str
    query_string: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    remote: str = ""

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.query_string, keep_blank_values=True))


class Response(msgspec.Struct, frozen=True):
    """`dropped`: close the connection instead of answering, after `delay_ms` like any answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = msgspec.field(default_factory=lambda: JSON_HEADERS)
    delay_ms: int = 0
    dropped: bool = False


class Held(msgspec.Struct, frozen=True):
    """Nothing is accepted yet: hand the same request in again at this time."""

    until_ms: int


Answer = Response | Held
# What a web application firewall answers with (binance-spot 8).
WAF_PAGE = b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>Blocked.</body>\r\n</html>\r\n"
DROPPED = Response(status=0, dropped=True)


def encode(value: object) -> bytes:
    """JSON; a Decimal becomes a number literal, so amounts that are strings are put as strings."""
    return _ENCODER.encode(value)


def json_response(value: object, status: int = 200) -> Response:
    return Response(status=status, body=encode(value))


def decode(body: bytes) -> Any:
    """JSON with exact numbers: fractions become Decimal. ValueError if it is not JSON."""
    if len(body) > 65536:
        raise ValueError("body too large")
    return read_json(body, parse_float=Decimal, parse_constant=_refuse_constant)


def read_json(raw: str | bytes, **hooks: Any) -> Any:
    """JSON as json.loads() reads it; ValueError also for what is nested beyond measure, and for an
    escaped half of a character, which no answer could repeat."""
    try:
        value = json.loads(raw, **hooks)
        if (b"\\u" if isinstance(raw, bytes) else "\\u") in raw:  # type: ignore[operator]
            json.dumps(value, ensure_ascii=False, default=str).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


class Door:
    """Applies the request faults of one surface; `business` spells an error in its words."""

    def __init__(
        self,
        faults: Faults,
        business: Callable[[FaultRule], Response],
        banned: Callable[[int, int], Response] | None = None,
    ) -> None:
        """`banned` spells the refusal of an address: status, and when it may come back."""
        self._faults = faults
        self._business = business
        self._banned = banned or self._plain_ban

    def gate(self, scope: Scope) -> Response | None:
        """The refusal of an address that is banned, before anything else is looked at."""
        rule = self._faults.strike(scope, "ban")
        if rule is None:
            return None
        if rule.status == 403:
            return Response(status=403, body=WAF_PAGE, headers={"content-type": "text/html"})
        return self._banned(rule.status, self._faults.until_ms(rule))

    def _plain_ban(self, status: int, until_ms: int) -> Response:
        seconds = max(1, -(-(until_ms - self._faults.now_ms) // 1000))
        headers = {"content-type": "text/plain", "retry-after": str(seconds)}
        return Response(status=status, body=b"Too many requests.", headers=headers)

    def enter(self, scope: Scope, now_ms: int, *, held: bool) -> Answer | None:
        """What befalls a request before anything is accepted; None lets it in."""
        if not held and self._faults.strike(scope, "drop_request"):
            return DROPPED
        if not held and (rule := self._faults.strike(scope, "engine_delay")):
            return Held(now_ms + int(rule.seconds * 1000))
        return self._error(scope, "before")

    def leave(self, scope: Scope, response: Response) -> Response:
        """What befalls an answer after the exchange did what was asked."""
        error = self._error(scope, "after")
        if error is not None:
            response = error
        body = spoiled(response.body, self._faults, scope)
        if body is not response.body:
            response = msgspec.structs.replace(response, body=body)
        if rule := self._faults.strike(scope, "delay_response"):
            response = msgspec.structs.replace(response, delay_ms=int(rule.seconds * 1000))
        if self._faults.strike(scope, "drop_response"):
            response = msgspec.structs.replace(DROPPED, delay_ms=response.delay_ms)
        return response

    def _error(self, scope: Scope, when: Any) -> Response | None:
        rule = self._faults.strike(scope, "http_error", "business_error", "verification_required", when=when)
        if rule is None:
            return None
        if rule.kind != "http_error":
            return self._business(rule)
        headers = {"content-type": "text/plain"}
        if rule.retry_after_seconds is not None:
            headers["retry-after"] = str(rule.retry_after_seconds)
        return Response(status=rule.status, body=rule.message.encode(), headers=headers)
