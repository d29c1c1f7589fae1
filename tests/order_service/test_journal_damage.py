"""Row 39: a journal that is not what was written to it is never started on, whatever was damaged."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from order_service import check, journal_file, records
from order_service.store import SqliteStore
from otopilot.rpc import RefuseStart
from tests.order_service.desk import Desk, alpha_venue
from tests.order_service.test_histories import a_history
from tests.virtual_loop import run

TABLES = (*records.COLUMNS, "alembic_version")
EPOCH = "instance_epoch"  # every start changes it


def contents(path: Path) -> dict[str, list[Any]]:
    """Every row, and the definitions of the tables."""
    connection = sqlite3.connect(path)
    found = {
        table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES
    }
    found["meta"] = [row for row in found["meta"] if row[0] != EPOCH]
    found["schema"] = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    connection.close()
    return found


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with something in every table, and a free page."""
    path = tmp_path_factory.mktemp("sound") / "j.db"

    async def story() -> None:
        async with Desk(path, alpha_venue()) as desk:
            await desk.add("1", "2")
            await a_history(desk, random.Random(11), 14)
            await desk.sleep(300)

    run(story())
    connection = sqlite3.connect(path)
    assert all(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)
    connection.execute("CREATE TABLE gone (x)")
    connection.execute("INSERT INTO gone VALUES (zeroblob(20000))")
    connection.execute("DROP TABLE gone")
    connection.commit()
    connection.close()
    return path


def start(path: Path) -> bool:
    """Does a service start on it?"""
    try:
        store = SqliteStore(path, inline=True)
    except RefuseStart:
        return False
    store.close()
    return True


def flip_bits(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def flip_bytes(content: bytearray, chance: random.Random) -> None:
    where, length = chance.randrange(len(content)), chance.choice([1, 2, 4, 8, 30, 200])
    content[where : where + length] = chance.randbytes(len(content[where : where + length]))


def flip_early(content: bytearray, chance: random.Random) -> None:
    """The file's head and the definitions of its tables."""
    content[chance.randrange(4096)] ^= 1 + chance.randrange(255)


def lose_a_sector(content: bytearray, chance: random.Random) -> None:
    where = chance.randrange(len(content) // 512) * 512
    content[where : where + 512] = bytes(512)


def swap_pages(content: bytearray, chance: random.Random) -> None:
    one, two = (chance.randrange(1, len(content) // 4096) * 4096 for _ in range(2))
    here, there = bytes(content[one : one + 4096]), bytes(content[two : two + 4096])
    content[one : one + 4096], content[two : two + 4096] = there, here


def lose_the_end(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


DAMAGES = [flip_bits, flip_bits, flip_bytes, flip_bytes, flip_early, lose_a_sector, swap_pages, lose_the_end]


@settings(
    max_examples=250,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), damage=st.sampled_from(DAMAGES))
def test_damage_anywhere_is_refused_or_changed_nothing_that_is_kept(
    tmp_path: Path, journal: Path, seed: int, damage: Callable[[bytearray, random.Random], None]
) -> None:
    path = tmp_path / "j.db"
    for old in tmp_path.iterdir():
        old.unlink()
    shutil.copyfile(journal, path)
    before = contents(path)
    content = bytearray(journal.read_bytes())
    damage(content, random.Random(seed))
    path.write_bytes(content)
    # A service ran here before: a file without anything in it is not a new one.
    path.with_name("j.db.lock").write_text("1")
    if start(path):
        assert contents(path) == before


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal as kill -9 leaves it: everything but the schema is in the write-ahead log only."""
    path = tmp_path_factory.mktemp("killed") / "j.db"
    SqliteStore(path).close()
    store = SqliteStore(path, inline=True)
    for number in range(12):
        values = (f"k{number}", "x" * 3000)
        run(store.commit([(records.REPLACE["meta"], (*values, records.checksum("meta", values)))]))
    for file in path.parent.glob("j.db*"):
        shutil.copyfile(file, file.with_name(file.name.replace("j.db", "killed.db")))
    store.close()
    return path.with_name("killed.db")


def keys(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT key FROM meta WHERE key LIKE 'k%' ORDER BY rowid").fetchall()
    connection.close()
    return [key for (key,) in found]


@settings(
    max_examples=120,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), damage=st.sampled_from([flip_bits, flip_bytes, lose_a_sector]))
def test_damage_to_the_log_is_refused_but_at_its_very_end(
    tmp_path: Path, killed: Path, seed: int, damage: Callable[[bytearray, random.Random], None]
) -> None:
    path = tmp_path / "j.db"
    for old in tmp_path.iterdir():
        old.unlink()
    shutil.copyfile(killed, path)
    content = bytearray(killed.with_name("killed.db-wal").read_bytes())
    damage(content, random.Random(seed))
    path.with_name("j.db-wal").write_bytes(content)
    if start(path):
        found = keys(path)
        assert found == [f"k{n}" for n in range(len(found))]
        assert len(found) >= 10


def test_a_log_that_was_interrupted_or_is_whole_is_no_damage(tmp_path: Path, killed: Path) -> None:
    path = tmp_path / "j.db"
    log = killed.with_name("killed.db-wal").read_bytes()
    for length in [0, 20, 32, 60, 5000, *range(len(log) - 9000, len(log) + 1, 300)]:
        for old in tmp_path.iterdir():
            old.unlink()
        shutil.copyfile(killed, path)
        path.with_name("j.db-wal").write_bytes(log[:length])
        assert start(path)
        found = keys(path)
        assert found == [f"k{n}" for n in range(len(found))]
    assert len(found) == 12


def change(path: Path, sql: str, *values: Any) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql, values)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("table", list(records.COLUMNS))
def test_a_changed_value_in_any_column_is_named(tmp_path: Path, journal: Path, table: str) -> None:
    path = tmp_path / "j.db"
    for column in records.COLUMNS[table]:
        shutil.copyfile(journal, path)
        where = "key = 'owner_epoch'" if table == "meta" else "1 = 1"
        connection = sqlite3.connect(path)
        (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()
        connection.close()
        match value:
            case int():
                other: Any = value + 1
            case bytes():
                other = value[:-1] + b"~"
            case _:
                other = f"{(value or '')[:-1]}~"
        change(
            path, f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {column} IS ? AND {where}", other, value
        )
        with pytest.raises(RefuseStart, match=table if table != "events" else "events|orders"):
            SqliteStore(path, inline=True)


@pytest.mark.parametrize("table", ["orders", "events", "trades", "totals"])
def test_a_lost_row_is_missed(tmp_path: Path, journal: Path, table: str) -> None:
    path = tmp_path / "j.db"
    shutil.copyfile(journal, path)
    key = records.COLUMNS[table][3 if table in ("trades", "totals") else 0]
    change(path, f"DELETE FROM {table} WHERE {key} = (SELECT max({key}) FROM {table})")
    with pytest.raises(RefuseStart, match=r"damaged.*restore"):
        SqliteStore(path, inline=True)


def test_an_old_copy_of_a_row_is_seen_though_its_checksum_is_right(tmp_path: Path, journal: Path) -> None:
    path = tmp_path / "j.db"
    shutil.copyfile(journal, path)
    connection = sqlite3.connect(path)
    names = records.COLUMNS["orders"]
    row = dict(
        zip(names, connection.execute(f"SELECT {', '.join(names)} FROM orders").fetchone(), strict=True)
    )
    connection.close()
    row["version"] -= 1
    change(
        path,
        "UPDATE orders SET version = ?, checksum = ? WHERE order_id = ?",
        row["version"],
        records.checksum("orders", tuple(row.values())),
        row["order_id"],
    )
    with pytest.raises(RefuseStart, match="not that of its last event"):
        SqliteStore(path, inline=True)


def test_replay_sees_an_order_that_is_not_what_its_events_make(tmp_path: Path, journal: Path) -> None:
    path = tmp_path / "j.db"
    shutil.copyfile(journal, path)
    connection = journal_file.connect(path)
    assert check.verify(connection, replay=True).replayed
    names = records.COLUMNS["orders"]
    row = dict(
        zip(names, connection.execute(f"SELECT {', '.join(names)} FROM orders").fetchone(), strict=True)
    )
    row["body"] = row["body"].replace(b'"cycle":', b'"cycle":9', 1)
    sum_ = records.checksum("orders", tuple(row.values()))
    sql = "UPDATE orders SET body = ?, checksum = ? WHERE order_id = ?"
    connection.execute(sql, (row["body"], sum_, row["order_id"]))
    check.verify(connection)
    with pytest.raises(check.Damaged, match="not what its events make"):
        check.verify(connection, replay=True)
    connection.close()


def test_a_journal_that_vanished_is_not_taken_for_a_new_one(tmp_path: Path, journal: Path) -> None:
    path = tmp_path / "j.db"
    shutil.copyfile(journal, path)
    assert start(path)
    path.unlink()
    with pytest.raises(RefuseStart, match="a journal was here"):
        SqliteStore(path)
    shutil.copyfile(journal, path)
    assert start(path)


def test_a_restored_copy_never_mints_an_epoch_again_that_is_spent(tmp_path: Path, journal: Path) -> None:
    path = tmp_path / "j.db"
    shutil.copyfile(journal, path)
    for _ in range(3):
        assert start(path)
    store = SqliteStore(path, inline=True)
    store.close()
    shutil.copyfile(journal, path)
    again = SqliteStore(path, inline=True)
    assert again.instance_epoch == store.instance_epoch + 1
    again.close()
