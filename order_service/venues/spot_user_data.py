"""User data of many users over few connections to the WS API (architecture 5.10).

Owns the connections and who is subscribed on which. A connection carries at most 500 users; it is
renewed before its day is over, and when the venue announces its end, by another one that takes its
users over one by one, so that nobody has a gap. What ends one subscription is that user's alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from order_service.venues import spot_parse as spot
from order_service.venues.fields import Row, Unreadable, number_of, row_of
from order_service.venues.port import (
    Credential,
    RateLimited,
    StreamDown,
    StreamNews,
    StreamSink,
    StreamUp,
    Transport,
    VenueError,
    VenueSilent,
)
from order_service.venues.streaming import ACK_SECONDS, wait_seconds
from order_service.venues.ws_api import WsApi
from order_service.venues.ws_line import WsLine
from otopilot import log
from otopilot.clock import Clock
from otopilot.tasks import TaskOwner

USERS_A_SOCKET = 500
MOST_KINDS = 50  # of events that nobody knows, told in the log
SECONDS_BETWEEN = 0.1  # of subscriptions, over all connections: a fifth of the address's weight

_SUBSCRIBE = "userDataStream.subscribe.signature"
_UNSUBSCRIBE = "userDataStream.unsubscribe"
_ACTIVE = "-2035"  # this account has a subscription on this connection
_WORN = "-2042"  # this connection has given out all its numbers

_log = log.get("spot_user_data")

Sign = Callable[[Credential], Awaitable[Mapping[str, str]]]


class _Link:
    """The subscriptions on one connection."""

    def __init__(self, api: WsApi) -> None:
        self.api = api
        self.users: dict[str, _User] = {}  # by the subscription's number
        self.subscribing = 0
        self.worn = False

    @property
    def ended(self) -> bool:
        """Is nothing more to come?"""
        return self.api.ended is not None


@dataclass(eq=False)
class _User:
    """One user's subscription, wherever it is."""

    credential: Credential
    sink: StreamSink
    line: "_Line"
    link: _Link | None = None  # where it is subscribed
    number: str = ""
    up: bool = False
    told: bool = False  # that it is down
    barred: "list[_Line]" = field(default_factory=list)  # where its account has a subscription already
    gap: VenueError | None = None  # something for it could not be read
    failure: Exception | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, news: StreamNews) -> None:
        """Tell its reader; a reader that fails is its own user's trouble."""
        try:
            self.sink(news)
        except Exception as error:
            # Raised where this user's stream is awaited; the others on the connection go on.
            self.failure = error
            self.woken.set()

    def hear(self, event: Row) -> None:
        """An event of its account's."""
        try:
            news = spot.pushed(event)
        except Unreadable as error:
            self.gap = VenueSilent("unreadable", f"stream: {error}")
            self.woken.set()
            return
        for one in news:
            self.say(one)

    def rises(self) -> None:
        """It is subscribed."""
        if not self.up:
            self.up, self.told = True, False
            self.say(StreamUp())

    def falls(self, reason: VenueError) -> None:
        """It is not subscribed any more, or still not."""
        ban = reason if isinstance(reason, RateLimited) else None
        if self.up or not self.told or ban is not None:
            self.up, self.told = False, True
            self.say(StreamDown(str(reason), ban))


class _Line(WsLine):
    """Up to so many users, the connection they are on, and the one before while they move."""

    most_unreadable = 20  # a lost event is found by a sweep; hundreds of users are not cut off for it

    def __init__(self, transport: Transport, clock: Clock, url: str, tasks: TaskOwner) -> None:
        super().__init__(transport, clock, url, tasks)
        self.users: dict[_User, None] = {}
        self.link: _Link | None = None  # the current connection's
        self._links: dict[WsApi, _Link] = {}
        self._unheard_of: set[str] = set()  # kinds of events, each of them told once

    def came_up(self, api: WsApi) -> None:
        """Everybody moves there, one by one."""
        self.link = self._links[api] = _Link(api)
        self._wake()

    def went_down(self, api: WsApi, reason: VenueError) -> None:
        """A gap for whoever was on it."""
        for user in list(self._links.pop(api).users.values()):
            if user.link is not None and user.link.api is api:
                user.link = None
                user.falls(reason)
        self._wake()

    def failed(self, error: VenueError) -> None:
        """Still nothing, for whoever has nothing."""
        for user in list(self.users):
            if user.link is None:
                user.falls(error)

    def needs(self, api: WsApi) -> bool:
        """Is anybody still there?"""
        return any(user.link is not None and user.link.api is api for user in self.users)

    def hear(self, api: WsApi, number: str, event: Row) -> None:
        """One event, told to its user at once."""
        link = self._links[api]
        user = link.users.get(number)
        if event.get("e") == "eventStreamTerminated":
            self._terminated(link, number)
        elif user is None:
            self._orphan(link, number)
        else:
            user.hear(event)
            if (kind := spot.unknown_event(event)) is not None:
                self._tell_unknown(kind)

    def _tell_unknown(self, kind: str) -> None:
        if kind not in self._unheard_of and len(self._unheard_of) < MOST_KINDS:
            self._unheard_of.add(kind)
            _log.warning("event of a kind that nobody told us of: ignored", kind=kind)

    def unsubscribe(self, link: _Link, number: str) -> None:
        """Give a subscription back."""
        link.users.pop(number, None)
        self._tasks.spawn(self._unsubscribe(link, number), "unsubscribe")

    def _wake(self) -> None:
        for user in self.users:
            user.woken.set()

    def _terminated(self, link: _Link, number: str) -> None:
        """One user's subscription ended: a gap, of this user's (reliability 25)."""
        user = link.users.pop(number, None)
        if user is not None and user.link is link:
            user.link = None
            user.falls(VenueSilent("terminated", "the venue ended the subscription"))
            user.woken.set()

    def _orphan(self, link: _Link, number: str) -> None:
        """Nobody waits for it: the answer that told its number was lost, or its user has gone."""
        if number and not link.subscribing and not link.ended:
            self.unsubscribe(link, number)

    async def _unsubscribe(self, link: _Link, number: str) -> None:
        params = {"subscriptionId": int(number)}
        try:
            await link.api.call(_UNSUBSCRIBE, params, lambda _: None, seconds=ACK_SECONDS)
        except VenueError as error:
            _log.info("not unsubscribed", number=number, why=str(error))


class UserData:
    """The user data of one venue's accounts."""

    def __init__(self, transport: Transport, clock: Clock, url: str, sign: Sign) -> None:
        self._transport = transport
        self._clock = clock
        self._url = url
        self._sign = sign
        self._lines: list[_Line] = []
        self._tasks = TaskOwner("spot user data")
        self._turn = asyncio.Lock()
        self._next_turn = 0.0

    @property
    def connections(self) -> int:
        """How many lines there are, each of one connection or, while it is renewed, two."""
        return len(self._lines)

    async def run(self, credential: Credential, sink: StreamSink) -> NoReturn:
        """Keep one user's subscription up until cancelled. Raises what the sink raises."""
        user = _User(credential, sink, self._line_for([]))
        user.line.users[user] = None
        try:
            await self._keep(user)
        finally:
            self._leave(user)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._tasks.close()
        self._lines.clear()

    # ------------------------------------------------------------------ one user

    async def _keep(self, user: _User) -> NoReturn:
        failures = 0
        while True:
            user.woken.clear()
            if user.failure is not None:
                raise user.failure
            if user.gap is not None:
                await self._bridge(user)
                continue
            link = user.line.link
            if link is None or link.ended or link.worn or user.link is link:
                await user.woken.wait()
                continue
            try:
                subscribed = await self._subscribe(user, link)
            except VenueError as error:
                if error.code == _WORN:
                    link.worn = True
                    user.line.renew()
                elif error.code == _ACTIVE:
                    self._move(user)
                else:
                    if user.link is None:
                        user.falls(error)
                    await self._clock.sleep(wait_seconds(error, failures, self._clock))
                    failures += 1
            else:
                failures = 0 if subscribed else failures

    async def _subscribe(self, user: _User, link: _Link) -> bool:
        """In its turn; False when the connection was not the one any more by then."""
        async with self._turn:
            await self._clock.sleep(self._next_turn - self._clock.monotonic())
            if link.ended or user.line.link is not link:
                return False
            params = await self._sign(user.credential)
            self._next_turn = self._clock.monotonic() + SECONDS_BETWEEN
        link.subscribing += 1
        try:
            await link.api.call(
                _SUBSCRIBE, params, lambda result: self._subscribed(user, link, result), seconds=ACK_SECONDS
            )
        finally:
            link.subscribing -= 1
        return True

    def _subscribed(self, user: _User, link: _Link, result: Any) -> None:
        """The moment the answer is here: the next frame may be this user's already."""
        number = number_of(row_of(result, "result"), "subscriptionId")
        link.users[number] = user
        user.link, user.number = link, number
        user.rises()

    async def _bridge(self, user: _User) -> None:
        """What could not be read is lost like what was not pushed: there was a gap, of this user's."""
        reason, user.gap = user.gap, None
        assert reason is not None
        if user.up:
            user.falls(reason)
            await self._clock.sleep(wait_seconds(reason, 5, self._clock))
            if user.link is not None and not user.link.ended:
                user.rises()

    def _move(self, user: _User) -> None:
        """Its account is subscribed there: by another of its users, or in an answer that was lost."""
        user.barred.append(user.line)
        del user.barred[:-10]
        user.line.users.pop(user, None)
        self._end_if_empty(user.line)
        user.line = self._line_for(user.barred)
        user.line.users[user] = None

    def _leave(self, user: _User) -> None:
        link, user.link = user.link, None
        user.line.users.pop(user, None)
        if not self._end_if_empty(user.line) and link is not None and not link.ended:
            user.line.unsubscribe(link, user.number)

    # ------------------------------------------------------------------ lines

    def _line_for(self, barred: list[_Line]) -> _Line:
        for line in self._lines:
            if len(line.users) < USERS_A_SOCKET and line not in barred:
                return line
        line = _Line(self._transport, self._clock, self._url, self._tasks)
        self._lines.append(line)
        line.start()
        return line

    def _end_if_empty(self, line: _Line) -> bool:
        if line.users:
            return False
        if line in self._lines:
            self._lines.remove(line)
            line.stop()
        return True
