"""The world in memory, its counters and indices, and what one step changed.

The one place that hands changes to the store and events to the sink, in that order: flush() makes
everything a step did durable before anybody hears of it.
"""

import copy
import random
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import msgspec

from paper_exchange.accounts import Accounts, free_of, locked_of
from paper_exchange.config import Config, VenueSettings
from paper_exchange.market import Market, MarketRecord
from paper_exchange.model import (
    OPEN,
    Account,
    AggTrade,
    BalanceEvent,
    Event,
    Execution,
    Fill,
    ListEvent,
    Order,
    OrderEvent,
    OrderList,
    PreventedMatch,
)
from paper_exchange.oracle import Oracle
from paper_exchange.store import Store
from paper_exchange.tape import CANDLES_KEPT, MINUTE_MS, TRADES_KEPT, Candle

T = TypeVar("T")
Sink = Callable[[list[Event]], None]


class WorldRecord(msgspec.Struct):
    """The world's identity and counters; ids start where the venue's samples stand."""

    world_id: str
    path_seed: str
    boots: int = 0
    frozen: bool = False
    order_id: int = 50_000_000
    list_id: int = 90_000_000
    fill_id: int = 59_100_000_000
    sweep_id: int = 800_000
    event_id: int = 12_500_000_000
    priority: int = 0


class State:
    """Everything the exchange knows. Engine and exchange act on it; nobody else writes."""

    def __init__(
        self, config: Config, store: Store, rng: random.Random, world_id: str, now_ms: int, sink: Sink
    ) -> None:
        self.config = config
        self.rng = rng
        self.now_ms = now_ms
        self._store = store
        self._sink = sink
        self._changed: dict[tuple[str, str], msgspec.Struct] = {}
        self._events: list[Event] = []
        self._touched: dict[str, dict[str, None]] = {}
        worlds = self._load("world", WorldRecord)
        self.world = worlds[0] if worlds else WorldRecord(world_id, f"{rng.getrandbits(64):016x}")
        self.world.boots += 1
        self.accounts = Accounts(self._load("account", Account))
        self._restore_orders()
        self._restore_markets()
        self.oracle = Oracle(self.accounts)
        self.oracle.replay(self.fills, self.orders)
        self.touch_world()

    def _load(self, kind: str, shape: type[T]) -> list[T]:
        return [msgspec.json.decode(body, type=shape) for body in self._store.load(kind)]

    def _restore_orders(self) -> None:
        self.orders: dict[int, Order] = {}
        self.lists = {found.list_id: found for found in self._load("list", OrderList)}
        self.by_account: dict[str, list[Order]] = defaultdict(list)
        self.open: dict[str, dict[int, Order]] = defaultdict(dict)
        known = {instrument.symbol for instrument in self.config.instruments}
        for order in sorted(self._load("order", Order), key=lambda o: o.order_id):
            if order.symbol not in known:
                raise ValueError(f"it has orders on {order.symbol}, which the configuration lacks")
            self.index(order)
        self.fills = sorted(self._load("fill", Fill), key=lambda f: f.fill_id)
        self.fills_of_order: dict[int, list[Fill]] = defaultdict(list)
        self.fills_of_account: dict[str, list[Fill]] = defaultdict(list)
        for fill in self.fills:
            self.fills_of_order[fill.order_id].append(fill)
            self.fills_of_account[fill.account].append(fill)

    def _restore_markets(self) -> None:
        records = {record.symbol: record for record in self._load("market", MarketRecord)}
        trades, candles = self._load("trade", AggTrade), self._load("candle", Candle)
        self.markets = {
            instrument.symbol: Market(
                instrument,
                self.world.path_seed,
                records.get(instrument.symbol),
                [trade for trade in trades if trade.symbol == instrument.symbol],
                [candle for candle in candles if candle.symbol == instrument.symbol],
                self.now_ms,
            )
            for instrument in self.config.instruments
        }

    def index(self, order: Order) -> None:
        """Make an order findable."""
        self.orders[order.order_id] = order
        self.by_account[order.account].append(order)
        if order.status in OPEN:
            self.open[order.account][order.order_id] = order

    def settings(self, symbol: str) -> VenueSettings:
        return self.config.venue(self.markets[symbol].instrument.venue)

    def legs(self, order_list: OrderList) -> tuple[Order, Order]:
        return self.orders[order_list.working_id], self.orders[order_list.pending_id]

    # What a step changed.

    def touch_world(self) -> None:
        self._changed["world", ""] = self.world

    def touch_market(self, market: Market) -> None:
        market.record.update_id = market.book.update_id
        self._changed["market", market.record.symbol] = market.record

    def touch_order(self, order: Order) -> None:
        if order.status not in OPEN:
            self.open[order.account].pop(order.order_id, None)
        self._changed["order", str(order.order_id)] = order

    def touch_list(self, order_list: OrderList) -> None:
        self._changed["list", str(order_list.list_id)] = order_list

    def touch_account(self, account: Account, *assets: str) -> None:
        self._changed["account", account.key] = account
        if assets:
            self._touched.setdefault(account.key, {}).update(dict.fromkeys(assets))

    def add_fill(self, fill: Fill) -> None:
        self.fills.append(fill)
        self.fills_of_order[fill.order_id].append(fill)
        self.fills_of_account[fill.account].append(fill)
        self._changed["fill", str(fill.fill_id)] = fill

    def add_trade(self, market: Market, trade: AggTrade) -> None:
        """Print a public trade; the disk keeps a ring of them."""
        candle = market.tape.add(trade)
        self._changed["trade", f"{trade.symbol}/{trade.agg_id % TRADES_KEPT}"] = trade
        minute = candle.open_ms // MINUTE_MS % CANDLES_KEPT
        self._changed["candle", f"{trade.symbol}/{minute}"] = candle
        self._events.append(trade)

    # What a step tells.

    def announce(self, event: Event) -> None:
        self._events.append(event)

    def announce_order(
        self,
        order: Order,
        execution: Execution,
        fill: Fill | None = None,
        prevention: PreventedMatch | None = None,
    ) -> None:
        self.world.event_id += 1
        order.updated_ms = self.now_ms
        self._changed["order", str(order.order_id)] = order
        snapshot = copy.copy(order)
        event_id = self.world.event_id
        self._events.append(OrderEvent(snapshot, execution, fill, event_id, self.now_ms, prevention))

    def announce_list(self, order_list: OrderList, *, updated: bool = False) -> None:
        working, pending = self.legs(order_list)
        snapshot = (copy.copy(order_list), copy.copy(working), copy.copy(pending))
        self._events.append(ListEvent(*snapshot, self.now_ms, updated))

    def flush(self) -> None:
        """Make the step durable, then tell of it."""
        for key, assets in self._touched.items():
            account = self.accounts.owner(key)
            balances: dict[str, tuple[Decimal, Decimal]] = {
                asset: (free_of(account, asset), locked_of(account, asset)) for asset in assets
            }
            self._events.append(BalanceEvent(key, balances, self.now_ms))
        self._touched = {}
        if self._changed:
            self.touch_world()
            changed, self._changed = self._changed, {}
            self._store.save(changed)
        events, self._events = self._events, []
        if events:
            self._sink(events)
