"""Cost limits belong to the placing decision: a loop that does not look cannot get past them."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from order_service.denied import Denied
from otopilot.order import Fee, Order, Purpose, ScopeId, UserId
from otopilot.position import ScopeMember, VolumeScope
from tests.order_service.desk import Desk, alpha_venue
from tests.order_service.row import KOGE
from tests.virtual_loop import virtual


async def limit(desk: Desk, cost: str | None = None, per_1000: str | None = None) -> None:
    """Write the scope again, user 1 with limits, user 2 with none."""
    venue = desk.venue.venue
    one = ScopeMember(
        UserId("1"), venue, KOGE, Decimal(cost) if cost else None, Decimal(per_1000) if per_1000 else None
    )
    members = (one, ScopeMember(UserId("2"), venue, KOGE))
    scope = VolumeScope(scope_id=ScopeId("s"), members=members, target=Decimal(100_000), revision=2)
    await desk.accounts.set_scope(scope, desk.epoch)


async def bought(desk: Desk, fee: Fee | None = None) -> Order:
    """One BUY of user 1, filled: 24 USDT, and 0.0024 of fees unless another is given."""
    order = await desk.place()
    account = desk.account()
    trade = account.fill(account.row(order))
    if fee is not None:
        account.trades[-1] = msgspec.structs.replace(trade, fee=fee)
    await desk.sleep(1)
    return order


async def denial(desk: Desk, user: str = "1") -> Denied:
    with pytest.raises(Denied) as info:
        await desk.place(user)
    assert info.value.reason == "DENIED_COST", info.value.message
    return info.value


@virtual
async def test_no_buy_is_admitted_at_the_cost_limit_and_no_other_user_is_bound_by_it(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        await limit(desk, cost="0.0024")
        await bought(desk)
        no = await denial(desk)
        assert no.metadata == {"cost": "0.0024", "limit": "0.0024", "complete": "true"}
        await desk.place("2")
        await limit(desk, cost="0.0025")
        await desk.place("1", quantity=Decimal("0.4"))


@virtual
async def test_the_limit_per_thousand_is_held_against_what_was_bought(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        await limit(desk, per_1000="0.1")
        await bought(desk)  # 0.0024 on 24 is 0.1 per 1000
        assert (await denial(desk)).metadata["limit"] == "0.1 per 1000 bought"
        await limit(desk, per_1000="0.11")
        await desk.place("1", quantity=Decimal("0.4"))


@virtual
async def test_a_fee_without_a_price_leaves_the_cost_unknown_and_a_limited_user_buys_nothing(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        await limit(desk, cost="1000")
        await bought(desk, Fee("BNB", Decimal("0.001")))
        assert (await denial(desk)).metadata["complete"] == "false"
        await limit(desk)  # without a limit an unknown cost stops nobody
        await desk.place("1", quantity=Decimal("0.4"))


@virtual
async def test_a_cost_limit_never_keeps_base_from_being_sold(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        order = await desk.place()
        account = desk.account()
        account.fill(account.row(order), "0.3")
        await desk.manager.cancel(order.order_id, order.working.role, "x")
        await desk.sleep(2)
        await limit(desk, cost="0.000001")
        await denial(desk)
        sold = await desk.manager.place(desk.sell_ask(purpose=Purpose.RESIDUAL))
        assert not sold.is_over
