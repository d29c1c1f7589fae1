"""One connection to Spot's WS API that is kept up: opened again when it is lost, renewed without a gap.

Before its day is over, and when the venue announces its end, the next connection is opened first; the
one before stays as long as it is needed (reliability 26, 27). Subclasses say what a connection is for.
"""

import asyncio

from order_service.venues.fields import Row
from order_service.venues.port import Transport, VenueError, VenueSilent
from order_service.venues.streaming import wait_seconds
from order_service.venues.ws_api import SHUTDOWN, WsApi
from otopilot import log
from otopilot.clock import Clock
from otopilot.tasks import TaskOwner, restarted

RENEW_SECONDS = 23 * 3600.0  # the venue drops a connection after 24 hours
RENEW_EARLIER = 0.04  # at most, as a share: connections made together are not renewed together
OVERLAP_SECONDS = 5.0  # in which the one before is heard although nobody needs it any more
# Of connections that are told to leave as they come, so many in a row have a successor within this time:
# they serve until they are closed, and where not every server goes there is no gap.
QUICK_SUCCESSORS = 8
QUICK_SECONDS = 1.0
RETIRE_SECONDS = 600.0  # the longest that one is kept

_log = log.get("ws_line")


class WsLine:
    """Start it once; `current` is the connection to use, none while there is none."""

    def __init__(self, transport: Transport, clock: Clock, url: str, tasks: TaskOwner) -> None:
        self._transport = transport
        self._clock = clock
        self._url = url
        self._tasks = tasks
        self._leave: dict[WsApi, asyncio.Event] = {}
        self._task: asyncio.Task[None] | None = None
        self.current: WsApi | None = None

    # What a connection is for.

    most_unreadable = 0  # frames in its life: a request in flight whose answer it may be is not kept waiting

    def came_up(self, api: WsApi) -> None:
        """It is the current one from now on."""

    def went_down(self, api: WsApi, reason: VenueError) -> None:
        """It has ended; what was in flight on it has been told."""

    def failed(self, error: VenueError) -> None:
        """No connection could be opened; it is tried again."""

    def hear(self, api: WsApi, number: str, event: Row) -> None:
        """An event came on it."""

    def needs(self, api: WsApi) -> bool:
        """Is one that has a successor still needed?"""
        return api.in_flight > 0

    # Its life.

    def start(self) -> None:
        """Begin; it ends with `stop` or with its tasks' owner."""
        if self._task is None:
            self._task = self._tasks.spawn(restarted(self._run, self._clock, "WS API line"), "WS API line")

    def stop(self) -> None:
        """Close what there is."""
        if self._task is not None:
            self._task.cancel()
        for api in list(self._leave):
            self._tasks.spawn(api.close(), "close connection")

    def renew(self) -> None:
        """The current connection will not do any more: it gets a successor now."""
        if self.current is not None:
            self._go(self.current)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                api, leave = await self._open()
            except VenueError as error:
                self.failed(error)
                await self._clock.sleep(wait_seconds(error, failures, self._clock))
                failures += 1
                continue
            opened_at = self._clock.monotonic()
            before, self.current = self.current, api
            self.came_up(api)
            if before is not None:
                self._tasks.spawn(self._retire(before), "retire connection")
            await leave.wait()
            served = self._clock.monotonic() - opened_at > OVERLAP_SECONDS
            failures = 0 if served else failures + 1
            if api.ended is None and not served and failures <= QUICK_SUCCESSORS:
                await self._clock.sleep(self._clock.uniform(0.0, QUICK_SECONDS))
            elif api.ended is not None or not served:
                # Full jitter: those cut off together do not come back together. And a venue of which every
                # server says that it is going does not use up what connections this address may open.
                reason = api.ended or VenueSilent("left", "the connection was left soon after it was opened")
                await self._clock.sleep(wait_seconds(reason, failures, self._clock))

    async def _open(self) -> tuple[WsApi, asyncio.Event]:
        socket = await self._transport.connect(self._url)
        api = WsApi(
            socket,
            self._clock,
            on_event=self._hear,
            heard=self._transport.heard,
            most_unreadable=self.most_unreadable,
        )
        leave = self._leave[api] = asyncio.Event()
        self._tasks.spawn(self._read(api), "read WS API")
        return api, leave

    async def _read(self, api: WsApi) -> None:
        earlier = self._clock.uniform(0.0, RENEW_EARLIER)
        renewal = asyncio.get_running_loop().call_later(RENEW_SECONDS * (1 - earlier), self._go, api)
        try:
            await api.run()
        except Exception:
            # A defect: the connection has ended all the same, and whoever is on it is told.
            _log.exception("reading failed")
        finally:
            renewal.cancel()
        self._lost(api)

    def _lost(self, api: WsApi) -> None:
        reason = api.ended or VenueSilent("closed", "the connection ended")
        if api is self.current:
            self.current = None
            _log.warning("connection lost", reason=str(reason))
        self._leave.pop(api).set()
        self.went_down(api, reason)

    def _go(self, api: WsApi) -> None:
        if (leave := self._leave.get(api)) is not None:
            leave.set()

    async def _retire(self, api: WsApi) -> None:
        left = RETIRE_SECONDS
        while left > 0 and api.ended is None and self.needs(api):
            await self._clock.sleep(1.0)
            left -= 1.0
        await self._clock.sleep(OVERLAP_SECONDS)
        await api.close()

    def _hear(self, api: WsApi, number: str, event: Row) -> None:
        if event.get("e") == SHUTDOWN:
            self._go(api)
        else:
            self.hear(api, number, event)
