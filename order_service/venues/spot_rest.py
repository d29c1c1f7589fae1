"""Spot's REST calls: the venue's clock, signing, sending, classifying.

Parameters are percent-encoded first and signed as sent (binance-spot 1.4). Timestamps are local
time plus the measured offset; the venue refuses any that are older than recvWindow.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from order_service.venues import spot_parse as spot
from order_service.venues.fields import Unreadable
from order_service.venues.port import (
    Credential,
    Transport,
    VenueNotReached,
    VenueRefused,
    VenueSilent,
)
from order_service.venues.reading import READ_SECONDS, before_sending, repeat
from order_service.venues.spot_answers import answer_of
from otopilot.clock import Clock, to_ms

T = TypeVar("T")

SEND_SECONDS = 12.0  # the venue itself gives up after 10
OFFSET_SECONDS = 60.0
_OFFSET_SAMPLES = 5
MOST_UNCERTAIN_MS = 250  # beyond it nothing is signed


class ServerClock:
    """How far the venue's clock is ahead of ours, from the quickest of five answers."""

    def __init__(self, clock: Clock, read_ms: Callable[[], Any]) -> None:
        self._clock = clock
        self._read_ms = read_ms
        self._offset_ms: int | None = None
        self._uncertain_ms = 0
        self._good_until = 0.0
        self._origin_ms = 0.0  # of local time against the monotonic clock, when it was measured
        self._lock = asyncio.Lock()

    def distrust(self) -> None:
        """The venue refused a timestamp: measure again before the next one."""
        self._offset_ms = None

    async def watch(self, call: Awaitable[T]) -> T:
        """The call's answer; one that refuses a timestamp makes the clock be measured anew."""
        try:
            return await call
        except VenueRefused as error:
            if error.code == "clock":
                self.distrust()
            raise

    async def offset_ms(self, *, any_age: bool = False) -> int:
        """The offset in ms, measured within the last minute; `any_age` takes a trusted older one at once."""
        if any_age and self._offset_ms is not None and not self._stepped():
            return self._offset_ms
        async with self._lock:
            stepped = self._stepped()
            if self._offset_ms is None or stepped or self._clock.monotonic() >= self._good_until:
                self._offset_ms = await self._measure(None if stepped else self._offset_ms)
                self._good_until = self._clock.monotonic() + OFFSET_SECONDS
                self._origin_ms = self._local_origin_ms()
            return self._offset_ms

    async def check(self) -> None:
        """VenueNotReached while the offset is not known to 250 ms: nothing is signed (reliability 8)."""
        await self.offset_ms(any_age=True)
        if self._uncertain_ms > MOST_UNCERTAIN_MS:
            self.distrust()
            text = f"the venue's time is known to {self._uncertain_ms} ms only, not to {MOST_UNCERTAIN_MS}"
            raise VenueNotReached("clock", text)

    def _stepped(self) -> bool:
        """Was local time set since the offset was measured, or the machine suspended?"""
        return self._offset_ms is not None and (
            abs(self._local_origin_ms() - self._origin_ms) > MOST_UNCERTAIN_MS
        )

    def _local_origin_ms(self) -> float:
        return to_ms(self._clock.now()) - self._clock.monotonic() * 1000

    async def _measure(self, last: int | None) -> int:
        best: tuple[float, int] | None = None
        for _ in range(_OFFSET_SAMPLES):
            before, started = self._clock.now(), self._clock.monotonic()
            try:
                server_ms: int = await self._read_ms()
            except (VenueNotReached, VenueSilent):
                continue
            took = self._clock.monotonic() - started
            middle_ms = to_ms(before) + int(took * 500)
            if best is None or took < best[0]:
                best = (took, server_ms - middle_ms)
        if best is not None:
            self._uncertain_ms = int(best[0] * 500)
            return best[1]
        if last is not None:
            return last
        raise VenueNotReached("clock", "the venue's time could not be read")


class SpotRest:
    """One venue's REST side, shared by its accounts."""

    def __init__(self, transport: Transport, clock: Clock, rest_url: str, recv_window_ms: int) -> None:
        self._transport = transport
        self._clock = clock
        self._url = rest_url.rstrip("/")
        self._recv_window_ms = recv_window_ms
        self.server_clock = ServerClock(clock, self._read_time)

    async def get(self, path: str, params: Mapping[str, str], parse: Callable[[Any], T]) -> T:
        """A public read, repeated when it fails without a refusal."""
        target = f"{path}{'?' if params else ''}{encode(params)}"
        return await repeat(lambda: self._exchange("GET", target, {}, b"", parse, READ_SECONDS))

    async def signed_get(
        self, credential: Credential, path: str, params: Mapping[str, str], parse: Callable[[Any], T]
    ) -> T:
        """A read of an account; signed anew for every try."""

        async def once() -> T:
            at_ms = to_ms(self._clock.now()) + await self.server_clock.offset_ms()
            query = self._signed(credential, params, at_ms)
            headers = credential.headers()
            read = self._exchange("GET", f"{path}?{query}", headers, b"", parse, READ_SECONDS)
            return await self.server_clock.watch(read)

        return await repeat(once)

    async def send(
        self,
        credential: Credential,
        method: str,
        path: str,
        params: Mapping[str, str],
        parse: Callable[[Any], T],
        *,
        at: datetime,
        not_after: datetime | None = None,
        heard: Callable[[Mapping[str, str]], None] | None = None,
    ) -> T:
        """A placement or a cancel, signed with the time `at`, sent once; `heard`: the answer's headers."""
        offset_ms = await before_sending(self.server_clock.offset_ms(any_age=True))
        signed = self._signed(credential, params, to_ms(at) + offset_ms)
        headers, body = dict(credential.headers()), b""
        if method == "POST":
            headers["content-type"] = "application/x-www-form-urlencoded"
            body = signed.encode()
        else:
            path = f"{path}?{signed}"
        return await self.server_clock.watch(
            self._exchange(method, path, headers, body, parse, SEND_SECONDS, not_after, heard)
        )

    async def ws_params(
        self, credential: Credential, params: Mapping[str, str], at: datetime | None = None
    ) -> dict[str, str]:
        """Parameters of a WS API call, signed with the time `at`, or now: sorted, raw (binance-spot 1.4)."""
        offset_ms = await self.server_clock.offset_ms(any_age=True)
        params = {
            **params,
            "apiKey": credential.api_key(),
            "recvWindow": str(self._recv_window_ms),
            "timestamp": str(to_ms(at or self._clock.now()) + offset_ms),
        }
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        return params | {"signature": credential.sign(payload.encode())}

    def _signed(self, credential: Credential, params: Mapping[str, str], at_ms: int) -> str:
        timing = {"recvWindow": str(self._recv_window_ms), "timestamp": str(at_ms)}
        query = encode({**params, **timing})
        return f"{query}&signature={quote(credential.sign(query.encode()), safe='')}"

    async def _read_time(self) -> int:
        return await self._exchange("GET", "/api/v3/time", {}, b"", spot.server_time_ms, READ_SECONDS)

    async def _exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        parse: Callable[[Any], T],
        seconds: float,
        not_after: datetime | None = None,
        heard: Callable[[Mapping[str, str]], None] | None = None,
    ) -> T:
        response = await self._transport.request(
            method,
            self._url + target,
            headers=headers,
            body=body,
            timeout_seconds=seconds,
            not_after=not_after,
        )
        if heard is not None:
            heard(response.headers)
        try:
            return parse(answer_of(response, self._clock.now()))
        except Unreadable as error:
            raise VenueSilent("unreadable", str(error)) from error


def encode(params: Mapping[str, str]) -> str:
    """Parameters as they are sent and signed: percent-encoded, in their order."""
    return urlencode(params, quote_via=quote, safe="")
