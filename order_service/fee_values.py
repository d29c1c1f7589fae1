"""What a fee was worth: in quote, at the trade's price or the venue's last price (product 2, cost)."""

from decimal import Decimal

from order_service.books import account_of
from order_service.ledger import LedgerRow
from order_service.sessions import Sessions
from order_service.venues.port import VenueError
from otopilot import money
from otopilot.instrument import Venue
from otopilot.order import Order, OrderId, Trade

PLACES = 18  # of a product of two amounts; the journal reads thirty


async def fee_value(sessions: Sessions, venue: Venue, symbol: str, trade: Trade) -> Decimal | None:
    """A trade's fee in quote; none where the fee's asset has no price that can be read."""
    fee = trade.fee
    if fee.amount == 0:
        return fee.amount
    session = next((session for session in sessions.all() if session.venue is venue), None)
    if session is None:
        return None
    try:
        instrument = await session.port.instrument(symbol)
        if fee.asset == instrument.quote_asset:
            return fee.amount
        price = trade.price
        if fee.asset != instrument.base_asset:
            price = await session.port.last_price(fee.asset + instrument.quote_asset)
    except VenueError:
        return None
    return money.truncate(fee.amount * price, PLACES)


def row_of(
    order: Order, trade: Trade, order_id: OrderId | None, values: dict[str, Decimal | None]
) -> LedgerRow:
    """A trade of an order's account, as that order's or, without its id, as nobody's of ours."""
    return LedgerRow(
        account=account_of(order), trade=trade, order_id=order_id, fee_value=values.get(trade.key)
    )
