"""Cards 1 to 39: what is read of a venue, and the life of an order that nothing happens to."""

from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from order_service.venues.port import VenueNotReached, VenueRefused, VenueSilent
from otopilot.instrument import InstrumentStatus, Side
from otopilot.order import LegRole, LegStatus, Order
from tests.contract.bench import CLOCK, CROSSING, FAR, Bench, becomes, found, found_id, with_ids
from tests.contract.cards import card
from tests.order_service.venues.fakes import an_order, leg

ROLES = (LegRole.WORKING, LegRole.PENDING)


@card(
    1,
    "The rules of a symbol are read whole, and a symbol that is not listed is refused",
    spot="2.2",
    alpha="1.2",
)
async def rules_are_read(bench: Bench) -> None:
    rules = await bench.rules()
    assert rules.status is InstrumentStatus.TRADING
    assert rules.tick_size > 0
    assert rules.step_size > 0
    assert rules.min_notional > 0
    with pytest.raises(VenueRefused) as refused:
        await bench.port.instrument("NOSUCHUSDT")
    assert refused.value.code == "unknown_symbol"


@card(2, "The last price is a price of the symbol, on its grid", spot="2.1", alpha="1.3")
async def last_price_is_read(bench: Bench) -> None:
    price = await bench.port.last_price(bench.symbol)
    assert price > 0
    assert price % (await bench.rules()).tick_size == 0


@card(3, "Balances tell what is free of the quote, and what an open order locks", spot="3.5", alpha="3.7")
async def balances_are_read(bench: Bench) -> None:
    account, quote = await bench.account(), (await bench.rules()).quote_asset
    before = {one.asset: one for one in await account.balances()}[quote]
    order = await bench.placed(account, await bench.buy())
    after = {one.asset: one for one in await account.balances()}[quote]
    cost = order.working.price * order.working.quantity
    assert before.free - after.free == cost
    assert after.locked - before.locked == cost
    await account.cancel(order, LegRole.WORKING)


@card(4, "Fee rates are fractions, told by the account", spot="3.5", alpha="1.4")
async def fees_are_read(bench: Bench) -> None:
    rates = await (await bench.account()).fee_rates(bench.symbol)
    assert 0 <= rates.buy < Decimal("0.01")
    assert 0 <= rates.sell < Decimal("0.01")


@card(
    10,
    "A limit BUY below the market rests, and is among the open orders as it was placed",
    spot="3.1",
    alpha="3.2",
)
async def a_buy_rests(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.placed(account, await bench.buy())
    told = await found(account, order)
    assert (told.status, told.executed_quantity) == (LegStatus.OPEN, 0)
    assert (told.side, told.price, told.quantity) == (Side.BUY, order.working.price, order.working.quantity)
    assert told.venue_order_id in {one.venue_order_id for one in await account.open_orders(bench.symbol)}
    await account.cancel(order, LegRole.WORKING)


@card(11, "A resting OTO has an open BUY and a pending SELL in one list", spot="4.4 row 1", alpha="4.1")
async def an_oto_rests(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.oto()
    placed = await account.place(order)
    assert [one.status for one in placed.legs] == [LegStatus.OPEN, LegStatus.PENDING]
    ids = {one.venue_order_id for one in placed.legs}
    legs = [one for one in await account.open_orders(bench.symbol) if one.venue_order_id in ids]
    assert {one.side: one.status for one in legs} == {Side.BUY: LegStatus.OPEN, Side.SELL: LegStatus.PENDING}
    assert len({one.list_id for one in legs}) == 1
    assert legs[0].list_id is not None
    await account.cancel(with_ids(order, placed), LegRole.WORKING)


@card(
    12,
    "A BUY that crosses is filled at its price or better; the answer's SELL is still pending",
    spot="4.4 row 4",
    alpha="4.1",
)
async def a_crossing_buy_fills(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.oto(CROSSING, FAR[1])
    placed = await account.place(order)
    assert placed.legs[1].status is LegStatus.PENDING
    order = with_ids(order, placed)
    bought = await becomes(account, order, LegRole.WORKING, LegStatus.FILLED)
    assert bought.executed_quantity == order.working.quantity
    assert bought.executed_quote <= order.working.price * order.working.quantity
    await becomes(account, order, LegRole.PENDING, LegStatus.OPEN)
    await account.cancel(order, LegRole.PENDING)


@card(13, "The SELL that is released sells what was received, on the step", spot="4.5, 4.8", alpha="4.1")
async def the_released_sell_is_net_of_commission(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.placed(account, await bench.oto(CROSSING, FAR[1]))
    await becomes(account, order, LegRole.WORKING, LegStatus.FILLED)
    sell = await becomes(account, order, LegRole.PENDING, LegStatus.OPEN)
    rules, base = await bench.rules(), (await bench.rules()).base_asset
    trades = await account.trades_of(bench.symbol, found_id(order, LegRole.WORKING))
    received = sum(one.quantity - (one.fee.amount if one.fee.asset == base else 0) for one in trades)
    assert sell.quantity % rules.step_size == 0
    assert sell.quantity <= received
    assert received - sell.quantity < 2 * rules.step_size
    await account.cancel(order, LegRole.PENDING)


@card(14, "A SELL released into the market is sold, and both legs end filled", spot="4.4 row 3", alpha="4.1")
async def a_whole_cycle(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.placed(account, await bench.oto(CROSSING, 2 - CROSSING))
    for role in ROLES:
        told = await becomes(account, order, role, LegStatus.FILLED)
        assert told.executed_quantity == told.quantity


@card(15, "A single SELL of what was bought rests, and is cancelled", spot="3.1", alpha="3.2")
async def a_sell_rests(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.placed(account, await bench.oto(CROSSING, FAR[1]))
    await becomes(account, order, LegRole.PENDING, LegStatus.OPEN)
    await account.cancel(order, LegRole.PENDING)
    gone = await becomes(account, order, LegRole.PENDING, LegStatus.CANCELED)
    price = await bench.price(Side.SELL, FAR[1])
    sell = an_order(bench.symbol, leg(LegRole.WORKING, Side.SELL, str(price), str(gone.quantity)))
    again = await bench.placed(account, bench.fresh(sell))
    assert (await found(account, again)).status is LegStatus.OPEN
    await account.cancel(again, LegRole.WORKING)
    assert (await becomes(account, again, LegRole.WORKING, LegStatus.CANCELED)).executed_quantity == 0


@card(16, "A client id that is open already is no proof that this order was refused", spot="3.4, 10.2")
async def a_repeated_id_is_silence(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.buy()
    placed = await bench.placed(account, order)
    with pytest.raises(VenueSilent):
        await account.place(bench_again(order))
    mine = [o for o in await account.open_orders(bench.symbol) if o.client_id == order.working.client_id]
    assert len(mine) == 1
    await account.cancel(placed, LegRole.WORKING)


def bench_again(order: Order) -> Order:
    """The same order, signed now."""
    return msgspec.structs.replace(order, submitted_at=CLOCK.now())


@card(
    17,
    "A price off the grid, and too little of an order, are definite noes, and nothing is placed",
    spot="2.3",
    alpha="1.2, 3.9",
)
async def filters_refuse(bench: Bench) -> None:
    account, rules = await bench.account(), await bench.rules()
    fine = await bench.buy()
    off = an_order(
        bench.symbol, leg(LegRole.WORKING, Side.BUY, str(fine.working.price + rules.tick_size / 2), "1")
    )
    tiny = await bench.buy(quantity=rules.step_size)
    for order in (bench.fresh(off), tiny):
        with pytest.raises(VenueRefused) as refused:
            await account.place(order)
        assert refused.value.code in ("filter", "bad_precision", "below_min_notional", "-1111")
    assert await account.open_orders(bench.symbol) == ()


@card(18, "An order without the money for it is a definite no, by that name", spot="10.2", alpha="3.9")
async def no_money(bench: Bench) -> None:
    account, rules = await bench.account(), await bench.rules()
    quote = next(one for one in await account.balances() if one.asset == rules.quote_asset)
    price = await bench.price(Side.BUY, FAR[0])
    dear = await bench.buy(quantity=rules.round_quantity(quote.free / price) + 1)
    with pytest.raises(VenueRefused) as refused:
        await account.place(dear)
    assert refused.value.code == "insufficient_balance"


@card(19, "An order that is older than a second never leaves", spot="1.3", alpha="3.5")
async def too_old_an_order(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.oto()
    old = msgspec.structs.replace(order, submitted_at=order.submitted_at - timedelta(seconds=1.5))
    with pytest.raises(VenueNotReached) as refused:
        await account.place(old)
    assert refused.value.code == "too_late"
    assert await account.open_orders(bench.symbol) == ()


@card(20, "Cancelling the BUY by the venue's id ends the whole list", spot="4.4 row 7, 4.6", alpha="3.4, 4.2")
async def a_cancel_ends_the_list(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.placed(account, await bench.oto())
    await account.cancel(order, LegRole.WORKING)
    for role in ROLES:
        told = await becomes(account, order, role, LegStatus.CANCELED, LegStatus.EXPIRED)
        assert told.executed_quantity == 0
    assert await account.open_orders(bench.symbol) == ()


@card(21, "A cancel by our own id ends an order whose venue id was never told", spot="3.5")
async def a_cancel_by_our_id(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.oto()
    await account.place(order)
    await account.cancel(order, LegRole.WORKING)
    assert await account.open_orders(bench.symbol) == ()


@card(22, "A cancel of what is not open says so, and nothing about why", spot="3.5, 10.2", alpha="3.4")
async def a_second_cancel(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.placed(account, await bench.oto())
    await account.cancel(order, LegRole.WORKING)
    await becomes(account, order, LegRole.WORKING, LegStatus.CANCELED)
    filled = await bench.placed(account, await bench.buy(CROSSING))
    await becomes(account, filled, LegRole.WORKING, LegStatus.FILLED)
    for over in (order, filled):
        with pytest.raises(VenueRefused) as refused:
            await account.cancel(over, LegRole.WORKING)
        assert refused.value.code == "not_open"


@card(23, "Cancelling a released SELL leaves the BUY as it is: filled", spot="4.4 row 9", alpha="4.2")
async def a_cancelled_sell(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.placed(account, await bench.oto(CROSSING, FAR[1]))
    await becomes(account, order, LegRole.PENDING, LegStatus.OPEN)
    await account.cancel(order, LegRole.PENDING)
    await becomes(account, order, LegRole.PENDING, LegStatus.CANCELED)
    assert (await found(account, order)).status is LegStatus.FILLED


@card(
    30,
    "Both legs are found by our ids; after a cancel, perhaps no more by these, and yet by the venue's",
    spot="3.4",
)
async def found_by_our_ids(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.oto()
    placed = await account.place(order)
    for role, one in zip(ROLES, placed.legs, strict=True):
        told = await found(account, order, role)
        assert (told.venue_order_id, told.client_id) == (one.venue_order_id, order.leg(role).client_id)
    await account.cancel(order, LegRole.WORKING)
    known = with_ids(order, placed)
    for role, one in zip(ROLES, placed.legs, strict=True):
        ended = await becomes(account, known, role, LegStatus.CANCELED, LegStatus.EXPIRED)
        by_our_id = await account.look_up(order, role)
        if bench.finds_renamed is not None:
            assert (by_our_id is not None) == bench.finds_renamed
        for told in (ended, by_our_id or ended):
            assert (told.venue_order_id, told.status) == (one.venue_order_id, ended.status)
    history = await account.order_history(bench.symbol, order.submitted_at - timedelta(seconds=5))
    names = {one.venue_order_id: one.client_id for one in history}
    assert names[placed.legs[0].venue_order_id] == f"o{order.order_id}c"


@card(31, "Of an order that was never placed the venue says that it has none", spot="10.2")
async def no_such_order(bench: Bench) -> None:
    assert await (await bench.account()).look_up(await bench.buy(), LegRole.WORKING) is None


@card(32, "An order whose venue id is not known cannot be asked for, and that is not a no", alpha="3.5")
async def no_query_by_our_id(bench: Bench) -> None:
    account = await bench.account()
    with pytest.raises(VenueNotReached) as refused:
        await account.look_up(await bench.buy(), LegRole.WORKING)
    assert refused.value.code == "no_venue_id"


@card(33, "History tells orders of every status since a time, each once", spot="3.5", alpha="3.5")
async def history_since(bench: Bench) -> None:
    account, since = await bench.account(), CLOCK.now() - timedelta(seconds=5)
    ended = await bench.placed(account, await bench.oto())
    await account.cancel(ended, LegRole.WORKING)
    filled = await bench.placed(account, await bench.buy(CROSSING))
    resting = await bench.placed(account, await bench.buy())
    await becomes(account, filled, LegRole.WORKING, LegStatus.FILLED)
    history = await account.order_history(bench.symbol, since)
    ids = [one.venue_order_id for one in history]
    assert len(set(ids)) == len(ids)
    assert {found_id(order, LegRole.WORKING) for order in (ended, filled, resting)} <= set(ids)
    await account.cancel(resting, LegRole.WORKING)


@card(
    34,
    "The trades of an order add up to what it executed, each under a key of its own",
    spot="3.5",
    alpha="3.5",
)
async def trades_add_up(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.placed(account, await bench.oto(CROSSING, 2 - CROSSING))
    for role in ROLES:
        told = await becomes(account, order, role, LegStatus.FILLED)
        trades = await account.trades_of(bench.symbol, found_id(order, role))
        assert sum(one.quantity for one in trades) == told.executed_quantity
        assert sum(one.quote for one in trades) == told.executed_quote
        assert {one.side for one in trades} == {told.side}
        assert len({one.key for one in trades}) == len(trades)


@card(35, "All trades since a time are told at once, oldest first", spot="3.5", alpha="3.5")
async def trades_since_a_time(bench: Bench) -> None:
    account = await bench.account()
    order = await bench.placed(account, await bench.oto(CROSSING, 2 - CROSSING))
    await becomes(account, order, LegRole.PENDING, LegStatus.FILLED)
    since = await account.trades_since(bench.symbol, order.submitted_at - timedelta(seconds=5))
    single = {
        one.key for role in ROLES for one in await account.trades_of(bench.symbol, found_id(order, role))
    }
    assert single <= {one.key for one in since}
    assert [one.traded_at for one in since] == sorted(one.traded_at for one in since)


@card(
    36,
    "A BUY's fee comes out of the base received, a SELL's out of the quote",
    spot="4.5",
    alpha="4.3",
    needs_paper=True,
)
async def fees_are_taken(bench: Bench) -> None:
    account, rules = await bench.account(), await bench.rules()
    order = await bench.placed(account, await bench.oto(CROSSING, 2 - CROSSING))
    await becomes(account, order, LegRole.PENDING, LegStatus.FILLED)
    rates = await account.fee_rates(bench.symbol)
    bought = await account.trades_of(bench.symbol, found_id(order, LegRole.WORKING))
    sold = await account.trades_of(bench.symbol, found_id(order, LegRole.PENDING))
    assert {one.fee.asset for one in bought} == {rules.base_asset}
    assert {one.fee.asset for one in sold} == {rules.quote_asset}
    for trade in bought:
        assert abs(trade.fee.amount - trade.quantity * rates.buy) < Decimal("0.00000002")
    for trade in sold:
        assert abs(trade.fee.amount - trade.quote * rates.sell) < Decimal("0.00000002")
