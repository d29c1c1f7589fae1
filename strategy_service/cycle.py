"""A round opens, on the grid of intervals, and ends, with what it came to. Pure.

Whatever became of a round is told as a RoundEnd: its result, what it bought, and how many
intervals passed before it without a round, with the reason.
"""

import msgspec

from otopilot.money import ZERO
from otopilot.order import Order
from strategy_service.prices import grid_floor
from strategy_service.reasons import Reason, RoundResult
from strategy_service.state import Phase, RoundEnd, State, Told, Waiting
from strategy_service.turn import Turn


def open_round(turn: Turn) -> None:
    """The next round begins, at its place on the grid of intervals."""
    state = turn.state
    slot, skipped = _grid(turn)
    turn.set(
        free=False,
        late=turn.now - state.slot if state.free and state.held is None else None,
        round_open=True,
        cycle=state.cycle + 1,
        try_number=0,
        slot=slot,
        round_began=turn.moment.at,
        skipped=skipped,
        skipped_reason=(state.held or Reason.ROUND_LONGER) if skipped else None,
        held=None,
    )


def _grid(turn: Turn) -> tuple[float, int]:
    """The newest point of the grid that has come, and how many passed before it without a round."""
    state, interval = turn.state, float(turn.settings.trade_interval_seconds)
    slot = grid_floor(state.slot, interval, turn.now)
    return slot, round((slot - state.slot) / interval)


def by_interval(state: State, old: float, new: float, now: float) -> State:
    """The interval changed between two rounds: the next starts by the new one, in the loop's own phase."""
    if old == new or state.round_open or not state.cycles:
        return state
    slot = state.slot + new - old  # since the last round's start
    if slot < now:
        slot = state.slot if state.slot <= now else grid_floor(slot, new, now) + new
    return msgspec.structs.replace(state, slot=slot)


def over(turn: Turn, result: RoundResult) -> bool:
    """End the round; the next one starts at its place on the grid, or at once when that has passed."""
    state = turn.state
    slot = state.slot + float(turn.settings.trade_interval_seconds)
    _tell(turn, result)
    turn.set(
        free=turn.now <= slot,
        late=None,
        phase=Phase.RESTING,
        round_open=False,
        round_began=None,
        skipped=0,
        skipped_reason=None,
        slot=slot,
        cycles=state.cycles + 1,
        last_round=result,
        unread=state.order if result is RoundResult.FILLED else state.unread,
        order=None,
        deadline=None,
        asked_cancel_at=None,
        missed=None,
        amount=ZERO,
        spent=ZERO,
        step=0,
        smallest=None,
        guarded_since=None,
        fresh=False,
        waiting=Waiting(Reason.POSITION, f"round ended: {result}", state.waiting.condition),
    )
    return True


def close(turn: Turn) -> None:
    """The loop ends: what became of the round that is open, or of the intervals that had none."""
    state = turn.state
    if state.round_open:
        _tell(turn, RoundResult.STOPPED)
        return
    _, skipped = _grid(turn)
    if skipped and state.began:
        turn.set(skipped=skipped, skipped_reason=state.held or Reason.ROUND_LONGER)
        _tell(turn, RoundResult.SKIPPED)


def _tell(turn: Turn, result: RoundResult) -> None:
    state = turn.state
    bought = state.order.working.filled_quote if state.order is not None else ZERO
    end = RoundEnd(
        cycle=state.cycle,
        result=result,
        started_at=state.round_began or turn.moment.at,
        ended_at=turn.moment.at,
        bought=state.spent + bought,
        tries=state.try_number,
        skipped=state.skipped,
        skipped_reason=state.skipped_reason,
        late=state.late,
    )
    turn.rounds.append(end)
    if state.order is not None and result is not RoundResult.SKIPPED:
        turn.set(told=Told(end, state.order.order_id, state.spent))


def trades_came(turn: Turn, order: Order) -> None:
    """Tell the newest round again when more of its last BUY is in the ledger than it was told with."""
    told = turn.state.told
    if told is None or order.order_id != told.order_id:
        return
    bought = told.before + order.working.filled_quote
    if bought > told.end.bought:
        end = msgspec.structs.replace(told.end, bought=bought, amends=True)
        turn.set(told=msgspec.structs.replace(told, end=end))
        turn.rounds.append(end)
