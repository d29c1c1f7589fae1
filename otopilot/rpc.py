"""The chassis of every service: serve(), channel(), and one way for errors to travel.

A service raises Fault; the interceptor here turns it into a status with google.rpc.ErrorInfo,
and fault_of() turns that back into a Fault at the caller. No retries on any call: only the
caller knows what may be repeated (architecture 5.1, 7).
"""

import argparse
import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from otopilot import log, settings
from otopilot.clock import SystemClock
from otopilot.loop_watch import LoopWatch
from otopilot.settings import Endpoint, Settings

REFUSED_TO_START = 4  # exit code; the parent does not restart such a child (architecture 2)
ERROR_DOMAIN = "otopilot"
# An error with its details travels as metadata, where 16 KiB is the usual end of it: a wrong
# configuration says more than that, all at once.
LARGEST_ERROR = 1 << 20
MOST_PROBLEMS = 500
LONGEST_TEXT = 20_000  # characters of a message or a detail: what a caller sent is told back to it in part
COLLECT_AFTER = (10_000, 10, 20)  # new containers, collections of them, and of those

_log = log.get("rpc")


class Fault(Exception):
    """An RPC error: canonical code, short reason, the whole story, and details for programs."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = metadata


class RefuseStart(Exception):
    """The process must not run as things are: port, lock, world, journal, configuration."""


@dataclass(frozen=True)
class Registration:
    """A gRPC service to serve: its full name and what adds its servicer to a server."""

    name: str
    add: Callable[[grpc.aio.Server], None]


@dataclass
class Server:
    """A running server."""

    port: int
    grpc_server: grpc.aio.Server
    health: health.aio.HealthServicer
    names: Sequence[str] = field(default_factory=tuple)
    _has_served: bool = False

    async def set_serving(self, serving: bool) -> None:
        """Tell health checks whether this service can do its work now."""
        if serving and not self._has_served:
            self._has_served = True
            _keep_what_is_there()
        status = (
            health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", *self.names):
            await self.health.set(name, status)


def _keep_what_is_there() -> None:
    """What a start left in memory is there for good: no collection walks through it again.

    Nearly all that comes later goes by its reference count, so that there is little to look for.
    """
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


@asynccontextmanager
async def serve(
    endpoint: Endpoint, registrations: Sequence[Registration], *, grace_seconds: float = 2.0
) -> AsyncIterator[Server]:
    """Serve with health and reflection until the block ends. Raises RefuseStart when the port is taken.

    Health says NOT_SERVING until set_serving(True).
    """
    # Two services on one port would each get half of the calls.
    server = grpc.aio.server(interceptors=[_Faults()], options=[("grpc.so_reuseport", 0)])
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for registration in registrations:
        registration.add(server)
    names = tuple(registration.name for registration in registrations)
    reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port = server.add_insecure_port(f"{endpoint.host}:{endpoint.port}")
    except RuntimeError as error:
        raise RefuseStart(
            f"cannot listen on {endpoint.host}:{endpoint.port}: is the port in use? "
            "Stop the other process or choose another port"
        ) from error
    running = Server(port, server, checks, names)
    await running.set_serving(False)
    await server.start()
    try:
        yield running
    finally:
        await checks.enter_graceful_shutdown()
        await server.stop(grace_seconds)


def channel(target: str) -> grpc.aio.Channel:
    """A client's channel. No retries: a placement must never be repeated behind the caller's back."""
    return grpc.aio.insecure_channel(
        target,
        options=[
            ("grpc.enable_retries", 0),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 500),
            ("grpc.max_metadata_size", LARGEST_ERROR),
        ],
    )


def fault_of(error: grpc.RpcError) -> Fault:
    """The Fault a service raised, or one made of what the transport says."""
    code = error.code()
    message = str(error.details() or code.name)
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
    except ValueError:
        status = None
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return Fault(code, info.reason, message, **dict(info.metadata))
    return Fault(code, code.name, message)


def problems_of(error: grpc.RpcError) -> list[str]:
    """The lines of a google.rpc.BadRequest, where the error carries one."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            return [violation.description for violation in bad.field_violations]
    return []


class BadRequest(Fault):
    """INVALID_ARGUMENT with every (place, problem) as a line of its own."""

    def __init__(self, reason: str, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = list(problems[:MOST_PROBLEMS])
        if len(problems) > MOST_PROBLEMS:
            self.problems.append(("", f"and {len(problems) - MOST_PROBLEMS} more"))
        message = "\n".join(text for _, text in self.problems)
        super().__init__(grpc.StatusCode.INVALID_ARGUMENT, reason, message)


async def _abort(context: grpc.aio.ServicerContext[Any, Any], fault: Fault) -> None:
    status = status_pb2.Status(code=fault.code.value[0], message=_cut(fault.message))
    metadata = {name: _cut(value) for name, value in fault.metadata.items()}
    info = error_details_pb2.ErrorInfo(reason=fault.reason, domain=ERROR_DOMAIN, metadata=metadata)
    status.details.add().Pack(info)
    if isinstance(fault, BadRequest):
        bad = error_details_pb2.BadRequest()
        for place, text in fault.problems:
            bad.field_violations.add(field=_cut(place), description=_cut(text))
        status.details.add().Pack(bad)
    await context.abort_with_status(rpc_status.to_status(status))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} (and more)"


class _Faults(grpc.aio.ServerInterceptor):
    """Turns Fault into a status; anything else is logged whole and answered INTERNAL."""

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith("/otopilot."):
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                _guard_stream(handler.unary_stream, method),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            _guard_unary(handler.unary_unary, method),
            handler.request_deserializer,
            handler.response_serializer,
        )


def _guard_unary(call: Any, method: str) -> Any:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await call(request, context)
        except Fault as fault:
            await _abort(context, fault)
        except Exception as error:
            if isinstance(error, grpc.aio.AbortError):
                raise
            _log.exception("call failed", method=method)
            await _abort(context, _internal(method))

    return guarded


def _guard_stream(call: Any, method: str) -> Any:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        try:
            # Closed with this one, not by the garbage collector: who left holds nothing any more.
            async with aclosing(call(request, context)) as items:
                async for item in items:
                    yield item
        except Fault as fault:
            await _abort(context, fault)
        except Exception as error:
            if isinstance(error, grpc.aio.AbortError):
                raise
            _log.exception("stream failed", method=method)
            await _abort(context, _internal(method))

    return guarded


def _internal(method: str) -> Fault:
    return Fault(
        grpc.StatusCode.INTERNAL, "INTERNAL", f"{method} failed inside the service; its log has the details"
    )


ServiceMain = Callable[[Settings, asyncio.Event], Awaitable[None]]


def run_service(name: str, main: ServiceMain, argv: Sequence[str] | None = None) -> int:
    """Run one service process: settings, logs, signals. Returns the exit code.

    `main` serves until the event is set (SIGTERM, SIGINT); its event loop is watched meanwhile.
    """
    parser = argparse.ArgumentParser(prog=name, description=(main.__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--settings", type=Path, help="settings file (default: config/services.yaml)")
    parser.add_argument(
        "--live", action="store_true", help="trade for real; also needs mode: live in the settings"
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="exit as soon as standard input ends")
    arguments = parser.parse_args(argv)
    if arguments.exit_with_parent:
        exit_on_stdin_eof()
    try:
        chosen = settings.load(arguments.settings)
        if (chosen.mode == "live") != arguments.live:
            raise RefuseStart("live trading needs both --live and mode: live in the settings")
        log.configure(name, chosen.log_level)
        asyncio.run(_until_signal(chosen, main))
    except (RefuseStart, settings.SettingsError) as refusal:
        print(f"{name}: {refusal}", file=sys.stderr, flush=True)
        return REFUSED_TO_START
    return 0


async def _until_signal(chosen: Settings, main: ServiceMain) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with LoopWatch(SystemClock()):
        await main(chosen, stop)


def exit_on_stdin_eof() -> None:
    """End this process at once when the parent's pipe closes: no child outlives it (architecture 2)."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(0)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
