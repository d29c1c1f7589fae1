"""Alpha's public streams and order stream, fed by the exchange's events.

Frames are made only for names somebody subscribed to. Depth and all-token tickers go out on
their own beat, the rest with the event.
"""

import re
from decimal import Decimal

import msgspec

from paper_exchange.alpha_frames import (
    agg_trade_frame,
    book_ticker_frame,
    depth_frame,
    kline_frame,
    order_frame,
    ticker24_frame,
    trade_frame,
)
from paper_exchange.alpha_timed import BEAT_MS, Timed, timed_of
from paper_exchange.exchange import Exchange
from paper_exchange.faults import Scope
from paper_exchange.http import Request, encode
from paper_exchange.market import Market
from paper_exchange.model import AggTrade, BookEvent, Event, OrderEvent
from paper_exchange.numbers import padded
from paper_exchange.spoiling import spoiled
from paper_exchange.streams import HANG_UP, Connection, Send, Session, market_payload

PUBLIC_PATH = "/w3w/wsa/stream"
ORDER_PATH = "/w3w/stream"
ALL_TOKENS = "came@allTokens@ticker24"
TICKER_BEAT_MS = 1000
ALL_BEST = "!bookTicker"
DEPTH_LEVELS = 1000
_DEPTH = re.compile("(fulldepth|depth(5|10|20))@(0ms|100ms|500ms)")
DEPTH_SPEEDS = {"0ms": 100, "100ms": 100, "500ms": 500}
EVENT_KINDS = ("aggTrade", "trade", "bookTicker", "kline_1m")

Levels = dict[Decimal, Decimal]


class Depth(msgspec.Struct):
    """What subscribers of one depth stream have been told so far."""

    market: Market
    beat_ms: int
    due_ms: int
    update_id: int
    bids: Levels
    asks: Levels
    limit: int = DEPTH_LEVELS


class AlphaStreams:
    """Owns the sessions of both socket paths and the beats of the timed streams."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._settings = exchange.state.config.alpha
        self._sessions: list[Session] = []
        self._depths: dict[str, Depth] = {}
        self._timed: dict[str, Timed] = {}
        self._ticker_due_ms = 0
        self._best: dict[str, tuple[object, ...]] = {}

    def serves(self, path: str) -> bool:
        return path in (PUBLIC_PATH, ORDER_PATH)

    def connect(self, request: Request, send: Send, *, pings: bool) -> Session:
        accepts = self._accepts_order if request.path == ORDER_PATH else self._accepts_public
        session = Session(send, accepts, self._settings, lambda: self._exchange.now_ms, pings=pings)
        self._sessions.append(session)
        return session

    def disconnect(self, connection: Connection) -> None:
        self._sessions = [session for session in self._sessions if session is not connection]
        self._depths = {name: d for name, d in self._depths.items() if self._listeners(name)}
        self._timed = {name: t for name, t in self._timed.items() if self._listeners(name)}

    def _accepts_order(self, session: Session, name: str) -> bool:
        key = name.removeprefix("alpha@")
        account = self._exchange.state.accounts.by_listen_key(key, self._exchange.now_ms)
        return key != name and bool(key) and account is not None

    def _accepts_public(self, session: Session, name: str) -> bool:
        if name in (ALL_TOKENS, ALL_BEST):
            return True
        if (timed := timed_of(self._exchange, name)) is not None:
            self._timed.setdefault(name, timed)
            return True
        symbol, _, kind = name.partition("@")
        market = self._exchange.state.markets.get(symbol.upper())
        if market is None or market.instrument.venue != "alpha" or symbol != symbol.lower():
            return False
        if found := _DEPTH.fullmatch(kind):
            self._open_depth(name, market, DEPTH_SPEEDS[found[3]], int(found[2] or DEPTH_LEVELS))
            return True
        return kind in EVENT_KINDS

    def _listeners(self, name: str) -> list[Session]:
        return [session for session in self._sessions if name in session.names]

    def _send(self, name: str, symbol: str | None, payload: object) -> None:
        scope = Scope("alpha", "market_stream", symbol=symbol, stream=name)
        payload = None if payload is None else market_payload(payload, self._exchange.faults, scope)
        if payload is None:
            return
        frame = HANG_UP
        if payload != HANG_UP:
            frame = spoiled(encode({"stream": name, "data": payload}), self._exchange.faults, scope)
        for session in self._listeners(name):
            session.push_frame(frame)

    # With the event.

    def publish(self, events: list[Event]) -> None:
        """Turn what just happened into frames, in order."""
        if not self._sessions:
            return
        for event in events:
            if isinstance(event, OrderEvent):
                self._publish_order(event)
            elif isinstance(event, AggTrade):
                self._publish_trade(event)
            elif isinstance(event, BookEvent):
                self._publish_book(event)

    def _publish_order(self, event: OrderEvent) -> None:
        market = self._exchange.state.markets[event.order.symbol]
        account = self._exchange.state.accounts.owner(event.order.account)
        if account.venue != "alpha" or self._exchange.now_ms >= account.listen_key_until_ms:
            return
        if not self._settings.sibling_event and self._ended_with_its_sibling(event):
            return
        name = f"alpha@{account.listen_key}"
        scope = Scope("alpha", "order_stream", account.user_id, event.order.symbol)
        frame = encode({"stream": name, "data": order_frame(event, market)})
        for session in self._listeners(name):
            session.push_order(frame, self._exchange.faults, scope, event.time_ms)

    def _ended_with_its_sibling(self, event: OrderEvent) -> bool:
        """A pending leg that ends before its trigger ends with the working leg (binance-alpha 4.2)."""
        order = event.order
        if order.leg != "pending" or order.list_id is None or event.execution not in ("CANCELED", "EXPIRED"):
            return False
        return not self._exchange.state.lists[order.list_id].triggered

    def _publish_trade(self, trade: AggTrade) -> None:
        market = self._exchange.state.markets[trade.symbol]
        if market.instrument.venue != "alpha":
            return
        prefix = f"{trade.symbol.lower()}@"
        for kind in ("aggTrade", "trade", "kline_1m"):
            if not self._listeners(prefix + kind):
                continue
            if kind == "kline_1m":
                self._send(prefix + kind, trade.symbol, kline_frame(market, trade.time_ms))
            else:
                frame = agg_trade_frame if kind == "aggTrade" else trade_frame
                self._send(prefix + kind, trade.symbol, frame(trade, market))

    def _publish_book(self, event: BookEvent) -> None:
        market = self._exchange.state.markets[event.symbol]
        names = [f"{event.symbol.lower()}@bookTicker", ALL_BEST]
        if market.instrument.venue != "alpha" or not any(self._listeners(name) for name in names):
            return
        best = (*market.book.depth("BUY", 1), *market.book.depth("SELL", 1))
        if self._best.get(event.symbol) != best:
            self._best[event.symbol] = best
            for name in names:
                self._send(name, event.symbol, book_ticker_frame(market, event.time_ms))

    # On a beat.

    def next_due(self) -> int | None:
        dues = [depth.due_ms for depth in self._depths.values()]
        dues += [timed.due_ms for timed in self._timed.values()]
        dues += [session.next_due() for session in self._sessions]
        if self._listeners(ALL_TOKENS):
            dues.append(self._ticker_due_ms)
        return min(dues, default=None)

    def advance(self, now_ms: int) -> None:
        """Send what is due by itself."""
        self._expire_keys()
        for session in list(self._sessions):
            if not session.advance(now_ms):
                self.disconnect(session)
        for name, depth in self._depths.items():
            if depth.due_ms <= now_ms:
                depth.due_ms = now_ms + depth.beat_ms
                self._publish_depth(name, depth, now_ms)
        for name, timed in list(self._timed.items()):
            if timed.due_ms <= now_ms:
                timed.due_ms = now_ms + BEAT_MS
                symbol = timed.markets[0].record.symbol if len(timed.markets) == 1 else None
                for frame in timed.frames(now_ms):
                    self._send(name, symbol, frame)
        if self._ticker_due_ms <= now_ms and self._listeners(ALL_TOKENS):
            self._ticker_due_ms = now_ms + TICKER_BEAT_MS
            self._send(
                ALL_TOKENS, None, ticker24_frame(self._exchange, self._exchange.conditions.listed("alpha"))
            )

    def _expire_keys(self) -> None:
        """A fault can end the listen key of whoever listens, with no word of it (binance-alpha 3.6)."""
        state, faults = self._exchange.state, self._exchange.faults
        if not faults.has("order_terminate"):
            return
        for account in state.accounts.all():
            name = f"alpha@{account.listen_key}"
            if account.venue != "alpha" or self._exchange.now_ms >= account.listen_key_until_ms:
                continue
            scope = Scope("alpha", "order_stream", account.user_id)
            if faults.holds("order_terminate", scope) and self._listeners(name):
                faults.strike(scope, "order_terminate")
                account.listen_key_until_ms = self._exchange.now_ms
                self._exchange.save_account(account)

    def _open_depth(self, name: str, market: Market, beat_ms: int, limit: int) -> None:
        if name not in self._depths:
            bids, asks = _levels(market, limit)
            due = self._exchange.now_ms + beat_ms
            self._depths[name] = Depth(market, beat_ms, due, market.book.update_id, bids, asks, limit)

    def _publish_depth(self, name: str, depth: Depth, now_ms: int) -> None:
        market = depth.market
        if depth.update_id == market.book.update_id:
            return
        bids, asks = _levels(market, depth.limit)
        changes = [_changes(depth.bids, bids, market), _changes(depth.asks, asks, market)]
        self._send(name, market.instrument.symbol, depth_frame(market, now_ms, depth.update_id, *changes))
        depth.update_id, depth.bids, depth.asks = market.book.update_id, bids, asks


def _levels(market: Market, limit: int) -> tuple[Levels, Levels]:
    return dict(market.book.depth("BUY", limit)), dict(market.book.depth("SELL", limit))


def _changes(before: Levels, after: Levels, market: Market) -> list[list[str]]:
    """Levels that are new or other than before; a quantity of zero deletes one."""
    gone = {price: Decimal(0) for price in before if price not in after}
    moved = {price: quantity for price, quantity in after.items() if before.get(price) != quantity}
    prices, quantities = market.instrument.price_precision, market.instrument.base_precision
    return [[padded(p, prices), padded(q, quantities)] for p, q in (gone | moved).items()]
