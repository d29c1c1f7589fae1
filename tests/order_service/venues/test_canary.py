"""No secret in any log, error, repr or trace of either adapter (I14): over every call, whatever comes back.

The venue here is the worst there can be: it answers with all that it was sent, in every place where an
answer has text. The second net of otopilot.log is not in place: nothing may reach it.
"""

import asyncio
import json
import logging
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pytest
import structlog

from order_service.credentials import StoredCredential, Vault
from order_service.venues import reading
from order_service.venues.binance_alpha import AlphaVenue
from order_service.venues.binance_spot import SpotVenue
from order_service.venues.port import (
    RateLimited,
    Response,
    StreamNews,
    VenueError,
    VenueNotReached,
    VenueSilent,
)
from otopilot.instrument import Venue
from tests.order_service.venues import test_alpha_writes as alpha
from tests.order_service.venues import test_spot_writes as spot
from tests.order_service.venues.fakes import FakeClock, reply
from tests.order_service.venues.test_garbage import CALLS

API_KEY = "k3yCanary" + "A1b2C3d4" * 7
SECRET = "s3cretCanary" + "Z9y8X7w6" * 7
COOKIE = "c00kieCanary" + "Q1w2E3r4" * 7
CSRF = "5csrfCanary" + "0f1e2d3c" * 4
LISTEN_KEY = "l1stenCanary" + "M5n6B7v8" * 6
VAULT = Vault(bytes(32))
FIRST = {
    "exchangeInfo": lambda: reply(spot.exchange_info()),
    "time": lambda: reply({"serverTime": 1780315200000}),
    "get-exchange-info": lambda: reply(alpha.exchange_info()),
    "get-listen-key": lambda: reply({"code": "000000", "data": LISTEN_KEY}),
}


def keyed() -> StoredCredential:
    secret = json.dumps({"api_key": API_KEY, "secret": SECRET}).encode()
    return VAULT.open("1", Venue.SPOT, VAULT.seal("1", Venue.SPOT, "hmac", secret))


def session() -> StoredCredential:
    secret = json.dumps({"headers": {"cookie": f"p20t={COOKIE}", "csrftoken": CSRF}}).encode()
    return VAULT.open("1", Venue.ALPHA, VAULT.seal("1", Venue.ALPHA, "session", secret))


class Echo:
    """A Transport whose far side says back what it hears, under a status; or fails with it in its words."""

    def __init__(self, status: int, code: object, fails: type[VenueError] | None) -> None:
        self.status, self.code, self.fails = status, code, fails
        self.signatures: list[str] = []

    def _back(self, heard: str) -> Response:
        row = {"code": self.code, "msg": heard, "message": heard, "data": {"x": heard}, "status": heard}
        return Response(self.status, {"retry-after": "1"}, json.dumps(row).encode())

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_seconds: float,
        not_after: datetime | None = None,
    ) -> Response:
        name = url.split("?")[0].rsplit("/", 1)[1]
        heard = f"{method} {url} {dict(headers)} {body.decode()}"
        self.signatures += [
            part[10:] for part in f"{url}&{body.decode()}".split("&") if part.startswith("signature=")
        ]
        if name in FIRST:
            return FIRST[name]()
        if self.fails is not None:
            raise self.fails("connection", "it failed")
        return self._back(heard)

    async def connect(self, url: str) -> Any:
        return EchoSocket(self)

    def heard(self, used_weight: int | None, ban: RateLimited | None) -> None:
        return None

    async def aclose(self) -> None:
        return None


class EchoSocket:
    """Answers every frame with an error that quotes it."""

    def __init__(self, echo: Echo) -> None:
        self._echo = echo
        self._frames: asyncio.Queue[str | None] = asyncio.Queue()

    async def send(self, text: str) -> None:
        asked = json.loads(text)
        params = asked.get("params")
        if isinstance(params, dict) and "signature" in params:
            self._echo.signatures.append(params["signature"])
        error = {"code": self._echo.code, "msg": text}
        answer = {"id": asked["id"], "status": self._echo.status, "error": error, "result": {"x": text}}
        self._frames.put_nowait(json.dumps(answer))
        self._frames.put_nowait(text)
        self._frames.put_nowait(json.dumps({"stream": text, "data": {"e": "executionReport", "X": text}}))
        self._frames.put_nowait(
            json.dumps({"subscriptionId": 0, "event": {"e": "executionReport", "i": text}})
        )

    async def __aiter__(self) -> Any:
        while (frame := await self._frames.get()) is not None:
            yield frame

    async def close(self) -> None:
        self._frames.put_nowait(None)


class RealClock(FakeClock):
    """Stands still, but does sleep a little: retries are not endless."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.001)


SAID: list[tuple[int, object, type[VenueError] | None]] = [
    (200, 0, None),
    (200, "000000", None),
    (200, "100002001", None),
    (200, "481020", None),
    *((400, code, None) for code in (-1000, -1013, -1021, -1022, -1102, -2010, -2011, -2013, -2015, -9999)),
    (400, API_KEY, None),
    *((status, -1003, None) for status in (401, 403, 409, 418, 429, 500, 503)),
    (200, 0, VenueSilent),
    (200, 0, VenueNotReached),
]


@pytest.mark.parametrize("call", [*CALLS, None], ids=[*map(str, range(len(CALLS))), "stream"])
@pytest.mark.parametrize(("status", "code", "fails"), SAID)
async def test_no_secret_is_told_whatever_the_venue_says_back(
    call: Callable[[Any, Any], Any] | None,
    status: int,
    code: object,
    fails: type[VenueError] | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(reading, "_AGAIN", 1)
    monkeypatch.setattr(reading, "_FIRST_PAUSE", 0)
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    signatures: list[str] = []
    with structlog.testing.capture_logs() as logs:
        for venue, credential, order in benches(status, code, fails):
            account = venue.account("1", credential)
            told += await stream(account) if call is None else await failure(call(account, order))
            if call is not None and hasattr(venue, "pool"):
                venue.pool.start()  # Spot's calls over a socket, too
                await asyncio.sleep(0.005)
                told += await failure(call(account, order))
            told += [repr(one) for one in (account, venue, credential, vars(account))]
            told += [repr(task) for task in asyncio.all_tasks()]
            signatures += venue._transport.signatures
            await venue.aclose()
    for entry in logs:
        error = entry.pop("exc_info", None)
        assert error is None or isinstance(error, BaseException)
        told += [
            repr(entry),
            "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else "",
        ]
    told += [caplog.text, *capfd.readouterr()]
    for secret in (API_KEY, SECRET, COOKIE, CSRF, LISTEN_KEY, *signatures):
        assert not any(secret in text for text in told), [text for text in told if secret in text][:1]


def benches(status: int, code: object, fails: type[VenueError] | None) -> list[tuple[Any, Any, Any]]:
    """Each adapter behind such a venue, with its credential and an order."""
    far = Echo(status, code, fails)
    near = Echo(status, code, fails)
    first = AlphaVenue(
        far, RealClock(), rest_url="https://alpha", stream_url="wss://alpha", world_url="https://alpha/world"
    )
    second = SpotVenue(
        near, RealClock(), rest_url="https://spot", ws_api_url="wss://spot", order_connections=1
    )
    return [(first, session(), alpha.oto_with_ids()), (second, keyed(), spot.with_ids())]


async def failure(call: Any) -> list[str]:
    """All that an error of the call says, its causes included."""
    try:
        await call
    except VenueError as error:
        return ["".join(traceback.format_exception(error)), repr(error), str(vars(error))]
    return []


async def stream(account: Any) -> list[str]:
    """What a stream's reader is told in its first moments."""
    news: list[StreamNews] = []
    task = asyncio.create_task(account.run_stream(news.append))
    await asyncio.sleep(0.03)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return [repr(one) for one in news] + [repr(task)]


async def test_the_venue_did_hear_the_secrets_so_that_the_test_can_fail() -> None:
    echo = Echo(200, 0, None)
    answer = await echo.request("GET", "https://x/y", headers={"cookie": COOKIE}, timeout_seconds=1)
    assert COOKIE.encode() in answer.body
