"""The world: restarts, prices, the oracle, the control API, and rubbish from outside."""

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_exchange.config import ConfigError, PathSettings, load_config, parse_config
from paper_exchange.http import Request, Response
from paper_exchange.price_path import PathState, PricePath
from paper_exchange.store import MemoryStore, SqliteStore, StoreError
from paper_exchange.world import World
from tests.paper_exchange.desk import ASSET, DEFI, KOGE, PUBLIC, ROOT, Desk, make_config

# Restarts.


def test_orders_in_every_state_of_life_go_on_after_a_restart(desk: Desk) -> None:
    trader = desk.trader(USDT="20000", ALPHA_22="1")
    resting = trader.order("SELL", "48.5", "0.3")
    waiting = trader.oto("47", "1", "49")
    triggered = trader.oto("48.24", "0.5", "48.6")
    desk.pass_time(1)
    underway = trader.oto("48.24", "0.4", "48.7")
    desk.restart(down_seconds=3600)
    assert trader.found(underway[0]).priority is None
    desk.pin("48.9")
    desk.pass_time(1)
    for order_id in (resting, triggered[1]):
        assert trader.found(order_id).status == "FILLED"
    assert [trader.found(i).status for i in waiting] == ["NEW", "PENDING"]
    assert trader.found(underway[0]).status == "NEW"
    desk.pin("48")
    desk.pass_time(1)
    assert [trader.found(i).status for i in underway] == ["FILLED", "NEW"]
    assert trader.oto("47", "1", "49")[0] > underway[1]


def test_sessions_and_listen_keys_outlive_a_restart(desk: Desk) -> None:
    trader = desk.trader()
    key = trader.post(f"{DEFI}/get-listen-key", {})["data"]
    desk.restart()
    assert trader.post(f"{DEFI}/get-listen-key", {})["data"] == key


def test_the_price_path_and_the_public_record_go_on_where_they_stood() -> None:
    desk = Desk()
    desk.pass_time(7)
    before = desk.public("agg-trades", f"symbol={KOGE}")["data"]
    ticks = {symbol: market.record.path.ticks for symbol, market in desk.state.markets.items()}
    desk.restart(down_seconds=100)
    assert {symbol: market.record.path.ticks for symbol, market in desk.state.markets.items()} == ticks
    desk.pass_time(1)
    after = desk.public("agg-trades", f"symbol={KOGE}")["data"]
    assert after[: len(before)] == before
    assert after[len(before)]["a"] == before[-1]["a"] + 1
    change = Decimal(after[len(before)]["p"]) / Decimal(before[-1]["p"]) - 1
    assert abs(change) < Decimal("0.003")


def test_a_restart_makes_no_difference_to_the_path() -> None:
    straight, broken = Desk(), Desk()
    straight.pass_time(10)
    broken.pass_time(4)
    broken.restart()
    broken.pass_time(6)
    prices = [
        [t.price for t in desk.state.markets["ALPHA_382USDT"].tape.trades] for desk in (straight, broken)
    ]
    assert prices[0] == prices[1]


def test_a_long_sleep_does_not_set_off_a_race_through_lost_ticks(desk: Desk) -> None:
    printed = desk.state.markets[KOGE].record.agg_id
    desk.now_ms += 86_400_000
    desk.world.advance(desk.now_ms)
    assert desk.state.markets[KOGE].record.agg_id - printed <= desk.config.max_catch_up_ticks + 1


def test_a_clock_set_back_over_a_restart_stops_nothing(desk: Desk) -> None:
    trader = desk.trader()
    order_id = trader.order("BUY", "48.24", "0.5")
    desk.restart(down_seconds=-86_400)
    desk.pass_time(1)
    assert trader.found(order_id).status == "FILLED"


def test_a_world_with_orders_on_a_symbol_no_longer_configured_refuses_to_open(desk: Desk) -> None:
    desk.trader().order("BUY", "40", "1")
    desk.config = desk.config.model_copy(update={"instruments": desk.config.instruments[1:]})
    with pytest.raises(ValueError, match=KOGE):
        desk.restart()


def test_one_data_directory_has_one_owner(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path)
    with pytest.raises(StoreError, match="in use"):
        SqliteStore(tmp_path)
    first.close()
    SqliteStore(tmp_path).close()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "world.sqlite").write_bytes(b"not a database at all" * 300)
    with pytest.raises(StoreError, match="cannot open"):
        SqliteStore(tmp_path)


def test_nothing_is_told_before_it_is_saved() -> None:
    class Witness(MemoryStore):
        def save(self, documents: Any) -> None:
            super().save(documents)
            told.append("saved")

    told: list[str] = []
    desk = Desk(store=Witness())
    desk.pin("48")
    trader = desk.trader()
    trader.listen()
    trader.frames = told  # type: ignore[assignment]
    desk.world._streams[0]._sessions[0]._send = lambda frame: told.append("frame")  # type: ignore[attr-defined]
    told.clear()
    trader.order("BUY", "40", "1")
    assert told == ["saved", "frame"]


# Prices.


def path_of(**values: Any) -> tuple[PricePath, PathState]:
    chosen = PathSettings.model_validate({"start": "100"} | values)
    return PricePath(chosen, "seed"), PathState(ticks=0, price=chosen.start)


def walk(path: PricePath, state: PathState, ticks: int) -> list[Decimal]:
    prices = []
    for _ in range(ticks):
        path.step(state)
        prices.append(state.price)
    return prices


def test_a_swing_can_begin_at_its_lowest_point() -> None:
    prices = walk(*path_of(kind="swing", amplitude_percent="1", period_seconds="40", start_phase="0.75"), 100)
    assert min(prices) == prices[0]
    assert max(prices) == prices[-1]


def test_a_swing_reaches_its_amplitude_and_never_leaves_it() -> None:
    prices = walk(*path_of(kind="swing", amplitude_percent="1", period_seconds="40"), 400)
    assert (min(prices), max(prices)) == (Decimal(99), Decimal(101))
    assert prices[:200] == prices[200:]


def test_a_walk_stays_in_its_band_and_one_seed_gives_one_walk() -> None:
    wild = {"kind": "random_walk", "step_percent": "3", "band_percent": "5"}
    prices = walk(*path_of(**wild), 500)
    assert all(Decimal(95) <= price <= Decimal(105) for price in prices)
    assert prices == walk(*path_of(**wild), 500)
    assert len(set(prices)) > 400


def test_a_replay_follows_its_file_round_and_round(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("time,price\n1,100.5\n2,101.25\n3,99\n", encoding="utf-8")
    prices = walk(*path_of(kind="replay", file=str(file)), 4)
    assert [str(price) for price in prices] == ["101.25", "99", "100.5", "101.25"]


@pytest.mark.parametrize("content", ["", "price\n", "price\n1\nx\n", "1\n-2\n", "1\nNaN\n"])
def test_a_replay_that_is_no_price_list_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="price"):
        path_of(kind="replay", file=str(file))


def test_a_pinned_price_holds_until_it_is_let_go() -> None:
    desk = Desk()
    desk.control("POST", "price", {"symbol": KOGE, "price": "47.5"})
    desk.pass_time(10)
    assert desk.public("ticker", f"symbol={KOGE}")["data"]["lastPrice"] == "47.50000000"
    desk.control("POST", "price", {"symbol": KOGE, "price": None})
    desk.pass_time(1)
    assert desk.public("ticker", f"symbol={KOGE}")["data"]["lastPrice"] != "47.50000000"
    assert desk.control("POST", "price", {"symbol": "NOPE", "price": "1"})["_status"] == 409


# The oracle and the control API.


def test_the_oracle_counts_trades_between_managed_accounts_only() -> None:
    desk = Desk(make_config(house={"levels": "0"}))
    desk.pin("48")
    one = desk.trader("1", USDT="1000", ALPHA_22="5")
    two = desk.trader("2", USDT="1000", ALPHA_22="5")
    stranger = desk.trader("3", managed=False, USDT="1000", ALPHA_22="5")

    def trade(buyer: Any, seller: Any) -> int:
        seller.order("SELL", "48", "0.1")
        desk.pass_time(0.4)
        buyer.order("BUY", "48", "0.1")
        desk.pass_time(0.4)
        return int(desk.control("GET", "report")["self_matches"])

    assert trade(one, stranger) == 0
    assert trade(one, two) == 1
    assert trade(one, one) == 2
    desk.restart()
    assert desk.control("GET", "report")["self_matches"] == 2


def test_the_report_says_what_was_asked_and_traded(desk: Desk) -> None:
    trader = desk.trader()
    trader.oto("48.24", "0.5", "49")
    trader.order("BUY", "40", "1")
    desk.pass_time(1)
    report = desk.control("GET", "report")
    (row,) = report["users"]
    fill = desk.state.fills[0]
    assert {key: row[key] for key in ("accepted_requests", "accepted_lists", "orders", "open_orders")} == {
        "accepted_requests": 2,
        "accepted_lists": 1,
        "orders": 3,
        "open_orders": 2,
    }
    assert row["sides"]["BUY"] == {"trades": 1, "quantity": "0.5", "quote": str(fill.quote.normalize())}
    assert row["fees"] == {"ALPHA_22": "0.00005"}
    assert report["totals"]["sides"] == row["sides"]


def test_an_account_is_made_once(desk: Desk) -> None:
    asked = {"user_id": "7", "venue": "alpha", "balances": {"USDT": "5"}}
    first = desk.control("POST", "accounts", asked)
    again = desk.control("POST", "accounts", asked | {"balances": {"USDT": "99"}, "managed": False})
    assert first == again
    assert desk.control("GET", "report")["accounts"][0]["balances"]["USDT"]["free"] == "5"
    hmac = desk.control("POST", "accounts", {"user_id": "7", "venue": "spot"})["credential"]
    assert sorted(hmac) == ["api_key", "kind", "secret"]


def test_the_books_can_be_read_for_one_user(desk: Desk) -> None:
    one, two = desk.trader("1"), desk.trader("2")
    one.oto("48.24", "0.5", "49")
    two.order("BUY", "40", "1")
    desk.pass_time(1)
    orders = desk.control("GET", "orders", query="user_id=1&venue=alpha")["orders"]
    assert [order["leg"] for order in orders] == ["working", "pending"]
    assert all(order["user_id"] == "1" for order in orders)
    (trade,) = desk.control("GET", "trades", query="user_id=1")["trades"]
    assert trade["order_id"] == orders[0]["order_id"]
    assert len(desk.control("GET", "orders")["orders"]) == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("accounts", {"user_id": "1", "venue": "moon"}),
        ("accounts", {"user_id": "", "venue": "alpha"}),
        ("accounts", {"user_id": "1", "venue": "alpha", "balances": {"USDT": "-1"}}),
        ("price", {"symbol": KOGE}),
        ("deposit", {"user_id": "1", "venue": "alpha", "asset": "USDT", "amount": "much"}),
    ],
)
def test_the_control_api_refuses_what_it_cannot_understand(desk: Desk, path: str, body: Any) -> None:
    answer = desk.control("POST", path, body)
    assert answer["_status"] == 400
    assert answer["error"]


def test_a_frozen_world_stays_frozen_over_a_restart(desk: Desk) -> None:
    assert desk.control("POST", "freeze")["frozen"] is True
    desk.restart()
    desk.pass_time(5)
    assert desk.control("GET", "world")["frozen"] is True
    assert desk.control("POST", "unfreeze")["frozen"] is False


# Configuration.


def test_the_shipped_configuration_loads_and_knows_koge_and_aop() -> None:
    config = load_config(ROOT / "config" / "paper.yaml")
    tokens = {i.token.ticker: i for i in config.instruments if i.token}
    assert (tokens["KOGE"].symbol, tokens["KOGE"].path.start) == (KOGE, Decimal(48))
    assert tokens["AOP"].token is not None
    assert tokens["AOP"].token.chain_name == "BSC"
    assert {i.symbol for i in config.instruments if i.venue == "spot"} == {"BTCUSDT", "BNBUSDT"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("buyer_fee: 0.0001", "buyer_fee: little", "alpha.buyer_fee"),
        ("  port: 8900", "  port: 8900\n  prot: 1", "server.prot"),
        ("amounts_as: both", "amounts_as: words", "alpha.amounts_as"),
        ("tick_size: 0.00000001", "tick_size: 0", "instruments.0.tick_size"),
        ("seed: 1", "seed: 1\nseed: 2", "given twice"),
        ("fill_delay_seconds: [0.1, 0.3]", "fill_delay_seconds: [0.3, 0.1]", "[least, most]"),
        ("instruments:", "instruments: [", "not YAML"),
    ],
)
def test_a_fault_in_the_configuration_is_named_with_its_path(old: str, new: str, says: str) -> None:
    source = (ROOT / "config" / "paper.yaml").read_text(encoding="utf-8")
    assert old in source
    with pytest.raises(ConfigError) as error:
        parse_config(source.replace(old, new, 1))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


# Rubbish.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
ODD = JSON | st.sampled_from(
    ["ALPHA_22", "USDT", "BUY", "1e400", "1E-30", "0x10", "١", "9" * 40, "-0", "48", 48]
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_request_however_odd_breaks_the_world(data: Any) -> None:
    desk = FUZZED
    trader = desk.trader("fuzz")
    body = (
        trader.oto_body("48", "1", "49")
        | trader.order_body("BUY", "48", "1")
        | {"orderId": "1", "symbol": KOGE}
    )
    for key in data.draw(st.lists(st.sampled_from(sorted(body)), max_size=3)):
        body[key] = data.draw(ODD)
    if data.draw(st.booleans()):
        body["paymentDetails"] = [{"amount": data.draw(ODD), "paymentWalletType": "CARD"}]
    raw = data.draw(
        st.just(json.dumps(body).encode())
        | st.binary(max_size=30)
        | JSON.map(lambda v: json.dumps(v).encode())
    )
    queries = {
        key: data.draw(st.text(max_size=12) | st.just(KOGE) | st.just("5"))
        for key in ("symbol", "limit", "page")
    }
    query = "&".join(f"{key}={value}" for key, value in queries.items())
    paths = [
        ("POST", f"{ASSET}/order/place"),
        ("POST", f"{ASSET}/oto-order/place"),
        ("POST", f"{DEFI}/order/cancel"),
        ("GET", f"{DEFI}/order/get-order-history-merge"),
        ("GET", f"{DEFI}/order/get-user-trades"),
        ("GET", f"{PUBLIC}/agg-trades"),
        ("GET", f"{PUBLIC}/fullDepth"),
        ("POST", "/control/accounts"),
        ("POST", "/control/deposit"),
        ("POST", "/control/faults"),
    ]
    method, path = data.draw(st.sampled_from(paths))
    answer = desk.ask(Request(method, path, query, trader.headers, raw))
    assert isinstance(answer, Response)
    assert answer.status < 500
    json.loads(answer.body)


FUZZED = Desk()


def test_the_same_seed_and_requests_give_the_same_world() -> None:
    def course() -> str:
        desk = Desk(make_config(alpha={"partial_fill_probability": "0.3"}), seed=9)
        dice = random.Random(5)
        traders = [desk.trader(str(number)) for number in range(4)]
        for _ in range(40):
            trader = dice.choice(traders)
            price = f"{48 + Decimal(dice.randint(-80, 80)) / 100:.2f}"
            trader.oto(price, "0.5", f"{dice.randint(470, 490) / 10}")
            desk.pass_time(dice.randint(0, 900) / 1000)
        return json.dumps([desk.control("GET", "orders"), desk.control("GET", "trades")])

    assert course() == course()


def test_a_world_can_be_opened_without_a_network_or_a_clock() -> None:
    world = World(make_config(), MemoryStore(), rng=random.Random(1), world_id="c" * 32, now_ms=5)
    assert world.next_due() == 5
    world.advance(5)
    assert world.next_due() == 205
