"""An account behind its venue's breaker: during a ban nothing leaves, whoever asks (architecture 5.4, 7).

Callers wait for the budget before they begin; this holds also for what they had begun.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from order_service.rate_budget import RateBudget
from order_service.venues.port import (
    Account,
    AssetBalance,
    FeeRates,
    Placed,
    RateLimited,
    StreamSink,
    VenueNotReached,
    VenueOrder,
)
from otopilot.order import LegRole, Order, Trade, VenueOrderId

T = TypeVar("T")


class GatedAccount:
    """An Account that notes bans and keeps them. Calls raise RateLimited while one is in force."""

    def __init__(self, account: Account, budget: RateBudget) -> None:
        self._account = account
        self._budget = budget

    async def place(self, order: Order) -> Placed:
        """As the account's; VenueNotReached during a ban."""
        until = self._budget.closed_until()
        if until is not None:
            raise VenueNotReached("banned", f"the venue takes no requests before {until.isoformat()}")
        return await self._ask(lambda: self._account.place(order))

    async def cancel(self, order: Order, role: LegRole) -> None:
        """As the account's."""
        await self._ask(lambda: self._account.cancel(order, role))

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """As the account's."""
        return await self._ask(lambda: self._account.open_orders(symbol))

    async def order_history(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """As the account's."""
        return await self._ask(lambda: self._account.order_history(symbol, since))

    async def look_up(self, order: Order, role: LegRole) -> VenueOrder | None:
        """As the account's."""
        return await self._ask(lambda: self._account.look_up(order, role))

    async def trades_of(self, symbol: str, venue_order_id: VenueOrderId) -> tuple[Trade, ...]:
        """As the account's."""
        return await self._ask(lambda: self._account.trades_of(symbol, venue_order_id))

    async def trades_since(self, symbol: str, since: datetime) -> tuple[Trade, ...]:
        """As the account's."""
        return await self._ask(lambda: self._account.trades_since(symbol, since))

    async def balances(self) -> tuple[AssetBalance, ...]:
        """As the account's."""
        return await self._ask(self._account.balances)

    async def fee_rates(self, symbol: str) -> FeeRates:
        """As the account's."""
        return await self._ask(lambda: self._account.fee_rates(symbol))

    async def run_stream(self, sink: StreamSink) -> None:
        """As the account's: it waits out a ban by itself."""
        await self._account.run_stream(sink)

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        until = self._budget.closed_until()
        if until is not None:
            raise RateLimited("banned", f"the venue takes no requests before {until.isoformat()}", until)
        try:
            return await call()
        except RateLimited as refusal:
            self._budget.close_until(refusal)
            raise
