"""What each of Binance's venues allows one address and one account, and what each call weighs.

Spot publishes its limits (binance-spot 8). Alpha publishes none, so a weight there is a request and the
limit is a setting. Weights are by the name of the port's call; pages beyond the first come to
light in the venue's own count, which corrects ours.
"""

from datetime import datetime

from order_service.venues import alpha_parse, spot_parse
from order_service.venues.port import Limits, RateLimited, Response, VenueError

MARKET_SERVICE_WEIGHT = 600  # of the same address, under its own breaker (architecture 5.9)
SPOT_LIMITS_A_MINUTE = 6000
_REFUSING = (403, 418, 429)

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
}
_ALPHA_WEIGHTS = {"look_up": 2, "order_history": 2, "trades_since": 3, "balances": 2}


def spot() -> Limits:
    """Spot's."""
    return Limits(
        weight=(SPOT_LIMITS_A_MINUTE - MARKET_SERVICE_WEIGHT, 60.0),
        requests=(300_000, 300.0),
        orders=((50, 10.0), (160_000, 86_400.0)),
        weights=_SPOT_WEIGHTS,
        ban=_spot_ban,
        used_weight=_used_weight,
    )


def alpha(requests_per_second: int) -> Limits:
    """Alpha's; 0: no limit."""
    weight = (requests_per_second, 1.0) if requests_per_second else None
    return Limits(weight=weight, weights=_ALPHA_WEIGHTS, ban=_alpha_ban)


def _spot_ban(response: Response, now: datetime) -> RateLimited | None:
    if response.status == 200:
        return None
    try:
        spot_parse.answer_of(response, now)
    except RateLimited as ban:
        return ban
    except VenueError:
        return None
    return None


def _alpha_ban(response: Response, now: datetime) -> RateLimited | None:
    if response.status not in _REFUSING:
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
