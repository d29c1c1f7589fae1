"""Whatever a venue answers, an adapter raises one of the port's failures and nothing else."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from order_service.venues import reading
from order_service.venues.binance_alpha import _read_frame
from order_service.venues.fields import Unreadable
from order_service.venues.port import Response, StreamNews, VenueNotReached, VenueRefused, VenueSilent
from otopilot.order import LegRole, VenueOrderId
from tests.order_service.venues import test_alpha_writes as alpha
from tests.order_service.venues import test_spot_writes as spot
from tests.order_service.venues.fakes import NOW, FakeCredential, FakeTransport, reply
from tests.order_service.venues.test_spot_user_data import users_of
from tests.order_service.venues.ws_fakes import FakeWsApi
from tests.virtual_loop import virtual

FAILURES = (VenueRefused, VenueNotReached, VenueSilent)

WORDS = st.sampled_from(
    [
        "code",
        "data",
        "list",
        "orderId",
        "status",
        "symbol",
        "side",
        "price",
        "time",
        "msg",
        "workingOrderId",
        "pendingOrderId",
        "orderReports",
        "clientOrderId",
        "orderListId",
        "kind",
        "LIMIT",
        "BUY",
        "e",
        "executionReport",
        "error",
        "id",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | WORDS
    | st.sampled_from(["1e999999999999", "-1", "9" * 400, "000000", "1", "ALPHA_22USDT", "NaN"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
BODIES = (
    st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps({"code": "000000", "data": value}).encode())
    | JSON.map(lambda value: json.dumps({"code": -2010, "msg": value}).encode())
    | st.sampled_from([b"[" * 100_000, b"9" * 10_000, b'{"code":' + b"9" * 5000 + b"}", b"\xff\xfe"])
)
ANSWERS = st.builds(
    Response,
    status=st.sampled_from([200, 200, 200, 302, 400, 401, 404, 409, 418, 429, 500, 503]),
    headers=st.dictionaries(st.sampled_from(["retry-after", "risk_challenge_x"]), st.text(max_size=6)),
    body=BODIES,
)

Call = Callable[[Any, Any], Awaitable[object]]
CALLS: list[Call] = [
    lambda account, order: account.place(order),
    lambda account, order: account.cancel(order, LegRole.WORKING),
    lambda account, order: account.open_orders(order.symbol),
    lambda account, order: account.order_history(order.symbol, NOW),
    lambda account, order: account.look_up(order, LegRole.WORKING),
    lambda account, order: account.trades_of(order.symbol, VenueOrderId("1")),
    lambda account, order: account.trades_since(order.symbol, NOW),
    lambda account, _: account.balances(),
    lambda account, order: account.fee_rates(order.symbol),
    lambda account, order: account.order_limits(order.symbol),
    lambda account, order: account._venue.last_price(order.symbol),
    lambda account, order: account._venue.instrument(order.symbol),
    lambda account, _: account._venue.world(),
]


def accounts(answer: Response) -> list[tuple[Any, Any]]:
    """An account of each venue, for whom all answers but those needed first are the given one."""
    first = FakeTransport({"": answer, "get-exchange-info": reply(alpha.exchange_info())})
    second = FakeTransport({"": answer})
    return [
        (
            alpha.venue_of(first, world_url="https://alpha/world").account("1", FakeCredential("session")),
            alpha.oto_with_ids(),
        ),
        (spot.venue_of(second).account("1", FakeCredential("hmac")), spot.with_ids()),
    ]


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=ANSWERS)
def test_any_answer_ends_in_a_value_or_one_of_the_three_failures(
    call: Call, monkeypatch: pytest.MonkeyPatch, answer: Response
) -> None:
    monkeypatch.setattr(reading, "_AGAIN", 1)
    monkeypatch.setattr(reading, "_FIRST_PAUSE", 0)
    for account, order in accounts(answer):

        async def run(account: Any = account, order: Any = order) -> None:
            try:
                await call(account, order)
            except FAILURES:
                return

        asyncio.run(run())


@settings(max_examples=200, deadline=None)
@given(answer=ANSWERS)
def test_a_placement_is_a_yes_only_with_ids_that_can_be_used(answer: Response) -> None:
    for account, order in accounts(answer):

        async def run(account: Any = account, order: Any = order) -> None:
            try:
                placed = await account.place(order)
            except FAILURES:
                return
            assert len(placed.legs) == 2
            assert all(one.venue_order_id.isdigit() for one in placed.legs)

        asyncio.run(run())


FRAMES = st.text(max_size=40) | JSON.map(json.dumps)
EVENTS = JSON.map(lambda value: json.dumps({"stream": "s", "data": value, "event": value, "status": 1}))


@settings(max_examples=200, deadline=None)
@given(frame=FRAMES | EVENTS)
def test_any_frame_is_news_or_a_failure_that_reconnects(frame: str) -> None:
    try:
        _read_frame(frame)
    except (Unreadable, *FAILURES):
        return


@settings(max_examples=200, deadline=None)
@given(frame=FRAMES | EVENTS, subscribed=st.booleans())
def test_any_frame_on_a_shared_connection_leaves_every_user_up(frame: str, subscribed: bool) -> None:
    @virtual
    async def play() -> None:
        api = FakeWsApi()
        async with users_of(api) as users:
            users.start("1", "2")
            await asyncio.sleep(1)
            event = spot_event(frame) if subscribed else frame
            api.wires[0].say(event)
            await asyncio.sleep(60)
            assert users.up() == 2
            for user in users.heard.values():
                assert all(isinstance(one, StreamNews) for one in user)

    play()


def spot_event(frame: str) -> str:
    """The frame as an event of the first user's."""
    return '{"subscriptionId": 0, "event": ' + (frame if frame.startswith("{") else "{}") + "}"
