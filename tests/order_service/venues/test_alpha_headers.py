"""What of a stored session really leaves, over a real socket: each header once, however it was spelled."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from order_service.credentials import Vault
from order_service.venues.binance_alpha import AlphaVenue
from order_service.venues.transport import HttpTransport
from otopilot.clock import SystemClock
from otopilot.instrument import Venue
from otopilot.order import LegRole
from tests.order_service.venues.fakes import fixture
from tests.order_service.venues.test_alpha_writes import OTO, exchange_info, oto_with_ids

CLOCK = SystemClock()
Sent = tuple[str, list[tuple[str, str]]]


@asynccontextmanager
async def recording() -> AsyncIterator[tuple[str, int, list[Sent]]]:
    """A server that keeps every header as it came: (method and path, names and values)."""
    sent: list[Sent] = []

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        raw = [(name.decode(), value.decode()) for name, value in request.raw_headers]
        sent.append((f"{request.method} {request.path.rsplit('/', 1)[-1]}", raw))
        data: object = []
        if request.path.endswith("get-exchange-info"):
            data = exchange_info()["data"]
        elif request.path.endswith("oto-order/place"):
            data = fixture("alpha/private_oto_place")["response"]["data"]
        elif request.path.endswith("cloud-wallet/alpha"):
            data = {"list": []}
        return web.json_response({"code": "000000", "message": None, "data": data, "success": True})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}", port, sent
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("spelled", ["Content-Type", "content-type", "CONTENT-TYPE", " Content-type "])
async def test_a_stored_content_type_leaves_once_with_every_request_3_1(spelled: str) -> None:
    headers = {"Cookie": "p20t=x", "csrfToken": "y", "ClientType": "web", "Host": "elsewhere"}
    secret = {"headers": headers | {spelled: "application/json;charset=UTF-8"}}
    vault = Vault(bytes(32))
    sealed = vault.seal("1", Venue.ALPHA, "session", json.dumps(secret).encode())
    async with recording() as (url, port, sent):
        transport = HttpTransport(CLOCK, origins=frozenset({("127.0.0.1", port)}), tls_only=False)
        venue = AlphaVenue(transport, CLOCK, rest_url=url, stream_url="ws://nowhere")
        account = venue.account("1", vault.open("1", Venue.ALPHA, sealed))
        try:
            order = oto_with_ids()
            await account.place(msgspec.structs.replace(OTO, submitted_at=CLOCK.now()))
            await account.cancel(order, LegRole.WORKING)
            await account.open_orders(order.symbol)
            await account.balances()
        finally:
            await transport.aclose()
    private = {what: told for what, told in sent if any(n.lower() == "cookie" for n, _ in told)}
    assert {"POST place", "POST cancel", "GET get-open-order"} <= private.keys()
    for what, told in private.items():
        names = [name.lower() for name, _ in told]
        assert sorted(set(names)) == sorted(names), what
        values = {name.lower(): value for name, value in told}
        assert values["content-type"].startswith("application/json"), what
        assert values["host"] == f"127.0.0.1:{port}", "a stored host is not believed"
