"""What the venue's database knows by now: reads from it can lag behind writes (binance-spot 1.2).

Off unless `database_lag_seconds` says otherwise. Then it keeps the states that orders and lists
went through within the lag, as the exchange's events told them; what a restart forgot is told as
it is.
"""

from collections import deque
from typing import Generic, TypeVar

from paper_exchange.exchange import Exchange
from paper_exchange.market import Market
from paper_exchange.model import Event, ListEvent, Order, OrderEvent, OrderList
from paper_exchange.tape import Tape

T = TypeVar("T")


class _Past(Generic[T]):
    """Each record's states since the newest one that is told already."""

    def __init__(self) -> None:
        self._states: dict[int, deque[tuple[int, T]]] = {}

    def see(self, key: int, state: T, time_ms: int, told_ms: int) -> None:
        states = self._states.setdefault(key, deque())
        states.append((time_ms, state))
        while len(states) > 1 and states[1][0] <= told_ms:
            states.popleft()

    def known(self, key: int, told_ms: int, created_ms: int, now: T) -> T | None:
        """The record as it was then; None if it was not there."""
        if created_ms > told_ms:
            return None
        states = self._states.get(key, ())
        past = [state for time_ms, state in states if time_ms <= told_ms]
        return past[-1] if past else now


class SpotDatabase:
    """Records as they were so long ago."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._lag_ms = int(exchange.state.config.spot.database_lag_seconds * 1000)
        self._orders: _Past[Order] = _Past()
        self._lists: _Past[OrderList] = _Past()

    @property
    def told_ms(self) -> int:
        """Up to when the database has taken in what happened."""
        return self._exchange.now_ms - self._lag_ms

    def see(self, events: list[Event]) -> None:
        if not self._lag_ms:
            return
        for event in events:
            if isinstance(event, OrderEvent):
                self._orders.see(event.order.order_id, event.order, event.time_ms, self.told_ms)
            elif isinstance(event, ListEvent):
                self._lists.see(event.order_list.list_id, event.order_list, event.time_ms, self.told_ms)

    def tape(self, market: Market) -> Tape:
        """Public trades and candles as far as they are taken in."""
        return market.tape.up_to(self.told_ms) if self._lag_ms else market.tape

    def order(self, order: Order) -> Order | None:
        if not self._lag_ms:
            return order
        return self._orders.known(order.order_id, self.told_ms, order.created_ms, order)

    def order_list(self, found: OrderList) -> OrderList | None:
        if not self._lag_ms:
            return found
        return self._lists.known(found.list_id, self.told_ms, found.created_ms, found)
