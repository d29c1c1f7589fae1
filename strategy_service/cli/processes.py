"""The children of `otopilot run`: started, watched, restarted, ended (architecture 2).

Each child has its own session, so Ctrl+C reaches only the parent, and its standard input is a
pipe from the parent: when the parent goes, whatever the reason, the child reads EOF and exits.
One that exits 4 refused to start and is not restarted; any other end is followed by a restart
with backoff. The owner calls poll() often; nothing here runs by itself.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from strategy_service.cli.errors import CliError, Exit

REFUSED_TO_START = 4
BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
CALM_SECONDS = 20.0  # a child that lived this long starts its backoff anew
END_SECONDS = 5.0
MAX_LOG_BYTES = 20 * 1024 * 1024
TAIL_BYTES = 16 * 1024
TAIL_LINES = 12


@dataclass(frozen=True)
class Program:
    """What a child runs, and where its output goes."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path


@dataclass
class Child:
    """One program and its process at the moment."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    log_start: int = 0
    deaths: int = 0  # in a row, each soon after its start
    restarts: int = 0
    next_start_at: float = field(default=0.0)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return None if self.process is None else self.process.pid


class Children:
    """Owns the processes. Use it as a context manager: leaving it ends them all."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._children: dict[str, Child] = {}

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def __getitem__(self, name: str) -> Child:
        return self._children[name]

    def start(self, program: Program) -> Child:
        """Start a program and look after it from now on."""
        child = Child(program)
        self._children[program.name] = child
        self._spawn(child)
        return child

    def poll(self) -> None:
        """Notice the dead and restart them. Raises CliError (exit 4) for one that refused to start."""
        now = self._clock()
        for child in self._children.values():
            if child.process is None:
                if now >= child.next_start_at:
                    child.restarts += 1
                    self._spawn(child)
                continue
            code = child.process.poll()
            if code is not None:
                self._bury(child, code, now)

    def end(self) -> None:
        """Ask all to end, last started first; kill what does not. Bounded; safe to call twice."""
        for child in reversed(self._children.values()):
            self._end_one(child)
        self._children.clear()

    def tail(self, name: str) -> str:
        """What the child said last since its start, the part for people if there is one."""
        child = self._children[name]
        try:
            with child.program.log.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(child.log_start, log.tell() - TAIL_BYTES))
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        plain: list[str] = []
        for line in reversed(lines):
            if line.startswith("{"):  # a log record; a refusal's own words come last and plain
                break
            plain.insert(0, line)
        return "\n".join((plain or lines)[-TAIL_LINES:])

    def _spawn(self, child: Child) -> None:
        program = child.program
        with _open_log(program.log) as log:
            child.log_start = log.tell()
            child.process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
                list(program.argv),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(program.env),
                start_new_session=True,
            )
        child.started_at = self._clock()

    def _bury(self, child: Child, code: int, now: float) -> None:
        name = child.program.name
        _close_pipe(child)
        child.process = None
        if code == REFUSED_TO_START:
            words = self.tail(name) or f"{name} refused to start"
            raise CliError(Exit.CONFIG, words, f"its log: {child.program.log}")
        calm = now - child.started_at >= CALM_SECONDS
        child.deaths = 1 if calm else child.deaths + 1
        wait = BACKOFF_SECONDS[min(child.deaths, len(BACKOFF_SECONDS)) - 1]
        child.next_start_at = now + wait
        self._say(f"{name} ended ({_how(code)}): restarting in {wait} s; its log: {child.program.log}")

    def _end_one(self, child: Child) -> None:
        process = child.process
        if process is None:
            return
        child.process = None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END_SECONDS)
        if process.stdin is not None:
            process.stdin.close()


def _close_pipe(child: Child) -> None:
    if child.process is not None and child.process.stdin is not None:
        child.process.stdin.close()


def _open_log(path: Path) -> BinaryIO:
    """Append; a log that grew large makes room by one older file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    log = path.open("ab")
    log.seek(0, os.SEEK_END)
    return log


def _how(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
