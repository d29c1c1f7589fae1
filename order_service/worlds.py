"""Which world a journal belongs to: another paper exchange's books would make nonsense of it.

The first world seen is written down; any other is refused (architecture 2). The real venue's has an
empty name, which is written down as well: what is open there must never be looked for on a test venue.
Binance's test venues have their names.
"""

from order_service.journal import Journal
from order_service.sessions import Session, Sessions
from order_service.venues.port import VenueError, VenuePort

REAL = "(the real)"


class OtherWorld(Exception):
    """The venue runs another world than this journal's."""


class Worlds:
    """Remembers each venue's world in the journal; stops users who would trade in another."""

    def __init__(self, journal: Journal, sessions: Sessions) -> None:
        self._journal = journal
        self._sessions = sessions
        self._known: dict[str, str] = {}

    async def confirm(self, session: Session) -> None:
        """Before anything that is read of the account is believed. Raises VenueError."""
        try:
            await self.check(session.port)
        except OtherWorld as other:
            await self._sessions.stop(session, "other_world", str(other))
            raise VenueError("other_world", str(other)) from other
        session.in_known_world = True

    async def check(self, port: VenuePort) -> None:
        """Raises OtherWorld, and VenueError when the venue cannot be read."""
        world = await port.world()
        key = f"world/{port.venue}"
        known = self._known.get(key)
        if known is None:
            known = self._journal.books.store.meta(key)
        if known is None:
            await self._journal.run(lambda tx: tx.set_meta(key, world))
            known = world
        self._known[key] = known
        if world != known:
            raise OtherWorld(
                f"the exchange runs world {world or REAL}, this journal belongs to world {known or REAL}: "
                "start that exchange again, or give this service another data directory"
            )
