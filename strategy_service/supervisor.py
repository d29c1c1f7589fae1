"""Owns all loops: starts, stops and watches the runs of the configured strategies.

The servicer and the embedded executor both drive this one. It can be killed at any moment:
what shall run is in the run table, what was done in the order journal (architecture).
"""

import asyncio
from collections.abc import Awaitable, Callable

import grpc

from otopilot import failpoints, log
from otopilot.clock import Clock
from otopilot.rpc import Fault
from otopilot.tasks import TaskOwner, restarted
from strategy_service import lookup
from strategy_service.clients import CallFailed, MarketClient, OrderClient, Refused
from strategy_service.config import ConfigManager, Diff, StrategyConfig, TradingConfig
from strategy_service.explain import Explanation, explain
from strategy_service.feeds import OrderFeed, PriceFeed
from strategy_service.figures import Figures
from strategy_service.history import PastRound, PastRun
from strategy_service.leftovers import Leftovers
from strategy_service.places import Places
from strategy_service.preparation import Preparation
from strategy_service.right import PlacingRight
from strategy_service.roster import Roster, stop_seconds
from strategy_service.runs import EVERYBODY, Runs
from strategy_service.state import StopMode
from strategy_service.status import StrategyStatus, UserState, UserStatus
from strategy_service.strategy_run import StrategyRun, describe

_log = log.get("supervisor")

_BEAT_SECONDS = 1.0
_START_SECONDS = 5.0  # a start waits so long for a service that is not up yet
_AGAIN_SECONDS = 0.5
_RIGHT_SECONDS = 2.0


class Supervisor:
    """Runs strategies. `async with` or open() and aclose()."""

    def __init__(
        self,
        manager: ConfigManager,
        market: MarketClient,
        orders: OrderClient,
        runs: Runs,
        clock: Clock,
        owner: str = "strategy-service",
    ) -> None:
        self.clock = clock
        self.orders = orders
        self.leftovers = Leftovers(orders, clock, runs, self._found_open)
        self.prices = PriceFeed(market, clock)
        self.history = runs.history
        self._manager = manager
        self._applied: TradingConfig = manager.config
        self._obeyed = {config.strategy_id: config for config in self._applied.strategies}
        self._unapplied: dict[str, StrategyConfig] = {}  # of the applied one, what could not be obeyed yet
        self._table = runs
        self._places = Places(self._applied.max_concurrent_users)
        self._roster = Roster(self, clock, runs, self._places, self._prepare)
        name = f"{owner}/{runs.identity(clock.new_id())}"
        self.right = PlacingRight(orders, clock, name, self._roster.write_scopes, self._right_changed)
        self.order_feed = OrderFeed(orders, clock, self.right.want)
        self._preparation = Preparation(market, self.right)
        self._lock = asyncio.Lock()
        self._tasks = TaskOwner("supervisor")
        self._figures = Figures(orders, clock, self._preparation)

    # ------------------------------------------------------------------ the world of a loop

    @property
    def owner_epoch(self) -> int:
        """Goes with every placement."""
        return self.right.owner_epoch

    @property
    def other_owner(self) -> str:
        """Who took the placing right from this one."""
        return self.right.other_owner

    def refused(self, owner_epoch: int, no: CallFailed) -> None:
        """A call under that epoch was refused, perhaps for want of the right or of a scope."""
        self.right.refused(owner_epoch, no)

    async def _prepare(self, run: StrategyRun) -> None:
        await self._preparation.prepare(run)

    def _found_open(self, strategy_id: str, user_id: str, order_id: str) -> None:
        if (run := self._roster.runs.get(strategy_id)) is not None:
            run.found_open(user_id, order_id)

    def _right_changed(self) -> None:
        for run in self._roster.everything():
            for user in run.users.values():
                user.nudge()

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        """Start the feeds, and the runs that are wanted."""
        self.prices.open()
        self.order_feed.open()
        self.leftovers.open()
        self._own("right", self.right.keep)
        self._own("beat", self._beats)
        for known in self._table.runs():
            if (config := lookup.find(self._applied, known.strategy_id)) is not None:
                self._roster.resume(config, known)

    async def aclose(self) -> None:
        """Cut everything off; nothing is lost by that."""
        await self._tasks.close()
        await self._roster.aclose()
        self._table.write()
        await self.leftovers.aclose()
        await self.prices.aclose()
        await self.order_feed.aclose()

    async def drain(self) -> None:
        """Wind every loop down before the process goes; what was wanted goes on with the next one."""
        await self._roster.leave()
        self._table.write()

    async def __aenter__(self) -> "Supervisor":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _own(self, name: str, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        return self._tasks.spawn(restarted(work, self.clock, name), name)

    # ------------------------------------------------------------------ starting

    async def start(
        self, strategy_id: str = "", *, exclusive: bool = False, request_id: str = ""
    ) -> tuple[list[StrategyStatus], list[str]]:
        """Start one strategy or all that are enabled; answers when the loops run. Raises Fault."""
        what = f"start {strategy_id}{' exclusive' if exclusive else ''}"
        async with self._lock:
            self._apply_config()
            configs = lookup.startable(self._manager.config, strategy_id)
            stopped: list[str] = []
            if not self._repeated(request_id, what):
                self.right.take()
                await self._start_each(configs, all_of_them=not strategy_id)
                if exclusive:
                    stopped = self._stop_others({config.strategy_id for config in configs})
                self._table.remember(request_id, what, self.clock.now())
        return [self.status(config.strategy_id) for config in configs], stopped

    async def _start_each(self, configs: list[StrategyConfig], *, all_of_them: bool) -> None:
        faults: list[Fault] = []
        for config in configs:
            try:
                await self._start_one(config)
            except Fault as fault:
                faults.append(fault)
        if faults and (not all_of_them or len(faults) == len(configs)):
            raise faults[0]
        for left_out in faults:
            _log.error("strategy not started", reason=left_out.reason, message=left_out.message)

    async def _start_one(self, config: StrategyConfig) -> None:
        running = self._roster.runs.get(config.strategy_id)
        if running is not None and running.is_running and not running.users:
            await self._roster.prepared(config.strategy_id, _START_SECONDS)
        if running is not None and running.is_running:
            await running.ended([u for u in running.users.values() if u.stopping], stop_seconds(config))
        if running is not None and running.is_running:
            self._table.desire(config.strategy_id)
            await self.right.held(_RIGHT_SECONDS)  # by then the targets of now are written
            running.restart_stopped()
            return
        run = self._roster.make(config)
        give_up_at = self.clock.monotonic() + _START_SECONDS
        while True:
            try:
                await self._preparation.prepare(run)
                break
            except Fault as fault:
                if fault.code is not grpc.StatusCode.UNAVAILABLE or self.clock.monotonic() >= give_up_at:
                    raise
                await self.clock.sleep(_AGAIN_SECONDS)
        if self._roster.runs.get(config.strategy_id) is not running:
            return  # a reload was quicker: one run a strategy, or nobody could stop the other
        self._table.begin(config.strategy_id, run.started_at, self._manager.config.revision)
        self._roster.runs[config.strategy_id] = run
        run.begin(resumed=False)
        self._catch_up(run, config)
        _log.info("strategy started", strategy_id=config.strategy_id)

    def _catch_up(self, run: StrategyRun, config: StrategyConfig) -> None:
        """A reload while the run was being prepared did not know of it yet."""
        newest = lookup.find(self._applied, config.strategy_id)
        if newest is None:
            self._roster.stop(run, StopMode.DRAIN)
        elif newest != config:
            self._change(run, newest)

    def _stop_others(self, kept: set[str]) -> list[str]:
        others = [run for run in self._roster.running() if run.strategy_id not in kept]
        for run in others:
            self._roster.stop(run, StopMode.DRAIN)
        return [run.strategy_id for run in others]

    # ------------------------------------------------------------------ stopping

    async def stop(
        self,
        strategy_id: str = "",
        user_id: str = "",
        mode: StopMode = StopMode.DRAIN,
        *,
        request_id: str = "",
        wait: bool = True,
    ) -> list[StrategyStatus]:
        """Stop all, a strategy or a user; answers when their loops have ended. Raises Fault."""
        runs = self._meant(strategy_id, user_id)
        what = f"stop {strategy_id}/{user_id} {mode.value}"
        if not self._repeated(request_id, what):
            failpoints.hit("stop.before_wish")
            for run in runs:
                self._roster.stop(run, mode, user_id)
            failpoints.hit("stop.after_wish")
            self._table.remember(request_id, what, self.clock.now())
        if wait:
            await self._roster.ended(runs, user_id)
        ids = [strategy_id] if strategy_id else [run.strategy_id for run in runs]
        return [self.status(each) for each in ids]

    def _meant(self, strategy_id: str, user_id: str) -> list[StrategyRun]:
        return lookup.runs_of(self._manager.config, self._roster.runs, strategy_id, user_id)

    def _repeated(self, request_id: str, what: str) -> bool:
        """Was this request acted upon already? Raises Fault ALREADY_EXISTS when it was another one."""
        known = self._table.known(request_id)
        if known not in (None, what):
            text = f"request {request_id} was used for {known!r}: use another id for {what!r}"
            raise Fault(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_REUSED", text)
        return known is not None

    # ------------------------------------------------------------------ pausing

    def pause(
        self, strategy_id: str = "", user_id: str = "", *, paused: bool, request_id: str = ""
    ) -> list[StrategyStatus]:
        """No new BUY of all, a strategy or a user, or let them go on. Raises Fault."""
        runs = [run for run in self._meant(strategy_id, user_id) if run.can_pause(user_id)]
        if not runs:
            who = (
                f"user {user_id} of {strategy_id or 'any strategy'}" if user_id else strategy_id or "nothing"
            )
            text = f"{who} does not run: there is nothing to pause or to resume"
            raise Fault(grpc.StatusCode.FAILED_PRECONDITION, "NOT_RUNNING", text)
        what = f"{'pause' if paused else 'resume'} {strategy_id}/{user_id}"
        if not self._repeated(request_id, what):
            for run in runs:
                if paused:
                    run.pause(user_id or EVERYBODY)
                else:
                    run.resume(user_id or EVERYBODY)
            self._table.remember(request_id, what, self.clock.now())
        return [self.status(run.strategy_id) for run in runs]

    # ------------------------------------------------------------------ configuration

    @property
    def config(self) -> TradingConfig:
        """The configuration in force."""
        return self._manager.config

    def preview(self) -> Diff:
        """What a reload would change. Raises ConfigError."""
        return self._manager.preview()

    def reload(self) -> Diff:
        """Read the file again and act on it. Raises ConfigError, and nothing has changed then."""
        changes = self._manager.reload()
        failpoints.hit("reload.before_apply")
        self._apply_config()
        failpoints.hit("reload.after_apply")
        return changes

    def _apply_config(self) -> None:
        """Act on what the manager holds; somebody else may have reloaded it."""
        new = self._manager.config
        if new is not self._applied:
            self._applied = new
            self._places.resize(new.max_concurrent_users)
            self._unapplied = {config.strategy_id: config for config in new.strategies}
            self._obeyed = {name: was for name, was in self._obeyed.items() if name in self._unapplied}
            for run in self._roster.running():
                if run.strategy_id not in self._unapplied:
                    self._roster.stop(run, StopMode.DRAIN)
        for config in list(self._unapplied.values()):
            try:
                self._apply(config)
            except Fault as fault:  # the next beat tries again
                _log.error("reload not applied", strategy_id=config.strategy_id, reason=fault.message)
            else:
                self._obeyed[config.strategy_id] = self._unapplied.pop(config.strategy_id)
                self.right.want()  # writes the scopes as they are now

    def _apply(self, config: StrategyConfig) -> None:
        """Act on what became of a strategy. Raises Fault RUN_TABLE."""
        earlier, run = self._obeyed.get(config.strategy_id), self._roster.runs.get(config.strategy_id)
        if config.enabled and (earlier is None or not earlier.enabled):
            self._roster.replace(config, self._applied.revision)
        elif run is not None and run.is_running:
            self._change(run, config)

    def _change(self, run: StrategyRun, config: StrategyConfig) -> None:
        moved = _market_of(run.config) != _market_of(config)
        if not config.enabled or moved:
            self._roster.stop(run, StopMode.DRAIN)
            if moved and config.enabled:
                self._roster.replace(config, self._applied.revision)
            return
        run.apply(config)
        self._table.apply(config.strategy_id, self._applied.revision)

    # ------------------------------------------------------------------ watching

    def status(self, strategy_id: str) -> StrategyStatus:
        """One strategy. Raises Fault NOT_FOUND."""
        run = self._roster.runs.get(strategy_id)
        if run is not None:
            return run.status(self._applied.revision)
        config = lookup.need(self._manager.config, strategy_id)
        idle = tuple(UserStatus(user_id=user, state=UserState.IDLE) for user in config.user_ids)
        return describe(config, idle, symbol="", config_revision=self._applied.revision)

    def statuses(self) -> list[StrategyStatus]:
        """All strategies of the configuration, in its order; then those that still wind down."""
        listed = [strategy.strategy_id for strategy in self._manager.config.strategies]
        return [self.status(each) for each in (*listed, *(i for i in self._roster.runs if i not in listed))]

    def explain(self, strategy_id: str = "", user_id: str = "") -> list[Explanation]:
        """Why users trade or do not, in the configuration's order. Raises Fault NOT_FOUND."""
        self._meant(strategy_id, user_id)
        told = []
        for status in [self.status(strategy_id)] if strategy_id else self.statuses():
            run = self._roster.runs.get(status.strategy_id)
            config = run.config if run is not None else lookup.need(self.config, status.strategy_id)
            for each in status.users:
                if user_id in ("", each.user_id):
                    told.append(explain(config, run, each, self))
        return told

    def rounds(
        self, strategy_id: str = "", user_id: str = "", *, before: int | None = None, most: int = 100
    ) -> list[PastRound]:
        """Rounds, newest first, older than that sequence."""
        return self.history.rounds(strategy_id, user_id, before, most)

    def past_runs(self, strategy_id: str = "") -> list[PastRun]:
        """Runs, newest first."""
        return self._table.past_runs(strategy_id)

    async def _beats(self) -> None:
        while True:
            await self.clock.sleep(_BEAT_SECONDS)
            self._apply_config()
            self._table.write()
            await asyncio.gather(self._figures.beat(self._roster.everything()), self._check_right())

    async def _check_right(self) -> None:
        """Does this one own the right still? Two owners may meet without a placement that says so."""
        epoch, running = self.right.owner_epoch, self._roster.running()
        if running and not self.right.other_owner:
            try:
                await running[0].touch_scope(epoch)
            except (CallFailed, ValueError) as no:
                if isinstance(no, Refused):
                    self.right.refused(epoch, no)


def _market_of(config: StrategyConfig) -> tuple[object, ...]:
    return config.venue, config.target_token, config.target_chain
