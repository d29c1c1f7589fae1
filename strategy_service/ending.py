"""How a loop ends: a residual is sold, orders are cancelled or left, the end is recorded. Pure.

Every ending has a last moment, the fill timeout and a little more after it began; what is
unsettled then is left to order_service and named (product 3, "Stopping"). A loop that never
read its account cannot name anything: it goes on stopping until it can.
"""

from otopilot.order import LegRole, Order, OrderId
from strategy_service import cycle, repricing, selling
from strategy_service.reasons import Reason
from strategy_service.state import Cancel, Outcome, Phase, StopMode, Waiting
from strategy_service.turn import Turn

_MARGIN_SECONDS = 0.8
_RE_READ_SECONDS = 0.2

_TEXTS = {
    Outcome.REACHED: "the target is reached",
    Outcome.SKIPPED: "the history already met the target",
    Outcome.STOPPED: "stopped",
    Outcome.COST_LIMIT: "the cost limit is reached",
}


def begin(turn: Turn, outcome: Outcome) -> None:
    """From here on no new BUY, and an end by a fixed time."""
    by = turn.now + float(turn.settings.fill_timeout_seconds) + _MARGIN_SECONDS
    turn.set(ending=outcome, stop_by=by)


def reached(turn: Turn) -> None:
    """The target is reached; who had nothing to do for that is skipped."""
    took_part = turn.state.began or turn.state.met is Outcome.REACHED
    begin(turn, Outcome.REACHED if took_part else Outcome.SKIPPED)


def wind_down(turn: Turn) -> bool:
    """What is left to do before the end; the account was just read and no BUY is in flight."""
    if turn.state.stop in (StopMode.CANCEL, StopMode.FLATTEN):
        done = _clear(turn) and (turn.state.stop is StopMode.CANCEL or selling.flatten(turn))
        if not done:
            if turn.state.phase is Phase.RESTING:
                turn.set(fresh=False, not_before=turn.now + _RE_READ_SECONDS)
                turn.wake(turn.state.not_before)
            return False
    elif not turn.moment.other_owner and (_put_back(turn) or selling.sell_residual(turn)):
        return False
    finish(turn)
    return False


def finish(turn: Turn) -> None:
    """The end. A BUY that is still out gets a cancel wish, which order_service settles."""
    state = turn.state
    outcome = state.ending or Outcome.STOPPED
    still_open = _still_open(turn)
    left: dict[OrderId, None] = {order.order_id: None for order in still_open}
    if state.stop in (StopMode.CANCEL, StopMode.FLATTEN):
        for order in still_open:
            if order.open_wish(_role(order)) is None:
                turn.act(Cancel(order.order_id, _role(order), "stop"))
    if state.flattened is not None and not state.flattened.is_over:
        left[state.flattened.order_id] = None
    code, text = Reason(outcome.value), _TEXTS[outcome]
    buy = state.order
    if buy is not None and not buy.is_over:
        left[buy.order_id] = None
        if not buy.working.is_over:
            turn.act(Cancel(buy.order_id, LegRole.WORKING, "stop"))
            code, text = Reason.IN_DOUBT, f"{text}; order {buy.order_id} is left to the order service"
    elif state.asked is not None:
        code = Reason.UNANSWERED
        text = f"{text}; nobody knows yet whether {state.asked.request_id} was placed"
    cycle.close(turn)
    turn.set(
        phase=Phase.DONE, outcome=outcome, waiting=Waiting(code, text), wake_at=None, left_open=tuple(left)
    )


def _put_back(turn: Turn) -> bool:
    """A SELL that is being re-priced goes back on the book first."""
    standing = turn.state.standing
    return standing is not None and repricing.put_back(turn, standing)


def _clear(turn: Turn) -> bool:
    """Cancel everything of ours on the symbol; true when nothing is open any more."""
    state = turn.state
    assert state.standing is not None
    flattened = state.flattened.order_id if state.flattened is not None else None
    still_open = [order for order in _still_open(turn) if order.order_id != flattened]
    for order in still_open:
        _cancel_once(turn, order)
    if still_open:
        turn.wait(Reason.CANCEL, f"{len(still_open)} orders are being cancelled")
    return not still_open


def _still_open(turn: Turn) -> list[Order]:
    """Own orders that are not over, as far as anybody knows."""
    state = turn.state
    known = state.standing.position.open_orders if state.standing is not None else ()
    unread = (state.unread,) if state.unread is not None else ()
    return [order for order in (*known, *unread) if not order.is_over]


def _cancel_once(turn: Turn, order: Order) -> None:
    role = _role(order)
    if (order.order_id, role) not in turn.state.wished:
        turn.set(wished=turn.state.wished | {(order.order_id, role)})
        turn.act(Cancel(order.order_id, role, "stop"))


def _role(order: Order) -> LegRole:
    return LegRole.PENDING if order.working.is_over and order.pending is not None else LegRole.WORKING
