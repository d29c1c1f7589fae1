"""Recorded payloads become the right objects, and garbage becomes a refusal."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_service.venues import aggregate_trades, alpha_parse, spot_parse
from market_service.venues.aggregate_trades import Acknowledged, Leaving, StreamEnds, read_frame
from otopilot.clock import from_ms
from otopilot.instrument import InstrumentStatus
from tests.market_service.imitation import KOGE, fixture

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def listing() -> Any:
    return alpha_parse.read_listing(
        fixture("alpha/public_token_list.json"), fixture("alpha/public_exchange_info_2025-10.json")
    )


def envelope(data: object) -> bytes:
    return json.dumps({"code": "000000", "data": data}).encode()


def test_koge_on_bsc_has_the_rules_of_all_eight_filters() -> None:
    koge = listing().instruments[KOGE]
    assert (koge.token, koge.chain, koge.base_asset, koge.quote_asset) == ("KOGE", "BSC", "ALPHA_22", "USDT")
    assert (koge.tick_size, koge.step_size) == (Decimal("0.00000001"), Decimal("0.0001"))
    assert (koge.min_price, koge.max_price) == (Decimal("0.00000001"), Decimal(100000))
    assert (koge.min_quantity, koge.max_quantity) == (Decimal("0.0001"), Decimal(19909))
    assert (koge.min_notional, koge.max_notional) == (Decimal("0.1"), Decimal(1000000))
    assert (koge.bid_multiplier_down, koge.ask_multiplier_up) == (Decimal("0.00001"), Decimal(100000))
    assert koge.max_num_orders == 200
    assert koge.status is InstrumentStatus.TRADING


def test_a_pair_without_null_keys_reads_the_same_way() -> None:
    pair = json.loads(fixture("alpha/public_exchange_info_2026-05_symbol.json"))
    found = alpha_parse.read_listing(envelope([]), envelope({"symbols": [pair]})).instruments["ALPHA_971USDT"]
    assert (found.tick_size, found.step_size) == (Decimal("0.000000001"), Decimal("0.1"))
    assert found.max_notional is None
    assert found.bid_multiplier_up is None


def test_the_step_rules_and_the_precision_does_not() -> None:
    aleo = listing().instruments["ALPHA_373USDT"]
    assert aleo.base_precision == 8
    assert aleo.step_size == Decimal("0.01")


@pytest.mark.parametrize(
    ("offline", "offsell", "status"),
    [
        (False, False, InstrumentStatus.TRADING),
        (True, False, InstrumentStatus.HALTED),
        (False, True, InstrumentStatus.HALTED),
        (True, True, InstrumentStatus.DELISTED),
    ],
)
def test_a_withdrawn_token_does_not_trade(offline: bool, offsell: bool, status: InstrumentStatus) -> None:
    tokens = json.loads(fixture("alpha/public_token_list.json"))
    tokens["data"][0] |= {"offline": offline, "offsell": offsell}
    info = fixture("alpha/public_exchange_info_2025-10.json")
    found = alpha_parse.read_listing(json.dumps(tokens).encode(), info)
    assert found.instruments[KOGE].status is status


def test_a_pair_whose_status_is_new_is_set_aside_and_spoils_no_other() -> None:
    info = json.loads(fixture("alpha/public_exchange_info_2025-10.json"))
    info["data"]["symbols"][0]["status"] = "SUSPENDED"
    found = alpha_parse.read_listing(fixture("alpha/public_token_list.json"), json.dumps(info).encode())
    assert KOGE not in found.instruments
    assert "SUSPENDED" in found.unreadable[KOGE]
    assert "ALPHA_373USDT" in found.instruments


def test_an_error_envelope_is_no_listing() -> None:
    refusal = json.dumps(json.loads(fixture("alpha/errors.json"))["session_invalid"]).encode()
    with pytest.raises(ValueError, match="100002001"):
        alpha_parse.read_listing(refusal, fixture("alpha/public_exchange_info_2025-10.json"))


def test_a_fee_rate_of_100_is_a_hundredth_of_a_percent() -> None:
    rates = alpha_parse.read_fee_rates(fixture("alpha/public_fee_rate.json"))
    assert rates.buy == rates.sell == Decimal("0.0001")


def test_the_newest_row_is_the_last_trade() -> None:
    tick = alpha_parse.read_last_trade(fixture("alpha/public_agg_trades.json"), "ALPHA_971USDT", NOW)
    assert tick is not None
    assert tick.price == Decimal("0.000005853")
    assert tick.traded_at == from_ms(1779368241580)


def test_a_symbol_that_never_traded_has_no_last_trade() -> None:
    assert alpha_parse.read_last_trade(envelope([]), KOGE, NOW) is None


def test_an_alpha_frame_is_a_tick() -> None:
    frame = json.loads(fixture("alpha/stream_public.json"))["aggTrade"]
    tick = read_frame(json.dumps(frame).encode(), NOW)
    assert tick is not None
    assert (tick.symbol, tick.price) == ("ALPHA_373USDT", Decimal("0.22690468"))
    assert (tick.traded_at, tick.sent_at) == (from_ms(1759043579983), from_ms(1759043580233))


def test_an_acknowledgement_with_and_without_result_names_its_message() -> None:
    recorded = json.loads(fixture("alpha/stream_public.json"))
    for name in ("subscribe_ack", "subscribe_ack_seen_without_result"):
        assert read_frame(json.dumps(recorded[name]).encode(), NOW) == Acknowledged(recorded[name]["id"])
    assert read_frame(fixture("spot/stream_subscribe_response.json"), NOW) == Acknowledged(1)


def test_a_spot_symbol_has_the_rules_of_its_limit_order_filters() -> None:
    found = spot_parse.read_listing(fixture("spot/composed_rest_exchange_info_one_symbol.json"))
    btc = found.instruments["BTCUSDT"]
    assert (btc.token, btc.chain) == ("BTC", "")
    assert (btc.tick_size, btc.step_size) == (Decimal("0.000001"), Decimal("0.001"))
    assert (btc.min_notional, btc.max_notional) == (Decimal(10), Decimal(10000))
    assert (btc.bid_multiplier_down, btc.bid_multiplier_up) == (Decimal("0.2"), Decimal("1.2"))
    assert (btc.ask_multiplier_down, btc.ask_multiplier_up) == (Decimal("0.8"), Decimal(5))
    assert (btc.max_num_orders, btc.max_num_order_lists) == (25, 20)
    assert btc.oto_allowed
    assert btc.opo_allowed


def test_a_filter_part_that_is_zero_is_off() -> None:
    info = json.loads(fixture("spot/composed_rest_exchange_info_one_symbol.json"))
    for rule in info["symbols"][0]["filters"]:
        rule |= {
            key: "0.00000000" for key in ("maxPrice", "minPrice", "maxQty", "maxNotional") if key in rule
        }
    btc = spot_parse.read_listing(json.dumps(info).encode()).instruments["BTCUSDT"]
    assert (btc.min_price, btc.max_price, btc.max_quantity, btc.max_notional) == (0, None, None, None)


def test_a_symbol_without_a_step_is_set_aside() -> None:
    info = json.loads(fixture("spot/composed_rest_exchange_info_one_symbol.json"))
    rules = info["symbols"][0]["filters"]
    info["symbols"][0]["filters"] = [rule for rule in rules if rule["filterType"] != "LOT_SIZE"]
    found = spot_parse.read_listing(json.dumps(info).encode())
    assert not found.instruments
    assert "stepSize" in found.unreadable["BTCUSDT"]


def test_a_step_that_is_off_is_the_assets_precision() -> None:
    """Binance-spot 2.3: each part of a filter is off when its value is 0."""
    info = json.loads(fixture("spot/composed_rest_exchange_info_one_symbol.json"))
    info["symbols"][0] |= {"baseAssetPrecision": 6, "quotePrecision": 7}
    for rule in info["symbols"][0]["filters"]:
        rule |= {name: "0.00000000" for name in ("tickSize", "stepSize") if name in rule}
    (btc,) = spot_parse.read_listing(json.dumps(info).encode()).instruments.values()
    assert (btc.tick_size, btc.step_size) == (Decimal("0.0000001"), Decimal("0.000001"))


def test_spot_trades_and_tickers_are_read() -> None:
    tick = aggregate_trades.newest_of_rows(fixture("spot/rest_agg_trades.json"), "LTCBTC", NOW)
    assert tick is not None
    assert tick.price == Decimal("0.01633102")
    frame = {"stream": "bnbbtc@aggTrade", "data": json.loads(fixture("spot/stream_agg_trade.json"))}
    pushed = read_frame(json.dumps(frame).encode(), NOW)
    assert pushed is not None
    assert (pushed.symbol, pushed.price) == ("BNBBTC", Decimal("0.001"))
    assert spot_parse.read_prices(fixture("spot/rest_ticker_price_one.json")) == {
        "LTCBTC": Decimal("4.000002")
    }
    assert spot_parse.read_prices(fixture("spot/rest_ticker_price_many.json")).keys() == {"LTCBTC", "ETHBTC"}


@pytest.mark.parametrize("form", ["combined", "raw"])
def test_a_shutdown_notice_is_understood_in_both_its_forms(form: str) -> None:
    assert read_frame(fixture(f"spot/stream_server_shutdown_{form}.json"), NOW) == Leaving()


def test_a_refusal_ends_the_socket() -> None:
    for refusal in json.loads(fixture("spot/stream_error_messages.json")):
        with pytest.raises(StreamEnds):
            read_frame(json.dumps(refusal).encode(), NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"p": "0"},
        {"p": "-1"},
        {"p": "1e5"},
        {"p": "NaN"},
        {"p": 48.5},
        {"p": "9" * 400},
        {"T": 0},
        {"T": -5},
        {"T": 10**30},
        {"T": int(NOW.timestamp() * 1000) + 60_000},
        {"E": 10**30},
        {"e": "kline"},
        {"s": ""},
    ],
)
def test_a_frame_that_cannot_be_a_trade_is_refused(change: dict[str, Any]) -> None:
    frame = json.loads(fixture("alpha/stream_public.json"))["aggTrade"]
    frame["data"] |= change
    with pytest.raises(ValueError):
        read_frame(json.dumps(frame).encode(), NOW)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps({"stream": "x", "data": value}).encode()
    )
)
def test_no_frame_whatever_raises_anything_else(raw: bytes) -> None:
    try:
        assert read_frame(raw, NOW) is None
    except (ValueError, StreamEnds):
        return
