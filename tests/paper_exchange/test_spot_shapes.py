"""Every Spot answer has the keys and JSON types of the venue's own payloads."""

from decimal import Decimal
from typing import Any

import pytest

from paper_exchange.http import Request, Response
from tests.paper_exchange.desk import Desk, make_config
from tests.paper_exchange.spot_desk import BNB, SpotTrader, assert_alike, opo, oto, public, sample, shape


@pytest.fixture
def bnb() -> Desk:
    desk = Desk()
    desk.pin("800", BNB)
    return desk


@pytest.fixture
def trader(bnb: Desk) -> SpotTrader:
    return SpotTrader(bnb)


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("ping", "", "rest_ping"),
        ("time", "", "rest_time"),
        ("depth", f"symbol={BNB}&limit=5", "rest_depth"),
        ("trades", f"symbol={BNB}&limit=2", "rest_trades"),
        ("historicalTrades", f"symbol={BNB}", "rest_trades"),
        ("aggTrades", f"symbol={BNB}&limit=1", "rest_agg_trades"),
        ("klines", f"symbol={BNB}&interval=1m", "rest_klines"),
        ("klines", f"symbol={BNB}&interval=1M&timeZone=-1:30", "rest_klines"),
        ("avgPrice", f"symbol={BNB}", "rest_avg_price"),
        ("ticker/price", f"symbol={BNB}", "rest_ticker_price_one"),
        ("ticker/price", "", "rest_ticker_price_many"),
        ("ticker/price", "symbols=%5B%22BNBUSDT%22%5D", "rest_ticker_price_many"),
        ("ticker/bookTicker", f"symbol={BNB}", "rest_book_ticker_one"),
        ("ticker/bookTicker", "", "rest_book_ticker_many"),
        ("ticker/24hr", f"symbol={BNB}", "rest_ticker_24hr_full"),
        ("ticker/24hr", f"symbol={BNB}&type=MINI", "rest_ticker_24hr_mini"),
    ],
)
def test_public_reads(bnb: Desk, path: str, query: str, name: str) -> None:
    bnb.pass_time(1)
    assert_alike(public(bnb, path, query), sample(name))


def test_exchange_info_has_every_key_and_only_filters_as_the_venue_writes_them(bnb: Desk) -> None:
    ours, theirs = (
        public(bnb, "exchangeInfo", f"symbol={BNB}"),
        sample("composed_rest_exchange_info_one_symbol"),
    )
    assert shape(ours | {"symbols": []}) == shape(theirs | {"symbols": []})
    (row,), (real,) = ours["symbols"], theirs["symbols"]
    assert shape(row | {"filters": []}) == shape(real | {"filters": []})
    known = {found["filterType"]: shape(found) for found in sample("filters_all_examples")}
    assert [shape(found) for found in row["filters"]] == [known[f["filterType"]] for f in row["filters"]]
    by_name = {found["filterType"]: found for found in row["filters"]}
    assert by_name["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert by_name["NOTIONAL"]["minNotional"] == "5.00000000"
    assert by_name["MAX_NUM_ORDER_LISTS"] == {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20}


def test_exchange_info_lists_all_or_the_asked_ones_and_never_alpha(bnb: Desk) -> None:
    every = [row["symbol"] for row in public(bnb, "exchangeInfo")["symbols"]]
    assert every == ["BTCUSDT", "BNBUSDT"]
    asked = public(bnb, "exchangeInfo", "symbols=%5B%22BNBUSDT%22,%22BTCUSDT%22%5D")
    assert [row["symbol"] for row in asked["symbols"]] == ["BNBUSDT", "BTCUSDT"]
    assert public(bnb, "exchangeInfo", "symbolStatus=HALT")["symbols"] == []


def test_a_withdrawn_symbol_is_halted_and_takes_no_orders(trader: SpotTrader) -> None:
    desk = trader.desk
    desk.control("POST", "faults", {"kind": "delist", "symbol": BNB})
    assert public(desk, "exchangeInfo", f"symbol={BNB}")["symbols"][0]["status"] == "HALT"
    terms = {"symbol": BNB, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "700"}
    assert trader.refused("POST", "order", **terms, quantity="1") == (400, -2010, "Market is closed.")


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("ACK", "rest_order_ack"), ("RESULT", "rest_order_result"), ("FULL", "rest_order_full")],
)
def test_a_placed_order_answers_in_the_form_asked_for(trader: SpotTrader, wanted: str, name: str) -> None:
    assert_alike(trader.limit("BUY", "801", "1", newOrderRespType=wanted), sample(name))


def test_limit_and_market_answer_in_full_and_others_shortly_by_default(trader: SpotTrader) -> None:
    assert "fills" in trader.limit("BUY", "700", "1")
    maker = trader.call(
        "POST", "order", symbol=BNB, side="BUY", type="LIMIT_MAKER", price="700", quantity="1"
    )
    assert_alike(maker, sample("rest_order_ack"))


def test_amounts_are_padded_to_eight_decimals(trader: SpotTrader) -> None:
    answer = trader.limit("BUY", "801", "1", newClientOrderId="mine")
    (fill,) = answer["fills"]
    assert (answer["price"], answer["origQty"], answer["executedQty"]) == (
        "801.00000000",
        "1.00000000",
        "1.00000000",
    )
    assert answer["cummulativeQuoteQty"] == f"{float(fill['price']):.8f}"
    assert (fill["commission"], fill["commissionAsset"]) == ("0.00100000", "BNB")
    assert answer["clientOrderId"] == "mine"


def test_a_client_id_is_made_up_of_22_characters(trader: SpotTrader) -> None:
    assert len(trader.limit("BUY", "700", "1")["clientOrderId"]) == 22


def test_queries_and_cancels_of_an_order(trader: SpotTrader) -> None:
    placed = trader.limit("BUY", "700", "1", newClientOrderId="mine")
    query = trader.order(placed["orderId"])
    assert_alike(query, sample("rest_order_query"))
    assert (query["status"], query["isWorking"], query["clientOrderId"]) == ("NEW", True, "mine")
    assert trader.call("GET", "order", symbol=BNB, origClientOrderId="mine") == query
    assert_alike(trader.call("GET", "openOrders", symbol=BNB), sample("rest_open_orders"))
    assert_alike(trader.call("GET", "allOrders", symbol=BNB), sample("rest_all_orders"))
    ended = trader.call("DELETE", "order", symbol=BNB, orderId=placed["orderId"], newClientOrderId="gone")
    assert_alike(ended, sample("rest_order_cancel"))
    assert (ended["origClientOrderId"], ended["clientOrderId"], ended["status"]) == (
        "mine",
        "gone",
        "CANCELED",
    )
    renamed = trader.call("GET", "order", symbol=BNB, origClientOrderId="mine")
    assert (renamed["clientOrderId"], renamed["orderId"]) == ("gone", placed["orderId"])


def test_trades_of_an_account(trader: SpotTrader) -> None:
    placed = trader.limit("BUY", "801", "1")
    (trade,) = trader.call("GET", "myTrades", symbol=BNB)
    assert_alike([trade], sample("rest_my_trades"))
    assert (trade["id"], trade["orderId"]) == (placed["fills"][0]["tradeId"], placed["orderId"])
    assert trade["id"] in [row["id"] for row in public(trader.desk, "trades", f"symbol={BNB}")]
    assert trader.call("GET", "myTrades", symbol=BNB, fromId=trade["id"] + 1) == []
    assert trader.call("GET", "myTrades", symbol=BNB, orderId=placed["orderId"]) == [trade]


def test_a_sweep_over_several_quotes_is_told_trade_by_trade(bnb: Desk) -> None:
    seller, buyer = SpotTrader(bnb, "1", BNB="5"), SpotTrader(bnb, "2", USDT="5000")
    for quantity in ("1", "2"):
        seller.limit("SELL", "800.02", quantity)
    fills = buyer.limit("BUY", "800.02", "3")["fills"]
    mine = {fill["tradeId"]: fill["qty"] for fill in fills if fill["price"] == "800.02000000"}
    rows = {row["id"]: row["qty"] for row in public(bnb, "trades", f"symbol={BNB}")}
    assert mine
    assert mine.items() <= rows.items()


def test_account_commission_and_counts(trader: SpotTrader) -> None:
    account = trader.call("GET", "account")
    assert_alike(account, sample("rest_account"))
    assert [row["asset"] for row in account["balances"]] == ["BNB", "BTC", "USDT"]
    assert account["commissionRates"]["taker"] == "0.00100000"
    assert account["takerCommission"] == 10
    kept = trader.call("GET", "account", omitZeroBalances="true")["balances"]
    assert kept == [{"asset": "USDT", "free": "20000.00000000", "locked": "0.00000000"}]
    assert_alike(trader.call("GET", "account/commission", symbol=BNB), sample("rest_account_commission"))
    assert_alike(trader.call("GET", "rateLimit/order"), sample("rest_rate_limit_order"))


def test_lists_placed_queried_and_cancelled(trader: SpotTrader) -> None:
    placed = trader.call("POST", "orderList/oto", **oto())
    assert_alike(placed, sample("rest_orderlist_oto"))
    list_id = placed["orderListId"]
    by_id = trader.call("GET", "orderList", orderListId=list_id)
    assert_alike(by_id, sample("rest_orderlist_query"))
    assert trader.call("GET", "orderList", origClientOrderId="lst-0001") == by_id
    assert_alike(trader.call("GET", "openOrderList"), sample("rest_orderlist_open"))
    assert_alike(trader.call("GET", "allOrderList"), sample("rest_orderlist_all"))
    ended = trader.call("DELETE", "orderList", symbol=BNB, listClientOrderId="lst-0001")
    expected = sample("rest_orderlist_cancel")
    for report in expected["orderReports"]:
        report.pop("stopPrice", None)
    assert_alike(ended, expected)
    assert {report["clientOrderId"] for report in ended["orderReports"]} != {"w-0001", "p-0001"}
    assert [order["clientOrderId"] for order in ended["orders"]] == ["w-0001", "p-0001"]
    assert trader.call("GET", "openOrderList") == []


def test_an_opo_has_no_pending_quantity_until_it_is_released(trader: SpotTrader) -> None:
    placed = trader.call("POST", "orderList/opo", **opo())
    assert_alike(placed, sample("rest_orderlist_opo"))
    working, pending = placed["orderReports"]
    assert ("origQty" in working, "origQty" in pending) == (True, False)
    assert "origQty" not in trader.order(pending["orderId"])


def test_a_list_that_is_over_in_its_own_answer_has_lost_its_name() -> None:
    desk = Desk(make_config(house={"levels": "1", "level_notional": "400"}))
    desk.pin("800", BNB)
    trader = SpotTrader(desk)
    terms = oto(workingPrice="801", workingTimeInForce="FOK")
    placed = trader.call("POST", "orderList/oto", **terms)
    expected = sample("synthetic_rest_orderlist_oto_fok_unfilled")
    assert_alike(placed, expected)
    assert placed["listClientOrderId"] is None
    reasons = [report["expiryReason"] for report in placed["orderReports"]]
    assert reasons == [report["expiryReason"] for report in expected["orderReports"]]


def test_cancelling_all_mixes_orders_and_lists(trader: SpotTrader) -> None:
    trader.limit("BUY", "700", "1")
    trader.call("POST", "orderList/oto", **oto())
    single, listed = trader.call("DELETE", "openOrders", symbol=BNB)
    real_single, _, real_listed = sample("rest_cancel_all_open_orders")
    for report in real_listed["orderReports"]:
        report.pop("stopPrice", None)
        report.pop("icebergQty", None)
    assert_alike(single, real_single)
    assert_alike(listed, real_listed)
    assert trader.call("GET", "openOrders", symbol=BNB) == []


def stp(desk: Desk, mode: str) -> tuple[Any, Any]:
    trader = SpotTrader(desk, USDT="5000", BNB="5")
    maker = trader.limit("SELL", "810", "1")
    return trader.order(maker["orderId"]), trader.limit("BUY", "810", "3", selfTradePreventionMode=mode)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("EXPIRE_BOTH", "rest_order_full_stp_expire_both"),
        ("EXPIRE_MAKER", "rest_order_full_stp_expire_maker_taker_rests"),
    ],
)
def test_a_prevented_self_trade_is_told_to_the_taker(mode: str, name: str) -> None:
    desk = Desk(make_config(house={"levels": "0"}))
    desk.pin("800", BNB)
    maker, taker = stp(desk, mode)
    expected = sample(name) | {"origQuoteOrderQty": ""}
    expected.pop("tradeGroupId", None)  # the account is in no group
    assert_alike(taker, expected)
    trader = SpotTrader(desk)
    assert_alike(trader.order(maker["orderId"]), sample("rest_order_query_expired_in_match"))


def test_market_orders_take_what_there_is_and_the_rest_expires() -> None:
    desk = Desk(make_config(house={"levels": "2", "level_notional": "400"}))
    desk.pin("800", BNB)
    trader = SpotTrader(desk)
    answer = trader.call("POST", "order", symbol=BNB, side="BUY", type="MARKET", quantity="5")
    expected = sample("rest_order_full_market_expired") | {"origQuoteOrderQty": "", "expiryReason": ""}
    assert_alike(answer, expected)
    assert (answer["price"], answer["timeInForce"], answer["status"]) == ("0.00000000", "GTC", "EXPIRED")
    assert answer["expiryReason"] == "INSUFFICIENT_LIQUIDITY"
    assert trader.account.locked["USDT"] == 0


def test_a_market_order_can_ask_for_a_quote_amount(trader: SpotTrader) -> None:
    answer = trader.call("POST", "order", symbol=BNB, side="BUY", type="MARKET", quoteOrderQty="1000")
    assert (answer["status"], answer["origQuoteOrderQty"]) == ("FILLED", "1000.00000000")
    assert 990 < Decimal(answer["cummulativeQuoteQty"]) <= 1000


@pytest.mark.parametrize("wanted", ["100", "1000", "1623.40", "2400", "20000"])
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_quote_amount_is_met_to_within_a_step_level_by_level(side: str, wanted: str) -> None:
    desk = Desk(make_config(house={"levels": "30", "level_notional": "900", "level_gap_percent": "0.5"}))
    desk.pin("800", BNB)
    trader = SpotTrader(desk, USDT=wanted, BNB="30")  # all there is: the last level's price is no cost
    answer = trader.call("POST", "order", symbol=BNB, side=side, type="MARKET", quoteOrderQty=wanted)
    assert answer["status"] == "FILLED"
    step = Decimal("0.001") * max(Decimal(fill["price"]) for fill in answer["fills"])
    assert Decimal(wanted) - step < Decimal(answer["cummulativeQuoteQty"]) <= Decimal(wanted)
    assert trader.account.locked["USDT" if side == "BUY" else "BNB"] == 0


def test_a_quote_amount_is_not_exceeded_by_a_book_that_moved_while_the_order_was_on_its_way() -> None:
    house = {"levels": "1", "level_notional": "900", "spread_percent": "10"}
    desk = Desk(make_config(house=house, spot={"fill_delay_seconds": ["1", "1"]}))
    desk.pin("800", BNB)
    SpotTrader(desk, "2", BNB="2").limit("SELL", "880", "2")
    desk.pass_time(2)
    trader = SpotTrader(desk, USDT="1100")
    trader.call("POST", "order", symbol=BNB, side="BUY", type="MARKET", quoteOrderQty="1000")
    desk.pin("839", BNB)  # the house, which asked 840 for the most of it, asks above 880 now
    desk.pass_time(2)
    (order,) = trader.call("GET", "allOrders", symbol=BNB)
    assert (order["status"], order["expiryReason"]) == ("EXPIRED", "INSUFFICIENT_LIQUIDITY")
    assert 999 < Decimal(order["cummulativeQuoteQty"]) <= 1000
    assert trader.account.locked["USDT"] == 0


def test_microseconds_on_request(trader: SpotTrader) -> None:
    desk = trader.desk
    answer = desk.ask(Request("GET", "/api/v3/time", headers={"x-mbx-time-unit": "MICROSECOND"}))
    assert isinstance(answer, Response)
    assert answer.body == b'{"serverTime":%d}' % (desk.now_ms * 1000)
