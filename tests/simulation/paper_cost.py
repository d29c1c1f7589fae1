"""What `otopilot plan` expects a run to cost, beside what the same run on the paper exchange cost.

`python -m tests.simulation.paper_cost` plays each case on virtual time, over the markets of
config/paper.yaml as they are, and prints both. Cost is product 2's: fees, and what was lost between
buying and selling; what is not sold stands at the average that was paid. How far the price comes is
nothing that a plan can know: where its SELLs stand above the market it tells two costs, when all of them
have filled and while all rest, and each is compared with a market in which that is so.
"""

import argparse
import asyncio
import gc
import sys
import tempfile
from dataclasses import dataclass, replace
from decimal import Decimal as D
from pathlib import Path
from typing import Any

from order_service.ledger import AccountKey
from otopilot.instrument import Instrument, Venue
from otopilot.order import UserId
from paper_exchange.config import Config
from paper_exchange.settlement import BNB_SHARE
from strategy_service.config import StrategyConfig, UserSettings
from strategy_service.plan import StrategyPlan, plan
from strategy_service.preparation import RULES_SECONDS
from tests import scratch
from tests.simulation.course import Course
from tests.simulation.market import SimMarket
from tests.simulation.profiles import MILD
from tests.simulation.scenario import MARKETS, NOON, Scenario, paper
from tests.simulation.simulation import Simulation

FAIR = replace(MILD, name="fair")  # the line is healed before anything begins
MOST_SECONDS = 1800.0  # until the target is reached
STOP_SECONDS = 60.0
RISE = D("1.04")  # above every SELL
MOST_OFF = D("0.2")  # of the cost, in either direction


@dataclass(frozen=True)
class Case:
    """One configuration; the rest of it is what a user gets who says nothing."""

    name: str
    symbol: str
    profit: str
    offset: str = "0.5"
    users: int = 1
    target: str = "6000"
    amount: str = "50"
    market: str = "as it is"
    spread_told: bool = True
    fees_in_bnb: bool = False
    bnb: str = "10"


RISES, FLAT = "rises at the end", "stands still"  # all SELLs fill, none above the market does
CASES = (
    Case("negative profit, two users", "ALPHA_22USDT", "-1", users=2),
    Case("negative profit, spread not told", "ALPHA_22USDT", "-1", spread_told=False),
    Case("negative profit, wide spread", "ALPHA_382USDT", "-1"),
    Case("negative profit", "BNBUSDT", "-1", bnb="0"),
    Case("negative profit, fee from other base", "BNBUSDT", "-1"),
    Case("negative profit, fine steps", "BTCUSDT", "-1"),
    Case("negative profit, fees in BNB", "BTCUSDT", "-1", fees_in_bnb=True),
    Case("negative profit, SELL above the market", "ALPHA_22USDT", "-0.3", market=RISES),
    Case("the defaults, three users", "ALPHA_22USDT", "1", users=3, market=RISES),
    Case("the defaults, three users", "ALPHA_22USDT", "1", users=3, market=FLAT),
    Case("positive profit", "BNBUSDT", "0.3", offset="0.1", target="800", market=RISES),
    Case("positive profit", "BNBUSDT", "0.3", offset="0.1", target="800", market=FLAT),
)


@dataclass(frozen=True)
class Result:
    """What was planned and what came of it, in quote."""

    case: Case
    planned: StrategyPlan
    cost: D
    complete: bool
    bought: D
    sold: D  # base, as a share of what was bought net of fees
    seconds: float

    @property
    def expected(self) -> D:
        """The plan's cost in such a market."""
        return self.planned.cost_resting if self.case.market == FLAT else self.planned.cost

    @property
    def off(self) -> D:
        """How far the plan lay from it, as a share of what it cost."""
        return (self.expected - self.cost) / abs(self.cost)


class CostCourse(Course):
    """To the target in fair weather; what rests then is left where it is."""

    async def run(self) -> None:
        """Plan, trade, stop."""
        sim = self._sim
        assert isinstance(sim, PaperCost)
        sim.network.heal()
        await self._open_accounts()
        config = sim.scenario.strategies[0]
        rules = await SimMarket(sim, "plan").instrument(
            config.venue, config.target_token, config.target_chain, RULES_SECONDS
        )
        sim.planned = sim.plan_of(config, rules)
        if sim.case.market == FLAT:
            sim.move(D(1))
        sim.start_strategy()
        await self._until(self._ended, MOST_SECONDS, "the target is reached")
        if sim.case.market == RISES:
            sim.move(RISE)
            await self._until(self._sold, MOST_SECONDS, "every SELL has filled")
        stopping = self.operator.stop_everything()
        await self._until(stopping.done, STOP_SECONDS, "everything is stopped")

    def _ended(self) -> bool:
        strategy = self._sim.strategy
        told = strategy.supervisor.statuses() if strategy is not None else ()
        return bool(told) and all(each.ended_at is not None for each in told)

    def _sold(self) -> bool:
        return all(order.is_over for order in self._sim.view.orders.values())

    async def _tick(self) -> None:
        await asyncio.sleep(0.5)  # nobody intervenes


class PaperCost(Simulation):
    """One case."""

    planned: StrategyPlan

    def __init__(self, case: Case, seed: int, directory: Path) -> None:
        super().__init__(seed, FAIR, directory, scenario=_scenario(case, seed), course=CostCourse)
        self.checkers = []  # one claim is made here: what it costs
        self.case = case

    def plan_of(self, config: StrategyConfig, rules: Instrument) -> StrategyPlan:
        """As `otopilot plan` reckons at this moment, told the fee and perhaps the spread."""
        symbol = self.case.symbol
        share = BNB_SHARE if self.case.fees_in_bnb else D(1)
        house = self.exchange.state.markets[symbol].instrument.house
        return plan(
            config,
            price=self.exchange.price(symbol),
            instrument=rules,
            fee_rate=self.exchange.state.settings(symbol).buyer_fee * share,
            order_limits=(rules.max_num_orders, rules.max_num_order_lists),
            spread=house.spread_percent if self.case.spread_told else D(0),
        )

    def move(self, share: D) -> None:
        """The price stands at so much of what it is, from now on."""
        market = self.exchange.state.markets[self.case.symbol]
        tick = market.instrument.tick_size
        self.exchange.world.exchange.pin_price(self.case.symbol, market.last_price * share // tick * tick)

    def result(self) -> Result:
        """What the ledger says."""
        assert self.order is not None
        config, ledger = self.scenario.strategies[0], self.order.journal.books.ledger
        cost, complete = D(0), True
        for user in config.user_ids:
            inventory = ledger.inventory(AccountKey(UserId(user), config.venue, self.case.symbol))
            cost, complete = cost + inventory.realised_cost, complete and inventory.cost_complete
        fills = list(self.exchange.fills())
        buys, sells = ([fill for fill in fills if fill.side == side] for side in ("BUY", "SELL"))
        received = sum((fill.quantity for fill in buys), D(0))
        if not self.case.fees_in_bnb:
            received -= sum((fill.fee for fill in buys), D(0))
        return Result(
            case=self.case,
            planned=self.planned,
            cost=cost,
            complete=complete,
            bought=sum((fill.quote for fill in buys), D(0)),
            sold=sum((fill.quantity for fill in sells), D(0)) / received,
            seconds=self.loop.time(),
        )


def play(case: Case, seed: int = 1) -> Result:
    """One case on virtual time. Raises Violation when it does not come to its end."""
    with tempfile.TemporaryDirectory(dir=scratch.in_memory()) as directory:
        sim = PaperCost(case, seed, Path(directory))
        gc.collect()
        gc.disable()
        try:
            sim.run()
        finally:
            gc.enable()
        return sim.result()


def _scenario(case: Case, seed: int) -> Scenario:
    raw = paper()
    _, venue, token, chain, *_ = next(market for market in MARKETS if market[0] == case.symbol)
    # Some BNB: to pay fees from, and where BNB is traded an OPO's fee comes from it, not from what it bought.
    money: dict[str, Any] = {"default_balances": {"USDT": "1000000", "BNB": case.bnb}}
    if case.fees_in_bnb:
        money["fees_in_bnb"] = True
    users = tuple(str(user) for user in range(1, case.users + 1))
    settings: dict[str, Any] = {
        "single_trade_amount_usdt": D(case.amount),
        "buy_offset_percentage": D(case.offset),
        "sell_profit_percentage": D(case.profit),
    }
    strategy = StrategyConfig(
        strategy_id="cost",
        strategy_name=case.name,
        venue=Venue(venue),
        target_token=token,
        target_chain=chain,
        target_volume=D(case.target),
        user_ids=users,
        users=tuple(UserSettings(user, "cost", **settings) for user in users),
    )
    return Scenario(
        seed=seed,
        profile=FAIR,
        start=NOON,
        skew_ms=0,
        exchange=Config.model_validate(raw | {"seed": seed, venue: raw[venue] | money}),
        strategies=(strategy,),
        order_kills=(),
        strategy_kills=(),
        outages=(),
        revoked=None,
        manual_orders=False,
        stop_mode="drain",
        places=case.users,
    )


def line(result: Result) -> str:
    """A row of the table."""
    planned = result.planned
    return (
        f"{result.case.symbol:<14}{result.case.name:<40}{result.case.market:<18}{result.bought:>9.2f}"
        f"{result.sold * 100:>7.1f} %{planned.cost_resting:>10.4f}{planned.cost:>11.4f}{result.cost:>11.4f}"
        f"{result.off * 100:>+8.1f} %"
    )


def main() -> int:
    """0 when every plan lies within a fifth of its run."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.paper_cost", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(
        f"{'symbol':<14}{'case':<40}{'market':<18}{'bought':>9}{'sold':>9}{'resting':>10}{'filled':>11}"
        f"{'cost':>11}{'off':>10}"
    )
    within = True
    for case in CASES:
        result = play(case, args.seed)
        print(line(result), flush=True)
        within = within and abs(result.off) <= MOST_OFF
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
