"""ccxt, unmodified, over REST: what it reads and trades here is what it would at the venue."""

import time
from collections.abc import Iterator
from decimal import Decimal

import ccxt
import pytest

from tests.clients.ccxt_desk import MARKET, SYMBOL, connect, oto
from tests.clients.venue import BTC, UNTRADED, USDT, Keys, Venue

CLIENT = "ccxt"
operation = pytest.mark.operation


@pytest.fixture
def exchange(venue: Venue, keys: Keys) -> Iterator[ccxt.binance]:
    client = connect(ccxt.binance, venue, keys)
    yield client
    client.close()


# What anybody may ask.


@operation("server time")
def test_the_server_says_what_time_it_is(exchange: ccxt.binance) -> None:
    assert abs(exchange.fetch_time() - time.time() * 1000) < 5000


@operation("exchange info")
def test_markets_carry_the_precision_and_the_limits_of_their_filters(exchange: ccxt.binance) -> None:
    market = exchange.load_markets()[SYMBOL]
    assert market["active"]
    assert (market["base"], market["quote"], market["type"]) == ("BTC", "USDT", "spot")
    assert market["precision"] == {"amount": 0.00001, "price": 0.01, "base": 1e-8, "quote": 1e-8}
    assert market["limits"]["amount"] == {"min": 0.00001, "max": 9000}
    assert market["limits"]["cost"]["min"] == 5
    assert exchange.amount_to_precision(SYMBOL, 0.0012345) == "0.00123"


@operation("24 h ticker")
def test_a_ticker_stands_at_the_price(exchange: ccxt.binance) -> None:
    ticker = exchange.fetch_ticker(SYMBOL)
    assert ticker["bid"] < BTC < ticker["ask"]
    assert ticker["low"] <= ticker["last"] <= ticker["high"]


@operation("all 24 h tickers")
def test_all_tickers_come_at_once(exchange: ccxt.binance) -> None:
    assert exchange.fetch_tickers().keys() == {"BTC/USDT", "BNB/USDT"}


@operation("price ticker")
def test_last_prices_come_alone(exchange: ccxt.binance) -> None:
    assert abs(exchange.fetch_last_prices([SYMBOL])[SYMBOL]["price"] / BTC - 1) < 0.05


@operation("book ticker")
def test_best_bids_and_asks_come_alone(exchange: ccxt.binance) -> None:
    best = exchange.fetch_bids_asks([SYMBOL])[SYMBOL]
    assert best["bid"] < BTC < best["ask"]


@operation("average price")
def test_the_average_price_is_near_the_price(exchange: ccxt.binance) -> None:
    average = exchange.public_get_avgprice({"symbol": MARKET})
    assert average["mins"] == "5"
    assert abs(float(average["price"]) / BTC - 1) < 0.05


@operation("order book")
def test_an_order_book_is_sorted_from_the_best(exchange: ccxt.binance) -> None:
    book = exchange.fetch_order_book(SYMBOL, 5)
    bids, asks = [p for p, _ in book["bids"]], [p for p, _ in book["asks"]]
    assert len(bids) == len(asks) == 5
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < BTC < asks[0]


@operation("aggregate trades")
def test_aggregate_trades_name_the_taker(exchange: ccxt.binance) -> None:
    exchange.create_order(SYMBOL, "market", "sell", 0.00123)
    newest = exchange.fetch_trades(SYMBOL, limit=20)
    assert ("sell", 0.00123) in [(trade["side"], trade["amount"]) for trade in newest]


@operation("recent trades")
def test_recent_trades_add_up_to_their_cost(exchange: ccxt.binance) -> None:
    exchange.create_order(SYMBOL, "market", "buy", 0.001)
    options = {"fetchTradesMethod": "publicGetTrades"}
    for trade in exchange.fetch_trades(SYMBOL, limit=5, params=options):
        assert trade["cost"] == pytest.approx(trade["price"] * trade["amount"])


@operation("candles")
def test_candles_hold_their_prices(exchange: ccxt.binance) -> None:
    exchange.create_order(SYMBOL, "market", "buy", 0.001)
    # The trade is in the newest, or in the one before if a minute has just begun.
    candles = exchange.fetch_ohlcv(SYMBOL, "1m")[-2:]
    for since, first, high, low, last, _ in candles:
        assert since % 60_000 == 0
        assert low <= min(first, last) <= max(first, last) <= high
    assert sum(volume for *_, volume in candles) >= 0.001


@operation("rolling window and trading day tickers")
def test_tickers_come_for_other_windows_too(exchange: ccxt.binance) -> None:
    for ask in (exchange.public_get_ticker, exchange.public_get_ticker_tradingday):
        ticker = ask({"symbol": MARKET})
        assert float(ticker["lowPrice"]) <= float(ticker["lastPrice"]) <= float(ticker["highPrice"])


# Money.


@operation("balances")
def test_balances_show_what_is_free_and_what_an_order_holds(exchange: ccxt.binance) -> None:
    exchange.create_order(SYMBOL, "limit", "buy", 0.01, 90_000)
    balance = exchange.fetch_balance()
    assert balance["USDT"] == {"free": USDT - 900, "used": 900, "total": USDT}
    assert balance["BTC"] == {"free": 1, "used": 0, "total": 1}


@operation("commission rates")
def test_commission_rates_are_the_accounts(exchange: ccxt.binance) -> None:
    rates = exchange.private_get_account_commission({"symbol": MARKET})
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
    exchange = connect(ccxt.binance, venue, venue.open_account_signing_with(kind))
    placed = exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
    assert exchange.cancel_order(placed["id"], SYMBOL)["status"] == "canceled"


# Orders.


@operation("limit order")
def test_a_limit_order_rests_is_found_and_is_cancelled(exchange: ccxt.binance) -> None:
    placed = exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
    assert (placed["status"], placed["filled"], placed["remaining"]) == ("open", 0, 0.001)
    assert placed["clientOrderId"].startswith("x-TKT5PX2F")
    assert exchange.fetch_order(placed["id"], SYMBOL)["status"] == "open"
    assert exchange.cancel_order(placed["id"], SYMBOL)["status"] == "canceled"
    assert exchange.fetch_order(placed["id"], SYMBOL)["status"] == "canceled"


@operation("market order")
def test_a_market_order_says_what_it_got_and_what_it_paid(exchange: ccxt.binance) -> None:
    bought = exchange.create_order(SYMBOL, "market", "buy", 0.01)
    assert (bought["status"], bought["filled"]) == ("closed", 0.01)
    assert bought["average"] == pytest.approx(BTC, rel=1e-3)
    assert sum(trade["amount"] for trade in bought["trades"]) == 0.01
    assert bought["fees"] == [{"currency": "BTC", "cost": 0.00001}]


@operation("market order by quote amount")
def test_a_market_order_spends_no_more_than_its_cost(exchange: ccxt.binance) -> None:
    bought = exchange.create_market_buy_order_with_cost(SYMBOL, 150)
    assert bought["status"] == "closed"
    assert 148 < bought["cost"] <= 150


@operation("post-only order")
def test_a_post_only_order_rests(exchange: ccxt.binance) -> None:
    placed = exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000, {"postOnly": True})
    found = exchange.fetch_order(placed["id"], SYMBOL)
    assert (found["postOnly"], found["status"]) == (True, "open")


@operation("IOC order")
def test_what_an_ioc_order_does_not_get_expires(exchange: ccxt.binance) -> None:
    placed = exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000, {"timeInForce": "IOC"})
    assert (placed["status"], placed["filled"]) == ("expired", 0)


@operation("FOK order")
def test_a_fok_order_gets_all_at_once(exchange: ccxt.binance) -> None:
    placed = exchange.create_order(SYMBOL, "limit", "buy", 0.001, 101_000, {"timeInForce": "FOK"})
    assert (placed["status"], placed["filled"]) == ("closed", 0.001)


@operation("cancel and replace")
def test_an_order_is_edited_by_a_new_one(exchange: ccxt.binance) -> None:
    """ccxt edits a Spot order by cancelReplace."""
    old = exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
    new = exchange.edit_order(old["id"], SYMBOL, "limit", "buy", 0.002, 91_000)
    assert exchange.fetch_order(old["id"], SYMBOL)["status"] == "canceled"
    assert [(o["id"], o["amount"]) for o in exchange.fetch_open_orders(SYMBOL)] == [(new["id"], 0.002)]


@operation("self-trade prevention")
def test_an_order_that_would_meet_its_owner_expires(exchange: ccxt.binance) -> None:
    own = exchange.create_order(SYMBOL, "limit", "sell", 0.001, UNTRADED)
    mode = {"selfTradePreventionMode": "EXPIRE_TAKER"}
    taker = exchange.create_order(SYMBOL, "limit", "buy", 0.001, UNTRADED, mode)
    assert (taker["info"]["status"], taker["filled"]) == ("EXPIRED_IN_MATCH", 0)
    [prevented] = exchange.private_get_mypreventedmatches({"symbol": MARKET, "orderId": taker["id"]})
    assert prevented["makerOrderId"] == own["id"]


@operation("test order")
def test_a_test_order_leaves_nothing(exchange: ccxt.binance) -> None:
    exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000, {"test": True})
    assert exchange.fetch_orders(SYMBOL) == []


@operation("query by client id")
def test_an_order_is_found_and_cancelled_by_its_own_id(exchange: ccxt.binance) -> None:
    own = {"clientOrderId": "mine-1"}
    placed = exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000, own)
    assert exchange.fetch_order(None, SYMBOL, own)["id"] == placed["id"]
    assert exchange.cancel_order(None, SYMBOL, own)["id"] == placed["id"]


@operation("open orders")
def test_open_orders_are_those_that_rest(exchange: ccxt.binance) -> None:
    resting = exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
    exchange.create_order(SYMBOL, "market", "buy", 0.001)
    assert [order["id"] for order in exchange.fetch_open_orders(SYMBOL)] == [resting["id"]]
    exchange.options["warnOnFetchOpenOrdersWithoutSymbol"] = False
    assert [order["id"] for order in exchange.fetch_open_orders()] == [resting["id"]]


@operation("all orders")
def test_order_history_keeps_every_end(exchange: ccxt.binance) -> None:
    cancelled = exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
    exchange.cancel_order(cancelled["id"], SYMBOL)
    filled = exchange.create_order(SYMBOL, "market", "buy", 0.001)
    assert [(o["id"], o["status"]) for o in exchange.fetch_orders(SYMBOL)] == [
        (cancelled["id"], "canceled"),
        (filled["id"], "closed"),
    ]
    assert [order["id"] for order in exchange.fetch_closed_orders(SYMBOL)] == [filled["id"]]
    assert [order["id"] for order in exchange.fetch_canceled_orders(SYMBOL)] == [cancelled["id"]]


@operation("cancel all")
def test_all_orders_of_a_symbol_are_cancelled_at_once(exchange: ccxt.binance) -> None:
    placed = [exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000 + n)["id"] for n in range(3)]
    cancelled = exchange.cancel_all_orders(SYMBOL)
    assert sorted(order["id"] for order in cancelled) == placed
    assert exchange.fetch_open_orders(SYMBOL) == []


@operation("my trades")
def test_my_trades_say_order_fee_and_side(exchange: ccxt.binance) -> None:
    bought = exchange.create_order(SYMBOL, "market", "buy", 0.01)
    sold = exchange.create_order(SYMBOL, "market", "sell", 0.01)
    trades = exchange.fetch_my_trades(SYMBOL)
    assert [(t["order"], t["side"], t["takerOrMaker"]) for t in trades] == [
        (bought["id"], "buy", "taker"),
        (sold["id"], "sell", "taker"),
    ]
    paid = Decimal(trades[1]["info"]["quoteQty"])
    assert trades[1]["fee"] == {"currency": "USDT", "cost": pytest.approx(float(paid) / 1000, abs=1e-8)}
    assert [t["order"] for t in exchange.fetch_order_trades(sold["id"], SYMBOL)] == [sold["id"]]


@operation("unfilled order count")
def test_the_order_count_grows_by_what_is_placed(exchange: ccxt.binance) -> None:
    exchange.create_order(SYMBOL, "limit", "buy", 0.001, 90_000)
    day = exchange.private_get_ratelimit_order()[1]
    assert (day["interval"], day["count"]) == ("DAY", "1")


# Lists, by ccxt's raw calls.


@operation("OTO list")
def test_an_oto_list_rests_with_both_legs(exchange: ccxt.binance) -> None:
    placed = exchange.private_post_orderlist_oto(oto())
    assert (placed["contingencyType"], placed["listOrderStatus"]) == ("OTO", "EXECUTING")
    statuses = {report["side"]: report["status"] for report in placed["orderReports"]}
    assert statuses == {"BUY": "NEW", "SELL": "PENDING_NEW"}


@operation("OTO list that fills")
def test_the_pending_leg_lives_once_the_working_leg_is_filled(exchange: ccxt.binance) -> None:
    placed = exchange.private_post_orderlist_oto(oto(workingPrice="101000"))
    working, pending = sorted(placed["orders"], key=lambda leg: int(leg["orderId"]))
    assert exchange.fetch_order(working["orderId"], SYMBOL)["status"] == "closed"
    released = exchange.fetch_order(pending["orderId"], SYMBOL)
    assert (released["status"], released["price"]) == ("open", 110_000)


@operation("OPO list that fills")
def test_an_opo_sells_what_its_buy_delivered(exchange: ccxt.binance) -> None:
    terms = oto(workingPrice="101000", workingQuantity="0.01")
    del terms["pendingQuantity"]
    placed = exchange.private_post_orderlist_opo(terms)
    _, pending = sorted(placed["orders"], key=lambda leg: int(leg["orderId"]))
    released = exchange.fetch_order(pending["orderId"], SYMBOL)
    assert (released["status"], released["side"]) == ("open", "sell")
    assert 0.0099 <= released["amount"] <= 0.01


@operation("list query")
def test_a_list_is_found_by_either_of_its_ids(exchange: ccxt.binance) -> None:
    placed = exchange.private_post_orderlist_oto(oto(listClientOrderId="my-list"))
    number = placed["orderListId"]
    assert exchange.private_get_orderlist({"orderListId": number})["listClientOrderId"] == "my-list"
    assert exchange.private_get_orderlist({"origClientOrderId": "my-list"})["orderListId"] == number


@operation("open and all lists")
def test_lists_are_told_apart_by_whether_they_live(exchange: ccxt.binance) -> None:
    over, alive = (exchange.private_post_orderlist_oto(oto())["orderListId"] for _ in range(2))
    exchange.private_delete_orderlist({"symbol": MARKET, "orderListId": over})
    assert [found["orderListId"] for found in exchange.private_get_openorderlist()] == [alive]
    assert [found["orderListId"] for found in exchange.private_get_allorderlist()] == [over, alive]


@operation("cancel list")
def test_cancelling_a_list_ends_both_legs(exchange: ccxt.binance) -> None:
    placed = exchange.private_post_orderlist_oto(oto())
    ended = exchange.private_delete_orderlist({"symbol": MARKET, "orderListId": placed["orderListId"]})
    assert ended["listOrderStatus"] == "ALL_DONE"
    assert exchange.fetch_open_orders(SYMBOL) == []


@operation("cancel a leg")
def test_cancelling_a_leg_cancels_its_list(exchange: ccxt.binance) -> None:
    placed = exchange.private_post_orderlist_oto(oto())
    exchange.cancel_order(placed["orders"][0]["orderId"], SYMBOL)
    assert exchange.fetch_open_orders(SYMBOL) == []
    assert exchange.private_get_openorderlist() == []
