"""The two streams of a process: reconnecting, resuming, dispatching, staying young."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from decimal import Decimal as D

import msgspec
import pytest

from otopilot.clock import SystemClock
from otopilot.instrument import Venue
from otopilot.order import Order, UserId
from otopilot.position import User
from otopilot.quote import Quote
from strategy_service import feeds
from strategy_service.clients import CallFailed, OrderNews, PriceKey, Refused, Unreached
from strategy_service.feeds import OrderFeed, OrderListener, PriceFeed
from tests.strategy_service.builders import SYMBOL, order_of, user
from tests.strategy_service.fakes import FakeMarket
from tests.strategy_service.test_clients import OTO

KEY = PriceKey(Venue.ALPHA, SYMBOL)
WINDOW = D(60)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


class ScriptedOrders:
    """Each watch plays the next part of a script: items, then an error or silence."""

    def __init__(self, *script: list[OrderNews | CallFailed]) -> None:
        self.script = list(script)
        self.after: list[int] = []

    async def watch(self, after_sequence: int) -> AsyncIterator[OrderNews]:
        self.after.append(after_sequence)
        for item in self.script.pop(0) if self.script else []:
            if isinstance(item, CallFailed):
                raise item
            yield item
        await asyncio.sleep(60)


class Heard(OrderListener):
    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.users: list[User] = []
        self.asks = 0

    def on_order(self, order: Order) -> None:
        self.orders.append(order)

    def on_user(self, user: User) -> None:
        self.users.append(user)

    def on_ask_again(self) -> None:
        self.asks += 1


GONE = Unreached("UNAVAILABLE", "UNAVAILABLE", "gone")


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (GONE, [0, 7]),
        (Refused("RESOURCE_EXHAUSTED", "FELL_BEHIND", "resume"), [0, 7]),
        (Refused("OUT_OF_RANGE", "TOO_OLD", "start at 0"), [0, 0]),
    ],
)
async def test_it_resumes_after_what_it_heard_and_starts_over_only_when_it_must(
    error: CallFailed, after: list[int]
) -> None:
    orders = ScriptedOrders([OrderNews(sequence=5, snapshot=True), OrderNews(sequence=7), error])
    connected: list[int] = []
    feed = OrderFeed(orders, SystemClock(), lambda: connected.append(1))  # type: ignore[arg-type]
    feed.open()
    await until(lambda: len(orders.after) == 2)
    assert orders.after == after
    await feed.aclose()


async def test_a_stream_cut_inside_its_snapshot_starts_over() -> None:
    orders = ScriptedOrders([OrderNews(sequence=5, snapshot=True), GONE])
    feed = OrderFeed(orders, SystemClock(), lambda: None)  # type: ignore[arg-type]
    feed.open()
    await until(lambda: len(orders.after) == 2)
    assert orders.after == [0, 0]
    await feed.aclose()


async def test_each_listener_hears_of_its_own_user_alone() -> None:
    one, two = Heard(), Heard()
    mine = order_of(OTO)
    orders = ScriptedOrders(
        [
            OrderNews(sequence=1, order=mine),
            OrderNews(sequence=2, user=user()),
            OrderNews(sequence=3, ask_again=(UserId("2"), UserId("3"))),
        ]
    )
    feed = OrderFeed(orders, SystemClock(), lambda: None)  # type: ignore[arg-type]
    feed.listen(UserId("1"), one)
    feed.listen(UserId("2"), two)
    feed.open()
    await until(lambda: two.asks == 1)
    assert (one.orders, one.users, one.asks) == ([mine], [user()], 0)
    assert (two.orders, two.users) == ([], [])
    feed.forget(UserId("1"), one)
    await feed.aclose()


async def test_a_silent_stream_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_SILENCE_SECONDS", 0.05)
    orders = ScriptedOrders([OrderNews(sequence=1)])
    feed = OrderFeed(orders, SystemClock(), lambda: None)  # type: ignore[arg-type]
    feed.open()
    await until(lambda: len(orders.after) == 2)
    assert feed.error == "no heartbeat"
    await feed.aclose()


async def test_prices_reach_who_listens_and_the_stream_follows_the_symbols() -> None:
    market = FakeMarket()
    feed = PriceFeed(market, SystemClock())
    heard: list[D] = []
    listener = object()
    feed.open()

    def on_price() -> None:
        newest = feed.quote(KEY)
        assert newest is not None
        heard.append(newest.price)

    feed.listen(KEY, WINDOW, listener, on_price)
    await until(lambda: len(heard) >= 3)
    assert feed.up
    other = PriceKey(Venue.ALPHA, "ALPHA_23USDT")
    feed.listen(other, WINDOW, listener, lambda: None)
    await until(lambda: feed.quote(other) is not None)
    assert market.watched == [(KEY,), (KEY, other)]
    feed.forget(KEY, listener)
    await until(lambda: market.watched[-1] == (other,))
    assert feed.quote(KEY) is None
    await feed.aclose()


class Streamless(FakeMarket):
    """Its stream fails, single prices can be had."""

    async def watch(self, keys: Sequence[PriceKey]) -> AsyncIterator[Sequence[Quote]]:
        raise Refused("NOT_FOUND", "UNKNOWN_SYMBOL", "one of them is gone")
        yield []


async def test_without_a_stream_prices_are_asked_for_singly() -> None:
    feed = PriceFeed(Streamless(), SystemClock())
    feed.open()
    feed.listen(KEY, WINDOW, object(), lambda: None)
    await until(lambda: feed.quote(KEY) is not None)
    assert feed.up
    await feed.aclose()


async def test_an_older_confirmation_never_replaces_a_newer_one() -> None:
    feed = PriceFeed(FakeMarket(), SystemClock())
    feed.listen(KEY, WINDOW, object(), lambda: None)
    newest = await FakeMarket().price(KEY)
    older = msgspec.structs.replace(
        newest, price=D(50), confirmed_at=newest.confirmed_at - timedelta(seconds=1)
    )
    feed.take(newest)
    feed.take(older)
    assert feed.quote(KEY) == newest
    assert feed.swing(KEY, WINDOW) == 0


async def test_a_listener_that_fails_costs_nobody_the_order_stream() -> None:
    class Broken(OrderListener):
        def on_order(self, order: Order) -> None:
            raise KeyError("a defect")

    news = OrderNews(sequence=7, order=order_of(OTO))
    scripted, heard = ScriptedOrders([news], [news]), Heard()
    feed = OrderFeed(scripted, SystemClock(), lambda: None)  # type: ignore[arg-type]
    broken = Broken()
    feed.listen(UserId("1"), broken)
    feed.open()
    await until(lambda: bool(scripted.after))
    await until(lambda: not feed.up)
    feed.forget(UserId("1"), broken)
    feed.listen(UserId("1"), heard)
    await until(lambda: bool(heard.orders))
    assert scripted.after == [0, 0]  # the item was not skipped
    assert feed.up
    await feed.aclose()


async def test_a_start_does_not_count_as_an_unreachable_market_before_the_first_beats_are_due() -> None:
    feed = PriceFeed(FakeMarket(), SystemClock())
    feed.listen(KEY, WINDOW, object(), lambda: None)
    assert feed.up  # nothing was to be heard yet
