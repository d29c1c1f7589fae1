"""What is told of a commit is what the disk has, whenever it fails, hangs, or the process dies."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from order_service import journal_file
from order_service.denied import Denied, JournalFailed
from order_service.ledger import LedgerRow
from order_service.store import Statement
from otopilot.instrument import Side
from otopilot.order import OrderId, OrderState, RejectionKind
from tests.order_service.desk import HOLD, Desk, alpha_venue, picture
from tests.virtual_loop import virtual

Commit = Callable[[Sequence[Statement]], Awaitable[None]]


def after_the_commit(desk: Desk, then: Callable[[], Awaitable[None]]) -> None:
    """The next commit that has statements is durable; then comes this, instead of its word."""
    commit: Commit = desk.store.commit

    async def durable(statements: Sequence[Statement]) -> None:
        desk.store.commit = commit  # type: ignore[method-assign]
        await commit(statements)
        await then()

    desk.store.commit = durable  # type: ignore[method-assign]


async def fails() -> None:
    raise JournalFailed("no word of it")


async def hangs() -> None:
    await asyncio.Event().wait()


# ---------------------------------------------------------------------- a no


@virtual
async def test_a_no_that_rests_on_what_a_failed_commit_took_back_is_not_told(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        first, second = desk.ask(), desk.ask(cycle=2)
        desk.store.failures = 1
        placing = [desk.manager.place(ask) for ask in (first, second)]
        answers = await asyncio.gather(*placing, return_exceptions=True)
        # The second one met the slot of the first one, which never was.
        assert [type(answer) for answer in answers] == [JournalFailed, JournalFailed]
        await desk.settle()
        assert (await desk.manager.place(second)).state is OrderState.WORKING
        with pytest.raises(Denied, match="has not ended"):
            await desk.manager.place(first)


@virtual
async def test_a_no_is_told_once_what_it_rests_on_is_durable(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.store.seconds = 0.2
        first, second = (asyncio.ensure_future(desk.place(cycle=cycle)) for cycle in (1, 2))
        await desk.sleep(0.1)
        assert len(desk.journal.books.live) == 1  # decided, and not on the disk
        assert not second.done()
        with pytest.raises(Denied, match="has not ended"):
            await second
        assert desk.store.order((await first).order_id) is not None


# ---------------------------------------------------------------------- durable, and no word of it


@virtual
async def test_a_commit_that_fails_once_it_is_durable_has_happened(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        newest = desk.feed.newest
        after_the_commit(desk, fails)
        order = await desk.place()
        assert order.state is OrderState.WORKING
        assert len(desk.account().sent) == 1
        assert desk.feed.newest > newest
        assert desk.order(order).state is OrderState.WORKING


@virtual
async def test_a_disk_that_gave_no_word_is_not_trusted_until_it_gives_one(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        after_the_commit(desk, fails)
        await desk.manager.cancel(order.order_id, order.working.role, "x")
        assert not desk.journal.writable
        assert desk.order(order).wishes
        desk.tasks.spawn(desk.journal.watch_disk(), "watch")
        await desk.sleep(2)
        assert desk.journal.writable


@virtual
async def test_of_what_has_no_event_a_lost_word_is_told_as_failed_and_the_books_are_the_disks(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        after_the_commit(desk, fails)
        with pytest.raises(JournalFailed):
            await desk.accounts.claim("somebody")
        assert desk.journal.books.owner == "somebody"
        assert desk.store.meta("owner") == "somebody"


# ---------------------------------------------------------------------- killed in between


@virtual
async def test_killed_between_commit_and_answer_the_order_is_doubted_and_never_sent_again(
    tmp_path: Path,
) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        ask = desk.ask()
        after_the_commit(desk, hangs)
        asked = asyncio.ensure_future(desk.manager.place(ask))
        await desk.sleep(1)
        assert not asked.done()
        asked.cancel()
    async with Desk(tmp_path / "j.db", venue) as desk:
        (order,) = desk.journal.books.live.values()
        assert order.request_id == ask.request_id
        await desk.settle()
        assert (await desk.manager.place(ask)).order_id == order.order_id
        assert desk.order(order).state in (OrderState.IN_DOUBT, OrderState.REJECTED)
        with pytest.raises(Denied, match="other content"):
            await desk.place(request_id=ask.request_id, price=Decimal("47.5"))
        await desk.sleep(60 + HOLD)
        rejection = desk.order(order).rejection
        assert rejection is not None
        assert rejection.kind is RejectionKind.ABSENT
        assert desk.account().sent == []
        assert (await desk.place(cycle=2)).state is OrderState.WORKING


# ---------------------------------------------------------------------- the books after a failure


def a_trade(desk: Desk, user: str) -> LedgerRow:
    """A trade that the venue's books show, of an order that is said to be ours."""
    account = desk.account(user)
    account.silent = True
    trade = account.fill(account.foreign(Side.BUY, "48.00", "0.5"))
    order_id = OrderId("0123456789abcdef")
    return LedgerRow(account=desk.key(user), trade=trade, order_id=order_id, fee_value=Decimal("0.01"))


@virtual
async def test_after_a_failed_commit_the_ledgers_are_read_again_of_those_who_traded_in_it(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        for user in ("1", "2"):
            order = await desk.place(user)
            desk.account(user).fill(desk.account(user).row(order))
        await desk.sleep(20)
        before = picture(desk.journal.books)
        read: list[str] = []
        desk.store._read.set_trace_callback(read.append)
        desk.store.failures = 1
        row = a_trade(desk, "1")
        with pytest.raises(JournalFailed):
            await desk.journal.run(lambda tx: tx.add_trade(row))
        desk.store._read.set_trace_callback(None)
        ledger = [sql for sql in read if "FROM trades" in sql]
        assert len(ledger) == 1
        assert f"user_id = '{row.account.user_id}'" in ledger[0]
        assert picture(desk.journal.books) == before
        assert await desk.journal.run(lambda tx: tx.add_trade(row)) is True
        assert await desk.journal.run(lambda tx: tx.add_trade(row)) is False


@virtual
async def test_a_file_that_cannot_be_opened_again_fails_the_commits_and_not_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        with monkeypatch.context() as patch:
            patch.setattr(journal_file, "connect", gone)
            desk.store._torn = True  # as after an error that could not be rolled back
            desk.store._write.close()
            for _ in range(3):
                with pytest.raises(JournalFailed, match="unable to open"):
                    await asyncio.wait_for(desk.journal.run(lambda tx: tx.set_meta("x", "1")), 5)
        await desk.journal.run(lambda tx: tx.set_meta("x", "2"))
        assert desk.store.meta("x") == "2"
        assert desk.journal.writable


# ---------------------------------------------------------------------- what grows with the history


@virtual
async def test_a_users_orders_and_what_just_ended_are_found_without_reading_all_orders(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        asked: list[str] = []
        desk.store._read.set_trace_callback(asked.append)
        desk.store.list_orders({"user_id": "1"}, below=10, limit=5)
        desk.store.list_orders({"user_id": "1", "symbol": "x"}, below=None, limit=5)
        list(desk.store.recent_orders(600_000))
        desk.store._read.set_trace_callback(None)
        assert len(asked) == 3
        for sql in asked:
            plan = [row[3] for row in desk.store._read.execute(f"EXPLAIN QUERY PLAN {sql}")]
            assert not any(step == "SCAN orders" for step in plan), (sql, plan)
            assert any("USING INDEX orders_user" in step or "orders_updated" in step for step in plan)
            assert not any("TEMP B-TREE" in step for step in plan) or "updated_ms" in sql


@virtual
async def test_a_trade_by_hand_is_known_from_the_disk_and_counted_once(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        row = msgspec.structs.replace(a_trade(desk, "1"), order_id=None)
        assert await desk.journal.run(lambda tx: tx.add_trade(row)) is True
        desk.journal.books.rebuild()
        books = desk.journal.books
        assert books.is_foreign(row.account, row.trade.key)
        assert not books.is_foreign(desk.key("2"), row.trade.key)
        assert await desk.journal.run(lambda tx: tx.add_trade(row)) is False
        own = msgspec.structs.replace(row, order_id=OrderId("0123456789abcdef"))
        assert await desk.journal.run(lambda tx: (tx.add_trade(own), tx.add_trade(own))) == (True, False)
        assert not books.is_foreign(row.account, row.trade.key)
        assert books.ledger.inventory(row.account).base == Decimal("0.49995")
