"""Market streams: names, control frames, payloads (binance-spot 5)."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.paper_exchange.desk import Desk, make_config
from tests.paper_exchange.spot_desk import BNB, HUNG_UP, Line, SpotTrader, assert_alike, public, sample

STREAMS = {
    "aggTrade": "stream_agg_trade",
    "trade": "stream_trade",
    "bookTicker": "stream_book_ticker",
    "depth": "stream_depth_update",
    "depth@100ms": "stream_depth_update",
    "depth5": "stream_partial_depth",
    "depth20@100ms": "stream_partial_depth",
    "kline_1m": "stream_kline",
    "kline_1h@+08:00": "stream_kline",
    "miniTicker": "stream_mini_ticker",
    "ticker": "stream_ticker",
    "avgPrice": "stream_avg_price",
}


@pytest.fixture
def bnb() -> Desk:
    desk = Desk()
    desk.pass_time(1)
    return desk


@pytest.mark.parametrize("kind", STREAMS)
def test_payloads(bnb: Desk, kind: str) -> None:
    line = Line(
        bnb, f"/ws/bnbusdt@{kind.replace('@', '%40')}" if "aggTrade" in kind else f"/ws/bnbusdt@{kind}"
    )
    bnb.pass_time(3)
    assert_alike(line.frames[0], sample(STREAMS[kind]))


def test_combined_streams_wrap_their_payloads(bnb: Desk) -> None:
    line = Line(bnb, "/stream", "streams=bnbusdt@bookTicker/btcusdt@aggTrade")
    bnb.pass_time(1)
    wrapped = next(frame for frame in line.frames if frame["stream"] == "bnbusdt@bookTicker")
    assert_alike(wrapped, sample("stream_combined_wrapper"))
    assert {frame["stream"] for frame in line.frames} == {"bnbusdt@bookTicker", "btcusdt@aggTrade"}


def test_any_path_below_ws_is_taken_and_names_of_nothing_are_silent(bnb: Desk) -> None:
    line = Line(bnb, "/ws/0")
    asked = {"method": "SUBSCRIBE", "params": ["nonesuch@trade", "BNBUSDT@trade", "alpha_22usdt@aggTrade"]}
    assert line.ask({**asked, "id": "9c1e"}) == {"result": None, "id": "9c1e"}
    line.taken()
    bnb.pass_time(2)
    assert line.frames == []


@pytest.mark.parametrize(
    ("request_name", "response_name", "expected"),
    [
        ("stream_subscribe_request", "stream_subscribe_response", None),
        (
            "stream_list_subscriptions_request",
            "stream_list_subscriptions_response",
            ["btcusdt@aggTrade", "btcusdt@depth"],
        ),
        ("stream_get_property_request", "stream_get_property_response", False),
        ("stream_set_property_request", "stream_set_property_response", None),
        ("stream_unsubscribe_request", "stream_unsubscribe_response", None),
    ],
)
def test_control_frames(bnb: Desk, request_name: str, response_name: str, expected: object) -> None:
    line = Line(bnb, "/ws")
    if request_name != "stream_subscribe_request":
        line.send(sample("stream_subscribe_request"))
    asked, theirs = sample(request_name), sample(response_name)
    answer = line.ask(asked)
    assert answer == {"result": expected, "id": asked["id"]}
    assert_alike(answer, theirs)


def test_combined_can_be_switched_and_starts_true_on_stream(bnb: Desk) -> None:
    line = Line(bnb, "/stream")
    assert line.ask({"method": "GET_PROPERTY", "params": ["combined"], "id": 1})["result"] is True
    line.send({"method": "SET_PROPERTY", "params": ["combined", False], "id": 2})
    line.send({"method": "SUBSCRIBE", "params": ["bnbusdt@trade"], "id": 3})
    line.taken()
    bnb.pass_time(0.5)
    assert line.frames[0]["e"] == "trade"
    line.send({"method": "UNSUBSCRIBE", "params": ["bnbusdt@trade"], "id": 4})
    line.taken()
    bnb.pass_time(1)
    assert line.frames == []


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        ('{"method":"GET_PROPERTY","params":["color"],"id":1}', 0),
        ('{"method":"SET_PROPERTY","params":["combined","yes"]}', 1),
        ('{"method":"GET_PROPERTY","params":[1]}', 2),
        ('{"method":"PING","params":[],"id":[1]}', 3),
        ('{"method":"GET_PROPERTY","params":["a","b"]}', 4),
        ("nonsense", 5),
    ],
)
def test_errors_have_the_venues_texts(bnb: Desk, frame: str, error: int) -> None:
    line = Line(bnb, "/ws")
    assert line.ask(frame) == sample("stream_error_messages")[error]


def test_errors_can_stand_under_a_key() -> None:
    line = Line(Desk(make_config(spot={"stream_errors": "nested"})), "/ws")
    assert line.ask("x")["error"]["code"] == 3


def test_who_talks_too_much_is_hung_up_on(bnb: Desk) -> None:
    line = Line(bnb, "/ws")
    for number in range(5):
        line.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
    bnb.pass_time(1)
    line.send({"method": "LIST_SUBSCRIPTIONS", "id": 5})
    assert HUNG_UP not in line.taken()
    for number in range(5):
        line.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
    assert line.frames[-1] == HUNG_UP


def test_the_best_quotes_are_told_only_when_they_change(bnb: Desk) -> None:
    bnb.pin("800", BNB)
    bnb.pass_time(1)
    line = Line(bnb, "/ws/bnbusdt@bookTicker")
    bnb.pass_time(2)
    assert len(line.taken()) == 1
    SpotTrader(bnb, BNB="5").limit("SELL", "800.01", "1")
    quotes = [frame for frame in line.taken() if frame["a"] == "800.01000000"]
    assert quotes[0]["A"] == "1.00000000"


def test_a_book_can_be_kept_from_a_snapshot_and_the_changes() -> None:
    desk = Desk()
    line = Line(desk, "/ws/bnbusdt@depth@100ms")
    desk.pass_time(1)
    snapshot = public(desk, "depth", f"symbol={BNB}")
    book = {side: {Decimal(p): Decimal(q) for p, q in snapshot[side]} for side in ("bids", "asks")}
    desk.pass_time(3)
    known = snapshot["lastUpdateId"]
    for event in line.frames:
        if event["u"] <= known:
            continue
        assert event["U"] <= known + 1
        known = event["u"]
        for side, key in (("bids", "b"), ("asks", "a")):
            book[side] |= {Decimal(p): Decimal(q) for p, q in event[key]}
    final = public(desk, "depth", f"symbol={BNB}")
    for side in ("bids", "asks"):
        assert {p: q for p, q in book[side].items() if q} == {Decimal(p): Decimal(q) for p, q in final[side]}


def test_a_candle_is_told_to_its_close(bnb: Desk) -> None:
    line = Line(bnb, "/ws/bnbusdt@kline_1m")
    bnb.pass_time(70)
    closed = [frame["k"] for frame in line.frames if frame["k"]["x"]]
    (row,) = [r for r in public(bnb, "klines", f"symbol={BNB}&interval=1m") if r[0] == closed[0]["t"]]
    assert len(closed) == 1
    assert [closed[0][key] for key in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q")] == row[:11]


def test_all_small_tickers_come_as_an_array(bnb: Desk) -> None:
    line = Line(bnb, "/ws/!miniTicker@arr")
    bnb.pass_time(1)
    assert_alike(line.frames[0], [sample("stream_mini_ticker")])
    assert [row["s"] for row in line.frames[0]] == ["BTCUSDT", "BNBUSDT"]


def test_a_symbols_streams_can_fall_silent(bnb: Desk) -> None:
    line = Line(bnb, "/stream", "streams=bnbusdt@trade/btcusdt@trade/bnbusdt@ticker")
    bnb.control("POST", "faults", {"kind": "market_stall", "venue": "spot", "symbol": BNB})
    bnb.pass_time(2)
    assert {frame["stream"] for frame in line.frames} == {"btcusdt@trade"}


def test_streams_of_a_closed_socket_are_forgotten(bnb: Desk) -> None:
    line = Line(bnb, "/ws/bnbusdt@ticker")
    assert bnb.world.next_due() is not None
    line.close()
    bnb.pass_time(2)
    assert line.frames == []


def test_times_can_be_told_in_microseconds(bnb: Desk) -> None:
    line = Line(bnb, "/ws/bnbusdt@aggTrade", "timeUnit=MICROSECOND")
    bnb.pass_time(1)
    frame: Any = line.frames[0]
    assert frame["T"] % 1000 == 0
    assert frame["T"] // 1000 <= bnb.now_ms
    assert json.dumps(frame["T"]).startswith(str(bnb.now_ms)[:6])
