"""Between BUYs: what must be so before one is placed. Pure; cycle.py opens and ends the rounds.

Checked in this order: stop, target, cost limit, the account, a residual to sell, the interval,
the price and its guards, room for another SELL (product 3). Everything that does not hold is
something to wait for, with its reason.
"""

from decimal import Decimal

from otopilot import money
from otopilot.instrument import InstrumentStatus
from otopilot.money import ZERO
from otopilot.order import Order, OrderState
from otopilot.position import Position, ScopeVolume, UserState
from strategy_service import cycle, ending, repricing, selling
from strategy_service.prices import (
    lowest_worth_sending,
    open_sell_limit,
    prices,
)
from strategy_service.reasons import Reason, RoundResult, reason_of
from strategy_service.state import (
    Condition,
    Outcome,
    Phase,
    PlaceOto,
    Standing,
    Waiting,
    waits_for_right,
)
from strategy_service.turn import Turn

_OPEN_BUY = frozenset({OrderState.SUBMITTING, OrderState.IN_DOUBT, OrderState.WORKING})
_SCOPE_SECONDS = 0.2
RE_READ_SECONDS = 1.0
_SETTLING_SECONDS = 1.0  # its end is told at once; this is for news that were lost
_OLD_SECONDS = 5.0
_FIRST_READING_SECONDS = 5.0
PERSON_SECONDS = 3.0
_THOUSAND = Decimal(1000)


def holds_the_slot(order: Order) -> bool:
    """Is it a BUY that may still fill? A user has one at most on a symbol (architecture 5.1)."""
    return order.buy is not None and order.state in _OPEN_BUY


def take_up(turn: Turn) -> None:
    """After a reading: go on with the open BUY, if there is one; else stand before the next cycle."""
    state = turn.state
    assert state.standing is not None
    position = state.standing.position
    if not state.recovered:
        tries = [order.try_number + 1 for order in position.cycle_orders]
        turn.set(
            recovered=True,
            cycle=position.last_cycle,
            found_cycle=position.last_cycle,
            try_number=max(tries, default=0),
        )
        repricing.take_up(turn, state.standing)
    found = next((order for order in position.open_orders if holds_the_slot(order)), None)
    if found is None:
        return
    earlier = [o for o in position.cycle_orders if o.order_id != found.order_id and o.buy is not None]
    turn.set(
        phase=Phase.WORKING,
        order=found,
        round_open=True,
        round_began=found.submitted_at,
        began=True,
        deadline=None,
        asked_cancel_at=None,
        looked_at=turn.now,
        step=found.step,
        amount=turn.settings.single_trade_amount_usdt,
        spent=sum((order.working.filled_quote for order in earlier), ZERO),
    )


def rest(turn: Turn) -> bool:
    """No BUY is in flight: end, sell a residual, wait, or place. True when the phase changed."""
    state = turn.state
    if turn.now < state.not_before:
        turn.wake(state.not_before)
        return False
    slot_came = turn.now >= state.slot
    if slot_came and state.fresh and turn.now - state.read_at > _OLD_SECONDS:
        turn.set(fresh=False)
    if not turn.state.fresh or turn.state.standing is None:
        turn.read()
        return False
    standing = turn.state.standing
    if state.ending is None:
        _check_end(turn, standing)
    if turn.state.ending is not None:
        return ending.wind_down(turn)
    if turn.moment.other_owner:
        turn.wait(Reason.OTHER_OWNER, waits_for_right(turn.moment.other_owner), None, Condition.BLOCKED)
        turn.set(fresh=False, not_before=turn.now + PERSON_SECONDS)
        turn.wake(turn.state.not_before)
        return False
    turn.set(began=True)
    if not _account_is_ready(turn, standing):
        return False
    if state.paused and state.round_open:
        return cycle.over(turn, RoundResult.PAUSED)
    if not state.round_open:
        if repricing.under_way(turn, standing) or selling.sell_residual(turn):
            return False
        if state.paused:
            turn.wait(Reason.PAUSED, "paused: `otopilot resume` lets it go on", None, Condition.PAUSED)
            turn.set(fresh=False, not_before=turn.now + PERSON_SECONDS)
            turn.wake(turn.state.not_before)
            return False
        if not slot_came:
            turn.wait(Reason.INTERVAL, f"round {state.cycle + 1} starts at its interval", state.slot)
            return False
    if _market_is_calm(turn) and _has_room(turn, standing.position):
        return _place(turn, standing)
    return False


def _check_end(turn: Turn, standing: Standing) -> None:
    volume, position, settings = standing.volume, standing.position, turn.settings
    if turn.state.met is not None or volume.counted >= volume.scope.target:
        ending.reached(turn)
        return
    cost, limit, per_1000 = position.realised_cost, settings.max_cost_usdt, settings.max_cost_per_1000
    over = limit is not None and cost >= limit
    if per_1000 is not None and position.bought_quote > 0:
        over = over or cost * _THOUSAND >= per_1000 * position.bought_quote
    if over:
        ending.begin(turn, Outcome.COST_LIMIT)


def _account_is_ready(turn: Turn, standing: Standing) -> bool:
    user, settings = standing.position.user, turn.settings
    later = turn.now + _SETTLING_SECONDS
    if user.state is UserState.STOPPED:
        turn.wait(reason_of(user.reason_code), user.reason, None, Condition.NEEDS_PERSON)
        later = turn.now + PERSON_SECONDS
    elif user.state is UserState.SETTLING:
        text = user.reason or "open orders and history are being read"
        turn.wait(Reason.SETTLING, text, None, Condition.BLOCKED)
    elif any(m.user_id == user.user_id and not m.complete for m in standing.volume.members):
        _history_unread(turn)
    elif not standing.position.cost_complete and (settings.max_cost_usdt or settings.max_cost_per_1000):
        text = "a fee could not be valued, so the cost limit cannot be checked"
        turn.wait(Reason.COST_INCOMPLETE, text, None, Condition.BLOCKED)
    else:
        turn.set(unread_since=None)
        return True
    turn.set(fresh=False, not_before=later)
    turn.wake(later)
    return False


def _history_unread(turn: Turn) -> None:
    """A new account's first reading takes a moment; only what takes longer blocks."""
    since = turn.state.unread_since if turn.state.unread_since is not None else turn.now
    turn.set(unread_since=since)
    if turn.now - since < _FIRST_READING_SECONDS:
        turn.wait(Reason.HISTORY_UNREAD, "the account's history is being read")
        return
    text = "the account's history could not be read, so its volume is not known"
    turn.wait(Reason.HISTORY_UNREAD, text, None, Condition.BLOCKED)


def _market_is_calm(turn: Turn) -> bool:
    instrument, settings = turn.rules.instrument, turn.settings
    if instrument.status is not InstrumentStatus.TRADING:
        text = f"{instrument.symbol} is {instrument.status.value} at the venue"
        turn.wait(Reason.HALTED, text, turn.later(1.0), Condition.BLOCKED)
        return False
    if not selling.is_young(turn, turn.moment.quote):
        return False
    limit = settings.max_price_volatility_percentage
    if turn.moment.swing > limit:
        text = (
            f"the price moved {money.text(money.truncate(turn.moment.swing, 2))} % within"
            f" {money.text(settings.volatility_window_seconds)} s, the limit is {money.text(limit)} %"
        )
        turn.wait(Reason.VOLATILITY, text, turn.now + 0.5, Condition.BLOCKED)
        return False
    return True


def _has_room(turn: Turn, position: Position) -> bool:
    limit = open_sell_limit(turn.settings, turn.rules.instrument)
    if limit is None or position.open_sells < limit:
        return True
    text = f"{position.open_sells} SELLs rest, at most {limit} may: waits until one fills"
    turn.wait(Reason.MAX_OPEN_SELLS, text, None, Condition.BLOCKED)
    turn.set(fresh=False, not_before=turn.now + RE_READ_SECONDS)
    turn.wake(turn.state.not_before)
    return False


def _place(turn: Turn, standing: Standing) -> bool:
    """Ask for the BUY and its SELL. True when the round ended instead."""
    state, settings, instrument = turn.state, turn.settings, turn.rules.instrument
    quote = turn.moment.quote
    assert quote is not None
    step = state.step if state.round_open else 0
    buy, sell = prices(
        quote.price,
        settings.buy_offset_percentage,
        settings.sell_profit_percentage,
        step,
        settings.slippage_step_percentage,
        instrument,
    )
    if state.missed is not None and buy <= state.missed:
        return cycle.over(turn, RoundResult.PRICE_FELL)
    floor = min(buy, _floor(turn, quote.price))
    if floor <= 0:
        turn.wait(Reason.FILTER, "the BUY price is below one tick", turn.now + 1.0, Condition.BLOCKED)
        return False
    quantity = _quantity(turn, standing, buy, sell, floor)
    if quantity is None:
        return turn.state.phase is not state.phase or turn.state.round_open != state.round_open
    turn.set(reserved_since=None)
    if not state.round_open:
        cycle.open_round(turn)
    if not turn.state.spent:
        turn.set(amount=max(quantity * buy, _wanted(turn, standing, buy, sell)))
    placement = PlaceOto(
        request_id=turn.request_id(turn.state.cycle, turn.state.try_number),
        cycle=turn.state.cycle,
        try_number=turn.state.try_number,
        step=step,
        quantity=quantity,
        working_price=buy,
        min_working_price=floor,
        pending_price=sell,
        reference=quote,
    )
    text = f"places BUY {money.text(quantity)} at {money.text(buy)}, SELL at {money.text(sell)}"
    waiting = turn.state.waiting
    turn.place(placement, waiting if waiting.code is Reason.GUARD else Waiting(Reason.PLACING, text))
    return False


def _floor(turn: Turn, reference: Decimal) -> Decimal:
    """The lowest price the guard may bring the BUY to; a re-try stays above what missed."""
    state, tick = turn.state, turn.rules.instrument.tick_size
    waited = turn.now - state.guarded_since if state.guarded_since is not None else 0.0
    patient = waited < float(turn.settings.fill_timeout_seconds)
    lowest = lowest_worth_sending(reference, turn.moment.rise, turn.settings, patient=patient)
    lowest = money.ceil_to(lowest, tick)
    return max(lowest, state.missed + tick) if state.missed is not None else lowest


def _wanted(turn: Turn, standing: Standing, buy: Decimal, sell: Decimal) -> Decimal:
    """Quote this placement may spend: the round's amount less what was filled, cut to what is left."""
    state, left = turn.state, standing.volume.left
    amount = state.amount if state.spent else turn.settings.single_trade_amount_usdt
    if turn.rules.sells_count:
        left = left * buy / (buy + sell)  # the SELL is reserved with the BUY
    return min(amount - state.spent, left)


def _quantity(turn: Turn, standing: Standing, buy: Decimal, sell: Decimal, floor: Decimal) -> Decimal | None:
    """Base to ask for; none when the round ended or something must be waited for."""
    state, instrument, volume = turn.state, turn.rules.instrument, standing.volume
    smallest = _smallest(turn, standing, sell, floor)
    quantity = instrument.quantity_for(_wanted(turn, standing, buy, sell), buy)
    if quantity >= smallest:
        return quantity
    amount = state.amount if state.spent else turn.settings.single_trade_amount_usdt
    if instrument.quantity_for(amount - state.spent, buy) < smallest:
        if state.spent:
            cycle.over(turn, RoundResult.PARTIAL)
            return None
        _amount_too_small(turn, amount, smallest, buy)
        return None
    if volume.reserved > 0:
        _others_reserve(turn, volume)
        return None
    return smallest  # the only overshoot there is (product 3.2)


def _others_reserve(turn: Turn, volume: ScopeVolume) -> None:
    """Nobody tells how a scope changes by others: it is read often at first, an order in doubt lasts."""
    since = turn.state.reserved_since if turn.state.reserved_since is not None else turn.now
    pause = min(RE_READ_SECONDS, max(_SCOPE_SECONDS, (turn.now - since) / 4))
    text = (
        f"{money.text(volume.left)} of the target are left beside {money.text(volume.reserved)}"
        " that open orders reserve: waits for their end"
    )
    turn.wait(Reason.RESERVED, text)
    turn.set(reserved_since=since, fresh=False, not_before=turn.now + pause)
    turn.wake(turn.state.not_before)


def _smallest(turn: Turn, standing: Standing, sell: Decimal, floor: Decimal) -> Decimal:
    """The smallest order: as this round's last denial told it, by the venue's newest rules; else as here."""
    if turn.state.smallest is not None:
        return turn.state.smallest
    fee, instrument = standing.position.buy_fee_rate, turn.rules.instrument
    if fee is None:
        fee = instrument.buy_fee_rate or ZERO
    return instrument.smallest_quantity(floor, sell, fee)


def _amount_too_small(turn: Turn, amount: Decimal, smallest: Decimal, buy: Decimal) -> None:
    """A person must raise the amount; what a denial told may have passed, so that is asked again."""
    text = (
        f"{money.text(amount)} a round is below the smallest order,"
        f" {money.text(smallest)} {turn.rules.instrument.token} at {money.text(buy)}"
    )
    if turn.state.smallest is None:
        turn.wait(Reason.AMOUNT_TOO_SMALL, text, turn.now + 1.0, Condition.NEEDS_PERSON)
        return
    turn.set(smallest=None, not_before=turn.now + PERSON_SECONDS)
    turn.wait(Reason.AMOUNT_TOO_SMALL, text, turn.state.not_before, Condition.BLOCKED)
