"""Orders over the pool of WS API connections: signed per user, written once, in doubt one by one."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from order_service.credentials import Vault
from order_service.gate import GatedTransport
from order_service.rate_budget import RateBudget
from order_service.venues import limits
from order_service.venues.binance_spot import SpotVenue
from order_service.venues.port import (
    Account,
    CredentialRefused,
    RateLimited,
    Response,
    TooManyOrders,
    VenueBusy,
    VenueNotReached,
    VenueRefused,
    VenueSilent,
)
from otopilot.clock import to_ms
from otopilot.instrument import Venue
from otopilot.order import LegRole, LegStatus, Order
from tests.order_service.venues.fakes import fixture, reply
from tests.order_service.venues.test_spot_writes import OTO, SINGLE, exchange_info, list_answer, single_answer
from tests.order_service.venues.ws_fakes import FakeWsApi, Frame, Key, Wire, ok, subscribe
from tests.virtual_loop import virtual

WHERE = {
    "order.place": "spot/rest_order_full",
    "orderList.place.opo": "spot/rest_orderlist_opo",
    "orderList.place.oto": "spot/rest_orderlist_oto",
    "order.cancel": "spot/wsapi_order_cancel_response_whole_list",
    "order.status": "spot/wsapi_order_status_response",
}


class Desk(FakeWsApi):
    """Answers orders, on both paths; counts what was placed on each."""

    def __init__(self, **symbol: Any) -> None:
        super().__init__()
        self.symbol = symbol
        self.answer = self.obey
        self.http = self.serve
        self.rest: list[tuple[str, str]] = []
        self.silent_on: dict[str, None] = {}  # methods that get no answer
        self.instead: dict[str, Frame] = {}

    def obey(self, wire: Wire, message: dict[str, Any]) -> list[Frame | str]:
        method = message["method"]
        if method in self.silent_on:
            return []
        if method in self.instead:
            return [{**self.instead[method], "id": message["id"]}]
        if method in WHERE:
            answer = result_of(method)
            return [ok(message, answer) | {"rateLimits": RATE_LIMITS}]
        return subscribe(wire, message)

    def serve(self, method: str, url: str, body: bytes) -> Response:
        path = url.split("?")[0].removeprefix("https://spot/api/v3/")
        if path == "exchangeInfo":
            return reply(exchange_info(**self.symbol))
        self.rest.append((method, path))
        names = {"order": "order.place", "orderList/opo": "orderList.place.opo"}
        return reply(result_of(names[path] if method == "POST" else "order.status"))

    def over_sockets(self, method: str) -> list[dict[str, Any]]:
        return [message for _, message in self.asked if message["method"] == method]


RATE_LIMITS = [
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50, "count": 12},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 160000, "count": 4043},
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 321},
]


def result_of(method: str) -> Any:
    if method == "order.place":
        return single_answer()
    answer = fixture(WHERE[method])
    if method.startswith("orderList"):
        return list_answer(WHERE[method])
    return answer["result"]


@asynccontextmanager
async def opened(api: Desk, connections: int = 2, **more: Any) -> AsyncIterator[SpotVenue]:
    venue = api.venue(order_connections=connections, **more)
    venue.pool.start()
    await asyncio.sleep(1)
    try:
        yield venue
    finally:
        await venue.aclose()


def now(order: Order, api: FakeWsApi) -> Order:
    return msgspec.structs.replace(order, submitted_at=api.clock.now())


def account(venue: SpotVenue, user: str = "1") -> Account:
    return venue.account(user, Key(user))


@virtual
async def test_a_list_goes_over_a_socket_signed_with_its_users_key_and_not_by_rest() -> None:
    api = Desk()
    async with opened(api) as venue:
        order = now(OTO, api)
        placed = await account(venue, "7").place(order)
        assert [leg.status for leg in placed.legs] == [LegStatus.OPEN, LegStatus.PENDING]
        assert placed.order_counts == {10: 12, 86_400: 4043}
        (message,) = api.over_sockets("orderList.place.opo")
        params = message["params"]
        assert params["apiKey"] == "key-7"
        assert params["signature"] == "signed by key-7"
        assert params["timestamp"] == str(to_ms(order.submitted_at))
        assert "pendingQuantity" not in params
        assert all(isinstance(value, str) for value in params.values())
        assert api.rest == []
        assert (321, None) in api.told


@virtual
async def test_single_orders_cancels_and_questions_go_over_sockets_too() -> None:
    api = Desk()
    async with opened(api) as venue:
        one = account(venue)
        await one.place(now(SINGLE, api))
        await one.cancel(SINGLE, LegRole.WORKING)
        found = await one.look_up(SINGLE, LegRole.WORKING)
        assert found is not None
        methods = [message["method"] for _, message in api.asked]
        assert methods == ["order.place", "order.cancel", "order.status"]
        assert api.over_sockets("order.cancel")[0]["params"]["newClientOrderId"] == f"o{SINGLE.order_id}c"
        assert api.rest == []


@virtual
async def test_without_a_connection_rest_takes_the_order_at_once() -> None:
    api = Desk()
    api.refuse = VenueNotReached("connection", "no")
    async with opened(api) as venue:
        began = api.clock.monotonic()
        await account(venue).place(now(OTO, api))
        assert api.clock.monotonic() == began
        assert api.rest == [("POST", "orderList/opo")]
        assert api.asked == []


@virtual
async def test_a_lost_socket_puts_only_its_own_requests_in_doubt_and_none_goes_again() -> None:
    api = Desk()
    api.silent_on["orderList.place.opo"] = None
    async with opened(api) as venue:
        orders = [asyncio.create_task(account(venue, str(n)).place(now(OTO, api))) for n in range(6)]
        await asyncio.sleep(0.1)
        assert [len(wire.asked) for wire in api.wires] == [3, 3]
        api.wires[0].cut()
        await asyncio.sleep(0.1)
        lost = [order for order in orders if order.done()]
        assert len(lost) == 3
        assert all(isinstance(order.exception(), VenueSilent) for order in lost)
        for message in api.wires[1].asked:
            api.wires[1].say(ok(message, result_of("orderList.place.opo")))
        await asyncio.sleep(0.1)
        assert sum(order.done() and order.exception() is None for order in orders) == 3
        await asyncio.sleep(60)
        assert len(api.over_sockets("orderList.place.opo")) == 6
        assert api.rest == []
        assert len(api.open) == 2, "the lost connection is back"


@virtual
async def test_a_socket_that_breaks_while_it_is_written_to_is_silence_and_not_tried_elsewhere() -> None:
    api = Desk()
    async with opened(api, connections=1) as venue:
        api.wires[0].open = False  # the next write fails; how much of it left nobody knows
        with pytest.raises(VenueSilent):
            await account(venue).place(now(OTO, api))
        with pytest.raises(VenueSilent):
            await account(venue).cancel(OTO, LegRole.WORKING)
        assert api.rest == []


@virtual
async def test_no_answer_in_time_is_silence_and_a_late_one_harms_nobody() -> None:
    api = Desk()
    api.silent_on["order.place"] = None
    async with opened(api, connections=1) as venue:
        with pytest.raises(VenueSilent) as silence:
            await account(venue).place(now(SINGLE, api))
        assert silence.value.code == "timeout"
        (message,) = api.over_sockets("order.place")
        api.wires[0].say(ok(message, result_of("order.place")))
        api.silent_on.clear()
        await account(venue).place(now(SINGLE, api))
        assert api.rest == []


@virtual
async def test_an_order_too_old_leaves_on_neither_path() -> None:
    api = Desk()
    async with opened(api) as venue:
        late = msgspec.structs.replace(OTO, submitted_at=api.clock.now() - timedelta(seconds=1.5))
        with pytest.raises(VenueNotReached) as refused:
            await account(venue).place(late)
        assert refused.value.code == "too_late"
        assert (api.asked, api.rest) == ([], [])


@pytest.mark.parametrize(
    ("status", "code", "said", "failure", "word"),
    [
        (400, -1013, "Filter failure: LOT_SIZE", VenueRefused, "filter"),
        (400, -2010, "Account has insufficient balance.", VenueRefused, "insufficient_balance"),
        (400, -2010, "Duplicate order sent.", VenueSilent, "-2010"),
        (400, -1021, "Timestamp", VenueRefused, "clock"),
        (401, -2015, "Invalid API-key", CredentialRefused, "not_permitted"),
        (503, -1008, "overloaded", VenueBusy, "-1008"),
        (500, -1016, "shutting down", VenueSilent, "-1016"),
        (400, -1010, "Market is closed.", VenueRefused, "refused"),
        (400, -1010, "Duplicate order sent.", VenueSilent, "-1010"),
        (500, -1007, "Timeout waiting", VenueSilent, "-1007"),
        (400, -9999, "?", VenueSilent, "-9999"),
        (409, -2021, "?", VenueSilent, "-2021"),
        (400, -1015, "Too many new orders", TooManyOrders, "-1015"),
        (429, -1003, "Too much", RateLimited, "-1003"),
    ],
)  # fmt: skip
def test_an_error_over_a_socket_proves_what_it_proves_by_rest(
    status: int, code: int, said: str, failure: type[Exception], word: str
) -> None:
    @virtual
    async def story() -> None:
        api = Desk()
        api.instead["orderList.place.opo"] = {"status": status, "error": {"code": code, "msg": said}}
        async with opened(api) as venue:
            with pytest.raises(failure) as caught:
                await account(venue).place(now(OTO, api))
            assert caught.value.code == word  # type: ignore[attr-defined]
            assert type(caught.value) is failure
            assert api.rest == []

    story()


@virtual
async def test_an_answer_that_is_not_of_this_order_is_silence() -> None:
    api = Desk()
    api.instead["order.place"] = {"status": 200, "result": single_answer(clientOrderId="another")}
    async with opened(api) as venue:
        with pytest.raises(VenueSilent):
            await account(venue).place(now(SINGLE, api))


@virtual
async def test_a_ban_told_on_a_socket_closes_both_paths_for_everybody() -> None:
    """Architecture 5.4, binance-spot 6: retryAfter is an epoch time here."""
    api = Desk()
    ban = fixture("spot/wsapi_error_418_banned")
    ban["error"]["data"]["retryAfter"] = ban["error"]["data"]["serverTime"] + 90_000
    api.instead["orderList.place.opo"] = {"status": 418, "error": ban["error"]}
    budget = RateBudget(Venue.SPOT, api.clock, limits.spot())
    async with opened(api, transport=GatedTransport(api, budget, api.clock)) as venue:
        with pytest.raises(RateLimited):
            await account(venue).place(now(OTO, api))
        assert budget.closed_until() == api.clock.now() + timedelta(seconds=90)
        asked = len(api.asked)
        with pytest.raises(VenueNotReached):
            await account(venue, "2").place(now(SINGLE, api))
        assert (len(api.asked), api.rest) == (asked, [])


@pytest.mark.parametrize(
    ("retry_after", "server_time"),
    [(1_000, 2_000), (1_000, 253_402_300_799_999), ("soon", 1_000), (10**30, 1_000), (1_000, -1)],
)
@virtual
async def test_a_ban_whose_end_makes_no_sense_lasts_two_minutes(
    retry_after: object, server_time: object
) -> None:
    api = Desk()
    ban = fixture("spot/wsapi_error_418_banned")["error"]
    ban["data"] = {"retryAfter": retry_after, "serverTime": server_time}
    api.instead["order.place"] = {"status": 418, "error": ban}
    budget = RateBudget(Venue.SPOT, api.clock, limits.spot())
    async with opened(api, transport=GatedTransport(api, budget, api.clock)) as venue:
        with pytest.raises(RateLimited):
            await account(venue).place(now(SINGLE, api))
        assert budget.closed_until() == api.clock.now() + timedelta(minutes=2)


@virtual
async def test_a_question_without_an_answer_is_asked_again_by_rest() -> None:
    api = Desk()
    api.silent_on["order.status"] = None
    async with opened(api) as venue:
        assert await account(venue).look_up(SINGLE, LegRole.WORKING) is not None
        assert api.rest == [("GET", "order")]


@virtual
async def test_an_order_that_does_not_exist_is_told_over_a_socket() -> None:
    api = Desk()
    api.instead["order.status"] = {"status": 400, "error": {"code": -2013, "msg": "Order does not exist."}}
    api.instead["order.cancel"] = {"status": 400, "error": {"code": -2011, "msg": "Unknown order sent."}}
    async with opened(api) as venue:
        assert await account(venue).look_up(SINGLE, LegRole.WORKING) is None
        with pytest.raises(VenueRefused, match="not_open"):
            await account(venue).cancel(SINGLE, LegRole.WORKING)
        assert api.rest == []


@virtual
async def test_a_connection_that_is_going_answers_what_is_in_flight_and_takes_no_more() -> None:
    """Reliability 26."""
    api = Desk()
    api.silent_on["order.place"] = None
    async with opened(api, connections=1) as venue:
        order = asyncio.create_task(account(venue).place(now(SINGLE, api)))
        await asyncio.sleep(0.1)
        api.wires[0].say(fixture("spot/wsapi_event_server_shutdown"))
        await asyncio.sleep(1)
        api.silent_on.clear()
        await account(venue, "2").place(now(SINGLE, api))
        assert [len(wire.asked) for wire in api.wires] == [1, 1]
        api.wires[0].say(ok(api.wires[0].asked[0], result_of("order.place")))
        assert (await order).legs[0].venue_order_id == "28"
        await asyncio.sleep(30)
        assert api.open == [api.wires[1]]


@virtual
async def test_the_published_vectors_are_what_a_real_key_signs_on_a_socket() -> None:
    """Binance-spot 1.4: sorted by name, raw UTF-8, no percent-encoding."""
    vectors = fixture("spot/signing_vectors_hmac_sha256")
    secret = json.dumps({"api_key": "k", "secret": vectors["secret_published_example"]}).encode()
    vault = Vault(bytes(32))
    key = vault.open("1", Venue.SPOT, vault.seal("1", Venue.SPOT, "hmac", secret))
    for vector in vectors["vectors"]:
        assert key.sign(vector["payload_utf8"].encode()) == vector["signature_hex"]
    payloads: list[bytes] = []

    class Listening(Key):
        def sign(self, payload: bytes) -> str:
            payloads.append(payload)
            return super().sign(payload)

    api = Desk(symbol="１２３")
    async with opened(api) as venue:
        order = msgspec.structs.replace(now(SINGLE, api), symbol="１２３")
        await venue.account("1", Listening("1")).place(order)
    params = dict(api.over_sockets("order.place")[0]["params"])
    del params["signature"]
    assert payloads[-1] == "&".join(f"{name}={params[name]}" for name in sorted(params)).encode()
    assert "symbol=１２３".encode() in payloads[-1]
