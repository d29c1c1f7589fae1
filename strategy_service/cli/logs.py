"""`otopilot logs`: what the services said, from the files of the data directory, newest last.

Reads files only, so it works when nothing runs. A line is a JSON object (otopilot/log.py); what is
none is a refusal's or a crash's own words and is passed through.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from strategy_service.cli import clients
from strategy_service.cli.errors import CliError, Exit
from strategy_service.cli.output import Format, Output, print_json, say

app = typer.Typer(add_completion=False)

FOLLOW_SECONDS = 0.3
MAX_TAIL_BYTES = 8 * 1024 * 1024  # of each file: what came before is older than anybody asks for here
MAX_LINE_BYTES = 1024 * 1024
_FIRST = ("timestamp", "level", "service", "event", "component")


class Level(IntEnum):
    """As structlog names them."""

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ERROR = 3
    CRITICAL = 4


LEVELS = {level.name.lower(): level for level in Level}


@dataclass(frozen=True)
class Line:
    """One line of one file."""

    service: str
    text: str
    fields: dict[str, Any]

    @classmethod
    def of(cls, service: str, raw: bytes) -> "Line":
        text = raw.decode("utf-8", "replace").rstrip()
        try:
            fields = json.loads(text) if text.startswith("{") else {}
        except ValueError:
            fields = {}
        return cls(service, text, fields if isinstance(fields, dict) else {})

    @property
    def level(self) -> Level:
        """Words that are no record are worth a person's eye."""
        return LEVELS.get(str(self.fields.get("level", "warning")), Level.INFO)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {"service": self.service} | (self.fields or {"event": self.text})

    def __str__(self) -> str:
        if not self.fields:
            return f"{self.service}: {self.text}"
        told = {key: value for key, value in self.fields.items() if key not in _FIRST}
        more = "  ".join(f"{key}={value}" for key, value in told.items() if key != "exception")
        head = f"{self.fields.get('timestamp', '')}  {self.service:<16}  {self.level.name.lower():<8}"
        trace = self.fields.get("exception")
        return f"{head}  {self.fields.get('event', '')}  {more}".rstrip() + (f"\n{trace}" if trace else "")


@dataclass(frozen=True)
class Wanted:
    """Which lines are shown."""

    level: Level
    user: str

    def __contains__(self, line: object) -> bool:
        assert isinstance(line, Line)
        of_user = not self.user or self.user in (
            str(line.fields.get("user_id", "")),
            str(line.fields.get("user", "")),
        )
        return bool(line.text) and line.level >= self.level and of_user


@app.command()
def logs(
    context: typer.Context,
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="Such as order-service; none: all.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl+C.")] = False,
    level: Annotated[str, typer.Option("--level", help=f"At least: {', '.join(LEVELS)}.")] = "info",
    user: Annotated[str, typer.Option("--user", help="Only lines about this user.")] = "",
    count: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many of the past.")] = 100,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Of another world, such as var/demo-1.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Show what the services said, oldest first; JSON is one record a line when it is followed."""
    if level not in LEVELS:
        raise CliError(Exit.USAGE, f"--level {level} is none of {', '.join(LEVELS)}")
    files = _files(data_dir or clients.of(context).settings.data_dir, service)
    wanted = Wanted(LEVELS[level], user)
    tails = [Tail(path) for path in files]
    past = sorted(
        (line for tail in tails for line in tail.past() if line in wanted),
        key=lambda line: str(line.fields.get("timestamp", "")),
    )
    shown = past[-count:] if count else []
    if output is Format.JSON and not follow:
        print_json([line.data() for line in shown], output)
        return
    for line in shown:
        _print(line, output)
    if not shown and not follow:
        say("no such line")
    while follow:
        for line in (line for tail in tails for line in tail.news() if line in wanted):
            _print(line, output)
        time.sleep(FOLLOW_SECONDS)


def _print(line: Line, output: Format) -> None:
    if output is Format.TABLE:
        print(line, flush=True)
    else:
        print_json(line.data(), Format.JSONL)


def _files(data_dir: Path, service: str) -> list[Path]:
    folder = data_dir / "logs"
    found = sorted(folder.glob("*.log"))
    if not found:
        worlds = sorted(data_dir.parent.glob("*/logs"), key=lambda path: path.stat().st_mtime)
        newest = (
            f"the newest there is: --data-dir {worlds[-1].parent}" if worlds else "`otopilot run` writes them"
        )
        raise CliError(Exit.NOT_FOUND, f"no logs in {folder}", newest)
    if service:
        names = [path.stem for path in found]
        found = [path for path in found if path.stem.replace("_", "-") == service.replace("_", "-")]
        if not found:
            raise CliError(Exit.NOT_FOUND, f"no log of {service} in {folder}", f"there is {', '.join(names)}")
    return found


class Tail:
    """One file as it grows; owns where it was read to. A file that is begun anew is read anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._at = 0
        self._rest = b""

    def past(self) -> Iterator[Line]:
        """What is there, its last megabytes."""
        try:
            stat = self._path.stat()
        except OSError:
            return
        self._inode, self._at = stat.st_ino, max(0, stat.st_size - MAX_TAIL_BYTES)
        cut = self._at > 0
        for line in self.news():
            if not cut:
                yield line
            cut = False  # the first line was cut in two

    def news(self) -> Iterator[Line]:
        """What was added since."""
        try:
            stat = self._path.stat()
            if stat.st_ino != self._inode or stat.st_size < self._at:
                self._inode, self._at, self._rest = stat.st_ino, 0, b""
            with self._path.open("rb") as file:
                file.seek(self._at)
                added = file.read()
        except OSError:
            return  # between two files: the next one comes
        self._at += len(added)
        *whole, self._rest = (self._rest + added).split(b"\n")
        self._rest = self._rest[-MAX_LINE_BYTES:]
        for raw in whole:
            yield Line.of(self._path.stem, raw)
