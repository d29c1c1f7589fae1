"""Users, volume scopes and positions, to the wire and back."""

from otopilot.order import ScopeId, UserId
from otopilot.position import (
    MemberVolume,
    Position,
    ScopeMember,
    ScopeVolume,
    User,
    VolumeScope,
    VolumeWindow,
)
from otopilot.wire.enums import USER_STATES, VENUES, VOLUME_SIDES, WINDOWS
from otopilot.wire.orders import order_from_pb, order_to_pb
from otopilot.wire.resting import resting_from_pb, resting_to_pb
from otopilot.wire.values import amount, decimal, optional_decimal, optional_moment, timestamp
from protos import order_pb2 as orders


def user_to_pb(user: User) -> orders.User:
    """A user for the wire."""
    return orders.User(
        user_id=user.user_id,
        venue=VENUES.to_pb(user.venue),
        state=USER_STATES.to_pb(user.state),
        reason_code=user.reason_code,
        reason=user.reason,
        credential_kind=user.credential_kind,
        stored_at=timestamp(user.stored_at),
    )


def user_from_pb(user: orders.User) -> User:
    """A user off the wire. Raises ValueError."""
    return User(
        user_id=UserId(user.user_id),
        venue=VENUES.from_pb(user.venue),
        state=USER_STATES.from_pb(user.state),
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
        members=[_member_to_pb(member) for member in scope.members],
        side=VOLUME_SIDES.to_pb(scope.side),
        window=WINDOWS.to_pb(scope.window),
        since=timestamp(scope.since),
        target=amount(scope.target),
        revision=scope.revision,
    )


def scope_from_request(request: orders.SetVolumeScopeRequest) -> VolumeScope:
    """The scope a request sets. Raises ValueError."""
    members = tuple(sorted(map(_member_from_pb, request.members), key=_account_of))
    if not request.scope_id or not members:
        raise ValueError("scope_id and members: both are needed")
    window = WINDOWS.from_pb(request.window)
    since = optional_moment(request.since, request.HasField("since"))
    if (window is VolumeWindow.SINCE) != (since is not None):
        raise ValueError("since: goes with the SINCE window and only with it")
    return VolumeScope(
        scope_id=ScopeId(request.scope_id),
        members=members,
        side=VOLUME_SIDES.from_pb(request.side),
        window=window,
        since=since,
        target=decimal(request.target, "target"),
        revision=request.revision,
    )


def _member_to_pb(member: ScopeMember) -> orders.ScopeMember:
    return orders.ScopeMember(
        user_id=member.user_id,
        venue=VENUES.to_pb(member.venue),
        symbol=member.symbol,
        max_cost=amount(member.max_cost),
        max_cost_per_1000=amount(member.max_cost_per_1000),
    )


def _member_from_pb(member: orders.ScopeMember) -> ScopeMember:
    return ScopeMember(
        UserId(member.user_id),
        VENUES.from_pb(member.venue),
        member.symbol,
        optional_decimal(member.max_cost, "max_cost"),
        optional_decimal(member.max_cost_per_1000, "max_cost_per_1000"),
    )


def _account_of(member: ScopeMember) -> tuple[str, str, str]:
    return (member.user_id, member.venue, member.symbol)


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
        side=VOLUME_SIDES.to_pb(volume.scope.side),
        window=WINDOWS.to_pb(volume.scope.window),
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
        open_orders=[resting_to_pb(order) for order in position.open_orders],
        inventory=amount(position.inventory),
        inventory_cost=amount(position.inventory_cost),
        uncovered=amount(position.uncovered),
        average_cost=amount(position.average_cost),
        realised_cost=amount(position.realised_cost),
        cost_complete=position.cost_complete,
        bought_quote=amount(position.bought_quote),
        sold_quote=amount(position.sold_quote),
        open_sells=position.open_sells,
        buy_fee_rate=amount(position.buy_fee_rate),
    )


def position_from_pb(position: orders.Position) -> Position:
    """A position off the wire. Raises ValueError."""
    return Position(
        user=user_from_pb(position.user),
        last_cycle=position.last_cycle,
        cycle_orders=tuple(order_from_pb(order) for order in position.cycle_orders),
        open_orders=tuple(resting_from_pb(order) for order in position.open_orders),
        inventory=decimal(position.inventory, "inventory"),
        inventory_cost=decimal(position.inventory_cost, "inventory_cost"),
        uncovered=decimal(position.uncovered, "uncovered"),
        average_cost=optional_decimal(position.average_cost, "average_cost"),
        realised_cost=decimal(position.realised_cost, "realised_cost"),
        cost_complete=position.cost_complete,
        bought_quote=decimal(position.bought_quote, "bought_quote"),
        sold_quote=decimal(position.sold_quote, "sold_quote"),
        open_sells=position.open_sells,
        buy_fee_rate=optional_decimal(position.buy_fee_rate, "buy_fee_rate"),
    )
