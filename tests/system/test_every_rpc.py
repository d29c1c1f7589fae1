"""Every RPC of every service against whatever one may send it (reliability 3, fuzz; fault row 57).

The services' own servicers over real gRPC, in this process: order-service above imitated venues and a real
journal, market-service above an imitated venue over HTTP, strategy-service above both as fakes. The RPCs
come from the descriptors: a new one is tried from the day it is there.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from market_service.__main__ import open_service
from order_service.admin_servicer import OrderAdminServicer
from order_service.servicer import OrderServicer
from otopilot import rpc, wire
from otopilot.clock import SystemClock
from otopilot.instrument import Venue
from otopilot.order import UserId
from otopilot.rpc import Registration
from otopilot.settings import Endpoint, MarketSettings, PaperSettings, Settings
from protos import market_pb2, market_pb2_grpc, order_pb2, order_pb2_grpc, strategy_pb2, strategy_pb2_grpc
from strategy_service.config import ConfigManager
from strategy_service.runs import Runs
from strategy_service.servicer import StrategyServicer
from strategy_service.supervisor import Supervisor
from tests.market_service.imitation import KOGE, Imitation
from tests.order_service.desk import SECRETS, Desk
from tests.order_service.fakes import FakeVenue
from tests.strategy_service.fakes import FakeMarket, FakeOrders
from tests.system.nasty import Good, messages

ROOT = Path(__file__).parents[2]
ALPHA = market_pb2.VENUE_ALPHA
SECONDS = 30.0  # for any answer
EXAMPLES = 60
USERS = 20
CONFIG = """\
strategies:
  - strategy_id: koge
    strategy_name: KOGE demo
    target_token: KOGE
    target_chain: BSC
    target_volume: 100000
    trade_interval_seconds: 5
    fill_timeout_seconds: 0.1
    user_ids: [1, 2]
"""

# What a request may be told. Not among them: UNKNOWN, INTERNAL, UNIMPLEMENTED, DEADLINE_EXCEEDED, ...
DEFINITE = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,
}
FAILURES = {"task failed", "call failed", "stream failed", "loop crashed"}


def every_rpc() -> list[MethodDescriptor]:
    """All methods of all services in protos/."""
    files = [import_module(f"protos.{path.stem}_pb2") for path in sorted((ROOT / "protos").glob("*.proto"))]
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    return [method for service in services for method in service.methods]


@dataclass
class Served:
    """One process' services: where, what means something to it, and a request that it must still answer."""

    channel: grpc.aio.Channel
    good: Good
    still_works: Callable[[], Awaitable[None]]


# ---------------------------------------------------------------------------- the services


async def _orders(stack: AsyncExitStack, path: Path) -> Served:
    clock = SystemClock()
    venues = (FakeVenue(clock, Venue.ALPHA), FakeVenue(clock, Venue.SPOT))
    desk = await stack.enter_async_context(Desk(path / "journal.db", *venues, inline=False))
    orders = OrderServicer(desk.manager, desk.accounts, desk.sessions, desk.journal, desk.feed, desk.clock)
    admin = OrderAdminServicer(
        desk.users, desk.manager, desk.sessions, desk.keeper, desk.journal, desk.budgets, desk.clock
    )
    channel = await _served(
        stack,
        lambda server: order_pb2_grpc.add_OrderServiceServicer_to_server(orders, server),
        lambda server: order_pb2_grpc.add_OrderAdminServiceServicer_to_server(admin, server),
    )
    numbers = itertools.count(1)
    kind, secret = SECRETS[Venue.ALPHA]
    last = {"order_id": "", "scope_id": ""}

    def member(user: str) -> order_pb2.ScopeMember:
        return order_pb2.ScopeMember(user_id=user, venue=ALPHA, symbol=KOGE)

    async def still_works() -> None:
        """New users trade: one places an order, the others are there for the requests to come."""
        stub: Any = order_pb2_grpc.OrderServiceStub(channel)
        name = f"scope{next(numbers)}"
        users = [f"{name}-{number}" for number in range(USERS)]
        epoch = (await stub.Claim(order_pb2.ClaimRequest(owner="test"))).owner_epoch
        for user in users:
            put = order_pb2.PutCredentialRequest(user_id=user, venue=ALPHA, kind=kind, secret=secret)
            await order_pb2_grpc.OrderAdminServiceStub(channel).PutCredential(put)
        await stub.SetVolumeScope(
            order_pb2.SetVolumeScopeRequest(
                scope_id=name,
                owner_epoch=epoch,
                members=[member(user) for user in users],
                target="100000",
                revision=1,
            )
        )
        sessions = [desk.sessions.require(Venue.ALPHA, UserId(user)) for user in users]
        await desk.keeper.settle(sessions, SECONDS)
        order = order_pb2.PlaceOtoRequest(
            request_id=name,
            owner_epoch=epoch,
            user_id=users[0],
            venue=ALPHA,
            symbol=KOGE,
            strategy_id="st",
            cycle=1,
            scope_id=name,
            quantity="0.5",
            working_price="48",
            pending_price="48.5",
            reference_price="48",
            price_confirmed_at=wire.timestamp(clock.now()),
        )
        placed = await stub.PlaceOto(order)
        assert placed.state == order_pb2.ORDER_STATE_WORKING
        last.update(order_id=placed.order_id, scope_id=name)

    def some_user() -> str:
        return f"{last['scope_id']}-{next(numbers) % USERS}"

    good: Good = {
        "request_id": lambda: f"r{next(numbers) // 2}",
        "owner_epoch": lambda: desk.journal.books.owner_epoch,
        "owner": lambda: "test",
        "user_id": some_user,
        "venue": lambda: ALPHA,
        "symbol": lambda: KOGE,
        "strategy_id": lambda: "st",
        "cycle": lambda: 1,
        "scope_id": lambda: last["scope_id"],
        "quantity": lambda: "0.5",
        "working_price": lambda: "48",
        "min_working_price": lambda: "47",
        "price": lambda: "48.6",
        "limit_price": lambda: "48.6",
        "pending_price": lambda: "48.5",
        "max_pending_price": lambda: "49",
        "reference_price": lambda: "48",
        "price_confirmed_at": lambda: wire.timestamp(clock.now()),
        "side": lambda: order_pb2.SIDE_SELL,
        "purpose": lambda: order_pb2.PURPOSE_RESIDUAL,
        "validate_only": lambda: next(numbers) % 4 != 0,  # else every user soon has its BUY out
        "order_id": lambda: last["order_id"],
        "role": lambda: order_pb2.LEG_ROLE_WORKING,
        "members": lambda: [member(some_user())],
        "target": lambda: "100000",
        "revision": lambda: next(numbers),
        "kind": lambda: kind,
        "secret": lambda: secret,
        "reason": lambda: "long enough to be one",
    }
    return Served(channel, good, still_works)


async def _market(stack: AsyncExitStack) -> Served:
    imitation = await stack.enter_async_context(Imitation().running())
    await imitation.trade(KOGE, "48.5")
    chosen = Settings(paper=PaperSettings(url=imitation.url), market=MarketSettings(port=0))
    server, hub = await open_service(stack, chosen, SystemClock())
    stack.callback(hub.end_watches)
    channel = await stack.enter_async_context(rpc.channel(f"127.0.0.1:{server.port}"))

    async def still_works() -> None:
        stub: Any = market_pb2_grpc.MarketServiceStub(channel)
        assert (await stub.GetPrice(market_pb2.GetPriceRequest(venue=ALPHA, symbol=KOGE))).price == "48.5"

    good: Good = {
        "venue": lambda: ALPHA,
        "symbol": lambda: KOGE,
        "token": lambda: "KOGE",
        "chain": lambda: "BSC",
        "keys": lambda: [market_pb2.PriceKey(venue=ALPHA, symbol=KOGE)],
    }
    return Served(channel, good, still_works)


async def _strategies(stack: AsyncExitStack, path: Path) -> Served:
    clock, file = SystemClock(), path / "trading_config.yaml"
    file.write_text(CONFIG)
    runs = Runs(path / "runs.db")
    stack.callback(runs.close)
    supervisor = Supervisor(ConfigManager(file), FakeMarket(), FakeOrders(), runs, clock)
    servicer = StrategyServicer(supervisor, clock)
    await stack.enter_async_context(supervisor)
    channel = await _served(stack, servicer.registration().add)
    numbers = itertools.count(1)

    async def still_works() -> None:
        stub: Any = strategy_pb2_grpc.StrategyServiceStub(channel)
        (status,) = (await stub.StartStrategy(strategy_pb2.StartStrategyRequest())).strategies
        assert (status.strategy_id, status.is_running) == ("koge", True)

    good: Good = {
        "request_id": lambda: f"r{next(numbers) // 2}",
        "strategy_id": lambda: "koge",
        "strategy_ids": lambda: ["koge"],
        "user_id": lambda: "1",
    }
    return Served(channel, good, still_works)


async def _served(stack: AsyncExitStack, *adders: Callable[[grpc.aio.Server], None]) -> grpc.aio.Channel:
    registrations = [Registration(f"s{number}", add) for number, add in enumerate(adders)]
    endpoint = Endpoint(host="127.0.0.1", port=0)
    server = await stack.enter_async_context(rpc.serve(endpoint, registrations, grace_seconds=0.1))
    return await stack.enter_async_context(rpc.channel(f"127.0.0.1:{server.port}"))


# ---------------------------------------------------------------------------- the test


class Desks:
    """All services on one loop, and what went wrong inside them."""

    def __init__(self, runner: asyncio.Runner, path: Path, lines: list[Any]) -> None:
        self.runner = runner
        self.by_package: dict[str, Served] = {}
        self._path = path
        self._lines = lines
        self._lost: list[Any] = []  # of tasks that nobody owns
        runner.get_loop().set_exception_handler(lambda _, context: self._lost.append(context))

    async def open(self, stack: AsyncExitStack) -> None:
        """Serve them."""
        self.by_package["otopilot.order.v1"] = await _orders(stack, self._path)
        self.by_package["otopilot.market.v1"] = await _market(stack)
        self.by_package["otopilot.strategy.v1"] = await _strategies(stack, self._path)
        for served in self.by_package.values():
            await served.still_works()

    def failures(self) -> list[Any]:
        """Defects that the log tells of since the last look."""
        found = [line for line in self._lines if line["event"] in FAILURES or "exception" in line]
        found += self._lost
        self._lines.clear()
        self._lost.clear()
        return found


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desks]:
    """The services, for all tests of this file."""
    with capture_logs([structlog.processors.format_exc_info]) as lines, asyncio.Runner() as runner:
        made = Desks(runner, tmp_path_factory.mktemp("services"), lines)
        stack = AsyncExitStack()
        try:
            runner.run(made.open(stack))
            yield made
        finally:
            runner.run(stack.aclose())


async def answer(served: Served, method: MethodDescriptor, request: Message) -> rpc.Fault | None:
    """Call it; the fault it is answered with. Of a stream the first message is read."""
    made = served.channel.unary_stream if method.server_streaming else served.channel.unary_unary
    call = made(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )(request, timeout=SECONDS)
    try:
        if method.server_streaming:
            await call.read()
        else:
            await call
    except grpc.RpcError as error:
        return rpc.fault_of(error)
    finally:
        call.cancel()
    return None


@pytest.mark.parametrize("method", every_rpc(), ids=lambda method: method.full_name)
def test_row_57_whatever_is_asked_is_answered_or_refused_in_definite_words(
    method: MethodDescriptor, desks: Desks
) -> None:
    served = desks.by_package[method.containing_service.file.package]

    @settings(
        max_examples=EXAMPLES // 3 if method.server_streaming else EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        request = data.draw(messages(method.input_type, served.good))
        began = time.monotonic()
        fault = desks.runner.run(answer(served, method, request))
        took = time.monotonic() - began
        if fault is not None:
            assert fault.code in DEFINITE, f"{fault.code.name}: {fault.message[:300]}"
            # The service's own words: neither the transport's, nor a journal that could not take it.
            assert fault.reason not in (fault.code.name, "JOURNAL"), fault.message[:300]
            assert fault.message
        assert not (failures := desks.failures()), failures
        assert took < SECONDS

    ask()
    desks.runner.run(served.still_works())
    assert not (failures := desks.failures()), failures
