"""The chassis over real sockets: how errors travel, what health and reflection say, what refuses to start."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from otopilot import rpc
from otopilot.probe import serving
from otopilot.rpc import BadRequest, Fault, RefuseStart, Registration, Server
from otopilot.settings import Endpoint
from protos import market_pb2 as pb
from protos import market_pb2_grpc

NAME = "otopilot.market.v1.MarketService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Stub = Any


class Answering(market_pb2_grpc.MarketServiceServicer):
    """Answers with the error it was told to raise; a stream gives one item first."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.closed = asyncio.Event()

    async def GetPrice(self, request: pb.GetPriceRequest, context: object) -> pb.Price:
        if self._error:
            raise self._error
        return pb.Price(symbol=request.symbol, price="48")

    async def WatchPrices(
        self, request: pb.WatchPricesRequest, context: object
    ) -> AsyncIterator[pb.WatchPricesResponse]:
        try:
            yield pb.WatchPricesResponse()
            if self._error:
                raise self._error
            await asyncio.Event().wait()
        finally:
            self.closed.set()


@asynccontextmanager
async def serving_with(answering: Answering, port: int = 0) -> AsyncIterator[tuple[Server, Stub]]:
    """The service on a free port, and a client's stub over a channel of the chassis."""

    def add(server: grpc.aio.Server) -> None:
        market_pb2_grpc.add_MarketServiceServicer_to_server(answering, server)

    async with (
        rpc.serve(Endpoint(port=port), [Registration(NAME, add)], grace_seconds=0.1) as server,
        rpc.channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield server, market_pb2_grpc.MarketServiceStub(channel)


async def _unary(stub: Stub) -> None:
    await stub.GetPrice(pb.GetPriceRequest(), timeout=5)


async def _stream(stub: Stub) -> None:
    async for _ in stub.WatchPrices(pb.WatchPricesRequest(), timeout=5):
        pass


CALLS = pytest.mark.parametrize("call", [_unary, _stream])
Call = Callable[[Stub], Awaitable[None]]


async def ended(call: Call, error: Exception) -> grpc.RpcError:
    """How a call of a service that raises the error ends at the caller."""
    async with serving_with(Answering(error)) as (_, stub):
        with pytest.raises(grpc.RpcError) as caught:
            await call(stub)
    return caught.value


@CALLS
async def test_a_fault_arrives_whole(call: Call) -> None:
    sent = Fault(
        grpc.StatusCode.FAILED_PRECONDITION, "DENIED_GUARD", "the BUY would cross", blocking_price="48.01"
    )
    got = rpc.fault_of(await ended(call, sent))
    assert (got.code, got.reason, got.message, got.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "DENIED_GUARD",
        "the BUY would cross",
        {"blocking_price": "48.01"},
    )


@CALLS
async def test_a_bad_request_brings_every_problem(call: Call) -> None:
    problems = [("a.yaml", "a.yaml:1:2: unknown key"), ("b.yaml", "b.yaml:3:4: 目标 is no number")]
    error = await ended(call, BadRequest("BAD_CONFIG", problems))
    fault = rpc.fault_of(error)
    assert (fault.code, fault.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_CONFIG")
    assert rpc.problems_of(error) == [text for _, text in problems]
    assert fault.message.splitlines() == [text for _, text in problems]


async def test_problems_beyond_the_usual_size_of_an_error_arrive_up_to_a_bound() -> None:
    problems = [("config.yaml", f"config.yaml:{line}: " + "目标" * 40) for line in range(1000)]
    told = rpc.problems_of(await ended(_unary, BadRequest("BAD_CONFIG", problems)))
    assert told[:-1] == [text for _, text in problems[: rpc.MOST_PROBLEMS]]
    assert told[-1] == "and 500 more"


@CALLS
async def test_an_error_tells_no_more_than_so_much_of_what_was_sent(call: Call) -> None:
    sent = Fault(grpc.StatusCode.NOT_FOUND, "UNKNOWN", "🦀" * 1_000_000, name="x" * 1_000_000)
    got = rpc.fault_of(await ended(call, sent))
    assert (got.code, got.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN")
    assert got.message.startswith("🦀" * rpc.LONGEST_TEXT)
    assert len(got.message) < rpc.LONGEST_TEXT + 20
    assert len(got.metadata["name"]) < rpc.LONGEST_TEXT + 20


@CALLS
async def test_an_unexpected_error_is_internal_and_keeps_its_text_to_itself(
    call: Call, capfd: pytest.CaptureFixture[str]
) -> None:
    error = await ended(call, RuntimeError("cookie=hunter2"))
    fault = rpc.fault_of(error)
    assert (fault.code, fault.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert NAME in fault.message
    assert "hunter2" not in str(error)
    written = capfd.readouterr()
    assert "failed" in written.out + written.err


async def test_what_works_is_not_touched() -> None:
    async with serving_with(Answering()) as (_, stub):
        answer = await stub.GetPrice(pb.GetPriceRequest(symbol="A"), timeout=5)
        assert (answer.symbol, answer.price) == ("A", "48")


async def test_a_reader_that_leaves_closes_the_stream_behind_it() -> None:
    answering = Answering()
    async with serving_with(answering) as (_, stub):
        call = stub.WatchPrices(pb.WatchPricesRequest())
        assert await call.read() == pb.WatchPricesResponse()
        call.cancel()
        await asyncio.wait_for(answering.closed.wait(), 5)


async def test_an_error_of_the_transport_is_a_fault_too() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        async with rpc.channel(f"127.0.0.1:{taken.getsockname()[1]}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                await _unary(market_pb2_grpc.MarketServiceStub(channel))
    fault = rpc.fault_of(caught.value)
    assert (fault.code, fault.reason, fault.metadata) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", {})


async def test_a_port_in_use_refuses_the_start() -> None:
    async with serving_with(Answering()) as (server, _):
        with pytest.raises(RefuseStart, match=f"127.0.0.1:{server.port}.*port in use"):
            async with serving_with(Answering(), server.port):
                pass


async def test_health_is_not_serving_until_it_is_said() -> None:
    async with serving_with(Answering()) as (server, _), rpc.channel(f"127.0.0.1:{server.port}") as channel:
        stub: Stub = health_pb2_grpc.HealthStub(channel)

        async def says(name: str) -> int:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            return int(answer.status)

        async def probed() -> bool:
            return await asyncio.to_thread(serving, f"127.0.0.1:{server.port}")

        assert [await says(name) for name in ("", NAME)] == [NOT_SERVING, NOT_SERVING]
        assert not await probed()
        await server.set_serving(True)
        assert [await says(name) for name in ("", NAME)] == [SERVING, SERVING]
        assert await probed()
        await server.set_serving(False)
        assert await says("") == NOT_SERVING


async def test_nothing_there_is_not_serving() -> None:
    assert not await asyncio.to_thread(serving, "127.0.0.1:1", 0.5)


async def test_reflection_lists_and_describes_the_services() -> None:
    async with serving_with(Answering()) as (server, _), rpc.channel(f"127.0.0.1:{server.port}") as channel:
        stub: Stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=NAME),
        ]
        listed, described = [answer async for answer in stub.ServerReflectionInfo(iter(asked), timeout=5)]
    names = {service.name for service in listed.list_services_response.service}
    assert {NAME, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= names
    assert described.file_descriptor_response.file_descriptor_proto


async def test_a_call_in_progress_gets_its_answer_while_the_server_stops() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Answering):
        async def GetPrice(self, request: pb.GetPriceRequest, context: object) -> pb.Price:
            begun.set()
            await go_on.wait()
            return pb.Price(price="48")

    async def late() -> Any:
        async with rpc.channel(f"127.0.0.1:{port}") as channel:
            return await market_pb2_grpc.MarketServiceStub(channel).GetPrice(pb.GetPriceRequest(), timeout=5)

    def add(server: grpc.aio.Server) -> None:
        market_pb2_grpc.add_MarketServiceServicer_to_server(Slow(), server)

    async with rpc.serve(Endpoint(port=0), [Registration(NAME, add)], grace_seconds=5) as server:
        port = server.port
        asking = asyncio.create_task(late())
        await asyncio.wait_for(begun.wait(), 5)
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert (await asking).price == "48"
