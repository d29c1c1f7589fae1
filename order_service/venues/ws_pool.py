"""A small pool of connections to Spot's WS API, for the orders of all users (architecture 5.10).

Owns the connections; each request on them is signed with its user's key by whoever makes it. None is
waited for: while there is none, the caller takes the other path.
"""

from order_service.venues.port import Transport
from order_service.venues.ws_api import WsApi
from order_service.venues.ws_line import WsLine
from otopilot.clock import Clock
from otopilot.tasks import TaskOwner

CONNECTIONS = 4


class WsPool:
    """Opened at the first `start`; until then, and while all are lost, `pick` has none."""

    def __init__(self, transport: Transport, clock: Clock, url: str, connections: int = CONNECTIONS) -> None:
        self._tasks = TaskOwner("WS API pool")
        self._lines = [WsLine(transport, clock, url, self._tasks) for _ in range(connections)]

    def start(self) -> None:
        """Open the connections; again and again does no harm."""
        for line in self._lines:
            line.start()

    def pick(self) -> WsApi | None:
        """The connection with the fewest requests in flight, of those that stand."""
        live = [line.current for line in self._lines if line.current is not None]
        return min(live, key=lambda api: api.in_flight, default=None)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._tasks.close()
