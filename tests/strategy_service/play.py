"""Plays one user's strategy by hand: time, news and prices in, actions out."""

from decimal import Decimal as D
from typing import Any

from otopilot.order import Order
from strategy_service.state import (
    Action,
    Cancel,
    Denied,
    Find,
    Moment,
    News,
    Place,
    PlaceOto,
    PlaceSell,
    Read,
    RoundEnd,
    Rules,
    Seen,
    Standing,
    State,
    Stop,
    StopMode,
    Unanswered,
    Woke,
)
from strategy_service.strategy import decide
from tests.strategy_service.builders import accepted, at, order_of, quote, rules, standing


class Play:
    """A loop without a loop. Time starts at 1000 s; the price is confirmed at every step."""

    def __init__(self, obeyed: Rules | None = None, **settings: Any) -> None:
        self.rules = obeyed or rules(**settings)
        self.now = 1000.0
        self.state = State(slot=1000.0)
        self.price = "100"
        self.confirmed: float | None = None
        self.swing = D(0)
        self.rise = D(0)
        self.market_up = True
        self.actions: list[Action] = []
        self.rounds: list[RoundEnd] = []
        self.said(Woke())

    def said(self, news: News) -> list[Action]:
        """Tell it; the actions that follow."""
        confirmed = self.now if self.confirmed is None else self.confirmed
        moment = Moment(
            now=self.now,
            at=at(self.now),
            quote=quote(self.price, confirmed) if self.price else None,
            swing=self.swing,
            rise=self.rise,
            market_up=self.market_up,
        )
        decision = decide(self.rules, self.state, moment, news)
        self.state = decision.state
        self.actions = list(decision.actions)
        self.rounds += decision.rounds
        return self.actions

    def wait(self, seconds: float) -> list[Action]:
        """Let time pass, waking it whenever it wants to; the actions of all that time."""
        until, actions, spins = self.now + seconds, [], 0
        while self.state.wake_at is not None and self.state.wake_at <= until:
            spins = spins + 1 if self.state.wake_at <= self.now else 0
            assert spins < 20, f"it wakes for ever: {self.state.waiting}"
            self.now = max(self.now, self.state.wake_at)
            actions += self.said(Woke())
        self.now = until
        return actions

    def reads(self, **where: Any) -> list[Action]:
        """Answer the reading it asked for."""
        return self.said(standing(**where))

    def begins(self, **where: Any) -> PlaceOto:
        """To its first placement."""
        self.reads(**where)
        return self.asked_buy

    def next_round(self, **where: Any) -> PlaceOto:
        """From the end of a round to the next placement."""
        assert Read() in self.actions
        self.reads(**where)
        self.wait(2.0)
        return self.asked_buy

    @property
    def asked_buy(self) -> PlaceOto:
        assert isinstance(self.state.asked, PlaceOto), self.state.waiting
        return self.state.asked

    @property
    def asked_sell(self) -> PlaceSell:
        assert isinstance(self.state.asked, PlaceSell), self.state.waiting
        return self.state.asked

    @property
    def waits(self) -> str:
        return self.state.waiting.code

    def accepts(self) -> Order:
        """The venue takes what was asked."""
        assert self.state.asked is not None
        order = accepted(order_of(self.state.asked, seconds=self.now), self.now)
        self.said(Seen(order))
        return order

    def denies(self, reason: str, **metadata: str) -> list[Action]:
        assert self.state.asked is not None
        return self.said(
            Denied(request_id=self.state.asked.request_id, reason=reason, message=reason, metadata=metadata)
        )

    def loses_the_answer(self) -> list[Action]:
        assert self.state.asked is not None
        return self.said(
            Unanswered(request_id=self.state.asked.request_id, reason="UNAVAILABLE", message="gone")
        )

    def stops(self, mode: StopMode = StopMode.DRAIN) -> list[Action]:
        return self.said(Stop(mode))


def places(actions: list[Action]) -> list[PlaceOto | PlaceSell]:
    return [action.placement for action in actions if isinstance(action, Place)]


def buys(actions: list[Action]) -> list[PlaceOto]:
    return [placement for placement in places(actions) if isinstance(placement, PlaceOto)]


def cancels(actions: list[Action]) -> list[Cancel]:
    return [action for action in actions if isinstance(action, Cancel)]


def finds(actions: list[Action]) -> list[Find]:
    return [action for action in actions if isinstance(action, Find)]


__all__ = ["Play", "Standing", "buys", "cancels", "finds", "places"]
