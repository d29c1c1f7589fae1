"""The matching engine: orders become matchable, trade, settle, end, and move their lists on.

Acts on State only. Funds are locked before an order is accepted, so nothing here can fail for
lack of money except the release of a pending leg, which then ends EXPIRED (binance-spot 4.4).
"""

from collections import deque
from decimal import Decimal

from paper_exchange import self_trade
from paper_exchange.accounts import free_of, unlock
from paper_exchange.market import Market
from paper_exchange.match_faults import MatchFaults
from paper_exchange.matching import Quote, crosses, opposite
from paper_exchange.model import (
    MARKET_KINDS,
    OPEN,
    STOP_KINDS,
    Amendment,
    BookEvent,
    Execution,
    Order,
    OrderList,
    PreventedMatch,
    Refusal,
    Refused,
    Side,
    Status,
)
from paper_exchange.numbers import EXACT, ZERO, cut, floor_to, product
from paper_exchange.order_lists import (
    is_triggered_by,
    release_quantity,
    releases_after_cancel,
    sibling_status,
)
from paper_exchange.price_range import OUT_OF_RANGE, Band, band_of
from paper_exchange.release import REJECTIONS, check_release
from paper_exchange.settlement import Settlement
from paper_exchange.state import State
from paper_exchange.stops import Stops
from paper_exchange.tape import Match, aggregate

ENDING: dict[Status, Execution] = {
    Status.CANCELED: "CANCELED",
    Status.EXPIRED: "EXPIRED",
    Status.REJECTED: "REJECTED",
    Status.EXPIRED_IN_MATCH: "TRADE_PREVENTION",
}


class Engine:
    """Owns the stops, and the releases that are due once the step at hand is over."""

    def __init__(self, state: State, faults: MatchFaults) -> None:
        self._state = state
        self._faults = faults
        self.settlement = Settlement(state)
        self._releases: deque[OrderList] = deque()
        self.stops = Stops()
        self._triggered: deque[Order] = deque()

    # Time.

    def tick(self, market: Market) -> None:
        """The path moves, the house quotes anew and prints a trade."""
        market.path.step(market.record.path)
        market.book.clear_house()
        for side in ("BUY", "SELL"):
            for price, quantity in market.house_levels(side):
                self._quote_for_house(market, side, price, quantity)
        dice = market.dice()
        price, quantity = market.house_print(dice)
        buyer_is_maker = dice.random() < 0.5
        self._print(market, [self._next_match(market, price, quantity)], "SELL" if buyer_is_maker else "BUY")
        self._state.touch_market(market)
        self._state.announce(BookEvent(market.instrument.symbol, self._state.now_ms))

    def activate(self, order: Order) -> None:
        """An accepted order reaches the book: it takes what it can, the rest waits or ends."""
        state, market = self._state, self._state.markets[order.symbol]
        order.priority = self._next_priority()
        state.touch_order(order)
        if reason := "REJECTED" if self._would_take(order) else self._faults.expiry_on_arrival(order):
            return self.end(order, Status.EXPIRED, reason)
        settings = state.settings(order.symbol)
        if settings.partial_fill_probability and state.rng.random() < settings.partial_fill_probability:
            share = order.open_quantity * state.rng.randint(10, 90) / 100
            keep = max(floor_to(share, market.instrument.step_size), market.instrument.step_size)
            market.book.thin_house(order.side, order.price, keep)
        band = band_of(market, order.side)
        if order.time_in_force == "FOK":
            if market.book.available(order.side, order.price) < order.open_quantity:
                return self.end(order, Status.EXPIRED, "UNFILLED_FOK_ORDER_EXPIRED")
            if band is not None and band.stops(market.book, order):
                return self.end(order, Status.EXPIRED, OUT_OF_RANGE)
        stopped = self._sweep(market, order, band)
        if order.status in OPEN:
            if stopped:
                self.end(order, Status.EXPIRED, OUT_OF_RANGE)
            elif order.kind in MARKET_KINDS:
                self.end(order, Status.EXPIRED, "INSUFFICIENT_LIQUIDITY")
            elif order.time_in_force == "IOC":
                self.end(order, Status.EXPIRED, "UNFILLED_IOC_QUANTITY_EXPIRED")
            else:
                self.rest(order)
        state.touch_market(market)
        state.announce(BookEvent(order.symbol, state.now_ms))
        return None

    def rest(self, order: Order) -> None:
        """Put what is open of an order on the book, at its place in time."""
        quote = Quote(order.side, order.price, order.shown_quantity, order.priority or 0, order)
        self._state.markets[order.symbol].book.add(quote)

    def amend(self, order: Order, quantity: Decimal, client_id: str) -> None:
        """Reduce an order's quantity at its place in time; one that has traded so much already ends."""
        state, market = self._state, self._state.markets[order.symbol]
        account = state.accounts.owner(order.account)
        amended = Amendment(
            state.world.event_id + 1, order.client_id, client_id, order.quantity, quantity, state.now_ms
        )
        order.client_id = client_id
        order.quantity = max(quantity, order.executed)
        order.amendments = (*order.amendments, amended)
        if order.locked:
            asset, needed = self.settlement.funds_of(order)
            unlock(account, asset, order.locked - needed)
            order.locked = needed
            state.touch_account(account, asset)
        if order.priority is not None and order.open_quantity:
            market.book.shrink_order(order, order.shown_quantity)
            state.touch_market(market)
            state.announce(BookEvent(order.symbol, state.now_ms))
        state.announce_order(order, "REPLACED")
        if order.list_id is not None and amended.old_client_id != client_id:
            state.announce_list(state.lists[order.list_id], updated=True)
        if not order.open_quantity:
            self.end(order, Status.EXPIRED)

    def _would_take(self, order: Order) -> bool:
        market = self._state.markets[order.symbol]
        return order.kind == "LIMIT_MAKER" and market.would_match(order.side, order.price)

    def market_price(self, symbol: str, side: Side, quantity: Decimal) -> Decimal:
        """The worst price a market order of this size meets now; Refused when nobody quotes."""
        price = self._state.markets[symbol].book.price_to_take(side, quantity)
        if price is None:
            raise Refused(Refusal.NO_LIQUIDITY)
        return price

    # Trading.

    def _sweep(self, market: Market, taker: Order, band: Band | None) -> bool:
        """Take what the order can; True if the price range rule ended it."""
        matches: list[Match] = []
        stopped = False
        self._state.world.sweep_id += 1
        while taker.status in OPEN:
            maker = market.book.best(opposite(taker.side))
            if maker is None or not crosses(taker.side, taker.price, maker.price):
                break
            if band is not None and not band.holds(maker.price):
                stopped = True
                break
            if maker.order is not None and self._prevent(taker, maker.order):
                continue
            quantity = min(taker.open_quantity, maker.quantity)
            if taker.quote_wanted and taker.side == "BUY":  # it spends no more, wherever the book went
                left = EXACT.divide(taker.quote_wanted - taker.quote, maker.price)
                quantity = min(quantity, floor_to(left, market.instrument.step_size))
            if not (quantity := self._faults.allowed(quantity, taker, maker.order)):
                break
            matches.append(self._match(market, taker, maker, quantity))
        self._print(market, matches, taker.side)
        return stopped

    def _quote_for_house(self, market: Market, side: Side, price: Decimal, quantity: Decimal) -> None:
        matches: list[Match] = []
        while quantity > 0:
            maker = market.book.best(opposite(side))
            if maker is None or maker.order is None or not crosses(side, price, maker.price):
                break
            if not (traded := self._faults.allowed(min(quantity, maker.quantity), maker.order)):
                break
            self._state.world.sweep_id += 1
            matches.append(self._match(market, None, maker, traded))
            quantity -= traded
        self._print(market, matches, side)
        if quantity > 0:
            market.book.add(Quote(side, price, quantity, self._next_priority()))

    def trade_with_house(self, order: Order, quantity: Decimal) -> None:
        """The house takes so much of an order at the order's price, whatever it quotes itself."""
        market = self._state.markets[order.symbol]
        if order.priority is None:
            order.priority = self._next_priority()
            self.rest(order)
        quote = next(one for one in market.book.quotes(order.side) if one.order is order)
        self._state.world.sweep_id += 1
        self._print(market, [self._match(market, None, quote, quantity)], opposite(order.side))
        self._state.touch_market(market)

    def _prevent(self, taker: Order, maker: Order) -> bool:
        """Self-trade prevention by the taker's mode (binance-spot 9); True if it acted."""
        owners = [self._state.accounts.owner(key) for key in (taker.account, maker.account)]
        if not self_trade.is_prevented(taker, *owners):
            return False
        record = self._state.markets[taker.symbol].record
        prevention = self_trade.prevented_match(taker, maker, record.prevented_id, self._state.now_ms)
        record.prevented_id += 1
        for order in (maker, taker):
            order.prevented_matches = (*order.prevented_matches, prevention)
        for order in self_trade.ending(taker, maker):
            order.prevented += order.open_quantity
            self.end(order, Status.EXPIRED_IN_MATCH, prevention=prevention)
        return True

    def _match(self, market: Market, taker: Order | None, maker: Quote, quantity: Decimal) -> Match:
        """Trade at the maker's price; settle both users' sides, then see who is filled."""
        match = self._next_match(market, maker.price, quantity)
        if taker is not None:
            fill = self.settlement.settle(market, taker, match, maker=False, counter=maker.order)
            if maker.order is not None:
                self._state.oracle.see(fill, maker.order.account)
        if maker.order is not None:
            self.settlement.settle(market, maker.order, match, maker=True, counter=taker)
        market.book.take(maker, quantity)
        if maker.order is not None and maker.quantity <= 0 and maker.order.open_quantity:
            maker.order.priority = self._next_priority()  # an iceberg's next part stands behind the others
            self.rest(maker.order)
        for order in (taker, maker.order):
            if order is not None:
                self._after_trade(order)
        return match

    def _print(self, market: Market, matches: list[Match], taker_side: Side) -> None:
        """Put a sweep on the tape, one public trade a price."""
        if not matches:
            return
        for trade in aggregate(matches, market.record, taker_side, self._state.now_ms):
            self._state.add_trade(market, trade)
        self._triggered.extend(self.stops.take(market))

    # Ends and lists.

    def end(
        self, order: Order, status: Status, reason: str = "", prevention: PreventedMatch | None = None
    ) -> None:
        """Cancel or expire an open order, give its funds back, and move its list on."""
        state = self._state
        market = state.markets[order.symbol]
        account = state.accounts.owner(order.account)
        asset, _ = self.settlement.funds_of(order)
        unlock(account, asset, order.locked)
        order.locked = ZERO
        order.status = status
        order.expiry_reason = reason if status in (Status.EXPIRED, Status.REJECTED) else ""
        if order.priority is not None:
            market.book.remove_order(order)
            state.touch_market(market)
            state.announce(BookEvent(order.symbol, state.now_ms))
        state.touch_account(account, asset)
        state.touch_order(order)
        state.announce_order(order, ENDING[status], prevention=prevention)
        if order.list_id is not None:
            self._after_ended(state.lists[order.list_id], order)

    def _after_trade(self, order: Order) -> None:
        if order.list_id is None:
            return
        order_list = self._state.lists[order.list_id]
        if order.leg == "pending":
            if order.status is Status.FILLED:
                self._finish(order_list)
        elif is_triggered_by(order):
            self._releases.append(order_list)

    def _after_ended(self, order_list: OrderList, ended: Order) -> None:
        if order_list.done:
            return
        working, pending = self._state.legs(order_list)
        settings = self._state.settings(order_list.symbol)
        if ended.leg == "working" and releases_after_cancel(working, settings):
            self._releases.append(order_list)
            return
        self._finish(order_list)
        sibling = pending if ended.leg == "working" else working
        if sibling.status in OPEN:
            with_it = sibling_status(settings) if ended.status is Status.CANCELED else Status.EXPIRED
            self.end(sibling, with_it, "OTO_PHASE_ONE_EXPIRED")

    def _finish(self, order_list: OrderList) -> None:
        order_list.done = True
        self._free_reserve(order_list)
        self._state.touch_list(order_list)
        self._state.announce_list(order_list)

    def _free_reserve(self, order_list: OrderList) -> None:
        if order_list.reserved:
            account = self._state.accounts.owner(order_list.account)
            base = self._state.markets[order_list.symbol].instrument.base
            unlock(account, base, order_list.reserved)
            order_list.reserved = ZERO
            self._state.touch_account(account, base)

    def take_releases(self) -> list[Order]:
        """Release and trigger what is due; the orders that now want to become matchable."""
        released = []
        while self._releases:
            order_list = self._releases.popleft()
            pending = self._release(order_list)
            if pending is not None:
                released.append(pending)
        while self._triggered:
            if self._trigger(order := self._triggered.popleft()):
                released.append(order)
        return released

    def _trigger(self, order: Order) -> bool:
        """A stop is reached: the order works from now on. One that buys at the market needs the funds for
        what that asks now; False: it has ended instead."""
        if order.status not in OPEN:
            return False
        order.working_ms = self._state.now_ms
        if order.kind in MARKET_KINDS:
            asset, _ = self.settlement.funds_of(order)
            unlock(self._state.accounts.owner(order.account), asset, order.locked)
            order.locked = ZERO
            try:
                order.price = self.market_price(order.symbol, order.side, order.open_quantity)
                self.settlement.lock_funds(order)
            except Refused:
                self.end(order, Status.EXPIRED, "REJECTED")
                return False
        self._state.announce_order(order, "NEW")
        return True

    def _release(self, order_list: OrderList) -> Order | None:
        state = self._state
        working, pending = state.legs(order_list)
        market, settings = state.markets[order_list.symbol], state.settings(order_list.symbol)
        instrument = market.instrument
        account = state.accounts.owner(order_list.account)
        others = free_of(account, instrument.base)
        order_list.triggered = True
        self._free_reserve(order_list)
        if order_list.kind == "OTO":
            others = ZERO
        asset, _ = self.settlement.funds_of(pending)
        unlock(account, asset, pending.locked)
        pending.locked = ZERO
        pending.quantity = release_quantity(order_list, working, pending, instrument, settings, others)
        pending.status = Status.NEW
        try:
            if self._faults.refuses_release(pending):
                raise Refused(Refusal.NOT_TRADING)
            rechecks = order_list.kind == "OPO" or settings.percent_price_at_oto_release
            reference = market.percent_reference(state.now_ms) if rechecks else None
            check_release(market, pending, reference)
            if pending.kind == "MARKET":
                pending.price = self.market_price(pending.symbol, pending.side, pending.quantity)
            self.settlement.lock_funds(pending)
        except Refused as refused:
            if settings.refused_release_ends == "REJECTED":
                self.end(pending, Status.REJECTED, REJECTIONS.get(refused.reason, "NONE"))
            else:
                self.end(pending, Status.EXPIRED, "REJECTED")
            return None
        pending.working_ms = None if pending.kind in STOP_KINDS else state.now_ms
        state.touch_list(order_list)
        state.touch_order(pending)
        state.announce_order(pending, "NEW")
        return pending

    # Counters.

    def _next_priority(self) -> int:
        self._state.world.priority += 1
        return self._state.world.priority

    def _next_match(self, market: Market, price: Decimal, quantity: Decimal) -> Match:
        market.record.match_id += 1
        quote = cut(product(price, quantity), market.instrument.quote_precision)
        return Match(market.record.match_id, price, quantity, quote)
