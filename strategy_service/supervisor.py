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
from strategy_service.feeds import OrderFeed, PriceFeed
from strategy_service.figures import Figures
from strategy_service.leftovers import Leftovers
from strategy_service.places import Places
from strategy_service.preparation import Preparation
from strategy_service.right import PlacingRight
from strategy_service.runs import Runs
from strategy_service.state import StopMode
from strategy_service.status import StrategyStatus, UserState, UserStatus
from strategy_service.strategy_run import StrategyRun, describe
from strategy_service.user_run import UserRun

_log = log.get("supervisor")

_BEAT_SECONDS = 1.0
_START_SECONDS = 5.0  # a start waits so long for a service that is not up yet
_AGAIN_SECONDS = 0.5
_RESOLVE_AGAIN_SECONDS = 2.0
_STOP_MARGIN_SECONDS = 1.0
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
        self.leftovers = Leftovers(orders, clock, runs)
        self.prices = PriceFeed(market, clock)
        name = f"{owner}/{runs.identity(clock.new_id())}"
        self.right = PlacingRight(orders, clock, name, self._write_scopes, self._right_changed)
        self.order_feed = OrderFeed(orders, clock, self.right.want)
        self._manager = manager
        self._applied: TradingConfig = manager.config
        self._table = runs
        self._places = Places(self._applied.max_concurrent_users)
        self._runs: dict[str, StrategyRun] = {}
        self._leaving: list[StrategyRun] = []  # wind down beside a newer run of their strategy
        self._lock = asyncio.Lock()
        self._tasks = TaskOwner("supervisor")
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._preparation = Preparation(market, self.right)
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

    async def _write_scopes(self, owner_epoch: int) -> tuple[int, str]:
        running = [run for run in self._runs.values() if run.is_running]
        calls = [run.set_scopes(owner_epoch) for run in running]
        done, unwritten = 0, ""
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result  # STALE_OWNER, which is said of all of them
            done, unwritten = done + result[0], unwritten or str(result[1] or "")
        return done, unwritten

    def _right_changed(self) -> None:
        for run in self._all_runs():
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
            if (config := lookup.find(self._applied, known.strategy_id)) is None:
                continue
            run = StrategyRun(config, self, self._table, self._places)
            run.started_at, run.ended_at = known.started_at, known.ended_at
            self._runs[known.strategy_id] = run
            if known.ended_at is not None:
                run.blocked = ("ended", "ended before this service started")
            self._prepare_later(run, resumed=True)

    async def aclose(self) -> None:
        """Cut everything off; nothing is lost by that."""
        await self._tasks.close()
        everybody = [user for run in self._all_runs() for user in run.users.values()]
        await asyncio.gather(*(user.abort() for user in everybody))
        await self.leftovers.aclose()
        await self.prices.aclose()
        await self.order_feed.aclose()

    async def __aenter__(self) -> "Supervisor":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _all_runs(self) -> list[StrategyRun]:
        return [*self._runs.values(), *self._leaving]

    def _own(self, name: str, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        return self._tasks.spawn(restarted(work, self.clock, name), name)

    # ------------------------------------------------------------------ starting

    async def start(
        self, strategy_id: str = "", *, exclusive: bool = False, request_id: str = ""
    ) -> tuple[list[StrategyStatus], list[str]]:
        """Start one strategy or all that are enabled; answers when the loops run. Raises Fault."""
        async with self._lock:
            self._apply_config()
            configs = lookup.startable(self._manager.config, strategy_id)
            stopped: list[str] = []
            if self._table.known(request_id) is None:
                self.right.take()
                await self._start_each(configs, all_of_them=not strategy_id)
                if exclusive:
                    stopped = self._stop_others({config.strategy_id for config in configs})
                self._table.remember(request_id, "start", self.clock.now())
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
        running = self._runs.get(config.strategy_id)
        if running is not None and running.is_running and not running.users:
            await asyncio.wait((self._preparing[config.strategy_id],), timeout=_START_SECONDS)
        if running is not None and running.is_running:
            await running.ended([u for u in running.users.values() if u.stopping], _stop_seconds(config))
        if running is not None and running.is_running:
            self._table.desire(config.strategy_id)
            await self.right.held(_RIGHT_SECONDS)  # by then the targets of now are written
            running.restart_stopped()
            return
        run = StrategyRun(config, self, self._table, self._places)
        give_up_at = self.clock.monotonic() + _START_SECONDS
        while True:
            try:
                await self._preparation.prepare(run)
                break
            except Fault as fault:
                if fault.code is not grpc.StatusCode.UNAVAILABLE or self.clock.monotonic() >= give_up_at:
                    raise
                await self.clock.sleep(_AGAIN_SECONDS)
        if self._runs.get(config.strategy_id) is not running:
            return  # a reload was quicker: one run a strategy, or nobody could stop the other
        self._table.begin(config.strategy_id, run.started_at, self._manager.config.revision)
        self._runs[config.strategy_id] = run
        run.begin(resumed=False)
        _log.info("strategy started", strategy_id=config.strategy_id)

    def _prepare_later(self, run: StrategyRun, *, resumed: bool) -> None:
        """Start a run in the background, as soon as the services let it."""
        run.resumed = resumed

        async def work() -> None:
            if not resumed:
                for earlier in [each for each in self._leaving if each.strategy_id == run.strategy_id]:
                    await earlier.ended(list(earlier.users.values()), _stop_seconds(earlier.config))
                    self._leaving.remove(earlier)
                self._table.begin(run.strategy_id, run.started_at, self._applied.revision)
            while True:
                try:
                    await self._preparation.prepare(run)
                except Fault as fault:
                    if run.ended_at is None:
                        run.blocked = (fault.reason.lower(), fault.message)
                    await self.clock.sleep(_RESOLVE_AGAIN_SECONDS)
                else:
                    run.begin(resumed=resumed)
                    if not run.config.enabled:
                        self._stop_run(run, StopMode.DRAIN)  # disabled while no service ran
                    return

        self._preparing[run.strategy_id] = self._own(f"prepare {run.strategy_id}", work)

    def _stop_others(self, kept: set[str]) -> list[str]:
        others = [run for run in self._runs.values() if run.strategy_id not in kept and run.is_running]
        for run in others:
            self._stop_run(run, StopMode.DRAIN)
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
        runs = self._stoppable(strategy_id, user_id)
        if self._table.known(request_id) is None:
            for run in runs:
                self._stop_run(run, mode, user_id)
            failpoints.hit("stop.after_wish")
            self._table.remember(request_id, "stop", self.clock.now())
        if wait:
            await asyncio.gather(
                *(run.ended(_users(run, user_id), _stop_seconds(run.config)) for run in runs)
            )
        ids = [strategy_id] if strategy_id else [run.strategy_id for run in runs]
        return [self.status(each) for each in ids]

    def _stoppable(self, strategy_id: str, user_id: str) -> list[StrategyRun]:
        if not strategy_id:
            known = any(user_id in s.user_ids for s in self._manager.config.strategies)
            if user_id and not known:
                raise Fault(grpc.StatusCode.NOT_FOUND, "UNKNOWN_USER", f"no strategy lists user {user_id!r}")
            return [run for run in self._runs.values() if not user_id or user_id in run.users]
        run = self._runs.get(strategy_id)
        config = run.config if run is not None else lookup.need(self._manager.config, strategy_id)
        if user_id and user_id not in config.user_ids and (run is None or user_id not in run.users):
            text = f"strategy {strategy_id} has no user {user_id!r}: it has {', '.join(config.user_ids)}"
            raise Fault(grpc.StatusCode.NOT_FOUND, "UNKNOWN_USER", text)
        return [run] if run is not None else []

    def _stop_run(self, run: StrategyRun, mode: StopMode, user_id: str = "") -> None:
        if not user_id:
            self._table.undesire(run.strategy_id)
        if run.users or run.ended_at is not None:
            run.stop(_users(run, user_id), mode)
            return
        # Its loops have not started in this process yet. What an earlier one left open is wound
        # down as soon as the services let it; where nothing can be open, that is the end.
        for user in run.config.user_ids:
            if user_id in ("", user):
                self._table.wish_stop(run.strategy_id, user, mode)
        if not user_id and (not run.resumed or run.blocked[0] == "unknown_token"):
            self._preparing.pop(run.strategy_id).cancel()
            run.ended_at = self.clock.now()
            self._table.end(run.strategy_id, run.ended_at)

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
        return changes

    def _apply_config(self) -> None:
        """Act on what the manager holds; somebody else may have reloaded it."""
        old, new = self._applied, self._manager.config
        if new is old:
            return
        self._applied = new
        self._places.resize(new.max_concurrent_users)
        before = {strategy.strategy_id: strategy for strategy in old.strategies}
        for config in new.strategies:
            earlier, run = before.get(config.strategy_id), self._runs.get(config.strategy_id)
            if config.enabled and (earlier is None or not earlier.enabled):
                self._start_in_background(config)
            elif run is not None and run.is_running:
                self._change(run, config)
        listed = {config.strategy_id for config in new.strategies}
        for run in self._runs.values():
            if run.strategy_id not in listed and run.is_running:
                self._stop_run(run, StopMode.DRAIN)
        self.right.want()  # writes the scopes as they are now

    def _change(self, run: StrategyRun, config: StrategyConfig) -> None:
        moved = _market_of(run.config) != _market_of(config)
        if not config.enabled or moved:
            self._stop_run(run, StopMode.DRAIN)
            if moved and config.enabled:
                self._start_in_background(config)
            return
        run.apply(config)
        self._table.apply(config.strategy_id, self._applied.revision)

    def _start_in_background(self, config: StrategyConfig) -> None:
        """A new run takes the earlier one's place at once, and begins when that has ended."""
        name = config.strategy_id
        if (preparing := self._preparing.get(name)) is not None:
            preparing.cancel()
        if (earlier := self._runs.get(name)) is not None:
            self._leaving.append(earlier)
        self._runs[name] = StrategyRun(config, self, self._table, self._places)
        self._prepare_later(self._runs[name], resumed=False)

    # ------------------------------------------------------------------ watching

    def status(self, strategy_id: str) -> StrategyStatus:
        """One strategy. Raises Fault NOT_FOUND."""
        run = self._runs.get(strategy_id)
        if run is not None:
            return run.status(self._applied.revision)
        config = lookup.need(self._manager.config, strategy_id)
        idle = tuple(UserStatus(user_id=user, state=UserState.IDLE) for user in config.user_ids)
        return describe(config, idle, symbol="", config_revision=self._applied.revision)

    def statuses(self) -> list[StrategyStatus]:
        """All strategies of the configuration, in its order; then those that still wind down."""
        listed = [strategy.strategy_id for strategy in self._manager.config.strategies]
        others = [run.strategy_id for run in self._runs.values() if run.strategy_id not in listed]
        return [self.status(each) for each in (*listed, *others)]

    async def _beats(self) -> None:
        while True:
            await self.clock.sleep(_BEAT_SECONDS)
            self._apply_config()
            await asyncio.gather(self._figures.beat(self._all_runs()), self._check_right())

    async def _check_right(self) -> None:
        """Does this one own the right still? Two owners may meet without a placement that says so."""
        epoch, running = self.right.owner_epoch, [run for run in self._runs.values() if run.is_running]
        if running and not self.right.other_owner:
            try:
                await running[0].touch_scope(epoch)
            except (CallFailed, ValueError) as no:
                if isinstance(no, Refused):
                    self.right.refused(epoch, no)


def _users(run: StrategyRun, user_id: str) -> list[UserRun]:
    return [user for user in run.users.values() if not user_id or user.user_id == user_id]


def _stop_seconds(config: StrategyConfig) -> float:
    """Every stop ends within the fill timeout and a second (product 3)."""
    return max(float(user.fill_timeout_seconds) for user in config.users) + _STOP_MARGIN_SECONDS


def _market_of(config: StrategyConfig) -> tuple[object, ...]:
    return config.venue, config.target_token, config.target_chain
