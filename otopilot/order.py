"""An order's life: its legs, its states, and the one function that changes them. Pure.

State is derived from what is known of the legs. News merges like a lattice: trades are a
set by their key and a leg's status only moves forward, so every order and repetition of
reports ends in the same state (architecture 4).
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NewType

import msgspec

from otopilot.instrument import Side, Venue
from otopilot.money import ZERO

UserId = NewType("UserId", str)
StrategyId = NewType("StrategyId", str)
ScopeId = NewType("ScopeId", str)
OrderId = NewType("OrderId", str)  # ours, permanent
RequestId = NewType("RequestId", str)  # the caller's: strategy/user/cycle/try
VenueOrderId = NewType("VenueOrderId", str)  # theirs
TradeKey = NewType("TradeKey", str)  # made by the venue adapter, unique within (user, symbol)


class LegRole(StrEnum):
    """An order's part: the only leg or an OTO's BUY; an OTO's SELL."""

    WORKING = "working"
    PENDING = "pending"


class LegStatus(StrEnum):
    """What is known of a leg at the venue, from nothing to its end."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    OPEN = "open"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELED = "canceled"
    FILLED = "filled"


# A status only moves forward along this row. Two different ends cannot both be true; taking
# the later one makes the merge independent of the order of arrival.
_RANK = {status: rank for rank, status in enumerate(LegStatus)}
_ENDED = frozenset({LegStatus.REJECTED, LegStatus.EXPIRED, LegStatus.CANCELED, LegStatus.FILLED})


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


class Fee(msgspec.Struct, frozen=True):
    """A sum of fees in one asset."""

    asset: str
    amount: Decimal


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One execution as the venue's books tell it. Quantity in base, quote = price x quantity."""

    key: TradeKey
    side: Side
    price: Decimal
    quantity: Decimal
    quote: Decimal
    fee: Fee
    traded_at: datetime
    venue_order_id: VenueOrderId


class Rejection(msgspec.Struct, frozen=True):
    """Why an order never came to be."""

    kind: RejectionKind
    code: str
    message: str


class CancelWish(msgspec.Struct, frozen=True):
    """A journaled wish that a leg be gone."""

    role: LegRole
    reason: str
    wished_at: datetime


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One limit order at the venue. Prices in quote per base, quantities in base."""

    role: LegRole
    side: Side
    asked_price: Decimal
    price: Decimal
    quantity: Decimal
    client_id: str = ""
    venue_order_id: VenueOrderId | None = None
    status: LegStatus = LegStatus.UNKNOWN
    reported_quantity: Decimal = ZERO
    filled_quantity: Decimal = ZERO
    filled_quote: Decimal = ZERO
    fees: tuple[Fee, ...] = ()
    trade_keys: tuple[TradeKey, ...] = ()
    expiry_reason: str = ""

    @property
    def is_over(self) -> bool:
        """Nothing more can happen to it at the venue."""
        return self.status in _ENDED

    @property
    def settled(self) -> bool:
        """It is over and every trade of it is in the ledger."""
        return self.is_over and self.filled_quantity >= self.reported_quantity

    @property
    def unfilled(self) -> Decimal:
        """Base that may still enter the ledger as trades of this leg."""
        whole = self.reported_quantity if self.is_over else self.quantity
        return max(ZERO, whole - self.filled_quantity)


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
        return self.working if self.working.side is Side.BUY else None

    @property
    def sell(self) -> Leg | None:
        """The leg that sells."""
        return self.working if self.working.side is Side.SELL else self.pending

    @property
    def is_alive(self) -> bool:
        """The venue is known to have, or to have had, it."""
        return any(leg.status is not LegStatus.UNKNOWN for leg in self.legs)

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


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """The venue's word on a leg. A report of an end carries the final cumulative quantity."""

    role: LegRole
    status: LegStatus
    at: datetime
    venue_order_id: VenueOrderId | None = None
    list_id: str | None = None
    quantity: Decimal | None = None
    reported_quantity: Decimal = ZERO
    expiry_reason: str = ""


class Traded(msgspec.Struct, frozen=True, kw_only=True, tag="traded"):
    """A trade of a leg, as read from the venue's books."""

    role: LegRole
    trade: Trade
    at: datetime


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
    """Somebody wants a leg gone."""

    role: LegRole
    reason: str
    at: datetime


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
            legs = tuple(_add_trade(leg, news.trade) if leg.role is news.role else leg for leg in order.legs)
            return _alive(order, legs)
        case Refused():
            if order.is_alive or order.rejection is not None:
                return order
            return msgspec.structs.replace(order, rejection=Rejection(news.kind, news.code, news.message))
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
            wish = CancelWish(news.role, news.reason, news.at)
            return msgspec.structs.replace(order, wishes=(*order.wishes, wish))
        case Noted():
            return order


def _report(order: Order, news: Report) -> Order:
    legs = tuple(_merge(leg, news) if leg.role is news.role else leg for leg in order.legs)
    if len(legs) > 1:
        working, pending = legs
        ended = working.is_over and working.status is not LegStatus.FILLED
        if ended and working.reported_quantity == 0 and not pending.is_over:
            # Nothing was bought, so the SELL can never be released; some venues send no word of it.
            legs = (working, msgspec.structs.replace(pending, status=working.status))
    accepted = order.accepted_at
    if news.role is LegRole.WORKING and news.status is not LegStatus.UNKNOWN:
        accepted = news.at if accepted is None else min(accepted, news.at)
    changed = msgspec.structs.replace(order, accepted_at=accepted, list_id=order.list_id or news.list_id)
    return _alive(changed, legs)


def _alive(order: Order, legs: tuple[Leg, ...]) -> Order:
    """The order with these legs; proof of life ends a rejection (advance says whether that is legal)."""
    rejection = order.rejection
    if any(leg.status is not LegStatus.UNKNOWN for leg in legs):
        rejection = None
    return msgspec.structs.replace(order, legs=legs, rejection=rejection)


def _merge(leg: Leg, news: Report) -> Leg:
    status = max(leg.status, news.status, key=_RANK.__getitem__)
    reported = max(leg.reported_quantity, news.reported_quantity)
    # A pending leg that the venue sizes gets its quantity when it goes on the book.
    on_book = _RANK[news.status] >= _RANK[LegStatus.OPEN]
    quantity = news.quantity if news.quantity and on_book else leg.quantity
    if status is LegStatus.FILLED:
        reported = max(reported, quantity)
    return msgspec.structs.replace(
        leg,
        status=status,
        reported_quantity=reported,
        quantity=quantity,
        venue_order_id=leg.venue_order_id or news.venue_order_id,
        expiry_reason=leg.expiry_reason or news.expiry_reason,
    )


def _add_trade(leg: Leg, trade: Trade) -> Leg:
    if trade.key in leg.trade_keys:
        return leg
    fees = {fee.asset: fee.amount for fee in leg.fees}
    fees[trade.fee.asset] = fees.get(trade.fee.asset, ZERO) + trade.fee.amount
    return msgspec.structs.replace(
        leg,
        # A trade proves that the leg is, or was, on the book.
        status=max(leg.status, LegStatus.OPEN, key=_RANK.__getitem__),
        venue_order_id=leg.venue_order_id or trade.venue_order_id,
        filled_quantity=leg.filled_quantity + trade.quantity,
        filled_quote=leg.filled_quote + trade.quote,
        fees=tuple(Fee(asset, amount) for asset, amount in sorted(fees.items())),
        trade_keys=tuple(sorted((*leg.trade_keys, trade.key))),
    )


def _named_after(leg: Leg) -> OrderState:
    if leg.status is LegStatus.FILLED:
        return OrderState.COMPLETED
    return OrderState.CANCELED if leg.status is LegStatus.CANCELED else OrderState.EXPIRED
