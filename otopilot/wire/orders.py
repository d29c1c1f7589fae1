"""Orders and their legs, to the wire and back."""

from otopilot.order import (
    CancelWish,
    Fee,
    Leg,
    LegRole,
    Order,
    OrderId,
    OrderState,
    Rejection,
    RequestId,
    ScopeId,
    StrategyId,
    UserId,
    VenueOrderId,
)
from otopilot.wire.enums import LEG_STATUSES, ORDER_STATES, PURPOSES, REJECTIONS, ROLES, SIDES, VENUES
from otopilot.wire.values import amount, decimal, moment, optional_decimal, optional_moment, timestamp
from protos import order_pb2 as orders

_SHAPES = ((LegRole.WORKING,), (LegRole.WORKING, LegRole.PENDING))


def leg_to_pb(leg: Leg) -> orders.Leg:
    """A leg for the wire."""
    return orders.Leg(
        role=ROLES.to_pb(leg.role),
        side=SIDES.to_pb(leg.side),
        asked_price=amount(leg.asked_price),
        price=amount(leg.price),
        quantity=amount(leg.quantity),
        status=LEG_STATUSES.to_pb(leg.status),
        client_order_id=leg.client_id,
        venue_order_id=leg.venue_order_id or "",
        filled_quantity=amount(leg.filled_quantity),
        filled_quote=amount(leg.filled_quote),
        reported_quantity=amount(leg.reported_quantity),
        fees=[orders.Fee(asset=fee.asset, amount=amount(fee.amount)) for fee in leg.fees],
        settled=leg.settled,
        expiry_reason=leg.expiry_reason,
    )


def leg_from_pb(leg: orders.Leg) -> Leg:
    """A leg off the wire; its trade keys stay in the journal. Raises ValueError."""
    return Leg(
        role=ROLES.from_pb(leg.role),
        side=SIDES.from_pb(leg.side),
        asked_price=decimal(leg.asked_price, "asked_price"),
        price=decimal(leg.price, "price"),
        quantity=decimal(leg.quantity, "quantity"),
        client_id=leg.client_order_id,
        venue_order_id=VenueOrderId(leg.venue_order_id) if leg.venue_order_id else None,
        status=LEG_STATUSES.from_pb(leg.status),
        reported_quantity=decimal(leg.reported_quantity, "reported_quantity"),
        filled_quantity=decimal(leg.filled_quantity, "filled_quantity"),
        filled_quote=decimal(leg.filled_quote, "filled_quote"),
        fees=tuple(Fee(fee.asset, decimal(fee.amount, "fee.amount")) for fee in leg.fees),
        expiry_reason=leg.expiry_reason,
    )


def order_to_pb(order: Order) -> orders.Order:
    """An order for the wire."""
    message = orders.Order(
        order_id=order.order_id,
        request_id=order.request_id,
        user_id=order.user_id,
        venue=VENUES.to_pb(order.venue),
        symbol=order.symbol,
        strategy_id=order.strategy_id,
        cycle=order.cycle,
        try_number=order.try_number,
        step=order.step,
        scope_id=order.scope_id or "",
        purpose=PURPOSES.to_pb(order.purpose),
        state=ORDER_STATES.to_pb(order.state),
        legs=[leg_to_pb(leg) for leg in order.legs],
        submitted_at=timestamp(order.submitted_at),
        accepted_at=timestamp(order.accepted_at),
        updated_at=timestamp(order.updated_at),
        version=order.version,
        settled=order.settled,
    )
    if order.rejection is not None:
        message.rejection.kind = REJECTIONS.to_pb(order.rejection.kind)
        message.rejection.code = order.rejection.code
        message.rejection.message = order.rejection.message
    for wish in order.wishes:
        message.cancel_wishes.add(
            role=ROLES.to_pb(wish.role),
            reason=wish.reason,
            wished_at=timestamp(wish.wished_at),
            open=order.open_wish(wish.role) is not None,
            reprice_to=amount(wish.reprice_to),
        )
    return message


def order_from_pb(order: orders.Order) -> Order:
    """An order off the wire. Raises ValueError, also when its state is not what its legs say."""
    legs = tuple(leg_from_pb(leg) for leg in order.legs)
    if tuple(leg.role for leg in legs) not in _SHAPES:
        raise ValueError(
            f"legs: order {order.order_id} has neither one working leg nor that and a pending one"
        )
    rejection = None
    if order.HasField("rejection"):
        kind = REJECTIONS.from_pb(order.rejection.kind)
        rejection = Rejection(kind, order.rejection.code, order.rejection.message)
    state = ORDER_STATES.from_pb(order.state)
    read = Order(
        order_id=OrderId(order.order_id),
        request_id=RequestId(order.request_id),
        user_id=UserId(order.user_id),
        venue=VENUES.from_pb(order.venue),
        symbol=order.symbol,
        strategy_id=StrategyId(order.strategy_id),
        cycle=order.cycle,
        try_number=order.try_number,
        step=order.step,
        scope_id=ScopeId(order.scope_id) if order.scope_id else None,
        purpose=PURPOSES.from_pb(order.purpose),
        legs=legs,
        rejection=rejection,
        in_doubt=state is OrderState.IN_DOUBT,
        wishes=tuple(
            CancelWish(
                ROLES.from_pb(wish.role),
                wish.reason,
                moment(wish.wished_at),
                optional_decimal(wish.reprice_to, "reprice_to"),
            )
            for wish in order.cancel_wishes
        ),
        submitted_at=moment(order.submitted_at),
        accepted_at=optional_moment(order.accepted_at, order.HasField("accepted_at")),
        updated_at=moment(order.updated_at),
        version=order.version,
    )
    if read.state is not state:
        raise ValueError(f"order {order.order_id}: state {state} but its legs say {read.state}")
    return read
