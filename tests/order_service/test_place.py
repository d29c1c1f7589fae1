"""Placing: at most once, by one decision over all users, and only what may be placed."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from order_service.denied import Denied
from otopilot.instrument import Side
from otopilot.order import LegRole, OrderState, Purpose, RejectionKind
from tests.order_service.behaviours import (
    answer_lost,
    credential_refused,
    garbage,
    not_reached,
    refused,
    slow,
)
from tests.order_service.desk import Desk, alpha_venue, spot_venue
from tests.virtual_loop import virtual


async def denied(desk: Desk, reason: str, **changes: object) -> Denied:
    """Place, and be denied for that reason; nothing may have been sent."""
    sent = len(desk.account().sent)
    with pytest.raises(Denied) as info:
        await desk.place(**changes)  # type: ignore[arg-type]
    assert info.value.reason == reason, info.value.message
    assert len(desk.account().sent) == sent
    return info.value


@virtual
async def test_a_placed_order_is_working_with_the_venues_ids(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        assert order.state is OrderState.WORKING
        assert order.working.venue_order_id in desk.account().rows
        assert len(desk.account().sent) == 1


@virtual
async def test_the_same_request_gets_the_same_order_and_one_send(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        ask = desk.ask()
        orders = await asyncio.gather(*(desk.manager.place(ask) for _ in range(5)))
        again = await desk.manager.place(ask)
        assert {order.order_id for order in orders} == {again.order_id}
        assert len(desk.account().sent) == 1


@virtual
async def test_the_same_request_with_other_content_is_refused(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place(request_id="a")
        refusal = await denied(desk, "REQUEST_REUSED", request_id="a", price=Decimal("47.99"))
        assert refusal.metadata["order_id"] == order.order_id


@virtual
async def test_a_repeated_request_is_answered_after_a_restart_and_to_a_new_owner(tmp_path: Path) -> None:
    venue = alpha_venue()
    async with Desk(tmp_path / "j.db", venue) as desk:
        await desk.add("1")
        ask = desk.ask()
        order = await desk.manager.place(ask)
    async with Desk(tmp_path / "j.db", venue) as desk:
        assert (await desk.manager.place(ask)).order_id == order.order_id
        assert len(desk.account().sent) == 1


@virtual
async def test_a_caller_that_goes_away_after_queueing_does_not_stop_the_placement(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        ask = desk.ask()
        desk.store.seconds = 1.0
        caller = asyncio.ensure_future(desk.manager.place(ask))
        await desk.sleep(0.5)  # the commit is under way
        caller.cancel()
        await desk.sleep(1)
        known = desk.journal.books.order_of_request(ask.request_id)
        assert known is not None
        assert known[0].state is OrderState.WORKING
        assert len(desk.account().sent) == 1


@virtual
async def test_a_caller_that_goes_away_at_any_moment_leaves_nothing_half_done(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.store.seconds = 0.002
        placed = 0
        for moment in range(40):
            ask = desk.ask(price=Decimal("48.00") - moment * Decimal("0.01") * 5)
            caller = asyncio.ensure_future(desk.manager.place(ask))
            await desk.sleep(moment * 0.0002)
            caller.cancel()
            await desk.sleep(1)
            known = desk.journal.books.order_of_request(ask.request_id)
            sent = [order for order in desk.account().sent if order.request_id == ask.request_id]
            assert len(sent) == (known is not None)
            if known is not None:
                placed += 1
                assert known[0].state is OrderState.WORKING
                desk.account().fill(desk.account().row(known[0]))
                await desk.sleep(1)
        assert 5 < placed < 40


@virtual
async def test_a_placement_that_could_not_begin_in_time_never_begins(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.venue.delay = 2.6
        await denied(desk, "VENUE_UNREADABLE")
        assert desk.journal.books.live == {}
        with pytest.raises(Denied, match="too much to do"):
            await desk.journal.run(lambda tx: tx.set_meta("x", "y"), begin_before=desk.clock.monotonic() - 1)
        assert desk.store.meta("x") is None


@virtual
async def test_the_answer_comes_after_three_seconds_in_whatever_state(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().placements.append(slow(4))
        began = desk.clock.monotonic()
        order = await desk.place()
        assert 2.9 < desk.clock.monotonic() - began < 3.1
        assert order.state is OrderState.SUBMITTING
        await desk.sleep(2)
        assert desk.order(order).state is OrderState.WORKING
        assert len(desk.account().sent) == 1


@virtual
async def test_without_an_answer_after_five_seconds_it_is_in_doubt_and_a_late_answer_settles_it(
    tmp_path: Path,
) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().placements.append(slow(8))
        order = await desk.place()
        await desk.sleep(2.5)
        assert desk.order(order).state is OrderState.IN_DOUBT
        await desk.sleep(3)
        assert desk.order(order).state is OrderState.WORKING
        assert len(desk.account().sent) == 1


@pytest.mark.parametrize(
    ("behaviour", "kind"), [(refused, RejectionKind.VENUE), (not_reached, RejectionKind.NOT_SENT)]
)
def test_a_definite_no_ends_the_order_and_frees_everything(
    tmp_path: Path, behaviour: object, kind: RejectionKind
) -> None:
    @virtual
    async def story() -> None:
        async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
            await desk.add("1")
            desk.account().placements.append(behaviour)  # type: ignore[arg-type]
            order = await desk.place()
            assert order.rejection is not None
            assert order.rejection.kind is kind
            assert desk.journal.books.live == {}
            assert (await desk.accounts.volume("s")).reserved == 0  # type: ignore[arg-type]
            again = await desk.place()
            assert again.state is OrderState.WORKING

    story()


@virtual
async def test_an_adapters_defect_is_unknown_and_never_a_no(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().silent = True
        desk.account().placements.append(garbage)
        order = await desk.place()
        assert order.state is OrderState.IN_DOUBT
        await desk.sleep(1)
        assert desk.order(order).state is OrderState.WORKING
        assert len(desk.account().sent) == 1


@virtual
async def test_a_refused_credential_stops_that_user_only(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        desk.account("1").placements.append(credential_refused)
        order = await desk.place("1")
        assert order.rejection is not None
        await desk.sleep(0.1)
        refusal = await denied(desk, "USER_STOPPED")
        assert refusal.metadata["reason_code"] == "auth_expired"
        assert (await desk.place("2")).state is OrderState.WORKING


@virtual
async def test_one_buy_a_user_and_symbol(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1", "2")
        order = await desk.place()
        assert (await denied(desk, "DENIED_SLOT")).metadata["order_id"] == order.order_id
        await desk.place("2")
        desk.account().fill(desk.account().row(order))
        await desk.sleep(0.5)
        assert (await desk.place()).state is OrderState.WORKING


@virtual
async def test_an_order_in_doubt_holds_the_slot(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().placements.append(answer_lost)
        desk.account().failing["open_orders"] = ConnectionError("down")
        await desk.place()
        await denied(desk, "DENIED_SLOT")


@virtual
async def test_only_the_current_owner_places(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        old = desk.epoch
        desk.epoch, _ = await desk.accounts.claim("another")
        for epoch in (old, 0):
            no = await denied(desk, "STALE_OWNER", owner_epoch=epoch)
            assert no.metadata == {"owner": "another"}  # the loser is told who has it
        assert (await desk.place()).state is OrderState.WORKING


@virtual
async def test_the_prices_age_counts_at_the_commit(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        at = desk.clock.now()
        await desk.sleep(2)
        desk.venue.delay = 1.5
        await denied(desk, "DENIED_PRICE_AGE", price_confirmed_at=at)
        desk.venue.delay = 0
        await denied(desk, "BAD_ARGUMENT", price_confirmed_at=None)
        await denied(desk, "BAD_ARGUMENT", price_confirmed_at=at + timedelta(hours=1))


@virtual
async def test_what_stood_still_until_the_price_was_too_old_is_not_sent(tmp_path: Path) -> None:
    """The disk here; a machine that stands still between decision and request looks the same."""
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.store.seconds = 5.0
        placed = await desk.place()
        desk.store.seconds = 0.0
        await desk.sleep(10)
        order = desk.order(placed)
        assert order.state is OrderState.REJECTED
        assert order.rejection is not None
        assert (order.rejection.kind, order.rejection.code) == (RejectionKind.NOT_SENT, "DENIED_PRICE_AGE")
        assert desk.account().sent == []
        assert (await desk.place()).state is OrderState.WORKING


@virtual
async def test_funds_are_checked_and_orders_since_the_read_count(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.account().quote = Decimal(20)
        desk.session().forget_balances()
        assert (await denied(desk, "DENIED_FUNDS")).metadata == {"asset": "USDT", "free": "20"}


@virtual
async def test_filters_are_checked_before_anything_is_sent(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        for changes in (
            {"price": Decimal("48.001")},
            {"quantity": Decimal("0.0005")},
            {"quantity": Decimal(0)},
            {"quantity": Decimal("0.1")},
            {"pending_price": Decimal("48.505")},
        ):
            await denied(desk, "DENIED_FILTER", **changes)
        assert len(desk.venue.doubted) == 5  # what was loosened since is found out by reading


@virtual
async def test_a_sell_is_admitted_up_to_the_own_base_that_no_sell_covers(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        refusal = await denied(desk, "DENIED_UNCOVERED", **_sell("0.2"))
        assert refusal.metadata["uncovered"] == "0"
        order = await desk.place()
        account = desk.account()
        account.fill(account.row(order), "0.3")
        await desk.sleep(0.5)
        await denied(desk, "DENIED_UNCOVERED", **_sell("0.2"))  # the list's own SELL covers it
        await desk.manager.cancel(order.order_id, LegRole.WORKING, "test")
        await desk.sleep(1)
        assert desk.journal.books.uncovered(desk.key()) == Decimal("0.3") * Decimal("0.9999")
        sell = await desk.manager.place(desk.sell_ask())
        assert sell.state is OrderState.WORKING
        await denied(desk, "DENIED_UNCOVERED", **_sell("0.2"))


def _sell(quantity: str) -> dict[str, object]:
    return {
        "side": Side.SELL,
        "pending_price": None,
        "scope_id": None,
        "purpose": Purpose.RESIDUAL,
        "quantity": Decimal(quantity),
        "price": Decimal("48.60"),
    }


@virtual
async def test_validate_only_leaves_no_trace(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        order = await desk.place(validate_only=True)
        assert order.working.price == Decimal("48.00")
        assert desk.journal.books.live == {}
        assert desk.account().sent == []
        assert (await desk.place()).state is OrderState.WORKING


@virtual
async def test_a_user_stopped_while_the_venue_was_read_places_nothing(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", alpha_venue()) as desk:
        await desk.add("1")
        desk.venue.delay = 1.0
        placing = asyncio.ensure_future(desk.place())
        await desk.sleep(0.5)
        await desk.sessions.stop(desk.session(), "contradiction", "test")
        with pytest.raises(Denied) as info:
            await placing
        assert info.value.reason == "USER_STOPPED"
        assert desk.account().sent == []


@virtual
async def test_a_placement_does_not_wait_for_a_refresh_of_the_rules(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        desk.venue.rules_take = 30.0
        began = desk.clock.monotonic()
        assert (await desk.place()).state is OrderState.WORKING
        assert desk.clock.monotonic() - began < 0.5


@virtual
async def test_spot_orders_carry_ids_of_ours(tmp_path: Path) -> None:
    async with Desk(tmp_path / "j.db", spot_venue()) as desk:
        await desk.add("1")
        order = await desk.place()
        assert order.working.client_id == f"o{order.order_id}w"
        assert order.pending is not None
        assert order.pending.client_id == f"o{order.order_id}p"
