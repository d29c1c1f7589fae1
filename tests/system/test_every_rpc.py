"""Every RPC of every service against whatever one may send it (reliability 3, fuzz; fault row 57).

The RPCs come from the descriptors: a new one is tried from the day it is there.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
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

from otopilot import rpc
from tests.system.nasty import messages
from tests.system.served import Market, Orders, Served, Strategies

ROOT = Path(__file__).parents[2]
SECONDS = 30.0  # for any answer
EXAMPLES = 60

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
        self.by_package["otopilot.order.v1"] = await Orders.open(stack, self._path)
        self.by_package["otopilot.market.v1"] = await Market.open(stack)
        self.by_package["otopilot.strategy.v1"] = await Strategies.open(stack, self._path)
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
    made: Any = served.channel.unary_stream if method.server_streaming else served.channel.unary_unary
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
