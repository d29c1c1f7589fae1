"""Binance Spot's public side: exchange info, last trades, price tickers as cheap confirmation."""

from collections.abc import AsyncIterator, Callable, Mapping, Set
from urllib.parse import urlsplit

import aiohttp
import msgspec

from market_service.venues import aggregate_trades, spot_parse
from market_service.venues.connection import Connection, Rejections, StreamPlace
from market_service.venues.door import Door
from market_service.venues.port import FeeRates, Listing, OnTick, Reading, ReadRefused, Tick
from market_service.venues.rest import PublicRest, WeightBudget
from market_service.venues.stream import TradeStream
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.settings import Settings, SpotHosts

# REST and streams of Binance's Spot venues, by name (binance-spot 1.1).
LIVE: Mapping[SpotHosts, tuple[str, str]] = {
    "prod": ("https://data-api.binance.vision", "wss://data-stream.binance.vision/stream"),
    "testnet": ("https://testnet.binance.vision", "wss://stream.testnet.binance.vision/stream"),
    "demo": ("https://demo-api.binance.com", "wss://demo-stream.binance.com/stream"),
}
STREAM_PATH = "/stream"

EXCHANGE_INFO = "/api/v3/exchangeInfo"
AGG_TRADES = "/api/v3/aggTrades"
PRICES = "/api/v3/ticker/price"

SYMBOLS_PER_SOCKET = 1000  # the venue's limit is 1024
EXCHANGE_INFO_WEIGHT = 20
AGG_TRADES_WEIGHT = 4
ONE_PRICE_WEIGHT = 2
MANY_PRICES_WEIGHT = 4


class SpotMarket:
    """Spot as a MarketVenue."""

    venue = Venue.SPOT
    symbols_per_read = 100

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
        """Every symbol. Raises Unavailable."""
        raw = await self._rest.get(EXCHANGE_INFO, {}, weight=EXCHANGE_INFO_WEIGHT)
        return self._rest.understood(lambda: spot_parse.read_listing(raw))

    async def fee_rates(self, symbol: str) -> FeeRates | None:
        """None: Spot tells fees to the account only."""
        return None

    async def last_trades(self, known: Mapping[str, Tick | None]) -> AsyncIterator[Reading]:
        """The last trade of each symbol. Raises Unavailable.

        One ticker call confirms all whose price is still the known one, for the weight of a
        single trade read; only the others' trades are read.
        """
        asked_at = self._clock.now()
        unchanged = await self._unchanged({s: tick for s, tick in known.items() if tick is not None})
        for tick in unchanged.values():
            yield Reading(tick, asked_at)
        for symbol in [symbol for symbol in known if symbol not in unchanged]:
            asked_at = self._clock.now()
            if newest := await self._last_trade(symbol):
                yield Reading(newest, asked_at)

    async def _unchanged(self, known: Mapping[str, Tick]) -> dict[str, Tick]:
        if not known:
            return {}
        names = list(known)
        single = len(names) == 1
        query = {"symbol": names[0]} if single else {"symbols": msgspec.json.encode(names).decode()}
        try:
            raw = await self._rest.get(
                PRICES, query, weight=ONE_PRICE_WEIGHT if single else MANY_PRICES_WEIGHT
            )
        except ReadRefused:
            return {}  # one symbol the venue no longer has must not hide the others
        prices = self._rest.understood(lambda: spot_parse.read_prices(raw))
        return {symbol: tick for symbol, tick in known.items() if prices.get(symbol) == tick.price}

    async def _last_trade(self, symbol: str) -> Tick | None:
        query = {"symbol": symbol, "limit": "1"}
        raw = await self._rest.get(AGG_TRADES, query, weight=AGG_TRADES_WEIGHT)
        now = self._clock.now()
        return self._rest.understood(lambda: aggregate_trades.newest_of_rows(raw, symbol, now))

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
        return LIVE[settings.spot_hosts]
    paper = urlsplit(settings.paper.url.rstrip("/"))
    scheme = "wss" if paper.scheme == "https" else "ws"
    return paper.geturl(), paper._replace(scheme=scheme, path=paper.path + STREAM_PATH).geturl()
