"""An instrument's filters: exact tests, no rounding by the venue (binance-spot 2.3, binance-alpha 1.2)."""

from decimal import Decimal

from paper_exchange.config import Instrument
from paper_exchange.model import MARKET_KINDS, STOP_KINDS, NewOrder, Refusal, Refused
from paper_exchange.numbers import is_multiple, product


def check_price(instrument: Instrument, price: Decimal, reference: Decimal | None) -> None:
    """PRICE_FILTER, and PERCENT_PRICE around the reference price if one is given."""
    if not instrument.min_price <= price <= instrument.max_price:
        raise Refused(Refusal.PRICE_FILTER)
    if not is_multiple(price, instrument.tick_size):
        raise Refused(Refusal.PRICE_FILTER)
    if reference is not None:
        low, high = reference * instrument.percent_down, reference * instrument.percent_up
        if not low <= price <= high:
            raise Refused(Refusal.PERCENT_PRICE)


def check_quantity(instrument: Instrument, quantity: Decimal) -> None:
    """LOT_SIZE."""
    if not instrument.min_quantity <= quantity <= instrument.max_quantity:
        raise Refused(Refusal.LOT_SIZE)
    if not is_multiple(quantity, instrument.step_size):
        raise Refused(Refusal.LOT_SIZE)


def check_notional(instrument: Instrument, price: Decimal, quantity: Decimal) -> None:
    """MIN_NOTIONAL, MAX_NOTIONAL, NOTIONAL."""
    notional = product(price, quantity)
    if notional < instrument.min_notional:
        raise Refused(Refusal.MIN_NOTIONAL)
    if notional > instrument.max_notional:
        raise Refused(Refusal.MAX_NOTIONAL)


def check_iceberg(instrument: Instrument, quantity: Decimal, iceberg: Decimal) -> None:
    """LOT_SIZE of the part that is shown, and ICEBERG_PARTS."""
    if iceberg > quantity:
        raise Refused(Refusal.ICEBERG_EXCEEDS)
    check_quantity(instrument, iceberg)
    if product(iceberg, Decimal(instrument.iceberg_parts)) < quantity:
        raise Refused(Refusal.ICEBERG_PARTS)


def check_order(instrument: Instrument, order: NewOrder, reference: Decimal | None) -> None:
    """All filters that need no account; raises Refused with the first that fails."""
    if order.kind in STOP_KINDS:
        check_price(instrument, order.stop_price, None)
    if order.iceberg:
        check_iceberg(instrument, order.quantity, order.iceberg)
    if order.kind in MARKET_KINDS:
        return check_quantity(instrument, order.quantity)
    check_price(instrument, order.price, reference)
    check_quantity(instrument, order.quantity)
    return check_notional(instrument, order.price, order.quantity)
