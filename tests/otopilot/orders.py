"""Orders and news of them, for tests: a BUY of 10 at 48, and the SELL at 49 that follows."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from otopilot.instrument import Side, Venue
from otopilot.order import (
    Doubted,
    Fee,
    Leg,
    LegRole,
    LegStatus,
    News,
    Order,
    OrderId,
    Refused,
    RejectionKind,
    Report,
    RequestId,
    StrategyId,
    Trade,
    Traded,
    TradeKey,
    UserId,
    VenueOrderId,
    advance,
)

START = datetime(2026, 11, 20, tzinfo=UTC)
WHOLE = Decimal(10)
WORKING, PENDING = LegRole.WORKING, LegRole.PENDING


def leg(role: LegRole, side: Side, quantity: Decimal = WHOLE) -> Leg:
    """A leg nothing is known of yet."""
    price = Decimal(48) if side is Side.BUY else Decimal(49)
    return Leg(role=role, side=side, asked_price=price, price=price, quantity=quantity)


def order(*legs: Leg) -> Order:
    """A journaled order, not answered yet."""
    return Order(
        order_id=OrderId("00000000000000aa"),
        request_id=RequestId("koge/1/1/0"),
        user_id=UserId("1"),
        venue=Venue.ALPHA,
        symbol="ALPHA_22USDT",
        strategy_id=StrategyId("koge"),
        cycle=1,
        try_number=0,
        step=0,
        legs=legs,
        submitted_at=START,
        updated_at=START,
    )


def oto() -> Order:
    """A BUY and the SELL that follows it."""
    return order(leg(WORKING, Side.BUY), leg(PENDING, Side.SELL))


def single(side: Side = Side.SELL) -> Order:
    """One leg."""
    return order(leg(WORKING, side))


def at(seconds: float) -> datetime:
    """So long after the start."""
    return START + timedelta(seconds=seconds)


def report(
    role: LegRole,
    status: LegStatus,
    executed: int | Decimal = 0,
    *,
    quantity: Decimal | None = None,
    reason: str = "",
    seconds: float = 1,
) -> Report:
    """The venue's word on a leg."""
    return Report(
        role=role,
        status=status,
        at=at(seconds),
        venue_order_id=VenueOrderId(f"venue-{role}"),
        list_id="list-1",
        quantity=quantity,
        reported_quantity=Decimal(executed),
        expiry_reason=reason,
    )


def traded(role: LegRole, key: str, quantity: int | Decimal, fee_asset: str = "USDT") -> Traded:
    """A trade of a leg, at the leg's price, with a fee of a thousandth."""
    price = Decimal(48) if role is WORKING else Decimal(49)
    amount = Decimal(quantity)
    trade = Trade(
        key=TradeKey(f"{role}/{key}"),
        side=Side.BUY if role is WORKING else Side.SELL,
        price=price,
        quantity=amount,
        quote=price * amount,
        fee=Fee(fee_asset, amount / 1000),
        traded_at=at(2),
        venue_order_id=VenueOrderId(f"venue-{role}"),
    )
    return Traded(role=role, trade=trade, at=trade.traded_at)


def refused(kind: RejectionKind) -> Refused:
    """The placement did not happen."""
    return Refused(kind=kind, code="-2010", message="no", at=at(1))


def doubted() -> Doubted:
    """The placement's answer was lost."""
    return Doubted(reason="timeout", at=at(1))


def after(known: Order, news: Iterable[News]) -> Order:
    """The order after all the news, in that order of arrival."""
    for item in news:
        known = advance(known, item)
    return known


def filled(role: LegRole) -> Report:
    """The leg is completely filled."""
    return report(role, LegStatus.FILLED, WHOLE)
