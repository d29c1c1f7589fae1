"""The market service's Spot adapter against the paper exchange, over sockets."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import aiohttp
import pytest

from market_service.venues.binance_spot import SpotMarket, endpoints
from market_service.venues.connection import Connection, Rejections, StreamPlace
from market_service.venues.door import Door
from market_service.venues.port import Tick
from otopilot.clock import SystemClock
from otopilot.instrument import Venue
from otopilot.settings import MarketSettings, PaperSettings, Settings
from tests.contract.paper import Paper, running, until
from tests.paper_exchange.desk import make_config

BNB, BTC = "BNBUSDT", "BTCUSDT"
CLOCK = SystemClock()


@pytest.fixture
async def paper() -> AsyncIterator[Paper]:
    async with running() as opened:
        yield opened


@pytest.fixture
async def market(paper: Paper) -> AsyncIterator[SpotMarket]:
    settings = Settings(paper=PaperSettings(url=paper.url), market=MarketSettings(reconnect_seconds=1))
    async with aiohttp.ClientSession() as session:
        yield SpotMarket(settings, session, CLOCK)


async def test_the_listing_has_spot_symbols_only_and_all_of_their_rules(market: SpotMarket) -> None:
    listing = await market.listing()
    assert (listing.instruments.keys(), listing.unreadable) == ({BTC, BNB}, {})
    bnb = listing.instruments[BNB]
    assert (bnb.tick_size, bnb.min_notional, bnb.opo_allowed) == (Decimal("0.01"), Decimal(5), True)
    assert (bnb.bid_multiplier_down, bnb.ask_multiplier_up) == (Decimal("0.2"), Decimal(5))


async def test_last_trades_are_read_and_confirmed_by_one_ticker(paper: Paper, market: SpotMarket) -> None:
    await paper.control("POST", "freeze")
    first = [one.tick async for one in market.last_trades({BNB: None, BTC: None})]
    known: dict[str, Tick | None] = {tick.symbol: tick for tick in first}
    assert known.keys() == {BNB, BTC}
    again = {one.tick.symbol: one.tick async for one in market.last_trades(known)}
    assert again == known


async def test_a_line_carries_the_trades_of_its_symbols_and_takes_more(market: SpotMarket) -> None:
    ticks: list[Tick] = []
    line = market.line(ticks.append, lambda: True)
    line.add(BNB)
    task = asyncio.create_task(line.run())
    await until(lambda: ticks)
    line.add(BTC)
    await until(lambda: {tick.symbol for tick in ticks} == {BNB, BTC})
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert market.rejections.count == 0
    assert all(tick.sent_at is not None for tick in ticks)
    ids = [tick.trade_id for tick in ticks if tick.symbol == BNB]
    assert ids == sorted(set(ids))


async def test_a_stalled_market_is_lost_and_found_again(paper: Paper, market: SpotMarket) -> None:
    ticks: list[Tick] = []
    line = market.line(ticks.append, lambda: True)
    line.add(BNB)
    task = asyncio.create_task(line.run())
    await until(lambda: ticks)
    await paper.control("POST", "faults", {"kind": "market_stall", "venue": "spot"})
    await asyncio.sleep(1.5)
    count = len(ticks)
    await paper.control("DELETE", "faults")
    await until(lambda: len(ticks) > count)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("form", ["flat", "nested"])
async def test_a_streams_error_in_either_form_ends_the_connection_in_the_venues_words(form: str) -> None:
    """More names than one connection takes, which a line never asks for (binance-spot 5)."""
    async with running(make_config(spot={"stream_errors": form})) as paper, aiohttp.ClientSession() as web:
        url, stream_url = endpoints(Settings(paper=PaperSettings(url=paper.url)))
        place = StreamPlace(Venue.SPOT, stream_url, symbols_per_socket=2000, reconnect_seconds=60)
        door, rejections = Door(Venue.SPOT, url, CLOCK), Rejections(Venue.SPOT)
        symbols = {f"{number:04}USDT" for number in range(1100)}
        connection = Connection(place, web, CLOCK, door, symbols, lambda _: None, lambda: True, rejections)
        async with asyncio.timeout(60):
            await connection.run()
        assert connection.reason.startswith("refused: ")
        assert "Invalid request: too many streams" in connection.reason
        assert ('"error":' in connection.reason) is (form == "nested")
        assert rejections.count == 0
