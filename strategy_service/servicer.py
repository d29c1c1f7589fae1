"""The RPCs of StrategyService: protobuf in, the supervisor, protobuf out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from otopilot import wire
from otopilot.clock import Clock
from otopilot.rpc import BadRequest, Fault, Registration
from protos import strategy_pb2 as pb
from protos import strategy_pb2_grpc
from strategy_service import to_pb
from strategy_service.config import ConfigError
from strategy_service.state import StopMode
from strategy_service.supervisor import Supervisor

NAME = "otopilot.strategy.v1.StrategyService"

_LEAST_INTERVAL_MS = 100
_INTERVAL_MS = 500
_MOST_INTERVAL_MS = 10_000
_HEARTBEAT_SECONDS = 1.0
_MOST_WATCHERS = 100
_PAGE = 100
_MOST_A_PAGE = 1000

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
            strategies=[to_pb.strategy(status) for status in statuses], stopped_strategy_ids=stopped
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
        return pb.StopStrategyResponse(strategies=[to_pb.strategy(status) for status in statuses])

    async def PauseStrategy(
        self, request: pb.PauseStrategyRequest, context: Context
    ) -> pb.PauseStrategyResponse:
        """No new BUYs of all, a strategy, or a user."""
        statuses = self._supervisor.pause(
            request.strategy_id, request.user_id, paused=True, request_id=request.request_id
        )
        return pb.PauseStrategyResponse(strategies=[to_pb.strategy(status) for status in statuses])

    async def ResumeStrategy(
        self, request: pb.ResumeStrategyRequest, context: Context
    ) -> pb.ResumeStrategyResponse:
        """End a pause."""
        statuses = self._supervisor.pause(
            request.strategy_id, request.user_id, paused=False, request_id=request.request_id
        )
        return pb.ResumeStrategyResponse(strategies=[to_pb.strategy(status) for status in statuses])

    async def ExplainUsers(
        self, request: pb.ExplainUsersRequest, context: Context
    ) -> pb.ExplainUsersResponse:
        """Why users trade or do not."""
        told = self._supervisor.explain(request.strategy_id, request.user_id)
        return pb.ExplainUsersResponse(users=[to_pb.explanation(each) for each in told])

    async def ListRounds(self, request: pb.ListRoundsRequest, context: Context) -> pb.ListRoundsResponse:
        """Rounds, newest first."""
        size = request.page_size or _PAGE
        if not 0 < size <= _MOST_A_PAGE:
            text = f"page_size: {request.page_size} is not between 0 and {_MOST_A_PAGE}"
            raise BadRequest("BAD_ARGUMENT", [("page_size", text)])
        token = request.page_token
        if token and not (token.isascii() and token.isdecimal() and len(token) < 19):
            text = f"page_token: {token[:40]!r} is none of this service's"
            raise BadRequest("BAD_ARGUMENT", [("page_token", text)])
        found = self._supervisor.rounds(
            request.strategy_id, request.user_id, before=int(token) if token else None, most=size + 1
        )
        page = found[:size]
        more = str(page[-1].sequence) if len(found) > size else ""
        return pb.ListRoundsResponse(rounds=[to_pb.past_round(each) for each in page], next_page_token=more)

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        """Runs, newest first."""
        found = self._supervisor.past_runs(request.strategy_id)
        return pb.ListRunsResponse(runs=[to_pb.past_run(each) for each in found])

    async def GetStrategyStatus(
        self, request: pb.GetStrategyStatusRequest, context: Context
    ) -> pb.StrategyStatus:
        """One strategy."""
        return to_pb.strategy(self._supervisor.status(request.strategy_id))

    async def ListStrategies(
        self, request: pb.ListStrategiesRequest, context: Context
    ) -> pb.ListStrategiesResponse:
        """All strategies."""
        return pb.ListStrategiesResponse(strategies=[to_pb.strategy(s) for s in self._supervisor.statuses()])

    async def WatchStrategies(
        self, request: pb.WatchStrategiesRequest, context: Context
    ) -> AsyncIterator[pb.WatchStrategiesResponse]:
        """A snapshot, then what changed, then heartbeats. Only the newest state is kept for a slow reader."""
        wanted = set(request.strategy_ids)
        for strategy_id in request.strategy_ids:
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
                to_pb.strategy(status)
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
