"""Binance Spot by API keys: the venue port over the WS API and REST.

Owns the caches of rules and last prices, the venue's measured clock, the pool of connections for
orders and those for user data. What the wire says is read in spot_parse, spot_rules and spot_answers.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from order_service.venues import limits
from order_service.venues import spot_parse as spot
from order_service.venues.fields import row_of
from order_service.venues.further import another_request
from order_service.venues.port import (
    AssetBalance,
    Credential,
    FeeRates,
    Limits,
    Placed,
    StreamSink,
    Transport,
    VenueOrder,
    VenueRefused,
    VenueSilent,
)
from order_service.venues.reading import HALTED_SECONDS, Kept, before_sending, read_world
from order_service.venues.spot_band import BandPrices
from order_service.venues.spot_calls import SpotCalls
from order_service.venues.spot_rest import SpotRest
from order_service.venues.spot_rules import CANCEL, STATUS, Rules, placement, rules
from order_service.venues.spot_user_data import UserData
from order_service.venues.ws_pool import CONNECTIONS, WsPool
from otopilot.clock import Clock, to_ms
from otopilot.instrument import Instrument, InstrumentStatus, Venue
from otopilot.order import LegRole, Order, Trade, VenueOrderId

T = TypeVar("T")
R = TypeVar("R", VenueOrder, Trade)

SEND_WITHIN = timedelta(seconds=1)  # of the order's timestamp, or not at all (architecture 5.3)
CANCEL_SECONDS = 4.0  # over a socket; a cancel may be sent again, and a socket may be dead unnoticed
RULES_SECONDS = 300.0
PRICE_SECONDS = 1.0
MAX_SYMBOLS = 1000
PAGE_ROWS = 1000
MAX_PAGES = 200
MOST_WINDOWS = 7
_WINDOW = timedelta(hours=24) - timedelta(milliseconds=1)
# The filters, the precision, or the symbol is closed or gone: nothing more is sent by old rules.
_RULES_CHANGED = ("filter", "refused", "bad_precision", "unknown_symbol")


class SpotVenue:
    """The venue; accounts share its connections and caches."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        rest_url: str,
        ws_api_url: str,
        world_url: str | None = None,
        world: str = "",
        recv_window_ms: int = 2000,
        order_connections: int = CONNECTIONS,
    ) -> None:
        self._transport = transport
        self.clock = clock
        self.rest = SpotRest(transport, clock, rest_url, recv_window_ms)
        self.pool = WsPool(transport, clock, ws_api_url, order_connections)
        self.calls = SpotCalls(self.rest, self.pool)
        self.user_data = UserData(
            transport, clock, ws_api_url, lambda credential: self.rest.ws_params(credential, {})
        )
        self._world_url = world_url
        self._world = world
        self._rules: dict[str, Kept[Rules]] = {}
        self._prices: dict[str, Kept[Decimal]] = {}
        self._bands = BandPrices(self.rest, clock)
        self._told_limits: Limits | None = None

    @property
    def venue(self) -> Venue:
        """Which one."""
        return Venue.SPOT

    @property
    def has_client_ids(self) -> bool:
        """Orders carry ids of ours and can be looked up by them."""
        return True

    @property
    def sizes_pending(self) -> bool:
        """Only where `opo_allowed`; so a leg's quantity is given, net of commission, always."""
        return False

    def account(self, user_id: str, credential: Credential) -> "SpotAccount":
        """The private side of one user. ValueError for another kind of credential."""
        if credential.kind == "session":
            raise ValueError(f"user {user_id}: Spot takes an API key, not a session")
        return SpotAccount(self, credential)

    async def world(self) -> str:
        """The paper exchange's world id; the name of a test venue; empty on the real one."""
        return self._world if self._world_url is None else await read_world(self._transport, self._world_url)

    async def ready(self) -> None:
        """May orders be signed? VenueNotReached while the venue's time is not known well enough."""
        await self.rest.server_clock.check()

    async def instrument(self, symbol: str) -> Instrument:
        """The rules of a symbol; VenueRefused `unknown_symbol`."""
        found = (await self._kept_rules(symbol).get()).instrument
        if found.status is InstrumentStatus.TRADING:
            return found
        return (await self._kept_rules(symbol).get(HALTED_SECONDS)).instrument

    async def known_instrument(self, symbol: str) -> Instrument:
        """The same, however old: a placement does not wait for a refresh."""
        return (await self.known_rules(symbol)).instrument

    async def known_rules(self, symbol: str) -> Rules:
        """All the rules, however old."""
        return await self._kept_rules(symbol).known()

    async def time(self) -> datetime:
        """The venue's time: ours plus the measured offset."""
        offset_ms = await self.rest.server_clock.offset_ms(any_age=True)
        return self.clock.now() + timedelta(milliseconds=offset_ms)

    def told_limits(self) -> Limits | None:
        """What the newest rules said of requests and orders (binance-spot 8)."""
        return self._told_limits

    def distrust_rules(self, symbol: str) -> None:
        """The venue refused what these rules allow: they have changed (reliability 29)."""
        self._kept_rules(symbol).distrust()

    def doubt_rules(self, symbol: str) -> None:
        """An order was denied by them (see the port)."""
        self._kept_rules(symbol).doubt()

    async def last_price(self, symbol: str) -> Decimal:
        """Price of the last trade."""

        async def read() -> Decimal:
            return await self.rest.get("/api/v3/ticker/price", {"symbol": symbol}, spot.last_price)

        kept = Kept(self.clock, PRICE_SECONDS, read, keep_last=False)
        return await _bounded(self._prices).setdefault(symbol, kept).get()

    async def band_price(self, symbol: str) -> Decimal | None:
        """What its price bands are measured from; never waits longer than BAND_WITHIN_SECONDS."""
        known = await self.known_rules(symbol)
        if not known.instrument.has_price_band:
            return None
        return await self._bands.get(symbol, known.band_minutes)

    async def aclose(self) -> None:
        """Close every connection."""
        await self.user_data.aclose()
        await self.pool.aclose()
        await self._transport.aclose()

    def _kept_rules(self, symbol: str) -> Kept[Rules]:
        async def read() -> Rules:
            return await self.rest.get("/api/v3/exchangeInfo", {"symbol": symbol}, parse)

        def parse(answer: Any) -> Rules:
            self._told_limits = limits.told_by_spot(answer) or self._told_limits
            return rules(answer, symbol)

        kept = Kept(self.clock, RULES_SECONDS, read, keep_last=True)
        return _bounded(self._rules).setdefault(symbol, kept)


class SpotAccount:
    """One user's private side."""

    def __init__(self, venue: SpotVenue, credential: Credential) -> None:
        self._venue = venue
        self._credential = credential

    async def place(self, order: Order) -> Placed:
        """Send an order, once (see the port)."""
        known = await before_sending(self._venue.known_rules(order.symbol))
        call, params = placement(order, known)
        counts: dict[int, int] = {}
        try:
            placed = await self._venue.calls.send(
                self._credential,
                call,
                params,
                lambda answer: spot.placed(order, answer, self._venue.clock.now()),
                at=order.submitted_at,
                not_after=order.submitted_at + SEND_WITHIN,
                counts=counts.update,
            )
        except VenueRefused as refusal:
            if refusal.code in _RULES_CHANGED:
                self._venue.distrust_rules(order.symbol)
            raise
        return msgspec.structs.replace(placed, order_counts=counts)

    async def cancel(self, order: Order, role: LegRole) -> None:
        """Ask that one leg be cancelled; on this venue that ends the whole list (binance-spot 3.5).

        Both shapes of the answer, an order and a list, say the same: done.
        """
        params = {**_address(order, role), "newClientOrderId": f"o{order.order_id}c"}
        await self._venue.calls.send(
            self._credential,
            CANCEL,
            params,
            lambda answer: row_of(answer, "answer"),
            at=self._venue.clock.now(),
            seconds=CANCEL_SECONDS,
        )

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """Every open order on the symbol."""
        return await self._get("/api/v3/openOrders", {"symbol": symbol}, spot.orders)

    async def order_history(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """Orders of any status created at or after `since`, oldest first."""
        found = await self._sweep(
            "/api/v3/allOrders", symbol, since, spot.orders, "orderId", lambda order: order.venue_order_id
        )
        return tuple(order for order in found if order.created_at >= since)

    async def look_up(self, order: Order, role: LegRole) -> VenueOrder | None:
        """One leg by the venue's id, else by our client id."""
        try:
            return await self._venue.calls.ask(
                self._credential,
                STATUS,
                _address(order, role),
                lambda answer: spot.order(row_of(answer, "order")),
            )
        except VenueRefused as error:
            if error.code == "no_such_order":
                return None
            if error.code == "archived" and order.leg(role).reported_quantity == 0:
                return spot.archived(order, role, self._venue.clock.now())
            raise

    async def trades_of(self, symbol: str, venue_order_id: VenueOrderId) -> tuple[Trade, ...]:
        """Every trade of one order."""
        query = {"symbol": symbol, "orderId": venue_order_id}
        first = await self._get("/api/v3/myTrades", {**query, "limit": str(PAGE_ROWS)}, spot.trades)
        return await self._rest_of(
            "/api/v3/myTrades", query, first, spot.trades, "fromId", lambda trade: trade.key
        )

    async def trades_since(self, symbol: str, since: datetime) -> tuple[Trade, ...]:
        """Every trade of the account on the symbol at or after `since`, oldest first."""
        found = await self._sweep(
            "/api/v3/myTrades", symbol, since, spot.trades, "fromId", lambda trade: trade.key
        )
        return tuple(trade for trade in found if trade.traded_at >= since)

    async def balances(self) -> tuple[AssetBalance, ...]:
        """Every balance that is not zero."""
        return await self._get("/api/v3/account", {"omitZeroBalances": "true"}, spot.balances)

    async def fee_rates(self, symbol: str) -> FeeRates:
        """The account's fee rates on the symbol."""
        return await self._get("/api/v3/account/commission", {"symbol": symbol}, spot.fee_rates)

    async def order_limits(self, symbol: str) -> Mapping[str, Decimal]:
        """MAX_ASSET of the symbol's assets, which only the account's own filters tell (binance-spot 2.3)."""
        return await self._get("/api/v3/myFilters", {"symbol": symbol}, spot.order_limits)

    async def run_stream(self, sink: StreamSink) -> None:
        """Keep the user data subscription up until cancelled."""
        self._venue.pool.start()
        await self._venue.user_data.run(self._credential, sink)

    async def _get(self, path: str, params: Mapping[str, str], parse: Callable[[Any], T]) -> T:
        return await self._venue.rest.signed_get(self._credential, path, params, parse)

    async def _sweep(
        self,
        path: str,
        symbol: str,
        since: datetime,
        parse: Callable[[Any], tuple[R, ...]],
        id_name: str,
        id_of: Callable[[R], str],
    ) -> tuple[R, ...]:
        """Windows of at most 24 hours until one has something, then page on by id to the end.

        What goes back further than a few windows is read by id from the first on: years of empty
        days would cost a request each.
        """
        offset = timedelta(milliseconds=await self._venue.rest.server_clock.offset_ms())
        start, end = since, self._venue.clock.now() + offset
        if end - start > MOST_WINDOWS * _WINDOW:
            query = {"symbol": symbol, id_name: "1", "limit": str(PAGE_ROWS)}
            first = await self._get(path, query, parse)
            return await self._rest_of(path, {"symbol": symbol}, first, parse, id_name, id_of)
        while start <= end:
            if start > since:
                await another_request()
            query = {
                "symbol": symbol,
                "startTime": str(to_ms(start)),
                "endTime": str(to_ms(start + _WINDOW)),
                "limit": str(PAGE_ROWS),
            }
            first = await self._get(path, query, parse)
            if first:
                last = start + _WINDOW >= end
                return await self._rest_of(path, {"symbol": symbol}, first, parse, id_name, id_of, last=last)
            start += _WINDOW
        return ()

    async def _rest_of(
        self,
        path: str,
        query: Mapping[str, str],
        first: tuple[R, ...],
        parse: Callable[[Any], tuple[R, ...]],
        id_name: str,
        id_of: Callable[[R], str],
        *,
        last: bool = True,
    ) -> tuple[R, ...]:
        """A first page and all that follow it by id; `last`: a page that is not full is the last."""
        found, page = {id_of(row): row for row in first}, first
        for _ in range(MAX_PAGES):
            if not page or (last and len(page) < PAGE_ROWS):
                return tuple(found[key] for key in sorted(found, key=int))
            after = str(max(int(key) for key in found) + 1)
            await another_request()
            page = await self._get(path, {**query, id_name: after, "limit": str(PAGE_ROWS)}, parse)
            found |= {id_of(row): row for row in page}
            last = True
        raise VenueSilent("too_many_rows", f"more than {MAX_PAGES} pages")


def _address(order: Order, role: LegRole) -> dict[str, str]:
    """How the venue is told which leg: by its own id once that is known (architecture 5.8)."""
    leg = order.leg(role)
    if leg.venue_order_id is not None:
        return {"symbol": order.symbol, "orderId": leg.venue_order_id}
    return {"symbol": order.symbol, "origClientOrderId": leg.client_id}


def _bounded(cache: dict[str, Kept[T]]) -> dict[str, Kept[T]]:
    if len(cache) >= MAX_SYMBOLS:
        cache.clear()
    return cache
