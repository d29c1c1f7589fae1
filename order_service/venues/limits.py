"""What each of Binance's venues allows one address and one account, and what each call weighs.

Spot publishes its limits (binance-spot 8). Alpha publishes none, so a weight there is a request and the
limit is a setting. Weights are by the name of the port's call; pages beyond the first come to
light in the venue's own count, which corrects ours.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from order_service.venues import alpha_parse, spot_answers
from order_service.venues.fields import Row, Unreadable, row_of, rows_of, text_of, whole_of
from order_service.venues.port import Limits, RateLimited, Response, VenueError
from otopilot import door

MARKET_SERVICE_WEIGHT = 600  # of the same address, under its own breaker (architecture 5.9)
SPOT_LIMITS_A_MINUTE = 6000
_INTERVALS = {"SECOND": 1.0, "MINUTE": 60.0, "HOUR": 3_600.0, "DAY": 86_400.0}

_SPOT_WEIGHTS = {
    "place": 1,
    "cancel": 1,
    "open_orders": 6,
    "order_history": 20,
    "look_up": 4,
    "trades_of": 5,
    "trades_since": 20,
    "balances": 20,
    "fee_rates": 20,
    "order_limits": 40,
}
_ALPHA_WEIGHTS = {"look_up": 2, "order_history": 2, "trades_since": 3, "balances": 2}
_ALPHA_BALANCES_EVERY = 5.0


def spot() -> Limits:
    """Spot's."""
    return Limits(
        weight=(_ours(SPOT_LIMITS_A_MINUTE), 60.0),
        requests=(300_000, 300.0),
        orders=((50, 10.0), (160_000, 86_400.0)),
        weights=_SPOT_WEIGHTS,
        ban=_spot_ban,
        used_weight=_used_weight,
    )


def told_by_spot(exchange_info: Any) -> Limits | None:
    """Spot's limits with the figures of its exchange info; none where it tells none that can be read."""
    try:
        rows = rows_of(row_of(exchange_info, "exchange info").get("rateLimits"), "rateLimits")
        told = [_row_of_limit(row) for row in rows]
    except Unreadable:
        return None
    known = spot()
    weight = next((limit for kind, limit in told if kind == "REQUEST_WEIGHT"), None)
    requests = next((limit for kind, limit in told if kind == "RAW_REQUESTS"), known.requests)
    orders = tuple(limit for kind, limit in told if kind == "ORDERS")
    return replace(
        known,
        weight=known.weight if weight is None else (_ours(weight[0]), weight[1]),
        requests=requests,
        orders=orders or known.orders,
    )


def _row_of_limit(row: Row) -> tuple[str, tuple[int, float]]:
    """A limit's kind, and its count in so many seconds. Raises Unreadable."""
    unit = _INTERVALS.get(text_of(row, "interval"))
    count, number = whole_of(row, "limit"), whole_of(row, "intervalNum")
    if unit is None or count < 1 or number < 1:
        raise Unreadable("a limit that limits nothing")
    return text_of(row, "rateLimitType"), (count, unit * number)


def _ours(weight: int) -> int:
    """What market_service, of the same address, leaves of a minute's weight."""
    return max(weight - MARKET_SERVICE_WEIGHT, weight // 2)


def alpha(requests_per_second: int) -> Limits:
    """Alpha's; 0: no limit."""
    weight = (requests_per_second, 1.0) if requests_per_second else None
    return Limits(weight=weight, weights=_ALPHA_WEIGHTS, balances_every=_ALPHA_BALANCES_EVERY, ban=_alpha_ban)


def _spot_ban(response: Response, now: datetime) -> RateLimited | None:
    if response.status == 200:
        return None
    try:
        spot_answers.answer_of(response, now)
    except RateLimited as ban:
        return ban
    except VenueError:
        return None
    return None


def _alpha_ban(response: Response, now: datetime) -> RateLimited | None:
    if response.status not in door.REFUSING:
        return None
    try:
        alpha_parse.data_of(response, now, writing=False)
    except RateLimited as ban:
        return ban
    except VenueError:
        return None
    return None


def _used_weight(response: Response) -> int | None:
    told = response.headers.get("x-mbx-used-weight-1m", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 9 else None
