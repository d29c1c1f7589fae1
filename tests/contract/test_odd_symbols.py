"""A symbol in Chinese characters, as Spot has them since 2025-12, through our own adapters (binance-spot 1).

REST signs it percent-encoded, the WS API raw, and a stream's name is its lower case.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp
import pytest

from market_service.venues.binance_spot import SpotMarket
from market_service.venues.port import Tick
from order_service.venues import binance
from order_service.venues.port import OrderPushed
from otopilot.clock import SystemClock
from otopilot.instrument import Venue
from otopilot.order import LegRole, LegStatus
from otopilot.settings import MarketSettings, OrderSettings, PaperSettings, Settings
from tests.contract.bench import CROSSING, QUICK, Bench, becomes, found_id
from tests.contract.paper import Paper, running, until
from tests.paper_exchange.desk import make_config
from tests.paper_exchange.spot_desk import BNB

LIFE = "币安人生USDT"
CLOCK = SystemClock()


@asynccontextmanager
async def exchange() -> AsyncIterator[Paper]:
    """One whose BNB goes by another name."""
    config = make_config(spot=QUICK)
    named = {"symbol": LIFE, "base": "币安人生"}
    listed = [one.model_copy(update=named) if one.symbol == BNB else one for one in config.instruments]
    async with running(config.model_copy(update={"instruments": tuple(listed)})) as paper:
        await paper.pin(LIFE, "800")
        yield paper


@pytest.mark.parametrize("connections", [4, 0], ids=["ws-api", "rest"])
async def test_orders_are_placed_found_pushed_and_cancelled(connections: int) -> None:
    async with exchange() as paper:
        settings = Settings(
            paper=PaperSettings(url=paper.url), order=OrderSettings(spot_connections=connections)
        )
        transport = binance.paper_transport(settings, CLOCK)
        bench = Bench(binance.paper_venues(settings, transport, CLOCK)[Venue.SPOT], transport, LIFE, paper)
        try:
            account = await bench.account()
            news = await bench.hear(account)
            resting = await bench.placed(account, await bench.oto())
            await becomes(account, resting, LegRole.WORKING, LegStatus.OPEN)
            await account.cancel(resting, LegRole.WORKING)
            await becomes(account, resting, LegRole.WORKING, LegStatus.CANCELED)
            bought = await bench.placed(account, await bench.oto(buy=CROSSING))
            await becomes(account, bought, LegRole.PENDING, LegStatus.OPEN)
            trades = await account.trades_of(LIFE, found_id(bought, LegRole.WORKING))
            assert sum(one.quantity for one in trades) == bought.leg(LegRole.WORKING).quantity
            pushed = await until(lambda: [one.order for one in news if isinstance(one, OrderPushed)])
            assert {one.symbol for one in pushed} == {LIFE}
        finally:
            await bench.aclose()


async def test_the_market_line_carries_it() -> None:
    ticks: list[Tick] = []
    async with exchange() as paper, aiohttp.ClientSession() as session:
        settings = Settings(paper=PaperSettings(url=paper.url), market=MarketSettings(reconnect_seconds=1))
        market = SpotMarket(settings, session, CLOCK)
        assert (await market.listing()).instruments[LIFE].tick_size == Decimal("0.01")
        assert {one.tick.symbol async for one in market.last_trades({LIFE: None})} == {LIFE}
        line = market.line(ticks.append, lambda: True)
        line.add(LIFE)
        task = asyncio.create_task(line.run())
        await until(lambda: ticks)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (ticks[0].symbol, market.rejections.count) == (LIFE, 0)
