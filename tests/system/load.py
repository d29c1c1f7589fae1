"""Many users over real sockets and the venue's own limits: `make load [USERS="10 100 300"]`.

One world for each number of users: four processes as shipped, a paper exchange with the limits of
config/paper.yaml, every fifth user on Spot, whose accounts share one address. All trade; the order
service is killed in the middle and started again as `otopilot run` does it. At the end journal, ledger
and the exchange's books agree to the last digit, and the exchange has refused nothing for want of room
(no 429, no 418). Printed: how long a start takes until everybody has placed, which Spot's weight paces,
and how long after the kill everybody has placed again.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from otopilot.instrument import Venue
from strategy_service.cli.processes import BACKOFF_SECONDS
from tests.faults.audit import Verdict
from tests.faults.processes import ROOT
from tests.system.fleet import Fleet, Team
from tests.system.kill_drill import Drill, Journal

USERS = (10, 100, 300)
SECONDS = 10.0  # of trading before the kill, and after the recovery
PATIENCE_SECONDS = 40.0  # for everybody to have placed, after a start and after the kill
SPOT_EVERY = 5
STEP_SECONDS = 0.1
_KEYS = {
    "target_volume": "1000000000",
    "single_trade_amount_usdt": "20",
    "trade_interval_seconds": "3",
    "buy_offset_percentage": "0.1",
    "sell_profit_percentage": "0.1",
}


class Live(NamedTuple):
    """When, in seconds since a start or a kill, users had an order that the exchange accepted."""

    seconds: dict[str, float]
    missing: dict[str, str]  # user: what its loop said when the time was over

    def words(self) -> str:
        """Half of them, the last one, and who is missing."""
        times = sorted(self.seconds.values()) or [0.0]
        missing = f", {len(self.missing)} not within {PATIENCE_SECONDS:.0f} s" if self.missing else ""
        return f"half {statistics.median(times):.1f} s, last {times[-1]:.1f} s{missing}"


class Load(NamedTuple):
    """One world: what it did."""

    users: int
    started: Live
    serving: float  # seconds from the kill until the order service did its work again
    recovered: Live  # of those who had placed before
    report: dict[str, Any]  # the exchange's
    verdict: Verdict
    took: float

    def lines(self) -> list[str]:
        """The table of this world."""
        limits, figures = self.report["limits"], self.verdict.figures
        rows = {
            "everybody had placed": self.started.words(),
            "kill -9: serving again": f"{self.serving:.1f} s",
            "kill -9: everybody placed again": self.recovered.words(),
            "orders": f"{figures['in the journal']}, {figures['trades']} trades",
            "in doubt": f"{figures['ever in doubt']} ever, {figures['still in doubt']} still",
            "refused by the exchange": f"{limits['refused_429']} x 429, {limits['refused_418']} x 418, "
            f"{self.connections_refused} connections",
            "most weight in a minute": str(limits["most_weight"]),
            "differences of the books": str(len(self.verdict.differences)),
        }
        width = max(map(len, rows))
        head = f"{self.users} users, {self.took:.0f} s"
        return [head, *(f"  {name:<{width}}  {words}" for name, words in rows.items())]

    @property
    def connections_refused(self) -> int:
        """By any of the exchange's doors."""
        return sum(self.report["connections"]["refused"].values())

    def failures(self) -> list[str]:
        """Everything that must not be."""
        found = list(self.verdict.differences)
        refused = self.report["limits"]["refused_429"] + self.report["limits"]["refused_418"]
        if refused or self.connections_refused:
            found.append("the exchange refused requests for want of room")
        if doubt := self.verdict.figures["still in doubt"]:
            found.append(f"{doubt} orders are still in doubt")
        if not self.recovered.seconds:
            found.append("nobody placed again after the kill")
        return found


def paper_config(path: Path) -> Path:
    """The repository's paper exchange with all of its limits; only prices swing faster."""
    raw = yaml.load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    swing = {"kind": "swing", "amplitude_percent": "0.6", "period_seconds": "12.347"}
    raw["instruments"] = [
        one | {"path": {"start": one["path"]["start"], "tick_interval_seconds": "0.2"} | swing}
        for one in raw["instruments"]
        if one["symbol"] in ("ALPHA_22USDT", "BNBUSDT")
    ]
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def teams(users: int) -> tuple[Team, ...]:
    """Every fifth user on Spot."""
    names = [str(number) for number in range(1, users + 1)]
    spot = tuple(names[SPOT_EVERY - 1 :: SPOT_EVERY])
    alpha = tuple(name for name in names if name not in spot)
    return Team("koge", Venue.ALPHA, "KOGE", alpha, _KEYS), Team("bnb", Venue.SPOT, "BNB", spot, _KEYS)


def measure(root: Path, users: int, seconds: float = SECONDS) -> Load:
    """One world from its start to its audit."""
    began = time.monotonic()
    root.mkdir(parents=True, exist_ok=True)
    with Fleet(root, teams(users), paper_config(root / "paper.yaml")) as fleet:
        journal, drill = Journal(fleet.pair.journal), Drill(fleet)
        fleet.enlist()
        since = time.monotonic()
        fleet.begin()
        started = _until_placed(fleet, journal, 0, set(fleet.users), since)
        time.sleep(seconds)
        since = time.monotonic()
        fleet.processes["order_service"].kill()
        time.sleep(BACKOFF_SECONDS[0])
        fleet.start("order_service")
        serving = time.monotonic() - since
        before, _ = journal.marks()
        recovered = _until_placed(fleet, journal, before, set(started.seconds), since)
        time.sleep(seconds)
        if fallen := fleet.fallen():
            raise AssertionError("\n".join(fallen))
        verdict = drill.finish()
        report = fleet.pair.control("GET", "report")
    return Load(users, started, serving, recovered, report, verdict, time.monotonic() - began)


def _until_placed(fleet: Fleet, journal: Journal, number: int, users: set[str], since: float) -> Live:
    """Until all of them had an order accepted after that one, or the time is over."""
    seconds: dict[str, float] = {}
    while missing := users - seconds.keys():
        now = time.monotonic() - since
        seconds |= dict.fromkeys(journal.placed_since(number) & missing, now)
        if now > PATIENCE_SECONDS:
            statuses = fleet.statuses()
            said = {user: statuses[user].reason_code for user in missing if user in statuses}
            return Live(seconds, {user: said.get(user, "no status") for user in missing - seconds.keys()})
        time.sleep(STEP_SECONDS)
    return Live(seconds, {})


def main() -> int:
    """0 when all books agree and the exchange refused nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=USERS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--keep", type=Path, help="a directory for the worlds and the logs")
    chosen = parser.parse_args()
    found: list[str] = []
    for users in chosen.users:
        with tempfile.TemporaryDirectory() as made:
            load = measure((chosen.keep or Path(made)) / str(users), users, chosen.seconds)
        print(*load.lines(), sep="\n", flush=True)
        for what, live in (("start", load.started), ("kill", load.recovered)):
            for reason in sorted(set(live.missing.values())):
                count = list(live.missing.values()).count(reason)
                print(f"  not live after the {what}: {count} x {reason}")
        found += [f"{users} users: {each}" for each in load.failures()]
    print(*found[:50], sep="\n")
    print(f"{len(found)} FAILURES" if found else "all books agree, nothing was refused for want of room")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
