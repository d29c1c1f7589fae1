"""While a BUY is out: wait for its fill, cancel it at its timeout, climb the ladder. Pure.

The timeout counts from the venue's acceptance. The step rises only after a BUY that was
accepted missed it; what never got on the book is tried again on the same step (architecture
5.1, product 3.6).
"""

from otopilot import money
from otopilot.order import IN_FLIGHT, INSUFFICIENT_BALANCE, LegStatus, Order, OrderState, RejectionKind
from strategy_service import cycle
from strategy_service.denials import FUNDS_SECONDS
from strategy_service.reasons import Reason, RoundResult
from strategy_service.state import Condition, Phase, StopMode
from strategy_service.turn import Turn

_MOST_STRIKES = 3  # placements of a round that never came to be
_AGAIN_SECONDS = 0.1
_MOST_BACKOFF_SECONDS = 60.0


def watch(turn: Turn) -> bool:
    """What the BUY's news means; true when nothing more is to be waited for."""
    order = turn.state.order
    assert order is not None
    buy = order.working
    if order.rejection is not None:
        return _came_to_nothing(turn, order)
    if buy.status is LegStatus.FILLED:
        turn.set(strikes=0)
        return cycle.over(turn, RoundResult.FILLED)
    if order.settled or (buy.settled and order.state is OrderState.TRIGGERED):
        return _ended(turn, order)
    turn.poll(order)
    ended = False
    if order.state in IN_FLIGHT:
        ended = _unknown(turn, order)
    elif buy.is_over:
        turn.wait(Reason.SETTLING_ORDER, "the last trades of the cancelled BUY are being read")
    else:
        _await_fill(turn, order)
    if not turn.moment.orders_up:
        text = f"no order news comes: {turn.state.waiting.text}"
        turn.wait(Reason.ORDER_UNREACHABLE, text, None, Condition.BLOCKED)
    return ended


def _await_fill(turn: Turn, order: Order) -> None:
    state = turn.state
    timeout = float(turn.settings.fill_timeout_seconds)
    if state.deadline is None:
        # By the venue's clock it may have been accepted before it was sent.
        accepted = max(order.accepted_at or order.submitted_at, order.submitted_at)
        elapsed = (turn.moment.at - accepted).total_seconds()
        turn.set(deadline=turn.now + timeout - min(max(elapsed, 0.0), timeout), strikes=0)
    deadline = turn.state.deadline
    assert deadline is not None
    if turn.now >= deadline or state.stop in (StopMode.CANCEL, StopMode.FLATTEN):
        turn.cancel_buy(order, "stop" if state.stop is not None else "fill timeout")
        turn.wait(Reason.CANCEL, f"{_text(order)} is being cancelled")
    else:
        turn.wait(Reason.FILL, f"{_text(order)}, {timeout:g} s at most", deadline)


def _unknown(turn: Turn, order: Order) -> bool:
    """Sent, and the venue's answer is not known: never another BUY before it is."""
    if order.state is OrderState.IN_DOUBT:
        text = f"order {order.order_id}: the venue's answer was lost; the order service looks it up"
        turn.wait(Reason.IN_DOUBT, text, None, Condition.BLOCKED)
        if turn.state.stop is not None:
            # finish() leaves it with a cancel wish, and names it.
            turn.set(stop_by=turn.now)
            return True
    else:
        turn.wait(Reason.PLACING, f"{_text(order)}: the venue has not answered yet")
    return False


def _came_to_nothing(turn: Turn, order: Order) -> bool:
    """REJECTED: the request id is used up, no step is lost."""
    assert order.rejection is not None
    strikes = turn.state.strikes + 1
    turn.set(phase=Phase.RESTING, order=None, fresh=False, strikes=strikes)
    refused = order.rejection.kind is RejectionKind.VENUE
    short = refused and order.rejection.code == INSUFFICIENT_BALANCE
    if refused or strikes % _MOST_STRIKES == 0:
        seconds = min(_MOST_BACKOFF_SECONDS, 2.0 ** min(strikes - 1, 6)) if refused else 1.0
        cycle.over(turn, RoundResult.REFUSED if refused else RoundResult.NOT_PLACED)
    else:
        seconds = _AGAIN_SECONDS
    if short:
        # order_service reads the balances again: from now on it denies what they do not cover.
        seconds = max(seconds, FUNDS_SECONDS)
    turn.set(not_before=turn.now + seconds if turn.state.ending is None else turn.now)
    text = f"{_text(order)} came to nothing: {order.rejection.message} ({order.rejection.code})"
    code = Reason.FUNDS if short else Reason.VENUE_REFUSED if refused else Reason.NOT_PLACED
    turn.wait(code, text, turn.state.not_before, Condition.BLOCKED)
    return True


def _ended(turn: Turn, order: Order) -> bool:
    """It ended without having been filled completely: re-try the remainder, or end the round."""
    state, settings = turn.state, turn.settings
    spent = state.spent + order.working.filled_quote
    if state.ending is not None or order.strategy_id != turn.rules.strategy_id:
        return cycle.over(turn, RoundResult.STOPPED if state.ending is not None else RoundResult.ADOPTED)
    timed_out = state.asked_cancel_at is not None or any(w.role is order.working.role for w in order.wishes)
    step = state.step + 1 if timed_out else state.step
    strikes = state.strikes if timed_out else state.strikes + 1
    turn.set(
        phase=Phase.RESTING,
        order=None,
        deadline=None,
        asked_cancel_at=None,
        fresh=False,
        spent=spent,
        step=step,
        strikes=strikes,
        missed=order.working.price if timed_out else state.missed,
    )
    if step > settings.max_slippage_steps:
        return cycle.over(turn, RoundResult.MISSED)
    if not timed_out and strikes % _MOST_STRIKES == 0:
        return cycle.over(turn, RoundResult.ENDED_BY_VENUE)
    return True


def _text(order: Order) -> str:
    leg = order.working
    return f"BUY {money.text(leg.quantity)} at {money.text(leg.price)}"
