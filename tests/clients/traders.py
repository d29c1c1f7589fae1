"""One account in the hands of one client, the same for every client: what a random trader needs.

A refusal is a value here, not an exception: being refused is part of what random orders do.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import ccxt
from binance import Client
from binance.exceptions import BinanceAPIException

from tests.clients.venue import Keys

Row = dict[str, Any]


class Refusal(NamedTuple):
    """The venue's no."""

    code: int
    text: str


class Trader(Protocol):
    """An account by its client; answers are the venue's JSON."""

    keys: Keys

    def place(self, terms: Row) -> Row | Refusal: ...
    def replace(self, terms: Row) -> Row | Refusal: ...
    def place_oto(self, terms: Row) -> Row | Refusal: ...
    def cancel(self, symbol: str, order_id: int) -> Row | Refusal: ...
    def cancel_list(self, symbol: str, list_id: int) -> Row | Refusal: ...
    def cancel_all(self, symbol: str) -> Any: ...
    def account(self) -> Row: ...
    def open_orders(self) -> list[Row]: ...
    def order(self, symbol: str, order_id: int) -> Row: ...
    def orders(self, symbol: str) -> list[Row]: ...
    def trades(self, symbol: str, from_id: int) -> list[Row]: ...


class CcxtTrader:
    """ccxt, by its raw calls: its unified ones would round what is to be refused."""

    def __init__(self, client: ccxt.binance, keys: Keys) -> None:
        self._client = client
        self.keys = keys

    def _try(self, call: Callable[[Row], Any], terms: Row) -> Any:
        try:
            return call(terms)
        except ccxt.ExchangeError:
            answer = self._client.parse_json(self._client.last_http_response)
            return Refusal(int(answer["code"]), answer["msg"])

    def place(self, terms: Row) -> Row | Refusal:
        return self._try(self._client.private_post_order, terms)

    def replace(self, terms: Row) -> Row | Refusal:
        return self._try(self._client.private_post_order_cancelreplace, terms)

    def place_oto(self, terms: Row) -> Row | Refusal:
        return self._try(self._client.private_post_orderlist_oto, terms)

    def place_opo(self, terms: Row) -> Row | Refusal:
        return self._try(self._client.private_post_orderlist_opo, terms)

    def cancel(self, symbol: str, order_id: int) -> Row | Refusal:
        return self._try(self._client.private_delete_order, {"symbol": symbol, "orderId": order_id})

    def cancel_list(self, symbol: str, list_id: int) -> Row | Refusal:
        return self._try(self._client.private_delete_orderlist, {"symbol": symbol, "orderListId": list_id})

    def cancel_all(self, symbol: str) -> Any:
        return self._try(self._client.private_delete_openorders, {"symbol": symbol})

    def account(self) -> Row:
        return self._client.private_get_account()

    def open_orders(self) -> list[Row]:
        return self._client.private_get_openorders()

    def order(self, symbol: str, order_id: int) -> Row:
        return self._client.private_get_order({"symbol": symbol, "orderId": order_id})

    def orders(self, symbol: str) -> list[Row]:
        return self._client.private_get_allorders({"symbol": symbol, "orderId": 1, "limit": 1000})

    def trades(self, symbol: str, from_id: int) -> list[Row]:
        return self._client.private_get_mytrades({"symbol": symbol, "fromId": from_id, "limit": 1000})


class PythonBinanceTrader:
    """python-binance."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self.keys = keys

    def _try(self, call: Callable[..., Any], terms: Row) -> Any:
        try:
            return call(**terms)
        except BinanceAPIException as error:
            return Refusal(error.code, error.message)

    def place(self, terms: Row) -> Row | Refusal:
        return self._try(self._client.create_order, terms)

    def replace(self, terms: Row) -> Row | Refusal:
        return self._try(self._client.cancel_replace_order, terms)

    def place_oto(self, terms: Row) -> Row | Refusal:
        return self._try(self._client.v3_post_order_list_oto, terms)

    def cancel(self, symbol: str, order_id: int) -> Row | Refusal:
        return self._try(self._client.cancel_order, {"symbol": symbol, "orderId": order_id})

    def cancel_list(self, symbol: str, list_id: int) -> Row | Refusal:
        return self._try(self._client.v3_delete_order_list, {"symbol": symbol, "orderListId": list_id})

    def cancel_all(self, symbol: str) -> Any:
        return self._try(self._client.cancel_all_open_orders, {"symbol": symbol})

    def account(self) -> Row:
        return self._client.get_account()

    def open_orders(self) -> list[Row]:
        return self._client.get_open_orders()

    def order(self, symbol: str, order_id: int) -> Row:
        return self._client.get_order(symbol=symbol, orderId=order_id)

    def orders(self, symbol: str) -> list[Row]:
        return self._client.get_all_orders(symbol=symbol, orderId=1, limit=1000)

    def trades(self, symbol: str, from_id: int) -> list[Row]:
        return self._client.get_my_trades(symbol=symbol, fromId=from_id, limit=1000)
