"""Spot over real sockets, with clients that share nothing with it: http.client and websockets."""

import asyncio
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.contract.paper import Paper, running
from tests.paper_exchange.spot_desk import BNB, oto


class User:
    """One user with an HMAC key, as a script would write one."""

    def __init__(self, paper: Paper, credential: dict[str, str]) -> None:
        self._host = urlsplit(paper.url).netloc
        self._key, self._secret = credential["api_key"], credential["secret"].encode()

    def _sign(self, payload: str) -> str:
        return hmac.new(self._secret, payload.encode(), hashlib.sha256).hexdigest()

    def _call(self, method: str, path: str, params: dict[str, Any]) -> tuple[Any, dict[str, str]]:
        query = urlencode({**params, "timestamp": int(time.time() * 1000)})
        query += f"&signature={self._sign(query)}"
        connection = http.client.HTTPConnection(self._host, timeout=5)
        connection.request(method, f"/api/v3/{path}?{query}", headers={"X-MBX-APIKEY": self._key})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        return body, {name.lower(): value for name, value in answer.getheaders()}

    async def call(self, method: str, path: str, **params: Any) -> tuple[Any, dict[str, str]]:
        return await asyncio.to_thread(self._call, method, path, params)

    def frame(self, number: object, method: str, **params: Any) -> str:
        sent = {**params, "apiKey": self._key, "timestamp": int(time.time() * 1000)}
        payload = "&".join(f"{name}={sent[name]}" for name in sorted(sent))
        return json.dumps(
            {"id": number, "method": method, "params": {**sent, "signature": self._sign(payload)}}
        )


@pytest.fixture
async def paper() -> AsyncIterator[Paper]:
    async with running() as opened:
        await opened.pin(BNB, "800")
        yield opened


@pytest.fixture
async def user(paper: Paper) -> User:
    made = await paper.control("POST", "accounts", {"user_id": "1", "venue": "spot"})
    return User(paper, made["credential"])


def ws(paper: Paper, path: str) -> connect:
    return connect(paper.url.replace("http", "ws") + path)


async def heard(socket: ClientConnection, count: int) -> list[Any]:
    async with asyncio.timeout(5):
        return [json.loads(await socket.recv()) for _ in range(count)]


async def test_an_oto_from_placement_to_its_end_by_rest_and_user_data(paper: Paper, user: User) -> None:
    async with ws(paper, "/ws-api/v3") as socket:
        await socket.send(user.frame("s", "userDataStream.subscribe.signature"))
        (answer,) = await heard(socket, 1)
        assert (answer["id"], answer["result"]) == ("s", {"subscriptionId": 0})
        placed, headers = await user.call("POST", "orderList/oto", **oto(workingPrice="801"))
        assert [report["status"] for report in placed["orderReports"]] == ["FILLED", "PENDING_NEW"]
        assert headers["content-type"] == "application/json;charset=UTF-8"
        assert {"x-mbx-used-weight-1m", "x-mbx-order-count-10s", "x-mbx-order-count-1d"} <= headers.keys()
        events = [frame["event"] for frame in await heard(socket, 6)]
        assert [(event["e"], event.get("X")) for event in events] == [
            ("listStatus", None),
            ("executionReport", "NEW"),
            ("executionReport", "PENDING_NEW"),
            ("executionReport", "FILLED"),
            ("executionReport", "NEW"),
            ("outboundAccountPosition", None),
        ]
        pending = placed["orders"][1]["orderId"]
        cancelled, _ = await user.call("DELETE", "order", symbol=BNB, orderId=pending)
        assert cancelled["listOrderStatus"] == "ALL_DONE"
        events = [frame["event"] for frame in await heard(socket, 3)]
        assert [event["e"] for event in events] == [
            "executionReport",
            "listStatus",
            "outboundAccountPosition",
        ]


async def test_orders_over_the_ws_api_and_events_on_the_same_socket(paper: Paper, user: User) -> None:
    async with ws(paper, "/ws-api/v3") as socket:
        await socket.send(user.frame(1, "userDataStream.subscribe.signature"))
        await heard(socket, 1)
        terms = {"symbol": BNB, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "700"}
        await socket.send(user.frame(2, "order.place", **terms, quantity="1"))
        frames = await heard(socket, 3)
        (answer,) = [frame for frame in frames if frame.get("id") == 2]
        assert answer["result"]["status"] == "NEW"
        assert {frame["event"]["e"] for frame in frames if "event" in frame} == {
            "executionReport",
            "outboundAccountPosition",
        }


async def test_market_streams_subscribed_by_path_and_by_frame(paper: Paper) -> None:
    async with ws(paper, "/ws/bnbusdt@aggTrade") as socket:
        (trade,) = await heard(socket, 1)
        assert (trade["e"], trade["s"]) == ("aggTrade", BNB)
    async with ws(paper, "/stream") as socket:
        asked = {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}
        await socket.send(json.dumps(asked))
        answer, trade = await heard(socket, 2)
        assert answer == {"result": None, "id": 1}
        assert (trade["stream"], trade["data"]["e"]) == ("btcusdt@trade", "trade")


async def test_who_talks_too_much_is_disconnected(paper: Paper) -> None:
    async with ws(paper, "/ws") as socket:
        for number in range(6):
            await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        with pytest.raises(ConnectionClosed):
            await heard(socket, 7)


async def test_a_lost_answer_closes_the_ws_api_and_the_order_lives(paper: Paper, user: User) -> None:
    fault = {"kind": "drop_response", "venue": "spot", "endpoint": "place*", "count": 1}
    await paper.control("POST", "faults", fault)
    async with ws(paper, "/ws-api/v3") as socket:
        await socket.send(user.frame(1, "orderList.place.oto", **oto()))
        with pytest.raises(ConnectionClosed):
            await heard(socket, 1)
    found, _ = await user.call("GET", "openOrders", symbol=BNB)
    assert [order["status"] for order in found] == ["NEW", "PENDING_NEW"]


async def test_a_client_that_pings_is_answered_with_its_own_payload(paper: Paper) -> None:
    async with ws(paper, "/ws-api/v3") as socket, asyncio.timeout(20):
        await (await socket.ping(b"mine"))
        await socket.pong(b"nobody asked")
        await socket.send(json.dumps({"id": 1, "method": "ping"}))
        assert json.loads(await socket.recv())["result"] == {}
