"""How long a connection lives on a virtual clock, what is too much (binance-spot 5, 6; binance-alpha 2)."""

from typing import Any

import pytest

from paper_exchange.http import Request
from tests.paper_exchange.desk import Desk, make_config
from tests.paper_exchange.spot_desk import HUNG_UP, Line, SpotTrader, assert_alike, bnb_desk, sample

SPOT = ["/ws-api/v3", "/ws/bnbusdt@depth5", "/stream"]
ALPHA = ["/w3w/wsa/stream", "/w3w/stream"]
DAY_SECONDS = 86_400


def quiet(alpha: dict[str, Any] | None = None, **spot: Any) -> Desk:
    """A world whose markets hardly move, so that a day of it is short."""
    slow = {"tick_interval_seconds": "600"}
    return Desk(make_config(alpha=alpha, spot=spot, path=slow, house={"levels": "0"}))


@pytest.mark.parametrize("path", ALPHA)
@pytest.mark.parametrize(("every", "within"), [(300, 900), (20, 60)])
def test_alpha_pings_every_five_minutes_and_waits_fifteen_for_a_pong_unless_it_is_set_otherwise(
    path: str, every: int, within: int
) -> None:
    defaults = (every, within) == (300, 900)
    desk = quiet({} if defaults else {"ping_seconds": every, "pong_within_seconds": within})
    deaf, lively = Line(desk, path, pings=True), Line(desk, path, pings=True)
    for _ in range(4):
        assert HUNG_UP not in deaf.frames
        desk.pass_time(every)
        lively.pong(lively.pings[-1])
    assert (len(deaf.pings), deaf.frames) == (3, [HUNG_UP])
    assert lively.frames == []


@pytest.mark.parametrize("path", ALPHA)
@pytest.mark.parametrize("seconds", ["86400", "3600"])
def test_an_alpha_socket_lives_for_a_day_or_as_long_as_it_is_set(path: str, seconds: str) -> None:
    desk = quiet({"connection_seconds": seconds})
    line = Line(desk, path)
    desk.pass_time(int(seconds) - 1)
    assert line.frames == []
    desk.pass_time(1)
    assert line.frames == [HUNG_UP]


@pytest.mark.parametrize("most", [10, 3])
def test_an_alpha_socket_takes_so_many_messages_a_second(most: int) -> None:
    line = Line(quiet({"messages_per_second": str(most)}), "/w3w/wsa/stream")
    for _ in range(2):
        for number in range(most):
            assert line.ask({"method": "LIST_SUBSCRIPTIONS", "id": number})["id"] == number
        line.desk.pass_time(1)
    for _ in range(most + 1):
        line.send({"method": "SUBSCRIBE", "params": ["alpha_22usdt@aggTrade"], "id": 1})
    line.desk.pass_time(0)
    assert line.taken()[-1] == HUNG_UP
    line.desk.pass_time(1300)
    assert line.frames == []


@pytest.mark.parametrize("path", SPOT)
def test_a_ping_comes_every_20_seconds_and_60_without_a_pong_end_the_connection(path: str) -> None:
    desk = quiet()
    line = Line(desk, path, pings=True)
    desk.pass_time(79)
    assert len(line.pings) == 3
    assert HUNG_UP not in line.frames
    desk.pass_time(2)
    assert line.frames[-1] == HUNG_UP
    desk.pass_time(100)
    assert len(line.pings) == 3


@pytest.mark.parametrize("path", SPOT)
def test_a_pong_that_echoes_the_payload_keeps_the_connection(path: str) -> None:
    desk = quiet()
    line = Line(desk, path, pings=True)
    for _ in range(10):
        desk.pass_time(21)
        line.pong(line.pings[-1])
    assert HUNG_UP not in line.frames


@pytest.mark.parametrize("payload", [b"", b"something else"])
def test_a_pong_nobody_asked_for_is_legal_and_keeps_nothing_alive(payload: bytes) -> None:
    desk = quiet()
    line = Line(desk, "/ws-api/v3", pings=True)
    for _ in range(8):
        desk.pass_time(10)
        line.pong(payload)
    desk.pass_time(1)
    assert line.frames[-1] == HUNG_UP


def test_only_a_client_that_can_answer_is_asked() -> None:
    desk = quiet()
    line = Line(desk, "/ws-api/v3")
    desk.pass_time(300)
    assert line.pings == line.frames == []


@pytest.mark.parametrize("path", ["/ws-api/v3", "/ws/bnbusdt@trade"])
def test_a_connection_ends_after_24_hours(path: str) -> None:
    desk = quiet()
    line = Line(desk, path)
    desk.pass_time(DAY_SECONDS - 1)
    assert HUNG_UP not in line.frames
    desk.pass_time(2)
    assert line.frames[-1] == HUNG_UP


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/ws-api/v3", "wsapi_event_server_shutdown"),
        ("/ws/nothing@trade", "stream_server_shutdown_raw"),
        ("/stream", "stream_server_shutdown_combined"),
    ],
)
def test_a_switch_lets_the_server_warn_before_the_day_is_over(path: str, name: str) -> None:
    desk = quiet(shutdown_warning_seconds="600")
    line = Line(desk, path)
    desk.pass_time(DAY_SECONDS - 601)
    line.taken()
    desk.pass_time(2)
    assert_alike(line.frames[0], sample(name))
    desk.pass_time(590)
    assert HUNG_UP not in line.frames
    desk.pass_time(10)
    assert line.frames[-1] == HUNG_UP


def test_pings_and_pongs_count_among_five_messages_a_second_of_a_market_stream() -> None:
    desk = quiet()
    line = Line(desk, "/ws", pings=True)
    for _ in range(3):
        line.pong(b"")
    for _ in range(2):
        desk.world.pinged(line.connection, desk.now_ms)
    assert line.frames == []
    line.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
    assert line.frames == [HUNG_UP]


def test_a_connection_holds_1024_streams_and_not_one_more() -> None:
    desk = quiet()
    line = Line(desk, "/ws")
    names = [f"s{number}usdt@trade" for number in range(1025)]
    assert line.ask({"method": "SUBSCRIBE", "params": names[:1024], "id": 1})["result"] is None
    refused = line.ask({"method": "SUBSCRIBE", "params": names[1024:], "id": 2})
    assert refused["code"] == 2
    assert len(line.ask({"method": "LIST_SUBSCRIPTIONS", "id": 3})["result"]) == 1024


def test_an_address_may_connect_300_times_in_five_minutes() -> None:
    desk = quiet()
    request = Request("GET", "/ws", remote="10.0.0.1")
    answers = [desk.world.refuse(request, desk.now_ms) for _ in range(301)]
    assert answers[:300] == [None] * 300
    assert answers[300] is not None
    assert (answers[300].status, b"-1034" in answers[300].body) == (429, True)
    elsewhere = Request("GET", "/ws", remote="10.0.0.2")
    assert desk.world.refuse(elsewhere, desk.now_ms) is None
    assert desk.world.refuse(request, desk.now_ms + 300_000) is None


def test_a_unit_of_time_that_is_none_is_refused_at_the_handshake() -> None:
    desk = quiet()
    found = desk.world.refuse(Request("GET", "/ws", "timeUnit=NANOSECOND"), desk.now_ms)
    assert found is not None
    assert (found.status, b"-1194" in found.body) == (400, True)
    for unit in ("MICROSECOND", "microsecond", "MILLISECOND"):
        assert desk.world.refuse(Request("GET", "/stream", f"timeUnit={unit}"), desk.now_ms) is None


@pytest.mark.parametrize("talk", ["frames", "pings"])
def test_an_address_whose_streams_talk_too_much_again_and_again_is_banned(talk: str) -> None:
    desk = quiet(ban_after_disconnects="2", ban_seconds="120")
    request = Request("GET", "/ws", remote="10.0.0.1")
    for number in range(3):
        assert desk.world.refuse(request, desk.now_ms) is None
        line = Line(desk, "/ws")
        for _ in range(9):  # once it is ended, nothing more of it counts
            if talk == "frames":
                line.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
            else:
                desk.world.pinged(line.connection, desk.now_ms)
        assert line.frames[-1] == HUNG_UP
    refused = desk.world.refuse(request, desk.now_ms)
    assert refused is not None
    assert (refused.status, refused.headers["retry-after"]) == (418, "120")
    assert desk.world.refuse(Request("GET", "/ws", remote="10.0.0.2"), desk.now_ms) is None
    desk.pass_time(120)
    assert desk.world.refuse(request, desk.now_ms) is None


# Subscriptions to user data (6).


def test_subscriptions_of_a_connection_are_limited_at_once_and_over_its_life() -> None:
    desk = quiet(active_subscriptions="2")
    line = Line(desk, "/ws-api/v3")
    traders = [SpotTrader(desk, str(number)) for number in range(3)]
    for number, trader in enumerate(traders[:2]):
        found = trader.ws(line, "userDataStream.subscribe.signature", number)
        assert found["result"] == {"subscriptionId": number}
    assert traders[2].ws(line, "userDataStream.subscribe.signature")["error"]["code"] == -2042
    line.ask({"id": 9, "method": "userDataStream.unsubscribe", "params": {"subscriptionId": 0}})
    found = traders[2].ws(line, "userDataStream.subscribe.signature", 10)
    assert found["result"] == {"subscriptionId": 2}  # a number is never used again


def test_ids_of_subscriptions_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paper_exchange.spot_session.MOST_SUBSCRIPTIONS", 2)
    line = Line(quiet(), "/ws-api/v3")
    trader = SpotTrader(line.desk)
    for number in range(2):
        assert trader.ws(line, "userDataStream.subscribe.signature", number)["status"] == 200
        line.send({"id": "end", "method": "userDataStream.unsubscribe"})
    assert trader.ws(line, "userDataStream.subscribe.signature", 3)["error"]["code"] == -2042


def test_one_account_subscribes_once_a_connection() -> None:
    line = Line(quiet(), "/ws-api/v3")
    trader = SpotTrader(line.desk)
    trader.ws(line, "userDataStream.subscribe.signature", 1)
    again = trader.ws(line, "userDataStream.subscribe.signature", 2)
    unknown = line.ask({"id": 3, "method": "userDataStream.unsubscribe", "params": {"subscriptionId": 7}})
    assert (again["error"]["code"], unknown["error"]["code"]) == (-2035, -2036)


def test_a_lock_by_another_product_is_told_as_in_the_sample() -> None:
    trader = SpotTrader(bnb_desk())
    line = trader.listen()
    asked = {"user_id": "1", "venue": "spot", "asset": "USDT", "amount": "100"}
    trader.desk.control("POST", "lock", asked)
    told, position = line.taken()
    assert_alike(told, sample("uds_external_lock_update"))
    assert (told["event"]["d"], position["event"]["B"][0]["l"]) == ("100.00000000", "100.00000000")
    trader.limit("BUY", "700", "1")
    too_much = trader.desk.control("POST", "lock", asked | {"amount": "-101"})
    assert too_much["_status"] == 409
    trader.desk.control("POST", "lock", asked | {"amount": "-100"})
    assert trader.account.locked["USDT"] == 700
