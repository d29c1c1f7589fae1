"""The exchange itself: what may be asked of it, and how its time passes.

Synchronous and without a clock: `advance(now_ms)` executes everything due by then (path ticks,
house quotes, orders reaching the book) and `next_due()` says when it next wants to be called.
Each entry point ends by making its step durable and only then tells the sink. Refused means
nothing changed.
"""

import copy
import heapq
import random
from decimal import Decimal
from typing import NamedTuple

from paper_exchange.accounts import credit, free_of
from paper_exchange.config import Config, Instrument
from paper_exchange.engine import Engine
from paper_exchange.faults import Faults, Scope
from paper_exchange.filters import check_order, check_price
from paper_exchange.market import Market
from paper_exchange.model import (
    OPEN,
    Account,
    BalanceEvent,
    NewList,
    NewOrder,
    Order,
    OrderList,
    Refusal,
    Refused,
    Status,
    VenueName,
)
from paper_exchange.numbers import ZERO
from paper_exchange.state import Sink, State
from paper_exchange.store import Store


class PlacedList(NamedTuple):
    """A list as the placement answer shows it: before any release."""

    order_list: OrderList
    working: Order
    pending: Order


class Exchange:
    """Owns the world's state, its engine and the queue of orders on their way to the book."""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        rng: random.Random,
        world_id: str,
        now_ms: int,
        sink: Sink,
        faults: Faults,
    ) -> None:
        self.state = State(config, store, rng, world_id, now_ms, sink)
        self.faults = faults
        self._engine = Engine(self.state)
        self._arrivals: list[tuple[int, int]] = []
        self._resume()
        self.state.flush()

    @property
    def now_ms(self) -> int:
        return self.state.now_ms

    # Time.

    def next_due(self) -> int | None:
        """When something happens by itself next; None while frozen."""
        if self.state.world.frozen:
            return None
        dues = [market.record.next_tick_ms for market in self.state.markets.values()]
        if self._arrivals:
            dues.append(self._arrivals[0][0])
        return min(dues)

    def advance(self, now_ms: int) -> None:
        """Execute everything due by now, in order; time never goes back."""
        self._skip_lost_ticks(now_ms)
        while (due := self.next_due()) is not None and due <= now_ms:
            self.state.now_ms = max(self.state.now_ms, due)
            self._run(due)
        self.state.now_ms = max(self.state.now_ms, now_ms)
        self.state.flush()

    def freeze(self) -> None:
        """Matching and price paths stand still; queries, cancels and acceptance go on."""
        self.state.world.frozen = True
        self.state.touch_world()
        self.state.flush()

    def unfreeze(self) -> None:
        if self.state.world.frozen:
            self.state.world.frozen = False
            self.state.touch_world()
            self._restart_time()
            self.state.flush()

    def pin_price(self, symbol: str, price: Decimal | None) -> None:
        """Hold the path at a price from its next tick on; None lets it go."""
        market = self.market(symbol)
        if price is not None:
            check_price(market.instrument, price, None)
        market.record.path.pinned = price
        self.state.touch_market(market)
        self.state.flush()

    # Accounts.

    def open_account(
        self, user_id: str, venue: VenueName, *, managed: bool, balances: dict[str, Decimal] | None = None
    ) -> Account:
        """The user's account, made with these (or the configured) balances if it is new."""
        account, fresh = self.state.accounts.open(
            user_id,
            venue,
            managed=managed,
            balances=self.state.config.venue(venue).default_balances if balances is None else balances,
            now_ms=self.state.now_ms,
            mint=self.state.rng,
            world_id=self.state.world.world_id,
        )
        if fresh:
            self.state.touch_account(account)
            self.state.flush()
        return account

    def deposit(self, account: Account, asset: str, amount: Decimal) -> None:
        """Add free funds; a negative amount withdraws, and Refused says it is not there."""
        credit(account, asset, amount)
        self.state.touch_account(account)
        balance = (account.free[asset], account.locked.get(asset, ZERO))
        self.state.announce(BalanceEvent(account.key, {asset: balance}, self.now_ms, deposit=amount))
        self.state.flush()

    def save_account(self, account: Account) -> None:
        """Make a change of an account's own settings durable."""
        self.state.touch_account(account)
        self.state.flush()

    # Orders.

    def market(self, symbol: str, venue: VenueName | None = None) -> Market:
        market = self.state.markets.get(symbol)
        if market is None or venue not in (None, market.instrument.venue):
            raise Refused(Refusal.UNKNOWN_SYMBOL, symbol)
        return market

    def is_withdrawn(self, symbol: str) -> tuple[bool, bool]:
        """Whether buying, and whether selling, is closed on the symbol."""
        scope = Scope(self.state.markets[symbol].instrument.venue, symbol=symbol)
        no_selling = self.faults.holds("offsell", scope)
        return no_selling or self.faults.holds("delist", scope), no_selling

    def place(self, account: Account, terms: NewOrder) -> Order:
        """Accept an order; its state when the answer leaves."""
        market = self.market(terms.symbol, account.venue)
        self._check(market, account, terms)
        self._check_counts(market.instrument, account, orders=1, lists=0)
        if terms.kind == "LIMIT_MAKER" and self._engine.would_match(terms.symbol, terms.side, terms.price):
            raise Refused(Refusal.WOULD_MATCH)
        order = self._new_order(account, terms, Status.NEW)
        self._engine.lock_funds(order)
        self._accept(order)
        self._enter(order)
        answer = copy.copy(order)
        self._settle_releases()
        self.state.flush()
        return answer

    def place_list(self, account: Account, terms: NewList) -> PlacedList:
        """Accept a working and a pending leg; both are checked before either exists."""
        working, pending, order_list = self._new_list(account, terms)
        self._engine.lock_funds(working)
        if pending.quantity and self.state.settings(working.symbol).reserve_pending:
            self._engine.lock_funds(pending)
        self.state.lists[order_list.list_id] = order_list
        self.state.touch_list(order_list)
        self._accept(working)
        self._accept(pending)
        self.state.announce_list(order_list)
        self._enter(working)
        answer = PlacedList(copy.copy(order_list), copy.copy(working), copy.copy(pending))
        self._settle_releases()
        self.state.flush()
        return answer

    def cancel(self, order: Order, new_client_id: str = "") -> list[Order]:
        """Cancel an order and, before its list's trigger, the other leg; what ended, as it ended."""
        if order.status not in OPEN:
            raise Refused(Refusal.UNKNOWN_ORDER)
        settings = self.state.settings(order.symbol)
        if order.status is Status.PENDING and settings.cancel_pending_before_trigger == "refuse":
            raise Refused(Refusal.PENDING_NOT_CANCELLABLE)
        legs = [order]
        if order.list_id is not None:
            legs = [leg for leg in self.state.legs(self.state.lists[order.list_id]) if leg.status in OPEN]
        if new_client_id:
            for leg in legs:
                leg.original_client_id, leg.client_id = leg.client_id, new_client_id
        self._engine.end(order, Status.CANCELED)
        self._settle_releases()
        self.state.flush()
        return [copy.copy(leg) for leg in legs if leg.status not in OPEN]

    def cancel_all(self, account: Account, symbol: str | None = None) -> list[Order]:
        """Cancel every open order of the account (of the symbol)."""
        ended = []
        for order in self.open_orders(account, symbol):
            if order.status in OPEN and order.leg != "pending":
                ended += self.cancel(order)
        for order in self.open_orders(account, symbol):
            if order.status in OPEN:
                ended += self.cancel(order)
        return ended

    def open_orders(self, account: Account, symbol: str | None = None) -> list[Order]:
        """Open orders, pending legs included, oldest first."""
        return [o for o in self.state.open[account.key].values() if symbol in (None, o.symbol)]

    def order(self, account: Account, order_id: int) -> Order | None:
        """One of the account's orders."""
        order = self.state.orders.get(order_id)
        return order if order is not None and order.account == account.key else None

    def mint_hex(self, digits: int) -> str:
        """Fresh hex for a client id or a key."""
        return f"{self.state.rng.getrandbits(digits * 4):0{digits}x}"

    # Acceptance.

    def _check(self, market: Market, account: Account, terms: NewOrder) -> None:
        no_buying, no_selling = self.is_withdrawn(terms.symbol)
        if no_buying if terms.side == "BUY" else no_selling:
            raise Refused(Refusal.NOT_TRADING)
        check_order(market.instrument, terms, market.last_price)
        self._check_client_id(account, terms.client_id)

    def _check_client_id(self, account: Account, client_id: str) -> None:
        # Unique among open orders only, so no idempotency key (binance-spot 3.4).
        if client_id and any(o.client_id == client_id for o in self.state.open[account.key].values()):
            raise Refused(Refusal.DUPLICATE_CLIENT_ID)

    def _check_counts(self, instrument: Instrument, account: Account, *, orders: int, lists: int) -> None:
        standing = self.open_orders(account, instrument.symbol)
        if len(standing) + orders > instrument.max_num_orders:
            raise Refused(Refusal.MAX_NUM_ORDERS)
        if not lists or instrument.venue == "alpha":
            return
        open_lists = {order.list_id for order in standing if order.list_id is not None}
        if len(open_lists) + lists > instrument.max_num_order_lists:
            raise Refused(Refusal.MAX_NUM_ORDER_LISTS)

    def _new_order(self, account: Account, terms: NewOrder, status: Status) -> Order:
        now = self.state.now_ms
        self.state.world.order_id += 1
        return Order(
            order_id=self.state.world.order_id,
            account=account.key,
            symbol=terms.symbol,
            side=terms.side,
            price=terms.price,
            quantity=terms.quantity,
            status=status,
            created_ms=now,
            updated_ms=now,
            client_id=terms.client_id,
            kind=terms.kind,
            time_in_force=terms.time_in_force,
            stp=terms.stp,
            working_ms=now if status is Status.NEW else None,
            strategy=dict(terms.strategy),
        )

    def _new_list(self, account: Account, terms: NewList) -> tuple[Order, Order, OrderList]:
        """Check everything about a list, then make its records; nothing is entered yet."""
        market = self.market(terms.working.symbol, account.venue)
        instrument = market.instrument
        if not instrument.oto_allowed or (terms.kind == "OPO" and not instrument.opo_allowed):
            raise Refused(Refusal.LIST_NOT_ALLOWED, terms.kind)
        self._check(market, account, terms.working)
        self._check_pending(market, account, terms.pending)
        if terms.working.client_id and terms.working.client_id == terms.pending.client_id:
            raise Refused(Refusal.DUPLICATE_CLIENT_ID)
        self._check_counts(instrument, account, orders=2, lists=1)
        first = terms.working
        if first.kind == "LIMIT_MAKER" and self._engine.would_match(first.symbol, first.side, first.price):
            raise Refused(Refusal.WOULD_MATCH)
        self._check_list_funds(account, instrument, terms)
        working = self._new_order(account, terms.working, Status.NEW)
        pending = self._new_order(account, terms.pending, Status.PENDING)
        self.state.world.list_id += 1
        order_list = OrderList(
            list_id=self.state.world.list_id,
            account=account.key,
            symbol=working.symbol,
            kind=terms.kind,
            working_id=working.order_id,
            pending_id=pending.order_id,
            client_id=terms.client_id,
            created_ms=self.state.now_ms,
            sized_by_receipt=not terms.pending.quantity,
        )
        working.list_id = pending.list_id = order_list.list_id
        working.leg, pending.leg = "working", "pending"
        return working, pending, order_list

    def _check_pending(self, market: Market, account: Account, terms: NewOrder) -> None:
        banded = self.state.settings(terms.symbol).percent_price_on_pending
        reference = market.last_price if banded else None
        if terms.quantity:
            check_order(market.instrument, terms, reference)
        else:
            check_price(market.instrument, terms.price, reference)
        self._check_client_id(account, terms.client_id)

    def _check_list_funds(self, account: Account, instrument: Instrument, terms: NewList) -> None:
        if not self.state.settings(instrument.symbol).reserve_pending or not terms.pending.quantity:
            return
        selling = terms.pending.side == "SELL"
        asset = instrument.base if selling else instrument.quote
        needed = terms.pending.quantity if selling else terms.pending.quantity * terms.pending.price
        if terms.pending.side == terms.working.side or free_of(account, asset) < needed:
            raise Refused(Refusal.INSUFFICIENT_BALANCE, asset)

    def _accept(self, order: Order) -> None:
        self.state.index(order)
        self.state.touch_order(order)
        self.state.announce_order(order, "NEW")

    # Arrival at the book.

    def _enter(self, order: Order) -> None:
        """Send an accepted order on its way; without a delay it arrives within the same step."""
        least, most = self.state.settings(order.symbol).fill_delay_seconds
        delay_ms = self.state.rng.randint(int(least * 1000), int(most * 1000))
        order.active_at_ms = self.state.now_ms + delay_ms
        if delay_ms == 0 and not self.state.world.frozen:
            self._engine.activate(order)
        else:
            heapq.heappush(self._arrivals, (order.active_at_ms, order.order_id))
            self.state.touch_order(order)

    def _settle_releases(self) -> None:
        while released := self._engine.take_releases():
            for pending in released:
                self._enter(pending)

    def _run(self, due_ms: int) -> None:
        for market in self.state.markets.values():
            if market.record.next_tick_ms <= due_ms:
                market.record.next_tick_ms += market.tick_ms
                self._engine.tick(market)
                self._settle_releases()
        while self._arrivals and self._arrivals[0][0] <= due_ms:
            _, order_id = heapq.heappop(self._arrivals)
            order = self.state.orders[order_id]
            if order.status in OPEN and order.priority is None:
                self._engine.activate(order)
                self._settle_releases()

    # Standing still and starting again.

    def _resume(self) -> None:
        """After a restart: resting orders back on the book in their order, the rest on their way."""
        resting = []
        for orders in self.state.open.values():
            for order in orders.values():
                if order.priority is not None:
                    resting.append(order)
                elif order.status is not Status.PENDING and order.active_at_ms is not None:
                    heapq.heappush(self._arrivals, (order.active_at_ms, order.order_id))
        for order in sorted(resting, key=lambda o: o.priority or 0):
            self._engine.rest(order)
        self._restart_time()

    def _restart_time(self) -> None:
        """What fell due while nothing ran happens from now on, not in the past."""
        now = self.state.now_ms
        for market in self.state.markets.values():
            market.record.next_tick_ms = max(market.record.next_tick_ms, now)
        self._arrivals = [(max(due, now), order_id) for due, order_id in self._arrivals]
        heapq.heapify(self._arrivals)

    def _skip_lost_ticks(self, now_ms: int) -> None:
        """After a long sleep the path goes on from where it stood instead of racing to catch up."""
        for market in self.state.markets.values():
            lost = (
                now_ms - market.record.next_tick_ms
            ) // market.tick_ms - self.state.config.max_catch_up_ticks
            if lost > 0 and not self.state.world.frozen:
                market.record.next_tick_ms += lost * market.tick_ms
