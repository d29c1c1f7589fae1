"""The six RPCs of StrategyService: protobuf in, the supervisor, protobuf out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from otopilot import wire
from otopilot.clock import Clock
from otopilot.rpc import BadRequest, Fault, Registration
from protos import strategy_pb2 as pb
from protos import strategy_pb2_grpc
from strategy_service.config import ConfigError
from strategy_service.state import StopMode
from strategy_service.status import StrategyStatus, UserStatus, per_1000
from strategy_service.supervisor import Supervisor

NAME = "otopilot.strategy.v1.StrategyService"

_LEAST_INTERVAL_MS = 100
_INTERVAL_MS = 500
_MOST_INTERVAL_MS = 10_000
_HEARTBEAT_SECONDS = 1.0
_MOST_WATCHERS = 100

_MODES = {
    pb.STOP_MODE_UNSPECIFIED: StopMode.DRAIN,
    pb.STOP_MODE_DRAIN: StopMode.DRAIN,
    pb.STOP_MODE_CANCEL: StopMode.CANCEL,
    pb.STOP_MODE_FLATTEN: StopMode.FLATTEN,
}

Context = grpc.aio.ServicerContext[Any, Any]


class StrategyServicer(strategy_pb2_grpc.StrategyServiceServicer):
    """Answers for one supervisor."""

    def __init__(self, supervisor: Supervisor, clock: Clock) -> None:
        self._supervisor = supervisor
        self._clock = clock
        self._watchers = 0

    def registration(self) -> Registration:
        """What rpc.serve needs."""
        return Registration(
            NAME, lambda server: strategy_pb2_grpc.add_StrategyServiceServicer_to_server(self, server)
        )

    async def StartStrategy(
        self, request: pb.StartStrategyRequest, context: Context
    ) -> pb.StartStrategyResponse:
        """Start one strategy, or all that are enabled."""
        statuses, stopped = await self._supervisor.start(
            request.strategy_id, exclusive=request.exclusive, request_id=request.request_id
        )
        return pb.StartStrategyResponse(
            strategies=[status_to_pb(status) for status in statuses], stopped_strategy_ids=stopped
        )

    async def StopStrategy(
        self, request: pb.StopStrategyRequest, context: Context
    ) -> pb.StopStrategyResponse:
        """Stop all, a strategy, or a user."""
        mode = _MODES.get(request.mode)
        if mode is None:
            raise BadRequest("BAD_ARGUMENT", [("mode", f"mode: {request.mode} is not one of StopMode")])
        statuses = await self._supervisor.stop(
            request.strategy_id,
            request.user_id,
            mode,
            request_id=request.request_id,
            wait=not request.no_wait,
        )
        return pb.StopStrategyResponse(strategies=[status_to_pb(status) for status in statuses])

    async def GetStrategyStatus(
        self, request: pb.GetStrategyStatusRequest, context: Context
    ) -> pb.StrategyStatus:
        """One strategy."""
        return status_to_pb(self._supervisor.status(request.strategy_id))

    async def ListStrategies(
        self, request: pb.ListStrategiesRequest, context: Context
    ) -> pb.ListStrategiesResponse:
        """All strategies."""
        return pb.ListStrategiesResponse(strategies=[status_to_pb(s) for s in self._supervisor.statuses()])

    async def WatchStrategies(
        self, request: pb.WatchStrategiesRequest, context: Context
    ) -> AsyncIterator[pb.WatchStrategiesResponse]:
        """A snapshot, then what changed, then heartbeats. Only the newest state is kept for a slow reader."""
        wanted = set(request.strategy_ids)
        for strategy_id in wanted:
            self._supervisor.status(strategy_id)  # NOT_FOUND before the first message
        if self._watchers >= _MOST_WATCHERS:
            text = f"{_MOST_WATCHERS} readers watch already: close one"
            raise Fault(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHERS", text)
        asked_ms = request.interval_ms or _INTERVAL_MS
        seconds = min(_MOST_INTERVAL_MS, max(_LEAST_INTERVAL_MS, asked_ms)) / 1000
        self._watchers += 1
        try:
            async for message in self._watch(wanted, seconds):
                yield message
        finally:
            self._watchers -= 1

    async def _watch(self, wanted: set[str], seconds: float) -> AsyncIterator[pb.WatchStrategiesResponse]:
        sent: dict[str, pb.StrategyStatus] = {}
        sent_at = float("-inf")
        sequence = 0
        while True:
            fresh = [
                status_to_pb(status)
                for status in self._supervisor.statuses()
                if not wanted or status.strategy_id in wanted
            ]
            changed = [status for status in fresh if sent.get(status.strategy_id) != status]
            now = self._clock.monotonic()
            if changed or sequence == 0 or now - sent_at >= _HEARTBEAT_SECONDS:
                sequence += 1
                sent, sent_at = {status.strategy_id: status for status in fresh}, now
                yield pb.WatchStrategiesResponse(
                    sequence=sequence,
                    snapshot=sequence == 1,
                    strategies=changed,
                    sent_at=wire.timestamp(self._clock.now()),
                )
            await asyncio.sleep(min(seconds, _HEARTBEAT_SECONDS))

    async def ReloadConfig(
        self, request: pb.ReloadConfigRequest, context: Context
    ) -> pb.ReloadConfigResponse:
        """Read the configuration again."""
        try:
            changes = self._supervisor.preview() if request.validate_only else self._supervisor.reload()
        except ConfigError as error:
            problems = [(str(problem.path), str(problem)) for problem in error.problems]
            raise BadRequest("BAD_CONFIG", problems) from error
        config = self._supervisor.config
        return pb.ReloadConfigResponse(
            changes=changes.lines, config_revision=config.revision, notices=config.notices
        )


def status_to_pb(status: StrategyStatus) -> pb.StrategyStatus:
    """A strategy's status for the wire."""
    return pb.StrategyStatus(
        strategy_id=status.strategy_id,
        strategy_name=status.strategy_name,
        is_running=status.is_running,
        target_volume=wire.amount(status.target_volume),
        total_volume=wire.amount(status.total_volume),
        total_complete=status.total_complete,
        progress=status.progress,
        users=[user_to_pb(user) for user in status.users],
        enabled=status.enabled,
        venue=wire.venue_to_pb(status.venue),
        symbol=status.symbol,
        token=status.token,
        target_scope=status.target_scope,
        last_price=wire.amount(status.last_price),
        price_age_ms=status.price_age_ms,
        started_at=wire.timestamp(status.started_at),
        ended_at=wire.timestamp(status.ended_at),
        eta_seconds=status.eta_seconds,
        config_revision=status.config_revision,
        volume_per_minute=wire.amount(status.volume_per_minute),
        cost=wire.amount(status.cost),
        cost_per_1000=wire.amount(status.cost_per_1000),
    )


def user_to_pb(user: UserStatus) -> pb.UserStatus:
    """A user's status for the wire."""
    message = pb.UserStatus(
        user_id=user.user_id,
        state=pb.UserRunState.Value(f"USER_RUN_STATE_{user.state.name}"),
        reason_code=user.reason_code,
        reason=user.reason,
        since=wire.timestamp(user.since),
        volume=wire.amount(user.volume),
        volume_complete=user.volume_complete,
        target=wire.amount(user.target),
        volume_per_minute=wire.amount(user.volume_per_minute),
        cycles=user.cycles,
        cost="0",
        cost_complete=True,
        inventory="0",
        inventory_cost="0",
        residual="0",
        guard_waits=user.guard_waits,
        left_open_order_ids=user.left_open,
    )
    position = user.position
    if position is not None:
        message.cost = wire.amount(position.realised_cost)
        message.cost_per_1000 = wire.amount(per_1000(position.realised_cost, position.bought_quote))
        message.cost_complete = position.cost_complete
        message.inventory = wire.amount(position.inventory)
        message.inventory_cost = wire.amount(position.inventory_cost)
        message.residual = wire.amount(position.uncovered)
        message.open_sells = position.open_sells
    return message
