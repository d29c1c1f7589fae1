"""The Alpha adapter against the paper exchange, over sockets: an order's whole life."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from order_service.credentials import Vault
from order_service.venues import binance
from order_service.venues.port import (
    CredentialRefused,
    OrderPushed,
    StreamNews,
    StreamUp,
    VenueNotReached,
    VenueOrder,
    VenuePort,
    VenueRefused,
    VenueSilent,
)
from order_service.venues.transport import HttpTransport
from otopilot.clock import SystemClock
from otopilot.instrument import Side, Venue
from otopilot.order import LegRole, LegStatus, Order
from otopilot.settings import PaperSettings, Settings
from paper_exchange.server import Server, now_ms
from paper_exchange.store import MemoryStore
from paper_exchange.world import World, fresh_rng
from tests.order_service.venues.fakes import an_order, leg
from tests.paper_exchange.desk import make_config

KOGE = "ALPHA_22USDT"
CLOCK = SystemClock()
VAULT = Vault(bytes(32))


class Paper:
    """A paper exchange on a free port, and the adapter that reaches it."""

    def __init__(self, url: str) -> None:
        self.url = url
        settings = Settings(paper=PaperSettings(url=url))
        self.transport: HttpTransport = binance.paper_transport(settings, CLOCK)
        self.alpha: VenuePort = binance.paper_venues(settings, self.transport, CLOCK)[Venue.ALPHA]

    async def control(self, path: str, body: Any) -> Any:
        """A call of the control interface."""
        response = await self.transport.request(
            "POST",
            f"{self.url}/control/{path}",
            headers={"content-type": "application/json"},
            body=json.dumps(body).encode(),
            timeout_seconds=5,
        )
        assert response.status == 200, response.body
        return json.loads(response.body)

    async def account(self, user_id: str) -> Any:
        """A user's account, by way of the vault."""
        opened = await self.control("accounts", {"user_id": user_id, "venue": "alpha"})
        secret = opened["credential"]
        kind = secret.pop("kind")
        blob = VAULT.seal(user_id, Venue.ALPHA, kind, json.dumps(secret).encode())
        return self.alpha.account(user_id, VAULT.open(user_id, Venue.ALPHA, blob))


@pytest.fixture
async def paper() -> AsyncIterator[Paper]:
    config = make_config(alpha={"fill_delay_seconds": ["0.02", "0.05"]})
    world = World(config, MemoryStore(), rng=fresh_rng(1, 1), world_id="test-world", now_ms=now_ms())
    server = Server(world)
    port = await server.start("127.0.0.1", 0)
    opened = Paper(f"http://127.0.0.1:{port}")
    yield opened
    await opened.transport.aclose()
    await server.close()
    assert server.failure is None


async def until(condition: Callable[[], Any], seconds: float = 5) -> Any:
    """The first true value of the condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass in time")


async def oto_around(paper: Paper, buy_percent: str, sell_percent: str) -> Order:
    price, rules = await paper.alpha.last_price(KOGE), await paper.alpha.instrument(KOGE)
    buy = rules.round_price(Side.BUY, price * Decimal(buy_percent))
    sell = rules.round_price(Side.SELL, price * Decimal(sell_percent))
    quantity = str(rules.quantity_for(Decimal(50), buy))
    return an_order(
        KOGE,
        leg(LegRole.WORKING, Side.BUY, str(buy), quantity),
        leg(LegRole.PENDING, Side.SELL, str(sell), quantity),
        submitted_at=CLOCK.now(),
    )


def with_ids(order: Order, placed: Any) -> Order:
    legs = tuple(
        msgspec.structs.replace(one, venue_order_id=told.venue_order_id)
        for one, told in zip(order.legs, placed.legs, strict=True)
    )
    return msgspec.structs.replace(order, legs=legs)


async def test_the_world_is_told(paper: Paper) -> None:
    assert await paper.alpha.world() == "test-world"


async def test_an_oto_is_placed_filled_and_sold(paper: Paper) -> None:
    account = await paper.account("1")
    news: list[StreamNews] = []
    stream = asyncio.create_task(account.run_stream(news.append))
    await until(lambda: StreamUp() in news)

    before = {one.asset: one.free for one in await account.balances()}
    order = await oto_around(paper, "1.01", "0.99")  # the SELL is marketable once released
    placed = await account.place(order)
    order = with_ids(order, placed)

    def pushed(role: LegRole, status: LegStatus) -> list[VenueOrder]:
        ids = {one.role: one.venue_order_id for one in placed.legs}
        orders = [one.order for one in news if isinstance(one, OrderPushed)]
        return [one for one in orders if one.venue_order_id == ids[role] and one.status is status]

    await until(lambda: pushed(LegRole.PENDING, LegStatus.FILLED))
    assert pushed(LegRole.PENDING, LegStatus.PENDING)[0].quantity == 0
    assert pushed(LegRole.WORKING, LegStatus.FILLED)[0].role is LegRole.WORKING

    working = await account.look_up(order, LegRole.WORKING)
    sold = await account.look_up(order, LegRole.PENDING)
    assert working.executed_quantity == order.working.quantity
    assert sold.quantity < working.quantity  # the fee stayed behind
    bought = await account.trades_of(KOGE, working.venue_order_id)
    assert sum(trade.quantity for trade in bought) == working.executed_quantity
    assert {trade.fee.asset for trade in bought} == {"ALPHA_22"}
    swept = await account.trades_since(KOGE, order.submitted_at - timedelta(seconds=1))
    assert sum(trade.quantity for trade in swept) == working.executed_quantity + sold.executed_quantity
    assert len({trade.key for trade in swept}) == len(swept)

    after = {one.asset: one.free for one in await account.balances()}
    money = sum((t.quote - t.fee.amount if t.side is Side.SELL else -t.quote) for t in swept)
    assert after["USDT"] - before["USDT"] == money
    stream.cancel()
    await asyncio.gather(stream, return_exceptions=True)


async def test_a_resting_oto_is_open_with_both_legs_and_can_be_cancelled(paper: Paper) -> None:
    account = await paper.account("1")
    order = await oto_around(paper, "0.9", "1.1")
    order = with_ids(order, await account.place(order))

    legs = {one.role: one for one in await account.open_orders(KOGE)}
    assert (legs[LegRole.WORKING].status, legs[LegRole.PENDING].status) == (LegStatus.OPEN, LegStatus.PENDING)
    assert legs[LegRole.WORKING].price == order.working.price
    assert await account.open_orders("ALPHA_382USDT") == ()

    await account.cancel(order, LegRole.WORKING)
    assert await account.open_orders(KOGE) == ()
    for role in LegRole:
        found = await account.look_up(order, role)
        assert found.status is LegStatus.CANCELED
    with pytest.raises(VenueRefused, match="not_open"):
        await account.cancel(order, LegRole.WORKING)


async def test_a_single_sell_rests_and_is_found_in_history(paper: Paper) -> None:
    account = await paper.account("1")
    await paper.control("deposit", {"user_id": "1", "venue": "alpha", "asset": "ALPHA_22", "amount": "2"})
    price = (await paper.alpha.instrument(KOGE)).round_price(
        Side.SELL, await paper.alpha.last_price(KOGE) * Decimal("1.2")
    )
    order = an_order(KOGE, leg(LegRole.WORKING, Side.SELL, str(price), "1.5"), submitted_at=CLOCK.now())
    placed = await account.place(order)
    history = await account.order_history(KOGE, order.submitted_at - timedelta(seconds=1))
    assert [one.venue_order_id for one in history] == [placed.legs[0].venue_order_id]
    held = {one.asset: one for one in await account.balances()}["ALPHA_22"]
    assert (held.free, held.locked) == (Decimal("0.5"), Decimal("1.5"))


async def test_too_dear_an_order_is_refused_and_nothing_is_placed(paper: Paper) -> None:
    account = await paper.account("1")
    order = an_order(KOGE, leg(LegRole.WORKING, Side.BUY, "40", "1000"), submitted_at=CLOCK.now())
    with pytest.raises(VenueRefused, match="insufficient_balance"):
        await account.place(order)
    assert await account.open_orders(KOGE) == ()


async def test_an_order_older_than_a_second_is_not_placed(paper: Paper) -> None:
    account = await paper.account("1")
    fresh = await oto_around(paper, "0.9", "1.1")
    old = msgspec.structs.replace(fresh, submitted_at=CLOCK.now() - timedelta(seconds=1.1))
    with pytest.raises(VenueNotReached, match="too_late"):
        await account.place(old)
    assert await account.open_orders(KOGE) == ()


async def test_a_lost_answer_is_silent_though_the_order_lives(paper: Paper) -> None:
    account = await paper.account("1")
    order = await oto_around(paper, "0.9", "1.1")
    await paper.control("faults", {"kind": "drop_response", "endpoint": "place_oto"})
    with pytest.raises(VenueSilent):
        await account.place(order)
    assert len(await account.open_orders(KOGE)) == 2


async def test_a_session_that_is_not_known_is_refused(paper: Paper) -> None:
    secret = b'{"headers":{"cookie":"p20t=x","csrftoken":"y"}}'
    blob = VAULT.seal("9", Venue.ALPHA, "session", secret)
    account = paper.alpha.account("9", VAULT.open("9", Venue.ALPHA, blob))
    with pytest.raises(CredentialRefused, match="auth_expired"):
        await account.open_orders(KOGE)


async def test_fees_are_what_the_paper_exchange_charges(paper: Paper) -> None:
    account = await paper.account("1")
    rates = await account.fee_rates(KOGE)
    assert (rates.buy, rates.sell) == (Decimal("0.0001"), Decimal("0.0001"))
