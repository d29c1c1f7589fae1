"""SELLs that did not fill in time: cancelled, and put back one step lower (product 3.7). Pure.

One at a time. Its base is no residual meanwhile; after a crash the journal tells which SELL was
on its way and at which step.
"""

from decimal import Decimal

from otopilot.money import ZERO
from otopilot.order import Order, Purpose
from strategy_service import selling
from strategy_service.prices import repriced
from strategy_service.reasons import Reason
from strategy_service.state import Cancel, Repricing, Standing
from strategy_service.turn import POLL_SECONDS, Turn

_REASON = "reprice"


def take_up(turn: Turn, standing: Standing) -> None:
    """After a restart: go on with the SELL whose cancel was wished and that was not put back yet."""
    recent = [order for order in standing.recent if order.symbol == turn.rules.instrument.symbol]
    wished = [order for order in (*recent, *standing.position.open_orders) if _was_wished(order)]
    if not wished:
        return
    newest = max(wished, key=lambda order: order.updated_at)
    put_back = any(o.purpose is Purpose.REPRICE and o.submitted_at >= newest.updated_at for o in recent)
    if not put_back:
        _begin(turn, newest, standing)


def under_way(turn: Turn, standing: Standing) -> bool:
    """Go on with the re-pricing, or begin one that is due; true while there is one."""
    if turn.state.repricing is not None:
        return put_back(turn, standing)
    timeout_seconds = turn.settings.sell_timeout_seconds
    if timeout_seconds is None:
        return False
    for order in standing.position.open_orders:
        if not _rests(turn, order) or _lower(turn, order, standing) is None:
            continue
        left = float(timeout_seconds) - (turn.moment.at - order.updated_at).total_seconds()
        if left > 0:
            turn.wake(turn.now + left)
        elif order.sell is not None:
            _begin(turn, order, standing)
            price = turn.state.repricing.price if turn.state.repricing is not None else None
            turn.act(Cancel(order.order_id, order.sell.role, _REASON, price))
            turn.wait(Reason.REPRICE, f"SELL of order {order.order_id} is taken off the book")
            turn.wake(turn.now + POLL_SECONDS)
            return True
    return False


def put_back(turn: Turn, standing: Standing) -> bool:
    """Place the SELL again once its cancel is certain; true while that goes on."""
    repricing = turn.state.repricing
    if repricing is None:
        return False
    order, sell = repricing.order, repricing.order.sell
    assert sell is not None
    if not order.settled:
        if turn.now >= repricing.wished_at + POLL_SECONDS:
            turn.set(repricing=_wished_now(repricing, turn.now))
            turn.act(Cancel(order.order_id, sell.role, _REASON, repricing.price))
        turn.poll(order)
        turn.wait(Reason.REPRICE, f"SELL of order {order.order_id} is taken off the book")
        return True
    instrument = turn.rules.instrument
    unsold = min(sell.quantity - sell.filled_quantity, standing.position.uncovered)
    quantity = instrument.round_quantity(max(unsold, ZERO))
    if quantity < max(instrument.min_quantity, instrument.step_size):
        turn.set(repricing=None)
        return False
    if quantity * repricing.price < instrument.min_notional:
        turn.set(repricing=None)  # too small for an order of its own: a residual again
        return False
    selling.place(turn, Purpose.REPRICE, quantity, repricing.price, step=repricing.step)
    return True


def _begin(turn: Turn, order: Order, standing: Standing) -> None:
    lower = _lower(turn, order, standing)
    if lower is not None:
        price, step = lower
        turn.set(repricing=Repricing(order=order, price=price, step=step, wished_at=turn.now))


def _lower(turn: Turn, order: Order, standing: Standing) -> tuple[Decimal, int] | None:
    return repriced(order, standing.position.average_cost, turn.settings, turn.rules.instrument)


def _rests(turn: Turn, order: Order) -> bool:
    sell = order.sell
    ours = order.strategy_id == turn.rules.strategy_id
    bought = order.buy is None or order.buy.is_over
    return ours and bought and sell is not None and not order.is_over and not sell.is_over


def _was_wished(order: Order) -> bool:
    sell = order.sell
    return sell is not None and any(w.role is sell.role and w.reason == _REASON for w in order.wishes)


def _wished_now(repricing: Repricing, now: float) -> Repricing:
    return Repricing(order=repricing.order, price=repricing.price, step=repricing.step, wished_at=now)
