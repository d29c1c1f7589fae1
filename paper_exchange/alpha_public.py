"""Alpha's public reads: token list, exchange info, ticker, trades, klines, depth, fees."""

from paper_exchange.alpha_errors import ParameterError
from paper_exchange.alpha_rows import (
    Row,
    agg_kline_row,
    agg_trade_row,
    depth_levels,
    kline_row,
    symbol_row,
    ticker_row,
    token_row,
)
from paper_exchange.exchange import Exchange
from paper_exchange.intervals import LENGTHS, candles
from paper_exchange.market import Market
from paper_exchange.tape import Candle

Query = dict[str, str]

DEPTH_LIMITS = (5, 10, 20, 50, 100, 500, 1000)


def whole(query: Query, name: str, default: int, most: int | None = None) -> int:
    """A non-negative integer parameter; blank counts as absent."""
    raw = query.get(name) or str(default)
    if not raw.isascii() or not raw.isdigit() or len(raw) > 18:
        raise ParameterError(f"Illegal parameter {name}.")
    return int(raw) if most is None else min(int(raw), most)


class AlphaPublic:
    """Answers from the exchange's markets; no account is involved."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def markets(self) -> list[Market]:
        return self._exchange.conditions.listed("alpha")

    def _market(self, query: Query) -> Market:
        symbol = query.get("symbol", "")
        if not symbol:
            raise ParameterError("Mandatory parameter 'symbol' was not sent.")
        return self._exchange.market(symbol, "alpha")

    def token_list(self, _: Query) -> list[Row]:
        rows = []
        for score, market in enumerate(reversed(self.markets()), 1):
            offline, offsell = self._exchange.conditions.is_withdrawn(market.instrument.symbol)
            rows.append(
                token_row(market, self._exchange.now_ms, offline=offline, offsell=offsell, score=score)
            )
        return rows[::-1]

    def exchange_info(self, _: Query) -> Row:
        symbols = [
            symbol_row(market.instrument, self._status(market.instrument.symbol)) for market in self.markets()
        ]
        quotes = dict.fromkeys(row["quoteAsset"] for row in symbols)
        return {
            "timezone": "UTC",
            "assets": [{"asset": asset} for asset in quotes],
            "symbols": symbols,
            "orderTypes": "LIMIT",
        }

    def _status(self, symbol: str) -> str:
        if self._exchange.conditions.is_withdrawn(symbol)[0]:
            return "DELISTED"
        return self._exchange.conditions.trading_status(symbol)

    def ticker(self, query: Query) -> Row:
        return ticker_row(self._market(query), self._exchange.now_ms)

    def agg_trades(self, query: Query) -> list[Row]:
        market = self._market(query)
        limit = whole(query, "limit", 500, 1000)
        since, until = whole(query, "startTime", 0), whole(query, "endTime", 10**15)
        first = whole(query, "fromId", 0)
        found = [t for t in market.tape.trades if t.agg_id >= first and since <= t.time_ms <= until]
        from_start = bool(query.get("fromId") or query.get("startTime"))
        kept = found[:limit] if from_start else found[-limit:] if limit else []
        return [agg_trade_row(trade, market.instrument) for trade in kept]

    def klines(self, query: Query) -> list[list[str]]:
        market, interval = self._market(query), query.get("interval", "")
        found = self._candles(market, query, interval)
        return [kline_row(candle, interval, market.instrument) for candle in found]

    def agg_klines(self, query: Query) -> list[list[str]]:
        """Of a contract on its chain: times and prices, and the quote amount (binance-alpha 1.4)."""
        place, interval = (query.get("tokenAddress"), query.get("chainId")), query.get("interval", "")
        for market in self.markets():
            token = market.instrument.token
            if token is not None and (token.contract_address, token.chain_id) == place:
                found = self._candles(market, query, interval)
                return [agg_kline_row(candle, interval, market.instrument) for candle in found]
        raise ParameterError("Illegal parameter tokenAddress.")

    def _candles(self, market: Market, query: Query, interval: str) -> list[Candle]:
        if interval not in LENGTHS:
            raise ParameterError("Invalid interval.")
        since, until = whole(query, "startTime", 0), whole(query, "endTime", 10**15)
        limit = whole(query, "limit", 500, 1500)
        found = [one for one in candles(market.tape, interval) if since <= one.open_ms <= until]
        return found[-limit:] if limit else []

    def depth(self, query: Query) -> Row:
        market = self._market(query)
        limit = whole(query, "limit", 100)
        if limit not in DEPTH_LIMITS:
            raise ParameterError("Illegal parameter limit.")
        bids, asks = depth_levels(market, limit, crossed=self._exchange.state.config.alpha.crossed_book)
        now = self._exchange.now_ms
        return {
            "lastUpdateId": market.book.update_id,
            "symbol": market.instrument.symbol,
            "bids": bids,
            "asks": asks,
            "E": now,
            "T": now,
        }

    def fee_rate(self, query: Query) -> Row:
        """In millionths: 100 is 0.01 % (binance-alpha 1.4)."""
        self._market(query)
        settings = self._exchange.state.config.alpha
        return {
            "buyerCommission": int(settings.buyer_fee * 10**6),
            "sellerCommission": int(settings.seller_fee * 10**6),
        }

    def from_asset(self, _: Query) -> list[str]:
        return ["USDT", "USDC", "U"]
