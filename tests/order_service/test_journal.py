"""The journal: all or nothing, equal after a restart, replayable, and no start on bad data."""

import asyncio
import random
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from order_service.books import Books
from order_service.denied import Denied, JournalFailed
from order_service.store import SqliteStore
from order_service.venues.port import VenueSilent
from otopilot.instrument import Side
from otopilot.order import LegRole, LegStatus, News, Order, OrderState, Rejection, UserId, advance
from otopilot.position import UserState
from otopilot.rpc import RefuseStart
from tests.order_service.desk import Desk, alpha_venue, spot_venue
from tests.order_service.fakes import (
    FakeVenue,
    answer_lost,
    late,
    not_reached,
    refused,
    request_lost,
    slow,
)
from tests.virtual_loop import run, virtual

DOWN = VenueSilent("down", "no answer")
READS = ("open_orders", "order_history", "look_up", "trades_of", "trades_since", "balances", "cancel")


def picture(books: Books) -> dict[str, Any]:
    """Everything of the books that a restart must bring back."""
    accounts = sorted(books.by_account)
    claims = {
        (market, who): claim
        for market, held in sorted(books.guard._claims.items())
        for who, claim in sorted(held.items())
        if not who.startswith("foreign:")
    }
    return {
        "live": dict(sorted(books.live.items())),
        "held": dict(sorted(books.held.items())),
        "slots": {account: books.slot(account) for account in accounts},
        "claims": claims,
        "totals": dict(books.ledger._totals),
        "inventory": {account: books.ledger.inventory(account) for account in accounts},
        "uncovered": {account: books.uncovered(account) for account in accounts},
        "foreign": {account: dict(rows) for account, rows in books.foreign_keys.items() if rows},
        "scopes": dict(books.scopes),
        "cursors": dict(books.cursors),
        "users": dict(books.users),
        "owner": books.owner_epoch,
        "cycles": dict(books.cycles),
        "sequence": books.sequence,
        "number": books.number,
    }


def prints(books: Books) -> dict[Any, Any]:
    """Our own fingerprints that are taken."""
    taken = books.fingerprints.taken()
    own = {p: {h: u for h, u in who.items() if not h.startswith("foreign:")} for p, who in taken.items()}
    return {p: who for p, who in own.items() if who}


def replay(store: SqliteStore, order_id: str) -> Order:
    """The order that the journal's events make."""
    first, *news = store.events(order_id)  # type: ignore[arg-type]
    order = msgspec.json.decode(first, type=Order)
    for body in news:
        order = advance(order, msgspec.json.decode(body, type=News))  # type: ignore[arg-type]
    return order


async def a_history(desk: Desk, chance: random.Random, steps: int) -> None:
    """Random placements, fills, cancels, lost answers and failed commits."""
    behaviours = [answer_lost, request_lost, refused, not_reached, slow(4), late(20)]
    for _ in range(steps):
        user = chance.choice(["1", "2"])
        account = desk.account(user)
        account.silent, account.pushes = chance.random() < 0.3, chance.choice([1, 1, 2])
        if chance.random() < 0.3:
            account.placements.append(chance.choice(behaviours))
        if chance.random() < 0.1:
            desk.store.failures = chance.choice([1, 2])
        account.failing = {name: DOWN for name in READS if chance.random() < 0.1}
        account.cancels_to_lose = chance.choice([0, 0, 0, 1])
        account.hidden_trades = {row_id for row_id in account.rows if chance.random() < 0.1}
        try:
            match chance.randrange(6):
                case 0 | 1 | 2:
                    price = Decimal(chance.randrange(4700, 4800)) / 100
                    await desk.place(user, price=price, cycle=chance.randrange(1, 9))
                case 3:
                    live = list(desk.journal.books.live.values())
                    if live:
                        role = chance.choice(chance.choice(live).legs).role
                        await desk.manager.cancel(chance.choice(live).order_id, role, "chance")
                case 4:
                    account.foreign(Side.BUY, str(chance.randrange(40, 45)), "1")
                case 5:
                    await desk.sleep(chance.random() * 100)
        except (Denied, JournalFailed):
            pass
        resting = [row for row in account.rows.values() if row.status is LegStatus.OPEN]
        if resting and chance.random() < 0.6:
            row = chance.choice(resting)
            whole = row.quantity - row.executed
            part = (whole / 2).quantize(Decimal("0.001"))
            account.fill(row, str(part if part and chance.random() < 0.5 else whole))
        await desk.sleep(chance.random() * 5)
    desk.store.failures = 0
    heal(desk)


def heal(desk: Desk) -> None:
    """The venue tells everything again."""
    for account in desk.venue.accounts.values():
        account.silent = False
        account.failing.clear()
        account.hidden_trades.clear()


def check_against_the_venue(desk: Desk) -> None:
    """Orders and trades of ours are those of the venue's books, one for one (reliability I1 to I5)."""
    books = desk.journal.books
    for user, account in desk.venue.accounts.items():
        sent = [order.order_id for order in account.sent]
        assert len(sent) == len(set(sent))
        owned = {row_id: books.owner_of(desk.venue.venue, UserId(user), row_id) for row_id in account.rows}
        for row_id, ours in owned.items():
            row = account.rows[row_id]
            if row.client_id == "web_1":
                assert ours is None
                continue
            assert ours is not None, f"orphan {row}"
            order = books.order(ours[0])
            assert order is not None
            leg = order.leg(ours[1])
            assert leg.filled_quantity == row.executed
            assert leg.is_over or row.is_open
        counted = books.volume(books.scopes["s"], desk.clock.now())  # type: ignore[index]
        member = next(m for m in counted.members if m.user_id == user)
        today = desk.clock.now().date()
        buys = [t for t in account.trades if t.side is Side.BUY and t.traded_at.date() == today]
        assert member.counted == sum(t.quote for t in buys)


@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32), spot=st.booleans())
def test_random_histories_end_in_the_venues_truth_and_survive_a_restart(
    tmp_path_factory: pytest.TempPathFactory, seed: int, spot: bool
) -> None:
    path = tmp_path_factory.mktemp("history") / "j.db"

    async def story() -> None:
        venue = spot_venue() if spot else alpha_venue()
        async with Desk(path, venue) as desk:
            await desk.add("1", "2")
            await a_history(desk, random.Random(seed), 25)
            await desk.sleep(400)
            await desk.settle()
            assert all(s.state is UserState.READY for s in desk.sessions.all())
            check_against_the_venue(desk)
            for (order_id,) in sqlite3.connect(path).execute("SELECT order_id FROM orders").fetchall():
                assert replay(desk.store, order_id) == desk.order(order_id)
            before, taken = picture(desk.journal.books), prints(desk.journal.books)
            now = desk.clock.now()
        store = SqliteStore(path, inline=True)
        again = Books(store)
        assert picture(again) == before
        # What had expired by then need not come back.
        live = {p: who for p, who in taken.items() if any(u is None or u > now for u in who.values())}
        assert {p: who for p, who in prints(again).items() if p in live} == live
        store.close()

    run(story())


@virtual
async def test_fingerprints_of_orders_that_just_ended_survive_a_restart(tmp_path: Path) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        order = await desk.place()
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "x")
        await desk.sleep(5)
        taken = prints(desk.journal.books)
        assert len(taken) == 1
    async with Desk(tmp_path / "j.db", venue) as desk:
        assert prints(desk.journal.books) == taken
        await desk.sleep(5)
        assert (await desk.place()).working.price == Decimal("47.99")


@virtual
async def test_a_kill_in_the_middle_of_a_history_loses_nothing(tmp_path: Path) -> None:
    for seed in range(8):
        venue = spot_venue() if seed % 2 else alpha_venue()
        path = tmp_path / f"{seed}.db"
        chance = random.Random(seed)
        async with Desk(path, venue) as desk:
            await desk.add("1", "2")
            history = asyncio.ensure_future(a_history(desk, chance, 50))
            await asyncio.wait((history,), timeout=chance.random() * 100)
            history.cancel()
        async with Desk(path, venue) as desk:
            heal(desk)
            await desk.sleep(400)
            await desk.settle()
            check_against_the_venue(desk)
            assert not [o for o in desk.journal.books.live.values() if o.state is OrderState.IN_DOUBT]


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
            await desk.journal.run(lambda tx: tx.write("INSERT INTO meta VALUES (?, ?)", "x", 2**70))
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
    statement = ("INSERT OR REPLACE INTO meta VALUES (?, ?)", ("x", "1"))
    with pytest.raises(JournalFailed, match="another instance"):
        run(zombie.commit([statement]))
    assert younger.meta("x") is None
    run(younger.commit([statement]))
    zombie.close()
    younger.close()


@pytest.mark.parametrize("damage", ["garbage", "page", "schema"])
def test_a_damaged_file_is_refused_in_words_and_its_lock_given_back(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "j.db"
    store = SqliteStore(path)
    store._write.executemany("INSERT INTO meta VALUES (?, ?)", [(str(n), "x" * 200) for n in range(500)])
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
        with pytest.raises(RefuseStart, match=r"journal|damaged|schema 99"):
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
