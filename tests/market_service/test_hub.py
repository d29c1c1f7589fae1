"""The hub's rules, on a venue and a clock that do what they are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from market_service.hub import GREATEST_SYMBOLS, IDLE_SECONDS, UNREAD_SECONDS, Hub, TooManySymbols
from market_service.venues.port import Tick, Unavailable
from otopilot.instrument import Venue
from otopilot.quote import Quote, QuoteSource
from otopilot.settings import MarketSettings
from tests.market_service.fakes import START, FakeClock, FakeVenue, tick
from tests.virtual_loop import VirtualClock, virtual

A = (Venue.ALPHA, "A")
SILENCE = 2.0


class Desk:
    """A running hub with its venue and clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.venue = FakeVenue(self.clock)
        self.hub = Hub({Venue.ALPHA: self.venue}, self.clock, SILENCE)

    async def after(self, seconds: float) -> None:
        """Let so much time pass and everything happen that then happens."""
        self.clock.elapsed += seconds
        for _ in range(20):
            await asyncio.sleep(0)

    async def price(self) -> Quote:
        return await self.hub.price(A, 5.0)


@asynccontextmanager
async def opened() -> AsyncIterator[Desk]:
    desk = Desk()
    async with desk.hub.running():
        yield desk


async def test_age_counts_from_when_a_read_was_asked_not_answered() -> None:
    async with opened() as desk:
        desk.venue.ticks["A"] = tick("A", "48")
        quote = await desk.price()
        assert quote.confirmed_at == START
        assert quote.source is QuoteSource.REST


async def test_a_read_is_made_only_after_the_silence() -> None:
    async with opened() as desk:
        desk.venue.ticks["A"] = tick("A", "48")
        await desk.price()
        await desk.after(SILENCE - 0.1)
        assert len(desk.venue.reads) == 1
        await desk.after(0.1)
        assert len(desk.venue.reads) == 2
        assert (await desk.price()).confirmed_at == START + timedelta(seconds=SILENCE)


async def test_a_frame_with_the_same_trade_confirms_and_an_older_one_tells_nothing() -> None:
    async with opened() as desk:
        desk.venue.ticks["A"] = tick("A", "48", 5)
        first = await desk.price()
        await desk.after(1)
        desk.venue.lines[0].say(tick("A", "1", 4))
        assert await desk.price() == first
        desk.venue.lines[0].say(tick("A", "48", 5))
        second = await desk.price()
        assert (second.sequence, second.source) == (1, QuoteSource.STREAM)
        assert second.confirmed_at == START + timedelta(seconds=1)


async def test_a_backlog_of_old_frames_does_not_look_fresh() -> None:
    async with opened() as desk:
        await desk.after(60)
        with pytest.raises(Unavailable):
            await desk.price()
        sent = START + timedelta(seconds=20)
        desk.venue.lines[0].say(Tick("A", tick("A", "48").price, sent, 7, sent))
        assert (await desk.price()).age(desk.clock.now()) == timedelta(seconds=40)


async def test_nobody_asks_nothing_is_read() -> None:
    async with opened() as desk:
        desk.venue.ticks["A"] = tick("A", "48")
        await desk.price()
        await desk.after(61)
        reads = len(desk.venue.reads)
        await desk.after(10)
        assert len(desk.venue.reads) == reads
        assert (await desk.price()).age(desk.clock.now()) == timedelta(0)


async def test_a_symbol_without_trades_is_not_asked_for_again_and_again() -> None:
    async with opened() as desk:
        with pytest.raises(Unavailable, match="no trade of A"):
            await desk.price()
        for _ in range(10):
            await desk.after(UNREAD_SECONDS / 10 - 0.01)
        assert len(desk.venue.reads) == 1
        await desk.after(1)
        assert len(desk.venue.reads) == 2


async def test_failing_reads_back_off_and_the_first_question_hears_why() -> None:
    async with opened() as desk:
        desk.venue.failing = True
        with pytest.raises(Unavailable, match=r"alpha: http://venue\.test .* told to fail"):
            await desk.price()
        for _ in range(100):
            await desk.after(0.25)
        assert len(desk.venue.reads) < 12


async def test_known_symbols_are_read_together() -> None:
    async with opened() as desk:
        names = [f"S{n}" for n in range(20)]
        desk.venue.ticks = {name: tick(name, "1") for name in names}
        with desk.hub.watch([(Venue.ALPHA, name) for name in names], 3000):
            await desk.after(0)
            assert sorted(desk.venue.reads) == sorted((name,) for name in names)
            await desk.after(SILENCE)
            assert [len(read) for read in desk.venue.reads[20:]] == [10, 10]


async def test_a_full_socket_is_followed_by_another() -> None:
    async with opened() as desk:
        with desk.hub.watch([(Venue.ALPHA, f"S{n}") for n in range(450)], 3000):
            assert [len(line.symbols) for line in desk.venue.lines] == [200, 200, 50]


async def test_more_symbols_than_the_bound_are_refused() -> None:
    async with opened() as desk:
        with desk.hub.watch([(Venue.ALPHA, f"S{n}") for n in range(GREATEST_SYMBOLS)], 3000):
            pass
        with pytest.raises(TooManySymbols):
            await desk.price()


async def test_a_clock_that_is_set_back_does_not_freeze_the_age() -> None:
    async with opened() as desk:
        desk.venue.ticks["A"] = tick("A", "48")
        await desk.price()
        desk.clock.wall_offset = -timedelta(hours=1)
        await desk.after(SILENCE)
        quote = await desk.price()
        assert quote.confirmed_at == desk.clock.now()


async def test_a_watch_that_ends_is_forgotten() -> None:
    async with opened() as desk:
        desk.venue.ticks["A"] = tick("A", "48")
        with desk.hub.watch([A], 3000):
            await desk.after(0)
        await desk.after(SILENCE)
        assert len(desk.venue.reads) == 1


async def test_a_socket_task_that_breaks_ends_the_hub_instead_of_a_silent_feed() -> None:
    async def broken() -> None:
        raise KeyError("a defect")

    async def hub_with_a_defect() -> None:
        async with opened() as desk:
            desk.venue.line_runs = broken
            with desk.hub.watch([A], 3000):
                await asyncio.sleep(5)

    with pytest.raises(ExceptionGroup) as caught:
        await hub_with_a_defect()
    assert caught.group_contains(KeyError)


async def test_an_error_of_the_block_itself_leaves_the_hub_bare() -> None:
    with pytest.raises(LookupError):
        async with opened():
            raise LookupError


async def test_a_symbol_nobody_used_for_long_makes_room_and_one_that_is_watched_stays() -> None:
    async with opened() as desk:
        names = [f"S{number}" for number in range(GREATEST_SYMBOLS)]
        with desk.hub.watch([(Venue.ALPHA, name) for name in names], 1000):
            pass
        with desk.hub.watch([(Venue.ALPHA, "S7")], 1000):
            desk.venue.ticks["A"] = tick("A", "48")
            with pytest.raises(TooManySymbols):
                await desk.price()
            await desk.after(IDLE_SECONDS)
            assert (await desk.price()).price == 48
            assert desk.hub.follows((Venue.ALPHA, "S7"))
            assert not desk.hub.follows((Venue.ALPHA, "S8"))
        assert sum(len(line.symbols) for line in desk.venue.lines) == 2
        await desk.after(IDLE_SECONDS)
        assert not desk.hub.follows((Venue.ALPHA, "S7"))


@virtual
async def test_a_stream_that_goes_silent_with_its_socket_alive_is_seen_within_three_seconds() -> None:
    """By the settings as they are by default: reads take over, and go on."""
    clock = VirtualClock()
    venue = FakeVenue(clock)
    hub = Hub({Venue.ALPHA: venue}, clock, MarketSettings().silence_seconds)
    async with hub.running():
        venue.ticks["A"] = tick("A", "48", 1)
        with hub.watch([A], 5000):
            await asyncio.sleep(1)
            for number in range(2, 12):
                venue.lines[0].say(tick("A", "48", number))
                await asyncio.sleep(0.5)
            reads = len(venue.reads)
            venue.ticks["A"] = tick("A", "49", 99)  # it trades on, and its stream says nothing
            for _ in range(5):
                await asyncio.sleep(2.5)
                quote = await hub.price(A, 0.0)
                assert (str(quote.price), quote.source) == ("49", QuoteSource.REST)
                assert (clock.now() - quote.confirmed_at).total_seconds() < 3
            assert len(venue.reads) >= reads + 5
