"""Bans outlive the process: what was told before a restart holds after it (reliability 5, 6).

A venue bans the address, not the process. Each venue's ban is kept in the journal's meta table, by the
time of day at which it ends, and is in force again before the first request of a new start.
"""

from collections.abc import Mapping
from datetime import datetime

from order_service.denied import Denied, JournalFailed
from order_service.journal import Journal
from order_service.rate_budget import RateBudget
from order_service.transaction import Transaction
from order_service.venues.port import RateLimited
from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.tasks import TaskOwner

WRITE_AGAIN_SECONDS = 1.0

_log = log.get("bans")


class Bans:
    """Keeps the budgets' bans in the journal."""

    def __init__(self, journal: Journal, clock: Clock, tasks: TaskOwner) -> None:
        self._journal = journal
        self._clock = clock
        self._tasks = tasks
        self._ends: dict[Venue, datetime] = {}

    def keep(self, budgets: Mapping[Venue, RateBudget]) -> None:
        """Put what is written down into force, and write down what is told from now on."""
        for venue, budget in budgets.items():
            text = self._journal.books.store.meta(_key(venue))
            until = datetime.fromisoformat(text) if text else None
            if until is not None and until > self._clock.now():
                budget.close_until(RateLimited("banned", "told before this start", until))
            budget.on_ban(self._told)

    def _told(self, venue: Venue, until: datetime) -> None:
        writing = venue in self._ends
        self._ends[venue] = until
        if not writing:
            self._tasks.spawn(self._write(venue), f"ban of {venue}")

    async def _write(self, venue: Venue) -> None:
        """A journal that cannot be written now is asked again, as long as the ban is in force."""
        try:
            while (until := self._ends[venue]) > self._clock.now():
                try:
                    await self._journal.run(lambda tx: self._put(tx, venue))
                except (JournalFailed, Denied) as error:
                    _log.error("ban not journaled yet", venue=venue, error=str(error))
                    await self._clock.sleep(WRITE_AGAIN_SECONDS)
                else:
                    if self._ends[venue] == until:
                        return
        finally:
            del self._ends[venue]

    def _put(self, tx: Transaction, venue: Venue) -> None:
        tx.set_meta(_key(venue), self._ends[venue].isoformat())


def _key(venue: Venue) -> str:
    return f"ban/{venue}"
