"""python-binance, unmodified, over REST. It hands the venue's JSON on, so keys are checked here too."""

import time
from collections.abc import Iterator
from decimal import Decimal

import pytest
from binance import Client

from tests.clients.binance_desk import MARKET, connected, order, oto
from tests.clients.venue import BTC, UNTRADED, Keys, Venue

CLIENT = "python-binance"
operation = pytest.mark.operation
BUY = {"symbol": MARKET, "quantity": "0.001", "price": "90000"}


@pytest.fixture
def client(venue: Venue, keys: Keys) -> Iterator[Client]:
    with connected(venue, keys) as client:
        yield client


# What anybody may ask.


@operation("ping")
def test_a_ping_needs_no_key(venue: Venue) -> None:
    with connected(venue) as client:
        assert client.ping() == {}


@operation("server time")
def test_the_server_says_what_time_it_is(client: Client) -> None:
    assert abs(client.get_server_time()["serverTime"] - time.time() * 1000) < 5000


@operation("server time in microseconds")
def test_times_come_in_microseconds_when_they_are_asked_for(venue: Venue) -> None:
    with connected(venue, time_unit="MICROSECOND") as client:
        assert abs(client.get_server_time()["serverTime"] - time.time() * 1_000_000) < 5_000_000


@operation("exchange info")
def test_a_symbol_carries_its_filters(client: Client) -> None:
    info = client.get_symbol_info(MARKET)
    filters = {row["filterType"]: row for row in info["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    assert info["otoAllowed"]


@operation("24 h ticker")
def test_a_ticker_stands_at_the_price(client: Client) -> None:
    ticker = client.get_ticker(symbol=MARKET)
    assert Decimal(ticker["bidPrice"]) < BTC < Decimal(ticker["askPrice"])
    assert Decimal(ticker["lowPrice"]) <= Decimal(ticker["lastPrice"]) <= Decimal(ticker["highPrice"])


@operation("all 24 h tickers")
def test_all_tickers_come_at_once(client: Client) -> None:
    assert {ticker["symbol"] for ticker in client.get_ticker()} == {"BTCUSDT", "BNBUSDT"}


@operation("price ticker")
def test_last_prices_come_alone(client: Client) -> None:
    assert client.get_symbol_ticker(symbol=MARKET).keys() == {"symbol", "price"}
    assert {ticker["symbol"] for ticker in client.get_all_tickers()} == {"BTCUSDT", "BNBUSDT"}


@operation("book ticker")
def test_best_bids_and_asks_come_alone(client: Client) -> None:
    best = client.get_orderbook_ticker(symbol=MARKET)
    assert Decimal(best["bidPrice"]) < BTC < Decimal(best["askPrice"])
    assert len(client.get_orderbook_tickers()) == 2


@operation("average price")
def test_the_average_price_is_near_the_price(client: Client) -> None:
    assert abs(Decimal(client.get_avg_price(symbol=MARKET)["price"]) / BTC - 1) < Decimal("0.05")


@operation("rolling window and trading day tickers")
def test_tickers_come_for_other_windows_too(client: Client) -> None:
    ticker = client.v3_get_ticker_trading_day(symbol=MARKET)
    assert Decimal(ticker["lowPrice"]) <= Decimal(ticker["lastPrice"]) <= Decimal(ticker["highPrice"])


@operation("order book")
def test_an_order_book_is_sorted_from_the_best(client: Client) -> None:
    book = client.get_order_book(symbol=MARKET, limit=5)
    bids, asks = ([Decimal(price) for price, _ in book[side]] for side in ("bids", "asks"))
    assert len(bids) == len(asks) == 5
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < BTC < asks[0]


@operation("aggregate trades")
def test_aggregate_trades_are_walked_from_an_id(client: Client) -> None:
    client.order_market_sell(symbol=MARKET, quantity="0.001")
    newest = client.get_aggregate_trades(symbol=MARKET, limit=1)[0]
    older = client.aggregate_trade_iter(MARKET, last_id=newest["a"] - 1)
    assert next(iter(older))["a"] == newest["a"]


@operation("recent trades")
def test_recent_trades_add_up_to_their_cost(client: Client) -> None:
    client.order_market_buy(symbol=MARKET, quantity="0.001")
    for trade in client.get_recent_trades(symbol=MARKET, limit=5):
        assert Decimal(trade["quoteQty"]) == Decimal(trade["price"]) * Decimal(trade["qty"])


@operation("historical trades")
def test_historical_trades_begin_at_an_id(client: Client) -> None:
    client.order_market_buy(symbol=MARKET, quantity="0.001")
    newest = client.get_recent_trades(symbol=MARKET, limit=1)[0]["id"]
    assert client.get_historical_trades(symbol=MARKET, fromId=newest)[0]["id"] == newest


@operation("candles")
def test_candles_hold_their_prices(client: Client) -> None:
    client.order_market_buy(symbol=MARKET, quantity="0.001")
    candles = client.get_historical_klines(MARKET, Client.KLINE_INTERVAL_1MINUTE, "1 hour ago UTC")
    for candle in candles:
        first, high, low, last = map(Decimal, candle[1:5])
        assert low <= min(first, last) <= max(first, last) <= high
        assert candle[6] - candle[0] == 59_999
    assert sum(Decimal(candle[5]) for candle in candles) >= Decimal("0.001")
    assert client.get_ui_klines(symbol=MARKET, interval="1m")[-1][0] >= candles[-1][0]


# Money.


@operation("balances")
def test_balances_show_what_is_free_and_what_an_order_holds(client: Client) -> None:
    client.order_limit_buy(symbol=MARKET, quantity="0.01", price="90000")
    money = client.get_asset_balance("USDT")
    assert money == {"asset": "USDT", "free": "19100.00000000", "locked": "900.00000000"}
    assert client.get_account()["canTrade"]


@operation("commission rates")
def test_commission_rates_are_the_accounts(client: Client) -> None:
    rates = client.v3_get_account_commission(symbol=MARKET)
    assert rates["standardCommission"]["taker"] == "0.00100000"


# Signatures: the account tests sign by HMAC.


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("ed25519", marks=operation("signed by Ed25519")),
        pytest.param("rsa", marks=operation("signed by RSA")),
    ],
)
def test_a_private_key_signs_what_a_secret_does(venue: Venue, kind: str) -> None:
    with connected(venue, venue.open_account_signing_with(kind)) as client:
        placed = client.order_limit_buy(**BUY)
        assert client.cancel_order(symbol=MARKET, orderId=placed["orderId"])["status"] == "CANCELED"


# Orders.


@operation("limit order")
def test_a_limit_order_rests_is_found_and_is_cancelled(client: Client) -> None:
    placed = client.order_limit_buy(**BUY)
    named = {"symbol": MARKET, "orderId": placed["orderId"]}
    assert (placed["status"], placed["fills"]) == ("NEW", [])
    assert placed["clientOrderId"].startswith("x-HNA2TXFJ")
    assert client.get_order(**named)["status"] == "NEW"
    assert client.cancel_order(**named)["status"] == "CANCELED"
    assert client.get_order(**named)["status"] == "CANCELED"


@operation("market order")
def test_a_market_order_says_what_it_got_and_what_it_paid(client: Client) -> None:
    bought = client.order_market_buy(symbol=MARKET, quantity="0.01")
    assert (bought["status"], bought["executedQty"]) == ("FILLED", "0.01000000")
    fills = bought["fills"]
    assert sum(Decimal(fill["qty"]) for fill in fills) == Decimal("0.01")
    assert sum(Decimal(fill["commission"]) for fill in fills) == Decimal("0.00001")
    assert {fill["commissionAsset"] for fill in fills} == {"BTC"}


@operation("market order by quote amount")
def test_a_market_order_spends_no_more_than_its_cost(client: Client) -> None:
    bought = client.order_market_buy(symbol=MARKET, quoteOrderQty="150")
    assert bought["status"] == "FILLED"
    assert 148 < Decimal(bought["cummulativeQuoteQty"]) <= 150


@operation("post-only order")
def test_a_post_only_order_rests(client: Client) -> None:
    terms = {"symbol": MARKET, "side": "BUY", "type": "LIMIT_MAKER", "quantity": "0.001", "price": "90000"}
    placed = client.create_order(**terms)
    assert placed.keys() == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
    found = client.get_order(symbol=MARKET, orderId=placed["orderId"])
    assert (found["type"], found["status"]) == ("LIMIT_MAKER", "NEW")


@operation("IOC order")
def test_what_an_ioc_order_does_not_get_expires(client: Client) -> None:
    placed = client.order_limit_buy(timeInForce="IOC", **BUY)
    assert (placed["status"], placed["executedQty"]) == ("EXPIRED", "0.00000000")


@operation("FOK order")
def test_a_fok_order_gets_all_at_once(client: Client) -> None:
    placed = client.order_limit_buy(timeInForce="FOK", **(BUY | {"price": "101000"}))
    assert (placed["status"], placed["executedQty"]) == ("FILLED", "0.00100000")


@operation("self-trade prevention")
def test_an_order_that_would_meet_its_owner_expires(client: Client) -> None:
    own = client.order_limit_sell(**(BUY | {"price": UNTRADED}))
    mode = {"selfTradePreventionMode": "EXPIRE_TAKER"}
    taker = client.order_limit_buy(**(BUY | {"price": UNTRADED} | mode))
    assert (taker["status"], taker["executedQty"]) == ("EXPIRED_IN_MATCH", "0.00000000")
    [prevented] = client.get_prevented_matches(symbol=MARKET, orderId=taker["orderId"])
    assert prevented["makerOrderId"] == own["orderId"]


@operation("test order")
def test_a_test_order_leaves_nothing(client: Client) -> None:
    assert client.create_test_order(**order()) == {}
    assert client.get_all_orders(symbol=MARKET) == []


@operation("query by client id")
def test_an_order_is_found_and_cancelled_by_its_own_id(client: Client) -> None:
    placed = client.create_order(**order(newClientOrderId="mine-1"))
    named = {"symbol": MARKET, "origClientOrderId": "mine-1"}
    assert client.get_order(**named)["orderId"] == placed["orderId"]
    assert client.cancel_order(**named)["orderId"] == placed["orderId"]


@operation("open orders")
def test_open_orders_are_those_that_rest(client: Client) -> None:
    resting = client.order_limit_buy(**BUY)
    client.order_market_buy(symbol=MARKET, quantity="0.001")
    assert [found["orderId"] for found in client.get_open_orders(symbol=MARKET)] == [resting["orderId"]]
    assert [found["orderId"] for found in client.get_open_orders()] == [resting["orderId"]]


@operation("all orders")
def test_order_history_keeps_every_end(client: Client) -> None:
    cancelled = client.order_limit_buy(**BUY)["orderId"]
    client.cancel_order(symbol=MARKET, orderId=cancelled)
    filled = client.order_market_buy(symbol=MARKET, quantity="0.001")["orderId"]
    found = client.get_all_orders(symbol=MARKET)
    assert [(o["orderId"], o["status"]) for o in found] == [(cancelled, "CANCELED"), (filled, "FILLED")]


@operation("cancel all")
def test_all_orders_of_a_symbol_are_cancelled_at_once(client: Client) -> None:
    placed = [client.order_limit_buy(**BUY)["orderId"] for _ in range(3)]
    cancelled = client.cancel_all_open_orders(symbol=MARKET)
    assert sorted(found["orderId"] for found in cancelled) == placed
    assert client.get_open_orders(symbol=MARKET) == []


@operation("my trades")
def test_my_trades_say_order_fee_and_side(client: Client) -> None:
    client.order_market_buy(symbol=MARKET, quantity="0.01")
    sold = client.order_market_sell(symbol=MARKET, quantity="0.01")
    trades = client.get_my_trades(symbol=MARKET)
    assert [(t["isBuyer"], t["isMaker"]) for t in trades] == [(True, False), (False, False)]
    assert Decimal(trades[1]["commission"]) == Decimal(trades[1]["quoteQty"]) / 1000
    assert client.get_my_trades(symbol=MARKET, orderId=sold["orderId"]) == trades[1:]
    assert client.get_my_trades(symbol=MARKET, fromId=trades[1]["id"]) == trades[1:]


@operation("unfilled order count")
def test_the_order_count_grows_by_what_is_placed(client: Client) -> None:
    client.order_limit_buy(**BUY)
    day = client.get_current_order_count()[1]
    assert (day["interval"], day["count"]) == ("DAY", 1)


# Lists, by raw calls.


@operation("OTO list")
def test_an_oto_list_rests_with_both_legs(client: Client) -> None:
    placed = client.v3_post_order_list_oto(**oto())
    assert (placed["contingencyType"], placed["listOrderStatus"]) == ("OTO", "EXECUTING")
    statuses = {report["side"]: report["status"] for report in placed["orderReports"]}
    assert statuses == {"BUY": "NEW", "SELL": "PENDING_NEW"}


@operation("OTO list that fills")
def test_the_pending_leg_lives_once_the_working_leg_is_filled(client: Client) -> None:
    placed = client.v3_post_order_list_oto(**oto(workingPrice="101000"))
    numbers = {report["side"]: report["orderId"] for report in placed["orderReports"]}
    assert client.get_order(symbol=MARKET, orderId=numbers["BUY"])["status"] == "FILLED"
    assert client.get_order(symbol=MARKET, orderId=numbers["SELL"])["status"] == "NEW"


@operation("list query")
def test_a_list_is_found_by_either_of_its_ids(client: Client) -> None:
    placed = client.v3_post_order_list_oto(**oto(listClientOrderId="my-list"))
    number = placed["orderListId"]
    assert client.v3_get_order_list(orderListId=number)["listClientOrderId"] == "my-list"
    assert client.v3_get_order_list(origClientOrderId="my-list")["orderListId"] == number


@operation("open and all lists")
def test_lists_are_told_apart_by_whether_they_live(client: Client) -> None:
    over, alive = (client.v3_post_order_list_oto(**oto())["orderListId"] for _ in range(2))
    client.v3_delete_order_list(symbol=MARKET, orderListId=over)
    assert [found["orderListId"] for found in client.get_open_oco_orders()] == [alive]
    assert [found["orderListId"] for found in client.v3_get_all_order_list()] == [over, alive]


@operation("cancel list")
def test_cancelling_a_list_ends_both_legs(client: Client) -> None:
    placed = client.v3_post_order_list_oto(**oto())
    ended = client.v3_delete_order_list(symbol=MARKET, orderListId=placed["orderListId"])
    assert ended["listOrderStatus"] == "ALL_DONE"
    assert {report["status"] for report in ended["orderReports"]} == {"CANCELED"}


@operation("cancel a leg")
def test_cancelling_a_leg_cancels_its_list(client: Client) -> None:
    placed = client.v3_post_order_list_oto(**oto())
    ended = client.cancel_order(symbol=MARKET, orderId=placed["orders"][0]["orderId"])
    assert (ended["orderListId"], ended["listOrderStatus"]) == (placed["orderListId"], "ALL_DONE")
    assert client.get_open_orders(symbol=MARKET) == []
