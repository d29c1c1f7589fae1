"""What `otopilot doctor` looks at on this machine, one function a subject.

Reads files, ports and clocks; changes nothing and shows no secret. Nothing here needs a service
that runs; checks_of_services.py asks those.
"""

import os
import shutil
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import grpc

from otopilot.instrument import Venue
from otopilot.settings import Settings
from protos import strategy_pb2_grpc
from strategy_service.cli import launch
from strategy_service.cli.errors import CliError
from strategy_service.cli.paper import Control
from strategy_service.config import ConfigError, TradingConfig
from strategy_service.config.problems import did_you_mean

PREFLIGHT_BYTES = 1 << 30  # reliability 38
SPOT_TIME = ("api.binance.com", "/api/v3/time")
SECONDS = 3.0
_NO_SETTINGS = ("OTOPILOT_SETTINGS", "OTOPILOT_FAILPOINTS", "OTOPILOT_TESTNET_")  # read elsewhere
_SECRET_FILES = ("keys/master.key", "order.db")


class Verdict(StrEnum):
    """How a check came out; `error` alone makes doctor exit with 1."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


class Finding(NamedTuple):
    """One line of the report."""

    check: str
    verdict: Verdict
    detail: str
    what_to_do: str = ""


def ok(check: str, detail: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Verdict.OK, detail)


def versions() -> Iterator[Finding]:
    """Interpreter, distribution, and whether the generated code fits the gRPC that is installed."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield ok("version", f"otopilot {metadata.version('otopilot')}, Python {python}, grpc {grpc.__version__}")
    generated = getattr(strategy_pb2_grpc, "GRPC_GENERATED_VERSION", grpc.__version__)
    if generated != grpc.__version__:
        detail = f"the generated code is for grpc {generated}, installed is {grpc.__version__}"
        yield Finding("version", Verdict.ERROR, detail, "run `make clean setup`")


def mode(settings: Settings) -> Iterator[Finding]:
    """Paper or live."""
    if settings.mode == "live":
        yield Finding("mode", Verdict.WARNING, "LIVE: orders are real", "start with `otopilot run --live`")
    else:
        yield ok("mode", f"paper, by {settings.paper.url}")


def environment() -> Iterator[Finding]:
    """Variables that look like settings and set nothing: OTOPILOT_ORDER_PORT has one underscore too few."""
    known = Settings.variables()
    for name in sorted(os.environ):
        if name.startswith("OTOPILOT_") and name not in known and not name.startswith(_NO_SETTINGS):
            detail = f"{name} sets nothing{did_you_mean(name, known)}"
            yield Finding("environment", Verdict.WARNING, detail, f"correct or unset {name}")


def alpha_terms(settings: Settings, trading: TradingConfig | None) -> Iterator[Finding]:
    """Binance's rules about Alpha, for whoever trades there."""
    if trading is not None and not any(each.venue is Venue.ALPHA for each in trading.enabled()):
        return
    detail = (
        "Binance's published rules forbid automated trading for Alpha Points;"
        " it can cost points, rewards and the account"
    )
    if settings.mode == "paper":
        yield Finding("alpha terms", Verdict.NOTE, detail, "nothing on paper; read them before going live")
    elif settings.alpha_terms_acknowledged:
        yield Finding(
            "alpha terms", Verdict.WARNING, detail, "alpha_terms_acknowledged is set: your decision"
        )
    else:
        hint = "read them; only then set alpha_terms_acknowledged: true in config/services.yaml"
        yield Finding("alpha terms", Verdict.ERROR, f"{detail}; not acknowledged", hint)


def trading_config(loaded: TradingConfig | ConfigError) -> Iterator[Finding]:
    """Does the trading configuration load, and what does it warn of?"""
    if isinstance(loaded, ConfigError):
        for problem in loaded.problems:
            yield Finding(
                "configuration", Verdict.ERROR, str(problem), "`otopilot config validate` shows all"
            )
        return
    enabled = len(loaded.enabled())
    yield ok("configuration", f"{loaded.path}, {enabled} enabled, revision {loaded.revision}")
    for notice in loaded.notices:
        yield Finding("configuration", Verdict.NOTE, notice)


def files(settings: Settings) -> Iterator[Finding]:
    """The data directory, who may read what is secret in it, and room on the disk."""
    place = settings.data_dir
    if not place.exists():
        yield Finding("data directory", Verdict.NOTE, f"{place} is not there yet", "`otopilot run` makes it")
    elif not os.access(place, os.W_OK | os.X_OK):
        hint = "give its owner the right to write, or choose another data_dir"
        yield Finding("data directory", Verdict.ERROR, f"{place} cannot be written", hint)
    else:
        yield ok("data directory", str(place))
    for name in _SECRET_FILES:
        if (place / name).exists():
            yield _private(place / name)
    yield _room(place)


def _private(path: Path) -> Finding:
    found = path.stat()
    check, bits = f"permissions of {path.name}", stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid():
        hint = "run otopilot as the owner of its data directory"
        return Finding(check, Verdict.ERROR, f"{path} belongs to user {found.st_uid}, not to you", hint)
    if bits & 0o077 == 0:
        return ok(check, f"{bits:04o}, its owner only")
    key = path.name == "master.key"
    verdict = Verdict.ERROR if key else Verdict.WARNING
    hint = f"chmod 600 {path}" + (
        "; whoever could read it may have the credentials: rotate them" if key else ""
    )
    return Finding(check, verdict, f"{bits:04o}: others may read it", hint)


def _room(place: Path) -> Finding:
    there = next(each for each in (place.absolute(), *place.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free
    detail = f"{free / PREFLIGHT_BYTES:.1f} GiB free at {there}"
    if free >= PREFLIGHT_BYTES:
        return ok("disk space", detail)
    return Finding("disk space", Verdict.WARNING, detail, "make room: without it nothing new is placed")


def ports(settings: Settings, serving: Iterable[str]) -> Iterator[Finding]:
    """Ports of what does not run: free, or taken by somebody else."""
    wanted = {name: (each.host, each.port) for name, each in launch.endpoints(settings).items()}
    if settings.mode == "paper":
        control = Control(settings.paper.url)
        wanted[launch.PAPER_EXCHANGE] = (control.host, control.port)
    for name, (host, port) in wanted.items():
        if name in set(serving):
            continue
        if launch.is_free(host, port):
            yield Finding(name, Verdict.NOTE, f"not up; port {port} is free", "`otopilot run` starts it")
        else:
            hint = "stop that program, or choose another port in config/services.yaml"
            yield Finding(name, Verdict.ERROR, f"something else listens on {host}:{port}", hint)


def clock(settings: Settings) -> Iterator[Finding]:
    """This machine's clock against the venue's."""
    try:
        offset_ms, uncertain_ms = _offset(settings)
    except (OSError, ValueError, KeyError, CliError):
        hint = "start it" if settings.mode == "paper" else "check the connection to the venue"
        yield Finding("clock", Verdict.NOTE, "the venue's clock could not be read", hint)
        return
    detail = f"{offset_ms:+d} ms from the venue's, read within {uncertain_ms} ms"
    if abs(offset_ms) - uncertain_ms > settings.order.recv_window_ms / 2:
        yield Finding("clock", Verdict.WARNING, detail, "synchronise this machine's clock (NTP)")
    else:
        yield ok("clock", detail)


def _offset(settings: Settings) -> tuple[int, int]:
    """Their clock less ours and how far that may be off, in milliseconds."""
    before = time.time_ns()
    paper = settings.mode == "paper"
    theirs = int(Control(settings.paper.url).world()["now"]) if paper else _venue_time()
    after = time.time_ns()
    middle = (before + after) // 2_000_000
    return theirs - middle, (after - before) // 2_000_000


def _venue_time() -> int:
    import http.client
    import json

    host, path = SPOT_TIME
    connection = http.client.HTTPSConnection(host, timeout=SECONDS)
    try:
        connection.request("GET", path)
        return int(json.loads(connection.getresponse().read(10_000))["serverTime"])
    finally:
        connection.close()
