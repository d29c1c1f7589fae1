"""One seed's world: the loop, the exchange, the line and the processes. Tells the checkers what happens.

What is done with it, from the first step to the last, is in course.py.
"""

import gc
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from order_service.placing import Ask
from order_service.store import Statement
from otopilot.instrument import Venue
from otopilot.order import Order
from otopilot.position import ScopeVolume
from otopilot.quote import Quote
from paper_exchange.model import Event, OrderEvent
from strategy_service.config import TradingConfig
from tests import scratch
from tests.simulation import checkers, logs, shared
from tests.simulation.checkers.base import Checker
from tests.simulation.clock import SimClock
from tests.simulation.course import Course
from tests.simulation.exchange import SimExchange
from tests.simulation.journal_view import JournalView
from tests.simulation.loop import Livelock, Process, SimLoop
from tests.simulation.network import Network, Sent
from tests.simulation.order_process import OrderProcess
from tests.simulation.profiles import Profile
from tests.simulation.scenario import Scenario, draw
from tests.simulation.shared import SharedCourse
from tests.simulation.strategy_process import StrategyProcess
from tests.simulation.trace import Trace, Violation

FULL_EVERY = 100


class Simulation:
    """Everything of one seed."""

    def __init__(
        self,
        seed: int,
        profile: Profile,
        directory: Path,
        echo: Callable[[str], None] | None = None,
        scenario: Scenario | None = None,
        course: type[Course] = Course,
        only: tuple[type[Checker], ...] = (),
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
        self.zombies: list[StrategyProcess] = []  # replaced, and alive
        self.config = self.scenario.trading("r1")
        self.placements: Counter[tuple[Venue, str]] = Counter()
        self.asks: dict[str, Ask] = {}
        self.failure: Violation | None = None
        self.directory = directory
        self._starts = 0
        self._seen_order = 0
        self.checkers: list[Checker] = [kind(self) for kind in only or checkers.ALL]
        self.only = only
        self.found: dict[type[Checker], Violation] = {}  # by those that watch alone
        self.exchange.listen(self._heard)
        self.network.on_sent.append(self._sent)
        self.network.on_ban_heard.append(self._ban_heard)
        self.loop.after_step = self._stepped
        self.at_step: dict[int, Callable[[], None]] = {}
        self.course = course(self)

    # ------------------------------------------------------------------ what the checkers hear

    def _stepped(self) -> None:
        for checker in self._on_step:
            self._ask(checker, checker.step)
        if self.loop.steps % FULL_EVERY == 0:
            for checker in self._on_full:
                self._ask(checker, checker.full)
        if self.at_step and (due := self.at_step.pop(self.loop.steps, None)) is not None:
            due()
        if self.failure is not None:
            raise self.failure

    def _note(self, violation: Violation) -> None:
        """Kept until the step ends: a service must not swallow it."""
        if self.failure is None:
            self.failure = violation

    def tell(self, what: str, *args: Any) -> None:
        """Tell every checker that listens to that."""
        for checker in self._listeners[what]:
            self._ask(checker, getattr(checker, what), *args)

    def _ask(self, checker: Checker, holds: Callable[..., None], *args: Any) -> None:
        """Does it hold? What watches alone has found it once; the run goes on for the others of them."""
        try:
            holds(*args)
        except Violation as violation:
            if self.only:
                self.found[type(checker)] = violation
                self.checkers = [other for other in self.checkers if other is not checker]
                self.listen()
            if not self.only or not self.checkers:
                self._note(violation)

    def look_at_rest(self) -> None:
        """Everything, now that nothing is under way. Raises Violation."""
        for checker in self.checkers:
            self._ask(checker, checker.full)
        for checker in self.checkers:
            self._ask(checker, checker.at_rest)
        if self.failure is not None:
            raise self.failure

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
        """An error nobody expected; no matter to a checker that watches alone."""
        if not self.only:
            self._note(Violation("defect", f"{where}: {what}"))

    # ------------------------------------------------------------------ processes

    def configure(self, config: TradingConfig) -> None:
        """The trading configuration is another one from now on."""
        self.config = config
        if self.strategy is not None:
            self.strategy.config.config = config

    def start_order(self) -> None:
        """Start the order service over the journal as it is."""
        self._starts += 1
        clock = SimClock(self.loop, self.scenario.start, f"{self.name}/order/{self._starts}")
        path, seed = self.directory / "order.db", f"{self.name}/store/{self._starts}"
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
        table = self.directory / f"runs{len(self.zombies)}.db"
        self.strategy = StrategyProcess(self, clock, table, self.config, seed)
        self.trace.add("strategy", "starts")
        self.strategy.start()

    def kill_strategy(self) -> None:
        """Kill it and start another in a while."""
        if self.strategy is None or self.strategy.dead:
            return
        self.trace.add("strategy", "killed")
        self.strategy.kill()
        self.network.after(self.dice.choice((0.05, 0.05, 0.5, 3.0)), self.start_strategy)

    def replace_strategy(self, seconds: float) -> None:
        """Its machine stands still, another one takes over with a run table of its own; then it wakes."""
        if self.strategy is None or self.strategy.dead:
            return
        self.trace.add("strategy", f"stands still for {seconds:.1f} s, and is replaced")
        zombie = self.strategy
        self.zombies.append(zombie)
        self.pause(zombie.process, seconds)
        self.start_strategy()

    def pause(self, process: Process, seconds: float) -> None:
        """A machine stands still for a while."""
        self.trace.add("nature", f"{process.name} stands still for {seconds:.1f} s")
        self.loop.pause(process)
        self.network.after(seconds, self.loop.resume, process)

    def listen(self) -> None:
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
            self.listen()
            try:
                self.loop.run_until_complete(self.course.run())
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
                    for strategy in (*self.zombies, self.strategy):
                        if strategy is not None and not strategy.dead:
                            stack.callback(strategy.runs.close)


class Outcome:
    """What became of a seed."""

    def __init__(self, sim: Simulation, violation: Violation | None) -> None:
        self.seed, self.profile = sim.scenario.seed, sim.scenario.profile.name
        self.many = isinstance(sim.course, SharedCourse)
        self.violation = violation
        self.steps, self.seconds = sim.loop.steps, sim.loop.time()
        self.placements = sum(sim.placements.values())
        self.digest = sim.trace.digest()
        self.lines = list(sim.trace.lines)
        self.found = sim.found


def play(
    seed: int,
    profile: Profile,
    echo: Callable[[str], None] | None = None,
    *,
    many: bool = False,
    only: tuple[type[Checker], ...] = (),
) -> Outcome:
    """One seed from its first step to its last; `many`: fifty users on a shared target (shared.py).

    `only`: these checkers watch and no other, each as if it were alone: until each has found something.
    """
    scenario = shared.scenario(seed, profile) if many else draw(seed, profile)
    with tempfile.TemporaryDirectory(dir=scratch.in_memory()) as directory:
        # Collected between the runs: what is collected in one must not depend on chance. What is there
        # before the world is made is for good, modules and caches: it is not walked through each time.
        gc.collect()
        gc.freeze()
        gc.disable()
        course = SharedCourse if many else Course
        sim = Simulation(seed, profile, Path(directory), echo, scenario, course, only)
        try:
            sim.run()
        except Violation as violation:
            return Outcome(sim, violation.with_traceback(None))  # whose frames would keep the world alive
        finally:
            gc.enable()
        return Outcome(sim, None)
