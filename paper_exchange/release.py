"""What can still refuse a pending leg at its release, and how that is told (binance-spot 4.4 row 10, 7.1)."""

from decimal import Decimal

from paper_exchange.filters import check_iceberg, check_notional, check_price, check_quantity
from paper_exchange.market import Market
from paper_exchange.model import MARKET_KINDS, STOP_KINDS, Order, Refusal, Refused
from paper_exchange.stops import is_reached

# What a report says of a leg that ends REJECTED; of other reasons it says nothing.
REJECTIONS = {
    Refusal.INSUFFICIENT_BALANCE: "INSUFFICIENT_BALANCES",
    Refusal.WOULD_MATCH: "WOULD_MATCH_IMMEDIATELY",
    Refusal.WOULD_TRIGGER: "STOP_PRICE_WOULD_TRIGGER_IMMEDIATELY",
}


def check_release(market: Market, pending: Order, reference: Decimal | None) -> None:
    """Everything but the funds; `reference` is what the price is measured from again. Raises Refused."""
    instrument = market.instrument
    check_quantity(instrument, pending.quantity)
    if pending.kind in STOP_KINDS and is_reached(pending, market.last_price):
        raise Refused(Refusal.WOULD_TRIGGER)
    if pending.iceberg:
        check_iceberg(instrument, pending.quantity, pending.iceberg)
    if pending.kind in MARKET_KINDS:
        return
    check_price(instrument, pending.price, reference)
    check_notional(instrument, pending.price, pending.quantity)
    if pending.kind == "LIMIT_MAKER" and market.would_match(pending.side, pending.price):
        raise Refused(Refusal.WOULD_MATCH)
