"""SIGKILL of any service at random moments: `make kill-drill N=200 [SEED=n]`.

Twenty users of two strategies trade on both venues, each process real. One service after another dies
and is started again as `otopilot run` starts it again; every loop must then place an order that the
exchange accepts: within 10 s of the kill, within 25 s where the kill left an order in doubt. A loop
that only waits for room in its target, or for claims that are held after an absence, counts as live.
At the end the journal, the ledger and the exchange's books are compared to the last digit.
"""

import argparse
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from otopilot.instrument import Venue
from protos import strategy_pb2 as pb
from strategy_service.cli.processes import BACKOFF_SECONDS
from tests.faults import audit
from tests.faults.audit import Verdict
from tests.system.fleet import SERVICES, Fleet, Team

LIVE_SECONDS = 10.0
DOUBT_SECONDS = 25.0
MOST_PAUSE_SECONDS = 1.5  # between the end of one recovery and the next kill
SETTLE_SECONDS = 60.0
STEP_SECONDS = 0.05
STATUS_SECONDS = 0.5
# Reasons a live loop may have for placing nothing: other orders use up the target, or hold a claim.
WAITS = frozenset({"reserved", "guard"})
DOUBTED = '{"type":"doubted"%'  # how the body of such an event begins
ACCEPTED = ("working", "triggered", "completed", "canceled", "expired")

_KEYS = {
    "target_volume": "1000000000",
    "single_trade_amount_usdt": "20",
    "trade_interval_seconds": "1",
    "buy_offset_percentage": "0.1",
    "sell_profit_percentage": "0.1",
}
TEAMS = (
    Team(
        "koge",
        Venue.ALPHA,
        "KOGE",
        tuple(str(n) for n in range(1, 13)),
        # Resting SELLs come down to the market, so that cancels and single SELLs are under way too.
        _KEYS | {"sell_timeout_seconds": "15"},
    ),
    Team("bnb", Venue.SPOT, "BNB", tuple(str(n) for n in range(13, 21)), _KEYS),
)


class Kill(NamedTuple):
    """What is killed, and how long after everybody was well."""

    service: str
    after_seconds: float


class Recovery(NamedTuple):
    """What came after one kill. Seconds count from the kill."""

    kill: Kill
    serving: float
    live: dict[str, float]  # user: when the exchange had accepted an order of its loop
    doubted: frozenset[str]  # users of whom an order was in doubt
    waiting: dict[str, str]  # user: why a live loop placed nothing
    missed: dict[str, str]  # user: what its loop said when the time was over

    @property
    def plain(self) -> float:
        """The last loop without doubt that had something to place; 0 when there was none."""
        apart = self.doubted | self.waiting.keys()
        return max((s for user, s in self.live.items() if user not in apart), default=0.0)

    @property
    def in_doubt(self) -> float:
        """The last loop with an order in doubt; 0 when there was none."""
        return max((s for user, s in self.live.items() if user in self.doubted), default=0.0)


def judge(
    kill: Kill, serving: float, live: dict[str, float], doubted: set[str], said: dict[str, str]
) -> Recovery:
    """Who was live in time, who had a reason to place nothing, and who was neither.

    `said` has what everybody who was not live at once said last, within its time.
    """
    waiting, missed = {}, {}
    for user in sorted(live.keys() | said.keys()):
        seconds, why = live.get(user, float("inf")), said.get(user, "no status")
        if seconds <= (DOUBT_SECONDS if user in doubted else LIVE_SECONDS):
            continue
        if why.split(":")[0] in WAITS:
            waiting[user] = why
        else:
            missed[user] = f"live only after {seconds:.1f} s: {why}" if user in live else why
    return Recovery(kill, serving, live, frozenset(doubted), waiting, missed)


def schedule(seed: int, count: int) -> list[Kill]:
    """Which service dies when: every one of them equally likely, every moment too."""
    dice = random.Random(seed)
    return [Kill(dice.choice(SERVICES), dice.uniform(0, MOST_PAUSE_SECONDS)) for _ in range(count)]


class Journal:
    """What the journal's file says; asked while its service lives, dies and comes back."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def marks(self) -> tuple[int, int]:
        """The newest order and the newest event."""
        (order,) = self._ask("SELECT coalesce(max(number), 0) FROM orders")[0]
        (event,) = self._ask("SELECT coalesce(max(sequence), 0) FROM events")[0]
        return int(order), int(event)

    def placed_since(self, number: int) -> set[str]:
        """Users with an order after that one which the exchange accepted."""
        marks = ",".join("?" * len(ACCEPTED))
        sql = f"SELECT DISTINCT user_id FROM orders WHERE number > ? AND state IN ({marks})"
        return {user for (user,) in self._ask(sql, number, *ACCEPTED)}

    def in_doubt_since(self, event: int) -> set[str]:
        """Users with an order that is in doubt, or came into doubt after that event."""
        doubted = "SELECT order_id FROM events WHERE sequence > ? AND CAST(body AS TEXT) LIKE ?"
        sql = (
            "SELECT DISTINCT user_id FROM orders"
            f" WHERE (live = 1 AND state = 'in_doubt') OR order_id IN ({doubted})"
        )
        return {user for (user,) in self._ask(sql, event, DOUBTED)}

    def _ask(self, sql: str, *values: object) -> list[tuple[str, ...]]:
        connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()


class Drill:
    """One run over one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._journal = Journal(fleet.pair.journal)

    def warm_up(self) -> None:
        """Until every user has placed once."""
        self._fleet.enlist()
        self._fleet.begin()
        deadline = time.monotonic() + 60
        while missing := set(self._fleet.users) - self._journal.placed_since(0):
            if time.monotonic() > deadline:
                raise AssertionError(f"never placed: {sorted(missing)}: {self._words(missing)}")
            time.sleep(STEP_SECONDS)

    def kill(self, kill: Kill) -> Recovery:
        """Kill, start again, and wait until all loops are live or their time is over."""
        time.sleep(kill.after_seconds)
        _, event = self._journal.marks()
        process = self._fleet.processes[kill.service]
        began = time.monotonic()
        process.kill()
        time.sleep(BACKOFF_SECONDS[0])  # as `otopilot run` waits after a first death
        self._fleet.start(kill.service)
        serving = time.monotonic() - began
        number, _ = self._journal.marks()
        live: dict[str, float] = {}
        said: dict[str, str] = {}  # what loops that are not live yet said when their time was over
        everybody = set(self._fleet.users)
        asked_at = 0.0
        while True:
            now = time.monotonic() - began
            for user in self._journal.placed_since(number) - live.keys():
                live[user] = now
            doubted = self._journal.in_doubt_since(event)
            missing = everybody - live.keys()
            if missing and now > asked_at + STATUS_SECONDS:
                in_time = now <= LIVE_SECONDS + STATUS_SECONDS
                said |= self._words(missing if in_time else missing & doubted)
                asked_at = now
            if (not missing & doubted and (not missing or now > LIVE_SECONDS)) or now > DOUBT_SECONDS:
                break
            time.sleep(STEP_SECONDS)
        return judge(kill, serving, live, doubted, said)

    def _words(self, users: set[str]) -> dict[str, str]:
        """What these loops say they do: the reason's code first."""
        statuses = self._fleet.statuses()
        said = {}
        for user in users:
            status = statuses.get(user)
            state = (
                "" if status is None else pb.UserRunState.Name(status.state).rpartition("STATE_")[2].lower()
            )
            said[user] = f"{status.reason_code}: {status.reason} ({state})" if status else "no status"
        return said

    def finish(self) -> Verdict:
        """Stop, let the market stand still, and wait until all books agree."""
        self._fleet.stop()
        pair = self._fleet.pair
        pair.control("POST", "freeze", {})
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            self._fleet.settle()
            verdict = audit.compare(audit.read(pair))
            if not (verdict.differences or verdict.figures["still in doubt"]) or time.monotonic() > deadline:
                return verdict
            time.sleep(1)


def run(root: Path, kills: Sequence[Kill], teams: tuple[Team, ...] = TEAMS) -> tuple[list[Recovery], Verdict]:
    """The whole drill."""
    recoveries = []
    with Fleet(root, teams) as fleet:
        drill = Drill(fleet)
        drill.warm_up()
        for number, kill in enumerate(kills, 1):
            recoveries.append(drill.kill(kill))
            print(_line(number, len(kills), recoveries[-1]), flush=True)
            if fallen := fleet.fallen():
                raise AssertionError("\n".join(fallen))
        verdict = drill.finish()
    return recoveries, verdict


def failures(recoveries: Sequence[Recovery], verdict: Verdict) -> list[str]:
    """Everything that must not be."""
    found = [
        f"kill {number} of {each.kill.service}: user {user}: {why}"
        for number, each in enumerate(recoveries, 1)
        for user, why in sorted(each.missed.items())
    ]
    found += verdict.differences
    if doubt := verdict.figures["still in doubt"]:
        found.append(f"{doubt} orders are still in doubt")
    return found


def _line(number: int, count: int, each: Recovery) -> str:
    doubt = f", {len(each.doubted)} in doubt {each.in_doubt:.1f} s" if each.doubted else ""
    waits = f", {len(each.waiting)} only wait" if each.waiting else ""
    missed = f", MISSED {each.missed}" if each.missed else ""
    return (
        f"{number:>4}/{count} {each.kill.service:<16} serves after {each.serving:4.1f} s,"
        f" {len(each.live):>2} loops live after {max(each.plain, each.in_doubt):4.1f} s{doubt}{waits}{missed}"
    )


def table(recoveries: Sequence[Recovery]) -> list[str]:
    """A line a service: kills, recovery, doubt."""
    lines = [
        f"{'killed':<16} {'kills':>5}  {'serves p50':>10} {'max':>5}  {'all live p50':>12} {'max':>5}"
        f"  {'loops in doubt':>14} {'p50':>5} {'max':>5}  {'only wait':>9} {'missed':>6}"
    ]
    for name in (*SERVICES, "all"):
        of_it = [each for each in recoveries if name in (each.kill.service, "all")]
        if not of_it:
            continue
        serving, plain = [each.serving for each in of_it], [each.plain for each in of_it]
        doubt = [each.live[u] for each in of_it for u in each.doubted if u in each.live]
        lines.append(
            f"{name:<16} {len(of_it):>5}  {statistics.median(serving):>10.1f} {max(serving):>5.1f}"
            f"  {statistics.median(plain):>12.1f} {max(plain):>5.1f}"
            f"  {sum(len(each.doubted) for each in of_it):>14}"
            f" {statistics.median(doubt) if doubt else 0:>5.1f} {max(doubt, default=0):>5.1f}"
            f"  {sum(len(each.waiting) for each in of_it):>9} {sum(len(each.missed) for each in of_it):>6}"
        )
    return lines


def main() -> int:
    """0 when every loop was live in time and all books agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=200, help="kills")
    parser.add_argument("--seed", type=int, help="repeats the same kills at the same moments")
    parser.add_argument("--keep", type=Path, help="a directory for the world and the logs")
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else int(time.time())
    print(f"kill drill: {chosen.n} kills, seed {seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        recoveries, verdict = run(chosen.keep or Path(made), schedule(seed, chosen.n))
    print(*table(recoveries), "", sep="\n")
    width = max(map(len, verdict.figures))
    for name, value in verdict.figures.items():
        print(f"{name:<{width}}  {value:>8}")
    found = failures(recoveries, verdict)
    print(*found[:50], sep="\n")
    took = time.monotonic() - began
    verdict_word = f"{len(found)} FAILURES" if found else "all live in time, all books agree"
    print(f"seed {seed}, {took:.0f} s: {verdict_word}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
