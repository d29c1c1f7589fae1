"""User data of many users over few connections: subscribing, losing, renewing, and who is not concerned."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from order_service.gate import GatedTransport
from order_service.rate_budget import RateBudget
from order_service.venues import limits
from order_service.venues.binance_spot import SpotVenue
from order_service.venues.port import (
    BalancePushed,
    OrderPushed,
    RateLimited,
    StreamDown,
    StreamNews,
    StreamUp,
    TradePushed,
    VenueNotReached,
)
from otopilot.clock import to_ms
from otopilot.instrument import Venue
from otopilot.order import Fee, LegStatus
from tests.order_service.venues.fakes import fixture
from tests.order_service.venues.ws_fakes import SUBSCRIBE, FakeWsApi, Frame, Key, Wire, no, subscribe
from tests.virtual_loop import virtual

MONEY = {"e": "outboundAccountPosition", "E": 1, "u": 1, "B": []}


class Users:
    """Their streams, and what each heard."""

    def __init__(self, api: FakeWsApi, venue: SpotVenue) -> None:
        self.api = api
        self.venue = venue
        self.heard: dict[str, list[StreamNews]] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, *names: str) -> None:
        for name in names:
            news = self.heard.setdefault(name, [])
            work = self.venue.account(name, Key(name)).run_stream(news.append)
            self.tasks[name] = asyncio.create_task(work)

    async def stop(self, *names: str) -> None:
        for name in names:
            self.tasks[name].cancel()
        await asyncio.gather(*(self.tasks.pop(name) for name in names), return_exceptions=True)

    def kinds(self, name: str) -> list[str]:
        return [type(one).__name__ for one in self.heard[name]]

    def up(self) -> int:
        """How many are subscribed as far as they know."""
        last = ([n for n in news if isinstance(n, StreamUp | StreamDown)] for news in self.heard.values())
        return sum(bool(found) and isinstance(found[-1], StreamUp) for found in last)


@asynccontextmanager
async def users_of(api: FakeWsApi, venue: SpotVenue | None = None) -> AsyncIterator[Users]:
    users = Users(api, venue or api.venue())
    try:
        yield users
    finally:
        await users.stop(*users.tasks)
        await users.venue.user_data.aclose()


@virtual
async def test_the_subscription_is_signed_and_its_answer_brings_the_stream_up() -> None:
    api = FakeWsApi()
    async with users_of(api) as users:
        users.start("1")
        await asyncio.sleep(1)
        assert users.heard["1"] == [StreamUp()]
        (message,) = api.wires[0].asked
        assert message["method"] == SUBSCRIBE
        assert message["params"] == {
            "apiKey": "key-1",
            "recvWindow": "2000",
            "timestamp": str(to_ms(api.clock.now()) - 1000),
            "signature": "signed by key-1",
        }


@virtual
async def test_each_user_hears_what_is_his_alone() -> None:
    api = FakeWsApi()
    async with users_of(api) as users:
        users.start("1", "2")
        await asyncio.sleep(1)
        api.wires[0].push("key-2", MONEY)
        await asyncio.sleep(1)
        assert users.kinds("1") == ["StreamUp"]
        assert users.kinds("2") == ["StreamUp", "BalancePushed"]
        assert len(api.wires) == 1


async def told(users: Users, *events: Any) -> list[StreamNews]:
    """The news in frames, as their samples stand in the venue's documents."""
    users.start("1")
    await asyncio.sleep(1)
    for event in events:
        users.api.wires[0].push("key-1", event.get("event", event))
    await asyncio.sleep(1)
    return users.heard["1"][1:]


@virtual
async def test_a_trade_is_pushed_with_its_key_before_the_order() -> None:
    async with users_of(FakeWsApi()) as users:
        trade, order = await told(users, fixture("spot/uds_execution_report_trade"))
    assert isinstance(trade, TradePushed)
    assert (trade.trade.key, trade.trade.fee.asset, trade.trade.quantity) == ("7", "BNB", 2)
    assert isinstance(trade.trade.fee, Fee)
    assert isinstance(order, OrderPushed)
    assert (order.order.status, order.order.executed_quantity) == (LegStatus.OPEN, 2)


@virtual
async def test_a_cancelled_order_is_told_by_the_id_it_was_placed_with() -> None:
    async with users_of(FakeWsApi()) as users:
        (news,) = await told(users, fixture("spot/synthetic_uds_execution_report_canceled"))
    assert isinstance(news, OrderPushed)
    assert (news.order.client_id, news.order.status, news.order.list_id) == (
        "w-0001",
        LegStatus.CANCELED,
        "7",
    )


@virtual
async def test_an_oto_lives_through_the_stream() -> None:
    async with users_of(FakeWsApi()) as users:
        news = await told(users, *fixture("spot/synthetic_uds_seq_oto_place_partial_fill_release"))
    statuses = [one.order.status for one in news if isinstance(one, OrderPushed)]
    assert statuses[:2] == [LegStatus.OPEN, LegStatus.PENDING]


@virtual
async def test_money_events_are_a_hint_and_others_pass() -> None:
    async with users_of(FakeWsApi()) as users:
        events = [{"e": "listStatus"}, {"e": "never heard of"}, fixture("spot/uds_outbound_account_position")]
        assert await told(users, *events) == [BalancePushed()]


def test_an_event_of_an_unknown_kind_is_told_once_in_the_log_and_a_known_one_never_7_2(
    aloud: list[dict[str, Any]],
) -> None:
    @virtual
    async def story() -> None:
        async with users_of(FakeWsApi()) as users:
            again = [{"e": "listStatus"}, {"e": "neverHeardOf"}] * 3
            await told(users, *again, {"e": ["odd"]}, fixture("spot/uds_outbound_account_position"))

    story()
    assert [line["kind"] for line in aloud if "kind" in line] == ["neverHeardOf", "['odd']"]


@virtual
async def test_an_event_that_cannot_be_read_is_a_gap_of_that_user_alone() -> None:
    api = FakeWsApi()
    async with users_of(api) as users:
        users.start("1", "2")
        await asyncio.sleep(1)
        api.wires[0].push("key-1", {"e": "executionReport", "i": "not a number"})
        api.wires[0].say("}")
        api.wires[0].push("key-2", MONEY)
        await asyncio.sleep(30)
        assert users.kinds("1") == ["StreamUp", "StreamDown", "StreamUp"]
        assert users.kinds("2") == ["StreamUp", "BalancePushed"]
        assert len(api.connects) == 1


@virtual
async def test_a_subscription_that_the_venue_ends_is_made_again_for_that_user_alone() -> None:
    """Reliability 25."""
    api = FakeWsApi()
    async with users_of(api) as users:
        users.start("1", "2")
        await asyncio.sleep(1)
        number = api.wires[0].accounts.pop("key-1")
        api.wires[0].say({"subscriptionId": number, "event": {"e": "eventStreamTerminated", "E": 1}})
        await asyncio.sleep(5)
        assert users.kinds("1") == ["StreamUp", "StreamDown", "StreamUp"]
        assert users.kinds("2") == ["StreamUp"]
        assert len(api.connects) == 1


@virtual
async def test_a_server_that_is_going_is_left_without_a_gap() -> None:
    """Reliability 26: the new connection first, then the old one goes; both are heard meanwhile."""
    api = FakeWsApi()
    async with users_of(api) as users:
        users.start("1", "2")
        await asyncio.sleep(1)
        old = api.wires[0]
        old.say(fixture("spot/wsapi_event_server_shutdown"))
        await asyncio.sleep(1)
        old.push("key-1", MONEY)
        await asyncio.sleep(30)
        api.wires[1].push("key-2", MONEY)
        await asyncio.sleep(1)
        assert [users.kinds(name) for name in "12"] == [["StreamUp", "BalancePushed"]] * 2
        assert api.open == [api.wires[1]]


@virtual
async def test_a_connection_is_renewed_before_its_day_is_over_and_nobody_notices() -> None:
    api = FakeWsApi()
    async with users_of(api) as users:
        users.start("1", "2", "3")
        for _ in range(72):
            await asyncio.sleep(3600)
            assert all(len(wire.accounts) == 3 for wire in api.open)
        assert [users.kinds(name) for name in "123"] == [["StreamUp"]] * 3
        assert len(api.wires) == 4
        assert max(b - a for a, b in zip(api.connects, api.connects[1:], strict=False)) < 24 * 3600


@virtual
async def test_a_renewal_that_fails_is_tried_again_while_the_old_connection_serves() -> None:
    api = FakeWsApi()
    async with users_of(api) as users:
        users.start("1")
        await asyncio.sleep(1)
        api.refuse = VenueNotReached("connection", "no")
        api.wires[0].say(fixture("spot/wsapi_event_server_shutdown"))
        await asyncio.sleep(60)
        assert users.kinds("1") == ["StreamUp"]
        api.refuse = None
        await asyncio.sleep(60)
        assert users.kinds("1") == ["StreamUp"]
        assert api.open == [api.wires[1]]


@virtual
async def test_a_refused_key_is_its_users_alone_and_asked_about_slowly() -> None:
    api = FakeWsApi()

    def answer(wire: Wire, message: dict[str, Any]) -> list[Frame | str]:
        refused = message["params"].get("apiKey") == "key-1"
        return [no(message, -2015, 401)] if refused else subscribe(wire, message)

    api.answer = answer
    async with users_of(api) as users:
        users.start("1", "2")
        await asyncio.sleep(601)
        assert users.kinds("1") == ["StreamDown"]
        assert users.kinds("2") == ["StreamUp"]
        assert len([1 for _, one in api.asked if one["params"]["apiKey"] == "key-1"]) == 11


@virtual
async def test_users_of_one_account_are_put_on_different_connections() -> None:
    """-2035: one subscription an account and connection."""
    api = FakeWsApi()
    async with users_of(api) as users:
        users.start("1")
        users.heard["again"] = []
        work = users.venue.account("again", Key("1")).run_stream(users.heard["again"].append)
        users.tasks["again"] = asyncio.create_task(work)
        await asyncio.sleep(5)
        assert (users.kinds("1"), users.kinds("again")) == (["StreamUp"], ["StreamUp"])
        assert [len(wire.accounts) for wire in api.open] == [1, 1]


@virtual
async def test_a_connection_that_has_no_numbers_left_gets_a_successor() -> None:
    """-2042."""
    api = FakeWsApi()

    def answer(wire: Wire, message: dict[str, Any]) -> list[Frame | str]:
        worn = wire is api.wires[0] and message["params"]["apiKey"] == "key-2"
        return [no(message, -2042)] if worn else subscribe(wire, message)

    api.answer = answer
    async with users_of(api) as users:
        users.start("1", "2")
        await asyncio.sleep(30)
        assert [users.kinds(name) for name in "12"] == [["StreamUp"]] * 2
        assert [len(wire.accounts) for wire in api.open] == [2]


@virtual
async def test_a_lost_answer_does_not_keep_a_user_out_and_what_nobody_hears_is_given_back() -> None:
    api = FakeWsApi()
    lost: list[str] = []

    def answer(wire: Wire, message: dict[str, Any]) -> list[Frame | str]:
        frames = subscribe(wire, message)
        if message["params"].get("apiKey") == "key-2" and not lost:
            lost.append("")
            return []
        return frames

    api.answer = answer
    async with users_of(api) as users:
        users.start("1", "2")
        await asyncio.sleep(60)
        assert (users.kinds("1"), users.kinds("2")) == (["StreamUp"], ["StreamDown", "StreamUp"])
        api.wires[0].push("key-2", MONEY)
        await asyncio.sleep(5)
        assert list(api.wires[0].accounts) == ["key-1"]


@virtual
async def test_who_leaves_is_unsubscribed_and_the_last_one_closes_the_connection() -> None:
    api = FakeWsApi()
    async with users_of(api) as users:
        users.start("1", "2")
        await asyncio.sleep(1)
        await users.stop("1")
        await asyncio.sleep(1)
        assert list(api.wires[0].accounts) == ["key-2"]
        await users.stop("2")
        await asyncio.sleep(1)
        assert (api.open, users.venue.user_data.connections) == ([], 0)


@virtual
async def test_a_reader_that_fails_ends_its_own_stream_only() -> None:
    api = FakeWsApi()
    async with users_of(api) as users:
        users.start("2")

        def broken(news: StreamNews) -> None:
            if isinstance(news, BalancePushed):
                raise ZeroDivisionError

        stream = asyncio.create_task(users.venue.account("1", Key("1")).run_stream(broken))
        await asyncio.sleep(1)
        api.wires[0].push("key-1", MONEY)
        api.wires[0].push("key-2", MONEY)
        with pytest.raises(ZeroDivisionError):
            await stream
        assert users.kinds("2") == ["StreamUp", "BalancePushed"]


# ------------------------------------------------------------------ a thousand

NAMES = [str(number) for number in range(1000)]


@virtual
async def test_a_thousand_users_are_up_within_five_minutes_over_two_connections() -> None:
    api = FakeWsApi()
    async with users_of(api) as users:
        users.start(*NAMES)
        await asyncio.sleep(300)
        assert users.up() == 1000
        assert len(api.connects) == 2
        assert [len(wire.accounts) for wire in api.wires] == [500, 500]
        assert busiest(sorted(at for at, _ in api.asked), 60.0) * 2 <= 6000 * 0.3


def busiest(times: list[float], seconds: float) -> int:
    """The most of them in any stretch of so many seconds."""
    return max(sum(at <= other < at + seconds for other in times) for at in times[::50])


@virtual
async def test_a_mass_disconnect_comes_back_within_the_limits_and_asks_nothing_during_a_ban() -> None:
    """Reliability 27, architecture 5.4: through the gate, as the service has it."""
    api = FakeWsApi()
    clock = api.clock
    budget = RateBudget(Venue.SPOT, clock, limits.spot())
    gate = GatedTransport(api, budget, clock)
    async with users_of(api, api.venue(transport=gate)) as users:
        users.start(*NAMES)
        await asyncio.sleep(200)
        assert users.up() == 1000

        until = asyncio.get_running_loop().time() + 35
        api.refuse = RateLimited("http_429", "later", clock.now() + timedelta(seconds=35))
        for wire in api.open:
            wire.cut()
        before, asked = len(api.connects), len(api.asked)
        await asyncio.sleep(1)
        assert users.up() == 0
        told_at = api.connects[before]
        api.refuse = None
        await asyncio.sleep(33)
        assert len(api.connects) == before + 1, "one connect met the ban; nothing left during it"
        assert len(api.asked) == asked
        await asyncio.sleep(200)
        assert users.up() == 1000
        assert all(at == told_at or at >= until for at in api.connects[before:])
        assert busiest(api.connects, 300.0) <= 200
        assert budget.counters.bans == 1
