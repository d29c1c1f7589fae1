"""The transport against a real server: what left, what did not, and that nothing goes twice."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from aiohttp import web

from order_service.venues.port import RateLimited, VenueNotReached, VenueSilent
from order_service.venues.transport import HttpTransport
from otopilot.clock import SystemClock

CLOCK = SystemClock()
SECRET = "xHIDDENx"


class Server:
    """Counts what arrives; `/drop` reads the request and hangs up."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.cookies: list[str] = []
        self.origin = ("127.0.0.1", 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.origin[1]}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.arrived.append(f"{request.method} {request.rel_url.raw_path_qs}")
        self.cookies.append(request.headers.get("cookie", ""))
        match request.path:
            case "/drop":
                assert request.transport is not None
                request.transport.abort()
            case "/slow":
                await asyncio.sleep(5)
            case "/redirect":
                raise web.HTTPFound("/elsewhere")
            case "/big":
                return web.Response(body=b"x" * 5000)
            case "/badzip":
                return web.Response(body=b"not gzip", headers={"content-encoding": "gzip"})
            case "/busy":
                return web.Response(status=429, headers={"Retry-After": "7"})
            case "/403" | "/418" | "/429":
                return web.Response(status=int(request.path[1:]))
            case "/cookie":
                return web.Response(headers={"set-cookie": "session=other; Path=/"})
        return web.Response(text="ok", headers={"Retry-After": "7"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    serving = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serving.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    serving.origin = ("127.0.0.1", runner.addresses[0][1])
    yield serving
    await runner.cleanup()


@pytest.fixture
async def transport(server: Server) -> AsyncIterator[HttpTransport]:
    opened = HttpTransport(CLOCK, origins=frozenset({server.origin}), tls_only=False, max_body_bytes=4096)
    yield opened
    await opened.aclose()


async def test_an_answer_comes_back_whole(server: Server, transport: HttpTransport) -> None:
    response = await transport.request("GET", server.url + "/x", headers={}, timeout_seconds=5)
    assert (response.status, response.body, response.headers["retry-after"]) == (200, b"ok", "7")


async def test_the_signed_query_leaves_byte_for_byte(server: Server, transport: HttpTransport) -> None:
    query = "/x?a=%2Fb%2B%3D&n=%EF%BC%91&t=~_-."
    await transport.request("DELETE", server.url + query, headers={}, timeout_seconds=5)
    assert server.arrived == [f"DELETE {query}"]


@pytest.mark.parametrize("method", ["POST", "DELETE", "GET"])
@pytest.mark.parametrize("warm", [False, True])
async def test_a_lost_answer_is_silent_and_sent_once(
    server: Server, transport: HttpTransport, method: str, warm: bool
) -> None:
    if warm:  # a connection that is kept alive tempts libraries to repeat
        await transport.request("GET", server.url + "/x", headers={}, timeout_seconds=5)
    with pytest.raises(VenueSilent):
        await transport.request(method, server.url + "/drop", headers={}, body=b"b", timeout_seconds=5)
    assert server.arrived.count(f"{method} /drop") == 1


async def test_no_answer_in_time_is_silent(server: Server, transport: HttpTransport) -> None:
    with pytest.raises(VenueSilent, match="timeout"):
        await transport.request("POST", server.url + "/slow", headers={}, body=b"b", timeout_seconds=0.2)


async def test_a_refused_connection_is_not_reached() -> None:
    transport = HttpTransport(CLOCK, origins=frozenset({("127.0.0.1", 1)}), tls_only=False)
    with pytest.raises(VenueNotReached):
        await transport.request("POST", "http://127.0.0.1:1/x", headers={}, body=b"b", timeout_seconds=5)
    with pytest.raises(VenueNotReached):
        await transport.connect("ws://127.0.0.1:1/x")
    await transport.aclose()


async def test_after_the_end_nothing_leaves_and_nothing_is_opened_again(
    server: Server, transport: HttpTransport
) -> None:
    await transport.request("GET", server.url + "/x", headers={}, timeout_seconds=5)
    await transport.aclose()
    with pytest.raises(VenueNotReached, match="ending"):
        await transport.request("POST", server.url + "/x", headers={}, body=b"b", timeout_seconds=5)
    with pytest.raises(VenueNotReached, match="ending"):
        await transport.connect(server.url.replace("http", "ws") + "/x")
    assert server.arrived == ["GET /x"]


@pytest.mark.parametrize("warm", [False, True])
async def test_a_request_that_is_too_old_never_arrives(
    server: Server, transport: HttpTransport, warm: bool
) -> None:
    if warm:
        await transport.request("GET", server.url + "/x", headers={}, timeout_seconds=5)
    with pytest.raises(VenueNotReached, match="too_late"):
        await transport.request(
            "POST",
            server.url + "/order",
            headers={},
            body=b"b",
            timeout_seconds=5,
            not_after=CLOCK.now() - timedelta(milliseconds=1),
        )
    await asyncio.sleep(0.05)
    assert "POST /order" not in server.arrived


async def test_a_request_in_time_arrives(server: Server, transport: HttpTransport) -> None:
    until = CLOCK.now() + timedelta(seconds=5)
    await transport.request(
        "POST", server.url + "/order", headers={}, body=b"b", timeout_seconds=5, not_after=until
    )
    assert server.arrived == ["POST /order"]


async def test_a_redirect_is_an_answer_and_is_not_followed(server: Server, transport: HttpTransport) -> None:
    response = await transport.request("GET", server.url + "/redirect", headers={}, timeout_seconds=5)
    assert response.status == 302
    with pytest.raises(VenueNotReached):
        await transport.connect(server.url.replace("http", "ws") + "/redirect")
    assert server.arrived == ["GET /redirect", "GET /redirect"]


async def test_a_socket_turned_away_at_the_door_tells_until_when(
    server: Server, transport: HttpTransport
) -> None:
    before = CLOCK.now()
    with pytest.raises(RateLimited) as refused:
        await transport.connect(server.url.replace("http", "ws") + "/busy")
    assert 6 < (refused.value.until - before).total_seconds() < 60
    with pytest.raises(VenueNotReached):
        await transport.connect(server.url.replace("http", "ws") + "/other")


@pytest.mark.parametrize("path", ["/big", "/badzip"])
async def test_an_answer_too_large_or_undecodable_is_silent(
    server: Server, transport: HttpTransport, path: str
) -> None:
    with pytest.raises(VenueSilent):
        await transport.request("POST", server.url + path, headers={}, body=b"b", timeout_seconds=5)


async def test_no_cookie_of_one_user_goes_with_another(server: Server, transport: HttpTransport) -> None:
    await transport.request("GET", server.url + "/cookie", headers={"cookie": "a=1"}, timeout_seconds=5)
    await transport.request("GET", server.url + "/x", headers={"cookie": "b=2"}, timeout_seconds=5)
    assert server.cookies == ["a=1", "b=2"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{other}/",
        "http://localhost:{port}/",
        "http://127.0.0.1:{port}@evil.example/",
        "http://evil.example/",
    ],
)
async def test_only_allowed_hosts_are_reached(server: Server, transport: HttpTransport, url: str) -> None:
    port = server.origin[1]
    with pytest.raises(VenueNotReached, match="host_not_allowed"):
        await transport.request("GET", url.format(port=port, other=port + 1), headers={}, timeout_seconds=5)
    assert server.arrived == []


@pytest.mark.parametrize(("status", "seconds"), [(429, 60), (418, 120), (403, 300)])
async def test_a_socket_refused_at_the_door_without_a_time_is_shut_out_as_long_as_its_kind_lasts(
    server: Server, transport: HttpTransport, status: int, seconds: int
) -> None:
    before = CLOCK.now()
    with pytest.raises(RateLimited) as refused:
        await transport.connect(f"{server.url.replace('http', 'ws')}/{status}")
    assert (
        before + timedelta(seconds=seconds) <= refused.value.until <= CLOCK.now() + timedelta(seconds=seconds)
    )


async def test_live_hosts_are_reached_by_tls_only() -> None:
    transport = HttpTransport(CLOCK, origins=frozenset({("api.binance.com", 443)}), tls_only=True)
    with pytest.raises(VenueNotReached, match="host_not_allowed"):
        await transport.request("GET", "http://api.binance.com:443/", headers={}, timeout_seconds=1)
    with pytest.raises(VenueNotReached, match="host_not_allowed"):
        await transport.connect("ws://api.binance.com:443/")


Call = Callable[[HttpTransport, str], Awaitable[object]]


@pytest.mark.parametrize(
    "call",
    [
        lambda t, url: t.request(
            "POST", f"{url}/drop?s={SECRET}", headers={"cookie": SECRET}, timeout_seconds=5
        ),
        lambda t, url: t.request(
            "GET", f"{url}/x", headers={"cookie": f"{SECRET}\r\nx: y"}, timeout_seconds=5
        ),
        lambda t, url: t.request("GET", f"http://{SECRET}:x/", headers={}, timeout_seconds=5),
    ],
)
async def test_a_failure_quotes_nothing_of_the_request(
    server: Server, transport: HttpTransport, call: Call
) -> None:
    with pytest.raises((VenueNotReached, VenueSilent)) as caught:
        await call(transport, server.url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
