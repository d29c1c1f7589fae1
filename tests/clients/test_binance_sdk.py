"""Binance's own SDK, unmodified: it reads every answer into a model of its own, so shapes must fit."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest
from binance_common.errors import (
    BadRequestError,
    RateLimitBanError,
    ServerError,
    TooManyRequestsError,
    UnauthorizedError,
)
from binance_sdk_spot.rest_api import SpotRestAPI

from tests.clients.conftest import Refused
from tests.clients.sdk_desk import BTCUSDT, LIMIT, MARKET, OTO, connect, heard, streams, ws_api
from tests.clients.venue import BTC, DEADLINE, Keys, Venue, running

CLIENT = "binance-sdk-spot"
operation = pytest.mark.operation


@pytest.fixture
def api(venue: Venue, keys: Keys) -> SpotRestAPI:
    return connect(venue, keys)


# What anybody may ask.


@operation("ping")
def test_a_ping_is_answered(api: SpotRestAPI) -> None:
    assert api.ping().data() == {}


@operation("server time")
def test_the_server_says_what_time_it_is(api: SpotRestAPI) -> None:
    assert abs(api.time().data().server_time - time.time() * 1000) < 5000


@operation("exchange info")
def test_a_symbol_carries_its_filters(api: SpotRestAPI) -> None:
    """The names go as a JSON array, percent-encoded."""
    symbol = api.exchange_info(symbols=[MARKET]).data().symbols[0]
    assert (symbol.symbol, symbol.status, symbol.oto_allowed) == (MARKET, "TRADING", True)
    sizes = [one.actual_instance for one in symbol.filters if hasattr(one.actual_instance, "step_size")]
    assert "0.00001000" in [size.step_size for size in sizes]


@operation("24 h ticker")
def test_a_ticker_stands_at_the_price(api: SpotRestAPI) -> None:
    ticker = api.ticker24hr(**BTCUSDT).data().actual_instance
    assert Decimal(ticker.bid_price) < BTC < Decimal(ticker.ask_price)


@operation("all 24 h tickers")
def test_all_tickers_come_at_once(api: SpotRestAPI) -> None:
    tickers = api.ticker24hr().data().actual_instance
    assert {ticker.symbol for ticker in tickers} == {"BTCUSDT", "BNBUSDT"}


@operation("price ticker")
def test_last_prices_come_alone(api: SpotRestAPI) -> None:
    ticker = api.ticker_price(**BTCUSDT).data().actual_instance
    assert abs(Decimal(ticker.price) / BTC - 1) < Decimal("0.05")


@operation("book ticker")
def test_best_bids_and_asks_come_alone(api: SpotRestAPI) -> None:
    best = api.ticker_book_ticker(**BTCUSDT).data().actual_instance
    assert Decimal(best.bid_price) < BTC < Decimal(best.ask_price)


@operation("average price")
def test_the_average_price_is_near_the_price(api: SpotRestAPI) -> None:
    assert api.avg_price(**BTCUSDT).data().mins == 5


@operation("order book")
def test_an_order_book_is_sorted_from_the_best(api: SpotRestAPI) -> None:
    book = api.depth(limit=5, **BTCUSDT).data()
    assert Decimal(book.bids[0][0]) < BTC < Decimal(book.asks[0][0])


@operation("aggregate trades")
def test_aggregate_trades_have_their_single_ones(api: SpotRestAPI) -> None:
    assert all(trade.f <= trade.l for trade in api.agg_trades(**BTCUSDT).data())


@operation("recent trades")
def test_recent_trades_add_up_to_their_cost(api: SpotRestAPI) -> None:
    for trade in api.get_trades(limit=5, **BTCUSDT).data():
        assert Decimal(trade.quote_qty) == Decimal(trade.price) * Decimal(trade.qty)


@operation("historical trades")
def test_historical_trades_begin_at_an_id(api: SpotRestAPI) -> None:
    newest = api.get_trades(limit=1, **BTCUSDT).data()[0].id
    assert api.historical_trades(from_id=newest, **BTCUSDT).data()[0].id == newest


@operation("candles")
def test_candles_hold_their_prices(api: SpotRestAPI) -> None:
    for ask in (api.klines, api.ui_klines):
        first, high, low, last = map(Decimal, ask(interval="1m", **BTCUSDT).data()[-1][1:5])
        assert low <= min(first, last) <= max(first, last) <= high


# Money and orders.


@operation("balances")
def test_balances_show_what_is_free_and_what_an_order_holds(api: SpotRestAPI) -> None:
    api.new_order(**LIMIT)
    rows = api.get_account(omit_zero_balances=True).data().balances
    assert ("USDT", "19910.00000000", "90.00000000") in [(b.asset, b.free, b.locked) for b in rows]


@operation("commission rates")
def test_commission_rates_are_the_accounts(api: SpotRestAPI) -> None:
    assert api.account_commission(**BTCUSDT).data().standard_commission.taker == "0.00100000"


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("ed25519", marks=operation("signed by Ed25519")),
        pytest.param("rsa", marks=operation("signed by RSA")),
    ],
)
def test_a_private_key_signs_what_a_secret_does(venue: Venue, kind: str) -> None:
    api = connect(venue, venue.open_account_signing_with(kind))
    placed = api.new_order(**LIMIT).data()
    assert api.delete_order(order_id=placed.order_id, **BTCUSDT).data().status == "CANCELED"


@operation("limit order")
def test_a_limit_order_rests_is_found_and_is_cancelled(api: SpotRestAPI) -> None:
    """This client sends a POST's parameters in the query, with an empty body."""
    placed = api.new_order(**LIMIT).data()
    assert placed.status == "NEW"
    assert api.get_order(order_id=placed.order_id, **BTCUSDT).data().status == "NEW"
    assert api.delete_order(order_id=placed.order_id, **BTCUSDT).data().status == "CANCELED"


@operation("market order")
def test_a_market_order_says_what_it_got_and_what_it_paid(api: SpotRestAPI) -> None:
    bought = api.new_order(side="BUY", type="MARKET", quantity="0.01", **BTCUSDT).data()
    assert (bought.status, bought.executed_qty) == ("FILLED", "0.01000000")
    assert sum(Decimal(fill.commission) for fill in bought.fills) == Decimal("0.00001")


@operation("cancel and replace")
def test_an_order_is_replaced_by_a_new_one(api: SpotRestAPI) -> None:
    old = api.new_order(**LIMIT).data().order_id
    terms = LIMIT | {"quantity": "0.002", "cancel_replace_mode": "STOP_ON_FAILURE", "cancel_order_id": old}
    answer = api.order_cancel_replace(**terms).data()
    assert (answer.cancel_result, answer.new_order_result) == ("SUCCESS", "SUCCESS")


@operation("amend")
def test_an_order_is_made_smaller_in_its_place(api: SpotRestAPI) -> None:
    placed = api.new_order(**LIMIT).data().order_id
    api.order_amend_keep_priority(order_id=placed, new_qty="0.0005", **BTCUSDT)
    assert api.get_order(order_id=placed, **BTCUSDT).data().orig_qty == "0.00050000"
    assert [a.new_qty for a in api.order_amendments(order_id=placed, **BTCUSDT).data()] == ["0.00050000"]


@operation("test order")
def test_a_test_order_leaves_nothing(api: SpotRestAPI) -> None:
    api.order_test(**LIMIT)
    assert api.all_orders(**BTCUSDT).data() == []


@operation("open orders")
def test_open_orders_are_those_that_rest(api: SpotRestAPI) -> None:
    placed = api.new_order(**LIMIT).data()
    assert [order.order_id for order in api.get_open_orders(**BTCUSDT).data()] == [placed.order_id]


@operation("cancel all")
def test_all_orders_of_a_symbol_are_cancelled_at_once(api: SpotRestAPI) -> None:
    placed = [api.new_order(**LIMIT).data().order_id for _ in range(2)]
    assert sorted(row.order_id for row in api.delete_open_orders(**BTCUSDT).data()) == placed


@operation("my trades")
def test_my_trades_say_order_fee_and_side(api: SpotRestAPI) -> None:
    sold = api.new_order(side="SELL", type="MARKET", quantity="0.01", **BTCUSDT).data()
    [trade] = api.my_trades(order_id=sold.order_id, **BTCUSDT).data()
    assert (trade.is_buyer, trade.is_maker, trade.commission_asset) == (False, False, "USDT")
    assert Decimal(trade.commission) == Decimal(trade.quote_qty) / 1000


@operation("unfilled order count")
def test_the_order_count_grows_by_what_is_placed(api: SpotRestAPI) -> None:
    api.new_order(**LIMIT)
    assert api.rate_limit_order().data()[1].count == 1


@operation("OTO list")
def test_an_oto_list_is_found_and_cancelled(api: SpotRestAPI) -> None:
    placed = api.order_list_oto(**OTO).data()
    number = placed.order_list_id
    assert {report.status for report in placed.order_reports} == {"NEW", "PENDING_NEW"}
    assert [found.order_list_id for found in api.open_order_list().data()] == [number]
    assert api.get_order_list(order_list_id=number).data().list_order_status == "EXECUTING"
    ended = api.delete_order_list(order_list_id=number, **BTCUSDT).data()
    assert ended.list_order_status == "ALL_DONE"
    assert [found.order_list_id for found in api.all_order_list().data()] == [number]


# Refusals. This client tells them apart by status, and hands on code and text.

REFUSALS = [
    ("insufficient funds", -2010, lambda api: api.new_order(**(LIMIT | {"quantity": "1"}))),
    (
        "insufficient funds for a list",
        -2010,
        lambda api: api.order_list_oto(**OTO | {"working_quantity": "1"}),
    ),
    ("PRICE_FILTER", -1013, lambda api: api.new_order(**LIMIT | {"price": "90000.001"})),
    ("LOT_SIZE", -1013, lambda api: api.new_order(**LIMIT | {"quantity": "0.0000123"})),
    ("query of an unknown order", -2013, lambda api: api.get_order(order_id=7, **BTCUSDT)),
    ("cancel of an unknown order", -2011, lambda api: api.delete_order(order_id=7, **BTCUSDT)),
    ("unknown symbol", -1121, lambda api: api.depth(symbol="NOUSDT")),
]


@pytest.mark.parametrize(
    ("code", "call"),
    [pytest.param(code, call, marks=operation(f"refused: {name}")) for name, code, call in REFUSALS],
)
def test_a_refusal_carries_the_venues_code(api: SpotRestAPI, refused: Refused, code: int, call: Any) -> None:
    with refused(BadRequestError) as error:
        call(api)
    assert error.value.status_code == code


@operation("refused: bad signature")
def test_a_wrong_secret_is_told(venue: Venue, keys: Keys, refused: Refused) -> None:
    with refused(BadRequestError) as error:
        connect(venue, Keys(keys.user_id, keys.api_key, "x" * 64)).get_account()
    assert error.value.status_code == -1022


@operation("refused: unknown key")
def test_a_key_nobody_gave_out_is_unauthorized(venue: Venue, refused: Refused) -> None:
    with refused(UnauthorizedError) as error:
        connect(venue, Keys("nobody", "k" * 64, "s" * 64)).get_account()
    assert error.value.status_code == -2015


@operation("refused: too much weight")
def test_too_much_weight_is_stopped_and_going_on_is_banned(tmp_path: Any, refused: Refused) -> None:
    # A venue of its own: a ban is for the address.
    with running(tmp_path, weight_limit_per_minute=200, ban_after_refusals=3) as venue:
        api = connect(venue, venue.open_account())
        with refused(TooManyRequestsError) as error:
            for _ in range(30):
                api.get_account()
        assert error.value.status_code == -1003
        assert error.value.retry_after >= 1
        # A new minute may begin in between, and forgive.
        refusals = [refusal_of_one_more(api) for _ in range(60)]
        assert refusals[-1] is RateLimitBanError


def refusal_of_one_more(api: SpotRestAPI) -> type[Exception] | None:
    try:
        api.get_account()
    except (TooManyRequestsError, RateLimitBanError) as error:
        return type(error)
    return None


@operation("venue down")
def test_a_503_is_a_server_error(venue: Venue, keys: Keys, refused: Refused) -> None:
    venue.add_fault(keys.user_id, "http_error", endpoint="account", status=503, count=1)
    with refused(ServerError):
        connect(venue, keys).get_account()


# Sockets.


@operation("WS API: limit order")
async def test_an_order_is_placed_found_and_cancelled_over_a_socket(venue: Venue, keys: Keys) -> None:
    async with ws_api(venue, keys) as api:
        placed = (await api.order_place(**LIMIT)).data().result
        named = BTCUSDT | {"order_id": placed.order_id}
        assert (await api.order_status(**named)).data().result.status == "NEW"
        assert (await api.order_cancel(**named)).data().result.status == "CANCELED"


@operation("WS API: OTO list")
async def test_an_oto_list_lives_and_ends_over_a_socket(venue: Venue, keys: Keys) -> None:
    async with ws_api(venue, keys) as api:
        placed = (await api.order_list_place_oto(**OTO)).data().result
        ended = (await api.order_list_cancel(order_list_id=placed.order_list_id, **BTCUSDT)).data().result
        assert ended.list_order_status == "ALL_DONE"


@operation("WS API: balances")
async def test_balances_come_over_a_socket(venue: Venue, keys: Keys) -> None:
    async with ws_api(venue, keys) as api:
        rows = (await api.account_status()).data().result.balances
    assert ("BTC", "1.00000000", "0.00000000") in [(row.asset, row.free, row.locked) for row in rows]


@operation("WS API: logon")
async def test_who_has_logged_on_need_not_sign_again(venue: Venue) -> None:
    async with ws_api(venue, venue.open_account_signing_with("ed25519")) as api:
        assert (await api.session_logon()).data().result.api_key
        assert (await api.order_place(**LIMIT)).data().result.status == "NEW"
        assert (await api.session_logout()).data().result.api_key is None


@operation("user stream: orders")
async def test_an_orders_life_is_streamed(venue: Venue, keys: Keys) -> None:
    async with ws_api(venue, keys) as api:
        news = heard((await api.user_data_stream_subscribe_signature()).stream)
        await api.order_place(side="BUY", type="MARKET", quantity="0.001", **BTCUSDT)
        seen: list[str] = []
        async with asyncio.timeout(DEADLINE):
            while "FILLED" not in seen:
                event = (await news.get()).actual_instance
                seen += [event.X] if hasattr(event, "X") else []
    assert seen == ["NEW", "FILLED"]


@operation("stream: trades")
async def test_trades_are_streamed_as_they_happen(venue: Venue) -> None:
    async with streams(venue) as market:
        news = heard(await market.trade(symbol=MARKET.lower()))
        trade = await asyncio.wait_for(news.get(), DEADLINE)
    assert (trade.e, trade.s) == ("trade", MARKET)


@operation("stream: candles")
async def test_candles_are_streamed_as_they_grow(venue: Venue) -> None:
    async with streams(venue) as market:
        news = heard(await market.kline(symbol=MARKET.lower(), interval="1m"))
        candle = (await asyncio.wait_for(news.get(), DEADLINE)).k
    assert Decimal(candle.l) <= Decimal(candle.c) <= Decimal(candle.h)


@operation("stream: partial book")
async def test_the_best_levels_are_streamed_whole(venue: Venue) -> None:
    async with streams(venue) as market:
        news = heard(await market.partial_book_depth(symbol=MARKET.lower(), levels="5"))
        book = await asyncio.wait_for(news.get(), DEADLINE)
    assert len(book.bids) == len(book.asks) == 5
