"""Where a run keeps its world: var/paper, var/demo-<n>, and how a new one begins.

A world is a data directory: exchange, journal, keys, run table, logs. Nothing is ever deleted.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from strategy_service.cli.errors import CliError, Exit

DEMO_CONFIG = Path("config/examples/demo.yaml")
FINISHED = "finished"
_DEMO = re.compile(r"demo-([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class World:
    """One data directory, and whether its end is to be written down."""

    data_dir: Path
    demo: bool = False

    def finish(self) -> None:
        """A finished demo is not continued: the next one starts a new world."""
        if self.demo:
            (self.data_dir / FINISHED).write_text(f"{datetime.now(UTC).isoformat()}\n", encoding="utf-8")


def demo(root: Path) -> World:
    """The newest demo that was not finished, else a new one beside it."""
    numbers = []
    if root.is_dir():
        numbers = [int(found[1]) for path in root.iterdir() if (found := _DEMO.fullmatch(path.name))]
    newest = max(numbers, default=0)
    if newest == 0 or (root / f"demo-{newest}" / FINISHED).exists():
        newest += 1
    return World(root / f"demo-{newest}", demo=True)


def fresh(data_dir: Path) -> World:
    """A new world in the same place; the old one is kept under another name."""
    if data_dir.exists():
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        old = data_dir.with_name(f"{data_dir.name}-old-{stamp}")
        if old.exists():
            raise CliError(Exit.FAILED, f"{old} is there already", "wait a second and try again")
        try:
            data_dir.rename(old)
        except OSError as error:
            raise CliError(Exit.FAILED, f"cannot move {data_dir} to {old}: {error.strerror}") from None
    return World(data_dir)
