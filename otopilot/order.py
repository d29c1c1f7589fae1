"""An order's life: its legs, its states, and the one function that changes them. Pure.

State is derived from what is known of the legs (leg.py), and news merges like a lattice, so
every order and repetition of reports ends in the same order (architecture 4).
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NewType

import msgspec

from otopilot.instrument import Side, Venue
from otopilot.leg import Fee as Fee
from otopilot.leg import Leg as Leg
from otopilot.leg import LegRole as LegRole
from otopilot.leg import LegStatus as LegStatus
from otopilot.leg import Report as Report
from otopilot.leg import Trade as Trade
from otopilot.leg import Traded as Traded
from otopilot.leg import TradeKey as TradeKey
from otopilot.leg import VenueOrderId as VenueOrderId
from otopilot.leg import later

UserId = NewType("UserId", str)
StrategyId = NewType("StrategyId", str)
ScopeId = NewType("ScopeId", str)
OrderId = NewType("OrderId", str)  # ours, permanent
RequestId = NewType("RequestId", str)  # the caller's: strategy/user/cycle/try


class OrderState(StrEnum):
    """State of an order, derived from its legs."""

    SUBMITTING = "submitting"
    IN_DOUBT = "in_doubt"
    WORKING = "working"
    TRIGGERED = "triggered"
    COMPLETED = "completed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"


IN_FLIGHT = frozenset({OrderState.SUBMITTING, OrderState.IN_DOUBT})
ON_BOOK = frozenset({OrderState.WORKING, OrderState.TRIGGERED})
OVER = frozenset({OrderState.COMPLETED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED})

# Python 3.11 takes 70 ns to find a member on its class; these are asked for a dozen times a decision.
_BUY, _SELL = Side.BUY, Side.SELL
_UNKNOWN = LegStatus.UNKNOWN

_ENDS = frozenset({OrderState.COMPLETED, OrderState.CANCELED, OrderState.EXPIRED})

# The legal edges; docs/order-lifecycle.md draws them. Out of REJECTED leads proof of life
# after an absence that had been proven, and nothing else.
TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    OrderState.SUBMITTING: frozenset(OrderState) - {OrderState.SUBMITTING},
    OrderState.IN_DOUBT: frozenset(OrderState) - {OrderState.SUBMITTING, OrderState.IN_DOUBT},
    OrderState.WORKING: _ENDS | {OrderState.TRIGGERED},
    OrderState.TRIGGERED: _ENDS,
    OrderState.COMPLETED: frozenset(),
    OrderState.CANCELED: frozenset(),
    OrderState.EXPIRED: frozenset(),
    OrderState.REJECTED: _ENDS | ON_BOOK,
}


class RejectionKind(StrEnum):
    """How it is known that an order never came to be."""

    VENUE = "venue"
    NOT_SENT = "not_sent"
    ABSENT = "absent"


class Purpose(StrEnum):
    """Why an order is placed."""

    OTO = "oto"
    RESIDUAL = "residual"
    REPRICE = "reprice"
    FLATTEN = "flatten"


INSUFFICIENT_BALANCE = "insufficient_balance"  # the code of a venue's no for want of funds


class Rejection(msgspec.Struct, frozen=True):
    """Why an order never came to be."""

    kind: RejectionKind
    code: str
    message: str


class CancelWish(msgspec.Struct, frozen=True):
    """A journaled wish that a leg be gone; `reprice_to`: at which price that SELL will be put back."""

    role: LegRole
    reason: str
    wished_at: datetime
    reprice_to: Decimal | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One leg (PlaceOrder) or two (PlaceOto), with whom and what it is for."""

    order_id: OrderId
    request_id: RequestId
    user_id: UserId
    venue: Venue
    symbol: str
    strategy_id: StrategyId
    cycle: int
    try_number: int
    step: int
    scope_id: ScopeId | None = None
    purpose: Purpose = Purpose.OTO
    legs: tuple[Leg, ...]
    rejection: Rejection | None = None
    in_doubt: bool = False
    list_id: str | None = None
    wishes: tuple[CancelWish, ...] = ()
    submitted_at: datetime
    accepted_at: datetime | None = None
    updated_at: datetime
    version: int = 1

    @property
    def working(self) -> Leg:
        """The only leg, or the BUY of an OTO."""
        return self.legs[0]

    @property
    def pending(self) -> Leg | None:
        """The SELL of an OTO."""
        return self.legs[1] if len(self.legs) > 1 else None

    @property
    def buy(self) -> Leg | None:
        """The leg that buys."""
        working = self.legs[0]
        return working if working.side is _BUY else None

    @property
    def sell(self) -> Leg | None:
        """The leg that sells."""
        last = self.legs[-1]
        return last if last.side is _SELL else None

    @property
    def is_alive(self) -> bool:
        """The venue is known to have, or to have had, it."""
        working, last = self.legs[0], self.legs[-1]
        return working.status is not _UNKNOWN or last.status is not _UNKNOWN

    @property
    def state(self) -> OrderState:
        """Derived from the legs (architecture 4)."""
        if self.rejection is not None:
            return OrderState.REJECTED
        if not self.is_alive:
            return OrderState.IN_DOUBT if self.in_doubt else OrderState.SUBMITTING
        working, pending = self.working, self.pending
        if not working.is_over:
            return OrderState.WORKING
        if pending is None:
            return _named_after(working)
        if working.status is LegStatus.FILLED:
            return _named_after(pending) if pending.is_over else OrderState.TRIGGERED
        if pending.is_over:
            return _named_after(working)
        # Ended partly filled: until the venue tells what became of the SELL it is not over.
        return OrderState.TRIGGERED if pending.status is LegStatus.OPEN else OrderState.WORKING

    @property
    def is_over(self) -> bool:
        """No leg can change at the venue any more."""
        return self.state in OVER

    @property
    def settled(self) -> bool:
        """It is over and every trade of it is in the ledger."""
        return self.is_over and (self.rejection is not None or all(leg.settled for leg in self.legs))

    def leg(self, role: LegRole) -> Leg:
        """The leg of that role; KeyError when it has none."""
        for leg in self.legs:
            if leg.role is role:
                return leg
        raise KeyError(role)

    def open_wish(self, role: LegRole) -> CancelWish | None:
        """The wish to cancel that leg, while the leg lives."""
        if self.is_over or self.leg(role).is_over:
            return None
        return next((wish for wish in self.wishes if wish.role is role), None)


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """The placement did not happen: the venue said no, or it never left."""

    kind: RejectionKind
    code: str
    message: str
    at: datetime


class Doubted(msgspec.Struct, frozen=True, kw_only=True, tag="doubted"):
    """The placement's answer was lost: it may have happened."""

    reason: str
    at: datetime


class Wished(msgspec.Struct, frozen=True, kw_only=True, tag="wished"):
    """Somebody wants a leg gone, perhaps to put it back at another price."""

    role: LegRole
    reason: str
    at: datetime
    reprice_to: Decimal | None = None


class Noted(msgspec.Struct, frozen=True, kw_only=True, tag="noted"):
    """A fact that changes no state but must be on record (an unknown status, an alarm)."""

    text: str
    at: datetime


News = Report | Traded | Refused | Doubted | Wished | Noted


class IllegalTransition(Exception):
    """News that contradicts what is known: an alarm, and that user stops."""

    def __init__(self, order: Order, state: OrderState, news: News) -> None:
        super().__init__(f"order {order.order_id}: {order.state} cannot become {state} by {news!r}")
        self.order = order
        self.state = state
        self.news = news


def advance(order: Order, news: News) -> Order:
    """The order after the news; the same object when the news says nothing new.

    Raises IllegalTransition when the news would take it along an edge that is not in TRANSITIONS.
    """
    changed = _apply(order, news)
    if changed == order:
        return order
    if changed.state is not order.state:
        legal = changed.state in TRANSITIONS[order.state]
        final = order.rejection is not None and order.rejection.kind is not RejectionKind.ABSENT
        if not legal or final:
            raise IllegalTransition(order, changed.state, news)
    return msgspec.structs.replace(
        changed, version=order.version + 1, updated_at=max(order.updated_at, news.at)
    )


def _apply(order: Order, news: News) -> Order:
    match news:
        case Report():
            return _report(order, news)
        case Traded():
            legs = tuple(leg.with_trade(news.trade) if leg.role is news.role else leg for leg in order.legs)
            return _alive(order, legs)
        case Refused():
            if order.is_alive or order.rejection is not None:
                return order
            rejection = Rejection(news.kind, news.code, news.message)
            return msgspec.structs.replace(order, rejection=rejection, in_doubt=False)
        case Doubted():
            if order.state is not OrderState.SUBMITTING:
                return order
            return msgspec.structs.replace(order, in_doubt=True)
        case Wished():
            if (
                order.is_over
                or order.leg(news.role).is_over
                or any(wish.role is news.role for wish in order.wishes)
            ):
                return order
            wish = CancelWish(news.role, news.reason, news.at, news.reprice_to)
            return msgspec.structs.replace(order, wishes=(*order.wishes, wish))
        case Noted():
            return order


def _report(order: Order, news: Report) -> Order:
    legs = tuple(leg.after(news) if leg.role is news.role else leg for leg in order.legs)
    if len(legs) > 1:
        working, pending = legs
        ended = working.is_over and working.status is not LegStatus.FILLED
        if ended and working.reported_quantity == 0:
            # Nothing was bought, so the SELL can never be released; some venues send no word of it.
            legs = (working, msgspec.structs.replace(pending, status=later(pending.status, working.status)))
    accepted = order.accepted_at
    if news.role is LegRole.WORKING and news.status is not LegStatus.UNKNOWN:
        accepted = news.at if accepted is None else min(accepted, news.at)
    changed = msgspec.structs.replace(order, accepted_at=accepted, list_id=order.list_id or news.list_id)
    return _alive(changed, legs)


def _alive(order: Order, legs: tuple[Leg, ...]) -> Order:
    """The order with these legs; proof of life ends doubt and rejection (advance says whether legally)."""
    changed = msgspec.structs.replace(order, legs=legs)
    return msgspec.structs.replace(changed, in_doubt=False, rejection=None) if changed.is_alive else changed


def _named_after(leg: Leg) -> OrderState:
    if leg.status is LegStatus.FILLED:
        return OrderState.COMPLETED
    return OrderState.CANCELED if leg.status is LegStatus.CANCELED else OrderState.EXPIRED
