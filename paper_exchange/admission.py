"""At the exchange's door: everything that must hold before an order or a list exists.

Checks only; whatever it lets in can be entered without failing half way. Raises Refused with the
first thing that does not hold.
"""

from decimal import Decimal

from paper_exchange.accounts import free_of, locked_of
from paper_exchange.conditions import Conditions
from paper_exchange.config import Instrument
from paper_exchange.filters import check_notional, check_order, check_price, check_quantity
from paper_exchange.market import Market
from paper_exchange.model import (
    MARKET_KINDS,
    STOP_KINDS,
    Account,
    NewList,
    NewOrder,
    Order,
    Refusal,
    Refused,
    VenueName,
)
from paper_exchange.numbers import ZERO, product
from paper_exchange.state import State
from paper_exchange.stops import is_reached


class Admission:
    """Reads the state; changes nothing."""

    def __init__(self, state: State, conditions: Conditions) -> None:
        self._state = state
        self._conditions = conditions

    def market(self, symbol: str, venue: VenueName | None = None) -> Market:
        """The symbol's market, if the venue has it."""
        market = self._state.markets.get(symbol)
        if market is None or venue not in (None, market.instrument.venue):
            raise Refused(Refusal.UNKNOWN_SYMBOL, symbol)
        if self._conditions.is_gone(market.instrument):
            raise Refused(Refusal.UNKNOWN_SYMBOL, symbol)
        return market

    def check_order(self, account: Account, terms: NewOrder) -> None:
        """A single order, apart from its funds, which are locked as it is entered."""
        market = self.market(terms.symbol, account.venue)
        self._check_leg(market, account, terms)
        self._check_counts(market.instrument, account, terms)
        self._check_position(market.instrument, account, terms)

    def check_list(self, account: Account, terms: NewList) -> None:
        """Both legs: one that fails refuses the whole list (binance-spot 2.3)."""
        market = self.market(terms.working.symbol, account.venue)
        instrument = market.instrument
        if not instrument.oto_allowed or (terms.kind == "OPO" and not instrument.opo_allowed):
            raise Refused(Refusal.LIST_NOT_ALLOWED, terms.kind)
        self._check_leg(market, account, terms.working)
        self._check_pending(market, account, terms.pending)
        if terms.working.client_id and terms.working.client_id == terms.pending.client_id:
            raise Refused(Refusal.DUPLICATE_CLIENT_ID)
        self._check_list_id(account, terms.client_id)
        self._check_counts(instrument, account, terms.working, terms.pending)
        self._check_position(instrument, account, terms.working, terms.pending)
        self._check_reserve(account, instrument, terms)

    def check_amend(self, account: Account, order: Order, quantity: Decimal, client_id: str) -> None:
        """A reduction of an order that is open; nothing but its quantity changes (binance-spot 3.6)."""
        market = self._state.markets[order.symbol]
        instrument = market.instrument
        if not instrument.amend_allowed:
            raise Refused(Refusal.AMEND_NOT_ALLOWED)
        if quantity >= order.quantity:
            same = quantity == order.quantity
            raise Refused(Refusal.AMEND_OF_NOTHING if same else Refusal.AMEND_UPWARD)
        if len(order.amendments) >= instrument.max_num_order_amends:
            raise Refused(Refusal.MAX_NUM_ORDER_AMENDS)
        check_quantity(instrument, quantity)
        if order.kind not in MARKET_KINDS:
            check_notional(instrument, order.price, quantity)
        if self._conditions.trading_status(order.symbol) not in ("TRADING", "CANCEL_ONLY"):
            raise Refused(Refusal.NOT_TRADING)
        if client_id != order.client_id:
            self._check_client_id(account, client_id)

    def _check_leg(self, market: Market, account: Account, terms: NewOrder) -> None:
        check_order(market.instrument, terms, market.percent_reference(self._state.now_ms))
        self._check_assets(market.instrument, terms)
        no_buying, no_selling = self._conditions.is_withdrawn(terms.symbol)
        closed = no_buying if terms.side == "BUY" else no_selling
        if closed or self._conditions.trading_status(terms.symbol) != "TRADING":
            raise Refused(Refusal.NOT_TRADING)
        self._check_permission(market.instrument, account)
        self._check_client_id(account, terms.client_id)
        if terms.kind == "LIMIT_MAKER" and market.would_match(terms.side, terms.price):
            raise Refused(Refusal.WOULD_MATCH)
        if terms.kind in STOP_KINDS and is_reached(terms, market.last_price):
            raise Refused(Refusal.WOULD_TRIGGER)

    def _check_pending(self, market: Market, account: Account, terms: NewOrder) -> None:
        banded = self._state.settings(terms.symbol).percent_price_on_pending
        reference = market.percent_reference(self._state.now_ms) if banded else None
        if terms.quantity:
            check_order(market.instrument, terms, reference)
        elif terms.kind not in MARKET_KINDS:
            check_price(market.instrument, terms.price, reference)
        self._check_assets(market.instrument, terms)
        self._check_client_id(account, terms.client_id)

    def _check_assets(self, instrument: Instrument, terms: NewOrder) -> None:
        """MAX_ASSET: what one order may be worth of an asset (binance-spot 2.3)."""
        if instrument.venue != "spot" or not (limits := self._state.config.spot.max_assets):
            return
        worth = {
            instrument.base: terms.quantity,
            instrument.quote: product(terms.price, terms.quantity),
        }
        if any(asset in limits and amount > limits[asset] for asset, amount in worth.items()):
            raise Refused(Refusal.MAX_ASSET, str(self._state.config.spot.max_asset_code))

    def _check_permission(self, instrument: Instrument, account: Account) -> None:
        """One of each set; Alpha knows no such thing (binance-spot 2.2)."""
        if instrument.venue != "spot":
            return
        if not all(any(name in account.permissions for name in one) for one in instrument.permission_sets):
            raise Refused(Refusal.NOT_PERMITTED)

    def _check_client_id(self, account: Account, client_id: str) -> None:
        # Unique among open orders only, so no idempotency key (binance-spot 3.4).
        if client_id and any(o.client_id == client_id for o in self._state.open[account.key].values()):
            raise Refused(Refusal.DUPLICATE_CLIENT_ID)

    def _check_list_id(self, account: Account, client_id: str) -> None:
        lists = self._state.lists
        open_lists = (
            lists[o.list_id] for o in self._state.open[account.key].values() if o.list_id is not None
        )
        if client_id and any(found.client_id == client_id for found in open_lists):
            raise Refused(Refusal.DUPLICATE_CLIENT_ID)

    def _check_counts(self, instrument: Instrument, account: Account, *legs: NewOrder) -> None:
        orders, lists = len(legs), len(legs) - 1
        standing = [o for o in self._state.open[account.key].values() if o.symbol == instrument.symbol]
        if len(standing) + orders > instrument.max_num_orders:
            raise Refused(Refusal.MAX_NUM_ORDERS)
        if instrument.venue == "alpha":
            return
        if any(leg.kind in STOP_KINDS for leg in legs):
            kinds = [order.kind for order in standing] + [leg.kind for leg in legs]
            if sum(kind in STOP_KINDS for kind in kinds) > instrument.max_num_algo_orders:
                raise Refused(Refusal.MAX_NUM_ALGO_ORDERS)
        open_lists = {order.list_id for order in standing if order.list_id is not None}
        if lists and len(open_lists) + lists > instrument.max_num_order_lists:
            raise Refused(Refusal.MAX_NUM_ORDER_LISTS)
        self._check_exchange_counts(account, orders, lists)

    def _check_exchange_counts(self, account: Account, orders: int, lists: int) -> None:
        """The same counts over all symbols."""
        spot, every = self._state.config.spot, self._state.open[account.key]
        if spot.exchange_max_num_orders and len(every) + orders > spot.exchange_max_num_orders:
            raise Refused(Refusal.EXCHANGE_MAX_NUM_ORDERS)
        if not lists or not spot.exchange_max_num_order_lists:
            return
        open_lists = {order.list_id for order in every.values() if order.list_id is not None}
        if len(open_lists) + lists > spot.exchange_max_num_order_lists:
            raise Refused(Refusal.EXCHANGE_MAX_NUM_ORDER_LISTS)

    def _check_position(self, instrument: Instrument, account: Account, *legs: NewOrder) -> None:
        """MAX_POSITION: what is held and what open BUYs may add, these included (binance-spot 2.3)."""
        buying = sum((leg.quantity for leg in legs if leg.side == "BUY"), ZERO)
        if instrument.max_position is None or not buying:
            return
        resting = (
            order.open_quantity
            for order in self._state.open[account.key].values()
            if order.symbol == instrument.symbol and order.side == "BUY"
        )
        held = free_of(account, instrument.base) + locked_of(account, instrument.base)
        if held + sum(resting, ZERO) + buying > instrument.max_position:
            raise Refused(Refusal.MAX_POSITION)

    def _check_reserve(self, account: Account, instrument: Instrument, terms: NewList) -> None:
        """With `reserve_pending` the pending leg's funds must be there at placement (binance-spot 4.5)."""
        if not self._state.settings(instrument.symbol).reserve_pending or not terms.pending.quantity:
            return
        selling = terms.pending.side == "SELL"
        asset = instrument.base if selling else instrument.quote
        needed = terms.pending.quantity if selling else terms.pending.quantity * terms.pending.price
        if terms.pending.side == terms.working.side:
            needed += terms.working.quantity if selling else terms.working.quantity * terms.working.price
        if free_of(account, asset) < needed:
            raise Refused(Refusal.INSUFFICIENT_BALANCE, asset)
