"""An hour of ten users on one symbol: with the guard nobody trades with another of them, without it they do.

`make guard-hour` plays the same hour twice on virtual time, once with the guard's object in the books
replaced by one that admits everything, and prints both. The weather is fair: what the guard must hold
under faults is the business of the seeds (reliability 3, I8 and I9).
"""

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal as D
from pathlib import Path
from typing import Any

from order_service.claims import Market
from order_service.guard import Guard, Verdict
from order_service.tickets import Asker
from otopilot.instrument import Venue
from otopilot.order import OrderState
from paper_exchange.config import Config
from strategy_service.config import StrategyConfig, UserSettings
from tests import scratch
from tests.simulation.course import Course
from tests.simulation.profiles import MILD
from tests.simulation.scenario import NOON, Scenario, paper
from tests.simulation.simulation import Simulation

USERS = tuple(str(user) for user in range(1, 11))
SYMBOL = "ALPHA_22USDT"
FAIR = replace(MILD, name="fair")  # the line is healed before anything begins
COLLECT_SECONDS = 300.0
REST_SECONDS = 60.0
# What makes ten users meet: a price that swings through the rest of its SELLs, and BUYs above it.
PATH = {"kind": "swing", "start": "48", "amplitude_percent": "0.8", "period_seconds": "60"}
HOUSE = {"spread_percent": "0.02", "levels": "3", "level_notional": "40"}
SETTINGS: dict[str, Any] = {
    "single_trade_amount_usdt": D(30),
    "trade_interval_seconds": D(15),
    "buy_offset_percentage": D("0.3"),
    "sell_profit_percentage": D("0.3"),
}


class WatchedGuard(Guard):
    """The guard, with how long each wait took that ended in an admission."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def admitted(self, market: Market, asker: Asker, asked: Verdict, got: Verdict, now: datetime) -> None:
        waits, seconds = self.counters.waits, self.counters.waited_seconds
        super().admitted(market, asker, asked, got, now)
        if self.counters.waits > waits:
            self.waited.append(self.counters.waited_seconds - seconds)


class NoGuard(WatchedGuard):
    """Whatever is asked may be, at the price that is asked."""

    def decide(self, market: Market, **asked: Any) -> Verdict:
        return Verdict(asked["bid"], asked["ask"])


@dataclass(frozen=True)
class Hour:
    """What came of one run."""

    guarded: bool
    placements: int
    matches: int
    denied_by_orders: int
    denied_by_waiters: int
    moved: int
    lapsed: int
    waited: tuple[float, ...]
    cycles: int
    completed: int
    volume: D
    cpu_seconds: float

    @property
    def denials(self) -> int:
        """Of placements, by the guard."""
        return self.denied_by_orders + self.denied_by_waiters

    def wait_at(self, share: float) -> float:
        """The wait that so large a share of the waits does not exceed, in seconds."""
        ordered = sorted(self.waited)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class HourCourse(Course):
    """An hour in fair weather."""

    async def run(self) -> None:
        """Trade, and stop. The guard of the books is the watched one."""
        sim = self._sim
        assert isinstance(sim, GuardHour)
        sim.network.heal()
        await self._open_accounts()
        assert sim.order is not None
        books = sim.order.journal.books
        sim.guard.keep_unwritten(books.guard)
        books.guard = sim.guard
        sim.start_strategy()
        await self.let_trade()
        await asyncio.wait({self.operator.stop_everything()}, timeout=REST_SECONDS)
        assert books.guard is sim.guard, "the books were rebuilt: this was another guard's hour"

    async def let_trade(self) -> None:
        """What happens while everybody trades."""
        sim = self._sim
        assert isinstance(sim, GuardHour)
        ends = sim.loop.time() + sim.seconds
        while (left := ends - sim.loop.time()) > 0:
            await asyncio.sleep(min(COLLECT_SECONDS, left))
            gc.collect()  # at moments of the run's own, so that it takes the same course again


class GuardHour(Simulation):
    """One run of ten users, their guard watched or taken away."""

    def __init__(
        self,
        seed: int,
        directory: Path,
        *,
        guarded: bool,
        seconds: float = 0.0,
        course: type[HourCourse] = HourCourse,
    ) -> None:
        super().__init__(seed, FAIR, directory, scenario=_scenario(seed), course=course)
        self.checkers = []  # one claim is made here, and the exchange's oracle judges it
        self.guard: WatchedGuard = WatchedGuard() if guarded else NoGuard()
        self.seconds = seconds

    def figures(self, cpu_seconds: float) -> Hour:
        """What came of it, by the journal and the exchange's books."""
        counters, orders = self.guard.counters, list(self.view.orders.values())
        rounds = [order for order in orders if order.pending is not None]
        return Hour(
            guarded=not isinstance(self.guard, NoGuard),
            placements=len(orders),
            matches=self.exchange.state.oracle.matches,
            denied_by_orders=counters.denied_by_orders,
            denied_by_waiters=counters.denied_by_waiters,
            moved=counters.lowered + counters.raised,
            lapsed=self.guard.tickets.lapsed,
            waited=tuple(self.guard.waited),
            cycles=len({(order.user_id, order.cycle) for order in rounds}),
            completed=sum(order.state is OrderState.COMPLETED for order in rounds),
            volume=sum((D(row.quote) for row in self.view.trades.values() if row.side == "buy"), D(0)),
            cpu_seconds=cpu_seconds,
        )


def play(*, guarded: bool, minutes: float, seed: int = 1) -> Hour:
    """One run of so many virtual minutes. Raises Violation when a service had a defect."""
    began = time.process_time()
    with tempfile.TemporaryDirectory(dir=scratch.in_memory()) as directory:
        sim = GuardHour(seed, Path(directory), guarded=guarded, seconds=minutes * 60)
        gc.collect()
        gc.disable()
        try:
            sim.run()
        finally:
            gc.enable()
        return sim.figures(time.process_time() - began)


def _scenario(seed: int) -> Scenario:
    raw = paper()
    swing = next(one for one in raw["instruments"] if one["symbol"] == SYMBOL)
    shape = {"tick_size": "0.005", "min_notional": "5", "path": PATH, "house": HOUSE}
    money = {"default_balances": {"USDT": "1000000"}}
    exchange = raw | {"alpha": raw["alpha"] | money, "instruments": [swing | shape]}
    strategy = StrategyConfig(
        strategy_id="hour",
        strategy_name="hour",
        venue=Venue.ALPHA,
        target_token="KOGE",
        target_chain="BSC",
        target_volume=D(1_000_000_000),
        user_ids=USERS,
        users=tuple(UserSettings(user, "hour", **SETTINGS) for user in USERS),
    )
    return Scenario(
        seed=seed,
        profile=FAIR,
        start=NOON,
        skew_ms=0,
        exchange=Config.model_validate(exchange),
        strategies=(strategy,),
        order_kills=(),
        strategy_kills=(),
        outages=(),
        revoked=None,
        manual_orders=False,
        stop_mode="drain",
        places=len(USERS),
    )


ROWS = (
    ("placements", lambda h: f"{h.placements}"),
    ("trades between managed orders", lambda h: f"{h.matches}"),
    ("denials by orders", lambda h: f"{h.denied_by_orders}"),
    ("denials by waiters", lambda h: f"{h.denied_by_waiters}"),
    ("prices moved by the guard", lambda h: f"{h.moved}"),
    ("waits that ended in a placement", lambda h: f"{len(h.waited)}"),
    ("  half of them took at most", lambda h: f"{h.wait_at(0.5):.2f} s"),
    ("  99 % took at most", lambda h: f"{h.wait_at(0.99):.2f} s"),
    ("  the longest took", lambda h: f"{h.wait_at(1):.2f} s"),
    ("waits given up", lambda h: f"{h.lapsed}"),
    ("cycles begun", lambda h: f"{h.cycles}"),
    ("cycles completed", lambda h: f"{h.completed}"),
    ("bought, USDT", lambda h: f"{h.volume:.0f}"),
    ("CPU", lambda h: f"{h.cpu_seconds:.0f} s"),
)


def main() -> int:
    """0 when nobody traded with another under the guard, and some did without it."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.guard_hour", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of virtual time (default 60)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"{len(USERS)} users on {SYMBOL}, {args.minutes:g} virtual minutes, seed {args.seed}")
    on, off = (play(guarded=guarded, minutes=args.minutes, seed=args.seed) for guarded in (True, False))
    print(f"{'guard':<34}{'on':>12}{'off':>12}")
    for name, text in ROWS:
        print(f"{name:<34}{text(on):>12}{text(off):>12}")
    return 0 if on.matches == 0 < off.matches else 1


if __name__ == "__main__":
    sys.exit(main())
