"""One request budget per venue and egress address, over all users (architecture 5.9, reliability 5 to 7).

Requests take their weight here before they begin, in fixed windows aligned to the clock: cancels
before in-doubt queries before placements before sweeps, and sweeps never more than their share. A ban
stops every request of every user until it is over; what waited then goes in the same order. Order
counts are per account. What a request weighs, and what a venue allows, is the adapter's knowledge.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from order_service.denied import Denied, Kind
from order_service.venues.port import Limits, RateLimited, TooManyOrders, VenueBusy, VenueNotReached
from order_service.window import Window
from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.order import UserId

SWEEP_SHARE = 0.3
LEAST_WAIT = 0.01
_SAME_SECONDS = 1.0  # a ban that is told again may seem to end so much later

_log = log.get("rate_budget")
Told = Callable[[Venue, datetime], None]


class Priority(IntEnum):
    """What goes first when not everything can."""

    CANCEL = 0
    DOUBT = 1
    PLACE = 2
    SWEEP = 3


def _again(known: Window | None, limit: tuple[int, float] | None) -> Window | None:
    """A window of that limit, with the count of the known one if it is as long."""
    if limit is None:
        return None
    if known is None or known.seconds != limit[1]:
        return Window(*limit)
    known.limit = limit[0]
    return known


def _share(weight: tuple[int, float] | None) -> tuple[int, float] | None:
    """What sweeps may use of it."""
    return (max(1, int(weight[0] * SWEEP_SHARE)), weight[1]) if weight else None


@dataclass
class Counters:
    """What the budget did since the process started."""

    waited: int = 0  # requests that could not go at once
    denied: int = 0  # placements
    bans: int = 0
    too_many_orders: int = 0


@dataclass(order=True)
class _Waiter:
    priority: Priority
    number: int
    weight: int
    future: "asyncio.Future[None]"


class Permit:
    """A placement's permit; give it back when nothing is sent."""

    def __init__(self, budget: "RateBudget", user_id: UserId, weight: int, orders: int) -> None:
        self._budget, self._user_id, self._weight, self._orders = budget, user_id, weight, orders

    def give_back(self) -> None:
        """Nothing was sent."""
        self._budget.give_back(self._user_id, self._weight, self._orders)


class RateBudget:
    """The budget and the breaker of one venue."""

    def __init__(self, venue: Venue, clock: Clock, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.counters = Counters()
        self._venue = venue
        self._clock = clock
        self._closed_until: float | None = None  # by the monotonic clock: the time of day can be set
        self._told: list[Told] = []
        self._weight = _again(None, self.limits.weight)
        self._sweeps = _again(None, _share(self.limits.weight))
        self._requests = _again(None, self.limits.requests)
        self._orders: dict[UserId, tuple[Window, ...]] = {}
        self._no_orders_until: dict[UserId, datetime] = {}
        self._held_until = 0.0  # placements of everybody, by the monotonic clock
        self._connects: deque[float] = deque()
        self._line: list[_Waiter] = []
        self._numbers = 0
        self._outstanding = 0  # weight of requests under way, which the venue has not counted yet
        self._timer: asyncio.TimerHandle | None = None

    def adopt(self, told: Limits | None) -> None:
        """What the venue itself says that it allows, from now on; counts go on where windows stay."""
        if told is None or told == self.limits:
            return
        _log.info("limits", venue=self._venue, weight=told.weight, requests=told.requests, orders=told.orders)
        self.limits = told
        self._weight = _again(self._weight, told.weight)
        self._sweeps = _again(self._sweeps, _share(told.weight))
        self._requests = _again(self._requests, told.requests)
        for user_id, windows in self._orders.items():
            known = {window.seconds: window for window in windows}
            again = (_again(known.get(limit[1]), limit) for limit in told.orders)
            self._orders[user_id] = tuple(window for window in again if window is not None)
        self._pump()

    # ------------------------------------------------------------------ bans

    def closed_until(self) -> datetime | None:
        """The end of a ban that is in force, as the local time of day."""
        if self._closed_until is None:
            return None
        left = self._closed_until - self._clock.monotonic()
        if left <= 0:
            self._closed_until = None
            return None
        return self._clock.now() + timedelta(seconds=left)

    def close_until(self, refusal: RateLimited) -> None:
        """The venue pronounced a ban."""
        ends = self._clock.monotonic() + (refusal.until - self._clock.now()).total_seconds()
        known = self.closed_until()
        closed_until = self._closed_until or 0.0
        if known is None or ends > closed_until:
            self.counters.bans += known is None
            self._closed_until = ends
        if known is None or ends > closed_until + _SAME_SECONDS:
            _log.warning("venue closed its door", venue=self._venue, until=refusal.until.isoformat())
            for told in self._told:
                told(self._venue, refusal.until)

    def on_ban(self, told: Told) -> None:
        """Call this with the venue and the end of every ban that is told from now on."""
        self._told.append(told)

    async def wait_open(self, priority: Priority = Priority.SWEEP) -> None:
        """Return when a request may be made; after a ban in the order of priorities."""
        await self.take(priority, 0)

    # ------------------------------------------------------------------ requests

    async def take(self, priority: Priority, weight: int) -> None:
        """Return when that weight may be used, which it then is."""
        await self._let_go(priority, weight)
        self._outstanding -= weight

    async def _let_go(self, priority: Priority, weight: int) -> None:
        """As take(), but the weight stays under way."""
        ahead = self._line[0] if self._line else None
        if (ahead is None or ahead.priority > priority) and self._fits(priority, weight):
            self._spend(priority, weight)
            return
        self.counters.waited += 1
        self._numbers += 1
        waiter = _Waiter(priority, self._numbers, weight, asyncio.get_running_loop().create_future())
        heapq.heappush(self._line, waiter)
        self._pump()
        try:
            await waiter.future
        except asyncio.CancelledError:
            if waiter in self._line:
                self._line.remove(waiter)
                heapq.heapify(self._line)
            else:
                self._outstanding -= weight  # it was let go, and asks nothing after all
            self._pump()
            raise

    @asynccontextmanager
    async def request(self, priority: Priority, weight: int) -> AsyncIterator[None]:
        """A request that weighs so much, from its permit to its answer."""
        await self._let_go(priority, weight)
        try:
            yield
        finally:
            self._outstanding -= weight

    def heard_used(self, used: int) -> None:
        """The venue told what this address has used in the present window.

        While that is young our own count stands, and later only the greatest that was told: an answer
        that others have overtaken would make room that is none.
        """
        if self._weight is not None and not self._weight.is_young(self._now()):
            most = self._weight.most_told(used, self._now())
            self._weight.set(most + self._outstanding, self._now())
            self._pump()

    def count_request(self) -> None:
        """One raw request leaves now. Raises VenueNotReached when none may."""
        until = self.closed_until()
        if until is not None:
            raise VenueNotReached("banned", f"the venue takes no requests before {until.isoformat()}")
        if self._requests is not None:
            if not self._requests.fits(1, self._now()):
                raise VenueNotReached("too_many_requests", "the address has used its raw requests")
            self._requests.add(1, self._now())

    def now(self) -> datetime:
        """The time that bans and answers are held against."""
        return self._clock.now()

    def count_connect(self) -> None:
        """One connection is opened now. Raises VenueNotReached when none may be (reliability 27)."""
        self.count_request()
        most, seconds = self.limits.connects
        now = self._clock.monotonic()
        while self._connects and self._connects[0] <= now - seconds:
            self._connects.popleft()
        if len(self._connects) >= most:
            raise VenueNotReached("too_many_connects", f"{most} connections in {seconds:g} s: later")
        self._connects.append(now)

    def _fits(self, priority: Priority, weight: int) -> bool:
        if self.closed_until() is not None:
            return False
        now = self._now()
        if weight and self._weight is not None and not self._weight.fits(weight, now):
            return False
        sweeps = self._sweeps if priority is Priority.SWEEP and weight else None
        return sweeps is None or sweeps.fits(weight, now)

    def _spend(self, priority: Priority, weight: int) -> None:
        # From here on: what the venue tells before it is sent must not set it free again.
        self._outstanding += weight
        now = self._now()
        if self._weight is not None:
            self._weight.add(weight, now)
        if self._sweeps is not None and priority is Priority.SWEEP:
            self._sweeps.add(weight, now)

    def _pump(self) -> None:
        """Let go whoever may, in order; come back when more may."""
        while self._line and self._fits(self._line[0].priority, self._line[0].weight):
            waiter = heapq.heappop(self._line)
            self._spend(waiter.priority, waiter.weight)
            if not waiter.future.done():
                waiter.future.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._line:
            self._timer = asyncio.get_running_loop().call_later(self._seconds_shut(), self._pump)

    def _seconds_shut(self) -> float:
        until = self.closed_until()
        if until is not None:
            return max(LEAST_WAIT, (until - self._clock.now()).total_seconds())
        return max(LEAST_WAIT, self._weight.ends_in(self._now()) if self._weight else LEAST_WAIT)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    # ------------------------------------------------------------------ placements

    async def permit_placement(self, user_id: UserId, orders: int, seconds: float) -> Permit:
        """A placement's permit, before its transaction. Raises Denied (RATE_LIMIT) without one in time."""
        weight = self.limits.weights.get("place", 1)
        ends = self._clock.now() + timedelta(seconds=seconds)
        until = self._shut_for(user_id, orders)
        while until is not None:
            if until > ends:
                raise self._rate_limited(until)
            await self._clock.sleep(max(LEAST_WAIT, (until - self._clock.now()).total_seconds()))
            until = self._shut_for(user_id, orders)
        for window in self._windows(user_id):
            window.add(orders, self._now())
        try:
            async with asyncio.timeout(max(0.0, (ends - self._clock.now()).total_seconds())):
                await self.take(Priority.PLACE, weight)
        except (TimeoutError, asyncio.CancelledError) as error:
            self.give_back(user_id, 0, orders)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise self._rate_limited(ends) from None
        return Permit(self, user_id, weight, orders)

    def refuse_if_closed(self) -> None:
        """Raises Denied (RATE_LIMIT) during a ban."""
        until = self.closed_until()
        if until is not None:
            raise self._rate_limited(until)

    def give_back(self, user_id: UserId, weight: int, orders: int) -> None:
        """So much was permitted and not used."""
        if self._weight is not None:
            self._weight.add(-weight, self._now())
        self.filled(user_id, orders)
        self._pump()

    def filled(self, user_id: UserId, orders: int = 1) -> None:
        """Orders of the account had their first fill: the venue counts them no more (binance-spot 8)."""
        for window in self._windows(user_id):
            window.add(-orders, self._now())

    def heard_orders(self, user_id: UserId, counts: dict[int, int]) -> None:
        """The venue told the account's order counts, by the seconds of their windows."""
        for window in self._windows(user_id):
            if (count := counts.get(int(window.seconds))) is not None:
                window.set(count, self._now())

    def too_many_orders(self, user_id: UserId, refusal: TooManyOrders) -> None:
        """The venue takes no more orders of the account for now; nobody else is concerned."""
        self.counters.too_many_orders += 1
        self._no_orders_until[user_id] = refusal.until
        _log.warning("too many orders", venue=self._venue, user=user_id, until=refusal.until.isoformat())

    def hold_placements(self, busy: VenueBusy) -> None:
        """The venue is overloaded: nobody places for now; cancels and questions go on (binance-spot 10.2)."""
        left = (busy.until - self._clock.now()).total_seconds()
        self._held_until = max(self._held_until, self._clock.monotonic() + left)
        _log.warning("venue overloaded", venue=self._venue, until=busy.until.isoformat())

    def used(self) -> tuple[int, int]:
        """(weight used in the present window, its limit); zeros where there is none."""
        return (self._weight.used(self._now()), self._weight.limit) if self._weight else (0, 0)

    def _shut_for(self, user_id: UserId, orders: int) -> datetime | None:
        """Until when the account can surely place nothing; none when it may."""
        now = self._clock.now()
        held = now + timedelta(seconds=max(0.0, self._held_until - self._clock.monotonic()))
        told = (self.closed_until(), self._no_orders_until.get(user_id), held)
        times = [until for until in told if until is not None]
        for window in self._windows(user_id):
            if not window.fits(orders, now.timestamp()):
                times.append(now + timedelta(seconds=window.ends_in(now.timestamp())))
        later = [until for until in times if until > now]
        return max(later, default=None)

    def _windows(self, user_id: UserId) -> tuple[Window, ...]:
        if user_id not in self._orders:
            self._orders[user_id] = tuple(Window(count, seconds) for count, seconds in self.limits.orders)
        return self._orders[user_id]

    def _rate_limited(self, until: datetime) -> Denied:
        self.counters.denied += 1
        return Denied(
            Kind.EXHAUSTED,
            "RATE_LIMIT",
            f"{self._venue}: no placement can be sent before {until.isoformat()}",
            until=until.isoformat(),
        )
