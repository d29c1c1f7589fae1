"""Rows 37, 38, 41, 42: a busy, full or broken disk and a second instance; nothing is half written."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from order_service import check, journal_file
from order_service.denied import Denied, JournalFailed, Kind, TakenOver
from order_service.store import SqliteStore
from otopilot.order import LegStatus, OrderState
from otopilot.rpc import RefuseStart
from tests.order_service.desk import Desk, alpha_venue, picture
from tests.virtual_loop import virtual


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy file is waited for a moment only: virtual time stands still meanwhile."""
    monkeypatch.setattr(journal_file, "BUSY_SECONDS", 0.05)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "j.db"
    connection = journal_file.connect(tmp_path / "j.db", read_only=True)
    check.verify(connection, replay=True)  # whatever happened, what is there is whole
    connection.close()


# ---------------------------------------------------------------------- a disk that fails


@virtual
async def test_row_37_a_busy_file_sends_nothing_and_is_got_over(watched: Path) -> None:
    async with Desk(watched, alpha_venue()) as desk:
        await desk.add("1")
        before = picture(desk.journal.books)
        other = sqlite3.connect(watched, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalFailed, match="locked"):
            await desk.place()
        assert desk.account().sent == []
        assert picture(desk.journal.books) == before
        assert not desk.journal.writable
        other.execute("ROLLBACK")
        other.close()
        await desk.settle()
        assert (await desk.place()).state is OrderState.WORKING
        assert desk.journal.writable


class _Broken:
    """A connection whose statements fail as a disk makes them fail; closing works."""

    def __init__(self, real: sqlite3.Connection, failing: set[str]) -> None:
        self._real = real
        self._failing = failing
        self.closed = False

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        if sql.split()[0] in self._failing:
            raise sqlite3.OperationalError("disk I/O error")
        return self._real.execute(sql, values)

    @property
    def in_transaction(self) -> bool:
        return self._real.in_transaction

    def close(self) -> None:
        self.closed = True
        self._real.close()


@pytest.mark.parametrize(
    "failing", [{"BEGIN"}, {"INSERT"}, {"UPDATE"}, {"COMMIT"}, {"COMMIT", "ROLLBACK"}, {"SELECT", "ROLLBACK"}]
)
@virtual
async def test_row_38_an_input_output_error_anywhere_fails_the_batch_and_not_the_writer(
    watched: Path, failing: set[str]
) -> None:
    async with Desk(watched, alpha_venue()) as desk:
        await desk.add("1")
        first = await desk.place()
        before = picture(desk.journal.books)
        broken = _Broken(desk.store._write, failing)
        desk.store._write = broken  # type: ignore[assignment]
        with pytest.raises(JournalFailed, match="disk I/O error"):
            await desk.journal.run(lambda tx: (tx.set_meta("x", "1"), tx.release_hold(first)))
        assert picture(desk.journal.books) == before
        assert desk.store.meta("x") is None
        assert broken.closed is ("ROLLBACK" in failing)
        failing.clear()
        await desk.journal.run(lambda tx: tx.set_meta("x", "2"))
        assert desk.store.meta("x") == "2"
        assert desk.journal.writable


@virtual
async def test_the_health_comes_back_by_itself_when_the_disk_does(watched: Path) -> None:
    async with Desk(watched, alpha_venue()) as desk:
        await desk.add("1")
        desk.tasks.spawn(desk.journal.watch_disk(), "watch")
        desk.store.failures = 5
        with pytest.raises(JournalFailed):
            await desk.place()
        await desk.sleep(2.5)
        assert not desk.journal.writable
        await desk.sleep(5)
        assert desk.journal.writable


@virtual
async def test_row_38_with_little_space_nothing_is_placed_and_cancels_are_taken(
    watched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Desk(watched, alpha_venue()) as desk:
        await desk.add("1", "2")
        desk.tasks.spawn(desk.journal.watch_disk(), "watch")
        ask = desk.ask()
        order = await desk.manager.place(ask)
        room = journal_file.LEAST_FREE_BYTES - 1
        monkeypatch.setattr(journal_file, "free_bytes", lambda path: room)
        await desk.sleep(2)
        assert not desk.journal.writable
        with pytest.raises(Denied, match="1024 MiB free") as denied:
            await desk.place("2")
        assert (denied.value.kind, denied.value.reason) == (Kind.UNAVAILABLE, "JOURNAL")
        assert desk.account("2").sent == []
        # An answer that exists is given, a cancel goes out, and what follows is journaled.
        assert (await desk.manager.place(ask)).order_id == order.order_id
        await desk.manager.cancel(order.order_id, order.working.role, "x")
        await desk.sleep(5)
        assert desk.order(order).working.status is LegStatus.CANCELED
        room += 1
        await desk.sleep(2)
        assert desk.journal.writable
        assert (await desk.place("2")).state is OrderState.WORKING


@virtual
async def test_a_disk_that_cannot_tell_its_space_has_none(
    watched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> int:
        raise OSError("stale handle")

    async with Desk(watched, alpha_venue()) as desk:
        monkeypatch.setattr(journal_file, "free_bytes", broken)
        desk.journal.look_at_space()
        assert not desk.journal.writable


FILL = """
import asyncio, resource, sys
from pathlib import Path
from order_service import records
from order_service.denied import JournalFailed
from order_service.store import SqliteStore

store = SqliteStore(Path(sys.argv[1]), inline=True)

def row(key):
    values = (key, "x" * 20_000)
    return (records.REPLACE["meta"], (*values, records.checksum("meta", values)))

def commit(key):
    asyncio.run(store.commit([row(f"{key}a"), row(f"{key}b")]))

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
done = []
try:
    while True:
        commit(len(done))
        done.append(len(done))
except JournalFailed as error:
    print(error)
for _ in range(3):
    try:
        commit("full")
    except JournalFailed:
        pass
    else:
        print("written though full")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
commit("after")
print(len(done))
store.close()
"""


def test_row_38_a_disk_that_is_full_loses_nothing_and_keeps_no_half(watched: Path) -> None:
    SqliteStore(watched).close()
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(watched)], capture_output=True, text=True, timeout=60, check=True
    )
    error, count = done.stdout.split("\n")[:2]
    assert "could not be written" in error
    assert int(count) > 0
    connection = sqlite3.connect(watched)
    keys = {key for (key,) in connection.execute("SELECT key FROM meta WHERE key LIKE '%a' OR key LIKE '%b'")}
    connection.close()
    whole = {f"{n}{half}" for n in range(int(count)) for half in "ab"}
    assert keys - {"schema"} == whole | {"aftera", "afterb"}


# ---------------------------------------------------------------------- two instances

INSTANCE = """
import asyncio, sys
from pathlib import Path
from order_service import records
from order_service.store import SqliteStore

store = SqliteStore(Path(sys.argv[1]), inline=True)
print(store.instance_epoch, flush=True)
for line in sys.stdin:
    values = (line.strip(), "1")
    try:
        asyncio.run(store.commit([(records.REPLACE["meta"], (*values, records.checksum("meta", values)))]))
        print("written", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


class Instance:
    """A process that has the journal open and writes what it is told."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", INSTANCE, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.epoch = int(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def tell(self, key: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{key}\n")
        self.process.stdin.flush()

    def write(self, key: str) -> str:
        self.tell(key)
        return self._line().strip()

    def answer(self) -> str:
        return self._line().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_rows_41_42_a_stopped_old_instance_and_a_new_one_never_both_write(watched: Path) -> None:
    old = Instance(watched)
    try:
        assert old.write("before") == "written"
        os.kill(old.process.pid, signal.SIGSTOP)
        with pytest.raises(RefuseStart, match="in use"):
            SqliteStore(watched)
        watched.with_name("j.db.lock").unlink()  # the lock by-passed on purpose
        new = Instance(watched)
        try:
            assert new.epoch == old.epoch + 1
            assert new.write("new") == "written"
            old.tell("zombie")
            os.kill(old.process.pid, signal.SIGCONT)
            assert old.answer() == "TakenOver"
            assert [old.write("again"), new.write("more")] == ["TakenOver", "written"]
        finally:
            new.end()
    finally:
        old.end()
    connection = sqlite3.connect(watched)
    keys = {key for (key,) in connection.execute("SELECT key FROM meta")}
    connection.close()
    assert {"before", "new", "more"} <= keys
    assert not {"zombie", "again"} & keys


@virtual
async def test_an_instance_that_was_taken_over_says_so_and_never_writes_again(watched: Path) -> None:
    async with Desk(watched, alpha_venue()) as desk:
        await desk.add("1")
        watched.with_name("j.db.lock").unlink()
        younger = SqliteStore(watched, inline=True)
        with pytest.raises(TakenOver):
            await desk.place()
        assert desk.journal.taken_over.is_set()
        assert not desk.journal.writable
        assert desk.account().sent == []
        younger.close()
        with pytest.raises(TakenOver):
            await asyncio.wait_for(desk.journal.run(lambda tx: tx.set_meta("x", "1")), 5)
