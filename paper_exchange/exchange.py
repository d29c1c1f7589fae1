"""The exchange itself: what may be asked of it, and how its time passes.

Synchronous and without a clock: `advance(now_ms)` executes everything due by then (path ticks,
house quotes, orders reaching the book) and `next_due()` says when it next wants to be called.
Each entry point ends by making its step durable and only then tells the sink. Refused means
nothing changed.
"""

import copy
import heapq
import random
import string
from decimal import Decimal

from paper_exchange.accounts import credit, lock, unlock
from paper_exchange.admission import Admission
from paper_exchange.conditions import Conditions
from paper_exchange.config import Config
from paper_exchange.engine import Engine
from paper_exchange.faults import Faults
from paper_exchange.filters import check_order, check_price
from paper_exchange.market import Market
from paper_exchange.match_faults import MatchFaults
from paper_exchange.model import (
    OPEN,
    Account,
    BalanceEvent,
    NewList,
    NewOrder,
    Order,
    Refusal,
    Refused,
    Status,
    VenueName,
)
from paper_exchange.numbers import ZERO
from paper_exchange.records import PlacedList, Records
from paper_exchange.state import Sink, State
from paper_exchange.store import Store

_LETTERS = string.ascii_letters + string.digits


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
        self._match_faults = MatchFaults(faults, self.state)
        self._engine = Engine(self.state, self._match_faults)
        self.conditions = Conditions(self.state, faults)
        self._admission = Admission(self.state, self.conditions)
        self._records = Records(self.state, self._engine, self._admission)
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
        self.conditions.apply_filters()
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
        return self._admission.market(symbol, venue)

    def place(self, account: Account, terms: NewOrder) -> Order:
        """Accept an order; its state when the answer leaves."""
        if terms.kind == "MARKET":
            terms = self._records.price_market(account, terms)
        self._admission.check_order(account, terms)
        order = self._records.new_order(account, terms, Status.NEW)
        self._engine.settlement.lock_funds(order)
        self._accept(order)
        self._enter(order)
        answer = copy.copy(order)
        self._settle_releases()
        self.state.flush()
        return answer

    def place_list(self, account: Account, terms: NewList) -> PlacedList:
        """Accept a working and a pending leg; both are checked before either exists."""
        self._admission.check_list(account, terms)
        order_list, working, pending = self._records.new_list(account, terms)
        self._engine.settlement.lock_funds(working)
        if pending.quantity and self.state.settings(working.symbol).reserve_pending:
            self._engine.settlement.lock_funds(pending)
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
        self._fill_on_the_way(order)
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

    def amend(self, account: Account, order: Order, quantity: Decimal, client_id: str) -> Order:
        """Reduce an open order in place; what it is then (binance-spot 3.6)."""
        self._admission.check_amend(account, order, quantity, client_id)
        self._engine.amend(order, quantity, client_id)
        answer = copy.copy(order)
        self._settle_releases()
        self.state.flush()
        return answer

    def check_terms(self, terms: NewOrder) -> None:
        """The filters that need neither the account nor the book."""
        if not terms.quote_wanted:
            market = self.state.markets[terms.symbol]
            check_order(market.instrument, terms, market.percent_reference(self.now_ms))

    def lock_elsewhere(self, account: Account, asset: str, amount: Decimal) -> None:
        """Another product of the venue locks so much, or with a negative amount lets go of it."""
        held = account.locked_elsewhere.get(asset, ZERO) + amount
        if held < 0:
            raise Refused(Refusal.INSUFFICIENT_BALANCE, asset)
        if amount > 0:
            lock(account, asset, amount)
        else:
            unlock(account, asset, -amount)
        account.locked_elsewhere[asset] = held
        self.state.touch_account(account)
        balance = (account.free[asset], account.locked[asset])
        self.state.announce(BalanceEvent(account.key, {asset: balance}, self.now_ms, locked_elsewhere=amount))
        self.state.flush()

    def _fill_on_the_way(self, order: Order) -> None:
        """A fault can fill an order while its cancel travels; the cancel then finds what is left of it."""
        legs = [order]
        if order.list_id is not None:
            legs = list(self.state.legs(self.state.lists[order.list_id]))
        for leg in legs:
            if leg.waits or leg.status not in (Status.NEW, Status.PARTIALLY_FILLED):
                continue
            if quantity := self._match_faults.fill_before_cancel(leg):
                self._engine.trade_with_house(leg, quantity)
                self._settle_releases()
                self.state.flush()
            break
        if order.status not in OPEN:
            raise Refused(Refusal.UNKNOWN_ORDER)

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

    def mint_id(self) -> str:
        """A client id as Spot makes them: 22 letters and digits."""
        return "".join(self.state.rng.choices(_LETTERS, k=22))

    # Acceptance.

    def _accept(self, order: Order) -> None:
        self.state.index(order)
        self.state.touch_order(order)
        self.state.announce_order(order, "NEW")

    # Arrival at the book.

    def _enter(self, order: Order) -> None:
        """Send an accepted order on its way; without a delay it arrives within the same step. One that
        waits for its stop is sent once that is reached."""
        if order.waits:
            return self._engine.stops.add(order)
        least, most = self.state.settings(order.symbol).fill_delay_seconds
        delay_ms = self.state.rng.randint(int(least * 1000), int(most * 1000))
        order.active_at_ms = self.state.now_ms + delay_ms
        if delay_ms == 0 and not self.state.world.frozen:
            self._engine.activate(order)
        else:
            heapq.heappush(self._arrivals, (order.active_at_ms, order.order_id))
            self.state.touch_order(order)
        return None

    def _settle_releases(self) -> None:
        while released := self._engine.take_releases():
            for pending in released:
                self._enter(pending)

    def _run(self, due_ms: int) -> None:
        for market in self.state.markets.values():
            if market.record.next_tick_ms <= due_ms:
                market.record.next_tick_ms += market.tick_ms
                self._tick(market)
                self._settle_releases()
        while self._arrivals and self._arrivals[0][0] <= due_ms:
            _, order_id = heapq.heappop(self._arrivals)
            order = self.state.orders[order_id]
            if order.status in OPEN and order.priority is None:
                self._engine.activate(order)
                self._settle_releases()

    def _tick(self, market: Market) -> None:
        if self._match_faults.stands_still(market):
            return
        for order, reason in self._match_faults.expiring(market):
            if order.status in OPEN:
                self._engine.end(order, Status.EXPIRED, reason)
        market.spike = self._match_faults.spike(market)
        self._engine.tick(market)

    # Standing still and starting again.

    def _resume(self) -> None:
        """After a restart: resting orders back on the book in their order, the rest on their way."""
        resting = []
        for orders in self.state.open.values():
            for order in orders.values():
                if order.priority is not None:
                    resting.append(order)
                elif order.waits:
                    self._engine.stops.add(order)
                elif order.status is not Status.PENDING and order.active_at_ms is not None:
                    heapq.heappush(self._arrivals, (order.active_at_ms, order.order_id))
        for order in sorted(resting, key=lambda o: o.priority or 0):
            self._engine.rest(order)
        self._restart_time()

    def _restart_time(self) -> None:
        """What fell due while nothing ran happens from now on; a clock set back delays nothing."""
        now = self.state.now_ms
        for market in self.state.markets.values():
            market.record.next_tick_ms = min(max(market.record.next_tick_ms, now), now + market.tick_ms)
        arrivals = []
        for due, order_id in self._arrivals:
            most = self.state.settings(self.state.orders[order_id].symbol).fill_delay_seconds[1]
            arrivals.append((min(max(due, now), now + int(most * 1000)), order_id))
        self._arrivals = arrivals
        heapq.heapify(self._arrivals)

    def _skip_lost_ticks(self, now_ms: int) -> None:
        """After a long sleep the path goes on from where it stood instead of racing to catch up."""
        for market in self.state.markets.values():
            lost = (
                now_ms - market.record.next_tick_ms
            ) // market.tick_ms - self.state.config.max_catch_up_ticks
            if lost > 0 and not self.state.world.frozen:
                market.record.next_tick_ms += lost * market.tick_ms
