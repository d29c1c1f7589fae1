"""Which of our orders is that? The venue's facts, put to the orders they belong to. Pure.

By the venue's id once it is known; by our client id where the venue takes one; and where it takes none,
an order in doubt is recognised by its fingerprint among the orders nobody owns (architecture 5.6).
"""

import re
from collections.abc import Iterable
from datetime import timedelta

from order_service import fingerprint
from order_service.books import Books
from order_service.fingerprint import Fingerprint
from order_service.ledger import AccountKey
from order_service.venues.port import Placed, VenueOrder
from otopilot.instrument import Venue
from otopilot.order import (
    LegRole,
    LegStatus,
    News,
    Order,
    OrderId,
    OrderState,
    RejectionKind,
    Report,
    Traded,
    UserId,
)

LOOK_BACK = timedelta(seconds=5)  # a venue's clock may be behind ours
OUR_CLIENT_ID = re.compile(r"o([0-9a-f]{16})([wpc])")


def owner(books: Books, venue: Venue, user_id: UserId, fact: VenueOrder) -> tuple[OrderId, LegRole] | None:
    """Our order and leg that the fact is about; none when it is not known to be ours."""
    known = books.owner_of(venue, user_id, fact.venue_order_id)
    if known is not None:
        return known
    named = OUR_CLIENT_ID.fullmatch(fact.client_id)
    if named is None:
        return _by_list(books, AccountKey(user_id, venue, fact.symbol), fact)
    order = books.order(OrderId(named[1]))
    # Ours = in the journal; an id of our form that it lacks is somebody's, not ours (architecture 5.8).
    if order is None or (order.user_id, order.venue, order.symbol) != (user_id, venue, fact.symbol):
        return None
    if named[2] == "c":
        return _cancelled(order, fact)
    role = LegRole.WORKING if named[2] == "w" else LegRole.PENDING
    return (order.order_id, role) if any(leg.role is role for leg in order.legs) else None


def _cancelled(order: Order, fact: VenueOrder) -> tuple[OrderId, LegRole] | None:
    """A cancel gave its own id to every leg it ended (binance-spot 3.4, 4.6): the side tells which it is."""
    legs = [leg for leg in order.legs if leg.side is fact.side and leg.venue_order_id is None]
    return (order.order_id, legs[0].role) if len(legs) == 1 else None


def _by_list(books: Books, account: AccountKey, fact: VenueOrder) -> tuple[OrderId, LegRole] | None:
    """A leg whose id was never told, known by the list that its sibling is in."""
    if fact.list_id is None or fact.role is None:
        return None
    for order in books.live_orders(account):
        if order.list_id == fact.list_id:
            for leg in order.legs:
                if leg.role is fact.role and leg.venue_order_id is None:
                    return order.order_id, leg.role
    return None


def unknown_of_ours(books: Books, venue: Venue, user_id: UserId, fact: VenueOrder) -> bool:
    """Does it bear an id of our form that the journal lacks (a restored backup)?"""
    named = OUR_CLIENT_ID.fullmatch(fact.client_id)
    return named is not None and named[2] != "c" and owner(books, venue, user_id, fact) is None


def report(fact: VenueOrder, role: LegRole) -> Report:
    """The fact as news of a leg; a status that we do not know leaves the leg's as it is."""
    return Report(
        role=role,
        status=LegStatus.UNKNOWN if fact.status is None else fact.status,
        at=fact.created_at if fact.status in (LegStatus.OPEN, LegStatus.PENDING) else fact.updated_at,
        venue_order_id=fact.venue_order_id or None,
        list_id=fact.list_id,
        quantity=fact.quantity,
        reported_quantity=fact.executed_quantity,
        expiry_reason=fact.expiry_reason,
    )


def unknown_word(fact: VenueOrder) -> str | None:
    """The venue's word for a status that we do not know."""
    return f"status {fact.raw_status}" if fact.status is None else None


def says_more(order: Order, news: Report) -> bool:
    """Would the report change anything? (Sweeps repeat what is known; the journal need not hear it.)"""
    leg = order.leg(news.role)
    other = (
        None not in (leg.venue_order_id, news.venue_order_id) and leg.venue_order_id != news.venue_order_id
    )
    return other or leg.after(news) != leg or (order.list_id is None and news.list_id is not None)


def resembles(order: Order, fact: VenueOrder) -> bool:
    """Has the fact the order's fingerprint?"""
    wanted_role = LegRole.WORKING if order.pending is not None else None
    working = order.working
    wanted = (order.symbol, working.side, working.price, working.quantity, wanted_role)
    return (fact.symbol, fact.side, fact.price, fact.quantity, fact.role) == wanted


def may_be(order: Order, fact: VenueOrder) -> bool:
    """Has the fact the order's fingerprint, and was it made since the order was signed?"""
    return resembles(order, fact) and fact.created_at >= order.submitted_at - LOOK_BACK


def older_twin(books: Books, order: Order, facts: Iterable[VenueOrder]) -> VenueOrder | None:
    """An order that nobody owns, of the same fingerprint, by its stamp made before ours was signed.

    A stranger's, or ours with our clock ahead of the venue's: nothing here can tell them apart.
    """
    for fact in facts:
        recent = fact.created_at >= order.submitted_at - fingerprint.MEMORY
        if recent and resembles(order, fact) and owner(books, order.venue, order.user_id, fact) is None:
            return fact
    return None


def find_by_fingerprint(books: Books, order: Order, facts: Iterable[VenueOrder]) -> list[Report]:
    """Reports that adopt an order in doubt, made of the venue's orders that nobody else owns.

    Empty: no unadopted order there has its fingerprint.
    """
    mine = [
        fact
        for fact in facts
        if (ours := owner(books, order.venue, order.user_id, fact)) is None or ours[0] == order.order_id
    ]
    # The same fingerprint twice would be a stranger's: the one made nearest to our signature is ours.
    seen = [fact for fact in mine if may_be(order, fact)]
    seen.sort(key=lambda fact: (abs(fact.created_at - order.submitted_at), fact.venue_order_id))
    if not seen:
        return []
    found = [report(seen[0], LegRole.WORKING)]
    for sibling in mine:
        in_list = seen[0].list_id is not None and sibling.list_id == seen[0].list_id
        if in_list and sibling.role is LegRole.PENDING:
            found.append(report(sibling, LegRole.PENDING))
    return found


def late_proof(books: Books, account: AccountKey, fact: VenueOrder) -> OrderId | None:
    """Our order in doubt, or proven absent, that an order which nobody owns turns out to be.

    Where the venue takes our ids, it names itself; this is for fingerprints (architecture 5.6).
    """
    wanted = Fingerprint(
        venue=account.venue,
        symbol=fact.symbol,
        user_id=account.user_id,
        side=fact.side,
        price=fact.price,
        quantity=fact.quantity,
        in_list=fact.role is not None,
    )
    for holder in books.fingerprints.holders(wanted):
        order = books.order(OrderId(holder))
        if order is None or order.working.venue_order_id is not None or not may_be(order, fact):
            continue
        absent = order.rejection is not None and order.rejection.kind is RejectionKind.ABSENT
        if absent or order.state is OrderState.IN_DOUBT:
            return order.order_id
    return None


class OtherOrder(Exception):
    """News of another order of the venue's than the one this leg is known to be."""


def check_identity(order: Order, news: News) -> None:
    """A leg is one order at the venue for ever: a second one would be an orphan or a foreigner's."""
    if isinstance(news, Report):
        heard = news.venue_order_id
    elif isinstance(news, Traded):
        heard = news.trade.venue_order_id
    else:
        return
    leg = next((leg for leg in order.legs if leg.role is news.role), None)
    if leg is None:
        raise OtherOrder(f"order {order.order_id} has no {news.role} leg, and yet news of it: {news!r}")
    if leg.venue_order_id is not None and heard is not None and leg.venue_order_id != heard:
        raise OtherOrder(
            f"order {order.order_id}: its {news.role} leg is {leg.venue_order_id} at the venue, yet {heard}"
        )


def reports(placed: Placed) -> list[News]:
    """A definite yes as news of the legs."""
    return [
        Report(
            role=leg.role,
            status=leg.status,
            at=placed.accepted_at,
            venue_order_id=leg.venue_order_id,
            list_id=placed.list_id,
            reported_quantity=leg.executed_quantity,
        )
        for leg in placed.legs
    ]
