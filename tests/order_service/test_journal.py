"""The journal: all or nothing, equal after a restart, replayable, and no start on bad data."""

import asyncio
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from order_service import records
from order_service.denied import Denied, JournalFailed, TakenOver
from order_service.store import SqliteStore
from order_service.venues.port import VenueSilent
from otopilot.instrument import Side, Venue
from otopilot.order import LegStatus, OrderState, Rejection
from otopilot.position import UserState
from otopilot.rpc import RefuseStart
from tests.order_service.behaviours import answer_lost, refused, slow
from tests.order_service.desk import Desk, alpha_venue, picture, spot_venue
from tests.order_service.fakes import FakeVenue
from tests.virtual_loop import run, virtual

# ---------------------------------------------------------------------- commits that fail


@virtual
async def test_a_failed_commit_fails_its_batch_and_leaves_no_trace(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        before = picture(desk.journal.books)
        newest = desk.feed.newest
        desk.store.failures = 1
        asks = [desk.ask("1"), desk.ask("2")]
        answers = await asyncio.gather(*map(desk.manager.place, asks), return_exceptions=True)
        assert [type(answer) for answer in answers] == [JournalFailed, JournalFailed]
        assert picture(desk.journal.books) == before
        assert desk.feed.newest == newest
        assert desk.account("1").sent == desk.account("2").sent == []
        assert desk.journal.failed
        await desk.settle()
        assert (await desk.manager.place(asks[0])).state is OrderState.WORKING
        assert not desk.journal.failed


@virtual
async def test_an_answer_waits_for_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().silent = True
        desk.account().placements.append(slow(1))
        placing = asyncio.ensure_future(desk.place())
        await desk.sleep(0.5)
        desk.store.failures = 3
        order = await placing
        assert desk.order(order).state is OrderState.SUBMITTING
        await desk.sleep(5)
        assert desk.order(order).state is OrderState.WORKING
        assert len(desk.account().sent) == 1


@virtual
async def test_care_and_sweeps_outlive_failed_commits(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        desk.account().silent = True
        desk.account().fill(desk.account().row(order))
        desk.store.failures = 10**9
        await desk.sleep(120)
        assert desk.order(order).state is OrderState.WORKING
        desk.store.failures = 0
        await desk.sleep(30)
        assert desk.order(order).state is OrderState.TRIGGERED
        assert desk.order(order).working.settled
        assert desk.session().state is UserState.READY


@virtual
async def test_a_decision_that_breaks_half_way_fails_its_batch_and_nobody_waits_for_ever(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        before = picture(desk.journal.books)

        def broken(tx: Any) -> None:
            tx.set_meta("half", "way")
            tx.books.owner_epoch += 7
            raise ValueError("a defect")

        def fine(tx: Any) -> str:
            tx.set_meta("fine", "1")
            return "fine"

        run_ = desk.journal.run
        batch = asyncio.gather(run_(fine), run_(broken), run_(fine), return_exceptions=True)
        answers = await asyncio.wait_for(batch, 5)
        assert [type(answer) for answer in answers] == [JournalFailed, ValueError, JournalFailed]
        assert picture(desk.journal.books) == before
        assert desk.store.meta("fine") is None
        assert await desk.journal.run(fine) == "fine"


@virtual
async def test_a_value_the_disk_cannot_take_fails_the_commit_and_not_the_writer(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        with pytest.raises(JournalFailed):
            await desk.journal.run(lambda tx: tx.write("INSERT INTO meta VALUES (?, ?, 0)", "x", 2**70))
        await desk.journal.run(lambda tx: tx.set_meta("x", "1"))
        assert desk.store.meta("x") == "1"


@virtual
async def test_a_listener_that_breaks_does_not_stop_the_writer(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:

        def broken(_: object) -> None:
            raise ValueError("a defect")

        await desk.journal.run(lambda tx: tx.set_meta("x", "1"), then=broken)
        await desk.journal.run(lambda tx: tx.set_meta("x", "2"))
        assert desk.store.meta("x") == "2"


# ---------------------------------------------------------------------- the file


@virtual
async def test_a_row_that_cannot_be_read_fails_the_calls_and_not_the_writer(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        rows = sqlite3.connect(tmp_path / "j.db", isolation_level=None)
        (body,) = rows.execute("SELECT body FROM orders").fetchone()
        rows.execute("UPDATE orders SET body = x'00'")
        desk.store.failures = 1
        for _ in range(2):  # the failed commit, and the books that cannot be rebuilt
            with pytest.raises(JournalFailed):
                async with asyncio.timeout(1):
                    await desk.journal.run(lambda tx: tx.set_meta("k", "v"))
        rows.execute("UPDATE orders SET body = ?", (body,))
        rows.close()
        await desk.journal.run(lambda tx: tx.set_meta("k", "v"))
        assert not desk.journal.failed
        assert desk.order(order).order_id == order.order_id


@virtual
async def test_an_alarm_whose_listener_breaks_does_not_stop_the_writer(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        heard: list[str] = []

        def breaks(_: str) -> None:
            raise RuntimeError("a defect")

        desk.journal.on_alarm(breaks)
        desk.journal.on_alarm(heard.append)
        await desk.journal.run(lambda tx: tx.alarms.append("two of ours"))
        await desk.journal.run(lambda tx: None)
        assert heard == ["two of ours"]


def test_a_second_instance_on_the_same_file_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "j.db")
    with pytest.raises(RefuseStart, match="in use by another"):
        SqliteStore(tmp_path / "j.db")
    store.close()
    SqliteStore(tmp_path / "j.db").close()


def test_a_zombie_of_an_older_epoch_writes_nothing(tmp_path: Path) -> None:
    zombie = SqliteStore(tmp_path / "j.db", inline=True)
    (tmp_path / "j.db.lock").unlink()  # somebody removed the lock file by hand
    younger = SqliteStore(tmp_path / "j.db", inline=True)
    assert younger.instance_epoch == zombie.instance_epoch + 1
    statement = (records.REPLACE["meta"], ("x", "1", records.checksum("meta", ("x", "1"))))
    with pytest.raises(TakenOver, match="another instance"):
        run(zombie.commit([statement]))
    assert younger.meta("x") is None
    run(younger.commit([statement]))
    zombie.close()
    younger.close()


@pytest.mark.parametrize("damage", ["garbage", "page", "schema"])
def test_a_damaged_file_is_refused_in_words_and_its_lock_given_back(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "j.db"
    store = SqliteStore(path)
    rows = [(str(n), "x" * 200, records.checksum("meta", (str(n), "x" * 200))) for n in range(500)]
    store._write.executemany(records.INSERT["meta"], rows)
    store._write.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    if damage == "garbage":
        path.write_bytes(b"this is no journal at all" * 400)
    elif damage == "page":
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 6000] = b"\xff" * 6000
        path.write_bytes(content)
    else:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version=99")
        connection.close()
    for _ in range(2):
        with pytest.raises(RefuseStart, match=r"not a usable journal|is damaged"):
            SqliteStore(path)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "j.db")
    for file in tmp_path.glob("j.db*"):
        if not file.name.endswith(".lock"):
            assert file.stat().st_mode & 0o077 == 0, file
    store.close()


@virtual
async def test_another_world_stops_its_users_before_anything_of_it_is_believed(tmp_path: Path) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        order = await desk.place()
    other = FakeVenue(venue.clock)
    other.world_id = "w2"
    async with Desk(tmp_path / "j.db", other) as desk:
        account = desk.account()
        # It has an order of the same id, filled, and says so at once.
        assert order.working.venue_order_id is not None
        row = account.foreign(Side.BUY, "48.00", "0.5")
        row.venue_id = order.working.venue_order_id
        account.rows[row.venue_id] = row
        await asyncio.sleep(0)
        account.fill(row)
        await desk.sleep(60)
        assert desk.session().reason_code == "other_world"
        assert desk.order(order).working.status is LegStatus.OPEN


@virtual
async def test_what_is_in_doubt_at_the_real_venue_is_not_looked_for_on_a_test_venue(tmp_path: Path) -> None:
    venue = spot_venue()
    venue.world_id = ""
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        desk.account().failing["look_up"] = VenueSilent("down", "no answer")
        desk.account().placements.append(answer_lost)
        order = await desk.place()
    testnet = FakeVenue(venue.clock, Venue.SPOT)
    testnet.world_id = "testnet"
    async with Desk(tmp_path / "j.db", testnet) as desk:
        await desk.sleep(60)
        assert desk.session().reason_code == "other_world"
        assert desk.order(order).state is OrderState.IN_DOUBT


@virtual
async def test_a_settled_order_is_found_on_the_disk_when_memory_has_let_it_go(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().placements.append(refused)
        ask = desk.ask()
        order = await desk.manager.place(ask)
        books = desk.journal.books
        books.recent.clear()
        books.requests.clear()
        books.hashes.clear()
        assert desk.order(order) == order
        assert (await desk.manager.place(ask)).order_id == order.order_id
        assert isinstance(order.rejection, Rejection)
        with pytest.raises(Denied, match="other content"):
            await desk.place(request_id=ask.request_id, price=Decimal("47.5"))
