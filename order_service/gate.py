"""What stands between a venue's adapter and the world: the budget, for each call and at the very door.

A GatedAccount takes each call's permit from the budget, by its priority, and notes bans and counts; a
GatedTransport lets nothing out during a ban, whoever asks: public reads and connects, too
(architecture 5.4, 5.9, reliability 5, 6, 27).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from order_service.rate_budget import Priority, RateBudget
from order_service.venues.further import permitted
from order_service.venues.port import (
    Account,
    AssetBalance,
    FeeRates,
    Placed,
    RateLimited,
    Response,
    Socket,
    StreamDown,
    StreamNews,
    StreamSink,
    TooManyOrders,
    TradePushed,
    Transport,
    VenueBusy,
    VenueNotReached,
    VenueOrder,
    VenueSilent,
)
from otopilot.clock import Clock
from otopilot.order import LegRole, Order, Trade, UserId, VenueOrderId

T = TypeVar("T")

MOST_AHEAD = timedelta(minutes=5)  # of a venue's clock (reliability 60)


class GatedAccount:
    """An Account that keeps to the budget. Calls raise RateLimited while a ban is in force."""

    def __init__(
        self, account: Account, budget: RateBudget, user_id: UserId, reads: Priority = Priority.DOUBT
    ) -> None:
        self._account = account
        self._budget = budget
        self._user_id = user_id
        self._reads = reads

    def at(self, reads: Priority) -> "GatedAccount":
        """The same account, its reads at another priority."""
        return GatedAccount(self._account, self._budget, self._user_id, reads)

    async def place(self, order: Order) -> Placed:
        """As the account's, under the permit taken before; VenueNotReached during a ban."""
        until = self._budget.closed_until()
        if until is not None:
            raise VenueNotReached("banned", f"the venue takes no requests before {until.isoformat()}")
        try:
            placed = await self._account.place(order)
        except RateLimited as ban:
            self._budget.close_until(ban)
            raise
        except TooManyOrders as refusal:
            self._budget.too_many_orders(self._user_id, refusal)
            raise
        except VenueBusy as busy:
            self._budget.hold_placements(busy)
            raise
        self._budget.heard_orders(self._user_id, dict(placed.order_counts))
        return placed

    async def cancel(self, order: Order, role: LegRole, wanted: Callable[[], bool] = lambda: True) -> None:
        """As the account's; nothing is sent if it is not `wanted` any more once the permit is there."""

        async def send() -> None:
            if wanted():
                await self._account.cancel(order, role)

        await self._ask("cancel", send, Priority.CANCEL)

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """As the account's."""
        return await self._ask("open_orders", lambda: self._account.open_orders(symbol))

    async def order_history(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """As the account's."""
        return await self._ask("order_history", lambda: self._account.order_history(symbol, since))

    async def look_up(self, order: Order, role: LegRole) -> VenueOrder | None:
        """As the account's."""
        return await self._ask("look_up", lambda: self._account.look_up(order, role))

    async def trades_of(self, symbol: str, venue_order_id: VenueOrderId) -> tuple[Trade, ...]:
        """As the account's."""
        trades = await self._ask("trades_of", lambda: self._account.trades_of(symbol, venue_order_id))
        return self._not_yet_to_come(trades)

    async def trades_since(self, symbol: str, since: datetime) -> tuple[Trade, ...]:
        """As the account's."""
        trades = await self._ask("trades_since", lambda: self._account.trades_since(symbol, since))
        return self._not_yet_to_come(trades)

    async def balances(self) -> tuple[AssetBalance, ...]:
        """As the account's."""
        return await self._ask("balances", self._account.balances)

    async def fee_rates(self, symbol: str) -> FeeRates:
        """As the account's."""
        return await self._ask("fee_rates", lambda: self._account.fee_rates(symbol))

    async def order_limits(self, symbol: str) -> Mapping[str, Decimal]:
        """As the account's."""
        return await self._ask("order_limits", lambda: self._account.order_limits(symbol))

    async def run_stream(self, sink: StreamSink) -> None:
        """As the account's: it waits out a ban by itself, and tells of one it meets."""

        def hear(news: StreamNews) -> None:
            if isinstance(news, StreamDown) and news.ban is not None:
                self._budget.close_until(news.ban)
            if isinstance(news, TradePushed) and self._is_yet_to_come(news.trade):
                return  # it is read with the others
            sink(news)

        await self._account.run_stream(hear)

    def _not_yet_to_come(self, trades: tuple[Trade, ...]) -> tuple[Trade, ...]:
        """A trade's time decides the day that it counts in: one of the future is believed by nobody."""
        if any(map(self._is_yet_to_come, trades)):
            raise VenueSilent("future", "the venue tells of a trade that is yet to come")
        return trades

    def _is_yet_to_come(self, trade: Trade) -> bool:
        return trade.traded_at > self._budget.now() + MOST_AHEAD

    async def _ask(self, name: str, call: Callable[[], Awaitable[T]], priority: Priority | None = None) -> T:
        self._refuse_if_closed()
        weight = self._budget.limits.weights.get(name, 1)
        pace = self._reads if priority is None else priority

        async def another() -> None:
            self._refuse_if_closed()
            await self._budget.take(pace, weight)

        async with self._budget.request(pace, weight):
            try:
                with permitted(another):
                    return await call()
            except RateLimited as refusal:
                self._budget.close_until(refusal)
                raise
            except VenueBusy as busy:
                self._budget.hold_placements(busy)
                raise

    def _refuse_if_closed(self) -> None:
        until = self._budget.closed_until()
        if until is not None:
            raise RateLimited("banned", f"the venue takes no requests before {until.isoformat()}", until)


class GatedTransport:
    """A Transport that counts what leaves, hears what the venue says of its limits, and keeps bans."""

    def __init__(self, transport: Transport, budget: RateBudget, clock: Clock) -> None:
        self._transport = transport
        self._budget = budget
        self._clock = clock

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_seconds: float,
        not_after: datetime | None = None,
    ) -> Response:
        """As the transport's; VenueNotReached during a ban."""
        self._budget.count_request()
        response = await self._transport.request(
            method, url, headers=headers, body=body, timeout_seconds=timeout_seconds, not_after=not_after
        )
        ban = self._budget.limits.ban(response, self._clock.now())
        if ban is not None:
            self._budget.close_until(ban)
        used = self._budget.limits.used_weight(response)
        if used is not None:
            self._budget.heard_used(used)
        return response

    async def connect(self, url: str) -> Socket:
        """As the transport's; VenueNotReached during a ban and beyond the limit of connections."""
        self._budget.count_connect()
        try:
            return _GatedSocket(await self._transport.connect(url), self._budget)
        except RateLimited as ban:
            self._budget.close_until(ban)
            raise

    def heard(self, used_weight: int | None, ban: RateLimited | None) -> None:
        """An answer over a WebSocket told of limits."""
        if ban is not None:
            self._budget.close_until(ban)
        if used_weight is not None:
            self._budget.heard_used(used_weight)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


class _GatedSocket:
    """A Socket on which nothing is sent during a ban."""

    def __init__(self, socket: Socket, budget: RateBudget) -> None:
        self._socket = socket
        self._budget = budget

    async def send(self, text: str) -> None:
        """As the socket's; VenueNotReached during a ban."""
        until = self._budget.closed_until()
        if until is not None:
            raise VenueNotReached("banned", f"the venue takes no requests before {until.isoformat()}")
        await self._socket.send(text)

    def __aiter__(self) -> AsyncIterator[str]:
        return self._socket.__aiter__()

    async def close(self) -> None:
        """Close it."""
        await self._socket.close()
