"""The world on disk: one SQLite file (WAL) of small documents, one owner per data directory.

Everything a commit holds becomes durable together, before any answer or push that tells of it
leaves the process; kill -9 at any moment loses nothing that was told.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID
"""


class StoreError(Exception):
    """The data directory cannot be used; the text says why in one line."""


class Store(Protocol):
    """Where the exchange keeps its world."""

    def load(self, kind: str) -> Iterator[bytes]: ...

    def save(self, documents: dict[tuple[str, str], msgspec.Struct]) -> None: ...

    def close(self) -> None: ...


class MemoryStore:
    """A world that lives as long as the process: for simulations and tests."""

    def __init__(self) -> None:
        self._bodies: dict[tuple[str, str], bytes] = {}

    def load(self, kind: str) -> Iterator[bytes]:
        return iter([body for (saved, _), body in self._bodies.items() if saved == kind])

    def save(self, documents: dict[tuple[str, str], msgspec.Struct]) -> None:
        for key, document in documents.items():
            self._bodies[key] = msgspec.json.encode(document)

    def close(self) -> None:
        """Nothing to give back."""


class SqliteStore:
    """The data directory's file and its lock."""

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise StoreError(f"cannot use data directory {directory}: {error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise StoreError(f"data directory {directory} is in use by another paper exchange") from error
        try:
            self._db = _open(directory / "world.sqlite")
        except sqlite3.Error as error:
            os.close(self._lock)
            raise StoreError(f"cannot open {directory / 'world.sqlite'}: {error}") from error

    def load(self, kind: str) -> Iterator[bytes]:
        rows = self._db.execute("SELECT body FROM documents WHERE kind = ?", (kind,))
        return (body.encode() for (body,) in rows)

    def save(self, documents: dict[tuple[str, str], msgspec.Struct]) -> None:
        rows = [(*key, msgspec.json.encode(document).decode()) for key, document in documents.items()]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        self._db.close()
        os.close(self._lock)


def _open(file: Path) -> sqlite3.Connection:
    db = sqlite3.connect(file)
    # A killed process leaves its writes with the kernel, so NORMAL is enough against kill -9;
    # only a power cut could lose the newest commits of a paper world.
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(SCHEMA)
    (verdict,) = db.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    return db
