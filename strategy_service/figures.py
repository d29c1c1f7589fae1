"""The figures an operator sees, read again once a second; and the venue's rules, now and then.

Running loops read their own position each round; here are the volumes of all scopes and the
positions of users whose loop has ended or waits long, because their SELLs still fill.
"""

import asyncio
from collections.abc import Sequence

from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import InstrumentStatus
from otopilot.rpc import Fault
from strategy_service.clients import CallFailed, OrderClient
from strategy_service.preparation import RULES_SECONDS, Preparation
from strategy_service.strategy_run import StrategyRun
from strategy_service.user_run import UserRun

_log = log.get("figures")

_BLOCKING_SECONDS = 10.0  # what trades not at all now, or not so little, may at any moment (reliability 28)
_POSITIONS_A_BEAT = 20
_POSITION_SECONDS = 2.0


class Figures:
    """Reads what nobody else reads."""

    def __init__(self, orders: OrderClient, clock: Clock, preparation: Preparation) -> None:
        self._orders = orders
        self._clock = clock
        self._preparation = preparation
        self._rules_read_at = self._blocking_read_at = clock.monotonic()

    async def beat(self, runs: Sequence[StrategyRun]) -> None:
        """One look at everything. Failures leave the figures as they were; the loops say why."""
        now = self._clock.monotonic()
        await asyncio.gather(*(run.read_volumes() for run in runs))
        await self._read_positions(runs, now)
        for run in runs:
            run.beat(self._clock.monotonic())
        await self._read_rules([run for run in runs if run.is_running], now)

    async def _read_rules(self, runs: Sequence[StrategyRun], now: float) -> None:
        if now - self._rules_read_at > RULES_SECONDS:
            self._rules_read_at = now
            await asyncio.gather(*(self._refresh(run, RULES_SECONDS) for run in runs))
        if now - self._blocking_read_at > _BLOCKING_SECONDS:
            self._blocking_read_at = now
            await asyncio.gather(*(self._refresh(run, _BLOCKING_SECONDS) for run in runs if _blocks(run)))

    async def _refresh(self, run: StrategyRun, max_age_seconds: float) -> None:
        try:
            run.refresh(await self._preparation.resolve(run.config, max_age_seconds))
        except Fault as fault:
            _log.warning("instrument not refreshed", strategy_id=run.strategy_id, reason=fault.message)

    async def _read_positions(self, runs: Sequence[StrategyRun], now: float) -> None:
        users = [user for run in runs for user in run.users.values()]
        late = (user for user in users if now - user.read_at > _POSITION_SECONDS)
        due = sorted(late, key=lambda user: user.read_at)[:_POSITIONS_A_BEAT]
        await asyncio.gather(*(self._read_position(user, now) for user in due))

    async def _read_position(self, user: UserRun, now: float) -> None:
        try:
            user.take(await self._orders.position(user.rules), now)
        except (CallFailed, ValueError):
            user.take(None, now)


def _blocks(run: StrategyRun) -> bool:
    """Do the rules as they were read keep anybody from trading?"""
    if run.instrument and run.instrument.status is not InstrumentStatus.TRADING:
        return True
    return any(user.waits_for_rules for user in run.users.values())
