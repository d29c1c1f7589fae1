"""Spot's writes: orders and lists placed and cancelled (binance-spot 3, 4).

Each method takes the caller's account and what was sent and returns the answer's content; REST
and the WS API spell it alike. Raises SpotError for the request and Refused for the core's no.
"""

from collections.abc import Callable
from typing import TypeVar

from paper_exchange import spot_reports as reports
from paper_exchange.config import Instrument
from paper_exchange.exchange import Exchange
from paper_exchange.faults import Scope
from paper_exchange.model import OPEN, Account, ListKind, NewList, Order, OrderList, Refused, Status
from paper_exchange.records import PlacedList
from paper_exchange.spot_errors import UNKNOWN_ORDER, SpotError, not_valid
from paper_exchange.spot_finding import Selector, SpotFinding
from paper_exchange.spot_legs import RESPONSES, LegReader, read_leg
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_params import Params
from paper_exchange.spot_wire import Row

T = TypeVar("T")

RESTRICTIONS = {"ONLY_NEW": Status.NEW, "ONLY_PARTIALLY_FILLED": Status.PARTIALLY_FILLED}


class SpotTrading:
    """The TRADE endpoints over the exchange."""

    def __init__(self, exchange: Exchange, limits: SpotLimits, finding: SpotFinding) -> None:
        self._exchange = exchange
        self._settings = exchange.state.config.spot
        self._limits = limits
        self._finding = finding
        self.legs = LegReader(exchange)

    # Placing.

    def place_order(self, account: Account, params: Params) -> Row:
        symbol, leg = params.need("symbol"), read_leg(params, "")
        default = "FULL" if leg.kind in ("LIMIT", "MARKET") else "ACK"
        shape, prevention = read_response(params, default), self.legs.prevention(params)
        params.finish()
        instrument = self._finding.instrument(symbol)
        terms = self.legs.terms(leg, instrument, prevention)
        order = self._counted(account, 1, lambda: self._exchange.place(account, terms))
        return self.report(order, instrument, shape, account)

    def test_order(self, account: Account, params: Params) -> Row:
        """Everything that needs no matching engine; nothing is placed."""
        symbol, leg = params.need("symbol"), read_leg(params, "")
        read_response(params, "ACK")
        prevention, with_rates = self.legs.prevention(params), params.flag("computeCommissionRates")
        params.finish()
        instrument = self._finding.instrument(symbol)
        terms = self.legs.terms(leg, instrument, prevention)
        self._exchange.check_terms(terms)
        if not with_rates:
            return {}
        rates = self._finding.commission_rates()
        nothing = {"maker": "0.00000000", "taker": "0.00000000"}
        return {
            "standardCommissionForOrder": {side: rates[side] for side in ("maker", "taker")},
            "specialCommissionForOrder": nothing,
            "taxCommissionForOrder": nothing,
            "discount": self._finding.discount(),
        }

    def place_oto(self, account: Account, params: Params) -> Row:
        return self._place_list(account, params, "OTO")

    def place_opo(self, account: Account, params: Params) -> Row:
        return self._place_list(account, params, "OPO")

    def _place_list(self, account: Account, params: Params, kind: ListKind) -> Row:
        symbol = params.need("symbol")
        working = read_leg(params, "working")
        if kind == "OPO" and "pendingQuantity" in params:
            raise SpotError(-1225, "Parameter 'pendingQuantity' is not allowed for OPO orders.")
        pending = read_leg(params, "pending", sized=kind == "OPO")
        client_id = params.client_id("listClientOrderId") or self._exchange.mint_id()
        shape = read_response(params, self._settings.list_response_default)
        prevention = self.legs.prevention(params)
        params.finish()
        # The venue's codes; their texts are not documented.
        if kind == "OPO" and working.side == "SELL":
            raise SpotError(-1222, "The working order of an OPO must be a BUY.")
        if kind == "OPO" and pending.side == "BUY":
            raise SpotError(-1223, "The pending order of an OPO must be a SELL.")
        instrument = self._finding.instrument(symbol)
        terms = NewList(
            kind=kind,
            working=self.legs.terms(working, instrument, prevention),
            pending=self.legs.terms(pending, instrument, prevention),
            client_id=client_id,
        )
        placed = self._counted(account, 2, lambda: self._exchange.place_list(account, terms))
        return self._list_report(placed, instrument, shape, account)

    def _counted(self, account: Account, orders: int, place: Callable[[], T]) -> T:
        """Place within the account's order count; whether what is refused counts is a switch."""
        self.count(account, orders)
        try:
            return place()
        except Refused:
            if not self._settings.refused_orders_count:
                self._limits.give_back(account.key, orders, self._exchange.now_ms)
            raise

    def count(self, account: Account, orders: int) -> None:
        """So many orders more; SpotError if they are too many."""
        now = self._exchange.now_ms
        rules = self._exchange.faults.standing("order_limit", Scope("spot", user_id=account.user_id))
        self._limits.take(account.key, orders, now, min((r.limit or 0 for r in rules), default=None))

    def report(self, order: Order, instrument: Instrument, shape: str, account: Account) -> Row:
        now = self._exchange.now_ms
        if shape == "ACK":
            return reports.ack(order, now)
        if shape == "RESULT":
            return reports.result(order, instrument, now, account.trade_group)
        fills = self._exchange.state.fills_of_order.get(order.order_id, [])
        return reports.full(order, instrument, now, fills, account.trade_group)

    def _list_report(self, placed: PlacedList, instrument: Instrument, shape: str, account: Account) -> Row:
        legs = (placed.working, placed.pending)
        row = reports.list_row(placed.order_list, legs, self._exchange.now_ms)
        if placed.order_list.done:
            row["listClientOrderId"] = None  # measured: a list that is over already has lost its name
        return row | {"orderReports": [self.report(leg, instrument, shape, account) for leg in legs]}

    # Cancelling.

    def cancel_order(self, account: Account, params: Params) -> Row:
        """The order's report, or its list's: a leg is never cancelled alone."""
        symbol = params.need("symbol")
        selector = self._finding.read_order_selector(params)
        client_id = params.client_id("newClientOrderId") or self._exchange.mint_id()
        only = read_restriction(params)
        params.finish()
        return self.cancel(account, symbol, selector, only, client_id)

    def cancel(self, account: Account, symbol: str, selector: Selector, only: str, client_id: str) -> Row:
        """Cancel what the selector names, if it is in the state that `only` wants."""
        instrument = self._finding.instrument(symbol)
        order = self._finding.order_of(account, symbol, selector)
        if order is None or order.status not in OPEN:
            raise SpotError(-2011, UNKNOWN_ORDER)
        if only and order.status is not RESTRICTIONS[only]:
            raise SpotError(-2011, "Order was not canceled due to cancel restrictions.")
        return self._cancel(order, instrument, client_id)

    def cancel_open_orders(self, account: Account, params: Params) -> list[Row]:
        symbol = params.need("symbol")
        params.finish()
        instrument = self._finding.instrument(symbol)
        client_id = self._exchange.mint_id()
        rows = []
        for order in self._exchange.open_orders(account, symbol):
            if order.status in OPEN:  # cancelling a leg has ended the other one
                rows.append(self._cancel(order, instrument, client_id))
        if not rows:
            raise SpotError(-2011, UNKNOWN_ORDER)
        return rows

    def cancel_list(self, account: Account, params: Params) -> Row:
        symbol = params.need("symbol")
        selector = self._finding.read_list_selector(params, "listClientOrderId")
        client_id = params.client_id("newClientOrderId") or self._exchange.mint_id()
        params.finish()
        instrument = self._finding.instrument(symbol)
        order_list = self._finding.list_of(account, selector, strict=True)
        if order_list is None or order_list.done or order_list.symbol != symbol:
            raise SpotError(-2011, UNKNOWN_ORDER)
        working, pending = self._exchange.state.legs(order_list)
        return self._cancel(working if working.status in OPEN else pending, instrument, client_id)

    def _cancel(self, order: Order, instrument: Instrument, client_id: str) -> Row:
        ended = self._exchange.cancel(order, client_id)
        now = self._exchange.now_ms
        rows = [reports.cancelled(leg, instrument, now) for leg in ended]
        if order.list_id is None:
            return rows[0]
        order_list: OrderList = self._exchange.state.lists[order.list_id]
        legs = self._exchange.state.legs(order_list)
        if self._settings.filled_leg_in_cancel and legs[0].status is Status.FILLED:
            rows.insert(0, reports.cancelled(legs[0], instrument, now))
        return reports.list_row(order_list, legs, now) | {"orderReports": rows}


def read_restriction(params: Params) -> str:
    """The state an order must be in to be cancelled; empty for any."""
    return params.choice("cancelRestrictions", RESTRICTIONS, SpotError(-1145, "Invalid cancelRestrictions"))


def read_response(params: Params, default: str) -> str:
    return params.choice("newOrderRespType", RESPONSES, not_valid("newOrderRespType"), default)
