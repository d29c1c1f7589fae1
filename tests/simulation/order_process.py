"""The order service's core as a process that can be killed: real parts, a real journal file."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from datetime import timedelta
from pathlib import Path
from typing import Any

from order_service.__main__ import recover
from order_service.accounts import Accounts
from order_service.bans import Bans
from order_service.care import Care
from order_service.credentials import Vault
from order_service.denied import JournalFailed
from order_service.feed import Feed
from order_service.gate import GatedTransport
from order_service.journal import Journal
from order_service.keeper import Keeper
from order_service.order_manager import OrderManager
from order_service.rate_budget import RateBudget
from order_service.reconciliation import Reconciliation
from order_service.resolution import ProofRules, Resolution
from order_service.sessions import Sessions
from order_service.store import SqliteStore, Statement
from order_service.users import Users
from order_service.venues import binance
from order_service.worlds import Worlds
from otopilot.settings import PaperSettings, Settings
from otopilot.tasks import TaskOwner
from tests.simulation.clock import SimClock
from tests.simulation.loop import Process, SimLoop
from tests.simulation.network import Network, SimTransport

# Patience is a quarter to a half of every day's, and what is late is late in proportion (profiles, nature).
RULES = ProofRules(
    recv_window=2.0, absence_margin=7.0, fingerprint_wait=6.0, fingerprint_gap=2.0, fingerprint_proof=True
)
SETTINGS = Settings(paper=PaperSettings(url="http://paper"))
HOLD = timedelta(seconds=30)
BEAT = timedelta(seconds=10)

Committed = Callable[[int, list[Statement]], None]


class SimStore(SqliteStore):
    """The journal's file; a commit takes a moment, and may fail before or after it is durable."""

    def __init__(self, path: Path, dice: random.Random, failing: Callable[[], bool]) -> None:
        super().__init__(path, inline=True)
        self._write.execute("PRAGMA synchronous=OFF")  # a kill takes nothing from the system's cache
        self._dice = dice
        self._failing = failing
        self.committed: Committed = _nobody

    async def commit(self, statements: Sequence[Statement]) -> None:
        """As the disk does it."""
        await asyncio.sleep(self._dice.choice((0.0, 0.0005, 0.003)))
        failing = self._failing()
        if failing and self._dice.random() < 0.5:
            raise JournalFailed("disk full")
        await super().commit(statements)
        self.committed(self.instance_epoch, list(statements))
        if failing:
            raise JournalFailed("no word of it")


class OrderProcess:
    """One start of the order service. start() it, kill() it."""

    def __init__(self, loop: SimLoop, network: Network, clock: SimClock, path: Path, seed: str) -> None:
        self.loop = loop
        self.network = network
        self.clock = clock
        self.process = Process("order")
        self.ready = False
        self.failure: BaseException | None = None
        failing = lambda: network.chance("failed_commit")  # noqa: E731
        self.store = SimStore(path, random.Random(seed), failing)
        self.transport = SimTransport(network, clock)
        self.died: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin; `ready` tells when it serves."""
        self.loop.spawn(self.process, self._run(), "order service")

    async def _run(self) -> None:
        try:
            await self._open()
        except Exception as error:
            self.failure = error

    async def _open(self) -> None:
        clock = self.clock
        self.feed = Feed(self.store.instance_epoch)
        self.journal = Journal(self.store, clock, self.feed)
        self.tasks = await TaskOwner("order_service").__aenter__()
        self.tasks.spawn(self.journal.write_forever(), "journal writer")
        limits = binance.limits(SETTINGS)
        budgets = {venue: RateBudget(venue, clock, limits[venue]) for venue in limits}
        door = lambda venue, way: GatedTransport(way, budgets[venue], clock)  # noqa: E731
        ports = binance.paper_venues(SETTINGS, self.transport, clock, door)
        Bans(self.journal, clock, self.tasks).keep(budgets)
        self.sessions = Sessions(self.journal)
        worlds = Worlds(self.journal, self.sessions)
        self.manager = OrderManager(self.journal, self.sessions, budgets, clock, self.tasks, HOLD)
        resolution = Resolution(self.manager, clock, RULES)
        self.care = care = Care(self.manager, self.sessions, resolution, worlds, clock, self.tasks)
        reconciliation = Reconciliation(self.journal, self.manager, care, self.sessions, clock)
        self.keeper = Keeper(self.manager, reconciliation, self.sessions, worlds, clock, self.tasks, BEAT)
        self.users = Users(self.journal, Vault(bytes(32)), self.sessions, self.keeper, ports, budgets, clock)
        await recover(self.journal, self.manager, clock, RULES.recv_window)
        self.users.open_all()
        for order in list(self.journal.books.live.values()):
            care.look_after(order)
        self.accounts = Accounts(self.journal, self.sessions, clock)
        self.ready = True

    def call(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        """A request that came in: a task of this process."""
        context = self.process.context.run(copy_context)
        return context.run(lambda: asyncio.Task(work, loop=self.loop, name=name, context=context))

    def kill(self) -> None:
        """As kill -9 does it: nothing runs any more, the file is let go as it is."""
        self.ready = False
        self.transport.closed = True
        self.loop.kill(self.process)
        self.network.stall()
        for socket in list(self.network.sockets):
            socket.abandon(self.network.dice.choice((0.0, 20.0)))
        self.store.close()
        for told in self.died:
            told()


def _nobody(epoch: int, statements: list[Statement]) -> None:
    return None
