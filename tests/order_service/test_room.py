"""The room left in a scope, kept order by order, is what walking over all orders and trades finds."""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from order_service.books import Books
from order_service.ledger import AccountKey
from order_service.store import SqliteStore
from otopilot.instrument import Side
from otopilot.order import ScopeId, UserId
from otopilot.position import ScopeMember, VolumeScope, VolumeSide, VolumeWindow
from tests.order_service.desk import Desk, alpha_venue
from tests.order_service.row import KOGE
from tests.order_service.test_histories import a_history
from tests.virtual_loop import START, run, virtual


def walked(books: Books, scope: VolumeScope) -> Decimal:
    """What open and held orders may still add, by walking over all of them."""
    total = Decimal(0)
    for member in scope.members:
        for order in books.live_orders(AccountKey(member.user_id, member.venue, member.symbol)):
            if order.rejection is not None and order.order_id not in books.held:
                continue
            counting = [leg for leg in order.legs if leg.side is Side.BUY or scope.side == "both"]
            total += sum((leg.unfilled * leg.price for leg in counting), Decimal(0))
    return total


def check(books: Books, now: datetime) -> None:
    for scope_id, scope in books.scopes.items():
        whole = books.volume(scope, now)
        assert books.room.reserved(scope_id) == whole.reserved == walked(books, scope)
        assert books.room.counted(scope_id, now, books.ledger) == whole.counted


@settings(max_examples=10, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_over_any_history_both_ways_agree_also_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    path = tmp_path_factory.mktemp("room") / "j.db"
    chance = random.Random(seed)

    async def story() -> None:
        async with Desk(path, alpha_venue()) as desk:
            await desk.add("1", "2")
            for number, window in enumerate(VolumeWindow):
                members = tuple(
                    ScopeMember(UserId(user), desk.venue.venue, KOGE)
                    for user in chance.sample(["1", "2"], chance.choice([1, 2]))
                )
                scope = VolumeScope(
                    scope_id=ScopeId(f"s{number}"),
                    members=members,
                    target=Decimal(1000),
                    side=chance.choice(list(VolumeSide)),
                    window=window,
                    since=START - timedelta(minutes=5) if window is VolumeWindow.SINCE else None,
                )
                await desk.accounts.set_scope(scope, desk.epoch)
            for _ in range(6):
                await a_history(desk, chance, 4)
                check(desk.journal.books, desk.clock.now())
            # Another day, another window.
            check(desk.journal.books, desk.clock.now() + timedelta(days=1))
        store = SqliteStore(path, inline=True)
        check(Books(store), desk.clock.now())
        store.close()

    run(story())


@virtual
async def test_a_scope_that_changes_its_members_starts_from_what_is_there(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        order = await desk.place("1")
        await desk.place("2", price=Decimal("47.50"))
        account = desk.account("1")
        account.fill(account.row(order))
        await desk.sleep(5)
        for users in (["1"], ["1", "2"], ["2"]):
            await desk.scope("100000", *users)
            check(desk.journal.books, desk.clock.now())
        books = desk.journal.books
        assert books.room.reserved(ScopeId("s")) == Decimal("0.5") * Decimal("47.50")
        assert books.room.member(ScopeId("s"), desk.key("1")) is None
