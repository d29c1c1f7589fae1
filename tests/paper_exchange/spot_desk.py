"""Spot users in a test's hands: they sign, call REST and the WS API, and listen, without a network.

`SpotTrader` is one user with an HMAC key over a Desk; `shape` and `assert_alike` compare an answer
with the venue's own payload by keys and JSON types.
"""

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

from paper_exchange.http import Answer, Request, Response
from paper_exchange.lifetimes import Ping
from paper_exchange.streams import HANG_UP
from tests.paper_exchange.desk import ROOT, Desk, make_config

FIXTURES = ROOT / "tests" / "fixtures" / "spot"
BNB = "BNBUSDT"
HUNG_UP = "hung up"


def sample(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


def shape(value: Any) -> Any:
    """Keys and types; a list stands for its first element."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def assert_alike(ours: Any, theirs: Any) -> None:
    assert shape(ours) == shape(theirs)


class Line:
    """A socket's far end: what it was sent, in order."""

    def __init__(self, desk: Desk, path: str, query: str = "", *, pings: bool = False) -> None:
        self.desk = desk
        self.frames: list[Any] = []
        self.pings: list[bytes] = []
        request = Request("GET", path, query, remote="10.0.0.1")
        connection = desk.world.connect(request, self._take, pings=pings)
        assert connection is not None
        self.connection = connection

    def _take(self, frame: bytes) -> None:
        if isinstance(frame, Ping):
            self.pings.append(bytes(frame))
            return
        self.frames.append(HUNG_UP if frame == HANG_UP else json.loads(frame))

    def send(self, message: Any) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        self.desk.world.receive(self.connection, text, self.desk.now_ms)

    def ask(self, message: Any) -> Any:
        """Send, and the frame that came last."""
        self.send(message)
        return self.frames[-1]

    def pong(self, payload: bytes) -> None:
        self.desk.world.ponged(self.connection, payload, self.desk.now_ms)

    def taken(self) -> list[Any]:
        """Everything since the last time, and forget it."""
        taken, self.frames = self.frames, []
        return taken

    def close(self) -> None:
        self.desk.world.disconnect(self.connection)


class SpotTrader:
    """One Spot user."""

    def __init__(self, desk: Desk, user_id: str = "1", **balances: str) -> None:
        self.desk = desk
        asked = {"user_id": user_id, "venue": "spot"} | ({"balances": balances} if balances else {})
        credential = desk.control("POST", "accounts", asked)["credential"]
        self.key, self.secret = credential["api_key"], credential["secret"]
        self.account = desk.state.accounts.owner(f"spot/{user_id}")

    def sign(self, payload: str) -> str:
        return hmac.new(self.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()

    def signed(self, params: dict[str, Any]) -> str:
        query = urlencode({**params, "timestamp": self.desk.now_ms})
        return f"{query}&signature={self.sign(query)}"

    def send(self, method: str, path: str, **params: Any) -> Answer:
        sent, headers = self.signed(params), {"x-mbx-apikey": self.key}
        if method == "POST":
            return self.desk.ask(Request(method, f"/api/v3/{path}", "", headers, sent.encode(), "10.0.0.1"))
        return self.desk.ask(Request(method, f"/api/v3/{path}", sent, headers, b"", "10.0.0.1"))

    def call(self, method: str, path: str, **params: Any) -> Any:
        """The content of a 200."""
        answer = self.send(method, path, **params)
        assert isinstance(answer, Response)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def refused(self, method: str, path: str, **params: Any) -> tuple[int, int, str]:
        """HTTP status, code and text of a refusal."""
        answer = self.send(method, path, **params)
        assert isinstance(answer, Response)
        error = json.loads(answer.body)
        return answer.status, error["code"], error["msg"]

    def failed(self, method: str, path: str, **params: Any) -> tuple[Response, Any]:
        """A refusal with its headers and its whole body."""
        answer = self.send(method, path, **params)
        assert isinstance(answer, Response)
        assert answer.status != 200, answer.body
        return answer, json.loads(answer.body)

    def limit(self, side: str, price: str, quantity: str, **more: Any) -> Any:
        terms = {"symbol": BNB, "side": side, "type": "LIMIT", "timeInForce": "GTC"}
        return self.call("POST", "order", **terms, price=price, quantity=quantity, **more)

    def order(self, order_id: int, symbol: str = BNB) -> Any:
        return self.call("GET", "order", symbol=symbol, orderId=order_id)

    def asked(self, method: str, number: object = 1, **params: Any) -> dict[str, Any]:
        """A signed request frame of the WS API."""
        sent = {**params, "apiKey": self.key, "timestamp": self.desk.now_ms}
        payload = "&".join(f"{name}={sent[name]}" for name in sorted(sent))
        return {"id": number, "method": method, "params": {**sent, "signature": self.sign(payload)}}

    def ws(self, line: Line, method: str, number: object = 1, **params: Any) -> Any:
        """A signed WS API call's answer."""
        line.send(self.asked(method, number, **params))
        found = [f for f in line.frames if f != HUNG_UP and "event" not in f and f["id"] == number]
        return found[-1]

    def listen(self) -> Line:
        """A WS API socket with this user's data, and nothing said on it yet."""
        line = Line(self.desk, "/ws-api/v3")
        assert self.ws(line, "userDataStream.subscribe.signature")["status"] == 200
        line.taken()
        return line


def bnb_desk(
    *,
    spot: dict[str, Any] | None = None,
    house: dict[str, Any] | None = None,
    instrument: dict[str, Any] | None = None,
) -> Desk:
    """A desk with BNB at 800, with some settings replaced; `instrument` for every one of Spot's."""
    config = make_config(spot=spot, house=house)
    changed = [
        one.model_copy(update=instrument or {}) if one.venue == "spot" else one for one in config.instruments
    ]
    desk = Desk(config.model_copy(update={"instruments": tuple(changed)}))
    desk.pin("800", BNB)
    return desk


def public(desk: Desk, path: str, query: str = "") -> Any:
    answer = desk.ask(Request("GET", f"/api/v3/{path}", query))
    assert isinstance(answer, Response)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def oto(**more: Any) -> dict[str, Any]:
    """BUY 1 BNB at 700 (rests), then SELL 0.9 at 900."""
    return {
        "symbol": BNB,
        "workingType": "LIMIT",
        "workingSide": "BUY",
        "workingPrice": "700",
        "workingQuantity": "1",
        "workingTimeInForce": "GTC",
        "workingClientOrderId": "w-0001",
        "pendingType": "LIMIT",
        "pendingSide": "SELL",
        "pendingPrice": "900",
        "pendingQuantity": "0.9",
        "pendingTimeInForce": "GTC",
        "pendingClientOrderId": "p-0001",
        "listClientOrderId": "lst-0001",
        **more,
    }


def opo(**more: Any) -> dict[str, Any]:
    terms = oto(**more)
    del terms["pendingQuantity"]
    return terms
