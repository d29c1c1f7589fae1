"""Alpha's order stream: a fresh key for each connection, StreamUp at each acknowledgement."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from order_service.venues import binance_alpha, streaming
from order_service.venues.port import OrderPushed, StreamDown, StreamNews, StreamUp
from otopilot.instrument import Side
from otopilot.order import LegRole, LegStatus
from tests.order_service.venues.fakes import (
    FakeClock,
    FakeCredential,
    FakeSocket,
    FakeTransport,
    Reply,
    alpha_reply,
    fixture,
    reply,
)
from tests.order_service.venues.test_alpha_writes import venue_of

SAMPLE = fixture("alpha/stream_private_orders")
ACK = SAMPLE["subscribe_ack"]
KEY = reply(fixture("alpha/private_listen_key")["response"])


class Stopped(Exception):
    """Enough was heard."""


async def hear(
    *sockets: FakeSocket, until: int, key: Reply | list[Reply] = KEY
) -> tuple[list[StreamNews], FakeTransport, FakeClock]:
    """The first news of a stream over these sockets."""
    transport = FakeTransport({"get-listen-key": key})
    transport.sockets = list(sockets)
    venue = venue_of(transport)
    news: list[StreamNews] = []

    def sink(one: StreamNews) -> None:
        news.append(one)
        if len(news) == until:
            raise Stopped

    async with asyncio.timeout(5):
        with pytest.raises(Stopped):
            await venue.account("1", FakeCredential("session")).run_stream(sink)
    clock: Any = venue.clock
    return news, transport, clock


async def test_an_oto_lives_through_the_stream_as_captured() -> None:
    news, transport, _ = await hear(FakeSocket([ACK, *SAMPLE["oto_full_cycle"]]), until=7)
    assert transport.opened == ["wss://alpha/w3w/stream"]
    assert news[0] == StreamUp()
    orders = [one.order for one in news[1:] if isinstance(one, OrderPushed)]
    assert [(o.role, o.status, o.quantity, o.executed_quantity) for o in orders] == [
        (LegRole.WORKING, LegStatus.OPEN, Decimal("869.56"), Decimal(0)),
        (LegRole.PENDING, LegStatus.PENDING, Decimal(0), Decimal(0)),
        (LegRole.WORKING, LegStatus.FILLED, Decimal("869.56"), Decimal("869.56")),
        (LegRole.PENDING, LegStatus.OPEN, Decimal("869.47"), Decimal(0)),
        (LegRole.PENDING, LegStatus.OPEN, Decimal("869.47"), Decimal(200)),
        (LegRole.PENDING, LegStatus.FILLED, Decimal("869.47"), Decimal("869.47")),
    ]
    assert {o.list_id for o in orders} == {"90000001"}
    assert orders[3].side is Side.SELL
    assert orders[3].venue_order_id == "50000002"


async def test_a_plain_order_has_no_list_and_no_role() -> None:
    news, _, _ = await hear(FakeSocket([ACK, SAMPLE["plain_limit_filled"]]), until=2)
    assert isinstance(news[1], OrderPushed)
    assert (news[1].order.list_id, news[1].order.role) == (None, None)


async def test_an_acknowledgement_needs_no_result() -> None:
    news, _, _ = await hear(FakeSocket([{"id": 2}]), until=1)
    assert news == [StreamUp()]


async def test_each_connection_has_a_fresh_key_and_says_that_things_were_missed() -> None:
    keys: list[Reply] = [alpha_reply("ONE"), alpha_reply({"listenKey": "TWO"})]
    first, second = FakeSocket([ACK]), FakeSocket([ACK])
    news, _, clock = await hear(first, second, until=3, key=keys)
    assert [type(one) for one in news] == [StreamUp, StreamDown, StreamUp]
    assert [s.sent[0]["params"] for s in (first, second)] == [["alpha@ONE"], ["alpha@TWO"]]
    assert first.closed
    assert 0 < clock.slept[0] < 1


async def test_a_fresh_key_is_taken_in_time_without_a_word_of_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(binance_alpha, "RENEW_SECONDS", 0.05)
    first, second = FakeSocket([ACK], stays_open=True), FakeSocket([ACK], stays_open=True)
    news, _, clock = await hear(first, second, until=2)
    assert news == [StreamUp(), StreamUp()]
    assert first.closed
    assert clock.slept == []


async def test_no_acknowledgement_in_time_is_a_broken_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "ACK_SECONDS", 0.05)
    news, _, _ = await hear(FakeSocket([], stays_open=True), until=1)
    assert isinstance(news[0], StreamDown)
    assert "no_ack" in news[0].reason


@pytest.mark.parametrize("frame", ["", "x", "[]", '{"stream":"s","data":{"e":"executionReport"}}'])
async def test_an_unreadable_frame_breaks_the_stream_so_that_all_is_read_anew(frame: str) -> None:
    news, _, _ = await hear(FakeSocket([ACK, frame]), FakeSocket([ACK]), until=3)
    assert [type(one) for one in news] == [StreamUp, StreamDown, StreamUp]


async def test_events_of_other_kinds_pass() -> None:
    other = {"stream": "alpha@K", "data": {"e": "somethingNew", "x": [1]}}
    news, _, _ = await hear(FakeSocket([ACK, other, SAMPLE["plain_limit_filled"]]), until=2)
    assert isinstance(news[1], OrderPushed)


async def test_a_dead_session_is_asked_about_once_a_minute() -> None:
    dead = reply(fixture("alpha/errors")["session_invalid"])
    news, _, clock = await hear(until=2, key=dead)
    assert all(isinstance(one, StreamDown) and "auth_expired" in one.reason for one in news)
    assert clock.slept == [60.0]
