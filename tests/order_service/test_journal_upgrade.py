"""Old journals: refused at start, upgraded all or nothing; backups that can be started on."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from order_service import check, db, journal_file, records, schema, upgrade
from order_service.books import Books
from order_service.store import SqliteStore
from otopilot.order import LegStatus, OrderState
from otopilot.position import UserState
from otopilot.rpc import RefuseStart
from tests.order_service.desk import Desk, alpha_venue, picture, spot_venue
from tests.virtual_loop import run, virtual

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

# The schema of the first version, as that program wrote it.
SCHEMA_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE orders (
    order_id TEXT PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, request_hash TEXT NOT NULL,
    user_id TEXT NOT NULL, venue TEXT NOT NULL, symbol TEXT NOT NULL, strategy_id TEXT NOT NULL,
    cycle INTEGER NOT NULL, state TEXT NOT NULL, live INTEGER NOT NULL, held_until TEXT,
    updated_ms INTEGER NOT NULL, version INTEGER NOT NULL, number INTEGER NOT NULL UNIQUE,
    body BLOB NOT NULL);
CREATE INDEX orders_live ON orders (live) WHERE live = 1;
CREATE INDEX orders_updated ON orders (updated_ms);
CREATE INDEX orders_cycle ON orders (strategy_id, user_id, venue, symbol, cycle);
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY, order_id TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX events_order ON events (order_id, sequence);
CREATE TABLE legs (
    venue TEXT NOT NULL, user_id TEXT NOT NULL, venue_order_id TEXT NOT NULL, order_id TEXT NOT NULL,
    role TEXT NOT NULL, PRIMARY KEY (venue, user_id, venue_order_id)) WITHOUT ROWID;
CREATE TABLE trades (
    venue TEXT NOT NULL, user_id TEXT NOT NULL, symbol TEXT NOT NULL, trade_key TEXT NOT NULL,
    order_id TEXT, side TEXT NOT NULL, price TEXT NOT NULL, quantity TEXT NOT NULL, quote TEXT NOT NULL,
    fee TEXT NOT NULL, fee_asset TEXT NOT NULL, fee_value TEXT, traded_at_ms INTEGER NOT NULL,
    venue_order_id TEXT NOT NULL, PRIMARY KEY (venue, user_id, symbol, trade_key)) WITHOUT ROWID;
CREATE INDEX trades_time ON trades (venue, user_id, symbol, traded_at_ms);
CREATE TABLE totals (
    venue TEXT NOT NULL, user_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
    day TEXT NOT NULL, quantity TEXT NOT NULL, quote TEXT NOT NULL,
    PRIMARY KEY (venue, user_id, symbol, side, day)) WITHOUT ROWID;
CREATE TABLE scopes (scope_id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE users (
    user_id TEXT NOT NULL, venue TEXT NOT NULL, kind TEXT NOT NULL, sealed BLOB NOT NULL,
    stored_at TEXT NOT NULL, stopped_code TEXT NOT NULL DEFAULT '', stopped_reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (user_id, venue));
CREATE TABLE cursors (
    venue TEXT NOT NULL, user_id TEXT NOT NULL, symbol TEXT NOT NULL, covered_since_ms INTEGER NOT NULL,
    next_from_ms INTEGER NOT NULL, PRIMARY KEY (venue, user_id, symbol)) WITHOUT ROWID;
"""


async def some_days_work(desk: Desk) -> None:
    """One order filled on both sides, one on the book, one foreign trade."""
    await desk.add("1", "2")
    first = await desk.place()
    account = desk.account()
    account.fill(account.row(first))
    await desk.sleep(5)
    await desk.place("2", price=desk.ask().price)
    await desk.sleep(30)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of today."""
    path = tmp_path_factory.mktemp("lived_in") / "order.db"

    async def story() -> None:
        async with Desk(path, alpha_venue()) as desk:
            await some_days_work(desk)

    run(story())
    return path


def as_version_1(today: Path, path: Path) -> None:
    """The same journal as the first version would have kept it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(SCHEMA_1)
    connection.execute("ATTACH ? AS today", (str(today),))
    for table, columns in records.COLUMNS.items():
        names = ", ".join(columns)
        kept = "WHERE key != 'schema'" if table == "meta" else ""
        connection.execute(f"INSERT INTO main.{table} SELECT {names} FROM today.{table} {kept}")
    connection.execute("PRAGMA main.user_version=1")
    connection.commit()
    connection.close()


def as_version_2(today: Path, path: Path) -> None:
    """The same journal as the second version would have kept it: with other indexes."""
    upgrade.backup(today, path)
    connection = sqlite3.connect(path)
    connection.executescript("""
        DROP INDEX orders_user;
        DROP INDEX orders_updated;
        CREATE INDEX orders_updated ON orders (updated_ms);
        CREATE INDEX events_order ON events (order_id, sequence);
        UPDATE alembic_version SET version_num = '0002';
        PRAGMA user_version=2;
    """)
    schema.note_schema(connection)
    connection.commit()
    connection.close()


def rows(path: Path) -> dict[str, list[Any]]:
    connection = sqlite3.connect(path)
    found = {}
    for table, columns in records.COLUMNS.items():
        kept = "WHERE key NOT IN ('schema', 'instance_epoch')" if table == "meta" else ""
        order = ", ".join(columns[:4])
        sql = f"SELECT {', '.join(columns)} FROM {table} {kept} ORDER BY {order}"
        found[table] = connection.execute(sql).fetchall()
    connection.close()
    return found


@pytest.mark.parametrize(("version", "as_old"), [(1, as_version_1), (2, as_version_2)])
def test_an_old_journal_is_refused_at_start_and_goes_on_after_the_upgrade(
    tmp_path: Path,
    lived_in: Path,
    capsys: pytest.CaptureFixture[str],
    version: int,
    as_old: Callable[[Path, Path], None],
) -> None:
    path = tmp_path / "order.db"
    as_old(lived_in, path)
    before = rows(path)
    with pytest.raises(RefuseStart, match=rf"schema {version}.*run `otopilot db upgrade`"):
        SqliteStore(path)
    assert db.main(["check", str(path)]) == db.WRONG_STATE
    assert "otopilot db upgrade" in capsys.readouterr().err
    assert db.main(["upgrade", "--json", str(path)]) == db.OK
    said = json.loads(capsys.readouterr().out)
    assert (said["was"], said["is"]) == (version, records.SCHEMA_VERSION)
    assert rows(path) == before == rows(Path(said["backup"]))
    assert db.main(["check", "--replay", str(path)]) == db.OK
    store, today = SqliteStore(path, inline=True), SqliteStore(lived_in, inline=True)
    assert picture(Books(store)) == picture(Books(today))
    store.close()
    today.close()
    assert db.main(["upgrade", str(path)]) == db.OK  # nothing to do, nothing done
    assert len(list((tmp_path / "backups").iterdir())) == 1


def definitions(connection: sqlite3.Connection) -> list[Any]:
    sql = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    return connection.execute(sql).fetchall()


@pytest.mark.parametrize("as_old", [as_version_1, as_version_2])
def test_an_upgraded_journal_has_the_schema_of_a_new_one(
    tmp_path: Path, lived_in: Path, as_old: Callable[[Path, Path], None]
) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    as_old(lived_in, old)
    upgrade.upgrade(old, NOW)
    SqliteStore(new).close()
    one, two = sqlite3.connect(old), sqlite3.connect(new)
    assert definitions(one) == definitions(two)
    one.close()
    two.close()
    engine = create_engine(f"sqlite:///{old}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    engine.dispose()
    steps = ScriptDirectory.from_config(upgrade.alembic_config())
    assert steps.get_current_head() == schema.REVISION
    for table, columns in records.COLUMNS.items():
        assert tuple(schema.metadata.tables[table].columns.keys()) == (*columns, "checksum")


def test_an_upgrade_that_fails_changes_nothing(
    tmp_path: Path, lived_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "order.db"
    as_version_1(lived_in, path)
    before = rows(path)

    def broken(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(schema, "note_schema", broken)
    with pytest.raises(upgrade.Refused, match="changed nothing"):
        upgrade.upgrade(path, NOW)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert not [
        name for _, name, *_ in definitions(connection) if "0001" in name or name == "alembic_version"
    ]
    connection.close()
    assert rows(path) == before


def test_an_upgrade_never_runs_beside_a_service_nor_on_a_newer_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "order.db"
    store = SqliteStore(path)
    assert db.main(["upgrade", str(path)]) == db.WRONG_STATE
    assert "in use" in capsys.readouterr().err
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=9")
    connection.execute("UPDATE alembic_version SET version_num = '0009'")
    connection.commit()
    connection.close()
    with pytest.raises(RefuseStart, match="newer program"):
        SqliteStore(path)
    assert db.main(["upgrade", str(path)]) == db.WRONG_STATE
    assert "newer program" in capsys.readouterr().err


# ---------------------------------------------------------------------- backups


@virtual
async def test_a_backup_while_the_service_writes_is_whole_and_can_be_started_on(tmp_path: Path) -> None:
    path, copy = tmp_path / "order.db", tmp_path / "copies" / "one.db"
    venue = alpha_venue()
    async with Desk(path, venue) as desk:
        await some_days_work(desk)
        writing = [desk.journal.run(lambda tx: tx.set_meta("beat", "1")) for _ in range(50)]
        busy = asyncio.gather(*writing)
        sound = upgrade.backup(path, copy)
        await busy
        assert sound is not None
        assert sound.orders == 2
        with pytest.raises(upgrade.Refused, match="there already"):
            upgrade.backup(path, copy)
        await desk.place(cycle=2)
    assert copy.stat().st_mode & 0o077 == 0
    assert [file.name for file in copy.parent.iterdir()] == ["one.db"]
    async with Desk(copy, venue) as restored:
        assert len(restored.journal.books.live) >= 1


def test_a_backup_of_a_damaged_journal_is_refused(
    tmp_path: Path, lived_in: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "order.db"
    shutil.copyfile(lived_in, path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE totals SET quote = quote || '1'")
    connection.commit()
    connection.close()
    for verb in ("backup", "check", "upgrade"):
        assert db.main([verb, str(path)]) == db.FAILED
        said = capsys.readouterr().err
        assert "totals: the row" in said
        assert "docs/restore.md" in said
    assert not list(tmp_path.glob("backups/*"))


def test_commands_say_what_is_wrong_with_the_file_they_were_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = tmp_path / "none.db"
    assert db.main(["check", str(nothing)]) == db.NOT_FOUND
    assert "there is no journal" in capsys.readouterr().err
    nothing.touch()
    assert db.main(["check", str(nothing)]) == db.FAILED
    assert "is empty" in capsys.readouterr().err
    nothing.write_bytes(b"no journal" * 1000)
    assert db.main(["check", str(nothing)]) == db.FAILED
    assert "damaged" in capsys.readouterr().err


def test_a_check_changes_nothing_and_runs_beside_the_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "order.db"
    store = SqliteStore(path, inline=True)
    assert db.main(["check", "--replay", "--json", str(path)]) == db.OK
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "sound"
    connection = journal_file.connect(path, read_only=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM meta")
    assert check.verify(connection).orders == 0
    connection.close()
    store.close()


@virtual
async def test_after_a_restore_an_own_order_that_the_backup_lacks_stops_its_user_and_is_not_touched(
    tmp_path: Path,
) -> None:
    path, copy = tmp_path / "order.db", tmp_path / "copy.db"
    venue = spot_venue()
    async with Desk(path, venue) as desk:
        await desk.add("1", "2")
        known = await desk.place("2", price=desk.ask().price)
        upgrade.backup(path, copy)
        lost = await desk.place("1")
    for file in tmp_path.glob("order.db*"):
        if not file.name.endswith(".lock"):
            file.rename(tmp_path / f"broken-{file.name}")
    shutil.copyfile(copy, path)
    async with Desk(path, venue) as desk:
        await desk.sleep(60)
        assert desk.session("1").reason_code == "unknown_own_order"
        assert desk.session("2").state is UserState.READY
        assert desk.order(known).state is OrderState.WORKING
        row = desk.account("1").row(lost)
        assert row.status is LegStatus.OPEN
        assert desk.journal.books.order(lost.order_id) is None
