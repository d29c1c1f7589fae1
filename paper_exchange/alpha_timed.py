"""Alpha streams that beat once a second: tickers, candles by contract or over a minute (binance-alpha 2).

A payload is made only when the symbol has traded since the last one.
"""

import re
from collections.abc import Callable

import msgspec

from paper_exchange.alpha_frames import contract_kline_frame, kline_frame, mini_ticker_frame, ticker_frame
from paper_exchange.alpha_rows import Row
from paper_exchange.exchange import Exchange
from paper_exchange.intervals import LENGTHS
from paper_exchange.market import Market

BEAT_MS = 1000
CONTRACT_INTERVALS = ("1s", "1m", "5m", "15m", "1h", "4h", "1d")
_CONTRACT = re.compile(r"came@(?P<contract>[^@]+)@(?P<chain>[^@]+)@kline_(?P<interval>[0-9]+[smhd])")

Shape = Callable[[Market, int], Row | None]


class Timed(msgspec.Struct):
    """One stream on its beat: of these markets, in this shape; `told` is what has been told of each."""

    markets: list[Market]
    shape: Shape
    due_ms: int
    as_array: bool = False
    told: dict[str, int] = {}

    def frames(self, now_ms: int) -> list[object]:
        """What is to be told now."""
        rows: list[object] = []
        for market in self.markets:
            if self.told.get(market.record.symbol) != market.record.agg_id:
                self.told[market.record.symbol] = market.record.agg_id
                if (row := self.shape(market, now_ms)) is not None:
                    rows.append(row)
        return [rows] if self.as_array and rows else rows


def timed_of(exchange: Exchange, name: str) -> Timed | None:
    """The timed stream of a name; None if there is no such one."""
    due_ms = exchange.now_ms + BEAT_MS
    listed = exchange.conditions.listed("alpha")
    whole = {"!miniTicker@arr": mini_ticker_frame, "!ticker@arr": ticker_frame}
    if name in whole:
        # Whether it is an array or one object after the other is not known (binance-alpha 2).
        as_array = exchange.state.config.alpha.all_tickers_as == "array"
        return Timed(listed, whole[name], due_ms, as_array)
    if found := _CONTRACT.fullmatch(name):
        market = _by_contract(listed, found["contract"], found["chain"])
        return None if market is None else _candles(market, found["interval"], due_ms)
    symbol, _, kind = name.partition("@")
    market = exchange.state.markets.get(symbol.upper())
    if market is None or market not in listed or symbol != symbol.lower():
        return None
    if kind in ("miniTicker", "ticker"):
        return Timed([market], mini_ticker_frame if kind == "miniTicker" else ticker_frame, due_ms)
    interval = kind.removeprefix("kline_")
    if interval == kind or interval not in LENGTHS or interval in ("1s", "1m"):
        return None  # those of a minute come with each trade
    return Timed([market], lambda one, now: kline_frame(one, now, interval), due_ms)


def _by_contract(listed: list[Market], contract: str, chain: str) -> Market | None:
    """By the token's address and chain, or by its id in the website's own names."""
    for market in listed:
        token = market.instrument.token
        if chain == "short" and contract.upper() == market.instrument.base:
            return market
        if token is not None and (token.contract_address, token.chain_id) == (contract, chain):
            return market
    return None


def _candles(market: Market, interval: str, due_ms: int) -> Timed | None:
    if interval not in CONTRACT_INTERVALS:
        return None
    return Timed([market], lambda one, now: contract_kline_frame(one, interval), due_ms)
