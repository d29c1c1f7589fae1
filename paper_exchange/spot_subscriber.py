"""One connection to Spot's market streams: its names, its form, its control frames (binance-spot 5)."""

from typing import Any, Literal

from paper_exchange.faults import Faults, Scope
from paper_exchange.http import read_json
from paper_exchange.spoiling import spoiled
from paper_exchange.spot_wire import Ms, encode
from paper_exchange.streams import HANG_UP, Send

MOST_STREAMS = 1024
SECOND_MS = 1000

LONGEST_ID = 36
Outcome = tuple[Any] | tuple[int, str]  # a result, or an error's code and text


class Subscriber:
    """`combined` wraps payloads with their stream's name."""

    def __init__(
        self,
        send: Send,
        names: list[str],
        *,
        combined: bool,
        micros: bool,
        messages_per_second: int,
        errors: Literal["flat", "nested"],
    ) -> None:
        self.names = dict.fromkeys(names[:MOST_STREAMS])
        self.micros = micros
        self._combined = combined
        self._send = send
        self._most = messages_per_second
        self._errors = errors
        self._second = 0
        self._heard = 0

    def tell(self, name: str, payload: object, faults: Faults, scope: Scope) -> None:
        """Send a payload, or what the faults make of it."""
        if payload == HANG_UP:
            return self.send_frame(HANG_UP)
        value = {"stream": name, "data": payload} if self._combined else payload
        return self.send_frame(spoiled(encode(value, micros=self.micros), faults, scope))

    def say_shutdown(self, now_ms: int) -> None:
        """The server is about to go (binance-spot 5)."""
        event = {"e": "serverShutdown", "E": Ms(now_ms)}
        value = {"stream": "!serverShutdown", "data": event} if self._combined else event
        self.send_frame(encode(value, micros=self.micros))

    def send_frame(self, frame: bytes) -> None:
        self._send(frame)

    def takes(self, now_ms: int) -> bool:
        """Whether one more message is within the limit. False: the client talks too much, and is gone."""
        if now_ms // SECOND_MS != self._second:
            self._second, self._heard = now_ms // SECOND_MS, 0
        self._heard += 1
        if self._heard > self._most:
            self._send(HANG_UP)
            return False
        return True

    def hear(self, frame: str | bytes, now_ms: int) -> bool:
        """A control frame. False: it was one too many."""
        if not self.takes(now_ms):
            return False
        try:
            message = read_json(frame)
        except ValueError:
            self._answer((3, "Invalid JSON: expected value at line 1 column 1"), None)
            return True
        if not isinstance(message, dict):
            self._answer((2, "Invalid request: request must be an object"), None)
            return True
        number = message.get("id")
        if not _is_id(number):
            self._answer((2, "Invalid request: request ID must be an unsigned integer"), None)
            return True
        self._answer(self._obey(message.get("method"), message.get("params", [])), number)
        return True

    def _obey(self, method: Any, params: Any) -> Outcome:
        if method == "LIST_SUBSCRIPTIONS":
            return (list(self.names),)
        if not isinstance(params, list):
            return 2, "Invalid request: params must be an array"
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return self._change(params, add=method == "SUBSCRIBE")
        if method in ("GET_PROPERTY", "SET_PROPERTY"):
            return self._property(params, put=method == "SET_PROPERTY")
        return 2, "Invalid request: unknown method"

    def _change(self, params: list[Any], *, add: bool) -> Outcome:
        """Names of nothing are taken too; no payload ever comes for them."""
        if not all(isinstance(name, str) for name in params):
            return 2, "Invalid request: params must be an array of strings"
        if not add:
            for name in params:
                self.names.pop(name, None)
        elif len(self.names.keys() | set(params)) > MOST_STREAMS:
            return 2, "Invalid request: too many streams"
        else:
            self.names.update(dict.fromkeys(params))
        return (None,)

    def _property(self, params: list[Any], *, put: bool) -> Outcome:
        if len(params) > 1 + put:
            return 2, "Invalid request: too many parameters"
        if not params or not isinstance(params[0], str):
            return 2, "Invalid request: property name must be a string"
        if params[0] != "combined":
            return 0, "Unknown property"
        if not put:
            return (self._combined,)
        if len(params) < 2 or not isinstance(params[1], bool):
            return 1, "Invalid value type: expected Boolean"
        self._combined = params[1]
        return (None,)

    def _answer(self, outcome: Outcome, number: object) -> None:
        if len(outcome) == 1:
            return self._send(encode({"result": outcome[0], "id": number}))
        error = {"code": outcome[0], "msg": outcome[1]}
        if self._errors == "nested":
            return self._send(encode({"error": error, "id": number}))
        return self._send(encode(error | ({} if number is None else {"id": number})))


def _is_id(number: Any) -> bool:
    """A 64-bit integer, a short text, or null (binance-spot 5)."""
    if isinstance(number, str):
        return len(number) <= LONGEST_ID
    is_whole = isinstance(number, int) and not isinstance(number, bool)
    return number is None or (is_whole and -(2**63) <= number < 2**63)
