"""ccxt.pro, unmodified: market streams, the user's own stream, and trading over the WS API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import ccxt.pro
import pytest

from tests.clients.ccxt_desk import SYMBOL, connect
from tests.clients.conftest import Refused
from tests.clients.venue import BTC, DEADLINE, USDT, Keys, Venue

CLIENT = "ccxt"
OTHER = "BNB/USDT"
operation = pytest.mark.operation


@pytest.fixture
async def exchange(venue: Venue, keys: Keys) -> AsyncIterator[ccxt.pro.binance]:
    client = connect(ccxt.pro.binance, venue, keys)
    await client.load_markets()
    yield client
    await client.close()


async def soon(waiting: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(waiting, DEADLINE)


async def provoked(watch: Callable[[], Awaitable[Any]], act: Callable[[], Awaitable[Any]]) -> Any:
    """The first news of a stream that speaks only when something happens: let it, until it does."""
    watching = asyncio.ensure_future(watch())
    async with asyncio.timeout(DEADLINE):
        while not watching.done():
            await act()
            await asyncio.wait([watching], timeout=0.3)
    return await watching


async def until(watch: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
    """The first news for which something holds."""
    async with asyncio.timeout(DEADLINE):
        while not holds(news := await watch()):
            pass
        return news


# Market streams.


@operation("stream: 24 h ticker")
async def test_a_ticker_stream_stands_at_the_price(exchange: ccxt.pro.binance) -> None:
    ticker = await soon(exchange.watch_ticker(SYMBOL))
    assert ticker["bid"] < BTC < ticker["ask"]
    assert ticker["low"] <= ticker["last"] <= ticker["high"]


@operation("stream: book ticker")
async def test_best_bids_and_asks_are_streamed(exchange: ccxt.pro.binance) -> None:
    best = await provoked(
        lambda: exchange.watch_bids_asks([SYMBOL]),
        lambda: exchange.create_order(SYMBOL, "market", "buy", 0.0001),
    )
    assert best[SYMBOL]["bid"] < BTC < best[SYMBOL]["ask"]


@operation("stream: order book")
async def test_a_local_book_is_kept_by_differences(exchange: ccxt.pro.binance) -> None:
    """ccxt takes the snapshot and the differences and checks that their numbers join."""
    own = await exchange.create_order(SYMBOL, "limit", "buy", 0.00123, 99_000.5)
    book = await until(lambda: exchange.watch_order_book(SYMBOL), lambda b: [99_000.5, 0.00123] in b["bids"])
    assert book["bids"][0][0] < BTC < book["asks"][0][0]
    await exchange.cancel_order(own["id"], SYMBOL)
    await until(
        lambda: exchange.watch_order_book(SYMBOL), lambda b: 99_000.5 not in [p for p, _ in b["bids"]]
    )


@operation("stream: order books of several symbols")
async def test_books_of_several_symbols_share_a_connection(exchange: ccxt.pro.binance) -> None:
    seen: set[str] = set()
    async with asyncio.timeout(DEADLINE):
        while seen != {SYMBOL, OTHER}:
            seen.add((await exchange.watch_order_book_for_symbols([SYMBOL, OTHER]))["symbol"])


@operation("stream: trades")
async def test_trades_are_streamed_as_they_happen(exchange: ccxt.pro.binance) -> None:
    trades = await provoked(
        lambda: until(
            lambda: exchange.watch_trades(SYMBOL),
            lambda trades: 0.00777 in [trade["amount"] for trade in trades],
        ),
        lambda: exchange.create_order(SYMBOL, "market", "sell", 0.00777),
    )
    assert {trade["side"] for trade in trades if trade["amount"] == 0.00777} == {"sell"}


@operation("stream: candles")
async def test_candles_are_streamed_as_they_grow(exchange: ccxt.pro.binance) -> None:
    since, first, high, low, last, _ = (await soon(exchange.watch_ohlcv(SYMBOL, "1m")))[-1]
    assert since % 60_000 == 0
    assert low <= min(first, last) <= max(first, last) <= high


@operation("stream: unsubscribe")
async def test_a_stream_can_be_left(exchange: ccxt.pro.binance) -> None:
    await soon(exchange.watch_trades(SYMBOL))
    assert await soon(exchange.un_watch_trades(SYMBOL))


# The user's own stream.


@operation("user stream: orders")
async def test_an_orders_life_is_streamed(exchange: ccxt.pro.binance) -> None:
    seen: dict[str, list[str]] = {}

    def ended(news: Any) -> bool:
        for order in news:
            seen.setdefault(order["id"], []).append(order["status"])
        return any(statuses[-1] == "canceled" for statuses in seen.values())

    async def place_and_cancel() -> None:
        placed = await exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
        await exchange.cancel_order(placed["id"], SYMBOL)

    await provoked(lambda: until(lambda: exchange.watch_orders(SYMBOL), ended), place_and_cancel)
    assert {status for statuses in seen.values() for status in statuses} <= {"open", "canceled"}


@operation("user stream: trades")
async def test_own_trades_are_streamed_with_their_fee(exchange: ccxt.pro.binance) -> None:
    trades = await provoked(
        lambda: exchange.watch_my_trades(SYMBOL),
        lambda: exchange.create_order(SYMBOL, "market", "buy", 0.01),
    )
    assert (trades[-1]["amount"], trades[-1]["takerOrMaker"]) == (0.01, "taker")
    assert trades[-1]["fee"] == {"currency": "BTC", "cost": 0.00001}


@operation("user stream: balances")
async def test_balances_are_streamed_as_they_change(exchange: ccxt.pro.binance) -> None:
    balance = await provoked(
        lambda: until(exchange.watch_balance, lambda balance: balance["USDT"]["used"] > 0),
        lambda: exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000),
    )
    assert balance["USDT"]["total"] == USDT
    assert balance["USDT"]["used"] % 90 == 0


# Trading over the WS API.


@operation("WS API: limit order")
async def test_an_order_is_placed_found_and_cancelled_over_a_socket(exchange: ccxt.pro.binance) -> None:
    placed = await soon(exchange.create_order_ws(SYMBOL, "limit", "buy", 0.001, 90_000))
    assert (placed["status"], placed["remaining"]) == ("open", 0.001)
    assert (await soon(exchange.fetch_order_ws(placed["id"], SYMBOL)))["status"] == "open"
    assert (await soon(exchange.cancel_order_ws(placed["id"], SYMBOL)))["status"] == "canceled"


@operation("WS API: market order")
async def test_a_market_order_fills_over_a_socket(exchange: ccxt.pro.binance) -> None:
    bought = await soon(exchange.create_order_ws(SYMBOL, "market", "buy", 0.01))
    assert (bought["status"], bought["filled"]) == ("closed", 0.01)


@operation("WS API: cancel and replace")
async def test_an_order_is_edited_over_a_socket(exchange: ccxt.pro.binance) -> None:
    old = await exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
    await soon(exchange.edit_order_ws(old["id"], SYMBOL, "limit", "buy", 0.002, 91_000))
    assert [order["amount"] for order in await exchange.fetch_open_orders(SYMBOL)] == [0.002]


@operation("WS API: open orders")
async def test_open_orders_come_over_a_socket(exchange: ccxt.pro.binance) -> None:
    placed = await exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
    assert [order["id"] for order in await soon(exchange.fetch_open_orders_ws(SYMBOL))] == [placed["id"]]


@operation("WS API: all orders")
async def test_order_history_comes_over_a_socket(exchange: ccxt.pro.binance) -> None:
    bought = await exchange.create_order(SYMBOL, "market", "buy", 0.001)
    assert [order["id"] for order in await soon(exchange.fetch_orders_ws(SYMBOL))] == [bought["id"]]


@operation("WS API: cancel all")
async def test_all_orders_are_cancelled_over_a_socket(exchange: ccxt.pro.binance) -> None:
    await exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
    assert len(await soon(exchange.cancel_all_orders_ws(SYMBOL))) == 1
    assert await exchange.fetch_open_orders(SYMBOL) == []


@operation("WS API: my trades")
async def test_my_trades_come_over_a_socket(exchange: ccxt.pro.binance) -> None:
    bought = await exchange.create_order(SYMBOL, "market", "buy", 0.001)
    trades = await soon(exchange.fetch_my_trades_ws(SYMBOL))
    assert [(trade["order"], trade["amount"]) for trade in trades] == [(bought["id"], 0.001)]


@operation("WS API: balances")
async def test_balances_come_over_a_socket(exchange: ccxt.pro.binance) -> None:
    # ccxt hands Spot's answer on unparsed here.
    rows = (await soon(exchange.fetch_balance_ws()))["info"]["balances"]
    assert {"asset": "BTC", "free": "1.00000000", "locked": "0.00000000"} in rows


@operation("WS API: candles")
async def test_candles_come_over_a_socket(exchange: ccxt.pro.binance) -> None:
    assert (await soon(exchange.fetch_ohlcv_ws(SYMBOL, "1m")))[-1][0] % 60_000 == 0


@operation("WS API: recent trades")
async def test_recent_trades_come_over_a_socket(exchange: ccxt.pro.binance) -> None:
    await exchange.create_order(SYMBOL, "market", "buy", 0.001)
    assert 0.001 in [trade["amount"] for trade in await soon(exchange.fetch_trades_ws(SYMBOL, limit=20))]


@operation("WS API refused: insufficient funds")
async def test_no_funds_are_told_over_a_socket(exchange: ccxt.pro.binance, refused: Refused) -> None:
    with refused(ccxt.InsufficientFunds):
        await soon(exchange.create_order_ws(SYMBOL, "limit", "buy", 1, 90_000))


@operation("WS API refused: unknown order")
async def test_an_unknown_order_is_told_over_a_socket(exchange: ccxt.pro.binance, refused: Refused) -> None:
    with refused(ccxt.OrderNotFound):
        await soon(exchange.cancel_order_ws("7", SYMBOL))


@operation("WS API refused: bad signature")
async def test_a_wrong_secret_is_told_over_a_socket(venue: Venue, keys: Keys, refused: Refused) -> None:
    wrong = connect(ccxt.pro.binance, venue, Keys(keys.user_id, keys.api_key, "x" * 64))
    try:
        with refused(ccxt.AuthenticationError):
            await soon(wrong.fetch_balance_ws())
    finally:
        await wrong.close()
