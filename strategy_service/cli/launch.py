"""What `run` starts: the four programs of one world, and whether their ports are free."""

import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from otopilot.settings import Endpoint, Settings
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.paper import Control
from strategy_service.cli.processes import Program

PORT_PATIENCE_SECONDS = 2.0  # children of a run that was just killed are still leaving
PORT_STEP_SECONDS = 0.1
PAPER_EXCHANGE = "paper-exchange"


def endpoints(settings: Settings) -> dict[str, Endpoint]:
    """The services in the order they are started."""
    return {
        "market-service": settings.market,
        "order-service": settings.order,
        "strategy-service": settings.strategy,
    }


def paper_exchange(settings: Settings, data_dir: Path, trading_path: str) -> Program:
    """The exchange of paper mode, its world in the data directory."""
    arguments = [
        *("--config", str(settings.paper.config)),
        *("--data-dir", str(data_dir / "exchange")),
        *("--port", str(Control(settings.paper.url).port)),
    ]
    return _program(PAPER_EXCHANGE, arguments, data_dir, trading_path)


def service(name: str, settings: Settings, data_dir: Path, trading_path: str) -> Program:
    """One of the three services."""
    return _program(name, ["--live"] if settings.mode == "live" else [], data_dir, trading_path)


def _program(name: str, arguments: Sequence[str], data_dir: Path, trading_path: str) -> Program:
    return Program(
        name,
        [sys.executable, "-m", name.replace("-", "_"), *arguments, "--exit-with-parent"],
        {**os.environ, "OTOPILOT_DATA_DIR": str(data_dir), "OTOPILOT_STRATEGY__CONFIG": trading_path},
        log_of(name, data_dir),
    )


def log_of(name: str, data_dir: Path) -> Path:
    """Where a program's output goes."""
    return data_dir / "logs" / f"{name}.log"


def check_ports(settings: Settings) -> None:
    """Refuse before anything starts when a port is taken. Raises CliError."""
    wanted: list[tuple[str, str, int, str]] = []
    if settings.mode == "paper":
        control = Control(settings.paper.url)
        wanted.append((PAPER_EXCHANGE, control.host, control.port, "paper.url"))
    for name, each in endpoints(settings).items():
        wanted.append((name, each.host, each.port, f"{name.removesuffix('-service')}.port"))
    deadline = time.monotonic() + PORT_PATIENCE_SECONDS
    for name, host, port, key in wanted:
        while not is_free(host, port):
            if time.monotonic() > deadline:
                raise CliError(
                    Exit.CONFIG,
                    f"port {port} on {host}, which {name} needs, is in use",
                    f"is another `otopilot run` up? Stop it, or choose another {key} in config/services.yaml"
                    f" (or {_variable(key)} in the environment)",
                )
            time.sleep(PORT_STEP_SECONDS)


def _variable(key: str) -> str:
    return "OTOPILOT_" + key.upper().replace(".", "__")


def is_free(host: str, port: int) -> bool:
    """Could a service listen there?"""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True
