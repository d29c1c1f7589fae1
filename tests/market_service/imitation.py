"""A small imitation of both venues' public sides that a test can silence, break and cut.

Real HTTP and WebSocket on a free port; payload shapes are those of the fixtures.
"""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

FIXTURES = Path(__file__).parents[1] / "fixtures"
KOGE = "ALPHA_22USDT"


def fixture(name: str) -> bytes:
    """A recorded payload, as bytes."""
    return (FIXTURES / name).read_bytes()


def now_ms() -> int:
    """Venue time."""
    return time.time_ns() // 1_000_000


class Imitation:
    """Both venues on one port; every knob is an attribute."""

    def __init__(self) -> None:
        self.url = ""
        self.trades: dict[str, list[dict[str, Any]]] = {}
        self.muted = False  # sockets stay open and answer pings, but bring nothing
        self.mute: set[str] = set()  # symbols that sockets bring nothing of
        self.status = 200  # what REST answers
        self.headers: dict[str, str] = {}
        self.body: bytes | None = None  # instead of the right answer
        self.asked: Counter[str] = Counter()
        self.connects = 0
        self.subscribed: dict[web.WebSocketResponse, set[str]] = {}

    async def trade(self, symbol: str, price: str, **other: Any) -> None:
        """A trade happens: it is in the REST answers, and in the stream unless that is muted."""
        rows = self.trades.setdefault(symbol, [])
        row = {"a": len(rows) + 1, "p": price, "q": "1", "f": 1, "l": 1, "T": now_ms(), "m": False} | other
        rows.append(row)
        if not self.muted and symbol not in self.mute:
            await self.say(symbol, {"e": "aggTrade", "E": now_ms(), "s": symbol, **row})

    async def say(self, symbol: str, data: object) -> None:
        """Push any payload to whoever follows the symbol."""
        stream = f"{symbol.lower()}@aggTrade"
        for socket, names in list(self.subscribed.items()):
            if stream in names:
                await socket.send_str(json.dumps({"stream": stream, "data": data}))

    async def say_raw(self, text: str) -> None:
        """Push any text to every socket."""
        for socket in list(self.subscribed):
            await socket.send_str(text)

    async def cut(self) -> None:
        """Close every socket."""
        for socket in list(self.subscribed):
            await socket.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Imitation"]:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await self.cut()
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.path in ("/w3w/wsa/stream", "/stream"):
            return await self._stream(request)
        name = request.path.rsplit("/", 1)[-1]
        self.asked[name] += 1
        if self.status != 200:
            return web.Response(status=self.status, headers=self.headers, text='{"code":-1,"msg":"no"}')
        body = self._answer(name, dict(request.query)) if self.body is None else self.body
        return web.Response(body=body, content_type="application/json")

    def _answer(self, name: str, query: dict[str, str]) -> bytes:
        symbol = query.get("symbol", "")
        rows = self.trades.get(symbol, [])[-int(query.get("limit", "500")) :]
        match name:
            case "list":
                return fixture("alpha/public_token_list.json")
            case "get-exchange-info":
                return fixture("alpha/public_exchange_info_2025-10.json")
            case "get-fee-rate":
                return fixture("alpha/public_fee_rate.json")
            case "agg-trades":
                return json.dumps({"code": "000000", "message": None, "data": rows}).encode()
            case "exchangeInfo":
                return fixture("spot/composed_rest_exchange_info_one_symbol.json")
            case "aggTrades":
                return json.dumps(rows).encode()
            case "price":
                names = json.loads(query["symbols"]) if "symbols" in query else [symbol]
                prices = [{"symbol": n, "price": self.trades[n][-1]["p"]} for n in names if n in self.trades]
                return json.dumps(prices if "symbols" in query else prices[0]).encode()
        raise web.HTTPNotFound

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connects += 1
        names = self.subscribed[socket] = set()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    asked = json.loads(message.data)
                    names.update(asked["params"])
                    await socket.send_str(json.dumps({"result": None, "id": asked["id"]}))
        finally:
            del self.subscribed[socket]
        return socket
