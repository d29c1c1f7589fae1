"""python-binance's socket manager and WS API calls, unmodified."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from binance import AsyncClient
from binance.exceptions import BinanceAPIException
from binance.ws.depthcache import DepthCacheManager

from tests.clients.binance_desk import MARKET, connected_async, order, oto, sockets
from tests.clients.conftest import Refused
from tests.clients.venue import BTC, DEADLINE, Keys, Venue

CLIENT = "python-binance"
operation = pytest.mark.operation
Frames = dict[str, Any]


@pytest.fixture
async def client(venue: Venue, keys: Keys) -> AsyncIterator[AsyncClient]:
    async with connected_async(venue, keys) as client:
        yield client


# Market streams.


@pytest.fixture(scope="module")
def frames(venue: Venue) -> Frames:
    """One frame of every market stream, all of them open at once while somebody trades.

    A socket of this client only closes once another frame has come, so one after the other they
    would take long.
    """
    return asyncio.run(_first_frames(venue, venue.open_account(btc="1")))


async def _first_frames(venue: Venue, keys: Keys) -> Frames:
    async with connected_async(venue, keys) as client:
        manager = sockets(venue, client)
        wanted = {
            "trade": manager.trade_socket(MARKET),
            "aggTrade": manager.aggtrade_socket(MARKET),
            "kline": manager.kline_socket(MARKET, interval="1m"),
            "ticker": manager.symbol_ticker_socket(MARKET),
            "miniTicker": manager.symbol_miniticker_socket(MARKET),
            "bookTicker": manager.symbol_book_ticker_socket(MARKET),
            "depth": manager.depth_socket(MARKET),
            "depth5": manager.depth_socket(MARKET, depth="5"),
            "combined": manager.multiplex_socket(["btcusdt@trade", "bnbusdt@miniTicker"]),
        }
        trading = asyncio.create_task(_trade(client))
        async with asyncio.timeout(2 * DEADLINE):
            found = await asyncio.gather(*map(_first, wanted.values()))
        trading.cancel()
        await asyncio.gather(trading, return_exceptions=True)
        return dict(zip(wanted, found, strict=True))


async def _first(socket: Any) -> Any:
    async with socket:
        return await socket.recv()


async def _trade(client: AsyncClient) -> None:
    while True:
        await client.order_market_buy(symbol=MARKET, quantity="0.001")
        await client.order_market_sell(symbol=MARKET, quantity="0.001")
        await asyncio.sleep(0.1)


@operation("stream: 24 h ticker")
def test_a_ticker_stream_stands_at_the_price(frames: Frames) -> None:
    ticker = frames["ticker"]
    assert set(ticker) == set("eEspPwxcQbBaAohlvqOCFLn")
    assert Decimal(ticker["b"]) < BTC < Decimal(ticker["a"])


@operation("stream: mini ticker")
def test_a_mini_ticker_stream_holds_its_prices(frames: Frames) -> None:
    ticker = frames["miniTicker"]
    assert set(ticker) == set("eEscohlvq")
    assert Decimal(ticker["l"]) <= Decimal(ticker["c"]) <= Decimal(ticker["h"])


@operation("stream: book ticker")
def test_best_bids_and_asks_are_streamed(frames: Frames) -> None:
    best = frames["bookTicker"]
    assert set(best) == set("usbBaA")
    assert Decimal(best["b"]) < BTC < Decimal(best["a"])


@operation("stream: partial book")
def test_the_best_levels_are_streamed_whole(frames: Frames) -> None:
    book = frames["depth5"]
    assert set(book) == {"lastUpdateId", "bids", "asks"}
    assert len(book["bids"]) == len(book["asks"]) == 5


@operation("stream: book differences")
def test_differences_of_the_book_are_numbered(frames: Frames) -> None:
    change = frames["depth"]
    assert set(change) == set("eEsUuba")
    assert change["U"] <= change["u"]


@operation("stream: trades")
def test_trades_are_streamed_as_they_happen(frames: Frames) -> None:
    assert set(frames["trade"]) == set("eEstpqTmM")


@operation("stream: aggregate trades")
def test_aggregate_trades_are_streamed(frames: Frames) -> None:
    assert set(frames["aggTrade"]) == set("eEsapqflTmM")


@operation("stream: candles")
def test_candles_are_streamed_as_they_grow(frames: Frames) -> None:
    candle = frames["kline"]["k"]
    assert set(candle) == set("tTsifLoclhvnxqVQB")
    assert Decimal(candle["l"]) <= Decimal(candle["c"]) <= Decimal(candle["h"])


@operation("stream: combined")
def test_combined_streams_say_which_one_speaks(frames: Frames) -> None:
    frame = frames["combined"]
    assert set(frame) == {"stream", "data"}
    assert frame["stream"].partition("@")[0] == frame["data"]["s"].lower()


@operation("stream: order book")
async def test_a_local_book_is_kept_by_differences(venue: Venue, client: AsyncClient) -> None:
    """The client takes the snapshot and the differences and puts them together."""
    own = await client.create_order(**order(price="99000.50", quantity="0.00123"))
    manager = sockets(venue, client)
    async with asyncio.timeout(DEADLINE), DepthCacheManager(client, MARKET, bm=manager) as books:
        book = await books.recv()
        assert [99000.5, 0.00123] in book.get_bids()
        await client.cancel_order(symbol=MARKET, orderId=own["orderId"])
        while 99000.5 in [price for price, _ in book.get_bids()]:
            book = await books.recv()
        assert book.get_bids()[0][0] < BTC < book.get_asks()[0][0]


# The user's own stream.


@operation("user stream: orders")
async def test_an_orders_life_is_streamed(venue: Venue, client: AsyncClient) -> None:
    async with asyncio.timeout(DEADLINE), sockets(venue, client).user_socket() as stream:
        placed = await client.create_order(**order())
        await client.cancel_order(symbol=MARKET, orderId=placed["orderId"])
        reports: list[Any] = []
        while "CANCELED" not in [report["X"] for report in reports]:
            if (event := await stream.recv())["e"] == "executionReport":
                reports.append(event)
    assert [(r["i"], r["x"], r["X"]) for r in reports] == [
        (placed["orderId"], "NEW", "NEW"),
        (placed["orderId"], "CANCELED", "CANCELED"),
    ]
    assert reports[1]["C"] == reports[0]["c"] == placed["clientOrderId"]


@operation("user stream: trades")
async def test_own_trades_are_streamed_with_their_fee(venue: Venue, client: AsyncClient) -> None:
    async with asyncio.timeout(DEADLINE), sockets(venue, client).user_socket() as stream:
        await client.order_market_buy(symbol=MARKET, quantity="0.01")
        while (event := await stream.recv()).get("x") != "TRADE":
            pass
    assert (event["l"], event["n"], event["N"]) == ("0.01000000", "0.00001000", "BTC")


@operation("user stream: balances")
async def test_balances_are_streamed_as_they_change(venue: Venue, client: AsyncClient) -> None:
    async with asyncio.timeout(DEADLINE), sockets(venue, client).user_socket() as stream:
        await client.create_order(**order())
        while (event := await stream.recv())["e"] != "outboundAccountPosition":
            pass
    assert {"a": "USDT", "f": "19910.00000000", "l": "90.00000000"} in event["B"]


@operation("user stream: lists")
async def test_a_lists_life_is_streamed(venue: Venue, client: AsyncClient) -> None:
    async with asyncio.timeout(DEADLINE), sockets(venue, client).user_socket() as stream:
        placed = await client.v3_post_order_list_oto(**oto())
        await client.v3_delete_order_list(symbol=MARKET, orderListId=placed["orderListId"])
        states: list[Any] = []
        while ("ALL_DONE", "ALL_DONE") not in states:
            if (event := await stream.recv())["e"] == "listStatus":
                states.append((event["l"], event["L"]))
    assert states == [("EXEC_STARTED", "EXECUTING"), ("ALL_DONE", "ALL_DONE")]


# Trading over the WS API.


@operation("WS API: limit order")
async def test_an_order_is_placed_found_and_cancelled_over_a_socket(client: AsyncClient) -> None:
    placed = await client.ws_order_limit_buy(symbol=MARKET, quantity="0.001", price="90000")
    named = {"symbol": MARKET, "orderId": placed["orderId"]}
    assert placed["status"] == "NEW"
    assert (await client.ws_get_order(**named))["status"] == "NEW"
    assert (await client.ws_cancel_order(**named))["status"] == "CANCELED"


@operation("WS API: market order")
async def test_a_market_order_fills_over_a_socket(client: AsyncClient) -> None:
    bought = await client.ws_order_market_buy(symbol=MARKET, quantity="0.01")
    assert (bought["status"], bought["executedQty"]) == ("FILLED", "0.01000000")


@operation("WS API: test order")
async def test_a_test_order_leaves_nothing_over_a_socket(client: AsyncClient) -> None:
    assert await client.ws_create_test_order(**order()) == {}
    assert await client.ws_get_all_orders(symbol=MARKET) == []


@operation("WS API: cancel and replace")
async def test_an_order_is_replaced_over_a_socket(client: AsyncClient) -> None:
    old = await client.create_order(**order())
    swap = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": str(old["orderId"])}
    answer = await client.ws_cancel_and_replace_order(**order(quantity="0.002", **swap))
    assert (answer["cancelResult"], answer["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    found = await client.get_open_orders(symbol=MARKET)
    assert [row["origQty"] for row in found] == ["0.00200000"]


@operation("WS API: open orders")
async def test_open_orders_come_over_a_socket(client: AsyncClient) -> None:
    placed = await client.ws_create_order(**order())
    found = await client.ws_get_open_orders(symbol=MARKET)
    assert [row["orderId"] for row in found] == [placed["orderId"]]


@operation("WS API: all orders")
async def test_order_history_comes_over_a_socket(client: AsyncClient) -> None:
    bought = await client.order_market_buy(symbol=MARKET, quantity="0.001")
    found = await client.ws_get_all_orders(symbol=MARKET)
    assert [row["orderId"] for row in found] == [bought["orderId"]]


@operation("WS API: cancel all")
async def test_all_orders_are_cancelled_over_a_socket(client: AsyncClient) -> None:
    await client.create_order(**order())
    await client.v3_post_order_list_oto(**oto())
    ended = await client.ws_cancel_all_open_orders(symbol=MARKET)
    assert sorted("contingencyType" in row for row in ended) == [False, True]


@operation("WS API: OTO list")
async def test_an_oto_list_lives_and_ends_over_a_socket(client: AsyncClient) -> None:
    placed = await client.ws_create_oto_order(**oto())
    number = placed["orderListId"]
    assert [found["orderListId"] for found in await client.ws_get_oco_open_orders()] == [number]
    assert (await client.ws_get_oco_order(orderListId=number))["listOrderStatus"] == "EXECUTING"
    ended = await client.ws_cancel_oco_order(symbol=MARKET, orderListId=number)
    assert ended["listOrderStatus"] == "ALL_DONE"


@operation("WS API: my trades")
async def test_my_trades_come_over_a_socket(client: AsyncClient) -> None:
    bought = await client.order_market_buy(symbol=MARKET, quantity="0.001")
    trades = await client.ws_get_my_trades(symbol=MARKET)
    assert [(row["orderId"], row["qty"]) for row in trades] == [(bought["orderId"], "0.00100000")]


@operation("WS API: balances")
async def test_balances_come_over_a_socket(client: AsyncClient) -> None:
    rows = (await client.ws_get_account())["balances"]
    assert {"asset": "BTC", "free": "1.00000000", "locked": "0.00000000"} in rows


@operation("WS API: counts and rates")
async def test_counts_and_rates_come_over_a_socket(client: AsyncClient) -> None:
    await client.create_order(**order())
    assert (await client.ws_get_account_rate_limits_orders())[1]["count"] == 1
    assert (await client.ws_get_commission_rates(symbol=MARKET))["symbol"] == MARKET


@operation("WS API: candles")
async def test_candles_come_over_a_socket(client: AsyncClient) -> None:
    assert (await client.ws_get_klines(symbol=MARKET, interval="1m"))[-1][0] % 60_000 == 0
    assert (await client.ws_get_uiKlines(symbol=MARKET, interval="1m"))[-1][0] % 60_000 == 0


@operation("WS API: recent trades")
async def test_trades_come_over_a_socket(client: AsyncClient) -> None:
    await client.order_market_buy(symbol=MARKET, quantity="0.001")
    newest = (await client.ws_get_recent_trades(symbol=MARKET))[-1]["id"]
    assert (await client.ws_get_historical_trades(symbol=MARKET, fromId=newest))[0]["id"] == newest
    assert (await client.ws_get_aggregate_trades(symbol=MARKET))[-1]["l"] >= newest


@operation("WS API: prices")
async def test_prices_come_over_a_socket(client: AsyncClient) -> None:
    named = {"symbol": MARKET}
    assert Decimal((await client.ws_get_orderbook_ticker(**named))["bidPrice"]) < BTC
    assert (await client.ws_get_symbol_ticker(**named)).keys() == {"symbol", "price"}
    for ask in (client.ws_get_ticker, client.ws_get_trading_day_ticker, client.ws_get_symbol_ticker_window):
        assert (await ask(**named))["symbol"] == MARKET
    assert (await client.ws_get_avg_price(**named))["mins"] == 5
    assert len((await client.ws_get_order_book(limit=5, **named))["bids"]) == 5


@operation("WS API: ping, time, exchange info")
async def test_the_venue_describes_itself_over_a_socket(client: AsyncClient) -> None:
    assert await client.ws_ping() == {}
    assert (await client.ws_get_time())["serverTime"] > 0
    assert (await client.ws_get_exchange_info(symbol=MARKET))["symbols"][0]["symbol"] == MARKET


@operation("WS API refused: insufficient funds")
async def test_no_funds_are_told_over_a_socket(client: AsyncClient, refused: Refused) -> None:
    with refused(BinanceAPIException) as error:
        await client.ws_create_order(**order(quantity="1"))
    assert error.value.code == -2010


@operation("WS API refused: unknown order")
async def test_an_unknown_order_is_told_over_a_socket(client: AsyncClient, refused: Refused) -> None:
    with refused(BinanceAPIException) as error:
        await client.ws_cancel_order(symbol=MARKET, orderId=7)
    assert error.value.code == -2011


@operation("WS API refused: bad signature")
async def test_a_wrong_secret_is_told_over_a_socket(venue: Venue, keys: Keys, refused: Refused) -> None:
    async with connected_async(venue, Keys(keys.user_id, keys.api_key, "x" * 64)) as wrong:
        with refused(BinanceAPIException) as error:
            await wrong.ws_get_account()
    assert error.value.code == -1022
