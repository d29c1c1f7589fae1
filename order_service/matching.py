"""Which of our orders is that? The venue's facts, put to the orders they belong to. Pure.

By the venue's id once it is known; by our client id where the venue takes one; and where it takes none,
an order in doubt is recognised by its fingerprint among the orders nobody owns (architecture 5.6).
"""

import re
from collections.abc import Iterable

from order_service.books import Books
from order_service.venues.port import VenueOrder
from otopilot.instrument import Venue
from otopilot.order import LegRole, LegStatus, Order, OrderId, Report, UserId

OUR_CLIENT_ID = re.compile(r"o([0-9a-f]{16})([wp])")


def owner(books: Books, venue: Venue, user_id: UserId, fact: VenueOrder) -> tuple[OrderId, LegRole] | None:
    """Our order and leg that the fact is about; none when it is not known to be ours."""
    known = books.owner_of(venue, user_id, fact.venue_order_id)
    if known is not None:
        return known
    named = OUR_CLIENT_ID.fullmatch(fact.client_id)
    if named is None:
        return None
    order = books.order(OrderId(named[1]))
    # Ours = in the journal; an id of our form that it lacks is somebody's, not ours (architecture 5.8).
    if order is None or order.user_id != user_id or order.venue is not venue:
        return None
    return order.order_id, LegRole.WORKING if named[2] == "w" else LegRole.PENDING


def unknown_of_ours(books: Books, venue: Venue, user_id: UserId, fact: VenueOrder) -> bool:
    """Does it bear an id of our form that the journal lacks (a restored backup)?"""
    return bool(OUR_CLIENT_ID.fullmatch(fact.client_id)) and owner(books, venue, user_id, fact) is None


def report(fact: VenueOrder, role: LegRole) -> Report | None:
    """The fact as news of a leg; none when the venue's status is not one we know."""
    if fact.status is None:
        return None
    return Report(
        role=role,
        status=fact.status,
        at=fact.created_at if fact.status in (LegStatus.OPEN, LegStatus.PENDING) else fact.updated_at,
        venue_order_id=fact.venue_order_id,
        list_id=fact.list_id,
        quantity=fact.quantity,
        reported_quantity=fact.executed_quantity,
        expiry_reason=fact.expiry_reason,
    )


def says_more(order: Order, news: Report) -> bool:
    """Would the report change anything? (Sweeps repeat what is known; the journal need not hear it.)"""
    leg = order.leg(news.role)
    return (
        leg.status is not news.status
        or leg.reported_quantity < news.reported_quantity
        or leg.venue_order_id is None
    )


def find_by_fingerprint(books: Books, order: Order, facts: Iterable[VenueOrder]) -> list[Report]:
    """Reports that adopt an order in doubt, made of the venue's orders that nobody owns.

    Empty: no unadopted order there has its fingerprint.
    """
    working = order.working
    unowned = [fact for fact in facts if owner(books, order.venue, order.user_id, fact) is None]
    wanted_role = LegRole.WORKING if order.pending is not None else None
    for fact in unowned:
        same = (fact.symbol, fact.side, fact.price, fact.quantity, fact.role) == (
            order.symbol,
            working.side,
            working.price,
            working.quantity,
            wanted_role,
        )
        if not same:
            continue
        found = [report(fact, LegRole.WORKING)]
        for sibling in unowned:
            in_list = fact.list_id is not None and sibling.list_id == fact.list_id
            if in_list and sibling.role is LegRole.PENDING:
                found.append(report(sibling, LegRole.PENDING))
        return [item for item in found if item is not None]
    return []
