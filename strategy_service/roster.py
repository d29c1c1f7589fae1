"""The runs of this process: resumed or begun in the background, replaced, wound down.

One run a strategy, or nobody could stop the other; an earlier one may wind down beside it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from otopilot.clock import Clock
from otopilot.rpc import Fault
from otopilot.tasks import TaskOwner, restarted
from strategy_service.config import StrategyConfig
from strategy_service.loop import World
from strategy_service.places import Places
from strategy_service.runs import Run, Runs
from strategy_service.state import StopMode
from strategy_service.strategy_run import StrategyRun

_RESOLVE_AGAIN_SECONDS = 2.0
_STOP_MARGIN_SECONDS = 1.0

Prepare = Callable[[StrategyRun], Awaitable[None]]  # raises Fault


class Roster:
    """Owns the runs, and the tasks that prepare them."""

    def __init__(self, world: World, clock: Clock, table: Runs, places: Places, prepare: Prepare) -> None:
        self.runs: dict[str, StrategyRun] = {}
        self._world = world
        self._clock = clock
        self._table = table
        self._places = places
        self._prepare = prepare
        self._leaving: list[StrategyRun] = []  # wind down beside a newer run of their strategy
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._tasks = TaskOwner("roster")

    async def aclose(self) -> None:
        """Prepare nothing more; cut the loops off."""
        await self._tasks.close()
        everybody = [user for run in self.everything() for user in run.users.values()]
        await asyncio.gather(*(user.abort() for user in everybody))

    async def leave(self) -> None:
        """The process goes: wind every loop down; what was wanted goes on with the next process."""
        await self._tasks.close()
        for run in self.everything():
            run.leave()
        await asyncio.gather(*(self._ended(run, "") for run in self.everything()))

    def everything(self) -> list[StrategyRun]:
        """The runs, and those that newer ones replaced and that still wind down."""
        return [*self.runs.values(), *self._leaving]

    def running(self) -> list[StrategyRun]:
        """Those of which a loop runs, waits or is being started."""
        return [run for run in self.runs.values() if run.is_running]

    async def write_scopes(self, owner_epoch: int) -> tuple[int, str]:
        """Write the scopes of every run: how many were taken, and what was wrong with others."""
        calls = [run.scopes.write(owner_epoch) for run in self.running()]
        done, unwritten = 0, ""
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result  # STALE_OWNER, which is said of all of them
            done, unwritten = done + result[0], unwritten or str(result[1] or "")
        return done, unwritten

    # ------------------------------------------------------------------ beginning

    def make(self, config: StrategyConfig) -> StrategyRun:
        """A run that nobody knows of yet."""
        return StrategyRun(config, self._world, self._table, self._places)

    def resume(self, config: StrategyConfig, known: Run) -> None:
        """Go on with a run of an earlier process, as soon as the services let it."""
        run = self.runs[config.strategy_id] = self.make(config)
        run.started_at, run.ended_at = known.started_at, known.ended_at
        if known.ended_at is not None:
            run.blocked = ("ended", "ended before this service started")
        run.resumed = True
        self._prepare_later(run, known.config_revision)

    def replace(self, config: StrategyConfig, revision: str) -> None:
        """A new run takes the earlier one's place at once, and begins when that has ended."""
        name = config.strategy_id
        if (preparing := self._preparing.get(name)) is not None:
            preparing.cancel()
        if (earlier := self.runs.get(name)) is not None:
            self._leaving.append(earlier)
        self.runs[name] = self.make(config)
        self._prepare_later(self.runs[name], revision)

    async def prepared(self, strategy_id: str, seconds: float) -> None:
        """Wait until the run in the background has its loops, at most that long."""
        if (task := self._preparing.get(strategy_id)) is not None:
            await asyncio.wait((task,), timeout=seconds)

    def _prepare_later(self, run: StrategyRun, revision: str) -> None:
        async def work() -> None:
            if not run.resumed:
                await self._ended_earlier(run.strategy_id)
                self._table.begin(run.strategy_id, run.started_at, revision)
            while True:
                try:
                    await self._prepare(run)
                except Fault as fault:
                    if run.ended_at is None:
                        run.blocked = (fault.reason.lower(), fault.message)
                    await self._clock.sleep(_RESOLVE_AGAIN_SECONDS)
                else:
                    run.begin(resumed=run.resumed)
                    if not run.config.enabled:
                        self.stop(run, StopMode.DRAIN)  # disabled while no service ran
                    return

        name = f"prepare {run.strategy_id}"
        self._preparing[run.strategy_id] = self._tasks.spawn(restarted(work, self._clock, name), name)

    async def _ended_earlier(self, strategy_id: str) -> None:
        for earlier in [each for each in self._leaving if each.strategy_id == strategy_id]:
            while earlier.is_running and earlier.users:
                await earlier.ended(earlier.members(), stop_seconds(earlier.config))
            self._leaving.remove(earlier)

    # ------------------------------------------------------------------ ending

    def stop(self, run: StrategyRun, mode: StopMode, user_id: str = "") -> None:
        """Wind a run or one user of it down; the wish outlives this process."""
        if not user_id:
            self._table.undesire(run.strategy_id)
        if run.users or run.ended_at is not None:
            run.stop(run.members(user_id), mode)
            return
        # Its loops have not started in this process yet. What an earlier one left open is wound
        # down as soon as the services let it; where nothing can be open, that is the end.
        for user in run.config.user_ids:
            if user_id in ("", user):
                self._table.wish_stop(run.strategy_id, user, mode)
        if not user_id and (not run.resumed or run.blocked[0] == "unknown_token"):
            self._preparing.pop(run.strategy_id).cancel()
            run.ended_at = self._clock.now()
            self._table.end(run.strategy_id, run.ended_at)

    async def ended(self, runs: Iterable[StrategyRun], user_id: str = "") -> None:
        """Wait until these have ended, or that user of them; at most as long as a stop may take."""
        await asyncio.gather(*(self._ended(run, user_id) for run in runs))

    async def _ended(self, run: StrategyRun, user_id: str) -> None:
        seconds = stop_seconds(run.config, user_id)
        by = self._clock.monotonic() + seconds
        if not run.users and run.ended_at is None:
            await self.prepared(run.strategy_id, seconds)
        await run.ended(run.members(user_id), max(0.0, by - self._clock.monotonic()))


def stop_seconds(config: StrategyConfig, user_id: str = "") -> float:
    """Every stop ends within the fill timeout and a second (product 3): a user's own, or the longest."""
    meant = [user for user in config.users if user_id in ("", user.user_id)] or config.users
    return max(float(user.fill_timeout_seconds) for user in meant) + _STOP_MARGIN_SECONDS
