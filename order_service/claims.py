"""The prices at which an order may trade, as the guard compares them (architecture 6). Pure."""

from decimal import Decimal

import msgspec

from otopilot.instrument import Side, Venue
from otopilot.money import ZERO
from otopilot.order import OVER, Order, OrderState, UserId

Market = tuple[Venue, str]  # a venue's symbol

_PASSING = frozenset({OrderState.SUBMITTING, OrderState.WORKING})


class Claim(msgspec.Struct, frozen=True):
    """The prices at which an order may trade: its BUY at or below bid, its SELL at or above ask."""

    holder: str  # our order id, foreign:<user>:<venue's id>, reprice:<order id> or ticket:<user>:<side>
    user_id: UserId
    bid: Decimal | None
    ask: Decimal | None
    passing: bool = False  # its BUY is merely in flight: it fills, or is cancelled in a moment
    unfilled: Decimal = ZERO  # of a foreign order, which is in no books of ours but these
    list_id: str | None = None  # of a foreign order

    def conflicts(self, other: "Claim") -> bool:
        """Could the two trade with each other?"""
        buys = self.bid is not None and other.ask is not None and self.bid >= other.ask
        return buys or (self.ask is not None and other.bid is not None and other.bid >= self.ask)


def claim_of(order: Order, held: bool) -> Claim | None:
    """What an order claims now; a held one (absence proven, not yet released) claims all of it."""
    bid = ask = None
    state = order.state
    if state in OVER and not held:
        return None
    for leg in order.legs:
        if leg.is_over:
            continue
        if leg.side is Side.BUY:
            bid = leg.price
        else:
            ask = leg.price
    if bid is None and ask is None:
        return None
    passing = bid is not None and not held and state in _PASSING
    return Claim(order.order_id, order.user_id, bid, ask, passing)


def is_freer(before: Claim, after: Claim | None) -> bool:
    """Does what it claims now leave more room than what it claimed before?"""
    if after is None:
        return True
    lower = before.bid is not None and (after.bid is None or after.bid < before.bid)
    higher = before.ask is not None and (after.ask is None or after.ask > before.ask)
    return lower or higher
