"""The fault run over real sockets: `make faults`, or `python -m tests.faults.run --lists 10000`.

A paper exchange and an order service as processes; users who place and cancel while answers are lost,
engines are slow, streams drop, repeat and reorder, and the venue bans once. Then the faults end, the
market stands still, and journal, ledger and the exchange's books are compared to the last digit.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.faults import audit
from tests.faults.audit import Verdict
from tests.faults.processes import Pair
from tests.faults.trading import ALPHA, SPOT, Crowd, Trader

SETTLE_SECONDS = 60.0  # after the faults heal (reliability, I3)

# kind and rule; probabilities are per request or per frame.
FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("drop_response", {"endpoint": "place_o*", "probability": "0.05"}),
    ("drop_request", {"endpoint": "place_o*", "probability": "0.02"}),
    ("http_error", {"endpoint": "place_o*", "probability": "0.01", "status": 503, "when": "before"}),
    ("http_error", {"endpoint": "place_o*", "probability": "0.01", "status": 502, "when": "after"}),
    ("engine_delay", {"endpoint": "place_o*", "probability": "0.01", "seconds": "8"}),
    ("drop_response", {"endpoint": "cancel*", "probability": "0.05"}),
    ("fill_before_cancel", {"probability": "0.02"}),
    ("http_error", {"endpoint": "*_orders", "probability": "0.01", "status": 500}),
    ("delay_response", {"endpoint": "place_o*", "probability": "0.02", "seconds": "1.5"}),
    ("trades_lag", {"seconds": "0.3"}),
    ("order_frame_drop", {"probability": "0.05"}),
    ("order_frame_duplicate", {"probability": "0.1"}),
    ("order_frame_reorder", {"probability": "0.1", "seconds": "0.5"}),
    ("hang_up", {"endpoint": "order_stream", "probability": "0.002"}),
    ("expire", {"endpoint": "working", "probability": "0.005", "code": "EXCHANGE_CANCELED"}),
    ("reject_pending", {"probability": "0.005"}),
)


async def run(root: Path, *, lists: int, users: int, seconds: float, seed: int = 1) -> Verdict:
    """One run; the counts and the differences, which must be none."""
    # Spot's weight of one address, which the service keeps to, lets few users place often.
    traders = [Trader(f"u{n}", SPOT if n % 5 == 0 else ALPHA) for n in range(1, users + 1)]
    began = time.monotonic()
    with Pair(root) as pair:
        async with Crowd(pair, traders, seed) as crowd:
            await crowd.enlist()
            await crowd.ready(60)
            _switch_on(pair)
            started = time.monotonic()
            await crowd.trade(lists, seconds)
            traded = time.monotonic() - started
            bans = await crowd.bans()
            rules = pair.heal()
            verdict = await settle(pair, crowd)
        pair.orders.end()
        final = audit.compare(audit.read(pair))
    figures: dict[str, int] = {name: crowd.counts[name] for name in ("placed", "refused", "cancels")}
    asked = sum(rule["struck"] for rule in rules if rule["kind"] == "ban")
    figures |= {"requests repeated": crowd.counts["repeated"], "bans": bans, "refused by the ban": asked}
    figures |= final.figures | {"faults struck": sum(rule["struck"] for rule in rules)}
    figures |= {"seconds of trading": round(traded), "seconds": round(time.monotonic() - began)}
    figures |= {f"denied: {reason}": count for reason, count in crowd.denials.most_common(6)}
    return Verdict(figures, verdict.differences + final.differences)


def not_shown(verdict: Verdict, lists: int) -> list[str]:
    """What of the claim this run does not show, in words: so many lists, one ban, no doubt, no difference."""
    figures, found = verdict.figures, list(verdict.differences)
    if figures["accepted by the exchange"] < lists:
        found.append(f"the exchange accepted {figures['accepted by the exchange']} lists, not {lists}")
    if not figures["bans"] or not figures["refused by the ban"]:
        found.append("the ban did not strike")
    if figures["still in doubt"]:
        found.append(f"{figures['still in doubt']} orders are still in doubt")
    return found


def _switch_on(pair: Pair) -> None:
    for kind, rule in FAULTS:
        pair.fault(kind, **rule)
    pair.fault("ban", venue="spot", status=429, after_seconds="2", lasts_seconds="5")


async def settle(pair: Pair, crowd: Crowd, seconds: float = SETTLE_SECONDS) -> Verdict:
    """Stop buying, let the market stand still, and wait until all books agree; the last verdict."""
    deadline = time.monotonic() + seconds
    await crowd.cancel_what_buys()
    while audit.open_buys(audit.read(pair)) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        await crowd.cancel_what_buys()
    await asyncio.to_thread(pair.control, "POST", "freeze", {})
    while True:
        books = await asyncio.to_thread(audit.read, pair)
        verdict = audit.compare(books)
        if not (verdict.differences or verdict.figures["still in doubt"]) or time.monotonic() > deadline:
            return verdict
        await asyncio.sleep(1)


def show(verdict: Verdict, wrong: list[str]) -> None:
    """The table, and what is wrong in words."""
    width = max(map(len, verdict.figures))
    for name, value in verdict.figures.items():
        print(f"{name:<{width}}  {value:>8}")
    for words in wrong[:50]:
        print(words)


def main() -> int:
    """0 when nothing differs or is in doubt, the ban struck, and the exchange accepted so many lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lists", type=int, default=10_000, help="to be accepted by the exchange")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1_200, help="trade no longer than this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a directory for the world and the logs")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        root = chosen.keep or Path(made)
        verdict = asyncio.run(
            run(root, lists=chosen.lists, users=chosen.users, seconds=chosen.seconds, seed=chosen.seed)
        )
    wrong = not_shown(verdict, chosen.lists)
    show(verdict, wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
