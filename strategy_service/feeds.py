"""One price stream and one order stream for the whole process, dispatched by callback.

Each feed owns its task, reconnects for ever with a short backoff, and says whether it is up.
Prices conflate to the newest; order news is resumed by sequence and never skipped: when the
sequence is no longer kept, it starts again with a snapshot (architecture 7).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from decimal import Decimal
from typing import Any

from otopilot import log
from otopilot.clock import Clock
from otopilot.money import ZERO
from otopilot.order import Order, UserId
from otopilot.position import User
from otopilot.quote import Quote
from otopilot.tasks import TaskOwner, restarted
from strategy_service.clients import CallFailed, MarketClient, OrderClient, PriceKey
from strategy_service.prices import Rise, Swing

_log = log.get("feeds")

_LEAST_BACKOFF_SECONDS = 0.1
_MOST_BACKOFF_SECONDS = 1.0
_HEARTBEAT_SECONDS = 3.0  # both services promise one a second
_CONFIRM_SECONDS = 0.5  # beat of the look at ages
_AGING_SECONDS = 1.0  # older than this, a price is asked for singly
_MOST_AT_ONCE = 50
_SILENCE_SECONDS = 10.0  # a stream without any message is given up

OnPrice = Callable[[], None]


class Watched:
    """One symbol's newest price, its swings, and who wants to hear of it."""

    def __init__(self) -> None:
        self.quote: Quote | None = None
        self.listeners: dict[object, OnPrice] = {}
        self.swings: dict[Decimal, Swing] = {}
        self.rise = Rise()


class PriceFeed:
    """Prices of every symbol somebody listens to."""

    def __init__(self, market: MarketClient, clock: Clock) -> None:
        self._market = market
        self._clock = clock
        self._watched: dict[PriceKey, Watched] = {}
        self._changed = asyncio.Event()
        self._tasks = TaskOwner("price feed")
        self._heard_at = float("-inf")
        self.error = ""

    def open(self) -> None:
        """Start the stream's task."""
        for work in (self._run, self._keep_young):
            self._tasks.spawn(restarted(work, self._clock, "price feed"), "price feed")

    async def aclose(self) -> None:
        """End it."""
        await self._tasks.close()

    @property
    def up(self) -> bool:
        """Was the market service heard of within three seconds?"""
        return self._clock.monotonic() - self._heard_at < _HEARTBEAT_SECONDS

    def listen(self, key: PriceKey, window_seconds: Decimal, listener: object, on_price: OnPrice) -> None:
        """Call back on each new price of the symbol; keep its swing over the window."""
        watched = self._watched.get(key)
        if watched is None:
            if not self._watched:  # nobody was to be heard of: the first beats are waited for
                self._heard_at = self._clock.monotonic()
            watched = self._watched[key] = Watched()
            self._changed.set()
        watched.listeners[listener] = on_price
        watched.swings.setdefault(window_seconds, Swing(float(window_seconds)))

    def forget(self, key: PriceKey, listener: object) -> None:
        """Call it no more; a symbol nobody listens to leaves the stream."""
        watched = self._watched.get(key)
        if watched is None:
            return
        watched.listeners.pop(listener, None)
        if not watched.listeners:
            del self._watched[key]
            self._changed.set()

    def quote(self, key: PriceKey) -> Quote | None:
        """The newest price."""
        watched = self._watched.get(key)
        return watched.quote if watched is not None else None

    def swing(self, key: PriceKey, window: Decimal) -> Decimal:
        """(max - min) / min over the window, in percent."""
        watched = self._watched.get(key)
        swing = watched.swings.get(window) if watched is not None else None
        return swing.percentage(self._clock.monotonic()) if swing is not None else ZERO

    def rise(self, key: PriceKey) -> Decimal:
        """How much the price rose in the last moments, in percent."""
        watched = self._watched.get(key)
        return watched.rise.percentage() if watched is not None else ZERO

    async def _run(self) -> None:
        backoff = _LEAST_BACKOFF_SECONDS
        while True:
            self._changed.clear()
            keys = sorted(self._watched)
            if not keys:
                await self._changed.wait()
                continue
            reading = asyncio.ensure_future(self._read(keys))
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({reading, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _end([changed, reading])
            if self._changed.is_set():
                backoff = _LEAST_BACKOFF_SECONDS
                continue
            await self._clock.sleep(backoff)
            backoff = min(_MOST_BACKOFF_SECONDS, backoff * 2)

    async def _read(self, keys: list[PriceKey]) -> None:
        try:
            async with aclosing(self._market.watch(keys)) as stream:  # type: ignore[type-var]
                async for batch in _until_silent(stream):
                    self._heard_at, self.error = self._clock.monotonic(), ""
                    for quote in batch:
                        self.take(quote)
        except (CallFailed, ValueError, TimeoutError) as error:
            self.error = str(error) or "no heartbeat"
            _log.warning("price stream broke", error=self.error)

    async def _keep_young(self) -> None:
        """A price that did not change is not sent again: ask for it before it counts as old."""
        while True:
            await self._clock.sleep(_CONFIRM_SECONDS)
            now = self._clock.now()
            aging = [
                key
                for key, watched in self._watched.items()
                if watched.quote is None or watched.quote.age(now).total_seconds() > _AGING_SECONDS
            ]
            await asyncio.gather(*(self._confirm(key) for key in aging[:_MOST_AT_ONCE]))

    async def _confirm(self, key: PriceKey) -> None:
        with suppress(CallFailed, ValueError):  # the price stays old, which the loops see
            quote = await self._market.price(key)
            self._heard_at, self.error = self._clock.monotonic(), ""
            self.take(quote)

    def take(self, quote: Quote) -> None:
        """A price, from whichever way; an older confirmation than the known one says nothing."""
        watched = self._watched.get(PriceKey(quote.venue, quote.symbol))
        if watched is None:
            return
        if watched.quote is not None and quote.confirmed_at < watched.quote.confirmed_at:
            return
        watched.quote = quote
        now = self._clock.monotonic()
        watched.rise.add(now, quote.price)
        for swing in watched.swings.values():
            swing.add(now, quote.price)
        for on_price in list(watched.listeners.values()):
            on_price()


class OrderListener:
    """What a loop is told by the order stream. A base for fakes and loops alike."""

    def on_order(self, order: Order) -> None:
        """An order of its user changed."""

    def on_user(self, user: User) -> None:
        """Its user's condition changed."""

    def on_ask_again(self) -> None:
        """A denied request may now pass."""


class OrderFeed:
    """Order news of every user, for those who listen."""

    def __init__(self, orders: OrderClient, clock: Clock, on_connected: Callable[[], None]) -> None:
        self._orders = orders
        self._clock = clock
        self._on_connected = on_connected
        self._listeners: dict[UserId, list[OrderListener]] = {}
        self._tasks = TaskOwner("order feed")
        self._sequence = 0
        self.up = False
        self.error = ""

    def open(self) -> None:
        """Start the stream's task."""
        self._tasks.spawn(restarted(self._run, self._clock, "order feed"), "order feed")

    async def aclose(self) -> None:
        """End it."""
        await self._tasks.close()

    def listen(self, user_id: UserId, listener: OrderListener) -> None:
        """Tell it about the user's orders."""
        self._listeners.setdefault(user_id, []).append(listener)

    def forget(self, user_id: UserId, listener: OrderListener) -> None:
        """Tell it no more."""
        listeners = self._listeners.get(user_id, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            self._listeners.pop(user_id, None)

    async def _run(self) -> None:
        backoff = _LEAST_BACKOFF_SECONDS
        while True:
            try:
                if await self._read():
                    backoff = _LEAST_BACKOFF_SECONDS
            except (CallFailed, ValueError, TimeoutError) as error:
                # RESOURCE_EXHAUSTED means resume; only when that is too late is there a new snapshot.
                if isinstance(error, CallFailed) and error.code == "OUT_OF_RANGE":
                    self._sequence = 0
                self.error = str(error) or "no heartbeat"
                _log.warning("order stream broke", error=self.error)
            finally:
                self.up = False
            await self._clock.sleep(backoff)
            backoff = min(_MOST_BACKOFF_SECONDS, backoff * 2)

    async def _read(self) -> bool:
        connected = False
        stream: Any = self._orders.watch(self._sequence)
        async with aclosing(stream):
            async for news in _until_silent(stream):
                if not connected:
                    connected, self.up, self.error = True, True, ""
                    self._on_connected()
                self._dispatch(news.order, news.user, news.ask_again)
                # A snapshot is whole only with its last item; resuming inside it would lose the rest.
                if not news.snapshot:
                    self._sequence = max(self._sequence, news.sequence)
        return connected

    def _dispatch(self, order: Order | None, user: User | None, ask_again: tuple[UserId, ...]) -> None:
        if order is not None:
            for listener in list(self._listeners.get(order.user_id, ())):
                listener.on_order(order)
        if user is not None:
            for listener in list(self._listeners.get(user.user_id, ())):
                listener.on_user(user)
        for user_id in ask_again:
            for listener in list(self._listeners.get(user_id, ())):
                listener.on_ask_again()


async def _until_silent(stream: Any) -> AsyncIterator[Any]:
    """The stream's items; TimeoutError when none comes for too long (a half-open connection)."""
    while True:
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                item = await anext(stream)
        except StopAsyncIteration:
            return
        yield item


async def _end(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
