"""Backup and upgrade of a journal file: `otopilot db backup` and `otopilot db upgrade`.

A backup is a consistent copy that was checked; it may be taken while the service runs. An upgrade
holds the journal's lock, keeps a backup, and is all or nothing.
"""

import os
import sqlite3
from datetime import datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from order_service import check, journal_file, schema
from order_service.check import OtherSchema, Sound
from order_service.records import SCHEMA_VERSION


class Refused(Exception):
    """Nothing was done; the message says why."""


def backup(path: Path, to: Path) -> Sound | None:
    """A checked copy of the journal as it is at this moment; none for one of an older schema.

    Raises Refused, Damaged.
    """
    if to.exists():
        raise Refused(f"{to} is there already: a backup never replaces another")
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(to.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    try:
        _copy(path, partial)
        sound = _checked(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(to)
        _sync_directory(to.parent)
    except (OSError, sqlite3.Error) as error:
        raise Refused(f"no backup was made: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return sound


def _copy(path: Path, to: Path) -> None:
    source = journal_file.connect(path, read_only=True)
    target = journal_file.connect(to)
    try:
        source.backup(target)  # in one step: one snapshot, whatever is written meanwhile
        target.execute("PRAGMA journal_mode=DELETE")  # one file, complete in itself
    finally:
        target.close()
        source.close()


def _checked(path: Path) -> Sound | None:
    connection = journal_file.connect(path, read_only=True)
    try:
        return check.verify(connection)
    except OtherSchema:
        return None  # of an older one no more is known than that its pages are sound
    finally:
        connection.close()


def upgrade(path: Path, now: datetime) -> tuple[int, Path | None]:
    """Bring the journal to the newest schema; returns its old version and the backup that was kept.

    None when there was nothing to do. Raises Refused, Damaged, RefuseStart (in use).
    """
    lock = journal_file.Lock(path)
    try:
        journal_file.refuse_damaged_log(path)
        version = _version(path)
        if version == SCHEMA_VERSION:
            return version, None
        kept = backup_path(path, now, f"before-upgrade-from-{version}")
        backup(path, kept)
        connection = journal_file.connect(path)
        try:
            _run(connection, version)
        except sqlite3.Error as error:
            raise Refused(f"the upgrade failed and changed nothing ({error}); a copy is {kept}") from error
        finally:
            connection.close()
        return version, kept
    finally:
        lock.release()


def _version(path: Path) -> int:
    connection = journal_file.connect(path, read_only=True)
    try:
        if check.is_empty(connection):
            raise Refused(f"{path} is empty: there is nothing to upgrade")
        check.verify(connection)
    except OtherSchema as other:
        if other.version > SCHEMA_VERSION:
            raise Refused(f"{path}: {other}; {journal_file.way_out(other)}") from other
        return other.version
    finally:
        connection.close()
    return SCHEMA_VERSION


def _run(connection: sqlite3.Connection, version: int) -> None:
    """All steps in one transaction, and the result checked before it is kept."""
    connection.execute("PRAGMA synchronous=FULL")
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    with engine.connect() as borrowed:
        # The engine rolls back when it takes a connection and when it lets go of one: this lies between.
        connection.execute("BEGIN EXCLUSIVE")
        try:
            configuration = alembic_config()
            configuration.attributes["connection"] = borrowed
            if version == 1:  # made before there was a table of revisions
                command.stamp(configuration, "0001")
            command.upgrade(configuration, "head")
            schema.note_schema(connection)
            check.check_content(connection)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def alembic_config() -> Config:
    """Where the steps are."""
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    configuration.set_main_option("path_separator", "os")
    return configuration


def backup_path(path: Path, now: datetime, why: str) -> Path:
    """The usual place of a backup."""
    return path.parent / "backups" / f"{path.stem}-{now:%Y%m%dT%H%M%S%fZ}-{why}{path.suffix}"


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
