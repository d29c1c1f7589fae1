"""Cards 60 to 79: answers that are lost, refused or wrong, and what each proves."""

import asyncio
from datetime import timedelta

import pytest

from order_service.venues.port import CredentialRefused, RateLimited, TooManyOrders, VenueRefused, VenueSilent
from otopilot.order import LegRole, LegStatus, Order
from tests.contract.bench import CLOCK, CROSSING, Bench, becomes, found_id
from tests.contract.cards import card


async def lives(bench: Bench, order: Order) -> bool:
    """Does the venue have the order, whatever its answer was?"""
    account = await bench.account()
    history = await account.order_history(bench.symbol, order.submitted_at - timedelta(seconds=5))
    return any(
        (one.side, one.price, one.quantity)
        == (order.working.side, order.working.price, order.working.quantity)
        for one in history
    )


@card(
    60,
    "A request that is lost on its way is silence, and the venue has no such order",
    spot="10.1, 10.3",
    alpha="3.5",
    needs_paper=True,
)
async def a_lost_request(bench: Bench) -> None:
    account, order = await bench.account(), await bench.oto()
    await bench.fault("drop_request", endpoint="place_o*", count=1)
    with pytest.raises(VenueSilent):
        await account.place(order)
    assert not await lives(bench, order)


@card(
    61,
    "An answer that is lost is silence, and the venue has the order",
    spot="10.1, 10.3",
    alpha="3.5",
    needs_paper=True,
)
async def a_lost_answer(bench: Bench) -> None:
    account, order = await bench.account(), await bench.oto()
    await bench.fault("drop_response", endpoint="place_o*", count=1)
    with pytest.raises(VenueSilent):
        await account.place(order)
    assert await lives(bench, order)


@card(62, "A 5xx says nothing, before the venue acted as after", spot="10.1", alpha="3.9", needs_paper=True)
async def a_server_error(bench: Bench) -> None:
    account = await bench.account()
    for when in ("before", "after"):
        order = await bench.oto()
        await bench.fault("http_error", endpoint="place_o*", status=503, when=when, count=1)
        with pytest.raises(VenueSilent):
            await account.place(order)
        assert await lives(bench, order) == (when == "after")
        await asyncio.sleep(0.01)


@card(63, "An answer that cannot be read is silence", spot="10.1", alpha="3.9", needs_paper=True)
async def garbage(bench: Bench) -> None:
    account, order = await bench.account(), await bench.oto()
    await bench.fault("garbage", endpoint="place_o*", count=1)
    with pytest.raises(VenueSilent):
        await account.place(order)
    assert await lives(bench, order)


@card(64, "A code that nobody published is never a no", spot="10.1", alpha="3.9", needs_paper=True)
async def an_unknown_code(bench: Bench) -> None:
    account, order = await bench.account(), await bench.oto()
    unheard_of = {"code": "-7777", "message": "No such words."}
    await bench.fault("business_error", endpoint="place_o*", when="after", count=1, **unheard_of)
    with pytest.raises(VenueSilent):
        await account.place(order)
    assert await lives(bench, order)


@card(
    65,
    "A limit told at the door is a no to everybody, until the time it names",
    spot="8",
    alpha="1.4",
    needs_paper=True,
)
async def a_ban(bench: Bench) -> None:
    account, order = await bench.account(), await bench.oto()
    await bench.fault("ban", status=429, lasts_seconds="20")
    with pytest.raises(RateLimited) as limited:
        await account.place(order)
    assert 0 < (limited.value.until - CLOCK.now()).total_seconds() <= 25
    await bench.heal()
    assert not await lives(bench, order)


@card(66, "The order count is a no to one account, for as long as the venue says", spot="8", needs_paper=True)
async def the_order_count(bench: Bench) -> None:
    account = await bench.account()
    await bench.fault("order_limit", limit=1, user_id="1")
    with pytest.raises(TooManyOrders) as limited:
        await account.place(await bench.oto())
    assert 0 < (limited.value.until - CLOCK.now()).total_seconds() <= 86_400
    other = await bench.account("2")
    order = await bench.placed(other, await bench.oto())
    await other.cancel(order, LegRole.WORKING)


@card(67, "What counts against an account is told with the answer to a placement", spot="8")
async def counts_are_told(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.oto()
    placed = await account.place(order)
    assert placed.order_counts[10] >= 2
    assert placed.order_counts[86_400] >= 2
    await account.cancel(order, LegRole.WORKING)


@card(
    68,
    "A credential that is not accepted is told as that, with the venue's reason",
    spot="1.5",
    alpha="3.9",
    needs_paper=True,
)
async def a_refused_credential(bench: Bench) -> None:
    account, order = await bench.account(), await bench.oto()
    await bench.fault("revoke", user_id="1")
    for call in (account.place(order), account.open_orders(bench.symbol), account.balances()):
        with pytest.raises(CredentialRefused) as refused:
            await call
        assert refused.value.code in ("not_permitted", "auth_expired")
        assert refused.value.message


@card(69, "A session that is not known has expired", alpha="3.9", needs_paper=True)
async def an_expired_session(bench: Bench) -> None:
    strange = {"headers": {"cookie": "p20t=x", "csrftoken": "y"}}
    account = bench.open("9", "session", strange)  # type: ignore[arg-type]
    with pytest.raises(CredentialRefused) as refused:
        await account.open_orders(bench.symbol)
    assert refused.value.code == "auth_expired"


@card(
    70,
    "A venue that wants verification stops that user, and nothing answers for him",
    alpha="3.1, 3.9",
    needs_paper=True,
)
async def verification_is_wanted(bench: Bench) -> None:
    account, order = await bench.account(), await bench.oto()
    await bench.fault("verification_required", user_id="1")
    with pytest.raises(CredentialRefused) as refused:
        await account.place(order)
    assert refused.value.code == "verification_required"
    other = await bench.account("2")
    await bench.placed(other, await bench.oto())


@card(
    71, "A wrong secret is a bad signature, and no other user's business", spot="1.4, 1.5", needs_paper=True
)
async def a_wrong_secret(bench: Bench) -> None:
    assert bench.paper is not None
    opened = await bench.paper.control("POST", "accounts", {"user_id": "1", "venue": "spot"})
    wrong = bench.open("1", "hmac", {"api_key": opened["credential"]["api_key"], "secret": "x"})
    with pytest.raises(VenueRefused) as refused:
        await wrong.place(await bench.oto())
    assert refused.value.code == "bad_signature"
    order = await bench.placed(await bench.account("2"), await bench.oto())
    assert order.working.venue_order_id is not None


@card(
    72,
    "A BUY cancelled half filled keeps what it bought, and its SELL ends",
    spot="4.4 row 8",
    alpha="4.2",
    needs_paper=True,
)
async def half_a_buy(bench: Bench) -> None:
    account = await bench.account()
    await bench.fault("partial_fill", count=1)
    order = await bench.placed(account, await bench.oto(CROSSING))
    for _ in range(100):
        told = await account.look_up(order, LegRole.WORKING)
        if told is not None and told.executed_quantity:
            break
        await asyncio.sleep(0.05)
    await account.cancel(order, LegRole.WORKING)
    buy = await becomes(account, order, LegRole.WORKING, LegStatus.CANCELED)
    assert 0 < buy.executed_quantity < buy.quantity
    trades = await account.trades_of(bench.symbol, found_id(order, LegRole.WORKING))
    assert sum(one.quantity for one in trades) == buy.executed_quantity
    sell = await becomes(account, order, LegRole.PENDING, LegStatus.CANCELED, LegStatus.EXPIRED)
    assert sell.executed_quantity == 0


@card(
    73,
    "A SELL that is refused at its release has ended, and its BUY is filled",
    spot="4.4 row 10",
    alpha="4.2",
    needs_paper=True,
)
async def a_refused_release(bench: Bench) -> None:
    account = await bench.account()
    await bench.fault("reject_pending", count=1)
    order = await bench.placed(account, await bench.oto(CROSSING))
    await becomes(account, order, LegRole.WORKING, LegStatus.FILLED)
    sell = await becomes(account, order, LegRole.PENDING, LegStatus.EXPIRED, LegStatus.REJECTED)
    assert sell.executed_quantity == 0


@card(74, "A halted symbol takes no order and gives up those it has", spot="2.2, 10.2", needs_paper=True)
async def a_halted_symbol(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.placed(account, await bench.oto())
    await bench.fault("trading_status", code="HALT", symbol=bench.symbol)
    with pytest.raises(VenueRefused):
        await account.place(await bench.oto())
    await account.cancel(order, LegRole.WORKING)
    await bench.heal()
    assert await account.open_orders(bench.symbol) == ()
