"""When order_service says no to a BUY: what to wait for, and for how long. Pure.

A denial means that no order exists and that the request's id is unused (architecture 5.1).
"""

from otopilot import money
from strategy_service import cycle
from strategy_service.reasons import Reason, RoundResult, reason_of
from strategy_service.rounds import PERSON_SECONDS, RE_READ_SECONDS
from strategy_service.selling import blocking_price
from strategy_service.state import Condition, Denied
from strategy_service.turn import Turn

FUNDS_SECONDS = 2.0  # who is short is asked again by then
_SIZED_SECONDS = 0.05  # it said what size would do
_GUARD_SECONDS = 0.5  # whoever may pass is told so: this is for a price that has moved

# Reason of a denial -> code, condition, seconds until it is asked again.
_DENIALS = {
    "DENIED_FINGERPRINT": (Reason.FINGERPRINT, Condition.RUNNING, 0.5),
    "DENIED_FUNDS": (Reason.FUNDS, Condition.BLOCKED, FUNDS_SECONDS),
    "DENIED_PRICE_AGE": (Reason.STALE_PRICE, Condition.RUNNING, 0.1),
    "DENIED_FILTER": (Reason.FILTER, Condition.BLOCKED, 5.0),
    # Read again: that ends the loop, or says more.
    "DENIED_COST": (Reason.COST_LIMIT, Condition.BLOCKED, 0.5),
    "DENIED_SLOT": (Reason.SLOT, Condition.RUNNING, 0.2),
    "DENIED_SCOPE": (Reason.RESERVED, Condition.RUNNING, 0.05),
    "STALE_OWNER": (Reason.OWNER, Condition.BLOCKED, 0.5),
    "UNKNOWN_SCOPE": (Reason.OWNER, Condition.BLOCKED, 0.5),
    "UNKNOWN_USER": (Reason.NO_CREDENTIAL, Condition.NEEDS_PERSON, PERSON_SECONDS),
    "UNKNOWN_SYMBOL": (Reason.UNKNOWN_SYMBOL, Condition.NEEDS_PERSON, PERSON_SECONDS),
    "RATE_LIMIT": (Reason.RATE_LIMIT, Condition.BLOCKED, 0.5),
}
# Denials that say nothing about where the account stands.
_UNREAD = frozenset({"DENIED_FINGERPRINT", "DENIED_PRICE_AGE", "RATE_LIMIT", "STALE_OWNER"})


def buy_denied(turn: Turn, news: Denied) -> None:
    """No BUY was placed and the id is unused: wait for the reason to go, or end the round."""
    if news.reason == "DENIED_GUARD":
        _guarded(turn, news)
        return
    if news.reason == "DENIED_FILTER" and turn.state.spent:
        cycle.over(turn, RoundResult.PARTIAL)  # what is left of the round is too little, its SELL counted
        return
    if news.reason == "USER_STOPPED":
        code = reason_of(news.metadata.get("reason_code", ""))
        condition, seconds = Condition.NEEDS_PERSON, PERSON_SECONDS
    else:
        default = (reason_of(news.reason), Condition.BLOCKED, 2.0)
        code, condition, seconds = _DENIALS.get(news.reason, default)
    if hint := news.metadata.get("smallest_quantity"):
        turn.set(smallest=money.parse(hint))
        seconds = _SIZED_SECONDS
    turn.set(not_before=turn.now + seconds, fresh=turn.state.fresh and news.reason in _UNREAD)
    turn.wait(code, news.message, turn.state.not_before, condition)


def _guarded(turn: Turn, news: Denied) -> None:
    """Another managed SELL is in the way: ask again, unless only the missed price would come of it."""
    state = turn.state
    blocking = blocking_price(news)
    if state.missed is not None and blocking is not None:
        capped = blocking - turn.rules.instrument.tick_size
        if capped <= state.missed:
            cycle.over(turn, RoundResult.GUARD)
            return
    if state.guarded_since is None:
        turn.set(guarded_since=turn.now, guard_waits=state.guard_waits + 1)
    stale = turn.now - state.read_at > RE_READ_SECONDS
    turn.set(not_before=turn.now + _GUARD_SECONDS, fresh=state.fresh and not stale)
    turn.wait(Reason.GUARD, news.message, turn.state.not_before, blocking=blocking)
