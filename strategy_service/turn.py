"""One decision in the making: the rules, the moment, the state so far, the actions so far. Pure.

The parts of the strategy (rounds, buying, ending) work on a Turn; strategy.decide() makes one
and hands out what became of it.
"""

from decimal import Decimal
from typing import Any

import msgspec

from otopilot.order import LegRole, Order, RequestId
from strategy_service.config import UserSettings
from strategy_service.reasons import Reason
from strategy_service.state import (
    Action,
    Cancel,
    Condition,
    Decision,
    Find,
    Moment,
    Phase,
    Place,
    Placement,
    Read,
    RoundEnd,
    Rules,
    State,
    Waiting,
)

# Waits that belong to a round: an interval that passes meanwhile is no one's fault.
_OF_A_ROUND = frozenset(
    {
        Reason.POSITION,
        Reason.INTERVAL,
        Reason.PLACING,
        Reason.FILL,
        Reason.CANCEL,
        Reason.SETTLING_ORDER,
    }
)
POLL_SECONDS = 1.0  # an order nobody pushes news of is asked for this often


class Turn:
    """Collects what a piece of news leads to."""

    def __init__(self, rules: Rules, state: State, moment: Moment) -> None:
        self.rules = rules
        self.moment = moment
        self.state = state
        self.actions: list[Action] = []
        self.rounds: list[RoundEnd] = []

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return self.moment.now

    @property
    def settings(self) -> UserSettings:
        """The user's settings."""
        return self.rules.settings

    def set(self, **changes: Any) -> None:
        """Change the state."""
        self.state = msgspec.structs.replace(self.state, **changes)

    def act(self, action: Action) -> None:
        """Add an action."""
        self.actions.append(action)

    def wait(
        self,
        code: Reason,
        text: str,
        until: float | None = None,
        condition: Condition = Condition.RUNNING,
        blocking: Decimal | None = None,
    ) -> None:
        """Say what is waited for, and until when at most."""
        self.set(waiting=Waiting(code, text, condition, blocking))
        self.wake(until)

    def wake(self, until: float | None) -> None:
        """Come back at that time at the latest."""
        if until is not None and (self.state.wake_at is None or until < self.state.wake_at):
            self.set(wake_at=until)

    def later(self, seconds: float) -> float:
        """About so many seconds from now, in the loop's own phase: who was late together parts again."""
        left = seconds - (self.now - self.state.slot) % seconds
        # A moment that has come, but for what a float cannot tell, is not waited for once more.
        return self.now + (left if left > seconds / 10 else left + seconds)

    def read(self) -> None:
        """Read position and volume, unless that is under way."""
        if not self.state.reading:
            self.set(reading=True)
            first = not self.state.recovered and self.settings.sell_timeout_seconds is not None
            self.act(Read(with_recent=first))

    def request_id(self, cycle: int, try_number: int) -> RequestId:
        """strategy/user/cycle/try (architecture 5.1)."""
        return RequestId(f"{self.rules.strategy_id}/{self.rules.user_id}/{cycle}/{try_number}")

    def place(self, placement: Placement, waiting: Waiting) -> None:
        """Ask for a placement; its content stays fixed until a definite answer."""
        self.set(phase=Phase.PLACING, asked=placement, calling=True, waiting=waiting)
        self.act(Place(placement))

    def cancel_buy(self, order: Order, reason: str) -> None:
        """Wish the working leg gone, and again every second until the order says so."""
        asked_at = self.state.asked_cancel_at
        if asked_at is None or self.now >= asked_at + POLL_SECONDS:
            self.set(asked_cancel_at=self.now)
            self.act(Cancel(order.order_id, LegRole.WORKING, reason))
        self.wake((self.state.asked_cancel_at or self.now) + POLL_SECONDS)

    def poll(self, order: Order) -> None:
        """Query an order that was not heard of for a second: a push is only a hint."""
        if self.now >= self.state.looked_at + POLL_SECONDS:
            self.set(looked_at=self.now)
            self.act(Find(order_id=order.order_id))
        self.wake(self.state.looked_at + POLL_SECONDS)

    def decision(self) -> Decision:
        """What follows."""
        stopping = self.state.stop is not None and self.state.phase is not Phase.DONE
        if stopping and (self.state.recovered or self.now < self.state.stop_by):
            self.wake(self.state.stop_by)
        if self.state.waiting.code not in _OF_A_ROUND and self.now >= self.state.slot:
            self.set(held=self.state.waiting.code)
        return Decision(self.state, tuple(self.actions), tuple(self.rounds))
