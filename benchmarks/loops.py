"""How punctual loops are: N of them at a 1 s interval over real processes and the paper exchange.

A cycle is late when it began more than 50 ms after its own place on the grid of intervals. Cycles
that waited for a BUY, for the guard or for the market are not counted: the loop says itself which
they are (Round.late_ms). More loops are tried until more than 1 % of the cycles are late. The floor
is a process of bare timers beside them in the same run: what the machine itself makes late.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from otopilot.instrument import Venue
from protos import strategy_pb2 as pb
from tests.system.fleet import SERVICES, Fleet, Team, paper_config

LATE_MS = 50
MOST_LATE = 0.01  # share of the cycles
TARGET_LOOPS = 100
WARM_UP_SECONDS = 12.0
COUNTS = (50, 100, 150, 200, 300, 400, 600)
# The seeds' own amounts and offsets. The price moves little, so that BUYs fill at once and no SELL
# comes near another user's BUY: what is measured is the loops, not the guard.
_KEYS = {"target_volume": "1000000000", "single_trade_amount_usdt": "30", "trade_interval_seconds": "1"}
# Intervals that passed for these reasons are none of the loop's.
_EXCUSED = (pb.REASON_CODE_UNSPECIFIED, pb.REASON_CODE_ROUND_LONGER, pb.REASON_CODE_GUARD)


# A process of as many bare timers a second; prints the share that fired more than LATE_MS late.
_FLOOR = """
import asyncio, sys
count, late_ms, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
async def main():
    loop, late = asyncio.get_running_loop(), []
    def fired(due):
        late.append((loop.time() - due) * 1000)
        loop.call_at(due + 1, fired, due + 1)
    for number in range(count):
        due = loop.time() + 0.1 + number / count
        loop.call_at(due, fired, due)
    await asyncio.sleep(seconds)
    print(sum(ms > late_ms for ms in late) / max(1, len(late)))
asyncio.run(main())
"""


class Punctuality(NamedTuple):
    """What N loops did in the time that was measured."""

    loops: int
    seconds: float
    late_ms: list[int]  # of every cycle that counts
    skipped: Counter[str]  # intervals without a cycle, by reason, that count as late
    apart: int  # cycles that do not count
    cpu: dict[str, float]  # share of one core, by process
    floor: float  # share of bare timers that were late

    @property
    def share(self) -> float:
        """Of the cycles that count, how many were late."""
        late = sum(ms > LATE_MS for ms in self.late_ms) + self.skipped.total()
        return late / max(1, len(self.late_ms) + self.skipped.total())

    def line(self) -> str:
        """A row of the table."""
        ordered = sorted(self.late_ms) or [0]
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        rate = (len(self.late_ms) + self.apart) / self.seconds
        cores = "  ".join(f"{name.partition('_')[0]} {share:.2f}" for name, share in self.cpu.items())
        shares = f"{self.share:>7.2%}  {self.floor:>7.2%}"
        return (
            f"{self.loops:>6}  {rate:>8.1f}  {len(self.late_ms):>7}  {self.apart:>5}"
            f"  {statistics.median(ordered):>6.0f}  {p99:>6}  {ordered[-1]:>6}  {shares}   {cores}"
        )


HEAD = " loops  cycles/s  counted  apart  p50 ms  p99 ms  max ms     late    floor   cores used"


def measure(root: Path, loops: int, seconds: float) -> Punctuality:
    """So many loops, half of them on each venue."""
    half = loops // 2
    users = [str(n) for n in range(1, loops + 1)]
    teams = (
        Team("koge", Venue.ALPHA, "KOGE", tuple(users[:half]), _KEYS),
        Team("bnb", Venue.SPOT, "BNB", tuple(users[half:]), _KEYS),
    )
    config = paper_config(root / "paper.yaml", amplitude_percent="0.1", answer_seconds="0")
    with Fleet(root, teams, config) as fleet:
        fleet.enlist()
        fleet.begin()
        _await_everybody(fleet)
        time.sleep(WARM_UP_SECONDS)
        before, since = _cpu_seconds(fleet), datetime.now(UTC)
        bare = [sys.executable, "-c", _FLOOR, str(loops), str(LATE_MS), str(seconds)]
        done = subprocess.run(bare, capture_output=True, text=True, check=True)  # noqa: S603 - our own text
        floor = float(done.stdout)
        until, after = datetime.now(UTC), _cpu_seconds(fleet)
        rounds = _rounds(fleet, since, until)
    late = [each.late_ms for each in rounds if each.late_ms >= 0]
    skipped: Counter[str] = Counter()
    for each in rounds:
        if each.skipped and each.skipped_reason not in _EXCUSED:
            skipped[pb.ReasonCode.Name(each.skipped_reason)] += each.skipped
    cpu = {name: (after[name] - before[name]) / seconds for name in SERVICES}
    took = (until - since).total_seconds()
    return Punctuality(loops, took, late, skipped, len(rounds) - len(late), cpu, floor)


def _await_everybody(fleet: Fleet) -> None:
    deadline = time.monotonic() + 120
    while any(user.cycles < 1 for user in fleet.statuses().values()) or not fleet.statuses():
        if time.monotonic() > deadline:
            raise AssertionError("not every loop began")
        time.sleep(0.5)


def _rounds(fleet: Fleet, since: datetime, until: datetime) -> list[pb.Round]:
    """Rounds that began in that time and are over."""
    found: list[pb.Round] = []
    token, stub = "", fleet.strategy()
    while True:
        page = stub.ListRounds(pb.ListRoundsRequest(page_size=1000, page_token=token), timeout=30)
        for each in page.rounds:
            if since <= each.started_at.ToDatetime(UTC) < until:
                found.append(each)
        token = page.next_page_token
        oldest = page.rounds[-1].ended_at.ToDatetime(UTC) if page.rounds else since
        if not token or oldest < since - timedelta(seconds=5):
            return found


def _cpu_seconds(fleet: Fleet) -> dict[str, float]:
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    for name in SERVICES:
        fields = Path(f"/proc/{fleet.processes[name].pid}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / tick
    return found


def main() -> None:
    """The table, and the largest number of loops that is punctual."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loops", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--seconds", type=float, default=20)
    chosen = parser.parse_args()
    print(f"loops at 1 s over four processes on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(HEAD)
    largest = 0
    for loops in chosen.loops:
        with tempfile.TemporaryDirectory() as made:
            found = measure(Path(made), loops, chosen.seconds)
        print(found.line(), flush=True)
        if found.skipped:
            print("       not begun: " + ", ".join(f"{n} {why}" for why, n in found.skipped.items()))
        if found.share > MOST_LATE:
            break
        largest = loops
    word = "reached" if largest >= TARGET_LOOPS else "NOT reached"
    print(f"largest number with at most {MOST_LATE:.0%} late by more than {LATE_MS} ms: {largest}")
    print(f"target {TARGET_LOOPS}: {word}")


if __name__ == "__main__":
    main()
