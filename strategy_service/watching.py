"""Watching the configuration file, for who asked for it (`strategy.watch_config`).

A file that changed is read once it has stood still for a moment: editors write in parts. A bad
one changes nothing and is not read again before it changes again (product section 2).
"""

from collections.abc import Callable
from pathlib import Path

from otopilot.clock import Clock

SECONDS = 0.5

Seen = tuple[int, int, int] | None


async def watch(path: Path, clock: Clock, changed: Callable[[], None]) -> None:
    """For ever: call back whenever the file is another one than it was."""
    known = last = _look(path)
    while True:
        await clock.sleep(SECONDS)
        now = _look(path)
        if now != known and now == last and now is not None:
            known = now
            changed()
        last = now


def _look(path: Path) -> Seen:
    """What tells one version of the file from another; none while there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
