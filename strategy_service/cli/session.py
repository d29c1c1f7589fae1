"""What `run` does, step by step: processes, accounts, start, watch, drain, settle, account for it.

Only a gRPC client with a screen: it decides nothing about trading. Every wait here also looks
after the children and the person's Ctrl+C.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from otopilot import wire
from protos import order_pb2
from protos import strategy_pb2 as pb
from strategy_service.cli import books, launch, summary, users
from strategy_service.cli.clients import SETTLE_SECONDS, START_SECONDS, STOP_SECONDS, Service, Services
from strategy_service.cli.errors import CliError, Exit, Interrupted
from strategy_service.cli.interrupt import Interrupt
from strategy_service.cli.output import Format, say
from strategy_service.cli.paper import Control
from strategy_service.cli.processes import Children
from strategy_service.cli.screen import Screen
from strategy_service.cli.watcher import Watcher
from strategy_service.cli.worlds import World
from strategy_service.config import TradingConfig

STEP_SECONDS = 0.1
READY_SECONDS = 90.0
HEALTH_SECONDS = 2.0
GIVE_UP_DEATHS = 5  # of a child that was never ready

_ENDED = frozenset(
    {
        pb.USER_RUN_STATE_REACHED,
        pb.USER_RUN_STATE_SKIPPED,
        pb.USER_RUN_STATE_NEEDS_PERSON,
        pb.USER_RUN_STATE_COST_LIMIT,
        pb.USER_RUN_STATE_STOPPED,
    }
)
_REPEAT = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Job:
    """What is to run, and where its world is; no strategy means every enabled one."""

    world: World
    trading: TradingConfig
    strategy_id: str = ""

    @property
    def strategy_ids(self) -> list[str]:
        """The strategies this run is about."""
        return (
            [self.strategy_id] if self.strategy_id else [each.strategy_id for each in self.trading.enabled()]
        )


def run(services: Services, job: Job, output: Format) -> int:
    """The whole run; returns its exit code. Raises CliError when it cannot go on."""
    settings = services.settings
    with (
        Interrupt() as interrupt,
        Screen(settings.mode, str(job.world.data_dir)) as screen,
        Children(say) as children,
    ):
        result = Session(services, job, interrupt, screen, children).go()
        screen.update((), "ending the services")
    result.print(output)
    if result.exit_code == Exit.OK:
        job.world.finish()
    elif interrupt.requested and result.exit_code != Exit.FAILED:
        say(f"interrupted; the next run goes on in {job.world.data_dir}")
    return result.exit_code


class Session:
    """One run: owns nothing but the order of its steps."""

    def __init__(
        self, services: Services, job: Job, interrupt: Interrupt, screen: Screen, children: Children
    ) -> None:
        self._services = services
        self._job = job
        self._interrupt = interrupt
        self._screen = screen
        self._children = children
        self._settings = services.settings
        self._control = Control(self._settings.paper.url) if self._settings.mode == "paper" else None
        self._obeys_interrupt = True
        self._not_started: dict[str, str] = {}  # strategy: why
        self._followed = set(job.strategy_ids)  # and what a reload starts meanwhile

    def go(self) -> summary.Result:
        """All of it."""
        self._start_processes()
        if self._control is not None:
            self._make_accounts()
        self._start_strategies()
        self._obeys_interrupt = False
        self._watch()
        if self._interrupt.requested:
            self._drain()
        return self._account_for_it()

    # ------------------------------------------------------------------ steps

    def _start_processes(self) -> None:
        data_dir, trading_path = self._job.world.data_dir, self._job.trading.path
        if self._control is not None:
            self._note("starting the paper exchange")
            self._children.start(launch.paper_exchange(self._settings, data_dir, trading_path))
            self._ready(launch.PAPER_EXCHANGE, self._control.world)
            self._patiently(self._control.unfreeze)
        self._note("starting the services")
        for names in (("market-service", "order-service"), ("strategy-service",)):
            for name in names:
                self._children.start(launch.service(name, self._settings, data_dir, trading_path))
            for name in names:
                self._wait_until_serving(name)

    def _wait_until_serving(self, name: str) -> None:
        self._note(f"waiting for {name}")
        with self._services.channel(launch.endpoints(self._settings)[name].target) as channel:
            self._ready(name, partial(_check, health_pb2_grpc.HealthStub(channel)))

    def _make_accounts(self) -> None:
        """Paper accounts for configured users that order_service does not know yet."""
        admin = self._services.admin
        known = {
            (each.user_id, each.venue)
            for each in self._ask(admin, admin.stub.ListUsers, order_pb2.ListUsersRequest(), 5.0).users
        }
        for strategy in self._job.trading.strategies:
            for user in strategy.user_ids:
                key = (user, wire.venue_to_pb(strategy.venue))
                if key in known:
                    continue
                known.add(key)
                self._note(f"making a paper account for user {user}")
                self._patiently(partial(users.add_paper_user, self._services, user, strategy.venue))

    def _start_strategies(self) -> None:
        self._note("starting the strategies")
        service = self._services.strategy
        request = pb.StartStrategyRequest(
            strategy_id=self._job.strategy_id, request_id=f"run-{uuid4().hex}", exclusive=True
        )
        answer = self._ask(service, service.stub.StartStrategy, request, START_SECONDS)
        for stopped in answer.stopped_strategy_ids:
            say(f"strategy {stopped} is set to stopped: this run does not name it")
        self._screen.update(answer.strategies, "")
        for each in answer.strategies:
            if not each.is_running and all(user.state == pb.USER_RUN_STATE_IDLE for user in each.users):
                self._why_not(each.strategy_id)

    def _why_not(self, strategy_id: str) -> None:
        """One of several that did not start does not stop the others; asked singly, it says why."""
        service = self._services.strategy
        request = pb.StartStrategyRequest(strategy_id=strategy_id, request_id=f"run-{uuid4().hex}")
        try:
            self._ask(service, service.stub.StartStrategy, request, START_SECONDS)
        except CliError as error:
            self._not_started[strategy_id] = error.message
            say(f"not started: {error.message}")

    def _watch(self) -> None:
        """Show what happens until nothing more will, or the person interrupts.

        A run of everything also waits for strategies that a reload starts; it would end them else.
        """
        wanted = [each for each in self._job.strategy_ids if each not in self._not_started]
        with Watcher(self._services.strategy, wanted if self._job.strategy_id else []) as watcher:
            while not self._interrupt.requested:
                self._step()
                newest = watcher.newest()
                self._followed |= {name for name, each in newest.items() if each.is_running}
                shown = [each for name, each in newest.items() if name in self._followed]
                self._screen.update(shown, watcher.trouble())
                ended = {each.strategy_id for each in shown if _has_ended(each)}
                if ended.issuperset(self._followed - self._not_started.keys()):
                    return

    def _drain(self) -> None:
        self._note("draining: no new orders, SELLs rest (Ctrl+C again exits at once)")
        service = self._services.strategy
        request = pb.StopStrategyRequest(mode=pb.STOP_MODE_DRAIN, request_id=f"run-{uuid4().hex}")
        answer = self._ask(service, service.stub.StopStrategy, request, STOP_SECONDS)
        self._screen.update(answer.strategies)

    def _account_for_it(self) -> summary.Result:
        """Stand still, read everything from the venue, then compare our figures with its books."""
        self._note("settling")
        if self._control is not None:
            self._patiently(self._control.freeze)
        admin = self._services.admin
        settled = self._ask(admin, admin.stub.Settle, order_pb2.SettleRequest(), SETTLE_SECONDS)
        service = self._services.strategy
        listed = self._ask(service, service.stub.ListStrategies, pb.ListStrategiesRequest(), 5.0)
        statuses = [each for each in listed.strategies if each.strategy_id in self._followed]
        self._screen.update(statuses)
        result = summary.collect(self._services, statuses, settled, str(self._job.world.data_dir))
        if self._control is not None:
            compare = partial(books.compare, self._services, self._control, result.accounts)
            result.books = self._patiently(compare)
        result.interrupted = self._interrupt.requested
        result.not_started = self._not_started
        return result

    # ------------------------------------------------------------------ waiting

    def _step(self) -> None:
        """A moment's wait: children are looked after, Ctrl+C is heard."""
        if self._interrupt.requested and self._obeys_interrupt:
            raise Interrupted
        self._children.poll()
        time.sleep(STEP_SECONDS)

    def _note(self, text: str) -> None:
        self._screen.update((), text)

    def _ready(self, name: str, probe: Callable[[], object]) -> None:
        """Wait until the probe passes. Raises CliError when it never does."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                probe()
            except CliError as error:
                trouble = error.message
            else:
                return
            if self._children[name].deaths >= GIVE_UP_DEATHS:
                raise CliError(Exit.FAILED, f"{name} does not start:\n{self._children.tail(name)}")
            if time.monotonic() > deadline:
                raise CliError(
                    Exit.TIMEOUT,
                    f"{name} was not ready within {READY_SECONDS:.0f} s: {trouble}",
                    f"its log: {launch.log_of(name, self._job.world.data_dir)}",
                )
            self._step()

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        """Repeat a call that may be repeated while the other side restarts."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                return call()
            except CliError as error:
                if error.code not in (Exit.UNREACHABLE, Exit.TIMEOUT) or time.monotonic() > deadline:
                    raise
            self._step()

    def _ask(self, service: Service[Any], method: Any, request: Any, seconds: float) -> Any:
        """One answer, over restarts of the service; the request's id makes repeating it safe."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            call = method.future(request, timeout=seconds)
            while not call.done():
                self._step()
            try:
                return call.result()
            except grpc.RpcError as error:
                if call.code() not in _REPEAT or time.monotonic() > deadline:
                    raise service.error(error) from None
            self._step()


def _check(stub: Any) -> None:
    """Raises CliError until the service says SERVING; NOT_SERVING while it settles is no fault."""
    try:
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
    except grpc.RpcError as error:
        raise CliError(Exit.UNREACHABLE, str(error.details())) from None
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise CliError(Exit.UNREACHABLE, "it is settling")


def _has_ended(strategy: pb.StrategyStatus) -> bool:
    return bool(strategy.users) and all(user.state in _ENDED for user in strategy.users)
