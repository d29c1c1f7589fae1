"""Alpha's streams: shapes, subscriptions, the order stream's key, and a book kept from diffs."""

import json
from decimal import Decimal
from typing import Any

import pytest

from paper_exchange.http import Request
from tests.paper_exchange.desk import DEFI, KOGE, Desk, make_config, sample


class Socket:
    """A client's side of one stream connection."""

    def __init__(self, desk: Desk, path: str = "/w3w/wsa/stream") -> None:
        self.desk = desk
        self.frames: list[Any] = []
        connection = desk.world.connect(Request("GET", path), lambda f: self.frames.append(json.loads(f)))
        assert connection is not None
        self.connection = connection

    def say(self, message: Any) -> Any:
        """Send a message; the answer to it."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.desk.world.receive(self.connection, text, self.desk.now_ms)
        return self.frames.pop()

    def subscribe(self, *names: str) -> Any:
        return self.say({"method": "SUBSCRIBE", "params": list(names), "id": 1})

    def payloads(self, name: str) -> list[Any]:
        return [frame["data"] for frame in self.frames if frame.get("stream") == name]


def kinds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in sorted(value.items())}
    return type(value).__name__


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("aggTrade", "aggTrade"),
        ("trade", "trade"),
        ("bookTicker", "bookTicker"),
        ("kline_1m", "kline"),
        ("kline_5m", "kline"),
        ("fulldepth@500ms", "fulldepth"),
        ("depth5@100ms", "partial_depth"),
        ("miniTicker", "miniTicker"),
        ("ticker", "ticker"),
    ],
)
def test_frames_have_the_venues_keys_and_types(kind: str, name: str) -> None:
    desk = Desk()
    desk.pass_time(1)
    socket = Socket(desk)
    assert socket.subscribe(f"alpha_22usdt@{kind}") == sample("stream_public")["subscribe_ack"]
    desk.pass_time(2)
    frames = socket.payloads(f"alpha_22usdt@{kind}")
    assert frames
    assert kinds(frames[-1]) == kinds(sample("stream_public")[name]["data"])


CONTRACT = "came@0xe6df05ce8c8301223373cf5b969afcb1498c5528@56@kline_1s"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (CONTRACT, "contract_kline"),
        ("came@alpha_22@short@kline_1s", "short_kline_website_only"),
        ("!bookTicker", "bookTicker"),
        ("!miniTicker@arr", "miniTicker"),
        ("!ticker@arr", "ticker"),
    ],
)
def test_streams_of_tokens_and_of_all_symbols(name: str, key: str) -> None:
    desk = Desk()
    desk.pass_time(1)
    socket = Socket(desk)
    assert socket.subscribe(name) == {"result": None, "id": 1}
    desk.pass_time(2)
    frames = socket.payloads(name)
    assert frames
    assert kinds(frames[-1]) == kinds(sample("stream_public")[key]["data"])


def test_a_switch_tells_the_tickers_of_all_symbols_as_an_array() -> None:
    desk = Desk(make_config(alpha={"all_tickers_as": "array"}))
    socket = Socket(desk)
    socket.subscribe("!miniTicker@arr")
    desk.pass_time(2)
    symbols = [row["s"] for row in socket.payloads("!miniTicker@arr")[0]]
    assert symbols == ["ALPHA_22USDT", "ALPHA_382USDT"]


@pytest.mark.parametrize(
    "name", ["came@0x0@56@kline_1s", CONTRACT.replace("1s", "3m"), "alpha_22usdt@kline_9m"]
)
def test_a_stream_of_nothing_is_refused(desk: Desk, name: str) -> None:
    assert "error" in Socket(desk).subscribe(name)


def test_partial_depth_tells_no_more_than_its_levels(desk: Desk) -> None:
    socket = Socket(desk)
    socket.subscribe("alpha_22usdt@depth5@100ms")
    desk.pass_time(1)
    for frame in socket.payloads("alpha_22usdt@depth5@100ms"):
        assert len([1 for _, quantity in frame["b"] if Decimal(quantity)]) <= 5


def test_the_all_token_ticker_beats_once_a_second(desk: Desk) -> None:
    socket = Socket(desk)
    socket.subscribe("came@allTokens@ticker24")
    desk.pass_time(5)
    frames = socket.payloads("came@allTokens@ticker24")
    assert 5 <= len(frames) <= 6
    real = sample("stream_public")["all_tokens_ticker24"]["data"]
    assert kinds(frames[0]["d"][0]) == kinds(real["d"][0])
    assert frames[0]["d"][0]["ca"] == "0xe6df05ce8c8301223373cf5b969afcb1498c5528@56"


def test_a_private_cycle_has_the_captured_keys_event_by_event(desk: Desk) -> None:
    trader = desk.trader()
    frames = trader.listen()
    trader.oto("48.24", "0.5", "47")
    desk.pass_time(2)
    captured = sample("stream_private_orders")["oto_full_cycle"]
    for ours, theirs in zip(frames, [*captured[:4], captured[5]], strict=True):
        assert kinds(ours["data"]) == kinds(theirs["data"])
    trader.frames.clear()
    trader.order("BUY", "48.24", "0.5")
    desk.pass_time(1)
    plain = sample("stream_private_orders")["plain_limit_filled"]
    assert kinds(trader.frames[-1]["data"]) == kinds(plain["data"])


def test_only_subscribers_of_a_name_get_its_frames(desk: Desk) -> None:
    socket, other = Socket(desk), Socket(desk)
    socket.subscribe("alpha_22usdt@aggTrade")
    other.subscribe("alpha_382usdt@aggTrade")
    desk.pass_time(1)
    assert {frame["stream"] for frame in socket.frames} == {"alpha_22usdt@aggTrade"}
    assert {frame["data"]["s"] for frame in other.frames} == {"ALPHA_382USDT"}


def test_subscriptions_are_listed_and_given_up(desk: Desk) -> None:
    socket = Socket(desk)
    socket.subscribe("alpha_22usdt@aggTrade", "alpha_22usdt@bookTicker")
    assert socket.say({"method": "UNSUBSCRIBE", "params": ["alpha_22usdt@aggTrade"], "id": 2}) == {
        "result": None,
        "id": 2,
    }
    assert socket.say({"method": "LIST_SUBSCRIPTIONS", "id": "a"}) == {
        "result": ["alpha_22usdt@bookTicker"],
        "id": "a",
    }


@pytest.mark.parametrize(
    "message",
    [
        "not json",
        "[]",
        {"method": "DANCE", "id": 1},
        {"method": "SUBSCRIBE", "params": "x", "id": 1},
        {"method": "SUBSCRIBE", "params": ["ALPHA_22USDT@aggTrade"], "id": 1},
        {"method": "SUBSCRIBE", "params": ["alpha_22usdt@nothing"], "id": 1},
        {"method": "SUBSCRIBE", "params": ["alpha_22usdt@aggTrade"] * 201, "id": 1},
    ],
)
def test_a_message_it_cannot_follow_gets_an_error(desk: Desk, message: Any) -> None:
    assert Socket(desk).say(message)["error"]["code"] == 2


def test_a_book_kept_from_diffs_equals_the_snapshot(desk: Desk) -> None:
    socket = Socket(desk)
    desk.exchange.pin_price(KOGE, None)
    socket.subscribe("alpha_22usdt@fulldepth@500ms")
    start = desk.public("fullDepth", f"symbol={KOGE}&limit=1000")["data"]
    book = {side: dict(map(tuple, start[side])) for side in ("bids", "asks")}
    trader = desk.trader()
    trader.order("BUY", "47", "0.5")
    desk.pass_time(5)
    last = start["lastUpdateId"]
    updates = socket.payloads("alpha_22usdt@fulldepth@500ms")
    assert len(updates) == 10
    for update in updates:
        assert (update["pu"], update["U"]) == (last, last + 1)
        last = update["u"]
        for side, key in (("bids", "b"), ("asks", "a")):
            for price, quantity in update[key]:
                book[side][price] = quantity
                if Decimal(quantity) == 0:
                    del book[side][price]
    now = desk.public("fullDepth", f"symbol={KOGE}&limit=1000")["data"]
    assert now["lastUpdateId"] == last
    assert book == {side: dict(map(tuple, now[side])) for side in ("bids", "asks")}


def test_an_unknown_listen_key_is_refused(desk: Desk) -> None:
    socket = Socket(desk, "/w3w/stream")
    for name in ("alpha@nobody", "alpha@", "alpha_22usdt@aggTrade"):
        assert "error" in socket.subscribe(name)


def test_a_listen_key_runs_out_unless_it_is_asked_for_again() -> None:
    desk = Desk(make_config(alpha={"listen_key_seconds": "60"}))
    desk.pin("48")
    trader = desk.trader()
    frames = trader.listen()
    desk.pass_time(40)
    key = trader.post(f"{DEFI}/get-listen-key", {})["data"]
    desk.pass_time(40)
    trader.order("BUY", "40", "1")
    assert len(frames) == 1
    desk.pass_time(61)
    trader.order("BUY", "40", "1")
    assert len(frames) == 1
    assert trader.post(f"{DEFI}/get-listen-key", {})["data"] != key


def test_one_users_frames_never_reach_another(desk: Desk) -> None:
    one, two = desk.trader("1"), desk.trader("2")
    one.listen()
    two.listen()
    one.order("BUY", "48.24", "0.5")
    desk.pass_time(1)
    assert one.frames
    assert two.frames == []


def test_a_closed_connection_is_forgotten(desk: Desk) -> None:
    socket = Socket(desk)
    socket.subscribe("alpha_22usdt@fulldepth@100ms", "came@allTokens@ticker24")
    desk.world.disconnect(socket.connection)
    socket.frames.clear()
    desk.pass_time(3)
    assert socket.frames == []


def test_a_crossed_book_is_shown_when_asked_for() -> None:
    desk = Desk(make_config(alpha={"crossed_book": "true"}))
    desk.pin("48")
    depth = desk.public("fullDepth", f"symbol={KOGE}&limit=5")["data"]
    assert Decimal(depth["bids"][0][0]) > Decimal(depth["asks"][0][0])
