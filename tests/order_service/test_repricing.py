"""Re-pricing holds its new price from the wish on; the guard's alarms: a shared trade, a prevented match."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from order_service.denied import Denied
from order_service.venues.port import SELF_MATCH, OrderPushed
from otopilot.instrument import Side
from otopilot.order import LegRole, LegStatus, Order, OrderState, Purpose
from otopilot.position import UserState
from tests.order_service.desk import Desk, alpha_venue, spot_venue
from tests.virtual_loop import virtual

MID, HIGH = Decimal("48.00"), Decimal("49.00")


async def denied(desk: Desk, user: str, **changes: object) -> Denied:
    with pytest.raises(Denied) as info:
        await desk.place(user, **changes)
    assert info.value.reason == "DENIED_GUARD", info.value.message
    return info.value


# ---------------------------------------------------------------------- re-pricing


async def resting(desk: Desk, user: str) -> Order:
    """A SELL at 48.50 on the book."""
    order = await desk.place(user)
    account = desk.account(user)
    account.fill(account.row(order))
    await desk.sleep(0.5)
    return order


@virtual
async def test_a_re_pricing_claims_its_new_price_at_once_and_until_the_sell_is_back(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2")
        order = await resting(desk, "1")
        desk.account("1").cancels_to_lose = 2
        lower = Decimal("48.20")
        at_it = {"price": lower, "pending_price": HIGH}
        await desk.manager.cancel(order.order_id, LegRole.PENDING, "reprice", lower)
        no = await denied(desk, "2", **at_it)
        assert no.metadata["blocking_order_id"] == f"reprice:{order.order_id}"
        await desk.sleep(5)
        assert desk.order(order).settled  # off the book, not back yet
        await denied(desk, "2", **at_it)
        back = desk.sell_ask("1", purpose=Purpose.REPRICE, price=lower, quantity=Decimal("0.499"))
        sell = await desk.manager.place(back)
        no = await denied(desk, "2", **at_it)
        assert no.metadata["blocking_order_id"] == sell.order_id
        await desk.manager.cancel(sell.order_id, LegRole.WORKING, "x")
        await desk.sleep(1)
        assert (await desk.place("2", **at_it)).state is OrderState.WORKING


@virtual
async def test_a_re_pricing_that_nobody_goes_on_with_is_given_up_after_half_a_minute(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2")
        order = await resting(desk, "1")
        await desk.manager.cancel(order.order_id, LegRole.PENDING, "reprice", Decimal("48.20"))
        at_it = {"price": Decimal("48.20"), "pending_price": HIGH}
        await desk.sleep(29)
        await denied(desk, "2", **at_it)
        await desk.sleep(2)
        assert (await desk.place("2", **at_it)).state is OrderState.WORKING


@virtual
async def test_a_re_pricing_outlives_a_restart(tmp_path: Path) -> None:
    venue = spot_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1", "2")
        order = await resting(desk, "1")
        await desk.manager.cancel(order.order_id, LegRole.PENDING, "reprice", Decimal("48.20"))
        await desk.sleep(1)
        assert desk.order(order).settled
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.settle()
        no = await denied(desk, "2", price=Decimal("48.20"), pending_price=HIGH)
        assert no.metadata["blocking_order_id"] == f"reprice:{order.order_id}"


@virtual
async def test_a_re_pricing_ends_when_the_sell_fills_after_all(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2")
        order = await resting(desk, "1")
        desk.account("1").cancels_to_lose = 1
        await desk.manager.cancel(order.order_id, LegRole.PENDING, "reprice", Decimal("48.20"))
        desk.account("1").fill(desk.account("1").row(order, LegRole.PENDING))
        await desk.sleep(3)
        assert (await desk.place("2", price=Decimal("48.20"), pending_price=HIGH)).state is OrderState.WORKING


@virtual
async def test_only_a_sell_can_be_re_priced(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        with pytest.raises(Denied) as info:
            await desk.manager.cancel(order.order_id, LegRole.WORKING, "reprice", MID)
        assert info.value.reason == "NOT_A_SELL"


# ---------------------------------------------------------------------- alarms


async def match(desk: Desk, buyer: str, seller: str) -> None:
    """Two managed accounts trade with each other, by orders placed by hand."""
    one, other = desk.account(buyer), desk.account(seller)
    trade = one.fill(one.foreign(Side.BUY, "48", "1"))
    other.fill(other.foreign(Side.SELL, "48", "1"))
    other.trades[-1] = msgspec.structs.replace(other.trades[-1], key=trade.key)
    await desk.settle()


@virtual
async def test_one_trade_in_two_accounts_stops_everybody(tmp_path: Path) -> None:
    """Reliability I8, live: managed orders have matched, and nobody places before a person has looked."""
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2", "3")
        rows = [
            desk.account("1").foreign(Side.BUY, "48", "1"),
            desk.account("2").foreign(Side.SELL, "48", "1"),
        ]
        trade = desk.account("1").fill(rows[0])
        desk.account("2").fill(rows[1])
        desk.account("2").trades[-1] = msgspec.structs.replace(desk.account("2").trades[-1], key=trade.key)
        await desk.settle()
        assert desk.journal.books.guard.counters.shared_trades == 1
        for user in "123":
            assert (desk.session(user).state, desk.session(user).reason_code) == (
                UserState.STOPPED,
                "self_match",
            )
            with pytest.raises(Denied) as info:
                await desk.place(user)
            assert info.value.reason == "USER_STOPPED"


@virtual
async def test_the_stop_after_a_match_is_kept_over_a_restart(tmp_path: Path) -> None:
    venue = spot_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1", "2")
        rows = [
            desk.account("1").foreign(Side.BUY, "48", "1"),
            desk.account("2").foreign(Side.SELL, "48", "1"),
        ]
        trade = desk.account("1").fill(rows[0])
        desk.account("2").fill(rows[1])
        desk.account("2").trades[-1] = msgspec.structs.replace(desk.account("2").trades[-1], key=trade.key)
        await desk.settle()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.settle()
        assert desk.session("1").reason_code == "self_match"


@virtual
async def test_the_stop_after_a_match_is_as_durable_as_the_trade_that_shows_it(tmp_path: Path) -> None:
    venue = spot_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1", "2", "3")
        orders = [await desk.place(user) for user in "12"]
        desk.journal._listeners.clear()  # killed before anybody heard of the commit
        one, other = (desk.account(user) for user in "12")
        one.silent = other.silent = True
        trade = one.fill(one.row(orders[0]))
        other.fill(other.row(orders[1]))
        other.trades[-1] = msgspec.structs.replace(other.trades[-1], key=trade.key)
        await desk.settle()
        assert desk.journal.books.guard.counters.shared_trades == 1
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.settle()
        assert [desk.session(user).reason_code for user in "123"] == ["self_match"] * 3


@virtual
async def test_an_expiry_by_the_venues_own_prevention_is_counted_as_an_alarm(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        row = desk.account().row(order)
        row.status = LegStatus.EXPIRED
        fact = msgspec.structs.replace(row.fact(), expiry_reason=SELF_MATCH)
        for sink in desk.account().sinks:
            sink(OrderPushed(fact))
        await desk.sleep(1)
        assert desk.order(order).state is OrderState.EXPIRED
        assert desk.journal.books.guard.counters.expired_in_match == 1
