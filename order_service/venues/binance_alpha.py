"""Binance Alpha by a website session: the venue port over the private interface of binance-alpha.

Owns the cache of last prices; what is listed is alpha_listing's. Every spelling of the private interface is
in alpha_parse. Alpha takes no client ids and sizes the pending SELL itself; its pushes are hints, the
ledger is read.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import urlencode

from order_service.venues import alpha_parse as alpha
from order_service.venues import alpha_rules
from order_service.venues.alpha_listing import AlphaListing
from order_service.venues.fields import Unreadable, decode, row_of
from order_service.venues.port import (
    AssetBalance,
    Credential,
    FeeRates,
    Limits,
    Placed,
    StreamNews,
    StreamSink,
    Transport,
    VenueNotReached,
    VenueOrder,
    VenueRefused,
    VenueSilent,
)
from order_service.venues.reading import (
    READ_SECONDS,
    Kept,
    before_sending,
    read_world,
    repeat,
)
from order_service.venues.streaming import keep_up, listen
from otopilot.clock import Clock, to_ms
from otopilot.instrument import Instrument, Venue
from otopilot.order import LegRole, Order, Trade, VenueOrderId

T = TypeVar("T")

SEND_SECONDS = 10.0
SEND_WITHIN = timedelta(seconds=1)  # of the order's timestamp, or not at all (architecture 5.3)
PRICE_SECONDS = 1.0
RENEW_SECONDS = 25 * 60.0  # the listen key's life is unknown; authors assume an hour
HISTORY_ROWS = 100
MAX_HISTORY_PAGES = 200
MAX_PRICES = 1000
MAX_KEPT_TRADES = 5000
_CREATED_AROUND = timedelta(seconds=60)
_LATER = timedelta(days=1)


class AlphaVenue:
    """The venue; accounts share its connections and caches."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        rest_url: str,
        stream_url: str,
        world_url: str | None = None,
        numbers_as_text: bool = False,
    ) -> None:
        self._transport = transport
        self.clock = clock
        self._rest_url = rest_url.rstrip("/")
        self.stream_url = stream_url.rstrip("/") + alpha.STREAM
        self._world_url = world_url
        self.numbers_as_text = numbers_as_text
        self._listing = AlphaListing(
            clock,
            lambda: self.get(alpha.EXCHANGE_INFO, {}, {}, alpha_rules.symbols),
            lambda: self.get(alpha.TOKEN_LIST, {}, {}, alpha_rules.withdrawn),
        )
        self._prices: dict[str, Kept[Decimal]] = {}

    @property
    def venue(self) -> Venue:
        """Which one."""
        return Venue.ALPHA

    @property
    def has_client_ids(self) -> bool:
        """Alpha assigns client ids itself (binance-alpha 3.5)."""
        return False

    @property
    def sizes_pending(self) -> bool:
        """The SELL gets what the BUY received (binance-alpha 4.1)."""
        return True

    def account(self, user_id: str, credential: Credential) -> "AlphaAccount":
        """The private side of one user. ValueError for another kind of credential."""
        if credential.kind != "session":
            raise ValueError(f"user {user_id}: Alpha takes a session, not {credential.kind}")
        return AlphaAccount(self, credential)

    async def world(self) -> str:
        """The paper exchange's world id; empty on the real venue."""
        return "" if self._world_url is None else await read_world(self._transport, self._world_url)

    async def ready(self) -> None:
        """Always: Alpha takes no timestamps of ours."""

    async def instrument(self, symbol: str) -> Instrument:
        """The rules of a symbol; VenueRefused `unknown_symbol`."""
        return await self._listing.instrument(symbol)

    async def known_instrument(self, symbol: str) -> Instrument:
        """The same, however old: a placement does not wait for a refresh."""
        return await self._listing.known_instrument(symbol)

    async def base_asset(self, symbol: str) -> str:
        """The alpha id of a symbol's token."""
        return await self._listing.base_asset(symbol)

    async def time(self) -> datetime:
        """Ours: Alpha takes no timestamps of ours and tells no time."""
        return self.clock.now()

    def told_limits(self) -> Limits | None:
        """Alpha publishes none."""
        return None

    def doubt_rules(self, symbol: str) -> None:
        """An order was denied by them (see the port)."""
        self._listing.doubt()

    async def last_price(self, symbol: str) -> Decimal:
        """Price of the last trade."""
        if symbol not in self._prices:
            if len(self._prices) >= MAX_PRICES:
                self._prices.clear()

            async def read() -> Decimal:
                query = {"symbol": symbol, "limit": "1"}
                return await self.get(alpha.AGG_TRADES, query, {}, alpha.last_price)

            self._prices[symbol] = Kept(self.clock, PRICE_SECONDS, read, keep_last=False)
        return await self._prices[symbol].get()

    async def band_price(self, symbol: str) -> Decimal | None:
        """The last price: Alpha tells nobody what it takes, and its bands are wide (binance-alpha 1.2)."""
        return await self.last_price(symbol)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    # For this venue's accounts.

    async def get(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], parse: Callable[[Any], T]
    ) -> T:
        """A read by GET, repeated when it fails without a refusal."""
        url = f"{self._rest_url}{path}{'?' if query else ''}{urlencode(query)}"
        return await repeat(lambda: self._exchange("GET", url, headers, b"", parse, READ_SECONDS))

    async def query(self, path: str, headers: Mapping[str, str], body: bytes, parse: Callable[[Any], T]) -> T:
        """A read that the venue wants as a POST; repeated like one by GET."""
        url = self._rest_url + path
        return await repeat(lambda: self._exchange("POST", url, headers, body, parse, READ_SECONDS))

    async def send(
        self,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        parse: Callable[[Any], T],
        not_after: datetime | None = None,
    ) -> T:
        """A placement or a cancel: sent once, and unknown unless the answer says otherwise."""
        url = self._rest_url + path
        return await self._exchange(
            "POST", url, headers, body, parse, SEND_SECONDS, not_after=not_after, writing=True
        )

    async def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        parse: Callable[[Any], T],
        seconds: float,
        *,
        not_after: datetime | None = None,
        writing: bool = False,
    ) -> T:
        if body:
            headers = {**headers, "content-type": "application/json"}
        response = await self._transport.request(
            method, url, headers=headers, body=body, timeout_seconds=seconds, not_after=not_after
        )
        data = alpha.data_of(response, self.clock.now(), writing=writing)
        try:
            return parse(data)
        except Unreadable as error:
            raise VenueSilent("unreadable", str(error)) from error

    async def listen(
        self, subscribe: str, read: Callable[[str], bool | Iterable[StreamNews]], sink: StreamSink
    ) -> None:
        """One life of an order stream. No header of the session goes there: it needs none."""
        socket = await self._transport.connect(self.stream_url)
        await listen(socket, subscribe, read, sink, renew_seconds=RENEW_SECONDS)


class AlphaAccount:
    """One user's private side."""

    def __init__(self, venue: AlphaVenue, credential: Credential) -> None:
        self._venue = venue
        self._credential = credential
        # Trades of orders whose rows were complete: they can never change (bounded, oldest out).
        self._trades: OrderedDict[VenueOrderId, tuple[Decimal, tuple[Trade, ...]]] = OrderedDict()

    async def place(self, order: Order) -> Placed:
        """Send an order, once (see the port)."""
        instrument = await before_sending(self._venue.known_instrument(order.symbol))
        path, body = alpha.placement(order, instrument, numbers_as_text=self._venue.numbers_as_text)
        return await self._venue.send(
            path,
            self._credential.headers(),
            body,
            lambda data: alpha.placed(order, data, self._venue.clock.now()),
            not_after=order.submitted_at + SEND_WITHIN,
        )

    async def cancel(self, order: Order, role: LegRole) -> None:
        """Ask that one leg be cancelled, by the venue's id."""
        venue_id = order.leg(role).venue_order_id
        if venue_id is None:
            raise VenueNotReached("no_venue_id", "Alpha cancels by its own id only")
        body = json.dumps({"orderId": venue_id, "symbol": order.symbol}).encode()
        try:
            await self._venue.send(alpha.CANCEL, self._credential.headers(), body, lambda _: None)
        except VenueSilent as error:
            if alpha.is_not_open(error):
                raise VenueRefused("not_open", error.message) from error
            raise

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """Every open order on the symbol, pending legs included."""
        return await self._get(
            alpha.OPEN_ORDERS, {"side": ""}, lambda data: alpha.orders(alpha.rows(data), symbol)
        )

    async def order_history(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """Orders of any status created at or after `since`, oldest first: open ones and history."""
        found = await self._every_order(symbol, since)
        return tuple(order for order in found if order.created_at >= since)

    async def look_up(self, order: Order, role: LegRole) -> VenueOrder | None:
        """One leg by the venue's id, from open orders and history: a query by id is not documented."""
        venue_id = order.leg(role).venue_order_id
        if venue_id is None:
            raise VenueNotReached("no_venue_id", "Alpha has no query by an id of ours")
        around = order.submitted_at - _CREATED_AROUND
        open_orders = await self.open_orders(order.symbol)
        if found := _find(open_orders, venue_id):
            return found
        created = await self._history(order.symbol, around, order.submitted_at + _CREATED_AROUND)
        if found := _find(created, venue_id):
            return found
        # Should the venue's time filter mean the time of the last change.
        return _find(await self._history(order.symbol, around, self._venue.clock.now() + _LATER), venue_id)

    async def trades_of(self, symbol: str, venue_order_id: VenueOrderId) -> tuple[Trade, ...]:
        """Every trade of one order."""
        query = {"orderId": venue_order_id, "symbol": symbol}
        return _by_age(
            await self._get(alpha.USER_TRADES, query, lambda data: alpha.trades(data, venue_order_id))
        )

    async def trades_since(self, symbol: str, since: datetime) -> tuple[Trade, ...]:
        """Trades at or after `since` of orders created since then or still open, oldest first.

        An order created earlier that ended in between is not found this way: the history's time
        filter is by creation. Whoever knows such an order reads it by trades_of.
        """
        trades: list[Trade] = []
        for order in await self._every_order(symbol, since):
            if order.executed_quantity > 0:
                trades += await self._all_trades(order)
        return _by_age(trade for trade in trades if trade.traded_at >= since)

    async def balances(self) -> tuple[AssetBalance, ...]:
        """Quote assets of the funding wallet, then Alpha tokens by alpha id."""
        body = b'{"includeWallets":["CARD","MAIN","SAVING"],"includeEq":true}'
        headers = self._credential.headers()
        quotes = await self._venue.query(
            alpha.WALLET_ASSET, headers, body, lambda data: tuple(alpha.funding(data))
        )
        return quotes + await self._get(alpha.ALPHA_WALLET, {}, lambda data: tuple(alpha.tokens(data)))

    async def fee_rates(self, symbol: str) -> FeeRates:
        """The fee rates on the symbol."""
        return await self._get(alpha.FEE_RATE, {"symbol": symbol}, alpha.fee_rates)

    async def order_limits(self, symbol: str) -> Mapping[str, Decimal]:
        """None: Alpha knows no limits of an account."""
        return {}

    async def run_stream(self, sink: StreamSink) -> None:
        """Keep the order stream up until cancelled, with a fresh key every 25 minutes."""
        await keep_up(self._stream_once, sink, self._venue.clock)

    async def _stream_once(self, sink: StreamSink) -> None:
        key = await self._venue.query(alpha.LISTEN_KEY, self._credential.headers(), b"{}", alpha.listen_key)
        subscribe = json.dumps({"method": "SUBSCRIBE", "params": [f"alpha@{key}"], "id": 2})
        await self._venue.listen(subscribe, _read_frame, sink)

    async def _get(self, path: str, query: Mapping[str, str], parse: Callable[[Any], T]) -> T:
        return await self._venue.get(path, query, self._credential.headers(), parse)

    async def _every_order(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """Open orders first, then history: what ends in between shows in both and misses neither."""
        found = {order.venue_order_id: order for order in await self.open_orders(symbol)}
        history = await self._history(symbol, since, self._venue.clock.now() + _LATER)
        found |= {order.venue_order_id: order for order in history}
        return tuple(sorted(found.values(), key=lambda order: (order.created_at, order.venue_order_id)))

    async def _history(self, symbol: str, since: datetime, until: datetime) -> tuple[VenueOrder, ...]:
        """Pages until one is not full; the venue's total is not relied on (binance-alpha 3.5)."""
        base = await self._venue.base_asset(symbol)
        found: dict[VenueOrderId, VenueOrder] = {}
        for page in range(1, MAX_HISTORY_PAGES + 1):
            query = {
                "page": str(page),
                "rows": str(HISTORY_ROWS),
                "orderStatus": alpha.HISTORY_STATUSES,
                "startTime": str(to_ms(since)),
                "endTime": str(to_ms(until)),
                "kind": "LIMIT",
                "baseAsset": base,
            }
            rows, orders = await self._get(alpha.HISTORY, query, lambda data: _page(data, symbol))
            found |= {order.venue_order_id: order for order in orders}
            if rows < HISTORY_ROWS:
                return tuple(found.values())
        raise VenueSilent("too_many_rows", f"more than {MAX_HISTORY_PAGES} pages of history")

    async def _all_trades(self, order: VenueOrder) -> tuple[Trade, ...]:
        kept = self._trades.get(order.venue_order_id)
        if kept is not None and kept[0] == order.executed_quantity:
            return kept[1]
        trades = await self.trades_of(order.symbol, order.venue_order_id)
        if sum(trade.quantity for trade in trades) == order.executed_quantity:
            self._trades[order.venue_order_id] = (order.executed_quantity, trades)
            if len(self._trades) > MAX_KEPT_TRADES:
                self._trades.popitem(last=False)
        return trades


def _page(data: Any, symbol: str) -> tuple[int, tuple[VenueOrder, ...]]:
    """How many rows of any kind came, and the orders among them."""
    rows = alpha.rows(data)
    return len(rows), alpha.orders(rows, symbol)


def _find(orders: Iterable[VenueOrder], venue_order_id: VenueOrderId) -> VenueOrder | None:
    return next((order for order in orders if order.venue_order_id == venue_order_id), None)


def _by_age(trades: Iterable[Trade]) -> tuple[Trade, ...]:
    return tuple(sorted(trades, key=lambda trade: (trade.traded_at, len(trade.key), trade.key)))


def _read_frame(frame: str) -> bool | list[StreamNews]:
    message = row_of(decode(frame), "frame")
    if "stream" in message:
        return alpha.pushed(message)
    if message.get("error") is not None:
        raise VenueRefused("subscribe", "the venue refused the subscription")
    # An answer without a result was seen too, so the id alone is the acknowledgement.
    return message.get("id") == "2"
