"""Small builders: settings, instruments, orders, strategies as the tests need them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import msgspec

from otopilot.instrument import Instrument, Side, Venue
from otopilot.order import (
    Leg,
    LegRole,
    LegStatus,
    Order,
    OrderId,
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
)
from otopilot.quote import Quote
from strategy_service.config import StrategyConfig, TradingConfig, UserSettings
from strategy_service.state import PlaceOto, PlaceSell, Rules, Standing

SYMBOL = "ALPHA_22USDT"
START = datetime(2026, 1, 5, 12, 0, 0, tzinfo=UTC)

KOGE = Instrument(
    venue=Venue.ALPHA,
    symbol=SYMBOL,
    token="KOGE",
    chain="BSC",
    base_asset="ALPHA_22",
    quote_asset="USDT",
    tick_size=D("0.01"),
    step_size=D("0.001"),
    min_quantity=D("0.001"),
    min_notional=D("5"),
    max_num_orders=200,
)


def at(seconds: float) -> datetime:
    """A time of day that runs beside monotonic seconds from 1000 on."""
    return START + timedelta(seconds=seconds - 1000)


def user_settings(user_id: str = "1", **changes: Any) -> UserSettings:
    return UserSettings(user_id, "s", **changes)


def rules(user_id: str = "1", instrument: Instrument = KOGE, **changes: Any) -> Rules:
    return Rules(
        user_id=UserId(user_id),
        strategy_id=StrategyId("s"),
        scope_id=ScopeId("s"),
        instrument=instrument,
        settings=user_settings(user_id, **changes),
    )


def quote(price: str = "100", seconds: float = 1000.0) -> Quote:
    return Quote(
        venue=Venue.ALPHA, symbol=SYMBOL, price=D(price), traded_at=at(seconds), confirmed_at=at(seconds)
    )


def scope(target: str = "1000", users: tuple[str, ...] = ("1",), scope_id: str = "s") -> VolumeScope:
    members = tuple(ScopeMember(UserId(user), Venue.ALPHA, SYMBOL) for user in users)
    return VolumeScope(scope_id=ScopeId(scope_id), members=members, target=D(target))


def volume(
    counted: str = "0", target: str = "1000", reserved: str = "0", complete: bool = True
) -> ScopeVolume:
    return ScopeVolume(
        scope=scope(target),
        counted=D(counted),
        reserved=D(reserved),
        complete=complete,
        members=(MemberVolume(user_id=UserId("1"), counted=D(counted), complete=complete),),
        window_start=None,
    )


def user(state: UserState = UserState.READY, code: str = "") -> User:
    return User(user_id=UserId("1"), venue=Venue.ALPHA, state=state, reason_code=code, reason=code)


def standing(
    counted: str = "0", target: str = "1000", reserved: str = "0", complete: bool = True, **position: Any
) -> Standing:
    position.setdefault("user", user())
    recent = position.pop("recent", ())
    return Standing(
        position=Position(**position), volume=volume(counted, target, reserved, complete), recent=recent
    )


def order_of(asked: PlaceOto | PlaceSell, *, seconds: float = 1000.0, user_id: str = "1") -> Order:
    """The order a placement made, as the journal shows it before the venue's answer."""
    if isinstance(asked, PlaceOto):
        purpose = Purpose.OTO
        legs = (
            Leg(
                role=LegRole.WORKING,
                side=Side.BUY,
                asked_price=asked.working_price,
                price=asked.working_price,
                quantity=asked.quantity,
            ),
            Leg(
                role=LegRole.PENDING,
                side=Side.SELL,
                asked_price=asked.pending_price,
                price=asked.pending_price,
                quantity=asked.quantity,
            ),
        )
    else:
        purpose = asked.purpose
        legs = (
            Leg(
                role=LegRole.WORKING,
                side=Side.SELL,
                asked_price=asked.price,
                price=asked.price,
                quantity=asked.quantity,
            ),
        )
    return Order(
        order_id=OrderId("o-" + asked.request_id),
        request_id=RequestId(asked.request_id),
        user_id=UserId(user_id),
        venue=Venue.ALPHA,
        symbol=SYMBOL,
        strategy_id=StrategyId("s"),
        cycle=asked.cycle,
        try_number=asked.try_number,
        step=asked.step,
        scope_id=ScopeId("s"),
        purpose=purpose,
        legs=legs,
        submitted_at=at(seconds),
        updated_at=at(seconds),
    )


def _changed(order: Order, *legs: Leg, **changes: Any) -> Order:
    return msgspec.structs.replace(order, legs=legs, version=order.version + 1, **changes)


def accepted(order: Order, seconds: float = 1000.0) -> Order:
    """The venue took it."""
    first = msgspec.structs.replace(order.working, status=LegStatus.OPEN, venue_order_id=VenueOrderId("v1"))
    rest = tuple(msgspec.structs.replace(leg, status=LegStatus.PENDING) for leg in order.legs[1:])
    return _changed(order, first, *rest, accepted_at=at(seconds))


def filled(order: Order) -> Order:
    """The working leg is filled; an OTO's SELL is on the book."""
    leg = order.working
    first = msgspec.structs.replace(
        leg,
        status=LegStatus.FILLED,
        reported_quantity=leg.quantity,
        filled_quantity=leg.quantity,
        filled_quote=leg.quantity * leg.price,
    )
    rest = tuple(msgspec.structs.replace(leg, status=LegStatus.OPEN) for leg in order.legs[1:])
    return _changed(order, first, *rest)


def canceled(order: Order, bought: str = "0", status: LegStatus = LegStatus.CANCELED) -> Order:
    """The working leg ended with that much base bought, all of it in the ledger; so did the SELL."""
    leg = order.working
    first = msgspec.structs.replace(
        leg,
        status=status,
        reported_quantity=D(bought),
        filled_quantity=D(bought),
        filled_quote=D(bought) * leg.price,
    )
    rest = tuple(msgspec.structs.replace(leg, status=status) for leg in order.legs[1:])
    return _changed(order, first, *rest)


def rejected(order: Order, kind: RejectionKind = RejectionKind.VENUE, code: str = "refused") -> Order:
    """It never came to be."""
    return _changed(order, *order.legs, rejection=Rejection(kind, code, "no"))


def in_doubt(order: Order) -> Order:
    """Its answer was lost."""
    return _changed(order, *order.legs, in_doubt=True)


def strategy(
    strategy_id: str = "s", users: tuple[str, ...] = ("1",), target: str = "100", **changes: Any
) -> StrategyConfig:
    own = {key: changes.pop(key) for key in list(changes) if key in StrategyConfig.__dataclass_fields__}
    own.setdefault("target_token", "KOGE")
    return StrategyConfig(
        strategy_id=strategy_id,
        strategy_name=strategy_id,
        venue=Venue.ALPHA,
        target_chain="BSC",
        target_volume=D(target),
        user_ids=users,
        users=tuple(UserSettings(each, strategy_id, **changes) for each in users),
        **own,
    )


def trading(*strategies: StrategyConfig, revision: str = "r1", places: int = 10) -> TradingConfig:
    return TradingConfig(
        path="trading_config.yaml", revision=revision, strategies=strategies, max_concurrent_users=places
    )
