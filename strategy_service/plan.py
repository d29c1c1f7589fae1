"""What a strategy will do, before it does it: the arithmetic of `otopilot plan`. Pure.

Rounds, time, prices, volume and cost, on the assumption that every BUY fills at its first try
within the interval. Ratios are Fractions, so that 3000 USDT at 100 USDT/s are exactly 30 s.
"""

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from otopilot import money
from otopilot.instrument import Instrument
from otopilot.money import ZERO
from strategy_service.config import StrategyConfig, UserSettings
from strategy_service.plan_costs import ASSUMED, RoundCost, round_cost, spread_note
from strategy_service.plan_warnings import UserFigures, needed, one_at_a_time, warnings
from strategy_service.prices import open_sell_room, prices

_PLACES = 8  # of the expected figures; prices and quantities are exact


@dataclass(frozen=True, slots=True)
class UserPlan:
    """One user's part. Prices in USDT, quantity in the token, the rest in USDT and seconds.

    cost is fees less gain when every SELL has filled: a gain makes it negative. cost_resting is the
    cost while those that stand above the market rest (plan_costs.py). problem says why this user
    cannot trade, as a warning does; all expected figures are zero then.
    """

    user_id: str
    amount: Decimal
    interval_seconds: Decimal
    buy_price: Decimal
    sell_price: Decimal
    quantity: Decimal
    sell_quantity: Decimal
    volume_per_round: Decimal
    rounds: int = 0
    start_seconds: Decimal = ZERO
    duration_seconds: Decimal = ZERO
    volume: Decimal = ZERO
    fees: Decimal = ZERO
    cost: Decimal = ZERO
    cost_resting: Decimal = ZERO
    needed: Decimal = ZERO  # quote that can be bound at once, while SELLs rest
    problem: str = ""


@dataclass(frozen=True, slots=True)
class StrategyPlan:
    """The whole strategy; duration is None when nobody can trade."""

    strategy_id: str
    price: Decimal
    left: Decimal  # USDT to the target, over all users
    users: tuple[UserPlan, ...]
    rounds: int
    duration_seconds: Decimal | None
    volume: Decimal
    volume_per_second: Decimal
    fees: Decimal
    cost: Decimal
    cost_resting: Decimal
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Round:
    """One user's cycle in exact figures."""

    settings: UserSettings
    buy: Decimal
    sell: Decimal
    quantity: Decimal
    sold: Decimal
    volume: Decimal
    costs: RoundCost
    problem: str
    start: Fraction = Fraction(0)
    duration: Fraction = Fraction(0)
    share: Fraction = Fraction(0)  # USDT this user is to add

    @property
    def rate(self) -> Fraction:
        """USDT a second."""
        return Fraction(self.volume) / Fraction(self.settings.trade_interval_seconds)


def plan(
    strategy: StrategyConfig,
    *,
    price: Decimal,
    instrument: Instrument,
    fee_rate: Decimal,
    counted: Mapping[str, Decimal] | None = None,
    max_concurrent_users: int | None = None,
    order_limits: tuple[int, ...] = (),
    free: Mapping[str, Decimal] | None = None,
    spread: Decimal = ZERO,
) -> StrategyPlan:
    """The expected course from here.

    price is the last trade's, fee_rate a fraction (0.0001 is 0.01 %) of either side, counted the
    volume each user has in the window already, max_concurrent_users the places there are.
    order_limits are the venue's on open orders of an account (0: none), free is each user's quote
    balance as far as it is known, spread the distance of ask and bid in percent.
    """
    if price <= 0:
        raise ValueError(f"a plan needs a price above zero, not {money.text(price)}")
    counted = counted or {}
    rounds = [_round(strategy, settings, price, instrument, fee_rate, spread) for settings in strategy.users]
    able = [each for each in rounds if not each.problem]
    places = max(1, min(len(able), max_concurrent_users or len(able)))
    serial = _serial(able)
    if strategy.target_scope == "shared":
        left = max(ZERO, strategy.target_volume - sum(counted.values(), ZERO))
        _share(able[:places], left, serial=serial)
    else:
        remaining = {
            user: max(ZERO, strategy.target_volume - counted.get(user, ZERO)) for user in strategy.user_ids
        }
        left = sum(remaining.values(), ZERO)
        _each_its_own(able, remaining, places, serial=serial)
    notes = (*_notes(strategy, able, left, places), ASSUMED, spread_note(spread))
    planned = _summary(strategy, price, left, rounds, notes)
    return _warned(planned, strategy, order_limits, free or {}, serial=serial)


def _warned(
    planned: StrategyPlan,
    strategy: StrategyConfig,
    order_limits: tuple[int, ...],
    free: Mapping[str, Decimal],
    *,
    serial: bool,
) -> StrategyPlan:
    """With what each user needs, and what should be known beforehand."""
    users, figures = [], []
    for user in planned.users:
        settings = strategy.user(user.user_id)
        room = open_sell_room(settings, order_limits)
        bound = needed(settings, user.buy_price, user.quantity, user.rounds, room)
        if strategy.volume_side == "buy":
            bound = min(bound, user.volume)  # the last round is cut
        users.append(replace(user, needed=bound))
        figures.append(
            UserFigures(settings, user.sell_price, user.rounds, room, needed=bound, problem=user.problem)
        )
    found = warnings(figures, planned.price, free)
    if serial:
        found = (one_at_a_time(planned.volume_per_second), *found)
    return replace(planned, users=tuple(users), warnings=found)


def _round(
    strategy: StrategyConfig,
    settings: UserSettings,
    price: Decimal,
    instrument: Instrument,
    fee_rate: Decimal,
    spread: Decimal,
) -> _Round:
    """One cycle now: prices on the tick grid (BUY down, SELL up), quantities down to the step."""
    buy, sell = prices(
        price,
        settings.buy_offset_percentage,
        settings.sell_profit_percentage,
        0,
        settings.slippage_step_percentage,
        instrument,
    )
    amount = settings.single_trade_amount_usdt
    quantity = instrument.quantity_for(amount, buy) if buy > 0 else ZERO
    sold = instrument.quantity_after_fee(quantity, fee_rate)
    volume = quantity * buy + (sold * sell if strategy.volume_side == "both" else ZERO)
    return _Round(
        settings=settings,
        buy=buy,
        sell=sell,
        quantity=quantity,
        sold=sold,
        volume=volume,
        costs=round_cost(
            price=price,
            spread=spread,
            buy=buy,
            sell=sell,
            quantity=quantity,
            sold=sold,
            fee_rate=fee_rate,
        ),
        problem=_problem(amount, min(buy, price), sell, quantity, fee_rate, instrument),
    )


def _problem(
    amount: Decimal, buy: Decimal, sell: Decimal, quantity: Decimal, fee_rate: Decimal, instrument: Instrument
) -> str:
    """Why such a cycle would not be placed, empty when it would; buy is the lowest the guard may ask for."""
    if buy <= 0:
        return "the buy price is below one tick"
    smallest = instrument.smallest_quantity(buy, sell, fee_rate)
    if quantity >= smallest:
        return ""
    return (
        f"{money.text(amount)} USDT a cycle is below the smallest order, {money.text(smallest)}"
        f" {instrument.token} (least quantity"
        f" {money.text(max(instrument.min_quantity, instrument.step_size))},"
        f" least value {money.text(instrument.min_notional)} USDT, of the SELL net of fee)"
    )


def _serial(able: list[_Round]) -> bool:
    """Whether SELLs lie at or under BUYs: then one OTO at a time passes the guard (architecture 6)."""
    return len(able) > 1 and min(each.sell for each in able) <= max(each.buy for each in able)


def _share(able: list[_Round], left: Decimal, *, serial: bool) -> None:
    """All trade until the sum reaches the target: each adds in proportion to its rate."""
    if serial:
        _one_at_a_time(able, Fraction(left))
        return
    rate = sum((each.rate for each in able), Fraction(0))
    for each in able:
        each.duration = Fraction(left) / rate
        each.share = each.rate * each.duration


def _one_at_a_time(able: list[_Round], left: Fraction) -> None:
    """Turns in rotation; each may take its fill timeout or its interval's part, whichever is longer."""
    turn = _turn(able)
    in_turn = sum((Fraction(each.volume) for each in able), Fraction(0))
    for each in able:
        each.duration = left / in_turn * turn
        each.share = left * Fraction(each.volume) / in_turn


def _turn(able: list[_Round]) -> Fraction:
    """Seconds until everybody had one turn."""
    timeouts = sum((Fraction(each.settings.fill_timeout_seconds) for each in able), Fraction(0))
    return max(timeouts, *(Fraction(each.settings.trade_interval_seconds) for each in able))


def _each_its_own(able: list[_Round], remaining: Mapping[str, Decimal], places: int, *, serial: bool) -> None:
    """Everybody to its own target; who finds no place starts when one becomes free."""
    turn = _turn(able[:places]) if serial else None
    free = [Fraction(0)] * places
    for each in able:
        each.share = Fraction(remaining[each.settings.user_id])
        seconds = turn if turn is not None else Fraction(each.settings.trade_interval_seconds)
        each.duration = each.share / Fraction(each.volume) * seconds
        each.start = heapq.heappop(free)
        heapq.heappush(free, each.start + each.duration)


def _notes(strategy: StrategyConfig, able: list[_Round], left: Decimal, places: int) -> tuple[str, ...]:
    notes = []
    if not left:
        notes.append("the target is reached already")
    if not able:
        notes.append("no user can trade")
    if len(able) > places:
        notes.append(f"{places} of {len(able)} users trade at once: the others wait for a place")
    if strategy.volume_side == "both":
        notes.append("reckoned with every SELL filled: while they rest, only BUYs count")
    for each in able:
        limit = each.settings.max_cost_usdt
        expected = each.share / Fraction(each.volume) * Fraction(each.costs.cost)
        if limit is not None and expected >= Fraction(limit):
            notes.append(
                f"user {each.settings.user_id} reaches its cost limit of {money.text(limit)} USDT first"
            )
    return tuple(notes)


def _summary(
    strategy: StrategyConfig, price: Decimal, left: Decimal, rounds: list[_Round], notes: tuple[str, ...]
) -> StrategyPlan:
    users = tuple(_user_plan(each) for each in rounds)
    able = [each for each in rounds if not each.problem]
    end = max((each.start + each.duration for each in able), default=None)
    volume = sum((each.share for each in able), Fraction(0))
    return StrategyPlan(
        strategy_id=strategy.strategy_id,
        price=price,
        left=left,
        users=users,
        rounds=sum(user.rounds for user in users),
        duration_seconds=None if end is None else _decimal(end),
        volume=_decimal(volume),
        volume_per_second=_decimal(volume / end) if end else ZERO,
        fees=sum((user.fees for user in users), ZERO),
        cost=sum((user.cost for user in users), ZERO),
        cost_resting=sum((user.cost_resting for user in users), ZERO),
        notes=notes,
    )


def _user_plan(each: _Round) -> UserPlan:
    turns = each.share / Fraction(each.volume) if each.volume else Fraction(0)
    return UserPlan(
        user_id=each.settings.user_id,
        amount=each.settings.single_trade_amount_usdt,
        interval_seconds=each.settings.trade_interval_seconds,
        buy_price=each.buy,
        sell_price=each.sell,
        quantity=each.quantity,
        sell_quantity=each.sold,
        volume_per_round=each.volume,
        rounds=math.ceil(turns),
        start_seconds=_decimal(each.start),
        duration_seconds=_decimal(each.duration),
        volume=_decimal(each.share),
        fees=_decimal(turns * Fraction(each.costs.fees)),
        cost=_decimal(turns * Fraction(each.costs.cost)),
        cost_resting=_decimal(turns * Fraction(each.costs.resting)),
        problem=each.problem,
    )


def _decimal(exact: Fraction) -> Decimal:
    """The figure to eight places; rounded half even, as Fraction rounds."""
    return Decimal(round(exact * 10**_PLACES)).scaleb(-_PLACES)
