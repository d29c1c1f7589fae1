"""The services as the CLI sees them: channel, deadlines, and errors as exit codes.

Synchronous gRPC over the generated stubs. Every call has a deadline; a failed one becomes a
CliError that says which service, where, and what to do. Nothing is retried here.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import grpc

from otopilot import settings as service_settings
from otopilot.settings import Settings
from protos import market_pb2_grpc, order_pb2_grpc, strategy_pb2_grpc
from strategy_service.cli.errors import CliError, Exit

READ_SECONDS = 5.0
START_SECONDS = 30.0
SETTLE_SECONDS = 30.0
STOP_SECONDS = 60.0
AGAIN_SECONDS = 0.5  # between two tries to hear a service that went away

EXIT_OF = {
    grpc.StatusCode.OK: Exit.OK,
    grpc.StatusCode.CANCELLED: Exit.INTERRUPTED,
    grpc.StatusCode.UNKNOWN: Exit.FAILED,
    grpc.StatusCode.INVALID_ARGUMENT: Exit.CONFIG,
    grpc.StatusCode.DEADLINE_EXCEEDED: Exit.TIMEOUT,
    grpc.StatusCode.NOT_FOUND: Exit.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: Exit.WRONG_STATE,
    grpc.StatusCode.PERMISSION_DENIED: Exit.DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exit.RATE_LIMITED,
    grpc.StatusCode.FAILED_PRECONDITION: Exit.WRONG_STATE,
    grpc.StatusCode.ABORTED: Exit.WRONG_STATE,
    grpc.StatusCode.OUT_OF_RANGE: Exit.CONFIG,
    grpc.StatusCode.UNIMPLEMENTED: Exit.FAILED,
    grpc.StatusCode.INTERNAL: Exit.FAILED,
    grpc.StatusCode.UNAVAILABLE: Exit.UNREACHABLE,
    grpc.StatusCode.DATA_LOSS: Exit.FAILED,
    grpc.StatusCode.UNAUTHENTICATED: Exit.DENIED,
}

Stub = TypeVar("Stub")
Connect = Callable[[str], grpc.Channel]


def connect(target: str) -> grpc.Channel:
    """A channel without retries: a mutation must never be repeated behind the caller's back."""
    return grpc.insecure_channel(
        target,
        options=[
            ("grpc.enable_retries", 0),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            ("grpc.max_metadata_size", 1 << 20),  # a wrong configuration has many problems, told at once
        ],
    )


@dataclass(frozen=True)
class Service(Generic[Stub]):
    """One gRPC service: how it is called, where it is, and its stub."""

    name: str
    target: str
    stub: Stub

    def ask(self, method: Any, request: Any, seconds: float = READ_SECONDS) -> Any:
        """One call. Raises CliError."""
        try:
            return method(request, timeout=seconds)
        except grpc.RpcError as error:
            raise self.error(error) from None

    def stream(self, method: Any, request: Any) -> Iterator[Any]:
        """Items as they come, until the service or the person ends it. Raises CliError."""
        call = method(request)
        try:
            yield from call
        except grpc.RpcError as error:
            raise self.error(error) from None
        finally:
            call.cancel()

    def error(self, error: Any) -> CliError:
        """The exit code and the whole story of a failed call."""
        code: grpc.StatusCode = error.code()
        exit_code = EXIT_OF.get(code, Exit.FAILED)
        if code is grpc.StatusCode.UNAVAILABLE and not _from_service(error):
            module = self.name.replace("-", "_")
            return CliError(
                exit_code,
                f"{self.name} is not up at {self.target}",
                f"start everything with `otopilot run`, or only this service with `python -m {module}`",
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return CliError(
                exit_code,
                f"{self.name} at {self.target} did not answer in time",
                "what was asked may still happen: look with `otopilot status` before asking again",
            )
        return CliError(exit_code, str(error.details() or code.name))


def _from_service(error: Any) -> bool:
    """Did the service itself say so (with google.rpc details), or the transport?"""
    return any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())


class Services:
    """Settings and lazily made stubs of one command."""

    def __init__(self, settings: Settings | None = None, connect: Connect = connect) -> None:
        self._settings = settings
        self._connect = connect

    @cached_property
    def settings(self) -> Settings:
        """The services' settings: where they listen. Raises CliError."""
        if self._settings is not None:
            return self._settings
        try:
            return service_settings.load()
        except service_settings.SettingsError as error:
            raise CliError(Exit.CONFIG, str(error)) from None

    def channel(self, target: str) -> grpc.Channel:
        """A channel to any of them."""
        return self._connect(target)

    @cached_property
    def market(self) -> Service[market_pb2_grpc.MarketServiceStub]:
        """Prices and instruments."""
        target = self.settings.market.target
        return Service("market-service", target, market_pb2_grpc.MarketServiceStub(self._connect(target)))

    @cached_property
    def orders(self) -> Service[order_pb2_grpc.OrderServiceStub]:
        """Orders, trades, volume."""
        target = self.settings.order.target
        return Service("order-service", target, order_pb2_grpc.OrderServiceStub(self._connect(target)))

    @cached_property
    def admin(self) -> Service[order_pb2_grpc.OrderAdminServiceStub]:
        """Users, credentials, orders that need a person."""
        target = self.settings.order.target
        return Service("order-service", target, order_pb2_grpc.OrderAdminServiceStub(self._connect(target)))

    @cached_property
    def strategy(self) -> Service[strategy_pb2_grpc.StrategyServiceStub]:
        """Strategies."""
        target = self.settings.strategy.target
        return Service(
            "strategy-service", target, strategy_pb2_grpc.StrategyServiceStub(self._connect(target))
        )


_AWAY = (Exit.UNREACHABLE, Exit.TIMEOUT, Exit.INTERRUPTED)


def follow(service: Service[Any], method: Any, request: Any, told: Callable[[str], None]) -> Iterator[Any]:
    """A stream's items over restarts of its service, which are told of; until the person ends it.

    Raises CliError when it cannot be had from the start, or when the service says no.
    """
    heard = away = False
    while True:
        trouble = f"{service.name} ended the stream"
        try:
            for item in service.stream(method, request):
                if away:
                    told(f"{service.name} is back")
                heard, away = True, False
                yield item
        except CliError as error:
            if not heard or error.code not in _AWAY:
                raise
            trouble = error.message if error.code is not Exit.INTERRUPTED else trouble
        if not away:
            told(f"{trouble}: waiting for it to come back (Ctrl+C ends)")
        away = True
        time.sleep(AGAIN_SECONDS)


def of(context: Any) -> Services:
    """The services of this command line (typer.Context.obj), made on first use."""
    root = context.find_root()
    if root.obj is None:
        root.obj = Services()
    services: Services = root.obj
    return services
