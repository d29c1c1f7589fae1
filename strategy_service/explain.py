"""Why a user trades or does not: its status with the figures that decide it (product 4, `why`)."""

from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from otopilot.position import ScopeVolume
from otopilot.quote import Quote
from strategy_service.clients import PriceKey
from strategy_service.config import StrategyConfig, UserSettings
from strategy_service.loop import World
from strategy_service.prices import open_sell_limit
from strategy_service.state import RoundEnd
from strategy_service.status import UserStatus
from strategy_service.strategy_run import StrategyRun
from strategy_service.user_run import UserRun


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One user of a strategy. Amounts in quote; what nobody knows yet is none."""

    strategy_id: str
    status: UserStatus
    target: Decimal
    settings: UserSettings | None
    scope: ScopeVolume | None = None
    quote: Quote | None = None
    price_age_ms: int = 0
    swing: Decimal | None = None
    blocking: Decimal | None = None
    most_open_sells: int | None = None
    next_try_at: datetime | None = None
    order_id: str = ""
    last_round: RoundEnd | None = None


def explain(config: StrategyConfig, run: StrategyRun | None, status: UserStatus, world: World) -> Explanation:
    """A user of a strategy, and of its run if there ever was one."""
    settings = next((each for each in config.users if each.user_id == status.user_id), None)
    told = Explanation(
        strategy_id=config.strategy_id, status=status, target=config.target_volume, settings=settings
    )
    if run is None:
        return told
    user, instrument = run.users.get(status.user_id), run.instrument
    if user is not None:
        told = _with_loop(told, user, run, world)
        settings = user.rules.settings
    if instrument is None or settings is None:
        return told
    key = PriceKey(instrument.venue, instrument.symbol)
    quote = world.prices.quote(key)
    age = quote.age(world.clock.now()) if quote is not None else timedelta(0)
    return msgspec.structs.replace(
        told,
        settings=settings,
        quote=quote,
        price_age_ms=int(age.total_seconds() * 1000),
        swing=world.prices.swing(key, settings.volatility_window_seconds) if quote is not None else None,
        most_open_sells=open_sell_limit(settings, instrument),
    )


def _with_loop(told: Explanation, user: UserRun, run: StrategyRun, world: World) -> Explanation:
    state = user.state
    order = state.order if state is not None else None
    at = user.next_try_at
    seconds = max(0.0, at - world.clock.monotonic()) if at is not None else 0.0
    return msgspec.structs.replace(
        told,
        target=user.scope.target,
        scope=run.volumes.get(user.scope.scope_id),
        blocking=state.waiting.blocking if state is not None else None,
        next_try_at=world.clock.now() + timedelta(seconds=seconds) if at is not None else None,
        order_id=order.order_id if order is not None and not order.is_over else "",
        last_round=user.last_round,
    )
