"""I14 and I15: no secret is told to anybody, and nothing grows without a bound."""

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from order_service.feed import RING
from order_service.journal import MOST_QUEUED
from order_service.keeper import MOST_HELD_BACK, MOST_UNMATCHED
from order_service.order_manager import MOST_NOTED
from tests.simulation.checkers.base import Checker

if TYPE_CHECKING:
    from tests.simulation.order_process import OrderProcess
    from tests.simulation.simulation import Simulation

LEAST_SECRET = 16  # characters; what is shorter is a word
TOLD = frozenset({"kind", "api_key", "user_agent"})  # of a credential's parts, what anybody may see
SMALL_TASKS = ("send ", "place ", "learn ", "stop ")  # that end with what they do
TASKS_A_USER = 8  # sweeps, a stream and what it keeps alive
TASKS_BESIDE = 30
LAST_WORD = timedelta(seconds=60)  # a request's deadline, the pause after it, and a ban between them
MOST_ENDED = 200  # orders that ended last and are looked through


class NoSecrets(Checker):
    """I14: no secret bytes in a log line, an error, the trace or a row of the journal."""

    name = "I14"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._secrets: list[str] = []

    def issued(self, credential: dict[str, Any]) -> None:
        for part, value in credential.items():
            if isinstance(value, dict):
                self.issued(value)
            elif part not in TOLD:
                self._secrets += [word for word in _words(str(value)) if len(word) >= LEAST_SECRET]

    def said(self, line: str) -> None:
        for secret in self._secrets:
            if secret in line:
                self.fail(
                    f"a secret of {len(secret)} characters was said: {line.replace(secret, '***')[:200]}"
                )

    def at_rest(self) -> None:
        for path in sorted(self.sim.directory.iterdir()):
            content = path.read_bytes()
            for secret in self._secrets:
                if secret.encode() in content:
                    self.fail(f"a secret of {len(secret)} characters stands in {path.name}")


def _words(value: str) -> list[str]:
    """A cookie or a key block is kept in pieces, any of which is secret."""
    return [word for line in value.splitlines() for word in line.replace("=", ";").split(";")]


class Bounds(Checker):
    """I15: every queue and cache stays within its bound; at rest only the lasting tasks are left."""

    name = "I15"

    def full(self) -> None:
        server = self.sim.order
        if server is None or not server.ready:
            return
        users = len(self.sim.scenario.accounts)
        for what, size, most in (
            ("order news kept", len(server.feed._items), RING),
            ("decisions queued", len(server.journal._queue), MOST_QUEUED),
            ("notes remembered", len(server.manager._noted), MOST_NOTED),
            ("requests under way", len(server.manager._sending), 4 * users),
            ("orders cared for", len(server.care._patients), self._open_of_late(server)),
            ("pushes nobody owns", len(server.keeper._unmatched), MOST_UNMATCHED),
            ("waiting for the guard", server.journal.books.guard.tickets.count(), 4 * users),
            ("user streams", len(self.sim.network.sockets), 3 * users),
            *(
                (f"pushes held back of {s.key}", len(s.held_back or ()), MOST_HELD_BACK)
                for s in server.sessions.all()
            ),
        ):
            if size > most:
                self.fail(f"{what}: {size}, at most {most}")

    def _open_of_late(self, server: "OrderProcess") -> int:
        """Orders that need care, or whose last question is not answered yet: many end in one moment.

        One more of each account may be asked about: by a sweep, long after its end.
        """
        books, since = server.journal.books, self.sim.clock.now() - LAST_WORD
        newest = itertools.islice(reversed(books.recent.values()), MOST_ENDED)
        ended = sum(order.updated_at >= since for order in newest)
        return len(books.live) + ended + len(self.sim.scenario.accounts)

    def at_rest(self) -> None:
        server = self.sim.order
        assert server is not None
        left = [task.get_name() for task in server.tasks._tasks]
        small = sorted(name for name in left if name.startswith(SMALL_TASKS))
        if small or server.manager._sending:
            self.fail(
                f"at rest there are still {small[:5]}, {len(server.manager._sending)} requests under way"
            )
        # The care of an order is a task of its own; how many orders are cared for is bounded above.
        most = TASKS_A_USER * len(self.sim.scenario.accounts) + TASKS_BESIDE + len(server.care._patients)
        if len(left) > most:
            self.fail(f"at rest {len(left)} tasks run, at most {most}: {sorted(left)[:20]}")
