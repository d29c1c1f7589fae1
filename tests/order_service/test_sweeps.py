"""What a sweep reads: everything once, then only what is new, whatever foreign orders rest meanwhile."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from otopilot.instrument import Side, Venue
from otopilot.order import LegStatus, OrderState, UserId
from otopilot.position import UserState
from tests.order_service.behaviours import late
from tests.order_service.desk import Desk, alpha_venue, spot_venue
from tests.order_service.fakes import FakeAccount, FakeVenue
from tests.virtual_loop import virtual


@pytest.fixture
def since(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """From when on each history, or list of trades, was read."""
    asked: list[datetime] = []
    for name in ("order_history", "trades_since"):
        read = getattr(FakeAccount, name)

        async def noted(self: FakeAccount, symbol: str, start: datetime, read: Any = read) -> Any:
            asked.append(start)
            return await read(self, symbol, start)

        monkeypatch.setattr(FakeAccount, name, noted)
    return asked


async def counted(desk: Desk) -> int:
    return int((await desk.accounts.volume("s")).counted)  # type: ignore[arg-type]


@virtual
@pytest.mark.parametrize("make", [alpha_venue, spot_venue])
async def test_an_old_foreign_order_that_rests_does_not_make_every_sweep_read_back_to_it(
    tmp_path: Path, since: list[datetime], make: type[FakeVenue]
) -> None:
    async with Desk(tmp_path / "j.db", make()) as desk:
        await desk.add("1")
        desk.account().foreign(Side.SELL, "60", "1", made=7000)
        await desk.settle()
        since.clear()
        await desk.sleep(600)
        assert len(since) > 50
        assert all((desk.clock.now() - start).total_seconds() < 700 for start in since)
        assert (desk.clock.now() - since[-1]).total_seconds() < 100


@virtual
@pytest.mark.parametrize("make", [alpha_venue, spot_venue])
async def test_one_that_ends_out_of_sight_is_counted_all_the_same(
    tmp_path: Path, make: type[FakeVenue]
) -> None:
    async with Desk(tmp_path / "j.db", make()) as desk:
        await desk.add("1")
        account = desk.account()
        row = account.foreign(Side.BUY, "47", "2", made=7000)
        await desk.settle()
        await desk.sleep(600)
        account.fill(row, "1")
        await desk.sleep(15)
        assert await counted(desk) == 47
        account.hidden_trades.add(row.venue_id)  # its last trade lags behind its end
        account.fill(row)
        await desk.sleep(30)
        account.hidden_trades.clear()
        await desk.sleep(15)
        assert await counted(desk) == 94
        assert desk.session().state is UserState.READY
        calls = account.calls["trades_of"]
        await desk.sleep(600)
        assert account.calls["trades_of"] <= calls + 7  # asked for a minute, then no more


@virtual
async def test_one_that_ended_while_the_service_was_down_is_counted_at_the_start(tmp_path: Path) -> None:
    venue = spot_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        row = desk.account().foreign(Side.BUY, "47", "2", made=7000)
        await desk.settle()
        await desk.sleep(600)
    venue.accounts["1"].fill(row, "1")
    venue.accounts["1"].end(row, LegStatus.CANCELED)
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.settle()
        assert await counted(desk) == 47


@virtual
async def test_a_foreign_order_between_two_sweeps_whose_trades_lag_is_never_left_out(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        account = desk.account()
        row = account.foreign(Side.BUY, "47", "2")
        account.fill(row)
        account.hidden_trades.add(row.venue_id)
        await desk.sleep(200)
        assert desk.sessions.require(Venue.SPOT, UserId("1")).state is UserState.SETTLING
        account.hidden_trades.clear()
        await desk.sleep(30)
        assert await counted(desk) == 94


@virtual
async def test_an_absent_order_that_comes_to_life_late_is_found_in_the_history(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        desk.account().placements.append(late(44))
        desk.account().silent = True
        order = await desk.place()
        await desk.sleep(30)
        assert desk.order(order).state is OrderState.REJECTED
        await desk.sleep(14.1)
        row = next(iter(desk.account().rows.values()))
        desk.account().end(row, LegStatus.EXPIRED)  # gone before any sweep saw it open
        await desk.sleep(20)
        assert desk.order(order).state is OrderState.EXPIRED
