"""A whole Otopilot in real processes, driven by its own command, and audited from outside.

Own ports and data directory per desk; everything it starts is ended with it. The audit compares the
paper exchange's books with the journal's file, and trusts neither service's word.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from otopilot.order import Order

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("market_service", "order_service", "strategy_service")

CONFIG = """\
strategies:
  - strategy_id: koge
    target_token: KOGE
    target_chain: BSC
    target_volume: {target}
    single_trade_amount_usdt: 30
    trade_interval_seconds: 1
    user_ids: [{users}]
"""


@dataclass
class Desk:
    """One world on disk with ports of its own."""

    root: Path
    ports: dict[str, int]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def data_dir(self) -> Path:
        """Where the world is."""
        return self.root / "world"

    @property
    def env(self) -> dict[str, str]:
        """Settings by environment; in doubt is settled fast, so that a test is short."""
        return {
            **os.environ,
            "OTOPILOT_DATA_DIR": str(self.data_dir),
            "OTOPILOT_PAPER__URL": f"http://127.0.0.1:{self.ports['paper']}",
            "OTOPILOT_MARKET__PORT": str(self.ports["market"]),
            "OTOPILOT_ORDER__PORT": str(self.ports["order"]),
            "OTOPILOT_STRATEGY__PORT": str(self.ports["strategy"]),
            "OTOPILOT_ORDER__ALPHA_ABSENCE_SECONDS": "2",
            "OTOPILOT_ORDER__ALPHA_READ_GAP_SECONDS": "1",
            "OTOPILOT_ORDER__ABSENCE_HOLD_SECONDS": "5",
        }

    def config(self, target: int, users: str = "1, 2, 3") -> Path:
        """A trading configuration of three users by default."""
        path = self.root / "trading.yaml"
        path.write_text(CONFIG.format(target=target, users=users), encoding="utf-8")
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`otopilot ...` in the background."""
        process = subprocess.Popen(
            [sys.executable, "-m", "strategy_service.cli", *arguments],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def otopilot(self, *arguments: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
        """`otopilot ...` to its end, its two outputs apart."""
        return subprocess.run(
            [sys.executable, "-m", "strategy_service.cli", *arguments],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def children(self, run: subprocess.Popen[str]) -> dict[str, int]:
        """Process ids of a run's children, by module."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                words = (stat.parent / "cmdline").read_bytes().split(b"\0")
            except (OSError, IndexError, ValueError):
                continue
            if parent == run.pid and b"-m" in words:
                found[words[words.index(b"-m") + 1].decode()] = int(stat.parent.name)
        return found

    def kill(self, run: subprocess.Popen[str], module: str) -> None:
        """kill -9 one child of a run."""
        os.kill(self.children(run)[module], signal.SIGKILL)

    def volume(self) -> Decimal:
        """Counted volume by `otopilot status`; zero while it cannot be had."""
        status = self.otopilot("status", "koge", "-o", "json")
        return Decimal(json.loads(status.stdout)["total_volume"]) if status.returncode == 0 else Decimal(0)

    def wait(self, what: Callable[[], bool], seconds: float, words: str) -> None:
        """Until it is so; fails with the words when it never is."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"not within {seconds} s: {words}"
            time.sleep(0.1)

    def end(self) -> None:
        """End whatever this desk started; children follow their parents by the closed pipe."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def control(self, path: str) -> Any:
        """GET from the paper exchange's control API."""
        url = f"http://127.0.0.1:{self.ports['paper']}/control/{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """The paper exchange alone on this world, its matching standing still as it was left."""
        arguments = ["--data-dir", str(self.data_dir / "exchange"), "--port", str(self.ports["paper"])]
        process = subprocess.Popen(
            [sys.executable, "-m", "paper_exchange", "--config", "config/paper.yaml", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert "ready" in process.stdout.readline()
            yield
        finally:
            process.terminate()
            process.communicate(timeout=10)

    def journal(self) -> list[Order]:
        """Every order of the journal's file."""
        connection = sqlite3.connect(f"file:{self.data_dir / 'order.db'}?mode=ro", uri=True)
        try:
            rows = connection.execute("SELECT body FROM orders ORDER BY number").fetchall()
        finally:
            connection.close()
        return [msgspec.json.decode(body, type=Order) for (body,) in rows]


def audit(desk: Desk, users: tuple[str, ...] = ("1", "2", "3")) -> Counter[str]:
    """No order placed twice, none forgotten, no managed users' trade, volume to the last digit.

    Returns the journal's orders by state. Call it inside `with desk.exchange()`.
    """
    journal = desk.journal()
    ours = {leg.venue_order_id: order for order in journal for leg in order.legs if leg.venue_order_id}
    legs = [leg.venue_order_id for order in journal for leg in order.legs if leg.venue_order_id]
    assert len(legs) == len(set(legs)), "two orders of the journal claim one order of the exchange"
    books = [row for user in users for row in desk.control(f"orders?user_id={user}&venue=alpha")["orders"]]
    theirs = {str(row["order_id"]) for row in books}
    assert theirs == set(ours), "the exchange's orders and the journal's are not the same"
    requests = Counter(order.request_id for order in journal)
    assert max(requests.values(), default=0) <= 1, "a request made two orders"
    report = desk.control("report")
    assert report["self_matches"] == 0
    bought = sum(
        (leg.filled_quote for order in journal for leg in order.legs if leg.side == "buy"), Decimal(0)
    )
    told = sum((Decimal(row["sides"]["BUY"]["quote"]) for row in report["users"]), Decimal(0))
    assert bought == told, f"the journal counts {bought} bought, the exchange {told}"
    return Counter(order.state for order in journal)
