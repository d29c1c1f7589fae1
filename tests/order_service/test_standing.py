"""The filters that count what an account has open or holds, before anything is sent (binance-spot 2.3)."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from order_service.denied import Denied
from order_service.venues.port import AssetBalance
from otopilot import money
from otopilot.instrument import Side
from otopilot.order import LegRole, Order, OrderState
from tests.order_service.behaviours import answer_lost, refused_by_filter
from tests.order_service.desk import Desk, spot_venue
from tests.order_service.fakes import FakeVenue
from tests.order_service.row import Row
from tests.virtual_loop import virtual


def limited(**rules: Any) -> FakeVenue:
    venue = spot_venue()
    venue.known = msgspec.structs.replace(venue.known, **rules)
    return venue


async def denied(desk: Desk, name: str, value: str, limit: str, **changes: Any) -> None:
    """Denied by the filter, in words that name value and limit; nothing was sent."""
    sent = len(desk.account().sent)
    with pytest.raises(Denied) as info:
        await desk.place(**changes)
    assert (info.value.reason, info.value.metadata) == ("DENIED_FILTER", {"filter": name})
    assert f"{name}: " in info.value.message
    assert f" {value} is above {limit}" in info.value.message
    assert len(desk.account().sent) == sent


async def sold_out_of(desk: Desk) -> Order:
    """An OTO whose BUY is filled: its SELL rests, its list is open."""
    order = await desk.place()
    desk.account().fill(desk.account().row(order))
    await desk.sleep(0.5)
    return order


async def foreign(desk: Desk, side: Side, quantity: str = "0.3", list_id: str | None = None) -> Row:
    row = desk.account().foreign(side, "40" if side is Side.BUY else "60", quantity)
    row.list_id = list_id
    await desk.settle()
    return row


@virtual
async def test_max_num_orders_counts_both_new_legs_and_foreign_orders_2_3(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", limited(max_num_orders=4)) as desk:
        await desk.add("1")
        await sold_out_of(desk)
        await foreign(desk, Side.SELL)
        await desk.place(validate_only=True)  # 1 SELL + 1 foreign + 2 are not above 4
        other = await foreign(desk, Side.SELL)
        await denied(desk, "MAX_NUM_ORDERS", "5", "4")
        del desk.account().rows[other.venue_id]
        await desk.settle()
        assert (await desk.place()).state is OrderState.WORKING


@virtual
async def test_max_num_order_lists_counts_lists_with_a_leg_open_and_binds_lists_only_2_3(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", limited(max_num_order_lists=2)) as desk:
        await desk.add("1")
        await sold_out_of(desk)
        await foreign(desk, Side.SELL, list_id="900")
        await denied(desk, "MAX_NUM_ORDER_LISTS", "3", "2")
        single = await desk.place(pending_price=None, validate_only=True)
        assert single.pending is None


@virtual
async def test_an_order_in_doubt_is_not_counted_for_it_may_not_exist_2_3(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", limited(max_num_orders=2)) as desk:
        await desk.add("1")
        bought = await desk.place()
        account = desk.account()
        account.fill(account.row(bought), "0.4")
        await desk.sleep(0.5)
        await desk.manager.cancel(bought.order_id, LegRole.WORKING, "test")
        await desk.sleep(1)
        desk.venue.known = msgspec.structs.replace(desk.venue.known, max_num_orders=1)
        account.placements.append(answer_lost)
        account.failing["look_up"] = account.failing["open_orders"] = ConnectionError("down")
        doubtful = await desk.manager.place(desk.sell_ask(quantity=Decimal("0.15")))
        assert doubtful.state is OrderState.IN_DOUBT
        again = await desk.manager.place(desk.sell_ask(quantity=Decimal("0.12")))
        assert again.state is OrderState.WORKING
        with pytest.raises(Denied, match="MAX_NUM_ORDERS: open orders 2 is above 1"):
            await desk.manager.place(desk.sell_ask(quantity=Decimal("0.11")))


@virtual
async def test_the_counts_over_all_symbols_bind_with_the_new_order_2_3(tmp_path: Path) -> None:
    rules = {"exchange_max_num_orders": 3, "exchange_max_num_order_lists": 1}
    async with Desk(tmp_path / "j.db", limited(**rules)) as desk:
        await desk.add("1", "2")
        await sold_out_of(desk)
        await denied(desk, "EXCHANGE_MAX_NUM_ORDER_LISTS", "2", "1")
        await foreign(desk, Side.SELL)
        await denied(desk, "EXCHANGE_MAX_NUM_ORDERS", "4", "3")
        assert (await desk.place("2")).state is OrderState.WORKING  # another account


@virtual
async def test_max_position_counts_base_held_foreign_buys_and_the_new_one_2_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Desk(tmp_path / "j.db", limited(max_position=Decimal("1.5"))) as desk:
        await desk.add("1")
        account, usdt = desk.account(), AssetBalance("USDT", Decimal(1000), Decimal(0))

        async def balances() -> tuple[AssetBalance, ...]:
            return (usdt, AssetBalance("ALPHA_22", Decimal("0.4"), Decimal("0.3")))

        monkeypatch.setattr(account, "balances", balances)
        desk.session().forget_balances()
        await foreign(desk, Side.BUY, "0.3")
        await desk.place(validate_only=True)  # 0.7 held + 0.3 + 0.5 are not above 1.5
        await denied(desk, "MAX_POSITION", "1.501", "1.5", quantity=Decimal("0.501"))


@virtual
async def test_a_band_price_that_is_not_known_leaves_the_band_to_the_venue_2_3(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", limited(bid_multiplier_down=Decimal("0.9"))) as desk:
        await desk.add("1")
        desk.venue.price = Decimal(60)
        with pytest.raises(Denied, match="PERCENT_PRICE: price 48 is below the band 54"):
            await desk.place()
        desk.venue.band_unknown = True
        assert (await desk.place()).state is OrderState.WORKING


@virtual
async def test_max_asset_binds_each_leg_by_the_accounts_own_limits_2_3(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        asked = await desk.place(validate_only=True)
        assert asked.pending is not None
        sold = asked.pending.price * asked.pending.quantity
        desk.account().limits = {"USDT": sold, "BNB": asked.working.quantity, "EUR": Decimal(0)}
        desk.session().distrust_order_limits()
        await desk.place(validate_only=True)
        desk.account().limits = {"USDT": sold - Decimal("0.01")}
        desk.session().distrust_order_limits()
        await denied(desk, "MAX_ASSET", money.text(sold), money.text(sold - Decimal("0.01")))


@virtual
async def test_an_accounts_limits_are_read_once_an_hour_and_again_when_a_filter_refuses_2_3(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        for _ in range(2):
            await desk.place(validate_only=True)
        assert desk.account().calls["order_limits"] == 1
        desk.account().placements.append(refused_by_filter)
        desk.account().limits = {"USDT": Decimal(1)}
        await desk.place()
        assert desk.account().calls["order_limits"] == 1
        with pytest.raises(Denied, match="MAX_ASSET"):
            await desk.place()
        desk.account().limits = {}
        await desk.sleep(3_601)
        await desk.place(validate_only=True)


@virtual
async def test_where_no_oto_is_allowed_none_is_sent_and_a_single_order_is_2_2(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", limited(oto_allowed=False)) as desk:
        await desk.add("1")
        with pytest.raises(Denied, match="OTO: the symbol takes no OTO") as info:
            await desk.place()
        assert (info.value.reason, info.value.metadata) == ("DENIED_FILTER", {"filter": "OTO"})
        assert desk.account().sent == []
        assert (await desk.place(pending_price=None)).state is OrderState.WORKING
