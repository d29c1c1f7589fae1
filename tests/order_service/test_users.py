"""Users: one user's trouble is that user's, a stop is kept, a push is a hint."""

import asyncio
import dataclasses
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from order_service.credentials import CredentialError
from order_service.denied import Denied
from order_service.venues.port import CredentialRefused, RateLimited, VenueSilent
from otopilot.instrument import Side, Venue
from otopilot.order import LegRole, LegStatus, OrderState, UserId
from otopilot.position import UserState
from tests.order_service.behaviours import request_lost
from tests.order_service.desk import SECRETS, Desk, alpha_venue, spot_venue
from tests.order_service.fakes import FakeAccount, answer_of
from tests.virtual_loop import virtual

ALPHA = Venue.ALPHA


@virtual
async def test_a_new_user_is_settled_and_listed(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        user = await desk.users.put(UserId("1"), ALPHA, *SECRETS[ALPHA])
        assert user.state is UserState.READY
        assert [(u.user_id, u.credential_kind) for u in desk.users.list()] == [("1", "session")]
        with pytest.raises(Denied) as info:
            await desk.place("2")
        assert info.value.reason == "UNKNOWN_USER"


@virtual
async def test_a_key_that_is_not_accepted_shows_at_once_although_there_is_nothing_to_sweep(
    tmp_path: Path,
) -> None:
    venue = alpha_venue()
    account = venue.accounts["1"] = FakeAccount(venue, "1")
    account.failing = {"balances": CredentialRefused("auth_expired", "log in again")}
    async with Desk(tmp_path / "j.db", venue) as desk:
        user = await desk.users.put(UserId("1"), ALPHA, *SECRETS[ALPHA])
        assert (user.state, user.reason_code) == (UserState.STOPPED, "auth_expired")
        account.failing.clear()
        user = await desk.users.put(UserId("1"), ALPHA, *SECRETS[ALPHA])
        assert user.state is UserState.READY
        asked = account.calls["balances"]
        await desk.sleep(60)
        assert account.calls["balances"] == asked, "once it was tried, an idle user costs nothing"


@virtual
async def test_an_idle_user_that_cannot_be_read_is_not_ready(tmp_path: Path) -> None:
    venue = alpha_venue()
    account = venue.accounts["1"] = FakeAccount(venue, "1")
    account.failing = {"balances": VenueSilent("down", "no answer")}
    async with Desk(tmp_path / "j.db", venue) as desk:
        user = await desk.users.put(UserId("1"), ALPHA, *SECRETS[ALPHA])
        assert (user.state, user.reason_code) == (UserState.SETTLING, "unread")
        account.failing.clear()
        await desk.sleep(15)
        assert desk.session().state is UserState.READY


@virtual
async def test_what_changes_while_balances_are_read_makes_the_next_placement_read_again(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        session, account = desk.session(), desk.account()
        session.forget_balances()
        reading = asyncio.create_task(session.funds("USDT", at_least=Decimal(1)))
        while not account.calls["balances"]:
            await asyncio.sleep(0)
        session.forget_balances()  # pushed while the answer travels
        await reading
        await session.funds("USDT", at_least=Decimal(1))
        assert account.calls["balances"] == 2
        await session.funds("USDT", at_least=Decimal(1))
        assert account.calls["balances"] == 2


@virtual
async def test_balances_that_changed_are_read_again_five_seconds_later_or_when_they_must_be_exact(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        session, account = desk.session(), desk.account()
        await session.funds("USDT", at_least=Decimal(1))
        asked = account.calls["balances"]
        session.balances_changed()
        await session.funds("USDT", at_least=Decimal(1))
        assert account.calls["balances"] == asked
        await session.funds("USDT", at_least=Decimal(1), exact=True)
        assert account.calls["balances"] == asked + 1
        await session.funds("USDT", at_least=Decimal(1), exact=True)
        assert account.calls["balances"] == asked + 1, "nothing changed since"
        session.balances_changed()
        await desk.sleep(5.1)
        await session.funds("USDT", at_least=Decimal(1))
        assert account.calls["balances"] == asked + 2


@virtual
async def test_what_was_sent_since_balances_were_read_is_reckoned_off_until_it_ends_half_way(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        asked = desk.account().calls["balances"]
        desk.session().balances_changed()
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "asked for")
        await desk.sleep(1)
        assert desk.order(order).state is OrderState.CANCELED
        await desk.place()
        assert desk.account().calls["balances"] == asked + 1


@virtual
async def test_a_credential_of_the_wrong_kind_is_refused_and_not_stored(tmp_path: Path) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        with pytest.raises(Denied) as info:
            await desk.users.put(UserId("1"), ALPHA, *SECRETS[Venue.SPOT])
        assert info.value.reason == "BAD_CREDENTIAL"
        assert desk.journal.books.users == {}
        await desk.add("1")
    async with Desk(tmp_path / "j.db", venue) as desk:
        assert [user.user_id for user in desk.users.list()] == ["1"]


@virtual
async def test_one_credential_that_cannot_be_opened_stops_that_user_only(tmp_path: Path) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1", "2")
        stored = desk.journal.books.users[ALPHA, UserId("1")]
        await desk.journal.run(lambda tx: tx.set_user(dataclasses.replace(stored, sealed=b"torn")))
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.settle()
        assert [user.user_id for user in desk.users.list()] == ["2"]
        assert (await desk.place("2")).state is OrderState.WORKING
        other = desk.journal.books.users[ALPHA, UserId("2")]
        await desk.journal.run(lambda tx: tx.set_user(dataclasses.replace(other, sealed=b"torn")))
    with pytest.raises(CredentialError):  # none at all: it is the key that is wrong
        async with Desk(tmp_path / "j.db", venue):
            pass


@virtual
async def test_a_refused_credential_is_kept_over_a_restart_until_it_is_stored_again(tmp_path: Path) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1", "2")
        desk.account("1").failing["open_orders"] = CredentialRefused("auth_expired", "log in again")
        await desk.settle()
        assert desk.session("1").state is UserState.STOPPED
        assert desk.session("2").state is UserState.READY
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.settle()
        assert desk.session("1").reason_code == "auth_expired"
        venue.accounts["1"].failing.clear()
        user = await desk.users.put(UserId("1"), ALPHA, *SECRETS[ALPHA])
        assert user.state is UserState.READY
        assert (await desk.place("1")).state is OrderState.WORKING


@virtual
async def test_a_stop_is_kept_although_its_commit_failed(tmp_path: Path) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        desk.store.failures = 1
        await desk.sessions.stop(desk.session(), "contradiction", "x")
        assert desk.session().state is UserState.STOPPED
        await desk.sessions.stop(desk.session(), "contradiction", "x")
    async with Desk(tmp_path / "j.db", venue) as desk:
        assert desk.session().reason_code == "contradiction"


@virtual
async def test_a_new_credential_runs_although_its_caller_went_away(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        old = desk.session()
        desk.store.seconds = 1.0
        caller = asyncio.ensure_future(desk.users.put(UserId("1"), ALPHA, *SECRETS[ALPHA]))
        await desk.sleep(0.5)
        caller.cancel()
        await desk.sleep(20)
        assert desk.session() is not old
        assert desk.session().state is UserState.READY
        assert len(desk.account().sinks) == 1
        # What still becomes of the old one says nothing about the new one.
        await desk.sessions.stop(old, "auth_expired", "x")
        assert desk.session().state is UserState.READY
        assert desk.journal.books.users[ALPHA, UserId("1")].stopped_code == ""


@virtual
async def test_a_user_with_orders_is_not_removed_not_even_while_one_is_held(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().placements.append(request_lost)
        await desk.place()
        for wait in (1, 30):
            await desk.sleep(wait)
            with pytest.raises(Denied) as info:
                await desk.users.remove(UserId("1"), ALPHA)
            assert info.value.reason == "USER_HAS_OPEN_ORDERS"
        await desk.sleep(150)
        await desk.users.remove(UserId("1"), ALPHA)
        assert desk.users.list() == []
        await desk.sleep(0.01)  # its stream's task ends
        assert desk.account().sinks == []


@virtual
async def test_a_placement_does_not_slip_past_a_removal(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.venue.delay = 1.0
        placing = asyncio.ensure_future(desk.place())
        await desk.sleep(0.5)
        await desk.users.remove(UserId("1"), ALPHA)
        with pytest.raises(Denied) as info:
            await placing
        assert info.value.reason == "UNKNOWN_USER"
        assert desk.journal.books.live == {}


@virtual
async def test_during_a_ban_nothing_is_asked_by_anybody(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        order = await desk.place("1")
        until = desk.clock.now() + timedelta(seconds=35)
        desk.account("2").failing["open_orders"] = RateLimited("429", "slow down", until)
        desk.session("2").sweep_now.set()
        await desk.sleep(0.01)
        desk.account("2").failing.clear()
        await desk.sleep(0.01)  # what had left before
        before = [dict(account.calls) for account in desk.venue.accounts.values()]
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "x")
        with pytest.raises(Denied) as info:
            await desk.place("2")
        assert info.value.reason in ("RATE_LIMIT", "USER_SETTLING")
        await desk.sleep((until - desk.clock.now()).total_seconds() - 0.1)
        assert [dict(account.calls) for account in desk.venue.accounts.values()] == before
        await desk.sleep(20)
        assert desk.order(order).state is OrderState.CANCELED
        assert desk.session("2").state is UserState.READY


# ---------------------------------------------------------------------- pushes and sweeps


@virtual
async def test_pushed_fills_move_the_order_at_once_and_repeats_change_nothing(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        desk.account().pushes = 3
        desk.account().fill(desk.account().row(order))
        await desk.sleep(0.1)
        now = desk.order(order)
        assert now.state is OrderState.TRIGGERED
        assert now.working.filled_quantity == order.working.quantity
        assert desk.journal.books.ledger.inventory(desk.key()).bought_quote == 24


@virtual
async def test_a_push_before_the_answer_is_matched_when_the_answer_comes(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")

        async def filled_before_the_answer(account, order):  # type: ignore[no-untyped-def]
            rows = account.accept(order)
            answer = answer_of(rows, order, account.now())
            account.fill(rows[0])
            await asyncio.sleep(1)
            return answer

        desk.account().placements.append(filled_before_the_answer)
        order = await desk.place()
        await desk.sleep(0.1)
        assert desk.order(order).state is OrderState.TRIGGERED
        assert desk.account().calls["look_up"] == 0


@virtual
async def test_with_a_silent_stream_orders_are_asked_for(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().silent = True
        order = await desk.place()
        desk.account().fill(desk.account().row(order))
        await desk.sleep(2.5)
        assert desk.order(order).state is OrderState.TRIGGERED
        await desk.sleep(100)
        desk.account().fill(desk.account().row(desk.order(order), LegRole.PENDING))
        await desk.sleep(15)
        assert desk.order(order).state is OrderState.COMPLETED
        assert desk.journal.books.live == {}


@virtual
async def test_an_own_id_that_the_journal_lacks_stops_that_user_and_is_not_touched(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1", "2")
        row = desk.account("1").foreign(Side.BUY, "40", "1")
        row.client_id = "o00000000deadbeefw"
        await desk.settle()
        assert desk.session("1").reason_code == "unknown_own_order"
        assert desk.session("2").state is UserState.READY
        assert row.is_open
        assert desk.account("1").cancels == []


@virtual
async def test_an_order_that_vanished_from_every_list_is_asked_for_singly(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().silent = True
        order = await desk.place()
        await desk.sleep(600)  # out of every history the next sweep reads
        desk.account().end(desk.account().row(order), LegStatus.EXPIRED)
        await desk.sleep(15)
        assert desk.order(order).state is OrderState.EXPIRED


@virtual
async def test_a_payload_nobody_thought_of_ends_no_task(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        broken = KeyError("orderStatus")
        desk.account().failing = dict.fromkeys(("open_orders", "look_up", "cancel", "trades_of"), broken)  # type: ignore[arg-type]
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "x")
        await desk.sleep(200)
        assert desk.session().state is UserState.SETTLING
        desk.account().failing.clear()
        await desk.sleep(15)
        assert desk.order(order).state is OrderState.CANCELED
        assert desk.session().state is UserState.READY


@virtual
async def test_one_slow_user_delays_nobody(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")

        async def never(symbol: str) -> tuple[()]:
            await asyncio.sleep(10**6)
            return ()

        desk.account("1").open_orders = never  # type: ignore[method-assign,assignment]
        began = desk.clock.monotonic()
        order = await desk.place("2")
        desk.account("2").fill(desk.account("2").row(order))
        await desk.sleep(0.1)
        assert desk.order(order).state is OrderState.TRIGGERED
        assert desk.clock.monotonic() - began < 0.2


@virtual
async def test_balances_that_cannot_be_read_are_an_error_and_not_zero(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        assert (await desk.accounts.balances(UserId("1"), ALPHA))[0].free == Decimal(100_000)
        desk.account().failing["balances"] = VenueSilent("down", "no answer")
        with pytest.raises(Denied) as info:
            await desk.accounts.balances(UserId("1"), ALPHA)
        assert info.value.reason == "VENUE_UNREADABLE"


@virtual
async def test_frames_that_came_together_are_learned_and_told_as_one(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        account, before = desk.account(), desk.feed.newest
        account.fill(account.row(order))
        await desk.sleep(0.1)
        told = [item.order for _, item in desk.feed.after(before) if item.order is not None]
        assert told[0].state is OrderState.TRIGGERED
        assert [leg.status for leg in told[0].legs] == [LegStatus.FILLED, LegStatus.OPEN]
        assert desk.order(order) == told[-1]
