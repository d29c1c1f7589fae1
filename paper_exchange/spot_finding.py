"""How Spot's calls name an order or a list, and what an account pays (binance-spot 3.4, 3.5, 4.1)."""

from paper_exchange.config import Instrument
from paper_exchange.exchange import Exchange
from paper_exchange.model import OPEN, Account, Order, OrderList, Refused
from paper_exchange.spot_errors import SpotError, bad_symbol, both_missing
from paper_exchange.spot_params import Params
from paper_exchange.spot_wire import Row

Selector = tuple[int | None, str]

RATE = "{:.8f}"


class SpotFinding:
    """Looks things up; changes nothing."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._settings = exchange.state.config.spot

    def instrument(self, symbol: str) -> Instrument:
        """A symbol this venue has."""
        try:
            return self._exchange.market(symbol, "spot").instrument
        except Refused:
            raise bad_symbol() from None

    # Orders.

    def read_order_selector(self, params: Params) -> Selector:
        order_id, client_id = params.whole("orderId"), params.client_id("origClientOrderId")
        if order_id is None and not client_id:
            raise both_missing("origClientOrderId", "orderId")
        return order_id, client_id

    def order_of(self, account: Account, symbol: str, selector: Selector) -> Order | None:
        """By the venue's id, which then must go with the client id, or by the client id alone."""
        order_id, client_id = selector
        if order_id is None:
            return self._by_client_id(account, symbol, client_id)
        order = self._exchange.order(account, order_id)
        if order is None or order.symbol != symbol:
            return None
        if client_id and client_id not in self._ids_of(order):
            raise SpotError(-2039, "Client order ID is not correct for this order ID.")
        return order

    def _by_client_id(self, account: Account, symbol: str, client_id: str) -> Order | None:
        """The open order of this id, else the newest of those that had it: an id can be reused."""
        state = self._exchange.state
        for order in state.open[account.key].values():
            if order.symbol == symbol and order.client_id == client_id:
                return order
        for order in reversed(state.by_account[account.key]):
            if order.symbol == symbol and client_id in self._ids_of(order):
                return order
        return None

    def _ids_of(self, order: Order) -> tuple[str, ...]:
        """A cancel renamed the order; whether its old id still finds it is not documented."""
        if order.original_client_id and self._settings.cancelled_found_by_old_id:
            return order.client_id, order.original_client_id
        return (order.client_id,)

    # Lists.

    def read_list_selector(self, params: Params, client_id_name: str) -> Selector:
        list_id, client_id = params.whole("orderListId"), params.client_id(client_id_name)
        if list_id is None and not client_id:
            raise both_missing(client_id_name, "orderListId")
        return list_id, client_id

    def list_of(self, account: Account, selector: Selector, *, strict: bool) -> OrderList | None:
        """`strict`: both selectors must fit, as for a cancel; else the client id alone decides."""
        list_id, client_id = selector
        if client_id and not (strict and list_id is not None):
            found = [one for one in self.lists(account) if one.client_id == client_id]
            return next((one for one in found if not one.done), found[-1] if found else None)
        order_list = self._exchange.state.lists.get(list_id or 0)
        if order_list is None or order_list.account != account.key:
            return None
        return order_list if client_id in ("", order_list.client_id) else None

    def lists(self, account: Account) -> list[OrderList]:
        """All lists of an account, oldest first."""
        state = self._exchange.state
        return [
            state.lists[order.list_id]
            for order in state.by_account[account.key]
            if order.list_id is not None and order.leg == "working"
        ]

    def open_lists(self, account: Account) -> list[OrderList]:
        state = self._exchange.state
        open_ids = {order.list_id for order in state.open[account.key].values() if order.status in OPEN}
        return [state.lists[list_id] for list_id in sorted(i for i in open_ids if i is not None)]

    # Fees.

    def commission_rates(self) -> dict[str, str]:
        """What both sides pay stands under maker and taker, what one side pays more under its own."""
        buyer, seller = self._settings.buyer_fee, self._settings.seller_fee
        shared = min(buyer, seller)
        return {
            "maker": RATE.format(shared),
            "taker": RATE.format(shared),
            "buyer": RATE.format(buyer - shared),
            "seller": RATE.format(seller - shared),
        }

    def discount(self) -> Row:
        """Of fees that are paid in BNB."""
        return {
            "enabledForAccount": self._settings.fees_in_bnb,
            "enabledForSymbol": self._settings.fees_in_bnb,
            "discountAsset": "BNB",
            "discount": "0.75000000",
        }
