"""Every Alpha answer has the keys and JSON types of the venue's own payloads."""

import json
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest

from paper_exchange.http import Request
from tests.paper_exchange.desk import ASSET, DEFI, KOGE, PUBLIC, Desk, Trader, make_config, sample

OF_KOGE = "chainId=56&tokenAddress=0xe6df05ce8c8301223373cf5b969afcb1498c5528"


def shape(value: Any) -> Any:
    """Keys and types; a list stands for its first element."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def assert_alike(ours: Any, theirs: Any) -> None:
    assert shape(ours) == shape(theirs)


@pytest.fixture
def trader(desk: Desk) -> Trader:
    """A user with a finished OTO, a resting OTO and a balance."""
    made = desk.trader()
    made.oto("48.24", "0.5", "47")
    desk.pass_time(2)
    made.oto("48.24", "0.5", "49")
    desk.pass_time(1)
    return made


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("ticker", f"symbol={KOGE}", "public_ticker"),
        ("agg-trades", f"symbol={KOGE}&limit=1", "public_agg_trades"),
        ("klines", f"symbol={KOGE}&interval=1m", "public_klines"),
        ("klines", f"symbol={KOGE}&interval=1w", "public_klines"),
        ("klines", f"symbol={KOGE}&interval=1M", "public_klines"),
        ("klines", f"symbol={KOGE}&interval=15s", "public_klines"),
        ("agg-klines", f"{OF_KOGE}&interval=1s&limit=1&dataType=aggregate", "public_agg_klines"),
        ("fullDepth", f"symbol={KOGE}&limit=5", "public_full_depth"),
        ("fullDepth", f"symbol={KOGE}&limit=5", "public_full_depth_crossed"),
        ("get-fee-rate", f"symbol={KOGE}", "public_fee_rate"),
        ("get-from-asset", "", "public_from_asset"),
    ],
)
def test_public_reads(desk: Desk, path: str, query: str, name: str) -> None:
    assert_alike(desk.public(path, query)["data"], sample(name)["data"])


def test_exchange_info_carries_all_filters_with_every_key(desk: Desk) -> None:
    ours = desk.public("get-exchange-info")["data"]
    theirs = sample("public_exchange_info_2025-10")["data"]
    assert sorted(ours) == sorted(theirs)
    koge = next(row for row in ours["symbols"] if row["symbol"] == KOGE)
    real = next(row for row in theirs["symbols"] if row["symbol"] == KOGE)
    assert koge == real


def test_the_token_list_has_koge_on_bsc_as_the_venue_lists_it(desk: Desk) -> None:
    rows = desk.public("aggTicker24", "dataType=aggregate")["data"]
    real = next(row for row in sample("public_token_list")["data"] if row["alphaId"] == "ALPHA_22")
    koge = rows[0]
    assert_alike(koge, real)
    same = ("alphaId", "symbol", "name", "chainId", "contractAddress", "decimals", "mulPoint", "tradeDecimal")
    assert {key: koge[key] for key in same} == {key: real[key] for key in same}
    listed = "/bapi/defi/v1/public/wallet-direct/buw/wallet/cex/alpha/all/token/list"
    assert json.loads(desk.ask(Request("GET", listed)).body)["data"] == rows  # type: ignore[union-attr]


def test_placements_answer_as_captured(trader: Trader) -> None:
    single = trader.post(f"{ASSET}/order/place", trader.order_body("BUY", "40", "1"))
    assert_alike(single, sample("private_order_place")["response"])
    pair = trader.post(f"{ASSET}/oto-order/place", trader.oto_body("40", "1", "50"))
    assert_alike(pair, sample("private_oto_place")["response"])
    assert pair["data"]["pendingOrderId"] == pair["data"]["workingOrderId"] + 1


@pytest.mark.parametrize("form", ["request_browser_2026", "request_koge_2025", "request_string_numbers"])
def test_captured_request_bodies_are_understood(desk: Desk, form: str) -> None:
    body = sample("private_oto_place")[form]
    answer = desk.trader().post(f"{ASSET}/oto-order/place", body)
    known = body["baseAsset"] == "ALPHA_22"
    assert answer["code"] == ("000000" if known else "000002")


def test_history_rows_and_their_total(trader: Trader) -> None:
    ours = trader.get(f"{DEFI}/order/get-order-history-merge", "page=1&rows=50&kind=LIMIT")
    theirs = sample("private_order_history")["response"]
    assert sorted(ours) == sorted(theirs)
    assert sorted(ours["data"][0]) == sorted(theirs["data"][0])
    real = {row["contingencyOrderPosition"]: row for row in theirs["data"]}
    for row in ours["data"]:
        twin = real[row["contingencyOrderPosition"]]
        assert {key: type(row[key]) for key in twin} == {key: type(value) for key, value in twin.items()}
    assert ours["total"] == 3


def test_open_orders(trader: Trader) -> None:
    rows = trader.get(f"{DEFI}/order/get-open-order", "side=")["data"]
    real = sample("private_open_orders")["one_order_assumed_shape"]["data"][0]
    assert {key: type(rows[0][key]) for key in real} == {key: type(value) for key, value in real.items()}
    assert trader.get(f"{DEFI}/order/get-open-order", "side=BUY")["data"] == []


def test_trades_of_an_order(trader: Trader) -> None:
    order = trader.get(f"{DEFI}/order/get-order-history-web", "page=1&rows=1&side=BUY")["data"][0]
    rows = trader.get(f"{DEFI}/order/get-user-trades", f"orderId={order['orderId']}&symbol={KOGE}")
    assert_alike(rows, sample("private_user_trades"))
    total = sum(Decimal(row["qty"]) for row in rows["data"])
    assert total == Decimal(order["executedQty"])
    every = trader.get(f"{DEFI}/order/get-user-trades", f"symbol={KOGE}")["data"]
    pages = [int(row["pageId"]) for row in every]
    assert pages == sorted(set(pages), reverse=True)


def test_order_detail_is_a_history_row(trader: Trader) -> None:
    row = trader.get(f"{DEFI}/order/get-order-history-web", "page=1&rows=1")["data"][0]
    detail = trader.get(f"{ASSET}/order/get-order-detail", f"orderId={row['orderId']}&symbol={KOGE}")
    assert detail["data"] == row


def test_wallets_and_volume(trader: Trader) -> None:
    wallet = trader.get("/bapi/defi/v1/private/wallet-direct/cloud-wallet/alpha", "includeCex=1")
    assert_alike(wallet, sample("private_alpha_wallet"))
    samples = sample("private_wallet_assets")
    body = samples["get_wallet_asset_v3_request"]
    assets = trader.post("/bapi/asset/v3/private/asset-service/asset/get-wallet-asset", body)
    theirs = samples["get_wallet_asset_v3_response"]["data"][0] | {"earn": None}
    assert_alike(assets["data"][0], theirs)
    path = "/bapi/asset/v2/private/asset-service/wallet/asset"
    overview = trader.get(path, "needAlphaAsset=1&quoteAsset=USDT")["data"]
    for row, real in zip(overview, samples["wallet_asset_v2_response"]["data"], strict=True):
        assert sorted(row) == sorted(real)
    volume = trader.get("/bapi/defi/v1/private/wallet-direct/buw/wallet/today/user-volume")
    assert_alike(volume, sample("private_user_volume"))
    spent = sum(fill.quote for fill in trader.desk.state.fills if fill.side == "BUY")
    assert Decimal(str(volume["data"]["totalVolume"])) == spent


def test_points_count_todays_buys_on_a_scale_of_powers_of_two(trader: Trader) -> None:
    found = trader.get("/bapi/defi/v1/private/wallet-direct/buw/tge/common/user-score")
    theirs = sample("private_user_score")
    assert_alike(
        found | {"data": found["data"] | {"userSpendList": []}},
        theirs | {"data": theirs["data"] | {"userSpendList": []}},
    )
    (today,) = found["data"]["list"]
    bought = sum(fill.quote for fill in trader.desk.state.fills if fill.side == "BUY")
    assert 2**5 < bought < 2**6
    assert (today["alphaVolumeScore"], today["balanceScore"], today["totalScore"]) == ("5", "3", "8")
    assert Decimal(today["alphaVolume"]) == bought


def test_terms_and_the_accounts_of_a_user(trader: Trader) -> None:
    agreed = trader.get("/bapi/defi/v1/private/wallet-direct/swap/terms-agreement", "termType=X")
    assert agreed["data"] is True
    path = "/bapi/asset/v2/private/asset-service/wallet/balance"
    accounts = trader.get(path, "quoteAsset=USDT&needBalanceDetail=true")["data"]
    held = {
        one["accountType"]: {row["asset"]: row["free"] for row in one["assetBalances"]} for one in accounts
    }
    assert Decimal(held["CARD"]["USDT"]) == Decimal(trader.balance("USDT")[0]).quantize(
        Decimal("1e-8"), ROUND_DOWN
    )
    assert held["MAIN"] == {}


def test_a_switch_crosses_the_book_that_is_told(desk: Desk) -> None:
    crossed = sample("public_full_depth_crossed")["data"]
    assert Decimal(crossed["bids"][0][0]) > Decimal(crossed["asks"][0][0])
    other = Desk(make_config(alpha={"crossed_book": "true"}))
    other.pass_time(1)
    depth = other.public("fullDepth", f"symbol={KOGE}&limit=5")["data"]
    assert Decimal(depth["bids"][0][0]) > Decimal(depth["asks"][0][0])


def test_cancel_and_listen_key(trader: Trader) -> None:
    order_id = trader.order("BUY", "40", "1")
    assert trader.cancel(order_id) == sample("private_cancel")["response"]
    assert trader.post(f"{DEFI}/order/cancel-all", {}) == sample("private_cancel")["cancel_all_response"]
    assert_alike(trader.post(f"{DEFI}/get-listen-key", {}), sample("private_listen_key")["response"])


@pytest.mark.parametrize(
    "headers", [{}, {"cookie": "p20t=stranger", "csrftoken": "x"}, {"cookie": "p20t=", "csrftoken": ""}]
)
def test_a_bad_session_gets_the_venues_words(desk: Desk, headers: dict[str, str]) -> None:
    desk.trader()
    answer = desk.ask(Request("GET", f"{DEFI}/order/get-open-order", headers=headers))
    assert json.loads(answer.body) == sample("errors")["session_invalid"]  # type: ignore[union-attr]


def test_a_session_with_a_wrong_csrf_token_is_bad(desk: Desk) -> None:
    trader = desk.trader()
    trader.headers = trader.headers | {"csrftoken": "wrong"}
    assert trader.get(f"{DEFI}/order/get-open-order")["code"] == "100002001"


def changed(body: dict[str, Any], **values: Any) -> dict[str, Any]:
    return body | values


def refused(trader: Trader, body: dict[str, Any]) -> tuple[str, str]:
    answer = trader.post(f"{ASSET}/order/place", body)
    assert sorted(answer) == ["code", "data", "message", "messageDetail", "success"]
    assert answer["success"] is False
    return answer["code"], answer["message"]


def test_refusals_carry_the_venues_codes_and_texts(desk: Desk) -> None:
    trader, errors = desk.trader(), sample("errors")
    small = errors["total_too_small"]
    assert refused(trader, trader.order_body("BUY", "48", "0.002")) == (small["code"], small["message"])
    mismatch = errors["amount_mismatch_order"]
    wrong = trader.order_body("BUY", "48", "1") | {
        "paymentDetails": [{"amount": "47.99", "paymentWalletType": "CARD"}]
    }
    assert refused(trader, wrong) == (mismatch["code"], mismatch["message"])
    oto = trader.oto_body("48", "1", "49") | {"paymentDetails": wrong["paymentDetails"]}
    answer = trader.post(f"{ASSET}/oto-order/place", oto)
    assert (answer["code"], answer["message"]) == (
        errors["amount_mismatch_oto"]["code"],
        errors["amount_mismatch_oto"]["message"],
    )
    assert refused(trader, trader.order_body("BUY", "48", "0.00015"))[1] == errors["step_mismatch"]["message"]
    assert refused(trader, trader.order_body("SELL", "48", "1"))[0] == errors["insufficient_balance"]["code"]


@pytest.mark.parametrize(
    ("price", "quantity", "code"),
    [
        ("48.000000001", "1", "481012"),
        ("0.000000001", "1", "481012"),
        ("100000.1", "0.1", "481012"),
        ("48", "0", "000002"),
        ("48", "-1", "000002"),
        ("48", "19909.0001", "481011"),
        ("100000", "11", "481014"),
    ],
)
def test_values_off_the_filters_are_refused(desk: Desk, price: str, quantity: str, code: str) -> None:
    trader = desk.trader(USDT="100000000")
    assert refused(trader, trader.order_body("BUY", price, quantity))[0] == code


def test_paging_ends_with_a_short_page_and_covers_every_row(desk: Desk) -> None:
    trader = desk.trader()
    placed = []
    for _ in range(7):
        placed.append(trader.order("BUY", "40", "0.1"))
        trader.cancel(placed[-1])
        desk.pass_time(1)
    pages = [
        trader.get(f"{DEFI}/order/get-order-history-merge", f"page={page}&rows=3&orderStatus=CANCELED,FILLED")
        for page in (1, 2, 3, 4)
    ]
    assert [len(page["data"]) for page in pages] == [3, 3, 1, 0]
    rows = [int(row["orderId"]) for page in pages for row in page["data"]]
    assert rows == sorted(placed, reverse=True)
    since = desk.now_ms - 3500
    late = trader.get(f"{DEFI}/order/get-order-history-merge", f"page=1&rows=10&startTime={since}")["data"]
    assert [int(row["orderId"]) for row in late] == placed[:3:-1]
    assert trader.get(f"{DEFI}/order/get-order-history-merge", "orderStatus=FILLED")["data"] == []


def test_agg_trades_can_be_read_from_an_id(desk: Desk) -> None:
    desk.pass_time(3)
    every = desk.public("agg-trades", f"symbol={KOGE}")["data"]
    ids = [row["a"] for row in every]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    some = desk.public("agg-trades", f"symbol={KOGE}&fromId={ids[2]}&limit=3")["data"]
    assert [row["a"] for row in some] == ids[2:5]


@pytest.mark.parametrize("path", ["ticker", "klines", "fullDepth"])
def test_an_unknown_symbol_is_an_error_of_the_envelope(desk: Desk, path: str) -> None:
    answer = desk.public(path, "symbol=ALPHA_0USDT&interval=1m")
    assert (answer["code"], answer["success"]) == ("000002", False)


def test_a_path_nobody_serves_is_not_found(desk: Desk) -> None:
    assert desk.ask(Request("GET", f"{PUBLIC}/nothing")).status == 404  # type: ignore[union-attr]
    assert desk.ask(Request("GET", "/elsewhere")).status == 404  # type: ignore[union-attr]
