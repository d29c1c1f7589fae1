"""The life of an order list: what one leg's fate does to the other.

Pure decisions over records (binance-spot 4.4, binance-alpha 4.1 and 4.2); exchange.py carries
them out. The pending leg is released by the *full* execution of the working leg and by nothing
less, unless a switch of the configuration says otherwise.
"""

from decimal import Decimal

from paper_exchange.config import Instrument, VenueSettings
from paper_exchange.model import Order, OrderList, Status
from paper_exchange.numbers import ZERO, floor_to


def is_triggered_by(working: Order) -> bool:
    """Whether the working leg's state releases the pending leg."""
    return working.status is Status.FILLED


def release_quantity(
    order_list: OrderList,
    working: Order,
    pending: Order,
    instrument: Instrument,
    settings: VenueSettings,
    free_base: Decimal,
) -> Decimal:
    """How much the pending leg is released with.

    An explicit quantity stands. Else a SELL takes the base received, cut to the step; an OPO
    may take the commission from other free base. A BUY takes what the proceeds pay for.
    """
    if not order_list.sized_by_receipt:
        return pending.quantity
    if working.side == "SELL":
        return floor_to((working.quote - working.fee) / pending.price, instrument.step_size)
    received = working.executed - working.fee
    if order_list.kind == "OPO" and settings.opo_commission_from_free and free_base >= working.fee:
        received = working.executed
    return floor_to(received, instrument.step_size)


def releases_after_cancel(working: Order, settings: VenueSettings) -> bool:
    """Whether a cancelled working leg still releases its pending leg for the part that filled."""
    return settings.pending_after_partial_cancel == "size_filled" and working.executed > 0


def sibling_status(settings: VenueSettings) -> Status:
    """How the other leg ends when one is cancelled before the trigger."""
    return Status(settings.sibling_ends)


def reserve_for_pending(order_list: OrderList, received: Decimal) -> Decimal:
    """What of a working fill's receipt stays locked until the release: all of it for an OPO."""
    return received if order_list.kind == "OPO" else ZERO
