"""One seed: a world is made, trades under faults and crashes, heals, settles, and is checked.

Owns the loop, the exchange, the line and the processes; tells the checkers what happens.
"""

import asyncio
import gc
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

from order_service.denied import JournalFailed
from order_service.placing import Ask
from order_service.store import Statement
from otopilot.instrument import Venue
from otopilot.order import Order, UserId
from otopilot.position import ScopeVolume
from otopilot.quote import Quote
from paper_exchange.model import Event, OrderEvent
from strategy_service.state import StopMode
from tests.simulation import checkers, logs
from tests.simulation.checkers.base import Checker
from tests.simulation.clock import SimClock
from tests.simulation.exchange import SimExchange
from tests.simulation.journal_view import JournalView
from tests.simulation.loop import Livelock, SimLoop
from tests.simulation.nature import Nature
from tests.simulation.network import Network, Sent
from tests.simulation.order_process import OrderProcess
from tests.simulation.profiles import Profile
from tests.simulation.scenario import Scenario, draw
from tests.simulation.strategy_process import StrategyProcess
from tests.simulation.trace import Trace, Violation

FULL_EVERY = 100
PLACEMENTS = 10  # of each user at least
FAULTY_SECONDS = 45.0  # at most, before everybody has placed ten orders
MOST_TRADING_SECONDS = 300.0  # without faults
TARGET_SECONDS = 8.0
SETTLE_SECONDS = 60.0
TICK = 0.25


class Simulation:
    """Everything of one seed."""

    def __init__(
        self,
        seed: int,
        profile: Profile,
        directory: Path,
        echo: Callable[[str], None] | None = None,
        scenario: Scenario | None = None,
    ) -> None:
        self.name = f"{seed}/{profile.name}"
        self.scenario = scenario or draw(seed, profile)
        self.loop = SimLoop(f"{self.name}/loop")  # type: ignore[abstract]
        self.trace = Trace(lambda: (self.loop.steps, self.loop.time()), echo)
        self.clock = SimClock(self.loop, self.scenario.start, f"{self.name}/clock")
        self.exchange = SimExchange(self.loop, self.scenario)
        self.network = Network(self.loop, self.exchange, profile, f"{self.name}/network", self.trace)
        self.view = JournalView()
        self.dice = random.Random(f"{self.name}/controller")
        self.order: OrderProcess | None = None
        self.strategy: StrategyProcess | None = None
        self.config = self.scenario.trading("r1")
        self.placements: Counter[tuple[Venue, str]] = Counter()
        self.asks: dict[str, Ask] = {}
        self.failure: Violation | None = None
        self._directory = directory
        self._starts = 0
        self._seen_order = 0
        self.checkers: list[Checker] = checkers.all_checkers(self)
        self.exchange.listen(self._heard)
        self.network.on_sent.append(self._sent)
        self.network.on_ban_heard.append(self._ban_heard)
        self.loop.after_step = self._stepped
        self.at_step: dict[int, Callable[[], None]] = {}
        self.nature = Nature(self)

    # ------------------------------------------------------------------ what the checkers hear

    def _stepped(self) -> None:
        try:
            for checker in self._on_step:
                checker.step()
            if self.loop.steps % FULL_EVERY == 0:
                for checker in self._on_full:
                    checker.full()
        except Violation as violation:
            self._note(violation)
        due = self.at_step.pop(self.loop.steps, None)
        if due is not None:
            due()
        if self.failure is not None:
            raise self.failure

    def _note(self, violation: Violation) -> None:
        """Kept until the step ends: a service must not swallow it."""
        if self.failure is None:
            self.failure = violation

    def tell(self, what: str, *args: Any) -> None:
        """Tell every checker that listens to that."""
        try:
            for checker in self._listeners[what]:
                getattr(checker, what)(*args)
        except Violation as violation:
            self._note(violation)

    def _committed(self, epoch: int, statements: list[Statement]) -> None:
        changes = self.view.take(statements)
        for order in changes.placed:
            self.placements[order.venue, order.user_id] += 1
            self.trace.add("journal", f"{order.order_id} {order.request_id} {order.purpose} placed")
        for before, after in changes.updated:
            if before.state is not after.state:
                self.trace.add(
                    "journal", f"{after.order_id} {after.request_id} {before.state}->{after.state}"
                )
        self.tell("committed", epoch, changes)

    def _heard(self, events: list[Event]) -> None:
        for event in events:
            if not isinstance(event, OrderEvent) or event.order.account not in self.exchange.managed:
                continue
            if event.order.order_id in self.exchange.manual:
                continue
            if event.execution == "NEW" and event.order.order_id > self._seen_order:
                self._seen_order = event.order.order_id
                self.tell("accepted", event.order)
            if event.fill is not None:
                self.tell("filled", event.fill)

    def _sent(self, sent: Sent) -> None:
        self.tell("sent", sent)

    def _ban_heard(self, venue: Venue, until: float) -> None:
        self.tell("ban_heard", venue, until)

    def asked(self, ask: Ask) -> None:
        """The strategy asks for a placement."""
        self.asks[ask.request_id] = ask
        self.tell("asked", ask)

    def acknowledged(self, order: Order) -> None:
        """The strategy got an answer."""
        self.tell("acknowledged", order)

    def reported(self, volume: ScopeVolume) -> None:
        """The strategy was told a scope's figures."""
        self.tell("reported", volume)

    def quoted(self, quote: Quote) -> None:
        """The strategy was told a price."""
        self.tell("quoted", quote)

    def defect(self, where: str, what: str) -> None:
        """An error nobody expected."""
        self._note(Violation("defect", f"{where}: {what}"))

    # ------------------------------------------------------------------ processes

    def start_order(self) -> None:
        """Start the order service over the journal as it is."""
        self._starts += 1
        clock = SimClock(self.loop, self.scenario.start, f"{self.name}/order/{self._starts}")
        path, seed = self._directory / "order.db", f"{self.name}/store/{self._starts}"
        self.order = OrderProcess(self.loop, self.network, clock, path, seed)
        self.order.store.committed = self._committed
        self.trace.add("order", f"starts, instance epoch {self.order.store.instance_epoch}")
        self.view.meta["instance_epoch"] = str(self.order.store.instance_epoch)
        if self._starts > 1 and (differs := self.view.compare(path)):
            self._note(Violation("I16", differs))
        self.tell("order_started")
        self.order.start()

    def kill_order(self) -> None:
        """Kill it and start another in a while."""
        if self.order is None:
            return
        self.trace.add("order", "killed")
        self.order.kill()
        self.order = None
        self.tell("order_killed")
        self.network.after(self.dice.choice((0.1, 1.0, 4.0)), self.start_order)

    def start_strategy(self) -> None:
        """Start the strategy service over its run table."""
        self._starts += 1
        seed = f"{self.name}/strategy/{self._starts}"
        clock = SimClock(self.loop, self.scenario.start, seed)
        self.strategy = StrategyProcess(self, clock, self._directory / "runs.db", self.config, seed)
        self.trace.add("strategy", "starts")
        self.strategy.start()

    def kill_strategy(self) -> None:
        """Kill it and start another in a while."""
        if self.strategy is None or self.strategy.dead:
            return
        self.trace.add("strategy", "killed")
        self.strategy.kill()
        self.network.after(self.dice.choice((0.05, 0.05, 0.5, 3.0)), self.start_strategy)

    # ------------------------------------------------------------------ the course of a seed

    async def _main(self) -> None:
        self._listen()
        credentials = {a: self.exchange.open_account(*a) for a in self.scenario.accounts}
        self.start_order()
        await self._until(
            lambda: self.order is not None and self.order.ready, 30.0, "the order service serves"
        )
        self._credentials = credentials
        await self._store(self.scenario.accounts)
        self.start_strategy()
        self.nature.begin()
        await self._trade()
        await self._settle()

    async def _store(self, accounts: list[tuple[Venue, str]]) -> None:
        """Hand credentials in; a failing journal is asked again."""
        for venue, user_id in accounts:
            credential = dict(self._credentials[venue, user_id])
            kind = credential.pop("kind")
            secret = json.dumps(credential).encode()
            while True:
                server = self.order
                assert server is not None
                task = server.call(server.users.put(UserId(user_id), venue, kind, secret), "put")
                await asyncio.wait({task})
                if task.exception() is None:
                    break

    def _busy(self) -> list[tuple[Venue, str]]:
        revoked = self.scenario.revoked
        return [a for a in self.scenario.accounts if self.placements[a] < PLACEMENTS and a != revoked]

    async def _trade(self) -> None:
        clears_at = self.loop.time() + FAULTY_SECONDS
        while self._busy() and self.loop.time() < clears_at:
            await asyncio.sleep(TICK)
            self._restart_what_failed()
        if self._busy():
            # Doubt and the guard may keep a symbol waiting for as long as answers get lost.
            self.trace.add("nature", "the weather clears")
            await self._heal()
        await self._until(lambda: not self._busy(), MOST_TRADING_SECONDS, "every user placed ten orders")
        self._lower_targets()
        await asyncio.sleep(TARGET_SECONDS)

    async def _heal(self) -> None:
        """Everything works; a person has stored the credential that had ended again."""
        if self.network.profile is None:
            return
        self.network.heal()
        await self._until(
            lambda: self.order is not None and self.order.ready, 30.0, "the order service serves"
        )
        if self.scenario.revoked is not None:
            await self._store([self.scenario.revoked])

    def _lower_targets(self) -> None:
        """Targets that are within reach: the limits of the scopes are met under faults."""
        spent: Counter[str] = Counter()
        for row in self.view.trades.values():
            for strategy in self.scenario.strategies:
                if (row.venue, row.user_id) in {(strategy.venue, u) for u in strategy.user_ids}:
                    spent[strategy.strategy_id] += int(Decimal(row.quote))
        targets = {}
        for strategy in self.scenario.strategies:
            amount = strategy.users[0].single_trade_amount_usdt
            count = len(strategy.user_ids)
            whole = Decimal(spent[strategy.strategy_id])
            if strategy.target_scope == "per_user":
                whole /= count
            targets[strategy.strategy_id] = round(whole + amount * self.dice.randint(1, 6), 1)
        self.config = self.scenario.trading("r2", targets)
        if self.strategy is not None:
            self.strategy.config.config = self.config
        self.trace.add("operator", "lowers the targets")

    async def _settle(self) -> None:
        self.nature.end()
        await self._until(self._alive, 30.0, "both services run")
        assert self.strategy is not None
        self.trace.add("operator", f"stops everything ({self.scenario.stop_mode}); faults heal")
        await self._heal()
        stopping = self.strategy.stop(StopMode(self.scenario.stop_mode))
        await asyncio.wait({stopping}, timeout=SETTLE_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS - 25.0)
        self.exchange.world.exchange.freeze()
        await asyncio.sleep(25.0)
        for checker in self.checkers:
            checker.full()
            checker.at_rest()
        if differs := self.view.compare(self._directory / "order.db"):
            raise Violation("I16", differs)

    def _alive(self) -> bool:
        alive = self.order is not None and self.order.ready
        return alive and self.strategy is not None and not self.strategy.dead

    async def _until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        give_up = self.loop.time() + seconds
        while not holds():
            if self.loop.time() > give_up:
                raise Violation("liveness", f"not within {seconds:g} s: {what}; {self._waits()}")
            await asyncio.sleep(TICK)
            self._restart_what_failed()

    def _restart_what_failed(self) -> None:
        """A start that the disk did not allow ends the process, which is started again (architecture 2)."""
        if self.order is None or self.order.failure is None:
            return
        if not isinstance(self.order.failure, JournalFailed):
            raise Violation("defect", f"the order service does not start: {self.order.failure!r}")
        self.kill_order()

    def _waits(self) -> str:
        """What everybody waits for."""
        if self.strategy is None:
            return "no strategy service"
        users = [
            f"{status.strategy_id}/{user.user_id} {self.placements[status.venue, UserId(user.user_id)]}"
            f" {user.state} {user.reason_code} ({user.reason})"
            for status in self.strategy.supervisor.statuses()
            for user in status.users
        ]
        return "; ".join(users)

    def _listen(self) -> None:
        """Only those that override something are asked each time."""
        self._listeners = {
            what: [c for c in self.checkers if getattr(type(c), what) is not getattr(Checker, what)]
            for what in vars(Checker)
            if not what.startswith("_") and callable(getattr(Checker, what))
        }
        self._on_step = self._listeners["step"]
        self._on_full = self._listeners["full"]

    def run(self) -> None:
        """Play the seed. Raises Violation."""
        with logs.captured(self):
            self._listen()
            try:
                self.loop.run_until_complete(self._main())
            except Livelock as livelock:
                raise Violation("livelock", str(livelock)) from livelock
            else:
                if self.loop.failures:
                    raise Violation("defect", f"event loop: {self.loop.failures[0]}")
            finally:
                self.loop.reap()
                with ExitStack() as stack:
                    if self.order is not None:
                        stack.callback(self.order.store.close)
                    if self.strategy is not None and not self.strategy.dead:
                        stack.callback(self.strategy.runs.close)


class Outcome:
    """What became of a seed."""

    def __init__(self, sim: Simulation, violation: Violation | None) -> None:
        self.seed, self.profile = sim.scenario.seed, sim.scenario.profile.name
        self.violation = violation
        self.steps, self.seconds = sim.loop.steps, sim.loop.time()
        self.placements = sum(sim.placements.values())
        self.digest = sim.trace.digest()
        self.lines = list(sim.trace.lines)


def play(seed: int, profile: Profile, echo: Callable[[str], None] | None = None) -> Outcome:
    """One seed from its first step to its last."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as directory:
        sim = Simulation(seed, profile, Path(directory), echo)
        # Collected between the runs: what is collected in one must not depend on chance.
        gc.collect()
        gc.disable()
        try:
            sim.run()
        except Violation as violation:
            return Outcome(sim, violation)
        finally:
            gc.enable()
        return Outcome(sim, None)
