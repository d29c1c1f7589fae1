"""The paper exchange on virtual time: its beat, and its books as an auditor sees them.

The exchange is never killed here, so nothing of it needs a disk. The books it keeps are the truth
that the checkers compare the journal with.
"""

import json
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from otopilot.clock import to_ms
from otopilot.instrument import Instrument, Venue
from paper_exchange.http import Request, Response
from paper_exchange.model import Account, Event, Fill, Order
from paper_exchange.world import World
from tests.simulation.loop import SimLoop
from tests.simulation.scenario import Scenario

LOWEST_BUY = Decimal("0.97")  # of the price asked: no ladder of a scenario goes further above the market


class _NoStore:
    """A world that lives as long as its run."""

    def load(self, kind: str) -> Iterator[bytes]:
        return iter(())

    def save(self, documents: dict[tuple[str, str], msgspec.Struct]) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing to give back."""


class SimExchange:
    """Owns the world and wakes it exactly when it asks to be woken."""

    def __init__(self, loop: SimLoop, scenario: Scenario) -> None:
        self._loop = loop
        self._base_ms = to_ms(scenario.start) + scenario.skew_ms
        self.skew_ms = scenario.skew_ms
        rng = random.Random(f"{scenario.seed}/{scenario.profile.name}/exchange")
        self.world = World(scenario.exchange, _NoStore(), rng=rng, world_id="ab" * 16, now_ms=self._base_ms)
        self.state = self.world.exchange.state
        self.managed: dict[str, tuple[Venue, str]] = {}
        self.manual: set[int] = set()  # orders somebody placed by hand
        self.most_min_notional = Decimal(0)  # that ever was in force
        self.on_time: list[Callable[[], None]] = []
        self._timer: Any = None
        self._arm()

    def now_ms(self) -> int:
        """The venue's clock."""
        return self._base_ms + round(self._loop.time() * 1000)

    def open_account(self, venue: Venue, user_id: str) -> dict[str, Any]:
        """A managed account; its credential as the control API tells it."""
        body = json.dumps({"user_id": user_id, "venue": venue.value, "managed": True}).encode()
        request = Request(method="POST", path="/control/accounts", body=body)
        answer = self.world.handle(request, self.now_ms())
        assert isinstance(answer, Response)
        self.managed[f"{venue.value}/{user_id}"] = (venue, user_id)
        return dict(json.loads(answer.body)["credential"])

    def account(self, venue: Venue, user_id: str) -> Account:
        """An account's record."""
        return self.state.accounts.owner(f"{venue.value}/{user_id}")

    def moved(self) -> None:
        """Something was handed in: it may want to be woken at another time now."""
        self._arm()

    def price(self, symbol: str) -> Decimal:
        """The last public trade's price."""
        return self.state.markets[symbol].last_price

    def smallest_order(self, symbol: str, buy: Decimal, sell: Decimal) -> Decimal:
        """Base of the greatest that the smallest order could ever have been at these asked prices."""
        own = self.state.markets[symbol].instrument
        rules = Instrument(
            venue=Venue(own.venue),
            symbol=symbol,
            token=own.base,
            base_asset=own.base,
            quote_asset=own.quote,
            tick_size=own.tick_size,
            step_size=own.step_size,
            min_quantity=own.min_quantity,
            # The service may go by filters that were in force a moment ago.
            min_notional=max(own.min_notional, self.most_min_notional),
        )
        return rules.smallest_quantity(buy * LOWEST_BUY, sell, self.state.settings(symbol).buyer_fee)

    def orders(self) -> list[Order]:
        """Every order of managed accounts that was not placed by hand, oldest first."""
        return [
            order
            for order in self.state.orders.values()
            if order.account in self.managed and order.order_id not in self.manual
        ]

    def open(self) -> Iterator[Order]:
        """Every open order of managed accounts, also those placed by hand."""
        for key in self.managed:
            yield from self.state.open[key].values()

    def fills(self) -> list[Fill]:
        """Every fill of managed accounts, oldest first."""
        return [fill for fill in self.state.fills if fill.account in self.managed]

    def listen(self, heard: Callable[[list[Event]], None]) -> None:
        """Hand every event to an auditor, too."""
        publish = self.state._sink

        def both(events: list[Event]) -> None:
            heard(events)
            publish(events)

        self.state._sink = both

    def _arm(self) -> None:
        due = self.world.next_due()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            at = max(self._loop.time(), (due - self._base_ms) / 1000)
            self._timer = self._loop.call_at(at, self._beat)

    def _beat(self) -> None:
        self._timer = None
        self.world.advance(self.now_ms())
        for told in self.on_time:
            told()
        self._arm()
