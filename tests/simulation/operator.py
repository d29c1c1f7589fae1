"""The person at the command line: stops who has traded enough, lowers targets, stops everything.

What was asked of a strategy service that died since is asked again of the next one.
"""

import random
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from otopilot.order import UserId
from otopilot.rpc import Fault
from strategy_service.config import StrategyConfig
from strategy_service.state import StopMode
from tests.simulation.strategy_process import StrategyProcess

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

# After how many placements a user is stopped, and how.
ENOUGH = (10, 10, 10, 14)
WAYS = (StopMode.DRAIN, StopMode.CANCEL, StopMode.CANCEL, StopMode.FLATTEN)


class Operator:
    """Owns what is asked of the strategy service."""

    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._dice = random.Random(f"{sim.name}/operator")
        places = [(c.strategy_id, user) for c in sim.scenario.strategies for user in c.user_ids]
        self._ways = {place: (self._dice.choice(ENOUGH), self._dice.choice(WAYS)) for place in places}
        self._asked: set[tuple[str, str]] = set()
        self._of: StrategyProcess | None = None  # whom that was asked of
        self._lowered = False

    def look(self) -> None:
        """Do what is due."""
        strategy = self._serving()
        if strategy is not None and not self._lowered:
            self._stop_who_traded_enough(strategy)

    def _serving(self) -> StrategyProcess | None:
        strategy = self._sim.strategy
        if strategy is None or strategy.dead:
            return None
        if strategy is not self._of:
            self._of, self._asked = strategy, set()
        return strategy

    def _stop_who_traded_enough(self, strategy: StrategyProcess) -> None:
        for config in self._sim.scenario.strategies:
            for user_id in config.user_ids:
                place = (config.strategy_id, user_id)
                enough, mode = self._ways[place]
                if place not in self._asked and self._sim.placements[config.venue, user_id] >= enough:
                    self._asked.add(place)
                    self._sim.trace.add("operator", f"stops {'/'.join(place)} ({mode})")
                    strategy.ask(strategy.supervisor.stop(*place, mode, wait=False), "stop")

    # ------------------------------------------------------------------ targets

    def lower_targets(self) -> None:
        """Targets within reach, for everybody: the limits of the scopes are met under faults."""
        sim = self._sim
        spent: Counter[str] = Counter()
        for row in sim.view.trades.values():
            for config in sim.scenario.strategies:
                if (row.venue, row.user_id) in {(config.venue, u) for u in config.user_ids}:
                    spent[config.strategy_id] += int(Decimal(row.quote))
        targets = {c.strategy_id: self._target(c, spent[c.strategy_id]) for c in sim.scenario.strategies}
        self._lowered = True
        sim.trace.add("operator", "lowers the targets and starts everything")
        sim.configure(sim.scenario.trading("r2", targets))
        strategy = self._serving()
        if strategy is not None:
            strategy.ask(self._start(strategy), "start")

    def _target(self, config: StrategyConfig, spent: int) -> Decimal:
        amount, whole = config.users[0].single_trade_amount_usdt, Decimal(spent)
        if config.target_scope == "per_user":
            return round(whole / len(config.user_ids) + amount * self._dice.choice((Decimal("0.5"), 1, 2)), 1)
        return round(whole + amount * self._dice.randint(1, 6), 1)

    async def _start(self, strategy: StrategyProcess) -> None:
        """One after the other: one that ends on its way keeps no other from starting."""
        for config in self._sim.scenario.strategies:
            try:
                await strategy.supervisor.start(config.strategy_id)
            except Fault as fault:
                self._sim.trace.add("operator", f"{config.strategy_id} not started: {fault.reason}")

    def everybody_ended(self) -> bool:
        """Has nobody anything to do any more?"""
        strategy = self._serving()
        if strategy is None:
            return False
        return all(status.ended_at is not None for status in strategy.supervisor.statuses())

    # ------------------------------------------------------------------ the end

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
