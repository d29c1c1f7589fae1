"""The guard and the fingerprints: no two managed orders may cross, no two look alike."""

import contextlib
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_service.denied import Denied, JournalFailed
from order_service.fingerprint import MEMORY, Fingerprint, Fingerprints, NoneFree
from order_service.guard import Blocked, Claim, Guard
from otopilot.instrument import Side, Venue
from otopilot.order import LegRole, LegStatus, OrderId, OrderState, UserId
from tests.order_service.desk import Desk, alpha_venue, spot_venue
from tests.order_service.fakes import INSTRUMENT
from tests.order_service.row import KOGE
from tests.virtual_loop import START, virtual

MARKET = (Venue.ALPHA, KOGE)
TICK = Decimal("0.01")


@virtual
async def test_a_buy_is_lowered_to_one_tick_under_the_lowest_sell_within_its_room(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2")
        await desk.place("1")  # its SELL waits at 48.50
        price = {"price": Decimal("48.60"), "pending_price": Decimal("49.00")}
        with pytest.raises(Denied) as info:
            await desk.place("2", limit_price=Decimal("48.50"), **price)
        assert info.value.reason == "DENIED_GUARD"
        assert info.value.metadata["blocking_price"] == "48.5"
        order = await desk.place("2", limit_price=Decimal("48.49"), **price)
        assert order.working.price == Decimal("48.49")
        assert order.working.asked_price == Decimal("48.60")


@virtual
async def test_a_denied_user_is_told_to_ask_again_when_the_claim_goes(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2")
        order = await desk.place("1")
        with pytest.raises(Denied):
            await desk.place("2", price=Decimal("48.60"), pending_price=Decimal("49.00"))
        sequence = desk.feed.newest
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "x")
        await desk.sleep(1)
        told = [item.ask_again for _, item in desk.feed.after(sequence) if item.ask_again]
        assert told == [("2",)]
        again = await desk.place("2", price=Decimal("48.60"), pending_price=Decimal("49.00"))
        assert again.state is OrderState.WORKING


@virtual
async def test_only_what_the_guard_itself_moved_counts_as_lowered(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        first = await desk.place("1")
        await desk.manager.cancel(first.order_id, LegRole.WORKING, "x")
        await desk.sleep(1)
        again = await desk.place("1")
        assert again.working.price == Decimal("47.99"), "its fingerprint was taken"
        counters = desk.journal.books.guard.counters
        assert counters.lowered == 0
        price = {"price": Decimal("48.60"), "pending_price": Decimal("49.00")}
        await desk.place("2", limit_price=Decimal("48.49"), **price)
        assert counters.lowered == 1


@virtual
async def test_known_foreign_orders_bar_ours_and_their_end_wakes(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        row = desk.account("1").foreign(Side.SELL, "47.90", "1")
        await desk.settle()
        with pytest.raises(Denied) as info:
            await desk.place("2")
        assert info.value.metadata["blocking_order_id"] == f"foreign:1:{row.venue_id}"
        assert desk.journal.books.open_sells(desk.key("1")) == 1
        sequence = desk.feed.newest
        desk.account("1").fill(row)
        await desk.settle()
        assert [i.ask_again for _, i in desk.feed.after(sequence) if i.ask_again] == [("2",)]
        assert (await desk.place("2")).state is OrderState.WORKING


@virtual
async def test_a_removed_users_own_orders_bar_nobody_any_more(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        desk.account("1").foreign(Side.SELL, "47.90", "1")
        await desk.settle()
        with pytest.raises(Denied):
            await desk.place("2")
        sequence = desk.feed.newest
        await desk.users.remove(UserId("1"), Venue.ALPHA)
        assert [i.ask_again for _, i in desk.feed.after(sequence) if i.ask_again] == [("2",)]
        assert (await desk.place("2")).state is OrderState.WORKING


@virtual
async def test_foreign_claims_outlive_a_failed_commit(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        desk.account("1").foreign(Side.SELL, "47.90", "1")
        await desk.settle()
        desk.store.failures = 1
        with pytest.raises(JournalFailed):
            await desk.accounts.claim("x")
        assert desk.journal.books.guard.foreign_count() == 1


@given(st.data())
def test_no_two_claims_of_different_orders_ever_cross(data: st.DataObject) -> None:
    """Reliability I9, over every sequence of placements and ends."""
    guard = Guard()
    prices = st.integers(1, 20).map(Decimal)
    held: dict[str, Claim] = {}
    for number in range(data.draw(st.integers(1, 25))):
        if held and data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(held)))
            del held[gone]
            guard.set(MARKET, OrderId(gone), None)
            continue
        bid, ask = data.draw(st.none() | prices), data.draw(st.none() | prices)
        try:
            verdict = guard.decide(
                MARKET,
                bid=bid,
                min_bid=data.draw(st.none() | prices),
                ask=ask,
                max_ask=data.draw(st.none() | prices),
                tick=TICK,
            )
        except Blocked:
            continue
        claim = Claim(str(number), UserId("1"), verdict.bid, verdict.ask)
        held[str(number)] = claim
        guard.set(MARKET, OrderId(str(number)), claim)
    for one in held.values():
        for other in held.values():
            if one is not other and one.bid is not None and other.ask is not None:
                assert one.bid < other.ask


# ---------------------------------------------------------------------- fingerprints


def wanted(side: Side = Side.BUY, price: str = "48.00", quantity: str = "10") -> Fingerprint:
    return Fingerprint(Venue.ALPHA, KOGE, "1", side, Decimal(price), Decimal(quantity), True)


def test_a_buy_is_lowered_by_ticks_first_then_by_steps() -> None:
    prints = Fingerprints()
    chosen = []
    with contextlib.suppress(NoneFree):
        while True:
            one = prints.choose(wanted(), INSTRUMENT, START)
            prints.take(one, "x", None)
            chosen.append((one.price, one.quantity))
    # 0.1 % of 480 is 0.48: four ticks of 10 units are 0.4, and a step of 0.001 is 0.048.
    ticks = [Decimal("48.00") - TICK * tick for tick in range(5)]
    assert chosen[:5] == [(price, Decimal(10)) for price in ticks]
    assert chosen[5] == (Decimal("48.00"), Decimal("9.999"))
    assert len(set(chosen)) == len(chosen)
    assert all(price * quantity >= Decimal("479.52") for price, quantity in chosen)


def test_a_sell_keeps_its_price_and_goes_down_nine_steps() -> None:
    prints = Fingerprints()
    for step in range(10):
        one = prints.choose(wanted(Side.SELL), INSTRUMENT, START)
        assert (one.price, one.quantity) == (Decimal("48.00"), Decimal(10) - step * INSTRUMENT.step_size)
        prints.take(one, str(step), START + MEMORY)
    with pytest.raises(NoneFree) as info:
        prints.choose(wanted(Side.SELL), INSTRUMENT, START)
    assert info.value.free_at == START + MEMORY


def test_a_fingerprint_frees_ten_minutes_after_the_end_and_the_memory_with_it() -> None:
    prints = Fingerprints()
    prints.take(wanted(), "a", None)
    prints.take(wanted(), "a", START + MEMORY)
    prints.take(wanted(), "b", START + 2 * MEMORY)
    prints.forget_expired(START + MEMORY)
    assert prints.holders(wanted()) == ["b"]
    prints.forget_expired(START + 2 * MEMORY - timedelta(milliseconds=1))
    assert prints.holders(wanted()) == ["b"]
    prints.forget_expired(START + 2 * MEMORY)
    assert prints.taken() == {}


def test_an_order_that_lives_again_keeps_its_fingerprint() -> None:
    prints = Fingerprints()
    prints.take(wanted(), "a", START + MEMORY)
    prints.take(wanted(), "a", None)
    prints.forget_expired(START + 10 * MEMORY)
    assert prints.holders(wanted()) == ["a"]


@virtual
async def test_when_every_fingerprint_is_taken_the_denial_says_when_one_frees(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        placed = []
        for _ in range(5):
            order = await desk.place()
            placed.append(order.working.price)
            await desk.manager.cancel(order.order_id, LegRole.WORKING, "x")
            await desk.sleep(1)
        with pytest.raises(Denied) as info:
            await desk.place()
        assert info.value.reason == "DENIED_FINGERPRINT"
        # 0.1 % of 24 USDT is 0.024: four ticks of half a unit.
        assert placed == [Decimal("48.00") - TICK * tick for tick in range(5)]
        await desk.sleep(605)
        assert (await desk.place()).working.price == Decimal("48.00")


@virtual
async def test_where_the_venue_takes_ids_no_fingerprint_is_remembered(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        for _ in range(3):
            order = await desk.place()
            assert order.working.price == Decimal("48.00")
            await desk.manager.cancel(order.order_id, LegRole.WORKING, "x")
            await desk.sleep(1)
        assert desk.journal.books.fingerprints.taken() == {}


@virtual
async def test_strangers_fingerprints_are_forgotten_though_nobody_places(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        account, prints = desk.account(), desk.journal.books.fingerprints
        stranger = account.foreign(Side.BUY, "47.00", "0.5")
        await desk.settle()
        assert len(prints.taken()) == 1
        account.end(stranger, LegStatus.CANCELED)
        await desk.sleep(MEMORY.total_seconds() + 30)
        assert prints.taken() == {}
