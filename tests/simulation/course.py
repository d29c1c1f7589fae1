"""The course of a seed: everybody trades while things go wrong, then all heals, settles and rests.

Rest must have come within a minute of the healing (reliability I3), but for what the rate budget holds
back until its next minute; the checkers look at it there.
"""

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from order_service.denied import JournalFailed
from order_service.sessions import Session
from otopilot.instrument import Venue
from otopilot.order import IN_FLIGHT, UserId
from otopilot.position import UserState
from tests.simulation.nature import Nature
from tests.simulation.operator import Operator
from tests.simulation.order_process import OrderProcess
from tests.simulation.trace import Violation

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

PLACEMENTS = 10  # of each user at least
FAULTY_SECONDS = 30.0  # at most, before everybody has placed ten orders
ANSWER_SECONDS = 15.0  # to a credential: the service reads the account first, ten seconds at most
MOST_TRADING_SECONDS = 300.0  # without faults
TARGET_SECONDS = 4.0
STOP_SECONDS = 60.0
START_SECONDS = 30.0
TICK = 0.5


class Course:
    """Owns what happens when."""

    rest_seconds = 75.0  # after the healing, when the budget of a whole minute is used up
    reads_before_freezing = True  # everybody is at rest while matching goes on, too

    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self.nature = Nature(sim)
        self.operator = Operator(sim)

    async def run(self) -> None:
        """From the first step to the last. Raises Violation."""
        await self._open_accounts()
        self._sim.start_strategy()
        self.nature.begin()
        await self._trade()
        await self._settle()

    async def _open_accounts(self) -> None:
        """The order service serves, with everybody's credential."""
        sim = self._sim
        self._credentials = {a: sim.exchange.open_account(*a) for a in sim.scenario.accounts}
        for credential in self._credentials.values():
            sim.tell("issued", credential)
        sim.start_order()
        await self._until(self._order_serves, START_SECONDS, "the order service serves")
        await self._store(sim.scenario.accounts)

    # ------------------------------------------------------------------ trading

    async def _trade(self) -> None:
        sim = self._sim
        clears_at = sim.loop.time() + FAULTY_SECONDS
        while self._busy() and sim.loop.time() < clears_at:
            await self._tick()
        if self._busy():
            # Doubt and the guard may keep a symbol waiting for as long as answers get lost.
            sim.trace.add("nature", "the weather clears")
            await self._heal()
        await self._until(lambda: not self._busy(), MOST_TRADING_SECONDS, "every user placed ten orders")
        self.operator.lower_targets()
        over_at = sim.loop.time() + TARGET_SECONDS
        while sim.loop.time() < over_at and not self.operator.everybody_ended():
            await self._tick()

    def _busy(self) -> list[tuple[Venue, str]]:
        sim = self._sim
        return [
            a for a in sim.scenario.accounts if sim.placements[a] < PLACEMENTS and a != sim.scenario.revoked
        ]

    async def _tick(self) -> None:
        await asyncio.sleep(TICK)
        self._restart_what_failed()
        self.operator.look()

    # ------------------------------------------------------------------ healing, settling

    async def _heal(self) -> None:
        """Everything works; a person has stored the credential that had ended again."""
        sim = self._sim
        if sim.network.profile is None:
            return
        sim.network.heal()
        await self._until(self._order_serves, START_SECONDS, "the order service serves")
        if sim.scenario.revoked is not None:
            await self._store([sim.scenario.revoked])

    async def _settle(self) -> None:
        sim = self._sim
        self.nature.end()
        await self._until(self._both_run, START_SECONDS, "both services run")
        await self._until(self.operator.idle, START_SECONDS, "what was asked is done")
        assert sim.strategy is not None
        sim.trace.add("operator", f"stops everything ({sim.scenario.stop_mode}); faults heal")
        await self._heal()
        stopping = self.operator.stop_everything()
        await asyncio.wait({stopping}, timeout=STOP_SECONDS)
        until = sim.loop.time() + self.rest_seconds
        if self.reads_before_freezing:
            await self._rest(until)
        sim.exchange.world.exchange.freeze()
        await self._rest(until)
        sim.look_at_rest()
        if differs := sim.view.compare(sim.directory / "order.db"):
            raise Violation("I16", differs)

    async def _rest(self, until: float) -> None:
        """Everybody was read anew, and nothing is under way; if not by then, the checkers say what is."""
        sim = self._sim
        while True:
            server = sim.order
            assert server is not None
            left = max(1.0, until - sim.loop.time())
            sweeping = server.call(server.keeper.settle(self._readable(server), left), "settle")
            await asyncio.wait({sweeping})
            await asyncio.sleep(TICK)
            if self._at_rest() or sim.loop.time() > until:
                return
            await asyncio.sleep(1.0)

    def _readable(self, server: OrderProcess) -> list[Session]:
        return [s for s in server.sessions.all() if s.key != self._sim.scenario.unread]

    def _at_rest(self) -> bool:
        server = self._sim.order
        assert server is not None
        if server.manager._sending:
            return False  # an answer may be waited for for long
        orders = self._sim.view.orders.values()
        return all(session.state is UserState.READY for session in self._readable(server)) and not any(
            order.state in IN_FLIGHT
            or any(
                order.open_wish(leg.role) is not None or leg.reported_quantity > leg.filled_quantity
                for leg in order.legs
            )
            for order in orders
        )

    # ------------------------------------------------------------------ the processes

    async def _store(self, accounts: list[tuple[Venue, str]]) -> None:
        """Hand credentials in; a failing journal, and a service that was killed, are asked again."""
        for venue, user_id in accounts:
            credential = dict(self._credentials[venue, user_id])
            kind = credential.pop("kind")
            secret = json.dumps(credential).encode()
            while True:
                await self._until(self._order_serves, START_SECONDS, "the order service serves")
                server = self._sim.order
                assert server is not None
                task = server.call(server.users.put(UserId(user_id), venue, kind, secret), "put")
                while not task.done() and server is self._sim.order:
                    await asyncio.wait({task}, timeout=ANSWER_SECONDS)  # a killed process never answers
                if task.done() and task.exception() is None:
                    break

    def _order_serves(self) -> bool:
        return self._sim.order is not None and self._sim.order.ready

    def _both_run(self) -> bool:
        strategy = self._sim.strategy
        return self._order_serves() and strategy is not None and not strategy.dead

    async def _until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        give_up = self._sim.loop.time() + seconds
        while not holds():
            if self._sim.loop.time() > give_up:
                raise Violation("liveness", f"not within {seconds:g} s: {what}; {self.operator.waits()}")
            await self._tick()

    def _restart_what_failed(self) -> None:
        """A start that the disk did not allow ends the process, which is started again (architecture 2)."""
        order = self._sim.order
        if order is None or order.failure is None:
            return
        if not isinstance(order.failure, JournalFailed):
            raise Violation("defect", f"the order service does not start: {order.failure!r}")
        self._sim.kill_order()
