"""Spot's endpoints by name: what each calls, weighs and needs. Fault rules match on the names.

REST's paths and the WS API's methods stand here too, so that both ways to a call are seen at once.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from paper_exchange import spot_weights as weights
from paper_exchange.exchange import Exchange
from paper_exchange.spot_account import SpotAccountData
from paper_exchange.spot_changes import SpotChanges, ended
from paper_exchange.spot_database import SpotDatabase
from paper_exchange.spot_finding import SpotFinding
from paper_exchange.spot_history import SpotHistory
from paper_exchange.spot_info import SpotInfo
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_market import SpotMarketData
from paper_exchange.spot_params import Params
from paper_exchange.spot_reference import SpotReference
from paper_exchange.spot_refused import RefusedLists
from paper_exchange.spot_rolling import SpotRolling
from paper_exchange.spot_trading import SpotTrading

Weight = int | Callable[[Params], int]


class Endpoint(msgspec.Struct, frozen=True):
    """`free`: success (or one with such an answer) costs no weight; `counts`: how many orders it
    places, which its answer tells; `trades`: the key must be one that may trade."""

    name: str
    call: Callable[..., Any]
    weight: Weight = 1
    signed: bool = False
    free: bool | Callable[[Any], bool] = False
    counts: int = 0
    trades: bool = False


def endpoints_of(exchange: Exchange, limits: SpotLimits, database: SpotDatabase) -> dict[str, Endpoint]:
    """All of them over one exchange."""
    finding, info = SpotFinding(exchange), SpotInfo(exchange, limits)
    market = SpotMarketData(exchange, finding, info, database)
    trading = SpotTrading(exchange, limits, finding)
    endpoints = [
        *_public(market, info),
        *_references(SpotReference(exchange, finding, info), SpotRolling(exchange, market)),
        *_writes(trading, SpotChanges(exchange, trading, finding)),
        *_refused(RefusedLists(finding)),
        *_reads(SpotAccountData(exchange, limits, finding, database)),
        *_histories(SpotHistory(exchange, finding, database)),
    ]
    return {endpoint.name: endpoint for endpoint in endpoints}


def _public(market: SpotMarketData, info: SpotInfo) -> list[Endpoint]:
    return [
        Endpoint("ping", market.ping),
        Endpoint("time", market.time),
        Endpoint("exchange_info", info.exchange_info, 20),
        Endpoint("exchange_info_ws", info.exchange_info_ws, 20),
        Endpoint("depth", market.depth, weights.depth),
        Endpoint("trades", market.trades, 25),
        Endpoint("historical_trades", market.historical_trades, 25),
        Endpoint("agg_trades", market.agg_trades, 4),
        Endpoint("klines", market.klines, 2),
        Endpoint("avg_price", market.average_price, 2),
        Endpoint("ticker_price", market.ticker_price, weights.ticker),
        Endpoint("book_ticker", market.book_ticker, weights.ticker),
        Endpoint("ticker_24hr", market.ticker_24hr, weights.day),
    ]


def _references(reference: SpotReference, rolling: SpotRolling) -> list[Endpoint]:
    return [
        Endpoint("ticker_window", rolling.rolling, weights.windows),
        Endpoint("ticker_day", rolling.trading_day, weights.windows),
        Endpoint("execution_rules", reference.execution_rules, weights.rules),
        Endpoint("reference_price", reference.reference_price, 2),
        Endpoint("block_trades", reference.block_trades, 25),
    ]


def _place(name: str, call: Callable[..., Any], counts: int) -> Endpoint:
    return Endpoint(name, call, signed=True, free=True, counts=counts, trades=True)


def _cancel(name: str, call: Callable[..., Any]) -> Endpoint:
    return Endpoint(name, call, signed=True, free=True, trades=True)


def _writes(trading: SpotTrading, changes: SpotChanges) -> list[Endpoint]:
    return [
        _place("place_order", trading.place_order, 1),
        Endpoint("test_order", trading.test_order, weights.test, signed=True, trades=True),
        _place("place_oto", trading.place_oto, 2),
        _place("place_opo", trading.place_opo, 2),
        _place("cancel_replace", changes.cancel_replace, 1),
        _cancel("cancel_order", trading.cancel_order),
        _cancel("cancel_open_orders", trading.cancel_open_orders),
        _cancel("cancel_list", trading.cancel_list),
        Endpoint("amend", changes.amend, 4, signed=True, free=ended, trades=True),
    ]


def _refused(lists: RefusedLists) -> list[Endpoint]:
    return [
        _place("place_oco", lists.refusing("OCO"), 2),
        _place("place_old_oco", lists.refusing("OCO (old)"), 2),
        _place("place_otoco", lists.refusing("OTOCO"), 3),
        _place("place_opoco", lists.refusing("OPOCO"), 3),
    ]


def _reads(data: SpotAccountData) -> list[Endpoint]:
    return [
        Endpoint("account", data.account, 20, signed=True),
        Endpoint("commission", data.commission, 20, signed=True),
        Endpoint("rate_limits", data.rate_limits, 40, signed=True),
        Endpoint("order", data.order, 4, signed=True),
        Endpoint("open_orders", data.open_orders, weights.open_orders, signed=True),
        Endpoint("all_orders", data.all_orders, 20, signed=True),
        Endpoint("my_trades", data.my_trades, weights.trades, signed=True),
        Endpoint("order_list", data.order_list, 4, signed=True),
        Endpoint("open_lists", data.open_lists, 6, signed=True),
        Endpoint("all_lists", data.all_lists, 20, signed=True),
    ]


def _histories(history: SpotHistory) -> list[Endpoint]:
    return [
        Endpoint("amendments", history.amendments, 4, signed=True),
        Endpoint("prevented_matches", history.prevented_matches, weights.prevented, signed=True),
        Endpoint("my_filters", history.my_filters, 40, signed=True),
    ]


ROUTES: dict[tuple[str, str], str] = {
    ("GET", "ping"): "ping",
    ("GET", "time"): "time",
    ("GET", "exchangeInfo"): "exchange_info",
    ("GET", "depth"): "depth",
    ("GET", "trades"): "trades",
    ("GET", "historicalTrades"): "historical_trades",
    ("GET", "historicalBlockTrades"): "block_trades",
    ("GET", "aggTrades"): "agg_trades",
    ("GET", "klines"): "klines",
    ("GET", "uiKlines"): "klines",
    ("GET", "avgPrice"): "avg_price",
    ("GET", "ticker"): "ticker_window",
    ("GET", "ticker/tradingDay"): "ticker_day",
    ("GET", "ticker/price"): "ticker_price",
    ("GET", "ticker/bookTicker"): "book_ticker",
    ("GET", "ticker/24hr"): "ticker_24hr",
    ("GET", "executionRules"): "execution_rules",
    ("GET", "referencePrice"): "reference_price",
    ("POST", "order"): "place_order",
    ("POST", "order/test"): "test_order",
    ("POST", "order/cancelReplace"): "cancel_replace",
    ("PUT", "order/amend/keepPriority"): "amend",
    ("GET", "order/amendments"): "amendments",
    ("POST", "order/oco"): "place_old_oco",
    ("DELETE", "order"): "cancel_order",
    ("GET", "order"): "order",
    ("GET", "openOrders"): "open_orders",
    ("DELETE", "openOrders"): "cancel_open_orders",
    ("GET", "allOrders"): "all_orders",
    ("GET", "myTrades"): "my_trades",
    ("GET", "myPreventedMatches"): "prevented_matches",
    ("GET", "myFilters"): "my_filters",
    ("POST", "orderList/oto"): "place_oto",
    ("POST", "orderList/opo"): "place_opo",
    ("POST", "orderList/oco"): "place_oco",
    ("POST", "orderList/otoco"): "place_otoco",
    ("POST", "orderList/opoco"): "place_opoco",
    ("DELETE", "orderList"): "cancel_list",
    ("GET", "orderList"): "order_list",
    ("GET", "openOrderList"): "open_lists",
    ("GET", "allOrderList"): "all_lists",
    ("GET", "account"): "account",
    ("GET", "account/commission"): "commission",
    ("GET", "rateLimit/order"): "rate_limits",
}

METHODS = {
    "ping": "ping",
    "time": "time",
    "exchangeInfo": "exchange_info_ws",
    "depth": "depth",
    "trades.recent": "trades",
    "trades.historical": "historical_trades",
    "trades.aggregate": "agg_trades",
    "klines": "klines",
    "uiKlines": "klines",
    "avgPrice": "avg_price",
    "ticker": "ticker_window",
    "ticker.tradingDay": "ticker_day",
    "ticker.price": "ticker_price",
    "ticker.book": "book_ticker",
    "ticker.24hr": "ticker_24hr",
    "executionRules": "execution_rules",
    "referencePrice": "reference_price",
    "account.status": "account",
    "account.commission": "commission",
    "account.rateLimits.orders": "rate_limits",
    "order.place": "place_order",
    "order.test": "test_order",
    "order.status": "order",
    "order.cancel": "cancel_order",
    "order.cancelReplace": "cancel_replace",
    "order.amend.keepPriority": "amend",
    "order.amendments": "amendments",
    "openOrders.status": "open_orders",
    "openOrders.cancelAll": "cancel_open_orders",
    "allOrders": "all_orders",
    "myTrades": "my_trades",
    "myPreventedMatches": "prevented_matches",
    "myFilters": "my_filters",
    "orderList.place": "place_old_oco",
    "orderList.place.oto": "place_oto",
    "orderList.place.opo": "place_opo",
    "orderList.place.oco": "place_oco",
    "orderList.place.otoco": "place_otoco",
    "orderList.place.opoco": "place_opoco",
    "orderList.cancel": "cancel_list",
    "orderList.status": "order_list",
    "openOrderLists.status": "open_lists",
    "allOrderLists": "all_lists",
}
