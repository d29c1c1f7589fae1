"""Row 31 of the fault catalogue: nobody buys while the price jumps, and everybody goes on in the calm."""

import asyncio
from decimal import Decimal
from pathlib import Path

from paper_exchange.faults import FaultRule
from tests.simulation.guard_hour import SYMBOL, GuardHour, HourCourse

CALM_SECONDS = 60.0
SPIKE_SECONDS = 30.0
HEARD_SECONDS = 2.0  # until the new price has reached every loop, and what was under way is through
WINDOW_SECONDS = 60.0  # over which loops look at the swing


class Spike(HourCourse):
    """Calm, a jump by a fifth and back, calm: how many BUYs were placed in each."""

    async def let_trade(self) -> None:
        """Count them."""
        counts = [await self._buys_in(CALM_SECONDS)]
        rule = FaultRule(kind="market_spike", symbol=SYMBOL, percent=Decimal(20), lasts_seconds=Decimal(30))
        self._sim.exchange.world.faults.add(rule)
        await self._buys_in(HEARD_SECONDS)
        counts.append(await self._buys_in(SPIKE_SECONDS + WINDOW_SECONDS - 2 * HEARD_SECONDS))
        counts.append(await self._buys_in(CALM_SECONDS))
        self.before, self.during, self.after = counts

    async def _buys_in(self, seconds: float) -> int:
        before = self._buys()
        await asyncio.sleep(seconds)
        return self._buys() - before

    def _buys(self) -> int:
        return sum(order.buy is not None for order in self._sim.view.orders.values())


def test_row_31_a_price_that_jumps_stops_every_buy_and_calm_resumes_them(tmp_path: Path) -> None:
    day = GuardHour(1, tmp_path, guarded=True, course=Spike)
    day.run()
    spike = day.course
    assert isinstance(spike, Spike)
    assert spike.before > 10
    assert spike.during == 0
    assert spike.after > 10
