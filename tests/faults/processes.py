"""A paper exchange and an order service as real processes over one directory, made to fail and restarted.

Whoever opens a Pair owns both processes: leaving it ends them. Each process exits when the pipe to
its parent closes, so that nothing outlives a test that was killed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import yaml

from otopilot.probe import serving

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
END_SECONDS = 10.0

# In doubt is settled fast, so that a run is short; the order of steps is the same.
SETTINGS = {
    "OTOPILOT_ORDER__ABSENCE_MARGIN_SECONDS": "1",
    "OTOPILOT_ORDER__ALPHA_ABSENCE_SECONDS": "2",
    "OTOPILOT_ORDER__ALPHA_READ_GAP_SECONDS": "1",
    "OTOPILOT_ORDER__ABSENCE_HOLD_SECONDS": "20",
}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def paper_config(path: Path, **instrument: Any) -> Path:
    """The repository's paper exchange with prices that swing fast: both legs fill within seconds.

    The limits on weight are the venue's for one address and one account; here 100 accounts share it.
    """
    raw = yaml.load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    raw["alpha"] |= {"fill_delay_seconds": ["0.02", "0.08"], "default_balances": {"USDT": "1000000"}}
    raw["spot"] |= {
        "default_balances": {"USDT": "1000000"},
        "weight_limit_per_minute": "10000000",
        "order_limit_10s": "10000",
    }
    swing = {"kind": "swing", "amplitude_percent": "1", "period_seconds": "4", "tick_interval_seconds": "0.2"}
    raw["instruments"] = [
        one | {"max_num_orders": "1000", "max_num_order_lists": "1000"} | instrument
        for one in raw["instruments"]
        if one["symbol"] in ("ALPHA_22USDT", "BNBUSDT")
    ]
    for one in raw["instruments"]:
        one["path"] = {"start": one["path"]["start"]} | swing
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


class Process:
    """One child: started, killed, ended; its output in a file."""

    def __init__(self, name: str, arguments: list[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._arguments = arguments
        self._env = env
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, **env: str) -> None:
        """Run it, with these variables more."""
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", self.name, *self._arguments, "--exit-with-parent"],
                cwd=ROOT,
                env={**os.environ, **self._env, **env},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._child is None else self._child.poll()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Its exit code, once it has ended."""
        assert self._child is not None
        code = self._child.wait(seconds)
        self._close_pipe()
        return code

    def kill(self) -> None:
        """kill -9."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self.wait(END_SECONDS)

    def end(self) -> None:
        """Ask it to end; kill it if it does not."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGCONT)
            self._child.terminate()
            try:
                self._child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait(END_SECONDS)
        self._close_pipe()

    def _close_pipe(self) -> None:
        pipe: IO[bytes] | None = self._child.stdin if self._child is not None else None
        if pipe is not None:
            pipe.close()

    def tail(self, size: int = 3000) -> str:
        """The end of what it said."""
        return self._log.read_bytes()[-size:].decode("utf-8", "replace") if self._log.exists() else ""


class Pair(AbstractContextManager["Pair"]):
    """A paper exchange and an order service over it; `orders` may be stopped and started at will."""

    def __init__(
        self,
        root: Path,
        *,
        paper_url: str | None = None,
        sweep_seconds: float = 5,
        config: Path | None = None,
    ) -> None:
        """`paper_url`: what the order service believes the exchange to be (a proxy)."""
        root.mkdir(parents=True, exist_ok=True)
        self.data_dir = root / "world"
        self._paper_port, self._order_port = free_port(), free_port()
        config = config or paper_config(root / "paper.yaml")
        self.url = f"http://127.0.0.1:{self._paper_port}"
        self.env = SETTINGS | {
            "OTOPILOT_DATA_DIR": str(self.data_dir),
            "OTOPILOT_PAPER__URL": paper_url or self.url,
            "OTOPILOT_ORDER__PORT": str(self._order_port),
            "OTOPILOT_ORDER__SWEEP_SECONDS": str(sweep_seconds),
        }
        exchange = ["--config", str(config), "--data-dir", str(root / "exchange")]
        self.paper = Process(
            "paper_exchange", [*exchange, "--port", str(self._paper_port)], {}, root / "exchange.log"
        )
        self.orders = Process("order_service", [], self.env, root / "orders.log")

    def __enter__(self) -> "Pair":
        self.start_paper()
        self.start_orders()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.orders.end()
        self.paper.end()

    @property
    def target(self) -> str:
        """Where the order service's gRPC is."""
        return f"127.0.0.1:{self._order_port}"

    @property
    def journal(self) -> Path:
        return self.data_dir / "order.db"

    def start_paper(self) -> None:
        self.paper.start()
        self._await("the exchange", self.paper, self._paper_answers)

    def start_orders(self, **env: str) -> float:
        """Start the order service; the seconds until it serves."""
        began = time.monotonic()
        self.orders.start(**env)
        self._await("the order service", self.orders, lambda: serving(self.target, 1.0))
        return time.monotonic() - began

    def _paper_answers(self) -> bool:
        try:
            self.control("GET", "world")
        except (URLError, OSError):
            return False
        return True

    def _await(self, what: str, process: Process, ready: Any) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.exit_code is not None or time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come up:\n{process.tail()}")
            time.sleep(0.05)

    # ------------------------------------------------------------------ the exchange's control

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the exchange's control API."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/control/{path}", data=data, method=method)
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def open_account(self, user_id: str, venue: str) -> tuple[str, bytes]:
        """A user's account, made if it is new; kind and secret of its credential."""
        body = {"user_id": user_id, "venue": venue}
        secret = self.control("POST", "accounts", body)["credential"]
        return secret.pop("kind"), json.dumps(secret).encode()

    def fault(self, kind: str, **rule: Any) -> int:
        """Switch a fault on; its id."""
        return int(self.control("POST", "faults", {"kind": kind, **rule})["id"])

    def heal(self) -> list[dict[str, Any]]:
        """Switch all faults off; what they were and how often each struck."""
        found = self.control("GET", "faults")
        self.control("DELETE", "faults")
        rules: list[dict[str, Any]] = found["faults"] + found["ended"]
        return rules
