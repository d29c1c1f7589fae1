"""Spot's market streams, fed by the exchange's events and by their own beats (binance-spot 5).

Frames are made only for names somebody subscribed to. Trades and the best quotes go out with the
event, the rest on the beat the venue publishes for it.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import parse_qs, unquote

import msgspec

from paper_exchange import spot_frames as frames
from paper_exchange.exchange import Exchange
from paper_exchange.faults import Scope
from paper_exchange.http import Request
from paper_exchange.intervals import HOUR_MS, MINUTE_MS, OF_SPOT, candles
from paper_exchange.lifetimes import Keepalive, Lifetime
from paper_exchange.market import Market
from paper_exchange.model import AggTrade, BookEvent, Event
from paper_exchange.spot_limits import SpotLimits
from paper_exchange.spot_rolling import rolling_frame
from paper_exchange.spot_subscriber import Subscriber
from paper_exchange.spot_wire import UNITS, Row
from paper_exchange.streams import HANG_UP, Connection, Send, market_payload

ALL_MINI = "!miniTicker@arr"
WINDOWS = ("1h", "4h", "1d")
SECOND_MS = 1000
DEPTH_LEVELS = 5000
_DEPTH = re.compile(r"depth(5|10|20)?(@100ms|@1000ms)?")
_KLINE = re.compile(r"kline_(\d+[smhdwM])(?:@([+-]\d{2}):(\d{2}))?")

Frame = Callable[[int], Sequence[object]]


class Beat(msgspec.Struct):
    """One timed stream: when it is due again, and the payloads it has then."""

    symbol: str | None
    every_ms: int
    due_ms: int
    frame: Frame


class MarketConnection(msgspec.Struct, eq=False):
    """A subscriber and the streams that must know when its names change."""

    subscriber: Subscriber
    streams: "SpotStreams"
    remote: str
    lifetime: Lifetime
    keepalive: Keepalive | None

    def receive(self, frame: str | bytes) -> None:
        self.streams.hear(self, frame)

    def pinged(self) -> None:
        self.streams.count(self)

    def ponged(self, payload: bytes) -> None:
        if self.keepalive is not None:
            self.keepalive.pong(payload)
        self.streams.count(self)


class SpotStreams:
    """Owns the connections, an index of their names, and the beats."""

    def __init__(self, exchange: Exchange, limits: SpotLimits) -> None:
        self._exchange = exchange
        self._limits = limits
        self._settings = exchange.state.config.spot
        self._connections: list[MarketConnection] = []
        self._listeners: dict[str, list[Subscriber]] = {}
        self._beats: dict[str, Beat] = {}
        self._best: dict[str, tuple[object, ...]] = {}

    # Connections.

    def serves(self, path: str) -> bool:
        return path in ("/ws", "/stream") or path.startswith("/ws/")

    def connect(self, request: Request, send: Send, *, pings: bool) -> MarketConnection:
        """`/ws/<name>` and `/stream?streams=` subscribe at once; a name of nothing is no fault."""
        wanted = parse_qs(request.query_string)
        combined = request.path == "/stream"
        listed = wanted.get("streams", [""])[0] if combined else unquote(request.path.removeprefix("/ws"))
        subscriber = Subscriber(
            send,
            [name for name in listed.split("/") if name],
            combined=combined,
            micros=UNITS.get(wanted.get("timeUnit", [""])[0], False),
            messages_per_second=self._settings.stream_messages_per_second,
            errors=self._settings.stream_errors,
        )
        settings, now = self._settings, self._exchange.now_ms
        lifetime = Lifetime(now, settings.connection_seconds, settings.shutdown_warning_seconds)
        keepalive = Keepalive(send, now) if pings else None
        connection = MarketConnection(subscriber, self, request.remote, lifetime, keepalive)
        self._connections.append(connection)
        self._reindex()
        return connection

    def disconnect(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections = [one for one in self._connections if one is not connection]
            self._reindex()

    def hear(self, connection: MarketConnection, frame: str | bytes) -> None:
        if not connection.subscriber.hear(frame, self._exchange.now_ms):
            return self._turn_out(connection)
        return self._reindex()

    def count(self, connection: MarketConnection) -> None:
        """Pings and pongs count among a client's messages (binance-spot 5)."""
        if not connection.subscriber.takes(self._exchange.now_ms):
            self._turn_out(connection)

    def _turn_out(self, connection: MarketConnection) -> None:
        if connection not in self._connections:
            return  # what else was on its way when it was ended
        self._limits.disconnected(connection.remote, self._exchange.now_ms)
        self.disconnect(connection)

    def _reindex(self) -> None:
        self._listeners = {}
        for connection in self._connections:
            for name in connection.subscriber.names:
                self._listeners.setdefault(name, []).append(connection.subscriber)
        for name in [name for name in self._beats if name not in self._listeners]:
            del self._beats[name]
        for name in [name for name in self._listeners if name not in self._beats]:
            beat = self._beat_of(name)
            if beat is not None:
                self._beats[name] = beat

    # With the event.

    def publish(self, events: list[Event]) -> None:
        if not self._listeners:
            return
        for event in events:
            if isinstance(event, AggTrade | BookEvent):
                market = self._exchange.state.markets[event.symbol]
                if market.instrument.venue != "spot":
                    continue
                if isinstance(event, AggTrade):
                    self._publish_trade(event, market)
                else:
                    self._publish_best(market)

    def _publish_trade(self, trade: AggTrade, market: Market) -> None:
        prefix = trade.symbol.lower()
        if f"{prefix}@aggTrade" in self._listeners:
            self._send(f"{prefix}@aggTrade", trade.symbol, frames.agg_trade_frame(trade, market))
        if f"{prefix}@trade" in self._listeners:
            for frame in frames.trade_frames(trade, market):
                self._send(f"{prefix}@trade", trade.symbol, frame)

    def _publish_best(self, market: Market) -> None:
        symbol = market.instrument.symbol
        name = f"{symbol.lower()}@bookTicker"
        if name not in self._listeners:
            return
        quotes = (*market.book.depth("BUY", 1), *market.book.depth("SELL", 1))
        if self._best.get(symbol) != quotes:
            self._best[symbol] = quotes
            self._send(name, symbol, frames.book_ticker_frame(market))

    def _send(self, name: str, symbol: str | None, payload: object) -> None:
        scope = Scope("spot", "market_stream", symbol=symbol, stream=name)
        payload = market_payload(payload, self._exchange.faults, scope)
        for subscriber in self._listeners.get(name, ()):
            if payload is not None:
                subscriber.tell(name, payload, self._exchange.faults, scope)

    # On a beat.

    def next_due(self) -> int | None:
        dues = [beat.due_ms for beat in self._beats.values()]
        dues += [connection.lifetime.next_due() for connection in self._connections]
        dues += [one.keepalive.next_due() for one in self._connections if one.keepalive is not None]
        return min(dues, default=None)

    def advance(self, now_ms: int) -> None:
        self._end_lives(now_ms)
        for name, beat in list(self._beats.items()):
            if beat.due_ms <= now_ms:
                beat.due_ms = now_ms + beat.every_ms
                for payload in beat.frame(now_ms):
                    self._send(name, beat.symbol, payload)

    def _end_lives(self, now_ms: int) -> None:
        """Connections end after a day, or a while after the server said that it goes (binance-spot 5)."""
        scope = Scope("spot", "market_stream")
        for connection in list(self._connections):
            if connection.lifetime.warns(self._exchange.faults, scope, now_ms):
                connection.subscriber.say_shutdown(now_ms)
            answers = connection.keepalive is None or connection.keepalive.advance(now_ms)
            if connection.lifetime.until_ms <= now_ms or not answers:
                connection.subscriber.send_frame(HANG_UP)
                self.disconnect(connection)

    def _beat_of(self, name: str) -> Beat | None:
        """The beat a stream's name asks for, if it is a timed one."""
        if name == ALL_MINI:
            return self._beat(None, SECOND_MS, _All(self._exchange, frames.mini_ticker_frame).frame)
        if (window := name.removeprefix("!ticker_").removesuffix("@arr")) in WINDOWS and name[0] == "!":
            shape = partial(rolling_frame, name=window)
            return self._beat(None, SECOND_MS, _All(self._exchange, shape).frame)
        prefix, _, kind = name.partition("@")
        market = self._exchange.state.markets.get(prefix.upper())
        if market is None or market.instrument.venue != "spot" or prefix != prefix.lower():
            return None
        symbol = market.instrument.symbol
        if kind == "miniTicker":
            return self._beat(symbol, SECOND_MS, lambda now: [frames.mini_ticker_frame(market, now)])
        if kind == "ticker":
            return self._beat(symbol, SECOND_MS, lambda now: [frames.ticker_frame(market, now)])
        if kind == "referencePrice":
            return self._beat(symbol, SECOND_MS, lambda now: frames.reference_frames(market, now))
        if (window := kind.removeprefix("ticker_")) in WINDOWS:
            return self._beat(symbol, SECOND_MS, lambda now: [rolling_frame(market, now, window)])
        if kind == "avgPrice":
            return self._beat(symbol, SECOND_MS, lambda now: [frames.average_frame(market, now)])
        if found := _DEPTH.fullmatch(kind):
            every_ms = 100 if found[2] == "@100ms" else SECOND_MS
            return self._beat(symbol, every_ms, _Depth(market, int(found[1] or 0)).frame)
        if (found := _KLINE.fullmatch(kind)) and found[1] in OF_SPOT:
            minutes = int(found[2] or 0) * HOUR_MS // MINUTE_MS
            minutes += int(found[3] or 0) * (-1 if (found[2] or "").startswith("-") else 1)
            every_ms = SECOND_MS if found[1] == "1s" else 2 * SECOND_MS
            return self._beat(symbol, every_ms, _Klines(market, found[1], minutes * MINUTE_MS).frame)
        return None

    def _beat(self, symbol: str | None, every_ms: int, frame: Frame) -> Beat:
        return Beat(symbol, every_ms, self._exchange.now_ms + every_ms, frame)


class _Depth:
    """A depth stream: whole levels, or what changed since it last spoke."""

    def __init__(self, market: Market, limit: int) -> None:
        self._market = market
        self._limit = limit
        self._told = market.book.update_id
        self._bids, self._asks = self._levels()

    def _levels(self) -> tuple[frames.Levels, frames.Levels]:
        partial = frames.partial_depth_frame(self._market, self._limit or DEPTH_LEVELS)
        return dict(partial["bids"]), dict(partial["asks"])

    def frame(self, now_ms: int) -> list[Row]:
        market, told = self._market, self._told
        if told == market.book.update_id:
            return []
        self._told = market.book.update_id
        if self._limit:
            return [frames.partial_depth_frame(market, self._limit)]
        before, (self._bids, self._asks) = (self._bids, self._asks), self._levels()
        bids = frames.changes(before[0], self._bids, market)
        asks = frames.changes(before[1], self._asks, market)
        return [frames.depth_frame(market, now_ms, told, bids, asks)]


class _Klines:
    """A candle stream: the running candle when it changed, and before it the one that just closed."""

    def __init__(self, market: Market, interval: str, shift_ms: int) -> None:
        self._market = market
        self._interval = interval
        self._shift_ms = shift_ms
        self._told: dict[int, Row] = {}

    def frame(self, now_ms: int) -> list[Row]:
        found = candles(self._market.tape, self._interval, self._shift_ms)[-2:]
        told, self._told = self._told, {}
        rows = []
        for candle in found:
            row = frames.kline_frame(candle, self._market, now_ms, self._interval, self._shift_ms)
            if row["k"] != told.get(candle.open_ms) and (told or candle is found[-1]):
                rows.append(row)
            self._told[candle.open_ms] = row["k"]
        return rows


class _All:
    """Every symbol's ticker: only those that traded since it last spoke."""

    def __init__(self, exchange: Exchange, shape: Callable[[Market, int], Row]) -> None:
        self._shape = shape
        every = exchange.state.markets.values()
        self._markets = [market for market in every if market.instrument.venue == "spot"]
        self._told: dict[str, int] = {}

    def frame(self, now_ms: int) -> list[list[Row]]:
        rows = []
        for market in self._markets:
            symbol = market.instrument.symbol
            if self._told.get(symbol) != market.record.agg_id:
                self._told[symbol] = market.record.agg_id
                rows.append(self._shape(market, now_ms))
        return [rows] if rows else []
