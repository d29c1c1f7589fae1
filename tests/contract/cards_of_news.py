"""Cards 40 to 59: the user stream."""

import asyncio
from typing import Any

from order_service.venues.port import (
    BalancePushed,
    OrderPushed,
    StreamDown,
    StreamNews,
    StreamUp,
    TradePushed,
)
from otopilot.order import LegRole, LegStatus
from tests.contract.bench import CROSSING, Bench, becomes, found_id
from tests.contract.cards import card
from tests.contract.paper import until


def of(news: list[StreamNews], kind: type[Any]) -> list[Any]:
    """The news of one kind."""
    return [one for one in news if isinstance(one, kind)]


def told(news: list[StreamNews], venue_order_id: str, status: LegStatus) -> list[Any]:
    """Pushes of that order in that status."""
    orders = [one.order for one in of(news, OrderPushed)]
    return [one for one in orders if one.venue_order_id == venue_order_id and one.status is status]


@card(40, "A subscription says that it is up before anything else", spot="6", alpha="3.6")
async def up_first(bench: Bench) -> None:
    news = await bench.hear(await bench.account())
    assert isinstance(news[0], StreamUp)


@card(41, "An order's whole life is pushed, its pending leg included", spot="7.1, 4.4", alpha="3.6, 4.1")
async def a_life_is_pushed(bench: Bench) -> None:
    account = await bench.account()
    news = await bench.hear(account)
    order = await bench.placed(account, await bench.oto(CROSSING, 2 - CROSSING))
    buy, sell = (found_id(order, role) for role in (LegRole.WORKING, LegRole.PENDING))
    await until(lambda: told(news, sell, LegStatus.FILLED), 20)
    assert told(news, sell, LegStatus.PENDING)
    (filled,) = told(news, buy, LegStatus.FILLED)[-1:]
    assert filled.executed_quantity == order.working.quantity


@card(42, "A cancel is pushed, under the id the order was placed with", spot="7.1", alpha="3.6")
async def a_cancel_is_pushed(bench: Bench) -> None:
    account = await bench.account()
    news = await bench.hear(account)
    order = await bench.placed(account, await bench.oto())
    await account.cancel(order, LegRole.WORKING)
    await until(lambda: told(news, found_id(order, LegRole.WORKING), LegStatus.CANCELED), 20)
    pushed = told(news, found_id(order, LegRole.WORKING), LegStatus.CANCELED)[0]
    assert pushed.client_id == order.working.client_id


@card(43, "A pushed trade is the one that is read, to the last digit", spot="7.1, 3.5")
async def pushed_trades_are_the_ledgers(bench: Bench) -> None:
    account = await bench.account()
    news = await bench.hear(account)
    order = await bench.placed(account, await bench.buy(CROSSING))
    await becomes(account, order, LegRole.WORKING, LegStatus.FILLED)
    read = {one.key: one for one in await account.trades_of(bench.symbol, found_id(order, LegRole.WORKING))}
    await until(lambda: len(of(news, TradePushed)) >= len(read), 20)
    assert {one.trade.key: one.trade for one in of(news, TradePushed)} == read


@card(44, "A push never carries a trade where its ids repeat: the fill is read", alpha="3.5, 3.6")
async def no_trade_is_pushed(bench: Bench) -> None:
    account = await bench.account()
    news = await bench.hear(account)
    order = await bench.placed(account, await bench.buy(CROSSING))
    await until(lambda: told(news, found_id(order, LegRole.WORKING), LegStatus.FILLED), 20)
    assert of(news, TradePushed) == []


@card(45, "A changed balance is pushed", spot="7.2")
async def balances_are_pushed(bench: Bench) -> None:
    account = await bench.account()
    news = await bench.hear(account)
    order = await bench.placed(account, await bench.buy())
    await until(lambda: of(news, BalancePushed), 20)
    await account.cancel(order, LegRole.WORKING)


@card(46, "Users of one connection hear their own orders only", spot="6", alpha="3.6", needs_paper=True)
async def each_hears_his_own(bench: Bench) -> None:
    accounts = [await bench.account(name) for name in "123"]
    heard = [await bench.hear(account) for account in accounts]
    orders = [await bench.placed(account, await bench.oto()) for account in accounts]
    for account, news, order in zip(accounts, heard, orders, strict=True):
        await until(lambda o=order, n=news: told(n, found_id(o, LegRole.WORKING), LegStatus.OPEN), 20)
        await account.cancel(order, LegRole.WORKING)
    for news, order in zip(heard, orders, strict=True):
        own = {found_id(order, LegRole.WORKING), found_id(order, LegRole.PENDING)}
        assert {one.order.venue_order_id for one in of(news, OrderPushed)} <= own


@card(
    47,
    "A stream that is cut comes back, and says that there was a gap",
    spot="7",
    alpha="3.6",
    needs_paper=True,
)
async def a_cut_stream_comes_back(bench: Bench) -> None:
    account = await bench.account()
    news = await bench.hear(account)
    await bench.fault("hang_up", endpoint="order_stream", count=1)
    order = await bench.placed(account, await bench.oto())
    await until(lambda: len(of(news, StreamUp)) == 2, 30)
    assert len(of(news, StreamDown)) >= 1
    await account.cancel(order, LegRole.WORKING)
    await until(lambda: told(news, found_id(order, LegRole.WORKING), LegStatus.CANCELED), 20)


@card(48, "A server that says it goes is left before it has gone, without a gap", spot="6", needs_paper=True)
async def a_going_server_is_left(bench: Bench) -> None:
    account = await bench.account()
    news = await bench.hear(account)
    await bench.fault("shutdown", endpoint="ws_api", seconds="4", lasts_seconds="2")
    await asyncio.sleep(6)
    order = await bench.placed(account, await bench.oto())
    await until(lambda: told(news, found_id(order, LegRole.WORKING), LegStatus.OPEN), 20)
    assert of(news, StreamDown) == []
    await account.cancel(order, LegRole.WORKING)


@card(49, "A subscription that the venue ends is made again", spot="7.2", needs_paper=True)
async def an_ended_subscription_is_made_again(bench: Bench) -> None:
    account = await bench.account()
    news = await bench.hear(account)
    await bench.fault("order_terminate", user_id="1", count=1)
    await until(lambda: len(of(news, StreamUp)) == 2, 30)
    assert [type(one) for one in news][:3] == [StreamUp, StreamDown, StreamUp]
