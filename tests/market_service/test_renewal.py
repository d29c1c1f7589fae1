"""A public stream is renewed before it ends: prices never wait for the new connection (reliability 26)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal

import pytest

from market_service.hub import Hub
from market_service.venues.port import Tick, Unavailable
from otopilot.instrument import Venue
from otopilot.quote import Quote, QuoteSource
from tests.market_service.fake_stream import FakeStreamServer, StreamedVenue, line
from tests.virtual_loop import VirtualClock, virtual

A = (Venue.ALPHA, "A")
HOUR = 3600.0
LIMIT = timedelta(seconds=3)


class Market:
    """A hub that follows A, while its server tells trades; reads fail unless healed."""

    def __init__(self, life_seconds: float = 24 * HOUR) -> None:
        self.clock = VirtualClock()
        self.server = FakeStreamServer(self.clock, life_seconds)
        self.venue = StreamedVenue(self.clock, self.server)
        self.venue.failing = True
        self.hub = Hub({Venue.ALPHA: self.venue}, self.clock, 2.0)
        self.oldest = timedelta()  # the greatest age that the price ever had, just before each trade
        self.sequences: list[int] = []

    async def quote(self) -> Quote:
        return await self.hub.price(A, 0.0)

    async def trade(self, seconds: float, every: float = 1.0) -> None:
        for _ in range(int(seconds / every)):
            self.server.trade("A", str(100 + len(self.sequences)))
            await asyncio.sleep(0.5)
            quote = await self.quote()
            assert quote.source is QuoteSource.STREAM
            assert quote.price == 100 + len(self.sequences)
            self.sequences.append(quote.sequence)
            await asyncio.sleep(every - 0.5)
            self.oldest = max(self.oldest, (await self.quote()).age(self.clock.now()))


@asynccontextmanager
async def followed(life_seconds: float = 24 * HOUR) -> AsyncIterator[Market]:
    market = Market(life_seconds)
    async with market.hub.running():
        with market.hub.watch([A], 3000):
            await asyncio.sleep(1)
            yield market


@virtual
async def test_a_day_passes_without_a_moment_without_a_connection_or_an_old_price() -> None:
    """The reads fail all day long: whatever the price is, the streams have told it."""
    async with followed() as market:
        await market.trade(24.5 * HOUR, every=2.0)
        assert market.server.unserved == 0
        assert market.oldest < LIMIT
        assert [round(socket.opened_at / HOUR, 1) for socket in market.server.sockets] == [0.0, 23.0]
        assert [socket.open for socket in market.server.sockets] == [False, True]


@virtual
async def test_trades_told_by_both_connections_change_the_price_once() -> None:
    async with followed() as market:
        await market.trade(10)
        market.server.say_shutdown(60)
        await market.trade(3)
        assert len(market.server.serving) == 2
        await market.trade(20)
        assert market.sequences == list(range(1, 34))


@virtual
async def test_a_server_that_says_that_it_goes_is_left_before_it_is_gone() -> None:
    async with followed() as market:
        await market.trade(10)
        market.server.say_shutdown(30)
        await market.trade(60)
        first, second = market.server.sockets
        assert (first.open, second.open) == (False, True)
        assert market.server.unserved == 0
        assert market.oldest < LIMIT


@virtual
async def test_an_old_connection_that_ends_in_the_overlap_leaves_no_gap() -> None:
    async with followed() as market:
        await market.trade(10)
        market.server.say_shutdown(2)
        await market.trade(60)
        assert len(market.server.sockets) == 2
        assert market.server.unserved == 0
        assert market.oldest < LIMIT


@pytest.mark.parametrize("trouble", ["refusing", "deaf", "mute"])
def test_where_no_successor_can_be_had_the_old_connection_serves_until_it_ends(trouble: str) -> None:
    @virtual
    async def story() -> None:
        async with followed() as market:
            await market.trade(10)
            setattr(market.server, trouble, True)
            market.server.say_shutdown(300)
            await market.trade(280)
            assert market.server.sockets[0].open
            assert market.server.unserved == 0
            assert market.oldest < LIMIT
            assert 5 < len(market.server.attempts) < 200
            setattr(market.server, trouble, False)
            await market.trade(60)
            assert not market.server.sockets[0].open
            assert len(market.server.serving) == 1
            assert market.server.unserved == 0
            assert market.oldest < LIMIT

    story()


@virtual
async def test_reads_take_over_when_the_old_connection_ends_without_a_successor() -> None:
    async with followed() as market:
        await market.trade(10)
        market.server.refusing = True
        market.server.say_shutdown(20)
        await market.trade(18)
        market.venue.failing = False
        market.venue.ticks = {"A": Tick("A", Decimal(7), market.clock.now(), 10_000)}
        for _ in range(30):
            await asyncio.sleep(1)
            assert (await market.quote()).age(market.clock.now()) < LIMIT
        assert (await market.quote()).source is QuoteSource.REST
        market.server.refusing = False
        await asyncio.sleep(15)
        assert len(market.server.serving) == 1


@virtual
async def test_servers_that_go_as_soon_as_one_comes_are_no_storm_of_openings() -> None:
    async with followed() as market:
        for _ in range(600):
            market.server.say_shutdown(0.2)
            await asyncio.sleep(0.5)
        assert len(market.server.attempts) < 300, "binance-spot 5: in five minutes"


@virtual
async def test_a_venue_that_cuts_after_every_trade_is_no_storm_of_openings() -> None:
    """Binance-spot 5: 300 openings of an address in five minutes, of which two thirds are order_service's."""
    async with followed() as market:
        for _ in range(3_600):
            market.server.trade("A", "5")
            for socket in market.server.serving:
                socket.end()
            await asyncio.sleep(0.25)
        attempts = market.server.attempts
        assert max(sum(at <= other < at + 300 for other in attempts) for at in attempts) <= 80


@pytest.mark.parametrize(
    ("status", "headers", "seconds"), [(418, {"Retry-After": "700"}, 700), (429, {}, 60), (403, {}, 300)]
)
def test_a_ban_told_to_a_stream_closes_the_door_for_reads_too(
    status: int, headers: dict[str, str], seconds: float
) -> None:
    @virtual
    async def story() -> None:
        async with followed() as market:
            await market.trade(10)
            market.server.ban = (status, headers)
            market.server.say_shutdown(20)
            await asyncio.sleep(30)
            banned_at, before = market.server.attempts[-1], len(market.server.attempts)
            with pytest.raises(Unavailable, match="asked for silence"):
                market.server.door.check()
            market.server.ban = None
            await asyncio.sleep(seconds - 31)
            assert len(market.server.attempts) == before
            await asyncio.sleep(45)
            assert banned_at + seconds <= market.server.attempts[before] < banned_at + seconds + 20
            assert len(market.server.serving) == 1
            market.server.door.check()

    story()


@virtual
async def test_a_ban_told_to_a_read_lets_no_stream_connect() -> None:
    async with followed() as market:
        await market.trade(10)
        market.server.door.refused(418, "600", "HTTP 418")
        before = len(market.server.attempts)
        market.server.sockets[0].end()
        await asyncio.sleep(590)
        assert len(market.server.attempts) == before
        await asyncio.sleep(30)
        assert len(market.server.serving) == 1


@virtual
async def test_a_successor_of_many_symbols_asks_within_the_limit_and_then_alone_is_kept() -> None:
    clock = VirtualClock()
    server = FakeStreamServer(clock)
    carried = line(server, lambda tick: None, wanted=lambda: False)
    for number in range(1000):
        carried.add(f"S{number}")
    task = asyncio.create_task(carried.run())
    await asyncio.sleep(24.5 * HOUR)
    assert [len(socket.names) for socket in server.sockets] == [1000, 1000]
    assert [socket.open for socket in server.sockets] == [False, True]
    assert server.unserved == 0
    assert server.greatest_rate() <= 3, "a ping and a pong besides are five"
    task.cancel()
    await asyncio.wait([task])
