"""Spot's USER_DATA reads: balances, orders, lists, trades, counts (binance-spot 3.5, 4.1).

Each method takes the caller's account and what was sent, and returns the answer's content.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar
from zlib import crc32

from paper_exchange import spot_reports as reports
from paper_exchange.accounts import free_of, locked_of
from paper_exchange.config import Instrument
from paper_exchange.exchange import Exchange
from paper_exchange.model import OPEN, Account, Fill, Order, OrderList, Status
from paper_exchange.numbers import padded
from paper_exchange.spot_database import SpotDatabase
from paper_exchange.spot_errors import SpotError, bad_combination, too_far
from paper_exchange.spot_finding import SpotFinding
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_params import Params
from paper_exchange.spot_wire import Ms, Row, price, quantity

T = TypeVar("T")

DAY_HOURS = 24
DAY_MS = 86_400_000
MY_TRADES: tuple[set[str], ...] = (
    set(),
    {"orderId"},
    {"startTime"},
    {"endTime"},
    {"fromId"},
    {"startTime", "endTime"},
    {"orderId", "fromId"},
)


class SpotAccountData:
    """What an account may read about itself."""

    def __init__(
        self, exchange: Exchange, limits: SpotLimits, finding: SpotFinding, database: SpotDatabase
    ) -> None:
        self._exchange = exchange
        self._database = database
        self._settings = exchange.state.config.spot
        self._limits = limits
        self._finding = finding

    # Money.

    def account(self, account: Account, params: Params) -> Row:
        without_zero = params.flag("omitZeroBalances")
        params.finish()
        rates = self._finding.commission_rates()
        assets = sorted({*self._known_assets(), *account.free, *account.locked})
        rows = [
            {
                "asset": asset,
                "free": padded(free_of(account, asset), 8),
                "locked": padded(locked_of(account, asset), 8),
            }
            for asset in assets
            if not without_zero or free_of(account, asset) or locked_of(account, asset)
        ]
        row: Row = {f"{name}Commission": _bips(rate) for name, rate in rates.items()}
        row |= {
            "commissionRates": rates,
            "canTrade": account.key_trades,
            "canWithdraw": True,
            "canDeposit": True,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": Ms(self._updated_ms(account)),
            "accountType": "SPOT",
            "balances": rows,
            "permissions": list(account.permissions),
            "uid": crc32(account.key.encode()),
        }
        return row | ({"tradeGroupId": account.trade_group} if account.trade_group != -1 else {})

    def _known_assets(self) -> set[str]:
        spot = [i for i in self._exchange.state.config.instruments if i.venue == "spot"]
        return {i.base for i in spot} | {i.quote for i in spot}

    def _updated_ms(self, account: Account) -> int:
        """Of the newest order or trade: older orders are seldom what changed last."""
        orders = self._exchange.state.by_account[account.key][-20:]
        fills = self._exchange.state.fills_of_account[account.key][-1:]
        return max([account.created_ms, *(o.updated_ms for o in orders), *(f.time_ms for f in fills)])

    def commission(self, account: Account, params: Params) -> Row:
        instrument = self._instrument(params)
        params.finish()
        nothing = dict.fromkeys(("maker", "taker", "buyer", "seller"), "0.00000000")
        return {
            "symbol": instrument.symbol,
            "standardCommission": self._finding.commission_rates(),
            "specialCommission": nothing,
            "taxCommission": nothing,
            "discount": self._finding.discount(),
        }

    def rate_limits(self, account: Account, params: Params) -> list[Row]:
        params.finish()
        return self._limits.order_rows(account.key, self._exchange.now_ms)

    # Orders.

    def order(self, account: Account, params: Params) -> Row:
        symbol, selector = params.need("symbol"), self._finding.read_order_selector(params)
        params.finish()
        instrument = self._finding.instrument(symbol)
        order = self._finding.order_of(account, symbol, selector)
        if order is None:
            raise SpotError(-2013, "Order does not exist.")
        if self._is_archived(order):
            raise SpotError(
                -2026,
                "Order was canceled or expired with no executed qty over "
                f"{self._settings.archive_days} days ago and has been archived.",
            )
        return reports.queried(order, instrument)

    def _is_archived(self, order: Order) -> bool:
        """Ended long ago with nothing executed (binance-spot 3.3)."""
        if order.status in OPEN or order.executed:
            return False
        return order.updated_ms < self._exchange.now_ms - self._settings.archive_days * DAY_MS

    def open_orders(self, account: Account, params: Params) -> list[Row]:
        symbol = params.text("symbol") or None
        params.finish()
        if symbol is not None:
            self._finding.instrument(symbol)
        return [
            reports.queried(order, self._of(order))
            for order in self._exchange.open_orders(account, symbol)
            if self._settings.open_orders_show_pending or order.status is not Status.PENDING
        ]

    def all_orders(self, account: Account, params: Params) -> list[Row]:
        instrument, first = self._instrument(params), params.whole("orderId")
        since, until = _span(params, self._exchange.conditions.door_ms)
        limit = params.limit(500, 1000)
        params.finish()
        every = self._exchange.state.by_account[account.key]
        known = [self._database.order(o) for o in every if o.symbol == instrument.symbol]
        orders = [order for order in known if order is not None and not self._is_archived(order)]
        if first is not None:
            orders = [order for order in orders if order.order_id >= first][:limit]
        else:
            orders = _within(orders, lambda order: order.created_ms, since, until, limit)
        return [reports.queried(order, instrument) for order in orders]

    def my_trades(self, account: Account, params: Params) -> list[Row]:
        instrument = self._instrument(params)
        names = {name for name in ("orderId", "startTime", "endTime", "fromId") if name in params}
        order_id, from_id = params.whole("orderId"), params.whole("fromId")
        since, until = _span(params, self._exchange.conditions.door_ms)
        limit = params.limit(500, 1000)
        params.finish()
        if names not in MY_TRADES:
            raise bad_combination()
        fills: Sequence[Fill] = self._exchange.state.fills_of_account[account.key]
        if order_id is not None:
            order = self._exchange.order(account, order_id)
            fills = self._exchange.state.fills_of_order[order.order_id] if order else []
        told = self._exchange.conditions.told_fills(account, fills, "my_trades")
        found = [fill for fill in told if fill.symbol == instrument.symbol]
        if from_id is not None:
            found = [fill for fill in found if fill.match_id >= from_id][:limit]
        else:
            found = _within(found, lambda fill: fill.time_ms, since, until, limit)
        return [self._trade_row(fill, instrument) for fill in found]

    def _trade_row(self, fill: Fill, instrument: Instrument) -> Row:
        return {
            "symbol": fill.symbol,
            "id": fill.match_id,
            "orderId": fill.order_id,
            "orderListId": reports.list_id(self._exchange.state.orders[fill.order_id]),
            "price": price(instrument, fill.price),
            "qty": quantity(instrument, fill.quantity),
            "quoteQty": price(instrument, fill.quote),
            "commission": padded(fill.fee, 8),
            "commissionAsset": fill.fee_asset,
            "time": Ms(fill.time_ms),
            "isBuyer": fill.side == "BUY",
            "isMaker": fill.maker,
            "isBestMatch": True,
        }

    # Lists.

    def order_list(self, account: Account, params: Params) -> Row:
        selector = self._finding.read_list_selector(params, "origClientOrderId")
        params.finish()
        found = self._finding.list_of(account, selector, strict=False)
        order_list = None if found is None else self._database.order_list(found)
        if order_list is None:
            raise SpotError(self._settings.unknown_list_code, "Order list does not exist.")
        return self._list_row(order_list)

    def open_lists(self, account: Account, params: Params) -> list[Row]:
        params.finish()
        return [self._list_row(found) for found in self._finding.open_lists(account)]

    def all_lists(self, account: Account, params: Params) -> list[Row]:
        from_id = params.whole("fromId")
        if from_id is not None and ("startTime" in params or "endTime" in params):
            raise bad_combination()
        since, until = _span(params, self._exchange.conditions.door_ms)
        limit = params.limit(500, 1000)
        params.finish()
        known = [self._database.order_list(found) for found in self._finding.lists(account)]
        lists = [found for found in known if found is not None]
        if from_id is not None:
            lists = [found for found in lists if found.list_id >= from_id][:limit]
        else:
            lists = _within(lists, lambda found: found.created_ms, since, until, limit)
        return [self._list_row(found) for found in lists]

    def _list_row(self, order_list: OrderList) -> Row:
        legs = self._exchange.state.legs(order_list)
        return reports.list_row(order_list, legs, order_list.created_ms)

    # Symbols.

    def _instrument(self, params: Params) -> Instrument:
        return self._finding.instrument(params.need("symbol"))

    def _of(self, order: Order) -> Instrument:
        return self._exchange.state.markets[order.symbol].instrument


def _bips(rate: str) -> int:
    """A rate such as 0.00100000 as the older whole number of hundredths of a percent."""
    return int(rate.replace(".", "")) // 10_000 if rate.strip("0.") else 0


def _span(params: Params, now_ms: int) -> tuple[int | None, int | None]:
    since, until = params.span(now_ms)
    if since is not None and until is not None and until - since > DAY_MS:
        raise too_far(DAY_HOURS)
    return since, until


def _within(
    rows: Sequence[T], time_of: Callable[[T], int], since: int | None, until: int | None, limit: int
) -> list[T]:
    """With a start the oldest from there, else the newest up to the end (binance-spot 1.2)."""
    found = [
        row
        for row in rows
        if (since is None or time_of(row) >= since) and (until is None or time_of(row) <= until)
    ]
    return found[:limit] if since is not None else found[-limit:]
