"""Spot's reads of what befell an account's orders, and of the filters that bind it (binance-spot 3.5, 9).

Each method takes the caller's account and what was sent, and returns the answer's content.
"""

from paper_exchange import spot_reports as reports
from paper_exchange.config import Instrument
from paper_exchange.exchange import Exchange
from paper_exchange.model import Account, Order
from paper_exchange.spot_database import SpotDatabase
from paper_exchange.spot_errors import bad_combination
from paper_exchange.spot_finding import SpotFinding
from paper_exchange.spot_info import exchange_filters, filters_of
from paper_exchange.spot_params import Params
from paper_exchange.spot_wire import Row, quantity

# What may be sent beside `symbol` and `limit`; the venue's pages list these three.
PREVENTED: tuple[set[str], ...] = (
    {"preventedMatchId"},
    {"orderId"},
    {"orderId", "fromPreventedMatchId"},
)


class SpotHistory:
    """Amendments, prevented matches, an account's own filters."""

    def __init__(self, exchange: Exchange, finding: SpotFinding, database: SpotDatabase) -> None:
        self._exchange = exchange
        self._finding = finding
        self._database = database

    def amendments(self, account: Account, params: Params) -> list[Row]:
        symbol, order_id = params.need("symbol"), params.whole("orderId", needed=True)
        first, limit = params.whole("fromExecutionId"), params.limit(500, 1000)
        params.finish()
        instrument = self._finding.instrument(symbol)
        found = self._finding.order_of(account, symbol, (order_id, ""))
        order = None if found is None else self._database.order(found)
        rows = () if order is None else order.amendments
        kept = [one for one in rows if first is None or one.execution_id >= first]
        return [reports.amendment(order, one, instrument) for one in kept[:limit] if order is not None]

    def prevented_matches(self, account: Account, params: Params) -> list[Row]:
        symbol = params.need("symbol")
        sent = {name for name in ("preventedMatchId", "orderId", "fromPreventedMatchId") if name in params}
        number, order_id = params.whole("preventedMatchId"), params.whole("orderId")
        first, limit = params.whole("fromPreventedMatchId"), params.limit(500, 1000)
        params.finish()
        instrument = self._finding.instrument(symbol)
        if sent not in PREVENTED:
            raise bad_combination()
        rows: dict[int, Row] = {}
        for order in self._told_orders(account, instrument, order_id):
            for one in order.prevented_matches:
                if number in (None, one.prevented_id) and (first is None or one.prevented_id >= first):
                    row = reports.prevented(order, one, instrument, account.trade_group)
                    rows[one.prevented_id] = row
        return [rows[prevented_id] for prevented_id in sorted(rows)][:limit]

    def _told_orders(self, account: Account, instrument: Instrument, order_id: int | None) -> list[Order]:
        state = self._exchange.state
        if order_id is not None:
            order = self._exchange.order(account, order_id)
            orders = [] if order is None or order.symbol != instrument.symbol else [order]
        else:
            orders = [o for o in state.by_account[account.key] if o.symbol == instrument.symbol]
        told = (self._database.order(order) for order in orders)
        return [order for order in told if order is not None]

    def my_filters(self, account: Account, params: Params) -> Row:
        """The symbol's and the exchange's filters as they bind this account, and its assets' own."""
        symbol = params.need("symbol")
        params.finish()
        instrument = self._finding.instrument(symbol)
        settings = self._exchange.state.config.spot
        return {
            "exchangeFilters": exchange_filters(settings),
            "symbolFilters": filters_of(instrument),
            "assetFilters": [
                {"filterType": "MAX_ASSET", "asset": asset, "limit": quantity(instrument, limit)}
                for asset, limit in settings.max_assets.items()
                if asset in (instrument.base, instrument.quote)
            ],
        }
