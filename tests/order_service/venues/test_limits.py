"""What the venues' answers say about limits, and how well Spot's time must be known."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from order_service.venues import limits
from order_service.venues.fields import decode
from order_service.venues.port import Account, RateLimited, Response, VenueNotReached
from order_service.venues.spot_answers import order_counts
from order_service.venues.spot_rest import MOST_UNCERTAIN_MS, ServerClock
from otopilot.clock import to_ms
from tests.order_service.venues.fakes import NOW, FakeClock, fixture


def answer(status: int, body: bytes = b"{}", **headers: str) -> Response:
    return Response(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=body)


@pytest.mark.parametrize("known", [limits.spot(), limits.alpha(8)], ids=["spot", "alpha"])
@pytest.mark.parametrize("status", [403, 418, 429])
def test_a_refusal_at_the_door_is_a_ban_until_the_venues_time(known: Any, status: int) -> None:
    found = known.ban(answer(status, retry_after="35"), NOW)
    assert isinstance(found, RateLimited)
    assert found.until == NOW + timedelta(seconds=35)
    ours = {403: 300, 418: 120, 429: 60}[status]
    assert known.ban(answer(status), NOW).until == NOW + timedelta(seconds=ours)


@pytest.mark.parametrize("known", [limits.spot(), limits.alpha(8)], ids=["spot", "alpha"])
@pytest.mark.parametrize("status", [200, 400, 500, 503])
def test_other_answers_ban_nobody(known: Any, status: int) -> None:
    assert known.ban(answer(status), NOW) is None


def test_the_weight_used_is_read_where_it_is_a_number() -> None:
    assert limits.spot().used_weight(answer(200, x_mbx_used_weight_1m="57")) == 57
    for odd in ("", "-1", "1e3", "٣", "9" * 40):
        assert limits.spot().used_weight(answer(200, x_mbx_used_weight_1m=odd)) is None


def test_the_order_counts_are_read_by_their_windows() -> None:
    headers = {"x-mbx-order-count-10s": "3", "x-mbx-order-count-1d": "40", "x-mbx-order-count-x": "1"}
    assert order_counts(headers) == {10: 3, 86_400: 40}
    assert order_counts({"x-mbx-order-count-10s": "many"}) == {}


def test_spots_limits_are_those_of_its_exchange_info() -> None:
    info = decode(json.dumps(fixture("spot/composed_rest_exchange_info_one_symbol")).encode())
    assert limits.told_by_spot(info) == limits.spot()
    for row, count in zip(info["rateLimits"], ("3000", "7", "99", "1000"), strict=True):
        row["limit"] = count
    info["rateLimits"].append(
        {"rateLimitType": "CONNECTIONS", "interval": "MINUTE", "intervalNum": "5", "limit": "300"}
    )
    told = limits.told_by_spot(info)
    assert told is not None
    assert (told.weight, told.requests) == ((2400, 60.0), (1000, 300.0))  # market_service has 600 of its own
    assert told.orders == ((7, 10.0), (99, 86_400.0))
    assert told.weights == limits.spot().weights


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"rateLimits": "none"},
        {"rateLimits": [{"rateLimitType": "ORDERS", "interval": "EON", "intervalNum": "1", "limit": "5"}]},
        {"rateLimits": [{"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": "1", "limit": "0"}]},
        {"rateLimits": [{"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": "1", "limit": "-5"}]},
    ],
)
def test_limits_that_cannot_be_read_change_nothing(odd: Any) -> None:
    assert limits.told_by_spot(odd) is None


def test_every_call_of_the_port_has_a_weight_on_spot() -> None:
    calls = {name for name in vars(Account) if not name.startswith("_")} - {"run_stream"}
    assert set(limits.spot().weights) == calls


class Timed:
    """A clock whose venue answers after so many seconds, with a wall clock that can be set."""

    def __init__(self, took: list[float]) -> None:
        self.clock = FakeClock()
        self.took = took
        self.asked = 0
        self.set_by = timedelta()
        self.server = ServerClock(self, self.read)

    def now(self) -> datetime:
        return self.clock.now() + self.set_by

    def monotonic(self) -> float:
        return self.clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def new_id(self) -> str:
        return ""

    def uniform(self, low: float, high: float) -> float:
        return low

    async def read(self) -> int:
        self.asked += 1
        await self.clock.sleep(self.took.pop(0) if len(self.took) > 1 else self.took[0])
        return to_ms(self.clock.now())


async def test_nothing_is_signed_while_the_venues_time_is_not_known_to_a_quarter_second() -> None:
    """Reliability 8: half of the quickest of five answers is the uncertainty."""
    timed = Timed([2 * MOST_UNCERTAIN_MS / 1000 + 0.01])
    with pytest.raises(VenueNotReached, match="clock"):
        await timed.server.check()
    timed.took = [3.0, 0.2, 3.0]
    await timed.server.check()  # measured anew at once
    asked = timed.asked
    await timed.server.check()
    assert timed.asked == asked


async def test_a_local_clock_that_was_set_is_measured_anew_before_the_next_signature() -> None:
    timed = Timed([0.01])
    await timed.server.check()
    asked, timed.set_by = timed.asked, timedelta(seconds=3)
    assert await timed.server.offset_ms(any_age=True) == pytest.approx(-3000, abs=10)
    assert timed.asked == asked + 5
