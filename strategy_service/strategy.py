"""decide(): what one user's loop does about a piece of news. Pure: no clock, no input or output.

News first changes what is known, then the phase says what follows from what is known now; so
the order and the repetition of news do not matter. rounds.py opens and ends rounds, buying.py
watches the BUY, ending.py winds down (product 3).
"""

import msgspec

from otopilot.order import Order, OrderState, Purpose
from strategy_service import buying, cycle, denials, ending, rounds, selling
from strategy_service.prices import prices
from strategy_service.reasons import Reason, reason_of
from strategy_service.state import (
    AskAgain,
    Condition,
    Decision,
    Denied,
    Find,
    Met,
    Missing,
    Moment,
    News,
    Outcome,
    Pause,
    Phase,
    Place,
    PlaceOto,
    PlaceSell,
    Rules,
    Seen,
    Standing,
    State,
    Stop,
    StopMode,
    Unanswered,
    Unread,
    Waiting,
    Woke,
)
from strategy_service.turn import Turn

__all__ = ["decide", "prices"]

_MOST_STEPS = 8  # of one decision; each ends a phase
_REPEAT_SECONDS = 0.25
_NOT_NOW_SECONDS = 1.0  # a user that has settled is told of at once
_UNREACHABLE_SECONDS = 0.5
_UNREAD_SECONDS = 3.0
_UNSOLD_SECONDS = 10.0
# Reasons the service itself gives for not being able to answer now.
_NOT_NOW = frozenset({"USER_SETTLING", "OVERLOADED", "JOURNAL"})


def decide(rules: Rules, state: State, moment: Moment, news: News) -> Decision:
    """The state after the news, and what is to be done. A loop that is done stays as it is."""
    if state.phase is Phase.DONE:
        return Decision(state)
    turn = Turn(rules, state, moment)
    turn.set(wake_at=None)
    _learn(turn, news)
    for _ in range(_MOST_STEPS):
        if not _go_on(turn):
            break
    return turn.decision()


def _go_on(turn: Turn) -> bool:
    """Do what the phase asks for; true when that ended the phase."""
    state = turn.state
    if state.phase is Phase.DONE:
        return False
    if state.ending is not None and turn.now >= state.stop_by and state.recovered:
        ending.finish(turn)
        return False
    match state.phase:
        case Phase.PLACING:
            _repeat(turn)
            return False
        case Phase.WORKING:
            return buying.watch(turn)
        case _:
            return rounds.rest(turn)


def _repeat(turn: Turn) -> None:
    """The same request again until a definite answer; after a stop a BUY is only looked up."""
    state = turn.state
    asked = state.asked
    if asked is None or state.calling:
        return
    if turn.now < state.not_before:
        turn.wake(state.not_before)
        return
    turn.set(calling=True)
    if state.stop is not None and isinstance(asked, PlaceOto):
        turn.act(Find(request_id=asked.request_id))
    else:
        turn.act(Place(asked))


def _learn(turn: Turn, news: News) -> None:
    match news:
        case Woke():
            pass
        case Standing():
            turn.set(standing=news, fresh=True, reading=False, read_at=turn.now, unread=None)
            for order in news.position.cycle_orders:
                cycle.trades_came(turn, order)
            if turn.state.phase is Phase.RESTING:
                rounds.take_up(turn)
        case Unread():
            _unread(turn, news)
        case Seen():
            cycle.trades_came(turn, news.order)
            _seen(turn, news.order)
        case Denied():
            if turn.state.asked is not None and turn.state.asked.request_id == news.request_id:
                _denied(turn, news)
        case Unanswered():
            _unanswered(turn, news)
        case Missing():
            _missing(turn, news)
        case AskAgain():
            turn.set(not_before=min(turn.state.not_before, turn.now))
            if turn.state.phase is Phase.RESTING and turn.state.waiting.code != Reason.GUARD:
                turn.set(fresh=False)
        case Met():
            turn.set(met=turn.state.met or news.outcome, not_before=min(turn.state.not_before, turn.now))
        case Pause():
            turn.set(paused=news.paused, fresh=False, not_before=min(turn.state.not_before, turn.now))
        case Stop():
            _stop(turn, news.mode)


def _unread(turn: Turn, news: Unread) -> None:
    turn.set(reading=False)
    volume, resting = news.volume, turn.state.phase is Phase.RESTING
    counted = volume is not None and volume.counted >= volume.scope.target
    if resting and (counted or turn.state.met is not None):
        ending.reached(turn)
        ending.finish(turn)
        return
    if not resting:
        return
    certain = news.reason == "UNKNOWN_USER" or (news.definite and turn.state.recovered)
    if turn.state.stop is not None and certain:
        ending.finish(turn)
        return
    if news.reason == "UNKNOWN_USER":
        waiting = Waiting(
            Reason.NO_CREDENTIAL,
            f"user {turn.rules.user_id} has no credential for {turn.rules.instrument.venue}: store one"
            f" with `otopilot users add {turn.rules.user_id} --venue {turn.rules.instrument.venue}`,"
            " on paper with --paper",
            Condition.NEEDS_PERSON,
        )
    elif news.reason in _NOT_NOW:
        waiting = Waiting(reason_of(news.reason), news.message, Condition.BLOCKED)
    elif news.definite:
        waiting = Waiting(Reason.POSITION_UNREAD, news.message, Condition.BLOCKED)
    else:
        waiting = Waiting(Reason.ORDER_UNREACHABLE, f"order service: {news.message}", Condition.BLOCKED)
    seconds = _UNREAD_SECONDS if news.definite else _UNREACHABLE_SECONDS
    turn.set(waiting=waiting, not_before=turn.now + seconds)


def _seen(turn: Turn, order: Order) -> None:
    state = turn.state
    asked, current = state.asked, state.order
    if asked is not None and order.request_id == asked.request_id:
        _placed(turn, order)
    elif current is not None and order.order_id == current.order_id:
        turn.set(looked_at=turn.now)
        if order.version >= current.version:
            turn.set(order=order)
    elif state.flattened is not None and order.order_id == state.flattened.order_id:
        if order.version >= state.flattened.version:
            turn.set(flattened=order)
    elif state.repricing is not None and order.order_id == state.repricing.order.order_id:
        turn.set(looked_at=turn.now)
        if order.version >= state.repricing.order.version:
            turn.set(repricing=msgspec.structs.replace(state.repricing, order=order), fresh=False)
    elif state.phase is Phase.RESTING:
        # A BUY nobody waits for (a late proof of life), or room for another SELL.
        unexpected = rounds.holds_the_slot(order)
        if unexpected or (order.is_over and state.waiting.code == Reason.MAX_OPEN_SELLS):
            turn.set(fresh=False)


def _placed(turn: Turn, order: Order) -> None:
    asked = turn.state.asked
    turn.set(asked=None, calling=False, try_number=order.try_number + 1, not_before=turn.now)
    if isinstance(asked, PlaceSell):
        turn.set(phase=Phase.RESTING, fresh=False, sell_denials=0, unread=order)
        if order.state is OrderState.REJECTED:
            turn.set(sell_not_before=turn.now + _UNSOLD_SECONDS)
        if asked.purpose is Purpose.REPRICE:
            turn.set(repricing=None)
        if asked.purpose is Purpose.FLATTEN:
            turn.set(flattened=order)
        return
    turn.set(
        phase=Phase.WORKING,
        order=order,
        deadline=None,
        asked_cancel_at=None,
        looked_at=turn.now,
        began=True,
        guarded_since=None,
    )


def _denied(turn: Turn, news: Denied) -> None:
    asked = turn.state.asked
    if asked is None:
        return
    if news.reason == "REQUEST_REUSED":
        # An order of that id exists: read it and go on with it (architecture 5.1).
        turn.set(calling=True)
        turn.act(Find(request_id=asked.request_id))
        return
    turn.set(asked=None, calling=False, phase=Phase.RESTING)
    if isinstance(asked, PlaceSell):
        selling.denied(turn, news)
    else:
        denials.buy_denied(turn, news)


def _unanswered(turn: Turn, news: Unanswered) -> None:
    asked = turn.state.asked
    if asked is None or asked.request_id != news.request_id:
        return
    not_now = news.reason in _NOT_NOW
    turn.set(calling=False, not_before=turn.now + (_NOT_NOW_SECONDS if not_now else _REPEAT_SECONDS))
    if not_now:
        turn.wait(reason_of(news.reason), news.message, None, Condition.BLOCKED)
    else:
        text = f"order service does not answer ({news.message}): asking again for {asked.request_id}"
        turn.wait(Reason.ORDER_UNREACHABLE, text, None, Condition.BLOCKED)


def _missing(turn: Turn, news: Missing) -> None:
    asked = turn.state.asked
    if asked is None or asked.request_id != news.request_id:
        return
    if turn.state.stop is None:
        turn.set(calling=False, not_before=turn.now + _REPEAT_SECONDS)
    else:
        turn.set(asked=None, calling=False, phase=Phase.RESTING, fresh=False)


def _stop(turn: Turn, mode: StopMode) -> None:
    if turn.state.stop is not None and mode.strength <= turn.state.stop.strength:
        return
    turn.set(stop=mode, not_before=min(turn.state.not_before, turn.now), sell_not_before=turn.now)
    ending.begin(turn, turn.state.ending or Outcome.STOPPED)
