"""The request budget holds in every minute, and the breaker keeps quiet as long as it was told."""

from collections import deque

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_service.venues import binance_alpha, binance_spot
from market_service.venues.door import CONNECTS, CONNECTS_SECONDS, Door
from market_service.venues.port import ReadRefused, Unavailable
from market_service.venues.rest import PublicRest, WeightBudget
from otopilot.instrument import Venue
from otopilot.settings import PaperSettings, Settings
from tests.market_service.fakes import FakeClock
from tests.market_service.imitation import Imitation


@given(
    per_minute=st.integers(100, 2000),
    asks=st.lists(st.tuples(st.floats(0, 20), st.sampled_from([1, 2, 4, 20])), max_size=300),
)
def test_no_minute_sees_more_than_the_budget(per_minute: int, asks: list[tuple[float, int]]) -> None:
    clock = FakeClock()
    budget = WeightBudget(per_minute, clock)
    sent: deque[tuple[float, int]] = deque()
    for pause, weight in asks:
        clock.elapsed += pause
        wait = budget.reserve(weight, patience=2.0)
        if wait is None:
            continue
        assert wait <= 2.0
        sent.append((clock.elapsed + wait, weight))
        last = sent[-1][0]
        assert sum(spent for at, spent in sent if last - 60 < at <= last) <= per_minute + 1e-6


def test_a_weight_above_what_may_be_spent_at_once_still_gets_through() -> None:
    clock = FakeClock()
    budget = WeightBudget(40, clock)
    assert budget.reserve(20, patience=0) == 0
    assert budget.reserve(20, patience=2) is None
    clock.elapsed += 60
    assert budget.reserve(20, patience=0) == 0


async def opened(venue: Imitation, clock: FakeClock, session: aiohttp.ClientSession) -> PublicRest:
    door = Door(Venue.ALPHA, venue.url, clock)
    return PublicRest(Venue.ALPHA, venue.url, session, WeightBudget(600, clock), clock, door)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [(429, "7", 7), (418, "300", 300), (403, "", 300), (418, "soon", 120), (429, "", 60)],
)
async def test_the_breaker_opens_for_the_named_time(
    venue: Imitation, status: int, header: str, seconds: float
) -> None:
    clock = FakeClock()
    async with aiohttp.ClientSession() as session:
        rest = await opened(venue, clock, session)
        venue.status, venue.headers = status, {"Retry-After": header}
        with pytest.raises(Unavailable) as caught:
            await rest.get("/agg-trades", {}, weight=1)
        assert caught.value.retry_after == seconds
        venue.status = 200
        clock.elapsed += seconds - 0.1
        with pytest.raises(Unavailable, match="asked for silence"):
            await rest.get("/agg-trades", {}, weight=1)
        assert venue.asked["agg-trades"] == 1
        clock.elapsed += 0.2
        await rest.get("/agg-trades", {}, weight=1)


async def test_a_refusal_is_told_apart_from_trouble(venue: Imitation) -> None:
    async with aiohttp.ClientSession() as session:
        rest = await opened(venue, FakeClock(), session)
        venue.status = 400
        with pytest.raises(ReadRefused, match="HTTP 400"):
            await rest.get("/agg-trades", {}, weight=1)
        for status in (301, 500, 503):
            venue.status, venue.headers = status, {"Location": "/list"}
            with pytest.raises(Unavailable, match=str(status)) as caught:
                await rest.get("/agg-trades", {}, weight=1)
            assert not isinstance(caught.value, ReadRefused)
        assert venue.asked["list"] == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("99999999", 3 * 86_400),
        ("259201", 3 * 86_400),
        ("999999999", 120),
        ("9" * 400, 120),
        ("0", 120),
        ("٣٠٠", 120),
        ("3e2", 120),
        ("-5", 120),
    ],
)
def test_a_ban_is_no_longer_than_three_days_and_what_makes_no_sense_tells_nothing(
    header: str, seconds: float
) -> None:
    clock = FakeClock()
    door = Door(Venue.SPOT, "https://spot", clock)
    assert door.refused(418, header, "HTTP 418").retry_after == seconds
    clock.elapsed += seconds - 0.1
    with pytest.raises(Unavailable, match="asked for silence"):
        door.check()
    clock.elapsed += 0.2
    door.check()


class SleptClock(FakeClock):
    """Sleeping moves it, and is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.elapsed += seconds


async def test_what_rounding_leaves_of_a_wait_to_connect_is_not_waited_for_in_tiny_parts() -> None:
    clock = SleptClock()
    door = Door(Venue.SPOT, "https://spot", clock)
    for _ in range(CONNECTS):
        await door.wait_to_connect()
    assert clock.slept == []
    clock.elapsed = CONNECTS_SECONDS - 1e-9
    await door.wait_to_connect()
    assert clock.slept == [0.01]


def test_live_knows_no_other_hosts_than_the_allowed_ones() -> None:
    live = Settings(mode="live", paper=PaperSettings(url="http://evil.test"))
    assert binance_alpha.endpoints(live) == (
        "https://www.binance.com",
        "wss://nbstream.binance.com/w3w/wsa/stream",
    )
    assert binance_spot.endpoints(live) == (
        "https://data-api.binance.vision",
        "wss://data-stream.binance.vision/stream",
    )


def test_paper_addresses_follow_the_setting() -> None:
    paper = Settings(paper=PaperSettings(url="http://127.0.0.1:8900/"))
    assert binance_alpha.endpoints(paper) == ("http://127.0.0.1:8900", "ws://127.0.0.1:8900/w3w/wsa/stream")
    assert binance_spot.endpoints(paper) == ("http://127.0.0.1:8900", "ws://127.0.0.1:8900/stream")
