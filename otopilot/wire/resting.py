"""Orders that rest are told again with every reading of a position: convert each of them once.

A user may have 180 SELLs on the book, and its position is read every round. What is kept is told
only while the order is exactly the one that was converted; the bound is of orders, not of users.
"""

from otopilot.order import Order
from otopilot.wire.orders import order_from_pb, order_to_pb
from protos import order_pb2 as orders

MOST_KEPT = 20_000

_told: dict[str, tuple[Order, orders.Order]] = {}
_read: dict[str, tuple[orders.Order, Order]] = {}


def resting_to_pb(order: Order) -> orders.Order:
    """As order_to_pb(). The caller embeds the message in another, which copies it, and never changes it."""
    known = _told.get(order.order_id)
    if known is not None and known[0] is order:
        return known[1]
    message = order_to_pb(order)
    if len(_told) >= MOST_KEPT:
        _told.clear()
    _told[order.order_id] = (order, message)
    return message


def resting_from_pb(message: orders.Order) -> Order:
    """As order_from_pb()."""
    known = _read.get(message.order_id)
    if known is not None and known[0] == message:
        return known[1]
    order = order_from_pb(message)
    if len(_read) >= MOST_KEPT:
        _read.clear()
    kept = orders.Order()
    kept.CopyFrom(message)  # not a part of the whole answer, which would stay with it
    _read[order.order_id] = (kept, order)
    return order
