"""Protobuf <-> vocabulary, both directions side by side.

The only place, with rpc, servicers and clients, that knows generated messages. Parsing
raises ValueError with the field's name for anything that is not what the contract says.
"""

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from otopilot import money
from otopilot.instrument import Instrument, InstrumentStatus, Side, Venue
from otopilot.order import (
    CancelWish,
    Fee,
    Leg,
    LegRole,
    LegStatus,
    Order,
    OrderId,
    OrderState,
    Purpose,
    Rejection,
    RejectionKind,
    RequestId,
    ScopeId,
    StrategyId,
    UserId,
    VenueOrderId,
)
from otopilot.position import (
    MemberVolume,
    Position,
    ScopeMember,
    ScopeVolume,
    User,
    UserState,
    VolumeScope,
    VolumeSide,
    VolumeWindow,
)
from otopilot.quote import Quote, QuoteSource
from protos import market_pb2 as market
from protos import order_pb2 as orders

# ------------------------------------------------------------------ plain values


def timestamp(moment: datetime | None) -> Timestamp | None:
    """An aware time as a Timestamp; none stays none."""
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC).replace(tzinfo=None))
    return stamp


def moment(stamp: Timestamp) -> datetime:
    """A Timestamp as aware UTC."""
    return stamp.ToDatetime(tzinfo=UTC)


def optional_moment(stamp: Timestamp, present: bool) -> datetime | None:
    """A Timestamp as aware UTC, or none where the field is not set."""
    return moment(stamp) if present else None


def decimal(text: str, field: str) -> Decimal:
    """An amount that must be there. Raises ValueError that names the field."""
    try:
        return money.parse(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def optional_decimal(text: str, field: str) -> Decimal | None:
    """An amount that may be missing."""
    return decimal(text, field) if text else None


def amount(value: Decimal | None) -> str:
    """An amount as text; none is empty."""
    return "" if value is None else money.text(value)


Name = TypeVar("Name", bound=StrEnum)


class _Names(Generic[Name]):
    """A vocabulary enum and its protobuf twin, whose names differ by a prefix only."""

    def __init__(self, vocabulary: type[Name], prefix: str, twin: Any) -> None:
        by_name = dict(twin.items())
        self._prefix = prefix
        self._to_pb = {member: by_name.get(f"{prefix}_{member.name}", 0) for member in vocabulary}
        self._from_pb = {number: member for member, number in self._to_pb.items() if number}

    def to_pb(self, member: Name) -> Any:
        return self._to_pb[member]

    def from_pb(self, number: int) -> Name:
        """Raises ValueError for UNSPECIFIED and for numbers this version does not know."""
        try:
            return self._from_pb[number]
        except KeyError:
            raise ValueError(f"{self._prefix}: {number} is not one of its values") from None


_VENUES = _Names(Venue, "VENUE", market.Venue)
_STATUSES = _Names(InstrumentStatus, "INSTRUMENT_STATUS", market.InstrumentStatus)
_SOURCES = _Names(QuoteSource, "PRICE_SOURCE", market.PriceSource)
_SIDES = _Names(Side, "SIDE", orders.Side)
_ROLES = _Names(LegRole, "LEG_ROLE", orders.LegRole)
_LEG_STATUSES = _Names(LegStatus, "LEG_STATUS", orders.LegStatus)
_STATES = _Names(OrderState, "ORDER_STATE", orders.OrderState)
_REJECTIONS = _Names(RejectionKind, "REJECTION_KIND", orders.RejectionKind)
_PURPOSES = _Names(Purpose, "PURPOSE", orders.Purpose)
_VOLUME_SIDES = _Names(VolumeSide, "VOLUME_SIDE", orders.VolumeSide)
_WINDOWS = _Names(VolumeWindow, "VOLUME_WINDOW", orders.VolumeWindow)
_USER_STATES = _Names(UserState, "USER_STATE", orders.UserState)

venue_to_pb = _VENUES.to_pb
venue_from_pb = _VENUES.from_pb
side_to_pb = _SIDES.to_pb
side_from_pb = _SIDES.from_pb
role_to_pb = _ROLES.to_pb
role_from_pb = _ROLES.from_pb
purpose_to_pb = _PURPOSES.to_pb
volume_side_to_pb = _VOLUME_SIDES.to_pb
window_to_pb = _WINDOWS.to_pb


def purpose_from_pb(number: int) -> Purpose:
    """OTO is what an order without a purpose of its own is for."""
    return _PURPOSES.from_pb(number) if number else Purpose.OTO


# ------------------------------------------------------------------ market


def instrument_to_pb(item: Instrument, fetched_at: datetime | None = None) -> market.Instrument:
    """An instrument for the wire."""
    return market.Instrument(
        venue=_VENUES.to_pb(item.venue),
        symbol=item.symbol,
        token=item.token,
        chain=item.chain,
        base_asset=item.base_asset,
        quote_asset=item.quote_asset,
        status=_STATUSES.to_pb(item.status),
        tick_size=amount(item.tick_size),
        step_size=amount(item.step_size),
        min_price=amount(item.min_price),
        max_price=amount(item.max_price),
        min_quantity=amount(item.min_quantity),
        max_quantity=amount(item.max_quantity),
        min_notional=amount(item.min_notional),
        max_notional=amount(item.max_notional),
        bid_multiplier_down=amount(item.bid_multiplier_down),
        bid_multiplier_up=amount(item.bid_multiplier_up),
        ask_multiplier_down=amount(item.ask_multiplier_down),
        ask_multiplier_up=amount(item.ask_multiplier_up),
        max_num_orders=item.max_num_orders,
        max_num_order_lists=item.max_num_order_lists,
        oto_allowed=item.oto_allowed,
        opo_allowed=item.opo_allowed,
        buy_fee_rate=amount(item.buy_fee_rate),
        sell_fee_rate=amount(item.sell_fee_rate),
        fetched_at=timestamp(fetched_at),
    )


def instrument_from_pb(item: market.Instrument) -> Instrument:
    """An instrument off the wire. Raises ValueError."""
    return Instrument(
        venue=_VENUES.from_pb(item.venue),
        symbol=item.symbol,
        token=item.token,
        chain=item.chain,
        base_asset=item.base_asset,
        quote_asset=item.quote_asset,
        status=_STATUSES.from_pb(item.status),
        tick_size=decimal(item.tick_size, "tick_size"),
        step_size=decimal(item.step_size, "step_size"),
        min_price=decimal(item.min_price, "min_price"),
        max_price=optional_decimal(item.max_price, "max_price"),
        min_quantity=decimal(item.min_quantity, "min_quantity"),
        max_quantity=optional_decimal(item.max_quantity, "max_quantity"),
        min_notional=decimal(item.min_notional, "min_notional"),
        max_notional=optional_decimal(item.max_notional, "max_notional"),
        bid_multiplier_down=optional_decimal(item.bid_multiplier_down, "bid_multiplier_down"),
        bid_multiplier_up=optional_decimal(item.bid_multiplier_up, "bid_multiplier_up"),
        ask_multiplier_down=optional_decimal(item.ask_multiplier_down, "ask_multiplier_down"),
        ask_multiplier_up=optional_decimal(item.ask_multiplier_up, "ask_multiplier_up"),
        max_num_orders=item.max_num_orders,
        max_num_order_lists=item.max_num_order_lists,
        oto_allowed=item.oto_allowed,
        opo_allowed=item.opo_allowed,
        buy_fee_rate=optional_decimal(item.buy_fee_rate, "buy_fee_rate"),
        sell_fee_rate=optional_decimal(item.sell_fee_rate, "sell_fee_rate"),
    )


def quote_to_pb(quote: Quote, now: datetime, stale_after_ms: int) -> market.Price:
    """A price for the wire, with its age at `now`."""
    age_ms = int(quote.age(now).total_seconds() * 1000)
    return market.Price(
        venue=_VENUES.to_pb(quote.venue),
        symbol=quote.symbol,
        price=amount(quote.price),
        traded_at=timestamp(quote.traded_at),
        confirmed_at=timestamp(quote.confirmed_at),
        age_ms=age_ms,
        stale=age_ms > stale_after_ms,
        source=_SOURCES.to_pb(quote.source),
        sequence=quote.sequence,
    )


def quote_from_pb(price: market.Price) -> Quote:
    """A price off the wire. Raises ValueError."""
    return Quote(
        venue=_VENUES.from_pb(price.venue),
        symbol=price.symbol,
        price=decimal(price.price, "price"),
        traded_at=moment(price.traded_at),
        confirmed_at=moment(price.confirmed_at),
        source=_SOURCES.from_pb(price.source),
        sequence=price.sequence,
    )


# ------------------------------------------------------------------ orders


def leg_to_pb(leg: Leg) -> orders.Leg:
    """A leg for the wire."""
    return orders.Leg(
        role=_ROLES.to_pb(leg.role),
        side=_SIDES.to_pb(leg.side),
        asked_price=amount(leg.asked_price),
        price=amount(leg.price),
        quantity=amount(leg.quantity),
        status=_LEG_STATUSES.to_pb(leg.status),
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
        role=_ROLES.from_pb(leg.role),
        side=_SIDES.from_pb(leg.side),
        asked_price=decimal(leg.asked_price, "asked_price"),
        price=decimal(leg.price, "price"),
        quantity=decimal(leg.quantity, "quantity"),
        client_id=leg.client_order_id,
        venue_order_id=VenueOrderId(leg.venue_order_id) if leg.venue_order_id else None,
        status=_LEG_STATUSES.from_pb(leg.status),
        reported_quantity=decimal(leg.reported_quantity, "reported_quantity"),
        filled_quantity=decimal(leg.filled_quantity, "filled_quantity"),
        filled_quote=decimal(leg.filled_quote, "filled_quote"),
        fees=tuple(Fee(fee.asset, decimal(fee.amount, "fee")) for fee in leg.fees),
        expiry_reason=leg.expiry_reason,
    )


def order_to_pb(order: Order) -> orders.Order:
    """An order for the wire."""
    message = orders.Order(
        order_id=order.order_id,
        request_id=order.request_id,
        user_id=order.user_id,
        venue=_VENUES.to_pb(order.venue),
        symbol=order.symbol,
        strategy_id=order.strategy_id,
        cycle=order.cycle,
        try_number=order.try_number,
        step=order.step,
        scope_id=order.scope_id or "",
        purpose=_PURPOSES.to_pb(order.purpose),
        state=_STATES.to_pb(order.state),
        legs=[leg_to_pb(leg) for leg in order.legs],
        submitted_at=timestamp(order.submitted_at),
        accepted_at=timestamp(order.accepted_at),
        updated_at=timestamp(order.updated_at),
        version=order.version,
        settled=order.settled,
    )
    if order.rejection is not None:
        message.rejection.kind = _REJECTIONS.to_pb(order.rejection.kind)
        message.rejection.code = order.rejection.code
        message.rejection.message = order.rejection.message
    for wish in order.wishes:
        message.cancel_wishes.add(
            role=_ROLES.to_pb(wish.role),
            reason=wish.reason,
            wished_at=timestamp(wish.wished_at),
            open=order.open_wish(wish.role) is not None,
        )
    return message


def order_from_pb(order: orders.Order) -> Order:
    """An order off the wire. Raises ValueError, also when its state is not what its legs say."""
    rejection = None
    if order.HasField("rejection"):
        kind = _REJECTIONS.from_pb(order.rejection.kind)
        rejection = Rejection(kind, order.rejection.code, order.rejection.message)
    state = _STATES.from_pb(order.state)
    read = Order(
        order_id=OrderId(order.order_id),
        request_id=RequestId(order.request_id),
        user_id=UserId(order.user_id),
        venue=_VENUES.from_pb(order.venue),
        symbol=order.symbol,
        strategy_id=StrategyId(order.strategy_id),
        cycle=order.cycle,
        try_number=order.try_number,
        step=order.step,
        scope_id=ScopeId(order.scope_id) if order.scope_id else None,
        purpose=purpose_from_pb(order.purpose),
        legs=tuple(leg_from_pb(leg) for leg in order.legs),
        rejection=rejection,
        in_doubt=state is OrderState.IN_DOUBT,
        wishes=tuple(
            CancelWish(_ROLES.from_pb(wish.role), wish.reason, moment(wish.wished_at))
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


# ------------------------------------------------------------------ accounts


def user_to_pb(user: User) -> orders.User:
    """A user for the wire."""
    return orders.User(
        user_id=user.user_id,
        venue=_VENUES.to_pb(user.venue),
        state=_USER_STATES.to_pb(user.state),
        reason_code=user.reason_code,
        reason=user.reason,
        credential_kind=user.credential_kind,
        stored_at=timestamp(user.stored_at),
    )


def user_from_pb(user: orders.User) -> User:
    """A user off the wire. Raises ValueError."""
    return User(
        user_id=UserId(user.user_id),
        venue=_VENUES.from_pb(user.venue),
        state=_USER_STATES.from_pb(user.state),
        reason_code=user.reason_code,
        reason=user.reason,
        credential_kind=user.credential_kind,
        stored_at=optional_moment(user.stored_at, user.HasField("stored_at")),
    )


def scope_to_request(scope: VolumeScope, owner_epoch: int) -> orders.SetVolumeScopeRequest:
    """A scope as the request that sets it."""
    return orders.SetVolumeScopeRequest(
        scope_id=scope.scope_id,
        owner_epoch=owner_epoch,
        members=[
            orders.ScopeMember(user_id=m.user_id, venue=_VENUES.to_pb(m.venue), symbol=m.symbol)
            for m in scope.members
        ],
        side=_VOLUME_SIDES.to_pb(scope.side),
        window=_WINDOWS.to_pb(scope.window),
        since=timestamp(scope.since),
        target=amount(scope.target),
        revision=scope.revision,
    )


def scope_from_request(request: orders.SetVolumeScopeRequest) -> VolumeScope:
    """The scope a request sets. Raises ValueError."""
    members = tuple(
        sorted(ScopeMember(UserId(m.user_id), _VENUES.from_pb(m.venue), m.symbol) for m in request.members)
    )
    if not request.scope_id or not members:
        raise ValueError("scope_id and members: both are needed")
    window = _WINDOWS.from_pb(request.window) if request.window else VolumeWindow.DAY
    since = optional_moment(request.since, request.HasField("since"))
    if (window is VolumeWindow.SINCE) != (since is not None):
        raise ValueError("since: goes with the SINCE window and only with it")
    return VolumeScope(
        scope_id=ScopeId(request.scope_id),
        members=members,
        side=_VOLUME_SIDES.from_pb(request.side) if request.side else VolumeSide.BUY,
        window=window,
        since=since,
        target=decimal(request.target, "target"),
        revision=request.revision,
    )


def volume_to_pb(volume: ScopeVolume) -> orders.VolumeScope:
    """A scope's figures for the wire."""
    return orders.VolumeScope(
        scope_id=volume.scope.scope_id,
        target=amount(volume.scope.target),
        counted=amount(volume.counted),
        reserved=amount(volume.reserved),
        left=amount(volume.left),
        complete=volume.complete,
        members=[
            orders.MemberVolume(user_id=m.user_id, counted=amount(m.counted), complete=m.complete)
            for m in volume.members
        ],
        side=_VOLUME_SIDES.to_pb(volume.scope.side),
        window=_WINDOWS.to_pb(volume.scope.window),
        window_start=timestamp(volume.window_start),
        revision=volume.scope.revision,
    )


def volume_from_pb(volume: orders.VolumeScope, scope: VolumeScope) -> ScopeVolume:
    """A scope's figures off the wire, for a scope the reader knows. Raises ValueError."""
    return ScopeVolume(
        scope=scope,
        counted=decimal(volume.counted, "counted"),
        reserved=decimal(volume.reserved, "reserved"),
        complete=volume.complete,
        members=tuple(
            MemberVolume(
                user_id=UserId(m.user_id), counted=decimal(m.counted, "counted"), complete=m.complete
            )
            for m in volume.members
        ),
        window_start=optional_moment(volume.window_start, volume.HasField("window_start")),
    )


def position_to_pb(position: Position) -> orders.Position:
    """A position for the wire."""
    return orders.Position(
        user=user_to_pb(position.user),
        last_cycle=position.last_cycle,
        cycle_orders=[order_to_pb(order) for order in position.cycle_orders],
        open_orders=[order_to_pb(order) for order in position.open_orders],
        inventory=amount(position.inventory),
        inventory_cost=amount(position.inventory_cost),
        uncovered=amount(position.uncovered),
        average_cost=amount(position.average_cost),
        realised_cost=amount(position.realised_cost),
        cost_complete=position.cost_complete,
        bought_quote=amount(position.bought_quote),
        sold_quote=amount(position.sold_quote),
        open_sells=position.open_sells,
    )


def position_from_pb(position: orders.Position) -> Position:
    """A position off the wire. Raises ValueError."""
    return Position(
        user=user_from_pb(position.user),
        last_cycle=position.last_cycle,
        cycle_orders=tuple(order_from_pb(order) for order in position.cycle_orders),
        open_orders=tuple(order_from_pb(order) for order in position.open_orders),
        inventory=decimal(position.inventory, "inventory"),
        inventory_cost=decimal(position.inventory_cost, "inventory_cost"),
        uncovered=decimal(position.uncovered, "uncovered"),
        average_cost=optional_decimal(position.average_cost, "average_cost"),
        realised_cost=decimal(position.realised_cost, "realised_cost"),
        cost_complete=position.cost_complete,
        bought_quote=decimal(position.bought_quote, "bought_quote"),
        sold_quote=decimal(position.sold_quote, "sold_quote"),
        open_sells=position.open_sells,
    )
