"""Who waits for the guard: whom they hold back, who goes first, and that nobody waits for ever."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from order_service.denied import Denied
from order_service.guard import Blocked, Claim, Guard, Verdict
from otopilot.instrument import Side, Venue
from otopilot.order import LegRole, Order, OrderId, OrderState, UserId
from tests.order_service.behaviours import answer_lost, request_lost
from tests.order_service.desk import Desk, spot_venue
from tests.order_service.row import KOGE
from tests.virtual_loop import START, virtual

MARKET = (Venue.SPOT, KOGE)
LOW, MID, HIGH = Decimal("47.00"), Decimal("48.00"), Decimal("49.00")
TICK = Decimal("0.01")


def told(desk: Desk, since: int) -> list[tuple[str, ...]]:
    """Who was told to ask again, item by item."""
    return [item.ask_again for _, item in desk.feed.after(since) if item.ask_again]


async def denied(desk: Desk, user: str, **changes: object) -> Denied:
    with pytest.raises(Denied) as info:
        await desk.place(user, **changes)
    assert info.value.reason == "DENIED_GUARD", info.value.message
    return info.value


async def holding(desk: Desk, user: str, quantity: str = "0.5") -> Order:
    """The user bought that much and its SELL was taken off the book: base that no SELL covers."""
    order = await desk.place(user)
    account = desk.account(user)
    account.fill(account.row(order))
    await desk.sleep(0.5)
    await desk.manager.cancel(order.order_id, LegRole.PENDING, "x")
    await desk.sleep(1)
    return order


# ---------------------------------------------------------------------- whom a ticket holds back


@virtual
async def test_a_waiting_sell_that_only_buys_in_flight_block_holds_new_buys_back(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2", "3")
        await holding(desk, "1")
        flying = await desk.place("2")  # BUY at 48.00
        sell = {"price": Decimal("47.50"), "quantity": Decimal("0.2")}
        with pytest.raises(Denied):
            await desk.manager.place(desk.sell_ask("1", **sell))
        no = await denied(desk, "3", price=MID, limit_price=Decimal("47.60"))
        assert no.metadata["blocking_order_id"] == "ticket:1:sell"
        # One with room to go under it does so.
        lowered = await desk.place("3", price=MID, limit_price=LOW)
        assert lowered.working.price == Decimal("47.49")
        since = desk.feed.newest
        await desk.manager.cancel(flying.order_id, LegRole.WORKING, "x")
        await desk.sleep(0.5)
        assert told(desk, since) == [("1",)]
        assert (await desk.manager.place(desk.sell_ask("1", **sell))).state is OrderState.WORKING


@virtual
async def test_a_ticket_lapses_two_seconds_after_its_last_ask(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2", "3")
        await holding(desk, "1")
        await desk.place("2")
        sell = {"price": Decimal("47.50"), "quantity": Decimal("0.2")}
        for _ in range(2):
            with pytest.raises(Denied):
                await desk.manager.place(desk.sell_ask("1", **sell))
            await desk.sleep(1.9)
        await denied(desk, "3")  # 1.9 s after the last ask, 3.8 after the first
        await desk.sleep(0.2)
        assert (await desk.place("3")).state is OrderState.WORKING
        assert desk.journal.books.guard.tickets.lapsed == 1


@virtual
async def test_one_that_a_resting_or_doubtful_order_blocks_holds_back_nobody(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2", "3")
        await holding(desk, "1")
        desk.account("2").placements.append(answer_lost)
        desk.account("2").failing["look_up"] = ConnectionError("down")
        doubtful = await desk.place("2")
        assert doubtful.state is OrderState.IN_DOUBT
        with pytest.raises(Denied):
            await desk.manager.place(desk.sell_ask("1", price=Decimal("47.50"), quantity=Decimal("0.2")))
        assert (await desk.place("3")).state is OrderState.WORKING


@virtual
async def test_a_claim_held_after_absence_blocks_and_its_waiter_holds_back_nobody(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2", "3")
        await holding(desk, "1")
        desk.account("2").placements.append(request_lost)
        order = await desk.place("2")
        await desk.sleep(30)
        assert desk.order(order).state is OrderState.REJECTED
        with pytest.raises(Denied) as info:
            await desk.manager.place(desk.sell_ask("1", price=Decimal("47.50"), quantity=Decimal("0.2")))
        assert info.value.metadata["blocking_order_id"] == order.order_id
        assert (await desk.place("3")).state is OrderState.WORKING


@virtual
async def test_a_denial_for_another_reason_gives_the_place_up(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2", "3")
        await holding(desk, "1")
        await desk.place("2")
        sell = {"price": Decimal("47.50"), "quantity": Decimal("0.2")}
        with pytest.raises(Denied):
            await desk.manager.place(desk.sell_ask("1", **sell))
        with pytest.raises(Denied) as info:
            await desk.manager.place(desk.sell_ask("1", price=Decimal("47.50"), quantity=Decimal(9)))
        assert info.value.reason == "DENIED_UNCOVERED"
        assert (await desk.place("3")).state is OrderState.WORKING


@virtual
async def test_only_looking_leaves_no_ticket(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2")
        await desk.place("1")
        await denied(desk, "2", price=Decimal("48.60"), pending_price=HIGH, validate_only=True)
        assert desk.journal.books.guard.tickets.count() == 0


def ask(guard: Guard, user: str, side: Side, verdict: Verdict, at: float = 0.0) -> bool:
    """One request as the placing decision makes it; true when it was admitted, with a claim."""
    now, asker = START + timedelta(seconds=at), (UserId(user), side)
    try:
        got = guard.decide(
            MARKET,
            bid=verdict.bid,
            min_bid=None,
            ask=verdict.ask,
            max_ask=None,
            tick=TICK,
            asker=asker,
            now=now,
        )
    except Blocked as blocked:
        guard.denied(MARKET, asker, verdict, blocked, now)
        return False
    guard.admitted(MARKET, asker, verdict, got, now)
    guard.set(MARKET, OrderId(user), Claim(user, UserId(user), got.bid, got.ask, got.bid is not None))
    return True


def test_waiting_sells_go_before_buys_and_equals_by_their_first_ask() -> None:
    guard = Guard()
    assert ask(guard, "a", Side.BUY, Verdict(MID, None))
    assert ask(guard, "z", Side.SELL, Verdict(None, HIGH))
    assert not ask(guard, "b", Side.BUY, Verdict(HIGH, None))  # under a SELL
    assert not ask(guard, "d", Side.SELL, Verdict(None, LOW))  # under a BUY
    assert not ask(guard, "c", Side.SELL, Verdict(None, LOW))
    guard.set(MARKET, OrderId("a"), None)
    guard.set(MARKET, OrderId("z"), None)
    assert guard.to_ask(MARKET, START) == ("d", "c")  # b would trade with them
    assert guard.to_ask(MARKET, START) == ()  # told once
    assert not ask(guard, "b", Side.BUY, Verdict(HIGH, None))
    assert ask(guard, "d", Side.SELL, Verdict(None, LOW))


def test_of_those_in_each_others_way_one_is_told() -> None:
    """Negative profit: each one's SELL lies under the others' BUYs."""
    guard = Guard()
    pair = Verdict(HIGH, LOW)
    assert ask(guard, "a", Side.BUY, pair)
    for user in "bcd":
        assert not ask(guard, user, Side.BUY, pair)
    guard.set(MARKET, OrderId("a"), None)
    assert guard.to_ask(MARKET, START) == ("b",)
    assert not ask(guard, "c", Side.BUY, pair)  # b is admissible and asked first
    assert ask(guard, "b", Side.BUY, pair)


# ---------------------------------------------------------------------- nobody starves


@virtual
async def test_where_only_one_passes_at_a_time_everybody_has_a_turn(tmp_path: Path) -> None:
    """Ten users with negative profit on one symbol, ten minutes: turns are equal, waits are bounded."""
    users = [str(number) for number in range(10)]
    turns, longest = dict.fromkeys(users, 0), dict.fromkeys(users, 0.0)
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add(*users, target="10000000")

        async def loop(user: str) -> None:
            account, began = desk.account(user), desk.clock.monotonic()
            while True:
                try:
                    order = await desk.place(user, pending_price=Decimal("47.50"))
                except Denied:
                    await desk.sleep(0.2)
                    continue
                turns[user] += 1
                longest[user] = max(longest[user], desk.clock.monotonic() - began)
                await desk.sleep(0.5)
                account.fill(account.row(order))
                await desk.sleep(0.2)
                account.fill(account.row(order, LegRole.PENDING))
                await desk.sleep(0.3)
                began = desk.clock.monotonic()

        loops = [asyncio.ensure_future(loop(user)) for user in users]
        await desk.sleep(600)
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        counters = desk.journal.books.guard.counters
    assert max(turns.values()) - min(turns.values()) <= 1, turns
    assert min(turns.values()) > 30
    assert max(longest.values()) < 15, longest
    assert counters.waits > 300
    assert counters.longest_wait_seconds < 15


@virtual
async def test_a_sell_gets_in_among_users_who_never_stop_buying_above_it(tmp_path: Path) -> None:
    users = [str(number) for number in range(2, 8)]
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", *users, target="10000000")
        await holding(desk, "1")

        async def buy(user: str, phase: float) -> None:
            await desk.sleep(phase)
            while True:
                try:
                    order = await desk.place(user)
                except Denied:
                    await desk.sleep(0.2)
                    continue
                await desk.sleep(2)  # no fill: its timeout
                await desk.manager.cancel(order.order_id, LegRole.WORKING, "timeout")
                await desk.sleep(0.5)

        loops = [asyncio.ensure_future(buy(user, place / 3)) for place, user in enumerate(users)]
        await desk.sleep(10)
        began, sold = desk.clock.monotonic(), None
        while sold is None and desk.clock.monotonic() - began < 60:
            try:
                sold = await desk.manager.place(desk.sell_ask("1", price=Decimal("47.90")))
            except Denied:
                await desk.sleep(0.2)
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    assert sold is not None
    assert desk.clock.monotonic() - began < 4  # one timeout of a BUY, and its end
