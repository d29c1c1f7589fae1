"""The person at the command line: stops, pauses, starts, reloads, and stops who has traded enough.

What was asked of a strategy service that died or was replaced since is asked again of the next one.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from otopilot.order import UserId
from strategy_service.config import StrategyConfig, UserSettings
from strategy_service.state import StopMode
from strategy_service.supervisor import Supervisor
from tests.simulation.strategy_process import StrategyProcess

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

# After how many placements a user is stopped, and how.
ENOUGH = (10, 10, 10, 12)
WAYS = (StopMode.DRAIN, StopMode.CANCEL, StopMode.CANCEL, StopMode.FLATTEN)
WITHIN_SECONDS = 22.0  # the wishes are drawn

Call = Callable[[Supervisor], Coroutine[Any, Any, Any]]


@dataclass
class _Wish:
    """Something to be asked of the strategy service, until it is done."""

    at: float
    name: str
    call: Call
    must: bool = False  # asked until it is taken
    task: "asyncio.Task[Any] | None" = None
    of: StrategyProcess | None = None


class Operator:
    """Owns what is asked of the strategy service."""

    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._dice = random.Random(f"{sim.name}/operator")
        self._strategies = sim.scenario.strategies
        places = [(c.strategy_id, user) for c in self._strategies for user in c.user_ids]
        self._ways = {place: (self._dice.choice(ENOUGH), self._dice.choice(WAYS)) for place in places}
        self._asked: dict[tuple[str, str], None] = {}
        self._of: StrategyProcess | None = None  # whom that was asked of
        self._wishes: list[_Wish] = []
        self._revision = 1
        self._lowered = False
        for _ in range(self._dice.randint(0, sim.scenario.profile.wishes)):
            self._draw(self._dice.uniform(1.0, WITHIN_SECONDS))

    # ------------------------------------------------------------------ what is drawn

    def _draw(self, at: float) -> None:
        """One thing somebody does, and undoes."""
        dice, config = self._dice, self._dice.choice(self._strategies)
        name, user = config.strategy_id, dice.choice(config.user_ids)
        where = dice.choice((("", ""), (name, ""), (name, user), (name, user)))
        back = at + dice.uniform(0.5, 5.0)
        what = dice.choice(("pause", "stop", "stop", "settings", "leave"))
        if what == "pause":
            self._wish(at, f"pauses {where}", lambda s: _now(s.pause, *where, paused=True))
            self._wish(back, f"resumes {where}", lambda s: _now(s.pause, *where, paused=False), must=True)
        elif what == "stop":
            mode = dice.choice(WAYS)
            self._wish(at, f"stops {where} ({mode})", lambda s: s.stop(*where, mode))
            for each in self._strategies if not where[0] else (config,):
                self._wish(back, f"starts {each.strategy_id}", self._start(each.strategy_id), must=True)
        elif what == "settings":
            change = {
                "buy_offset_percentage": Decimal(dice.choice(("0.2", "0.4"))),
                "sell_profit_percentage": Decimal(dice.choice(("0.1", "0.4", "0.8"))),
                "trade_interval_seconds": Decimal(dice.choice(("0.5", "1.5"))),
            }
            self._wish(at, f"changes {name}", lambda s: self._reload(s, name, change, None))
        elif len(config.user_ids) > 1:
            self._wish(at, f"takes {user} out of {name}", lambda s: self._reload(s, name, {}, user))
            self._wish(back, f"puts {user} back", lambda s: self._reload(s, name, {}, None), must=True)

    def _wish(self, at: float, name: str, call: Call, *, must: bool = False) -> None:
        self._wishes.append(_Wish(at, name, call, must))

    def _start(self, strategy_id: str) -> Call:
        async def start(supervisor: Supervisor) -> None:
            await supervisor.start(strategy_id)
            # Who had traded enough goes on now, and is stopped again.
            self._asked = {place: None for place in self._asked if place[0] != strategy_id}

        return start

    async def _reload(
        self, supervisor: Supervisor, strategy_id: str, change: dict[str, Decimal], without: str | None
    ) -> None:
        """Other settings for a strategy, without one of its users or with all of them."""
        if self._sim.strategy is None or supervisor is not self._sim.strategy.supervisor:
            return  # a machine that stood still has been replaced: its file is nobody's any more
        whole = {config.strategy_id: config for config in self._sim.scenario.strategies}
        self._strategies = tuple(
            changed(whole[strategy_id], c, change, without) if c.strategy_id == strategy_id else c
            for c in self._strategies
        )
        self._configure()
        supervisor.reload()
        if without is None and supervisor.status(strategy_id).ended_at is not None:
            await supervisor.start(strategy_id)  # its run was over already

    def _configure(self) -> None:
        self._revision += 1
        self._sim.configure(self._sim.scenario.trading(f"r{self._revision}", self._strategies))

    # ------------------------------------------------------------------ doing it

    def ask_for_nothing(self) -> None:
        """Only what somebody must do is done from now on: who lost the placing right takes it back."""
        self._wishes, self._lowered = [], True

    def look(self) -> None:
        """Do what is due."""
        strategy = self._serving()
        if strategy is None:
            return
        for wish in sorted(self._wishes, key=lambda wish: wish.at):
            if wish.at > self._sim.loop.time() or not self._done(wish, strategy):
                break  # one thing after the other
        self._take_the_right_back(strategy)
        if not self._lowered:
            self._stop_who_traded_enough(strategy)

    def _done(self, wish: _Wish, strategy: StrategyProcess) -> bool:
        """Ask for it, unless that is under way; true when what comes next need not wait for it."""
        refused = False
        if wish.of is strategy and wish.task is not None:
            if not wish.task.done():
                return False
            refused = wish.task.exception() is not None
            if not refused or not wish.must:
                self._wishes.remove(wish)
                return True
        else:
            self._sim.trace.add("operator", wish.name)
        wish.of, wish.task = strategy, strategy.ask(wish.call(strategy.supervisor), wish.name)
        wish.task.add_done_callback(_seen)
        return refused  # what comes next may be what it waits for

    def _serving(self) -> StrategyProcess | None:
        strategy = self._sim.strategy
        if strategy is None or strategy.dead:
            return None
        if strategy is not self._of:
            self._of, self._asked = strategy, {}
        return strategy

    def _take_the_right_back(self, strategy: StrategyProcess) -> None:
        """A machine that stood still goes on with what it was asked to start; a person starts here again."""
        if not strategy.supervisor.other_owner or not self._sim.zombies or self._wishes:
            return
        for config in self._strategies:
            self._wish(0.0, f"starts {config.strategy_id} again", self._start(config.strategy_id), must=True)

    def _stop_who_traded_enough(self, strategy: StrategyProcess) -> None:
        for config in self._sim.scenario.strategies:
            for user_id in config.user_ids:
                place = (config.strategy_id, user_id)
                enough, mode = self._ways[place]
                if place not in self._asked and self._sim.placements[config.venue, user_id] >= enough:
                    self._asked[place] = None
                    self._sim.trace.add("operator", f"stops {'/'.join(place)} ({mode})")
                    asked = strategy.ask(strategy.supervisor.stop(*place, mode, wait=False), "stop")
                    asked.add_done_callback(_seen)  # it may be taken out just now

    # ------------------------------------------------------------------ targets

    def lower_targets(self) -> None:
        """Targets within reach, for everybody: the limits of the scopes are met under faults."""
        sim = self._sim
        spent: Counter[str] = Counter()
        for row in sim.view.trades.values():
            for config in sim.scenario.strategies:
                if (row.venue, row.user_id) in {(config.venue, u) for u in config.user_ids}:
                    spent[config.strategy_id] += int(Decimal(row.quote))
        self._strategies = tuple(
            replace(c, target_volume=self._target(c, spent[c.strategy_id])) for c in sim.scenario.strategies
        )
        self._lowered, self._wishes = True, []
        sim.trace.add("operator", "lowers the targets and starts everything")
        self._configure()
        for config in self._strategies:
            self._wish(0.0, f"starts {config.strategy_id}", self._start(config.strategy_id))
        self._wish(0.0, "resumes everything", lambda s: _now(s.pause, paused=False))

    def _target(self, config: StrategyConfig, spent: int) -> Decimal:
        amount, whole = config.users[0].single_trade_amount_usdt, Decimal(spent)
        if config.target_scope == "per_user":
            return round(whole / len(config.user_ids) + amount * self._dice.choice((Decimal("0.5"), 1)), 1)
        return round(whole + amount * self._dice.randint(1, 4), 1)

    def everybody_ended(self) -> bool:
        """Has nobody anything to do any more?"""
        strategy = self._serving()
        if strategy is None or self._wishes:
            return False
        return all(status.ended_at is not None for status in strategy.supervisor.statuses())

    # ------------------------------------------------------------------ the end

    def idle(self) -> bool:
        """Is nothing under way any more that was asked? What was not asked yet is not asked now."""
        self._wishes = [
            w for w in self._wishes if w.of is self._sim.strategy and w.task and not w.task.done()
        ]
        return not self._wishes

    def stop_everything(self) -> Any:
        """Wind everything down; the task that does it."""
        strategy = self._serving()
        assert strategy is not None
        mode = StopMode(self._sim.scenario.stop_mode)
        return strategy.ask(strategy.supervisor.stop(mode=mode), "stop")

    def waits(self) -> str:
        """What everybody waits for."""
        if self._sim.strategy is None:
            return "no strategy service"
        users = [
            f"{status.strategy_id}/{user.user_id} {self._sim.placements[status.venue, UserId(user.user_id)]}"
            f" {user.state} {user.reason_code} ({user.reason})"
            for status in self._sim.strategy.supervisor.statuses()
            for user in status.users
        ]
        return "; ".join(users)


def _seen(task: "asyncio.Task[Any]") -> None:
    """A refusal is looked at later, unless the run is over before."""
    if not task.cancelled():
        task.exception()


async def _now(call: Callable[..., Any], *args: Any, **more: Any) -> None:
    call(*args, **more)


def changed(
    whole: StrategyConfig, now: StrategyConfig, change: dict[str, Decimal], without: str | None
) -> StrategyConfig:
    """The strategy with all its users but one, as they are now or with other settings."""
    known = {user.user_id: user for user in (*whole.users, *now.users)}
    users = tuple(_with(known[user_id], change) for user_id in whole.user_ids if user_id != without)
    kept = {f.name: getattr(now, f.name) for f in fields(now)}
    return StrategyConfig(**(kept | {"users": users, "user_ids": tuple(user.user_id for user in users)}))


def _with(user: UserSettings, change: dict[str, Decimal]) -> UserSettings:
    return UserSettings(**({f.name: getattr(user, f.name) for f in fields(user)} | change))
