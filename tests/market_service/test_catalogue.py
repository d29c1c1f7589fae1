"""Instruments are cached, kept when the venue fails, and never guessed."""

import asyncio

import pytest

from market_service import catalogue
from market_service.catalogue import FRESH_SECONDS, Ambiguous, Catalogue, NotListed
from market_service.venues.port import Listing, Unavailable
from otopilot.instrument import InstrumentStatus, Venue
from tests.market_service.fakes import START, FakeClock, FakeVenue, instrument

KOGE = instrument("ALPHA_22USDT", "KOGE")


class Desk:
    def __init__(self, *instruments: object) -> None:
        self.clock = FakeClock()
        self.venue = FakeVenue(self.clock, *instruments)  # type: ignore[arg-type]
        self.catalogue = Catalogue({Venue.ALPHA: self.venue}, self.clock)

    async def token(self, token: str, chain: str = "") -> str:
        return (await self.catalogue.by_token(Venue.ALPHA, token, chain)).instrument.symbol


async def test_the_last_good_listing_outlives_a_failing_venue() -> None:
    desk = Desk(KOGE)
    await desk.token("KOGE")
    desk.clock.elapsed += FRESH_SECONDS
    desk.venue.failing = True
    listed = await desk.catalogue.by_token(Venue.ALPHA, "KOGE", "BSC")
    assert listed.fetched_at == START
    assert listed.instrument.buy_fee_rate is not None
    assert desk.venue.listings == 2
    await desk.token("KOGE")
    assert desk.venue.listings == 2
    desk.venue.failing = False
    desk.clock.elapsed += 11
    listed = await desk.catalogue.by_token(Venue.ALPHA, "KOGE", "BSC")
    assert listed.fetched_at > START


async def test_who_wants_younger_rules_has_them_read_anew_but_not_oftener_than_every_ten_seconds() -> None:
    desk = Desk(KOGE)
    read = []
    for elapsed, max_age_seconds in [
        (0, 300),
        (9, 1),
        (2, 300),
        (0, 10),
        (9, 0),
        (1.5, 0.5),
        (298, 1000),
        (3, 1000),
    ]:
        desk.clock.elapsed += elapsed
        await desk.catalogue.by_symbol(Venue.ALPHA, KOGE.symbol, max_age_seconds=max_age_seconds)
        read.append(desk.venue.listings)
    assert read == [1, 1, 1, 2, 2, 3, 3, 4]


async def test_a_venue_that_fails_is_not_asked_sooner_by_who_wants_younger_rules() -> None:
    desk = Desk(KOGE)
    await desk.token("KOGE")
    desk.venue.failing = True
    for _ in range(5):
        desk.clock.elapsed += 4
        await desk.catalogue.by_symbol(Venue.ALPHA, KOGE.symbol, max_age_seconds=1)
    assert desk.venue.listings == 2
    desk.clock.elapsed += 4
    await desk.token("KOGE")
    assert desk.venue.listings == 2, "whom a young listing serves it serves after the failure too"


async def test_a_slow_read_goes_on_when_its_caller_leaves_and_keeps_nobody_who_can_be_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue, "PATIENCE_SECONDS", 0.01)
    desk = Desk(KOGE)
    answers, listing = asyncio.Event(), desk.venue.listing

    async def slow() -> Listing:
        found = await listing()
        await answers.wait()
        return found

    desk.venue.listing = slow  # type: ignore[method-assign]
    first = asyncio.create_task(desk.token("KOGE"))
    await asyncio.sleep(0)
    second = asyncio.create_task(desk.token("KOGE"))
    await asyncio.sleep(0)
    first.cancel()
    answers.set()
    assert await second == KOGE.symbol
    answers.clear()
    desk.clock.elapsed += FRESH_SECONDS
    assert await desk.token("KOGE") == KOGE.symbol
    assert await desk.token("KOGE") == KOGE.symbol
    assert desk.venue.listings == 2
    answers.set()
    async with desk.catalogue:
        pass


async def test_nothing_was_ever_read_is_unavailable_and_asked_anew() -> None:
    desk = Desk(KOGE)
    desk.venue.failing = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            await desk.token("KOGE")
    desk.venue.failing = False
    assert await desk.token("KOGE") == "ALPHA_22USDT"


async def test_many_callers_make_one_read_and_share_its_failure() -> None:
    desk = Desk(KOGE)
    assert set(await asyncio.gather(*(desk.token("KOGE") for _ in range(50)))) == {"ALPHA_22USDT"}
    assert desk.venue.listings == 1
    broken = Desk(KOGE)
    broken.venue.failing = True
    outcomes = await asyncio.gather(*(broken.token("KOGE") for _ in range(50)), return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert broken.venue.listings == 1


async def test_a_withdrawn_listing_of_the_same_name_gives_way_to_the_one_that_trades() -> None:
    old = instrument("ALPHA_1USDT", "KOGE", status=InstrumentStatus.DELISTED)
    assert await Desk(old, KOGE).token("KOGE") == "ALPHA_22USDT"


async def test_two_that_trade_under_one_name_are_not_guessed() -> None:
    with pytest.raises(Ambiguous, match="ALPHA_1USDT, ALPHA_22USDT"):
        await Desk(instrument("ALPHA_1USDT", "KOGE"), KOGE).token("KOGE", "BSC")


async def test_an_exact_name_comes_before_another_spelling() -> None:
    desk = Desk(instrument("ALPHA_1USDT", "gorilla"), instrument("ALPHA_2USDT", "GORILLA"))
    assert await desk.token("gorilla") == "ALPHA_1USDT"
    assert await desk.token("GORILLA") == "ALPHA_2USDT"


async def test_only_the_pair_against_usdt_counts() -> None:
    usdc = instrument("ALPHA_22USDC", "KOGE", quote_asset="USDC")
    assert await Desk(usdc, KOGE).token("KOGE") == "ALPHA_22USDT"
    with pytest.raises(NotListed, match="ALPHA_22USDC"):
        await Desk(usdc).token("KOGE")


async def test_many_unknown_symbols_make_a_short_answer() -> None:
    lines = await Desk(KOGE).catalogue.missing(Venue.ALPHA, [f"X{n}" for n in range(1000)])
    assert len(lines) == 6
    assert "995 more" in lines[-1]
