"""The gRPC clients against played services: what goes out, what comes back, what a failure means."""

from collections.abc import AsyncIterator
from decimal import Decimal as D
from typing import Any

import grpc
import msgspec
import pytest

from otopilot import wire
from otopilot.instrument import Venue
from otopilot.order import OrderId, Purpose, RequestId
from otopilot.quote import Quote
from otopilot.rpc import Fault, Registration, channel, serve
from otopilot.settings import Endpoint
from protos import market_pb2, market_pb2_grpc, order_pb2, order_pb2_grpc
from strategy_service.clients import GrpcMarket, GrpcOrders, PriceKey, Refused, Unreached
from strategy_service.state import PlaceOto, PlaceSell
from tests.strategy_service.builders import KOGE, SYMBOL, order_of, quote, rules

OTO = PlaceOto(
    request_id=RequestId("s/1/1/0"),
    cycle=1,
    try_number=0,
    step=0,
    quantity=D("0.298"),
    working_price=D("100.50"),
    min_working_price=D("100.02"),
    pending_price=D("101.51"),
    reference=quote(),
)
SELL = PlaceSell(
    request_id=RequestId("s/1/1/1"),
    cycle=1,
    try_number=1,
    step=2,
    purpose=Purpose.REPRICE,
    quantity=D("0.1"),
    price=D("101.3"),
)


class PlayedOrders(order_pb2_grpc.OrderServiceServicer):
    """Answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.fault: Fault | None = None
        self.items: list[order_pb2.WatchOrdersResponse] = []

    def _note(self, request: Any) -> None:
        self.asked.append(request)
        if self.fault is not None:
            raise self.fault

    async def PlaceOto(self, request: Any, context: Any) -> order_pb2.Order:
        self._note(request)
        return wire.order_to_pb(order_of(OTO))

    async def PlaceOrder(self, request: Any, context: Any) -> order_pb2.Order:
        self._note(request)
        return wire.order_to_pb(order_of(SELL))

    async def GetOrder(self, request: Any, context: Any) -> order_pb2.Order:
        self._note(request)
        return wire.order_to_pb(order_of(OTO))

    async def Claim(self, request: Any, context: Any) -> order_pb2.ClaimResponse:
        self._note(request)
        return order_pb2.ClaimResponse(owner_epoch=4, instance_epoch=2)

    async def WatchOrders(self, request: Any, context: Any) -> AsyncIterator[order_pb2.WatchOrdersResponse]:
        self._note(request)
        for item in self.items:
            yield item


class PlayedMarket(market_pb2_grpc.MarketServiceServicer):
    """One instrument, one price."""

    async def GetInstrument(self, request: Any, context: Any) -> market_pb2.Instrument:
        assert request.max_age_ms == 10_000
        if request.token != "KOGE":
            raise Fault(grpc.StatusCode.NOT_FOUND, "UNKNOWN_TOKEN", f"no token {request.token}")
        return wire.instrument_to_pb(KOGE)

    async def WatchPrices(self, request: Any, context: Any) -> AsyncIterator[market_pb2.WatchPricesResponse]:
        good = wire.quote_to_pb(quote("101"), quote().confirmed_at, 3000)
        yield market_pb2.WatchPricesResponse(sequence=1, prices=[market_pb2.Price(symbol="BAD"), good])
        yield market_pb2.WatchPricesResponse(sequence=2)


@pytest.fixture
async def played() -> AsyncIterator[tuple[GrpcMarket, GrpcOrders, PlayedOrders]]:
    orders, market = PlayedOrders(), PlayedMarket()
    registrations = [
        Registration(
            "otopilot.order.v1.OrderService",
            lambda server: order_pb2_grpc.add_OrderServiceServicer_to_server(orders, server),
        ),
        Registration(
            "otopilot.market.v1.MarketService",
            lambda server: market_pb2_grpc.add_MarketServiceServicer_to_server(market, server),
        ),
    ]
    async with serve(Endpoint(host="127.0.0.1", port=0), registrations, grace_seconds=0.1) as server:
        client = channel(f"127.0.0.1:{server.port}")
        yield GrpcMarket(client), GrpcOrders(client), orders
        await client.close()


Played = tuple[GrpcMarket, GrpcOrders, PlayedOrders]


async def test_an_oto_goes_out_with_everything_the_contract_asks_for(played: Played) -> None:
    _, orders, service = played
    order = await orders.place(OTO, rules(), 7)
    assert order == order_of(OTO)
    (sent,) = service.asked
    assert sent == order_pb2.PlaceOtoRequest(
        request_id="s/1/1/0",
        owner_epoch=7,
        user_id="1",
        venue=market_pb2.VENUE_ALPHA,
        symbol=SYMBOL,
        strategy_id="s",
        cycle=1,
        scope_id="s",
        quantity="0.298",
        working_price="100.5",
        min_working_price="100.02",
        pending_price="101.51",
        reference_price="100",
        price_confirmed_at=wire.timestamp(quote().confirmed_at),
        max_price_age_ms=3000,
    )


@pytest.mark.parametrize("sells_count", [False, True])
async def test_a_single_sell_names_its_purpose_and_no_scope_even_if_sells_count(
    played: Played, sells_count: bool
) -> None:
    _, orders, service = played
    await orders.place(SELL, msgspec.structs.replace(rules(), sells_count=sells_count), 7)
    (sent,) = service.asked
    assert (sent.purpose, sent.side, sent.step, sent.scope_id) == (
        order_pb2.PURPOSE_REPRICE,
        order_pb2.SIDE_SELL,
        2,
        "",
    )
    assert not sent.HasField("price_confirmed_at")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unreached),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Unreached),
        (grpc.StatusCode.CANCELLED, Unreached),
        (grpc.StatusCode.UNKNOWN, Unreached),
        (grpc.StatusCode.INTERNAL, Unreached),
        (grpc.StatusCode.FAILED_PRECONDITION, Refused),
        (grpc.StatusCode.INVALID_ARGUMENT, Refused),
        (grpc.StatusCode.NOT_FOUND, Refused),
        (grpc.StatusCode.ALREADY_EXISTS, Refused),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Refused),
    ],
)
async def test_only_a_definite_answer_is_a_no(played: Played, code: grpc.StatusCode, kind: type) -> None:
    _, orders, service = played
    service.fault = Fault(code, "DENIED_GUARD", "in the way", blocking_price="99")
    with pytest.raises(kind) as caught:
        await orders.place(OTO, rules(), 7)
    assert (caught.value.reason, caught.value.metadata) == ("DENIED_GUARD", {"blocking_price": "99"})


async def test_a_service_that_is_not_there_is_not_reached() -> None:
    client = channel("127.0.0.1:1")
    with pytest.raises(Unreached):
        await GrpcOrders(client).claim("me")
    await client.close()


async def test_claims_and_finds(played: Played) -> None:
    _, orders, service = played
    claimed = await orders.claim("strategy-service")
    assert (claimed.owner_epoch, claimed.instance_epoch) == (4, 2)
    await orders.find(OrderId("o1"), None)
    await orders.find(None, RequestId("s/1/1/0"))
    assert [(r.order_id, r.request_id) for r in service.asked[1:]] == [("o1", ""), ("", "s/1/1/0")]


async def test_an_item_nobody_understands_does_not_end_the_order_stream(played: Played) -> None:
    _, orders, service = played
    service.items = [
        order_pb2.WatchOrdersResponse(sequence=5, order=order_pb2.Order(order_id="bad")),
        order_pb2.WatchOrdersResponse(sequence=6, order=wire.order_to_pb(order_of(OTO))),
        order_pb2.WatchOrdersResponse(sequence=6, ask_again_user_ids=["1", "2"]),
    ]
    news = [item async for item in orders.watch(4)]
    assert [(n.sequence, n.order) for n in news] == [(5, None), (6, order_of(OTO)), (6, None)]
    assert news[2].ask_again == ("1", "2")
    assert service.asked[0].after_sequence == 4


async def test_an_order_stream_that_fails_says_how(played: Played) -> None:
    _, orders, service = played
    service.fault = Fault(grpc.StatusCode.OUT_OF_RANGE, "TOO_OLD", "start at 0")
    with pytest.raises(Refused) as caught:
        _ = [item async for item in orders.watch(4)]
    assert caught.value.code == "OUT_OF_RANGE"


async def test_instruments_by_token_and_prices_in_batches(played: Played) -> None:
    market, _, _ = played
    assert await market.instrument(Venue.ALPHA, "KOGE", "BSC", 10) == KOGE
    with pytest.raises(Refused, match="no token KOGEE"):
        await market.instrument(Venue.ALPHA, "KOGEE", "BSC", 10)
    batches: list[list[Quote]] = [list(b) async for b in market.watch([PriceKey(Venue.ALPHA, SYMBOL)])]
    assert [[q.price for q in batch] for batch in batches] == [[D(101)], []]
