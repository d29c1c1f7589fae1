"""The whole order service within its budget: what waits, what is denied, what outlives a restart."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from order_service.denied import Denied
from order_service.rate_budget import Priority
from order_service.venues.port import Limits, RateLimited
from otopilot.instrument import Venue
from otopilot.order import LegRole, OrderState, UserId
from otopilot.position import UserState
from tests.order_service.behaviours import answer_lost
from tests.order_service.desk import SECRETS, Desk, alpha_venue, spot_venue
from tests.virtual_loop import virtual

WEIGHED = Limits(weight=(100, 60.0), weights=dict.fromkeys(("open_orders", "order_history", "look_up"), 10))


@virtual
async def test_a_placement_without_weight_in_time_is_denied_and_uses_no_request_id(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue(), limits=WEIGHED) as desk:
        await desk.add("1")
        await desk.sleep(65 - desk.clock.now().timestamp() % 60)  # a window that is young believes nothing
        desk.budgets[Venue.SPOT].heard_used(100)
        ask = desk.ask()
        began = desk.clock.monotonic()
        with pytest.raises(Denied) as info:
            await desk.manager.place(ask)
        assert info.value.reason == "RATE_LIMIT"
        assert desk.clock.monotonic() - began <= 2.5
        desk.budgets[Venue.SPOT].give_back(UserId("1"), 100, 0)
        assert (await desk.manager.place(ask)).state is OrderState.WORKING


@virtual
@pytest.mark.parametrize("wanted", [True, False])
async def test_a_cancel_that_waited_for_weight_is_sent_only_if_it_is_still_wanted(
    tmp_path: Path, wanted: bool
) -> None:
    async with Desk(tmp_path / "j.db", spot_venue(), limits=WEIGHED) as desk:
        await desk.add("1")
        order = await desk.place()
        await desk.sleep(65 - desk.clock.now().timestamp() % 60)
        desk.budgets[Venue.SPOT].heard_used(100)
        cancelling = desk.session().account.cancel(order, LegRole.WORKING, lambda: wanted)
        waiting = desk.tasks.spawn(cancelling, "cancel")
        await desk.sleep(1)
        assert desk.account().calls["cancel"] == 0
        desk.budgets[Venue.SPOT].give_back(UserId("1"), 100, 0)
        await waiting
        assert desk.account().calls["cancel"] == wanted


async def put(desk: Desk, user: str, kind: str, secret: bytes) -> None:
    await desk.users.put(UserId(user), Venue.SPOT, kind, secret)


@virtual
async def test_sweeps_of_many_users_leave_the_weight_for_doubt(tmp_path: Path) -> None:
    users = [str(number) for number in range(20)]
    async with Desk(tmp_path / "j.db", spot_venue(), limits=WEIGHED) as desk:
        await desk.scope("1000", *users)
        kind, secret = SECRETS[Venue.SPOT]
        for user in users:
            desk.tasks.spawn(put(desk, user, kind, secret), user)
        await desk.sleep(30)
        calls = sum(
            account.calls["open_orders"] + account.calls["order_history"]
            for account in desk.venue.accounts.values()
        )
        assert 3 <= calls <= 6  # 30 of 100 a minute, 10 each, over at most two minutes
        async with asyncio.timeout(1):
            await desk.budgets[Venue.SPOT].take(Priority.DOUBT, 60)


@virtual
async def test_a_restarted_service_asks_nothing_during_a_ban_that_it_was_told_before(tmp_path: Path) -> None:
    venue = spot_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        until = desk.clock.now() + timedelta(seconds=200)
        desk.budgets[Venue.SPOT].close_until(RateLimited("418", "x", until - timedelta(seconds=100)))
        desk.budgets[Venue.SPOT].close_until(RateLimited("418", "x", until))
        await desk.sleep(1)
    account = venue.accounts["1"]
    asked = dict(account.calls)
    for _ in range(2):  # a start during the ban keeps it for the next
        async with Desk(tmp_path / "j.db", venue) as desk:
            assert desk.budgets[Venue.SPOT].closed_until() == until
            await desk.sleep(60)
            assert dict(account.calls) == asked
            assert desk.session().state is UserState.SETTLING
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.sleep(90)
        assert desk.session().state is UserState.READY
        assert dict(account.calls) != asked


@virtual
async def test_a_ban_told_while_the_journal_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    venue = spot_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        desk.store.failures = 3
        until = desk.clock.now() + timedelta(seconds=200)
        desk.budgets[Venue.SPOT].close_until(RateLimited("418", "x", until))
        await desk.sleep(10)
    async with Desk(tmp_path / "j.db", venue) as desk:
        assert desk.budgets[Venue.SPOT].closed_until() == until


@virtual
async def test_an_order_in_doubt_survives_a_ban_and_is_asked_for_at_its_end(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        desk.account().placements.append(answer_lost)
        order = await desk.place()
        until = desk.clock.now() + timedelta(seconds=300)
        desk.budgets[Venue.SPOT].close_until(RateLimited("418", "x", until))
        asked = dict(desk.account().calls)
        await desk.sleep(299)
        assert dict(desk.account().calls) == asked
        assert desk.order(order).state is OrderState.IN_DOUBT
        await desk.sleep(5)
        assert desk.order(order).state is OrderState.WORKING


@virtual
async def test_nothing_is_placed_while_the_venues_time_is_not_known(tmp_path: Path) -> None:
    """Reliability 8."""
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.venue.clock_unknown = True
        with pytest.raises(Denied) as info:
            await desk.place()
        assert info.value.reason == "VENUE_UNREADABLE"
        desk.venue.clock_unknown = False
        assert (await desk.place()).state is OrderState.WORKING
        assert desk.session().state is UserState.READY
