"""Execution rules, reference prices, an account's limits and permissions, windows (binance-spot 1.5, 2)."""

from decimal import Decimal
from typing import Any

import pytest

from paper_exchange.config import PriceRange
from paper_exchange.http import Request, Response
from tests.paper_exchange.desk import Desk
from tests.paper_exchange.spot_desk import (
    BNB,
    Line,
    SpotTrader,
    assert_alike,
    bnb_desk,
    oto,
    public,
    sample,
    shape,
)
from tests.paper_exchange.test_spot_limits import used

NARROW = PriceRange(
    bid_up=Decimal("1.001"), bid_down=Decimal("0.5"), ask_up=Decimal(2), ask_down=Decimal("0.999")
)
RULED = {"reference_price": "path", "price_range": NARROW}


def ruled_desk() -> Desk:
    """BNB at 800 with nobody on the book, and no taker may pay over 800.8 or sell under 799.2."""
    return bnb_desk(house={"levels": "0"}, instrument=RULED)


def asked(desk: Desk, path: str, query: str = "") -> Any:
    answer = desk.ask(Request("GET", f"/api/v3/{path}", query))
    assert isinstance(answer, Response)
    return answer


# Reference prices and the price range rule (2.4).


def test_execution_rules_are_told_as_in_the_sample() -> None:
    found = public(ruled_desk(), "executionRules", f"symbol={BNB}")
    assert_alike(found, sample("rest_execution_rules"))
    assert found["symbolRules"][0]["rules"][0]["bidLimitMultUp"] == "1.001"


def test_a_rule_tells_only_the_multipliers_it_has_and_one_selector_chooses() -> None:
    desk = bnb_desk(instrument={"price_range": PriceRange(bid_up=Decimal("1.1"))})
    (row,) = public(desk, "executionRules", "symbols=%5B%22BNBUSDT%22%5D")["symbolRules"]
    assert row["rules"] == [{"ruleType": "PRICE_RANGE", "bidLimitMultUp": "1.1"}]
    assert len(public(desk, "executionRules")["symbolRules"]) == 2
    assert public(desk, "executionRules", "symbolStatus=HALT") == {"symbolRules": []}
    both = asked(desk, "executionRules", f"symbol={BNB}&symbolStatus=TRADING")
    assert (both.status, b"-1128" in both.body) == (400, True)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("path", "rest_reference_price"),
        ("null", "rest_reference_price_null"),
        ("never", "rest_reference_price_never_set_error"),
    ],
)
def test_a_symbols_reference_price_is_there_or_null_or_was_never_set(kind: str, name: str) -> None:
    desk = bnb_desk(instrument={"reference_price": kind})
    answer = asked(desk, "referencePrice", f"symbol={BNB}")
    assert answer.status == (400 if kind == "never" else 200)
    found = Line(desk, "/ws-api/v3").ask({"id": 1, "method": "referencePrice", "params": {"symbol": BNB}})
    ours = found["error"] if kind == "never" else found["result"]
    assert_alike(ours, sample(name))


def test_the_reference_price_is_told_once_a_second() -> None:
    desk = ruled_desk()
    line = Line(desk, "/ws/bnbusdt@referencePrice")
    desk.pass_time(2)
    frames = line.taken()
    assert len(frames) == 2
    assert_alike(frames[0], sample("stream_reference_price"))
    silent = Line(bnb_desk(), "/ws/bnbusdt@referencePrice")
    silent.desk.pass_time(2)
    assert silent.frames == []


def test_a_taker_that_would_leave_the_range_keeps_its_fills_and_expires() -> None:
    desk = ruled_desk()
    seller, buyer = SpotTrader(desk, "1", BNB="5"), SpotTrader(desk, "2")
    seller.limit("SELL", "800.5", "1")
    seller.limit("SELL", "801", "1")
    answer = buyer.limit("BUY", "805", "2")
    assert (answer["status"], answer["executedQty"], answer["expiryReason"]) == (
        "EXPIRED",
        "1.00000000",
        "EXECUTION_RULE_PRICE_RANGE_EXCEEDED",
    )
    assert buyer.account.locked["USDT"] == 0


@pytest.mark.parametrize("kind", ["MARKET", "FOK"])
def test_the_range_binds_market_and_fill_or_kill_orders_alike(kind: str) -> None:
    desk = ruled_desk()
    buyer, seller = SpotTrader(desk, "1"), SpotTrader(desk, "2", BNB="5")
    buyer.limit("BUY", "799.5", "1")
    buyer.limit("BUY", "790", "1")
    terms = {"symbol": BNB, "side": "SELL", "quantity": "2"}
    more = {"type": "MARKET"} if kind == "MARKET" else {"type": "LIMIT", "timeInForce": "FOK", "price": "780"}
    answer = seller.call("POST", "order", **terms, **more)
    assert (answer["status"], answer["expiryReason"]) == ("EXPIRED", "EXECUTION_RULE_PRICE_RANGE_EXCEEDED")
    assert answer["executedQty"] == ("1.00000000" if kind == "MARKET" else "0.00000000")


def test_the_range_does_not_bind_makers_nor_a_symbol_without_a_reference_price() -> None:
    desk = ruled_desk()
    seller, buyer = SpotTrader(desk, "1", BNB="5"), SpotTrader(desk, "2")
    buyer.limit("BUY", "802", "1")
    assert seller.limit("SELL", "802", "1")["status"] == "FILLED"
    free = bnb_desk(house={"levels": "0"}, instrument=RULED | {"reference_price": "null"})
    SpotTrader(free, "1", BNB="5").limit("SELL", "805", "1")
    assert SpotTrader(free, "2").limit("BUY", "805", "1")["status"] == "FILLED"


def test_an_oto_whose_taking_leg_leaves_the_range_ends_whole() -> None:
    desk = ruled_desk()
    SpotTrader(desk, "1", BNB="5").limit("SELL", "801", "1")
    placed = SpotTrader(desk, "2").call("POST", "orderList/oto", **oto(workingPrice="805"))
    reasons = [report.get("expiryReason") for report in placed["orderReports"]]
    assert reasons == ["EXECUTION_RULE_PRICE_RANGE_EXCEEDED", "OTO_PHASE_ONE_EXPIRED"]
    assert placed["listOrderStatus"] == "ALL_DONE"


# Filters (2.3).


def test_my_filters_are_told_as_in_the_sample() -> None:
    limits = {"exchange_max_num_orders": "1000", "max_assets": {"USDT": "1000000"}}
    trader = SpotTrader(bnb_desk(spot=limits))
    found, real = trader.call("GET", "myFilters", symbol=BNB), sample("rest_my_filters")
    assert_alike(found | {"symbolFilters": []}, real | {"symbolFilters": []})
    known = {one["filterType"]: shape(one) for one in sample("filters_all_examples")}
    assert [shape(one) for one in found["symbolFilters"]] == [
        known[one["filterType"]] for one in found["symbolFilters"]
    ]
    assert found["assetFilters"][0] == {
        "filterType": "MAX_ASSET",
        "asset": "USDT",
        "limit": "1000000.00000000",
    }


LIMITED: list[tuple[dict[str, Any], dict[str, Any], int, str]] = [
    ({"max_assets": {"USDT": "500"}}, {}, -1013, "MAX_ASSET"),
    ({"max_assets": {"BNB": "0.5"}}, {}, -1013, "MAX_ASSET"),
    ({}, {"max_position": Decimal(1)}, -2010, "MAX_POSITION"),
    ({"exchange_max_num_orders": "1"}, {}, -2010, "EXCHANGE_MAX_NUM_ORDERS"),
]


@pytest.mark.parametrize(("spot", "instrument", "code", "name"), LIMITED)
def test_limits_of_an_account_refuse_what_goes_beyond(
    spot: dict[str, Any], instrument: dict[str, Any], code: int, name: str
) -> None:
    trader = SpotTrader(bnb_desk(spot=spot, instrument=instrument))
    if code == -2010:
        trader.limit("BUY", "700", "0.9")
    terms = {
        "symbol": BNB,
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "price": "700",
        "quantity": "1",
    }
    assert trader.refused("POST", "order", **terms) == (400, code, f"Filter failure: {name}")


def test_lists_are_counted_over_all_symbols() -> None:
    trader = SpotTrader(bnb_desk(spot={"exchange_max_num_order_lists": "1"}))
    trader.call("POST", "orderList/oto", **oto())
    again = oto(listClientOrderId="l2", workingClientOrderId="w2", pendingClientOrderId="p2")
    found = trader.refused("POST", "orderList/oto", **again)
    assert found == (400, -2010, "Filter failure: EXCHANGE_MAX_NUM_ORDER_LISTS")


def test_percent_price_measures_from_the_reference_price() -> None:
    desk = bnb_desk(
        house={"levels": "0"}, instrument={"reference_price": "path", "percent_up": Decimal("1.01")}
    )
    maker, taker = SpotTrader(desk, "1", BNB="5"), SpotTrader(desk, "2")
    maker.limit("SELL", "807", "1")
    taker.limit("BUY", "807", "1")  # the last price is 807 now, the reference still 800
    terms = {"symbol": BNB, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1"}
    found = taker.refused("POST", "order", **terms, price="809")
    assert found == (400, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE")


# Permissions (1.5, 2.2).


def test_a_symbol_wants_one_permission_of_each_of_its_sets() -> None:
    desk = bnb_desk(instrument={"permission_sets": (("SPOT", "MARGIN"), ("TRD_GRP_004", "TRD_GRP_005"))})
    row = public(desk, "exchangeInfo", f"symbol={BNB}")["symbols"][0]
    assert row["permissionSets"] == [["SPOT", "MARGIN"], ["TRD_GRP_004", "TRD_GRP_005"]]
    assert public(desk, "exchangeInfo", "permissions=TRD_GRP_009")["symbols"] == []
    assert len(public(desk, "exchangeInfo", "permissions=%5B%22TRD_GRP_005%22%5D")["symbols"]) == 2
    trader = SpotTrader(desk)
    terms = {
        "symbol": BNB,
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "price": "700",
        "quantity": "1",
    }
    found = trader.refused("POST", "order", **terms)
    assert found == (400, -2010, "This symbol is not permitted for this account.")
    asked = {"user_id": "1", "venue": "spot", "permissions": ["SPOT", "TRD_GRP_005"]}
    desk.control("POST", "accounts", asked)
    assert trader.call("POST", "order", **terms)["status"] == "NEW"
    assert trader.call("GET", "account")["permissions"] == ["SPOT", "TRD_GRP_005"]


def test_permissions_bind_placing_and_never_cancelling() -> None:
    trader = SpotTrader(bnb_desk())
    order_id = trader.limit("BUY", "700", "1")["orderId"]
    trader.account.permissions = ()
    assert trader.call("DELETE", "order", symbol=BNB, orderId=order_id)["status"] == "CANCELED"


def test_a_key_that_may_not_trade_reads_and_neither_places_nor_cancels() -> None:
    trader = SpotTrader(bnb_desk())
    order_id = trader.limit("BUY", "700", "1")["orderId"]
    trader.desk.control("POST", "accounts", {"user_id": "1", "venue": "spot", "key_trades": False})
    refused = (401, -2015, "Invalid API-key, IP, or permissions for action.")
    assert trader.refused("DELETE", "order", symbol=BNB, orderId=order_id) == refused
    assert trader.refused("POST", "order", symbol=BNB) == refused
    assert trader.order(order_id)["status"] == "NEW"
    assert trader.call("GET", "account")["canTrade"] is False


# Tickers of windows (2.1).

MINI = {"symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume", "openTime"}
MINI |= {"closeTime", "firstId", "lastId", "count"}
FULL = MINI | {"priceChange", "priceChangePercent", "weightedAvgPrice"}


@pytest.mark.parametrize("path", ["ticker", "ticker/tradingDay"])
def test_window_tickers_have_the_days_keys_without_the_book(path: str) -> None:
    desk = bnb_desk()
    desk.pass_time(2)
    assert public(desk, path, f"symbol={BNB}").keys() == FULL
    (mini,) = public(desk, path, "symbols=%5B%22BNBUSDT%22%5D&type=MINI")
    assert mini.keys() == MINI
    day = public(desk, "ticker/24hr", f"symbol={BNB}")
    assert (
        mini.items() <= {**day, **{key: mini[key] for key in ("openTime", "closeTime", "openPrice")}}.items()
    )
    neither = asked(desk, path)
    assert (neither.status, b"-1102" in neither.body) == (400, True)
    many = ",".join(f"%22S{number}%22" for number in range(101))
    assert b"-1101" in asked(desk, path, f"symbols=%5B{many}%5D").body


def test_a_window_begins_on_a_minute_and_a_trading_day_at_the_clients_midnight() -> None:
    desk = bnb_desk()
    desk.pass_time(100)
    last_minute = public(desk, "ticker", f"symbol={BNB}&windowSize=1m")
    assert last_minute["openTime"] % 60_000 == 0
    assert desk.now_ms - 120_000 <= last_minute["openTime"] <= desk.now_ms - 60_000
    east = public(desk, "ticker/tradingDay", f"symbol={BNB}&timeZone=8")
    assert (east["openTime"] + 8 * 3_600_000) % 86_400_000 == 0
    for size in ("60m", "24h", "8d", "1w", "0m"):
        assert b"-1130" in asked(desk, "ticker", f"symbol={BNB}&windowSize={size}").body


@pytest.mark.parametrize("name", ["bnbusdt@ticker_1h", "!ticker_1h@arr"])
def test_rolling_windows_are_streamed_once_a_second(name: str) -> None:
    desk = bnb_desk()
    line = Line(desk, f"/ws/{name}")
    desk.pass_time(3)
    frame = line.frames[0]
    row = next(one for one in frame if one["s"] == BNB) if isinstance(frame, list) else frame
    assert row["e"] == "1hTicker"
    assert row.keys() == set("eEspPohlcwvqOCFLn")


def test_block_trades_are_none() -> None:
    assert public(bnb_desk(), "historicalBlockTrades", f"symbol={BNB}") == []


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        ("ticker?symbol=BNBUSDT", 4),
        ("ticker/tradingDay?symbols=%5B%22BNBUSDT%22,%22BTCUSDT%22%5D", 8),
        ("executionRules?symbol=BNBUSDT", 2),
        ("executionRules", 40),
        ("historicalBlockTrades?symbol=BNBUSDT", 25),
        ("historicalTrades?symbol=BNBUSDT", 25),
    ],
)
def test_these_reads_weigh_what_the_venue_says(path: str, weight: int) -> None:
    name, _, query = path.partition("?")
    desk = bnb_desk()
    answer = desk.ask(Request("GET", f"/api/v3/{name}", query, remote="10.0.0.7"))
    assert isinstance(answer, Response)
    assert used(answer) == weight
