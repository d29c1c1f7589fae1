"""Volume scopes and the ledger: admitted exactly to the target, every trade counted once, in its day."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from order_service.denied import Denied
from order_service.ledger import LedgerRow
from order_service.venues.port import VenueSilent
from otopilot.instrument import Side
from otopilot.order import (
    LegRole,
    OrderState,
    StrategyId,
    UserId,
)
from otopilot.position import Position, ScopeVolume, UserState, VolumeSide, VolumeWindow
from tests.order_service.behaviours import answer_lost, refused
from tests.order_service.desk import Desk, alpha_venue, spot_venue
from tests.order_service.row import KOGE
from tests.virtual_loop import START, virtual


async def volume(desk: Desk) -> ScopeVolume:
    return await desk.accounts.volume("s")  # type: ignore[arg-type]


async def position(desk: Desk) -> Position:
    return await desk.accounts.position(UserId("1"), desk.venue.venue, KOGE, StrategyId("st"))


async def left(desk: Desk, user: str = "1", **changes: object) -> str:
    """What a denial says is left."""
    with pytest.raises(Denied) as info:
        await desk.place(user, **changes)
    assert info.value.reason == "DENIED_SCOPE", info.value.message
    return info.value.metadata["left"]


@virtual
async def test_a_shared_target_is_admitted_exactly_over_users(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2", "3", target="48")
        first = await desk.place("1")  # 24
        assert (await desk.place("2")).state is OrderState.WORKING  # 24
        assert await left(desk, "3", quantity=Decimal("0.2")) == "0"
        desk.account("1").fill(desk.account("1").row(first))
        await desk.sleep(1)
        figures = await volume(desk)
        assert (figures.counted, figures.reserved, figures.left) == (24, 24, 0)
        await left(desk, "1", quantity=Decimal("0.2"))


@virtual
async def test_one_smallest_order_is_admitted_below_it_and_only_when_nothing_is_reserved(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2", target="26")
        first = await desk.place("1")  # 24: 2 are left, less than the 5 of the smallest
        assert await left(desk, "2", quantity=Decimal("0.105")) == "2"
        desk.account("1").fill(desk.account("1").row(first))
        await desk.sleep(1)
        assert await left(desk, "2", quantity=Decimal("0.2")) == "2"
        with pytest.raises(Denied) as info:
            await desk.place("2", quantity=Decimal("0.2"))
        smallest = Decimal(info.value.metadata["smallest_quantity"])
        assert (await desk.place("2", quantity=smallest)).state is OrderState.WORKING
        await left(desk, "1", quantity=smallest)


@virtual
async def test_what_is_too_little_for_the_sell_alone_is_denied_with_the_smallest_order(
    tmp_path: Path,
) -> None:
    venue = spot_venue()
    venue.fee = Decimal("0.001")
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1", target="5.01")
        assert (await position(desk)).buy_fee_rate is None
        prices = {"price": Decimal(50), "pending_price": Decimal(50)}
        with pytest.raises(Denied) as info:
            await desk.place("1", quantity=Decimal("0.100"), **prices)  # 0.0999 would be left to sell
        assert (info.value.reason, info.value.metadata["filter"]) == ("DENIED_FILTER", "NOTIONAL")
        smallest = Decimal(info.value.metadata["smallest_quantity"])
        assert smallest == Decimal("0.101")
        assert (await position(desk)).buy_fee_rate == Decimal("0.001")  # whoever asks next knows it
        order = await desk.place("1", quantity=smallest, **prices)  # 0.04 above the target
        assert order.state is OrderState.WORKING
        assert order.pending is not None
        assert order.pending.quantity == Decimal("0.100")


@virtual
async def test_fills_that_are_not_in_the_ledger_yet_stay_reserved(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2", target="24")
        order = await desk.place("1")
        account = desk.account("1")
        account.hidden_trades.add(account.row(order).venue_id)
        account.fill(account.row(order))
        await desk.sleep(1)
        figures = await volume(desk)
        assert (figures.counted, figures.reserved) == (0, 24)
        await left(desk, "2", quantity=Decimal("0.2"))


@virtual
async def test_a_member_whose_history_cannot_be_read_places_nothing(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        desk.account("1").failing["order_history"] = VenueSilent("down", "no answer")
        await desk.settle()
        with pytest.raises(Denied) as info:
            await desk.place("1")
        assert info.value.reason == "USER_SETTLING"
        assert (await desk.place("2")).state is OrderState.WORKING
        desk.account("1").failing.clear()
        await desk.sleep(15)
        assert desk.session("1").state is UserState.READY
        assert (await desk.place("1")).state is OrderState.WORKING


@virtual
async def test_a_longer_window_must_be_read_before_anything_is_placed_in_it(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        old = desk.account().foreign(Side.BUY, "48.00", "1", made=86_400 * 30)
        desk.account().fill(old)
        moved = desk.account().trades[-1]
        ago = START - timedelta(days=30)
        desk.account().trades[-1] = msgspec.structs.replace(moved, traded_at=ago)
        desk.account().failing["order_history"] = VenueSilent("down", "no answer")
        scope = await desk.scope("1000", "1", window=VolumeWindow.ALL, revision=2)
        assert not scope.complete
        with pytest.raises(Denied) as info:
            await desk.place()
        assert info.value.reason == "USER_SETTLING"
        desk.account().failing.clear()
        await desk.settle()
        figures = await volume(desk)
        assert figures.complete
        assert figures.counted == 48


@virtual
async def test_foreign_trades_count_in_volume_and_never_in_inventory_or_cost(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        row = desk.account().foreign(Side.BUY, "47.00", "2")
        desk.account().fill(row, "1")
        await desk.settle()
        await desk.settle()
        assert (await volume(desk)).counted == 47
        inventory = desk.journal.books.ledger.inventory(desk.key())
        assert (inventory.base, inventory.realised_cost) == (0, 0)
        desk.account().fill(row)
        await desk.settle()
        assert (await volume(desk)).counted == 94


@virtual
async def test_foreign_trades_survive_a_commit_that_failed(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().fill(desk.account().foreign(Side.BUY, "47.00", "2"))
        desk.store.failures = 1
        await desk.settle()
        await desk.sleep(30)
        assert (await volume(desk)).counted == 94
        assert desk.session().state is UserState.READY


@virtual
async def test_foreign_trades_that_lag_keep_the_user_from_placing(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        row = desk.account().foreign(Side.BUY, "47.00", "2")
        desk.account().hidden_trades.add(row.venue_id)
        desk.account().fill(row)
        await desk.settle()
        assert desk.session().state is UserState.SETTLING
        await desk.sleep(300)  # long out of what a sweep reads again anyway
        desk.account().hidden_trades.clear()
        await desk.sleep(15)
        assert desk.session().state is UserState.READY
        assert (await volume(desk)).counted == 94


@virtual
async def test_a_foreign_trade_becomes_own_after_adoption_and_is_counted_once(tmp_path: Path) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        account = desk.account()
        account.silent = True
        account.placements.append(answer_lost)
        account.failing["open_orders"] = VenueSilent("down", "no answer")
        order = await desk.place()
        await desk.sleep(1)
        # The sweep reads the fill before anybody knows whose it is.
        account.fill(next(row for row in account.rows.values() if row.role is LegRole.WORKING))
        row = LedgerRow(account=desk.key(), trade=account.trades[0], order_id=None, fee_value=None)
        await desk.journal.run(lambda tx: tx.add_trade(row))
        assert (await volume(desk)).counted == 24
        account.failing.clear()
        await desk.sleep(20)
        assert desk.order(order).state is OrderState.TRIGGERED
        inventory = desk.journal.books.ledger.inventory(desk.key())
        assert inventory.bought_quote == 24
        assert (await volume(desk)).counted == 24
        assert not list(desk.store.trades("order_id IS NULL", ()))
    async with Desk(tmp_path / "j.db", venue) as desk:
        assert desk.journal.books.ledger.inventory(desk.key()) == inventory
        assert (await volume(desk)).counted == 24


@virtual
async def test_a_trade_key_met_twice_is_counted_once_and_fails_nobody(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        trade = desk.account().fill(desk.account().row(order))
        await desk.sleep(1)
        foreign = LedgerRow(account=desk.key(), trade=trade, order_id=None, fee_value=None)
        assert await desk.journal.run(lambda tx: tx.add_trade(foreign)) is False
        assert (await volume(desk)).counted == 24


@virtual
async def test_a_trade_of_an_order_the_venue_refused_is_an_alarm_and_counts_all_the_same(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        desk.account().placements.append(refused)
        order = await desk.place()
        assert order.state is OrderState.REJECTED
        rows = desk.account().accept(order)  # it said no, and does it
        desk.account().fill(rows[0])
        await desk.settle()
        await desk.settle()
        assert desk.order(order).state is OrderState.REJECTED
        assert desk.session().reason_code == "contradiction"
        assert (await volume(desk)).counted == 24
        assert desk.journal.books.ledger.inventory(desk.key()).base == 0


@virtual
async def test_both_sides_count_when_asked(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        await desk.scope("1000", "1", side=VolumeSide.BOTH, revision=2)
        order = await desk.place()
        assert (await volume(desk)).reserved == order.working.price * order.working.quantity + (
            order.pending.price * order.pending.quantity  # type: ignore[union-attr]
        )
        account = desk.account()
        account.fill(account.row(order))
        await desk.sleep(0.5)
        account.fill(account.row(desk.order(order), LegRole.PENDING))
        await desk.sleep(1)
        assert desk.order(order).state is OrderState.COMPLETED
        figures = await volume(desk)
        assert figures.counted == sum(trade.quote for trade in account.trades)
        assert figures.reserved == 0


@virtual
async def test_a_day_scope_starts_at_midnight_utc_and_open_buys_stay_reserved(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        midnight = datetime(2026, 6, 2, tzinfo=UTC)
        before = await desk.place("1")
        await desk.sleep((midnight - desk.clock.now()).total_seconds() - 0.05)
        desk.account("1").fill(desk.account("1").row(before), "0.2")
        await desk.sleep(0.02)
        assert (await volume(desk)).counted == Decimal("9.6")
        await desk.sleep(1)
        figures = await volume(desk)
        assert (figures.counted, figures.reserved) == (0, Decimal("14.4"))
        assert figures.window_start == midnight
        assert figures.complete


@virtual
async def test_a_since_scope_counts_from_its_moment_also_what_is_committed_with_it(tmp_path: Path) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        order = await desk.place()
        account = desk.account()
        account.fill(account.row(order), "0.1")
        await desk.sleep(5)
        since = desk.clock.now()
        await desk.sleep(5)
        desk.store.seconds = 0.2  # the fill and the scope are decided in one batch
        account.fill(account.row(order), "0.2")
        await desk.sleep(0.1)
        await desk.scope("1000", "1", window=VolumeWindow.SINCE, since=since, revision=2)
        assert (await volume(desk)).counted == Decimal("9.6")
        account.fill(account.row(order))
        await desk.sleep(86_400)
        assert (await volume(desk)).counted == Decimal("19.2")
    async with Desk(tmp_path / "j.db", venue) as desk:
        assert (await volume(desk)).counted == Decimal("19.2")


@virtual
async def test_an_older_revision_or_owner_never_replaces_a_scope(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        await desk.scope("10", "1", revision=5)
        with pytest.raises(Denied, match="already at revision 5"):
            await desk.scope("20", "1", revision=4)
        desk.epoch = 0
        with pytest.raises(Denied, match="owner epoch"):
            await desk.scope("20", "1", revision=6)
