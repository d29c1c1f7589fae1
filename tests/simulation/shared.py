"""Fifty users on one shared target, under faults: it is reached, and exceeded by one smallest order at most.

`make simulate-shared` plays many such runs. One of the fifty has a history that nobody can read: it must
not place a single order (product 3.2). At the end every report of the journal is told three times more,
which must change nothing. All the checkers of the seeds look on.
"""

import asyncio
import random
from dataclasses import fields, replace
from decimal import Decimal

import msgspec

from otopilot.order import News, OrderId, Report, Traded
from paper_exchange.faults import FaultRule
from strategy_service.config import StrategyConfig, UserSettings
from strategy_service.config.model import VolumeWindow
from tests.simulation.course import Course
from tests.simulation.profiles import Profile
from tests.simulation.scenario import MARKETS, Scenario, draw
from tests.simulation.trace import Violation

USERS = 50
FAULTY_SECONDS = 12.0
MOST_SECONDS = 240.0  # until the target is reached, most of them in fair weather
REPLAYS = 3
HISTORIES = ("order_history", "all_orders")  # endpoints of either venue


def scenario(seed: int, profile: Profile) -> Scenario:
    """A seed's world with one strategy of fifty users, whose target a part of them can reach."""
    drawn = draw(seed, profile)
    dice = random.Random(f"{seed}/{profile.name}/shared")
    _, venue, token, chain, *_ = dice.choice(MARKETS)
    users = tuple(str(user) for user in range(1, USERS + 1))
    settings = {f.name: getattr(drawn.strategies[0].users[0], f.name) for f in fields(UserSettings)}
    settings |= {
        "strategy_id": "shared",
        "single_trade_amount_usdt": Decimal(dice.choice((12, 20, 45))),
        "sell_profit_percentage": Decimal(dice.choice(("0.1", "0.3", "0.6"))),
    }
    strategy = StrategyConfig(
        strategy_id="shared",
        strategy_name="shared",
        venue=venue,
        target_token=token,
        target_chain=chain,
        target_volume=settings["single_trade_amount_usdt"] * dice.randint(8, 30) + dice.randint(0, 12),
        target_scope="shared",
        volume_side="buy",
        volume_window=VolumeWindow("all"),
        user_ids=users,
        users=tuple(UserSettings(**(settings | {"user_id": user})) for user in users),
    )
    return replace(
        drawn,
        strategies=(strategy,),
        outages=tuple((at, seconds, venue) for at, seconds, _ in drawn.outages),
        revoked=None,
        unread=(venue, dice.choice(users)),
        manual_orders=False,
        places=dice.choice((5, 10, 10, USERS)),
    )


class SharedCourse(Course):
    """Owns one run to its target."""

    rest_seconds = 200.0  # reading fifty users takes the sweeps' share of two minutes, or of three
    reads_before_freezing = False

    async def run(self) -> None:
        """From the first step to the last. Raises Violation."""
        sim = self._sim
        self.operator.ask_for_nothing()
        await self._open_accounts()
        self._hide_history()
        sim.start_strategy()
        self.nature.begin()
        clears_at = sim.loop.time() + FAULTY_SECONDS
        while sim.loop.time() < clears_at and not self._reached():
            await self._tick()
        self.nature.end()
        await self._until(self._both_run, 30.0, "both services run")
        await self._heal()
        self._hide_history()
        await self._until(self._reached, MOST_SECONDS, "the shared target is reached")
        await self._settle()
        self._judge()
        await self._tell_again()

    def _hide_history(self) -> None:
        """Every reading of one user's orders fails."""
        assert self._sim.scenario.unread is not None
        venue, user_id = self._sim.scenario.unread
        for endpoint in HISTORIES:
            rule = FaultRule(kind="http_error", venue=venue.value, user_id=user_id, endpoint=endpoint)
            self._sim.exchange.world.faults.add(rule)

    def _reached(self) -> bool:
        strategy = self._sim.strategy
        if strategy is None or strategy.dead:
            return False
        told = strategy.supervisor.statuses()
        return bool(told) and all(each.ended_at is not None for each in told)

    def _judge(self) -> None:
        """By the exchange's own books."""
        sim, config = self._sim, self._sim.scenario.strategies[0]
        bought = sum((fill.quote for fill in sim.exchange.fills() if fill.side == "BUY"), Decimal(0))
        prices = [fill.price for fill in sim.exchange.fills() if fill.side == "BUY"]
        least = sim.exchange.smallest_order(_symbol(config), min(prices), min(prices))
        smallest = least * max(prices)
        if not config.target_volume <= bought <= config.target_volume + smallest:
            raise Violation(
                "shared", f"target {config.target_volume}, bought {bought}, smallest order {smallest}"
            )
        assert sim.scenario.unread is not None
        if placed := sim.placements[sim.scenario.unread]:
            raise Violation("shared", f"{sim.scenario.unread} placed {placed} orders, its history unread")

    async def _tell_again(self) -> None:
        """Each report and each trade three times more, in any order."""
        sim, dice = self._sim, random.Random(f"{self._sim.name}/again")
        server = sim.order
        assert server is not None
        before, totals = dict(sim.view.bodies), dict(sim.view.totals)
        for order_id, events in list(sim.view.events.items()):
            known = [msgspec.json.decode(body, type=News) for body in events[1:]]
            news = [item for item in known if isinstance(item, Report | Traded)] * REPLAYS
            dice.shuffle(news)
            if news:
                telling = server.call(server.manager.learn(OrderId(order_id), *news), "tell again")
                await asyncio.wait({telling})
                telling.result()
        if sim.view.bodies != before or sim.view.totals != totals:
            changed = [i for i, body in sim.view.bodies.items() if before.get(i) != body]
            raise Violation("shared", f"news told again changed orders {changed} or the totals")


def _symbol(config: StrategyConfig) -> str:
    return next(m[0] for m in MARKETS if (m[1], m[2]) == (config.venue, config.target_token))
