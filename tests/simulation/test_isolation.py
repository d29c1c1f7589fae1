"""I12, measured: what befalls one user does not slow the others.

One seed in fair weather, and again with everything going wrong for one user alone. How long the other
users' placements take, from asking to the answer, is compared over a few seeds; waits that the guard
imposes are no placements and so are not in it.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from order_service.placing import Ask
from otopilot.order import Order
from paper_exchange.faults import FaultKind, FaultRule
from tests.simulation.course import Course
from tests.simulation.profiles import Profile
from tests.simulation.scenario import draw
from tests.simulation.simulation import Simulation

SEEDS = range(8)  # the p99 of fewer placements is chance
SECONDS = 25.0
MOST = 1.2  # reliability I12
TROUBLES: tuple[FaultKind, ...] = ("drop_response", "http_error", "engine_delay", "order_stall")
NOTHING: dict[str, Any] = {field.name: 0 for field in fields(Profile)}
CALM = Profile(**(NOTHING | {"name": "calm"}))


class _FairCourse(Course):
    """Everybody trades for a while; perhaps one user is in trouble."""

    async def run(self) -> None:
        sim = self._sim
        assert isinstance(sim, _Measured)
        await self._open_accounts()
        if sim.troubled:
            venue, user_id = sim.victim
            for kind in TROUBLES:
                sim.exchange.world.faults.add(FaultRule(kind=kind, venue=venue.value, user_id=user_id))
        sim.start_strategy()
        until = sim.loop.time() + SECONDS
        while sim.loop.time() < until:
            await self._tick()


class _Measured(Simulation):
    """Knows how long each placement took."""

    def __init__(self, seed: int, directory: Path, *, troubled: bool) -> None:
        scenario = replace(draw(seed, CALM), skew_ms=0)
        super().__init__(seed, CALM, directory, scenario=scenario, course=_FairCourse)
        self.troubled = troubled
        self.victim = scenario.accounts[0]
        self.took: list[float] = []
        self._since: dict[str, float] = {}

    def asked(self, ask: Ask) -> None:
        super().asked(ask)
        self._since.setdefault(ask.request_id, self.loop.time())

    def acknowledged(self, order: Order) -> None:
        super().acknowledged(order)
        since = self._since.pop(order.request_id, None)
        if since is not None and (order.venue, order.user_id) != self.victim:
            self.took.append(self.loop.time() - since)


def _p99(directory: Path, *, troubled: bool) -> tuple[float, int]:
    took: list[float] = []
    for seed in SEEDS:
        place = directory / f"{seed}-{troubled}"
        place.mkdir()
        sim = _Measured(seed, place, troubled=troubled)
        sim.run()
        took += sim.took
    took.sort()
    return took[int(0.99 * (len(took) - 1))], len(took)


@pytest.mark.timeout(300)
def test_trouble_of_one_user_does_not_slow_the_others(tmp_path: Path) -> None:
    without, count = _p99(tmp_path, troubled=False)
    with_trouble, others = _p99(tmp_path, troubled=True)
    assert min(count, others) > 200, (count, others)
    assert with_trouble <= MOST * without, f"p99 {without:.4f} s, with another's trouble {with_trouble:.4f} s"
