"""Where tests write: in memory where there is room, so that a journal's sync waits for no disk."""

import os
import shutil
from pathlib import Path

_ROOM = 2 << 30  # bytes; an order service places nothing with less than one of these free


def in_memory() -> Path | None:
    """A directory that is memory and has room; None where the system's own choice is to serve."""
    shm = Path("/dev/shm")
    return shm if os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > _ROOM else None
