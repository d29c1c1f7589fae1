"""The journal's file as a file: its lock, its opening, its check, and the room beside it.

A file that cannot be trusted is never opened for writing, and what to do then is said in words
(reliability 37 to 41).
"""

import fcntl
import os
import sqlite3
from pathlib import Path

from order_service import check, write_ahead
from order_service.records import SCHEMA_VERSION
from otopilot.rpc import RefuseStart

LEAST_FREE_BYTES = 1 << 30  # with less than this nothing is placed (reliability 38)
BUSY_SECONDS = 2.0  # within what a placement may wait for its transaction (architecture 5.2)
RESTORE = "restore it from a backup as docs/restore.md tells (`otopilot db check` says more)"


class Lock:
    """Held as long as the journal is open: a second process is refused.

    The lock file keeps the newest instance epoch, so that a journal that has vanished is not taken for
    a new one and a restored copy never mints an epoch again that is spent.
    """

    def __init__(self, path: Path) -> None:
        """Raises RefuseStart."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path.with_name(path.name + ".lock"), "a+b")  # noqa: SIM115 - held while it lives
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            message = f"{path} is in use by another order service or `otopilot db upgrade`: stop that first"
            raise RefuseStart(message) from error

    def epoch(self) -> int:
        """The newest instance epoch that was minted on this journal, as far as known."""
        self._file.seek(0)
        text = self._file.read(32).strip()
        return int(text) if text.isdigit() else 0

    def note_epoch(self, epoch: int) -> None:
        """Remember it; the journal's own word is what counts."""
        self._file.truncate(0)
        self._file.write(str(epoch).encode())
        self._file.flush()

    def release(self) -> None:
        """Let others open the journal."""
        self._file.close()


def open_for_writing(path: Path, lock: Lock) -> sqlite3.Connection:
    """The writing connection to a journal that was found sound, or made. Raises RefuseStart."""
    refuse_damaged_log(path)
    # The write-ahead files take their mode from this one: nobody else may read them.
    path.touch(mode=0o600)
    connection = connect(path)
    try:
        _check_or_make(connection, path, lock)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except check.UNREADABLE as error:
        connection.close()
        raise RefuseStart(f"{path} is not a usable journal ({error}): {RESTORE}") from error
    except RefuseStart:
        connection.close()
        raise
    return connection


def refuse_damaged_log(path: Path) -> None:
    """Under the lock and before SQLite has the file. Raises RefuseStart."""
    if wrong := write_ahead.damage(path):
        raise RefuseStart(f"{path} is damaged ({wrong}): {RESTORE}")


def _check_or_make(connection: sqlite3.Connection, path: Path, lock: Lock) -> None:
    try:
        if not check.is_empty(connection):
            check.verify(connection)
            return
    except check.Damaged as damage:
        raise RefuseStart(f"{path} is damaged ({damage}): {RESTORE}") from damage
    except check.OtherSchema as other:
        raise RefuseStart(f"{path}: {other}; {way_out(other)}") from other
    if lock.epoch():
        raise RefuseStart(
            f"{path} is empty, and yet a journal was here (instance {lock.epoch()}): {RESTORE}; "
            f"to begin a new one on purpose remove {path}.lock"
        )
    from order_service import schema  # SQLAlchemy: only a new journal needs it

    connection.execute("PRAGMA journal_mode=WAL")
    schema.create(connection)


def way_out(other: check.OtherSchema) -> str:
    """What a person does about a journal of another version."""
    if other.version < SCHEMA_VERSION:
        return "run `otopilot db upgrade`"
    return "it was made by a newer program: run that one"


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection that begins transactions only when told to."""
    target = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    return sqlite3.connect(
        target, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
    )


def free_bytes(path: Path) -> int:
    """Room on the journal's disk for this process."""
    room = os.statvfs(path.parent)
    return room.f_bavail * room.f_frsize
