"""kill -9 at every failpoint: `make kills`, or `python -m tests.faults.kills`.

A real order service over SQLite dies at a named place while users trade, is started again, and the
users go on with the ids they had. After each death the journal, the ledger and the exchange's books
are compared; the table shows how long it took until every user could trade again. Then the strategy
service dies where it reloads and where it stops (strategy_kills.py).
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from protos import order_pb2 as pb
from tests.faults import strategy_kills
from tests.faults.processes import Pair
from tests.faults.run import settle
from tests.faults.trading import ALPHA, SPOT, Crowd, Trader

# Place and how often it is reached before the process dies there: places are reached at start too.
FAILPOINTS: tuple[tuple[str, int], ...] = (
    ("place.before_commit", 3),
    ("journal.before_commit", 25),
    ("journal.after_commit", 25),
    ("place.before_send", 3),
    ("place.after_send", 3),
    ("place.after_learn", 3),
    ("cancel.before_send", 2),
    ("cancel.after_send", 2),
    ("learn.before_trades", 3),
    ("sweep.before_commit", 9),
    ("sweep.after_commit", 9),
    ("doubt.after_look", 1),
)
DIE_SECONDS = 40.0
RECOVER_SECONDS = 60.0
LISTS_AFTER = 6


class Death(NamedTuple):
    """One death and what came after it."""

    failpoint: str
    serving_seconds: float
    ready_seconds: float
    placed_before: int
    placed_after: int
    differences: list[str]


async def die_at(pair: Pair, crowd: Crowd, failpoint: str, count: int) -> Death:
    """Kill the order service there, start it again, trade on, and compare the books."""
    pair.orders.end()
    pair.start_orders(OTOPILOT_FAILPOINTS=f"{failpoint}=kill@{count}")
    await crowd.claim()
    await asyncio.to_thread(pair.control, "POST", "unfreeze", {})
    before = crowd.counts["placed"]
    done = asyncio.Event()
    trading = asyncio.create_task(crowd.trade_while(lambda: not done.is_set()))
    deadline = time.monotonic() + DIE_SECONDS
    while pair.orders.exit_code is None:
        assert time.monotonic() < deadline, f"{failpoint} was never reached:\n{pair.orders.tail()}"
        assert not trading.done(), trading.exception()
        await asyncio.sleep(0.02)
    assert pair.orders.wait(1) == -signal.SIGKILL, pair.orders.tail()
    at_death = crowd.counts["placed"]
    serving = await asyncio.to_thread(pair.start_orders)
    ready = serving + await crowd.ready(RECOVER_SECONDS)
    again, said_before = crowd.counts["placed"], Counter(crowd.denials)
    deadline = time.monotonic() + DIE_SECONDS
    while crowd.counts["placed"] < again + LISTS_AFTER and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    done.set()
    await trading
    verdict = await settle(pair, crowd)
    differences = list(verdict.differences)
    if verdict.figures["still in doubt"]:
        differences.append(f"{verdict.figures['still in doubt']} orders are still in doubt")
    if crowd.counts["placed"] < again + LISTS_AFTER:
        states = Counter(pb.OrderState.Name(order.state) for order in crowd.latest())
        differences.append(
            f"trading did not go on; the service said {dict(crowd.denials - said_before)}, "
            f"its orders are {dict(states)}"
        )
    return Death(failpoint, serving, ready, at_death - before, crowd.counts["placed"] - again, differences)


async def sweep(root: Path, failpoints: tuple[tuple[str, int], ...], users: int = 4) -> list[Death]:
    """Every one of these failpoints in turn, on one world and one journal."""
    traders = [Trader(f"u{n}", ALPHA if n % 2 else SPOT) for n in range(1, users + 1)]
    deaths = []
    with Pair(root, sweep_seconds=3) as pair:
        async with Crowd(pair, traders, seed=1) as crowd:
            await crowd.enlist()
            await crowd.ready(30)
            # So that there is doubt to be resolved.
            pair.fault("drop_response", endpoint="place_o*", probability="0.1")
            pair.fault("drop_response", endpoint="cancel*", probability="0.1")
            for failpoint, count in failpoints:
                deaths.append(await die_at(pair, crowd, failpoint, count))
                show(deaths[-1])
    return deaths


def show(death: Death) -> None:
    """A row of the table."""
    print(
        f"{death.failpoint:<24} served after {death.serving_seconds:5.1f} s  "
        f"all ready after {death.ready_seconds:5.1f} s  placed {death.placed_before:>4} before, "
        f"{death.placed_after:>4} after  differences {len(death.differences)}",
        flush=True,
    )
    for difference in death.differences[:20]:
        print(f"    {difference}")


def main() -> int:
    """0 when after every death all books agree and trading went on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one failpoint")
    parser.add_argument("--keep", type=Path, help="a directory for the world and the logs")
    chosen = parser.parse_args()
    wanted = tuple(one for one in FAILPOINTS if chosen.only in (None, one[0]))
    with tempfile.TemporaryDirectory() as made:
        root = chosen.keep or Path(made)
        deaths = asyncio.run(sweep(root, wanted)) if wanted else []
        found = [death.differences for death in deaths]
        for failpoint in strategy_kills.FAILPOINTS:
            if chosen.only in (None, failpoint):
                death = asyncio.run(strategy_kills.die_at(root / failpoint, failpoint))
                strategy_kills.show(death)
                found.append(death.differences)
    return 1 if any(found) else 0


if __name__ == "__main__":
    sys.exit(main())
