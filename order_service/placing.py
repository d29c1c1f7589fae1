"""The placing decision: may this order exist, at which prices, and what is it called?

One synchronous function inside the writer's transaction, so that idempotency, epochs, funds,
guard, fingerprint and volume scope are decided together over all users and processes
(architecture 5.2). It denies, or inserts the order as SUBMITTING; it never does a part of that.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from order_service.asking import Ask as Ask
from order_service.asking import Circumstances as Circumstances
from order_service.books import Books
from order_service.denied import Denied, Kind
from order_service.fingerprint import Fingerprint, NoneFree
from order_service.guard import Blocked, Verdict
from order_service.standing import standing_with
from order_service.transaction import Transaction
from otopilot import money
from otopilot.instrument import Instrument, InstrumentStatus, Side, Violation
from otopilot.money import ZERO
from otopilot.order import (
    Leg,
    LegRole,
    Order,
    OrderId,
    Purpose,
)
from otopilot.position import ScopeMember, VolumeSide

MOST_AHEAD = timedelta(seconds=1)  # of another service's clock


def find_existing(books: Books, ask: Ask) -> Order | None:
    """The order this request made before; none if it made none. Raises Denied (REQUEST_REUSED)."""
    known = books.order_of_request(ask.request_id)
    if known is None:
        return None
    order, content_hash = known
    if content_hash != ask.content_hash():
        raise Denied(
            Kind.REUSED,
            "REQUEST_REUSED",
            f"request {ask.request_id} already placed order {order.order_id} with other content; "
            "read that order and go on with it",
            order_id=order.order_id,
        )
    return order


def decide(tx: Transaction, ask: Ask, known: Circumstances, order_id: OrderId, now: datetime) -> Order:
    """Insert the order, or raise Denied. For a request that made none yet, in the same transaction."""
    guard, market, asker = tx.books.guard, (ask.venue, ask.symbol), (ask.user_id, ask.side)
    try:
        order, got = _admit(tx, ask, known, order_id, now)
    except Denied as no:
        if no.reason != "DENIED_GUARD" and not ask.validate_only:
            # It would not be admitted whatever the guard said: it holds nobody back.
            guard.tickets.take(market, asker)
        raise
    if ask.validate_only:
        return order
    guard.admitted(market, asker, ask.prices, got, now)
    tx.set_base_asset(ask.venue, ask.symbol, known.instrument.base_asset)
    tx.insert(order, ask.content_hash())
    return order


def _admit(
    tx: Transaction, ask: Ask, known: Circumstances, order_id: OrderId, now: datetime
) -> tuple[Order, Verdict]:
    """The order as it would be, and the prices the guard let it have. Raises Denied."""
    if ask.owner_epoch != tx.books.owner_epoch or ask.owner_epoch < 1:
        raise _precondition(
            "STALE_OWNER",
            f"owner epoch {ask.owner_epoch} is not the current one ({tx.books.owner_epoch}): "
            f"{tx.books.owner or 'nobody'} has the placing right",
            owner=tx.books.owner,
        )
    check_price_age(ask, now)
    _check_status(known.instrument)
    _check_filters(ask.side, ask.price, ask.quantity, ask, known)
    _check_room(tx.books, ask)
    _check_standing(tx.books, ask, known)
    _check_funds(tx.books, ask, known)
    got = _pass_guard(tx.books, ask, known, now)
    order = _build(ask, known, order_id, now, got.bid, got.ask)
    if not known.has_client_ids:
        order = _with_fingerprint(tx.books, order, known, now)
    for leg in order.legs:
        _check_filters(leg.side, leg.price, leg.quantity, ask, known)
    _check_scope(tx.books, ask, order, known, now)
    return order, got


def check_price_age(ask: Ask, now: datetime) -> None:
    """A price from the market must be fresh at the commit, not only when it was looked at."""
    from_market = ask.side is Side.BUY or ask.purpose is Purpose.FLATTEN
    if not from_market:
        return
    if ask.price_confirmed_at is None:
        raise Denied(
            Kind.BAD_ARGUMENT, "BAD_ARGUMENT", "price_confirmed_at is needed: the price comes from the market"
        )
    age = now - ask.price_confirmed_at
    if age < -MOST_AHEAD:
        raise Denied(
            Kind.BAD_ARGUMENT,
            "BAD_ARGUMENT",
            f"price_confirmed_at is {-age.total_seconds():g} s ahead of this service's clock",
        )
    if age > ask.max_price_age:
        milliseconds = int(age.total_seconds() * 1000)
        raise _precondition(
            "DENIED_PRICE_AGE",
            f"the price was confirmed {milliseconds} ms ago, more than the "
            f"{int(ask.max_price_age.total_seconds() * 1000)} ms allowed",
            age_ms=str(milliseconds),
        )


def _check_status(instrument: Instrument) -> None:
    """No order on a symbol that does not trade now, or by rules that we do not know (reliability 28, 30)."""
    if instrument.status is not InstrumentStatus.TRADING:
        raise _precondition(
            "DENIED_FILTER",
            f"{instrument.symbol} is {instrument.status} at {instrument.venue}: nothing is placed until it "
            "trades again; cancels are taken",
            filter="STATUS",
        )


def _check_filters(side: Side, price: Decimal, quantity: Decimal, ask: Ask, known: Circumstances) -> None:
    """Of one leg. What is too little for either leg is told with what would do."""
    instrument = known.instrument
    found = instrument.violations(side, price, quantity, known.band_price)
    found += instrument.worth_violations(price, quantity, known.order_limits)
    if not found:
        return
    details = {"filter": found[0].filter}
    smallest = _smallest_quantity(ask, known)
    if ask.pending_price is not None and ask.quantity < smallest:
        details["smallest_quantity"] = money.text(smallest)
    raise Denied(Kind.BAD_ARGUMENT, "DENIED_FILTER", _story(instrument, side, found), **details)


def _check_standing(books: Books, ask: Ask, known: Circumstances) -> None:
    """Nothing beyond what the account may have open or hold (binance-spot 2.3)."""
    found = known.instrument.standing_violations(standing_with(books, ask, known))
    if found:
        message = _story(known.instrument, ask.side, found)
        raise _precondition("DENIED_FILTER", message, filter=found[0].filter)


def _story(instrument: Instrument, side: Side, found: Sequence[Violation]) -> str:
    story = "; ".join(f"{violation.filter}: {violation.message}" for violation in found)
    return f"{instrument.symbol} {side}: {story}"


def _check_room(books: Books, ask: Ask) -> None:
    """One non-terminal BUY per (user, symbol); a SELL only of base that no SELL covers."""
    if ask.side is Side.BUY:
        holder = books.slot(ask.account)
        if holder is not None:
            raise _precondition(
                "DENIED_SLOT",
                f"user {ask.user_id} already has a BUY on {ask.symbol} that has not ended: order {holder}",
                order_id=holder,
            )
        return
    uncovered = books.uncovered(ask.account)
    if ask.quantity > uncovered:
        raise _precondition(
            "DENIED_UNCOVERED",
            f"user {ask.user_id} holds {money.text(uncovered)} {ask.symbol} base that no SELL covers, "
            f"less than the {money.text(ask.quantity)} to be sold",
            uncovered=money.text(uncovered),
        )


def _check_funds(books: Books, ask: Ask, known: Circumstances) -> None:
    if ask.side is not Side.BUY:
        return
    quote = known.instrument.quote_asset
    spent = ZERO
    for known_buy in books.spending[ask.venue, ask.user_id].values():
        if known_buy.submitted_at > known.free_quote_at and known_buy.symbol.endswith(quote):
            spent += known_buy.quote
    free = known.free_quote - spent
    if ask.quantity * ask.price > free:
        raise _precondition(
            "DENIED_FUNDS",
            f"user {ask.user_id} has {money.text(free)} {quote} free, "
            f"the BUY needs {money.text(ask.quantity * ask.price)}",
            asset=quote,
            free=money.text(free),
        )


def _pass_guard(books: Books, ask: Ask, known: Circumstances, now: datetime) -> Verdict:
    """The prices the guard lets it have (architecture 6). Raises Denied."""
    guard, market, asker = books.guard, (ask.venue, ask.symbol), (ask.user_id, ask.side)
    asked, least = ask.prices, ask.least_prices
    try:
        return guard.decide(
            market,
            bid=asked.bid,
            min_bid=least.bid,
            ask=asked.ask,
            max_ask=least.ask,
            tick=known.instrument.tick_size,
            asker=asker,
            now=now,
        )
    except Blocked as blocked:
        if not ask.validate_only:
            guard.denied(market, asker, least, blocked, now)
            if ask.purpose is Purpose.REPRICE:
                guard.keep_repricing(market, ask.user_id, now)
        raise _precondition(
            "DENIED_GUARD",
            f"{blocked.holder} at {money.text(blocked.price)} could trade with this one, or waits for its "
            "turn before it: managed orders never match each other",
            blocking_price=money.text(blocked.price),
            blocking_order_id=blocked.holder,
        ) from None


def _build(
    ask: Ask,
    known: Circumstances,
    order_id: OrderId,
    now: datetime,
    bid: Decimal | None,
    sell: Decimal | None,
) -> Order:
    def leg(role: LegRole, side: Side, asked: Decimal, price: Decimal, quantity: Decimal) -> Leg:
        letter = "w" if role is LegRole.WORKING else "p"
        client_id = f"o{order_id}{letter}" if known.has_client_ids else ""
        return Leg(
            role=role, side=side, asked_price=asked, price=price, quantity=quantity, client_id=client_id
        )

    price = bid if bid is not None else sell
    assert price is not None
    legs = [leg(LegRole.WORKING, ask.side, ask.price, price, ask.quantity)]
    if ask.pending_price is not None:
        assert sell is not None
        sold = known.instrument.quantity_after_fee(ask.quantity, known.fees.buy)
        legs.append(leg(LegRole.PENDING, Side.SELL, ask.pending_price, sell, sold))
    return Order(
        order_id=order_id,
        request_id=ask.request_id,
        user_id=ask.user_id,
        venue=ask.venue,
        symbol=ask.symbol,
        strategy_id=ask.strategy_id,
        cycle=ask.cycle,
        try_number=ask.try_number,
        step=ask.step,
        scope_id=ask.scope_id,
        purpose=ask.purpose,
        legs=tuple(legs),
        submitted_at=now,
        updated_at=now,
    )


def _with_fingerprint(books: Books, order: Order, known: Circumstances, now: datetime) -> Order:
    """The order made recognisable where the venue takes no id of ours (architecture 5.6). Raises Denied."""
    leg = order.working
    wanted = Fingerprint(
        venue=order.venue,
        symbol=order.symbol,
        user_id=order.user_id,
        side=leg.side,
        price=leg.price,
        quantity=leg.quantity,
        in_list=order.pending is not None,
    )
    books.fingerprints.forget_expired(now)
    try:
        chosen = books.fingerprints.choose(wanted, known.instrument, now)
    except NoneFree as none:
        at = none.free_at.isoformat() if none.free_at else ""
        raise _precondition(
            "DENIED_FINGERPRINT",
            f"too many orders of user {order.user_id} like this one on {order.symbol} are open or have just "
            f"ended; one frees at {at or 'the end of an open order'}",
            free_at=at,
        ) from None
    if chosen is wanted:
        return order
    working = msgspec.structs.replace(leg, price=chosen.price, quantity=chosen.quantity)
    legs: tuple[Leg, ...] = (working,)
    if order.pending is not None:
        sold = known.instrument.quantity_after_fee(chosen.quantity, known.fees.buy)
        legs = (working, msgspec.structs.replace(order.pending, quantity=sold))
    return msgspec.structs.replace(order, legs=legs)


def _check_scope(books: Books, ask: Ask, order: Order, known: Circumstances, now: datetime) -> None:
    """Admit up to the target, and one smallest order where less than that is left (product 3.2)."""
    if ask.scope_id is None:
        if ask.side is Side.BUY:
            raise Denied(Kind.BAD_ARGUMENT, "BAD_ARGUMENT", "scope_id is needed for a BUY")
        return
    scope = books.scopes.get(ask.scope_id)
    if scope is None:
        raise Denied(Kind.NOT_FOUND, "UNKNOWN_SCOPE", f"volume scope {ask.scope_id} has not been set")
    member = books.room.member(ask.scope_id, ask.account)
    if member is None:
        raise _precondition(
            "NOT_A_MEMBER", f"user {ask.user_id} on {ask.symbol} is no member of volume scope {ask.scope_id}"
        )
    if not books.is_complete(scope, ask.account, now):
        raise Denied(
            Kind.UNAVAILABLE,
            "USER_SETTLING",
            f"the trading history of user {ask.user_id} on {ask.symbol} has not been read over the whole "
            "window yet: nothing is placed until it is",
        )
    if ask.side is Side.BUY:
        _check_cost(books, ask, member)
    both = scope.side is VolumeSide.BOTH
    counting = [leg for leg in order.legs if leg.side is Side.BUY or both]
    notional = ZERO
    for leg in counting:
        notional += leg.quantity * leg.price
    counted = books.room.counted(ask.scope_id, now, books.ledger)
    reserved = books.room.reserved(ask.scope_id)
    left = scope.target - counted - reserved
    if not counting or notional <= left:
        return
    smallest = _smallest_quantity(ask, known)
    whole = sum((smallest * leg.price for leg in counting), ZERO)
    if left > 0 and reserved == 0 and order.working.quantity <= smallest and left < whole:
        return
    raise _precondition(
        "DENIED_SCOPE",
        f"volume scope {ask.scope_id}: {money.text(counted)} of {money.text(scope.target)} is "
        f"counted and {money.text(reserved)} reserved; {money.text(max(ZERO, left))} is left, "
        f"the order needs {money.text(notional)}",
        left=money.text(max(ZERO, left)),
        counted=money.text(counted),
        reserved=money.text(reserved),
        smallest_quantity=money.text(smallest),
    )


def _check_cost(books: Books, ask: Ask, member: ScopeMember) -> None:
    """No BUY at a cost limit, nor while the cost is unknown: it may be beyond (product 2)."""
    if member.max_cost is None and member.max_cost_per_1000 is None:
        return
    inventory = books.ledger.inventory(ask.account)
    cost, bought = inventory.realised_cost, inventory.bought_quote
    who = f"user {ask.user_id} on {ask.symbol}"
    if not inventory.cost_complete:
        raise _precondition(
            "DENIED_COST",
            f"{who}: a fee or a sale could not be valued, so the cost is unknown and its limit unchecked",
            cost=money.text(money.truncate(cost, 8)),
            complete="false",
        )
    over = None
    if member.max_cost is not None and cost >= member.max_cost:
        over = money.text(member.max_cost)
    per_1000 = member.max_cost_per_1000
    if over is None and per_1000 is not None and bought > 0 and cost * 1000 >= per_1000 * bought:
        over = f"{money.text(per_1000)} per 1000 bought"
    if over is not None:
        text = money.text(money.truncate(cost, 8))
        raise _precondition(
            "DENIED_COST",
            f"{who}: realised cost is {text} on {money.text(bought)} bought, the limit is {over}",
            cost=text,
            limit=over,
            complete="true",
        )


def _smallest_quantity(ask: Ask, known: Circumstances) -> Decimal:
    """The smallest order like the one that is asked for, whatever guard and fingerprint make of it."""
    least = ask.least_prices.bid
    if ask.pending_price is None or least is None:
        return known.instrument.smallest_quantity(ask.price, ask.price, ZERO)
    return known.instrument.smallest_quantity(least, ask.pending_price, known.fees.buy)


def _precondition(reason: str, message: str, **metadata: str) -> Denied:
    return Denied(Kind.PRECONDITION, reason, message, **metadata)
