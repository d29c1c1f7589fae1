"""Ten thousand loops that have nothing to do: memory of each, and how punctually they wake.

Real loops (strategy_service.loop) over a venue that does not trade at the moment: each looks again
once a second, and reads its account every five seconds from services that answer at once. The floor
is a bare timer of the event loop, as many of them, in the same process and the same run.
"""

import argparse
import asyncio
import gc
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, cast

from otopilot.clock import SystemClock
from otopilot.instrument import Instrument, InstrumentStatus, Venue
from otopilot.money import ZERO
from otopilot.order import ScopeId, StrategyId, UserId
from otopilot.position import MemberVolume, Position, ScopeMember, ScopeVolume, User, UserState, VolumeScope
from otopilot.quote import Quote
from strategy_service.config import UserSettings
from strategy_service.loop import UserLoop, World
from strategy_service.state import Rules

LOOPS = 10_000
INTERVAL = 1.0
STALL_SECONDS = 0.3
PAGE_BYTES = 4096
TARGET_KB, TARGET_JITTER_MS, TARGET_CPU_US = 10.0, 2.5, 10.0

HALTED = Instrument(
    venue=Venue.ALPHA,
    symbol="ALPHA_22USDT",
    token="KOGE",  # noqa: S106 - a token that is traded
    chain="BSC",
    base_asset="ALPHA_22",
    quote_asset="USDT",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    min_notional=Decimal(5),
    max_num_orders=200,
    status=InstrumentStatus.HALTED,
)


class Around:
    """What a loop finds around itself: everything is up, nothing happens."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.orders = self.prices = self.order_feed = self.leftovers = self.history = self
        self.up = True
        self.owner_epoch = 1
        self.other_owner = ""
        now = datetime.now(UTC)
        self._quote = Quote(
            venue=HALTED.venue, symbol=HALTED.symbol, price=Decimal(100), traded_at=now, confirmed_at=now
        )

    def listen(self, *_: object) -> None:
        """A loop listens to prices and orders: none come."""

    forget = listen

    def quote(self, _: object) -> Quote:
        """The price."""
        return self._quote

    def swing(self, *_: object) -> Decimal:
        """It does not move."""
        return ZERO

    rise = swing

    async def position(self, rules: Rules) -> Position:
        """An account without anything."""
        user = User(
            user_id=rules.user_id, venue=Venue.ALPHA, state=UserState.READY, reason_code="", reason=""
        )
        return Position(user=user)

    async def volume(self, scope: VolumeScope) -> ScopeVolume:
        """Nothing is counted yet."""
        members = tuple(MemberVolume(user_id=m.user_id, counted=ZERO, complete=True) for m in scope.members)
        return ScopeVolume(
            scope=scope, counted=ZERO, reserved=ZERO, complete=True, members=members, window_start=None
        )


class Measured(UserLoop):
    """Notes how long after its time it was woken."""

    lateness: list[float]

    def _on_timer(self) -> None:
        wanted = self.state.wake_at
        if wanted is not None:
            self.lateness.append(time.monotonic() - wanted)
        super()._on_timer()


class Wakes(NamedTuple):
    """What was seen in a while."""

    late: list[float]
    cpu_seconds: float

    def p99_ms(self) -> float:
        """Of the lateness."""
        return sorted(self.late)[int(len(self.late) * 0.99)] * 1000

    def cpu_us(self) -> float:
        """Of one wake."""
        return self.cpu_seconds * 1_000_000 / len(self.late)


def make_loop(world: World, number: int, delay: float, late: list[float]) -> Measured:
    """One user's loop, its settings shared as the configuration's are."""
    user = UserId(str(number))
    scope_id = ScopeId(f"s/{number}")
    settings = UserSettings(user, "s", trade_interval_seconds=Decimal(int(INTERVAL)))
    rules = Rules(
        user_id=user,
        strategy_id=StrategyId("s"),
        scope_id=scope_id,
        instrument=HALTED,
        settings=settings,
    )
    members = (ScopeMember(user, HALTED.venue, HALTED.symbol),)
    loop = Measured(
        rules, VolumeScope(scope_id=scope_id, members=members, target=Decimal(100)), world, delay=delay
    )
    loop.lateness = late
    loop.start()
    return loop


async def watch(late: list[float], seconds: float) -> Wakes:
    """Let time pass."""
    late.clear()
    began = time.process_time()
    await asyncio.sleep(seconds)
    return Wakes(list(late), time.process_time() - began)


async def bare(count: int, seconds: float) -> Wakes:
    """As many timers with nothing behind them, their phases spread."""
    loop, late = asyncio.get_running_loop(), list[float]()

    def again(due: float) -> None:
        late.append(loop.time() - due)
        loop.call_at(due + INTERVAL, again, due + INTERVAL)

    start = loop.time() + 0.5
    for number in range(count):
        due = start + number / count * INTERVAL
        loop.call_at(due, again, due)
    await asyncio.sleep(2.0)
    return await watch(late, seconds)


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


async def measure(count: int, seconds: float) -> None:
    """The whole table."""
    late: list[float] = []
    world = cast(World, Around())
    gc.collect()
    before = resident_bytes()
    loops = [make_loop(world, n, n / count * INTERVAL, late) for n in range(count)]
    await asyncio.sleep(3 * INTERVAL)
    gc.collect()
    gc.freeze()
    each_kb = (resident_bytes() - before) / count / 1024
    calm = await watch(late, seconds)
    time.sleep(STALL_SECONDS)  # noqa: ASYNC251 - the stall is the point
    await asyncio.sleep(1.0)
    stalled = await watch(late, seconds)
    for loop in loops:
        await loop.abort()
    _row("memory of one loop, KB", each_kb, TARGET_KB)
    _row("wakes a second", len(calm.late) / seconds, None)
    _row("wake-up jitter p99, ms", calm.p99_ms(), TARGET_JITTER_MS)
    _row(
        f"the same from 1 s after a stall of {STALL_SECONDS * 1000:.0f} ms",
        stalled.p99_ms(),
        TARGET_JITTER_MS,
    )
    _row("CPU of one wake, us", calm.cpu_us(), TARGET_CPU_US)


def _row(name: str, value: float, target: float | None) -> None:
    told = (
        "" if target is None else f"   target {target:g}: {'reached' if value <= target else 'NOT reached'}"
    )
    print(f"{name:<46} {value:>9.2f}{told}", flush=True)


def main() -> None:
    """Floor and loops, each in an event loop of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loops", type=int, default=LOOPS)
    parser.add_argument("--seconds", type=float, default=5.0)
    chosen = parser.parse_args()
    print(f"{chosen.loops} idle loops that look again once a second")
    floor = asyncio.run(bare(chosen.loops, chosen.seconds))
    _row("bare timers: wake-up jitter p99, ms", floor.p99_ms(), None)
    _row("bare timers: CPU of one wake, us", floor.cpu_us(), None)
    asyncio.run(measure(chosen.loops, chosen.seconds))


if __name__ == "__main__":
    main()
