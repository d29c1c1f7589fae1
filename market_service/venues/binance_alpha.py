"""Binance Alpha's public side: token list, exchange info, fee rate, last trades."""

from collections.abc import AsyncIterator, Callable, Mapping, Set
from functools import partial
from urllib.parse import urlsplit

import aiohttp

from market_service.venues import alpha_parse
from market_service.venues.connection import Connection, Rejections, StreamPlace
from market_service.venues.door import Door
from market_service.venues.port import FeeRates, Listing, OnTick, Reading, Tick
from market_service.venues.rest import PublicRest, WeightBudget
from market_service.venues.stream import TradeStream
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.settings import Settings

LIVE_REST = "https://www.binance.com"
LIVE_STREAM = "wss://nbstream.binance.com/w3w/wsa/stream"
STREAM_PATH = "/w3w/wsa/stream"

TOKEN_LIST = "/bapi/defi/v1/public/wallet-direct/buw/wallet/cex/alpha/all/token/list"  # noqa: S105 - a path
EXCHANGE_INFO = "/bapi/defi/v1/public/alpha-trade/get-exchange-info"
FEE_RATE = "/bapi/defi/v1/public/alpha-trade/get-fee-rate"
AGG_TRADES = "/bapi/defi/v1/public/alpha-trade/agg-trades"

SYMBOLS_PER_SOCKET = 200  # no limit is published; this is the neighbour's on the same host
WEIGHT = 1  # none is published either: every read counts as one


class AlphaMarket:
    """Alpha as a MarketVenue."""

    venue = Venue.ALPHA
    symbols_per_read = 1

    def __init__(self, settings: Settings, session: aiohttp.ClientSession, clock: Clock) -> None:
        self.url, stream_url = endpoints(settings)
        market = settings.market
        self._session = session
        self._clock = clock
        budget = WeightBudget(market.weight_per_minute, clock)
        self._door = Door(self.venue, self.url, clock)
        self._rest = PublicRest(self.venue, self.url, session, budget, clock, self._door)
        self._place = StreamPlace(self.venue, stream_url, SYMBOLS_PER_SOCKET, market.reconnect_seconds)
        self.rejections = Rejections(self.venue)

    async def listing(self) -> Listing:
        """Every pair with its token. Raises Unavailable."""
        tokens = await self._rest.get(TOKEN_LIST, {}, weight=WEIGHT)
        pairs = await self._rest.get(EXCHANGE_INFO, {}, weight=WEIGHT)
        return self._rest.understood(lambda: alpha_parse.read_listing(tokens, pairs))

    async def fee_rates(self, symbol: str) -> FeeRates | None:
        """The public fee rates. Raises Unavailable."""
        raw = await self._rest.get(FEE_RATE, {"symbol": symbol}, weight=WEIGHT)
        return self._rest.understood(lambda: alpha_parse.read_fee_rates(raw))

    async def last_trades(self, known: Mapping[str, Tick | None]) -> AsyncIterator[Reading]:
        """The last trade of each symbol, one read each. Raises Unavailable."""
        for symbol in known:
            asked_at = self._clock.now()
            query = {"symbol": symbol, "limit": "1"}
            raw = await self._rest.get(AGG_TRADES, query, weight=WEIGHT)
            tick = self._rest.understood(partial(alpha_parse.read_last_trade, raw, symbol, self._clock.now()))
            if tick is not None:
                yield Reading(tick, asked_at)

    def line(self, on_tick: OnTick, wanted: Callable[[], bool]) -> TradeStream:
        """A socket of the public stream, not yet running."""

        def connect(symbols: Set[str]) -> Connection:
            return Connection(
                self._place, self._session, self._clock, self._door, symbols, on_tick, wanted, self.rejections
            )

        return TradeStream(self._place, self._clock, connect)


def endpoints(settings: Settings) -> tuple[str, str]:
    """REST base and stream address. Live has no others than these."""
    if settings.mode == "live":
        return LIVE_REST, LIVE_STREAM
    paper = urlsplit(settings.paper.url.rstrip("/"))
    scheme = "wss" if paper.scheme == "https" else "ws"
    return paper.geturl(), paper._replace(scheme=scheme, path=paper.path + STREAM_PATH).geturl()
