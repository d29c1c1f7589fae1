"""Row 50 of the fault catalogue, ten thousand users at once, and row 52, what a month leaves behind."""

import asyncio
import contextlib
import math
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from order_service import books, feed, keeper
from order_service.credentials import Vault
from order_service.denied import Denied
from order_service.store import StoredUser
from order_service.venues import limits as venue_limits
from order_service.venues.port import VenueSilent
from otopilot.instrument import Side, Venue
from otopilot.order import LegRole, LegStatus, OrderState, UserId
from otopilot.position import UserState
from tests.order_service.behaviours import answer_lost, request_lost
from tests.order_service.desk import SECRETS, Desk, alpha_venue, spot_venue
from tests.order_service.fakes import FakeAccount, FakeVenue
from tests.virtual_loop import virtual

MANY = 10_000
SPOT = venue_limits.spot()


@dataclass
class Counting(FakeAccount):
    """An account whose calls weigh what they do at the venue, by the venue's own minutes."""

    used: Counter[int] = field(default_factory=Counter)

    def _call(self, name: str) -> None:
        super()._call(name)
        self.used[int(self.now().timestamp() // 60)] += SPOT.weights[name]


async def enlist(desk: Desk, count: int) -> None:
    """So many users' rows, as earlier starts have left them."""
    kind, secret = SECRETS[Venue.SPOT]
    vault = Vault(bytes(32))
    names = [UserId(f"u{number}") for number in range(count)]
    sealed = {user: vault.seal(user, Venue.SPOT, kind, secret) for user in names}
    now = desk.clock.now()
    rows = [StoredUser(user, Venue.SPOT, kind, sealed[user], now, "", "") for user in names]
    await desk.journal.run(lambda tx: [tx.set_user(row) for row in rows])


@pytest.mark.timeout(240)
def test_row_50_ten_thousand_users_starting_together_break_no_limit_and_delay_no_doubt(
    tmp_path: Path,
) -> None:
    @virtual
    async def story() -> None:
        venue, used = spot_venue(), Counter[int]()
        venue.accounts = _Accounts(venue, used)
        async with Desk(tmp_path / "j.db", venue) as desk:
            await desk.add("first")
            await enlist(desk, MANY)
            account = desk.account("first")
            account.placements.append(answer_lost)
            account.failing = {"look_up": VenueSilent("down", "no answer")}
            doubtful = await desk.place("first")
            account.failing.clear()
        async with Desk(tmp_path / "j.db", venue, limits=SPOT, beat=86_400.0) as desk:
            await desk.sleep(30)
            assert desk.order(doubtful).state is OrderState.WORKING, "doubt goes before the queue of sweeps"
            everybody = desk.sessions.all()
            ready = sum(session.state is UserState.READY for session in everybody)
            assert 0 < ready < MANY / 10
            # Whoever is settled trades at once, though thousands wait.
            await desk.manager.cancel(doubtful.order_id, LegRole.WORKING, "x")
            await desk.sleep(5)
            until = desk.clock.monotonic() + 60
            while desk.session("first").state is not UserState.READY:
                assert desk.clock.monotonic() < until
                desk.session("first").sweep_now.set()
                await desk.sleep(1)
            for _ in range(20):
                began = desk.clock.monotonic()
                order = await desk.place("first")
                assert order.state is OrderState.WORKING
                assert desk.clock.monotonic() - began < 0.5
                await desk.manager.cancel(order.order_id, LegRole.WORKING, "x")
                await desk.sleep(3)
            share = 0.3 * SPOT.weight[0] / SPOT.weights["balances"]  # type: ignore[index]
            await desk.sleep(60 * (math.ceil(MANY / share) + 3))
            assert all(session.state is UserState.READY for session in everybody)
            assert desk.budgets[Venue.SPOT].counters.bans == 0
        assert max(used.values()) <= SPOT.weight[0]  # type: ignore[index]

    story()


class _Accounts(dict[str, FakeAccount]):
    """The accounts of a venue, which counts what they ask for."""

    def __init__(self, venue: FakeVenue, used: Counter[int]) -> None:
        super().__init__()
        self._venue, self._used = venue, used

    def setdefault(self, key: str, default: FakeAccount | None = None) -> FakeAccount:
        if key not in self:
            self[key] = Counting(self._venue, key, used=self._used)
        return self[key]


# ---------------------------------------------------------------------- row 52

DAYS = 30
ROUNDS_A_DAY = 12
# What one day more may add, and why.
MAY_GROW = {"journal.books.ledger._totals": 4}  # a day's volume, of two users' two sides


def test_row_52_a_month_leaves_nothing_behind_but_its_totals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every container the service keeps, its tasks and its descriptors, at rest after each ten days."""
    monkeypatch.setattr(books, "RECENT", 50)  # full within days, as the real bounds are within weeks
    monkeypatch.setattr(books, "TRADES_REMEMBERED", 50)
    monkeypatch.setattr(feed, "RING", 100)
    monkeypatch.setattr(keeper, "MOST_UNMATCHED", 50)

    @virtual
    async def story() -> None:
        async with Desk(tmp_path / "j.db", alpha_venue(), beat=600.0) as desk:
            await desk.add("1", "2", target="100000000")
            seen = []
            for day in range(1, DAYS + 1):
                for number in range(ROUNDS_A_DAY):
                    await a_round(desk, number)
                if day % 10 == 0:
                    await desk.sleep(1300)
                    seen.append(kept(desk))
        first, second, third = seen
        grown = {
            place: third[place] - second.get(place, 0)
            for place in third
            if third[place] > second.get(place, 0) + 10 * MAY_GROW.get(place, 0)
        }
        assert grown == {}
        assert third["tasks"] == second["tasks"] == first["tasks"]
        assert third["descriptors"] == second["descriptors"]

    story()


async def a_round(desk: Desk, number: int) -> None:
    """A cycle of each user within half an hour: fills, misses, doubts, denials, orders by hand."""
    for user in ("1", "2"):
        account = desk.account(user)
        if number % 7 == 3:
            account.placements.append((answer_lost, request_lost)[number % 2])
        order = await desk.place(user)
        with contextlib.suppress(Denied):
            await desk.place(user)
        await desk.sleep(60)
        order = desk.order(order)
        if order.rejection is None and number % 3 == 0:
            await desk.manager.cancel(order.order_id, LegRole.WORKING, "missed")
        elif order.rejection is None:
            account.fill(account.row(order))
            account.fill(account.row(order, LegRole.PENDING))
        by_hand = account.foreign(Side.BUY, "40", "1")
        await desk.sleep(700)
        account.end(by_hand, LegStatus.CANCELED)
        old = desk.clock.now() - timedelta(hours=2)
        account.rows = {k: row for k, row in account.rows.items() if row.is_open or row.updated_at > old}
        account.trades = [trade for trade in account.trades if trade.traded_at > old]
        account.sent.clear()
        account.cancels.clear()


def kept(desk: Desk) -> dict[str, int]:
    """The length of every container below the service's parts, by where it is kept."""
    sizes: Counter[str] = Counter()
    roots = ("journal", "manager", "care", "resolution", "reconciliation", "keeper", "sessions", "budgets")
    visited: set[int] = {id(desk.venue), id(desk.clock), id(desk.store), id(asyncio.get_running_loop())}
    for root in roots:
        for place, size in containers(getattr(desk, root), root, visited):
            sizes[place] += size
    sizes["tasks"] = len(asyncio.all_tasks())
    sizes["descriptors"] = len(os.listdir("/proc/self/fd"))
    return dict(sizes)


def containers(thing: Any, place: str, visited: set[int]) -> Iterator[tuple[str, int]]:
    """Every container below a thing: its place without keys, and its length."""
    if id(thing) in visited or isinstance(thing, type | FakeAccount | asyncio.Future | str | bytes):
        return
    visited.add(id(thing))
    if isinstance(thing, Mapping):
        yield place, len(thing)
        for value in list(thing.values()):
            yield from containers(value, place, visited)
    elif isinstance(thing, list | tuple | Set | deque):
        yield place, len(thing)
        for value in list(thing):
            yield from containers(value, place, visited)
    elif type(thing).__module__.startswith("order_service"):
        for name in _names(thing):
            yield from containers(getattr(thing, name, None), f"{place}.{name}", visited)


def _names(thing: Any) -> list[str]:
    return [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
