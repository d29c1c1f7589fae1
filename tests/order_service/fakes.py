"""A venue in memory, in the words of the port, with a tiny book and scripted failures.

It keeps what a real one keeps (orders, lists, trades, balances) over restarts of the service, counts
what was sent to it, and does nothing by itself: a test fills, cancels and fails it (behaviours.py).
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from order_service.venues.port import (
    AssetBalance,
    Credential,
    FeeRates,
    Limits,
    OrderPushed,
    Placed,
    PlacedLeg,
    StreamSink,
    StreamUp,
    VenueNotReached,
    VenueOrder,
    VenueRefused,
    VenueSilent,
)
from otopilot.clock import Clock
from otopilot.instrument import Instrument, Side, Venue
from otopilot.money import ZERO
from otopilot.order import Fee, LegRole, LegStatus, Order, Trade, TradeKey, VenueOrderId
from tests.order_service.row import KOGE, Row

FEE = Decimal("0.0001")
INSTRUMENT = Instrument(
    venue=Venue.ALPHA,
    symbol=KOGE,
    token="KOGE",
    chain="BSC",
    base_asset="ALPHA_22",
    quote_asset="USDT",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    min_notional=Decimal(5),
)

Behaviour = Callable[["FakeAccount", Order], Awaitable[Placed]]


@dataclass
class FakeAccount:
    """One user's private side."""

    venue: "FakeVenue"
    user_id: str
    rows: dict[VenueOrderId, Row] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    quote: Decimal = Decimal(100_000)
    limits: dict[str, Decimal] = field(default_factory=dict)  # of one order, by asset
    placements: deque[Behaviour] = field(default_factory=deque)
    sent: list[Order] = field(default_factory=list)
    cancels: list[tuple[str, LegRole]] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    failing: dict[str, Exception] = field(default_factory=dict)
    cancels_to_lose: int = 0
    hidden_trades: set[VenueOrderId] = field(default_factory=set)
    sinks: list[StreamSink] = field(default_factory=list)
    silent: bool = False
    pushes: int = 1

    # ------------------------------------------------------------------ the port

    async def place(self, order: Order) -> Placed:
        """Do what the next behaviour says; without one, accept."""
        self.sent.append(order)
        await asyncio.sleep(0)
        behaviour = self.placements.popleft() if self.placements else accepted
        return await behaviour(self, order)

    async def cancel(self, order: Order, role: LegRole) -> None:
        """Cancel the leg; the list goes with it unless its working leg was filled."""
        self._call("cancel")
        await asyncio.sleep(0.001)
        leg = order.leg(role)
        self.cancels.append((order.order_id, role))
        row = self._find(leg.venue_order_id, leg.client_id)
        if self.cancels_to_lose:
            self.cancels_to_lose -= 1
            raise VenueSilent("timeout", "no answer to the cancel")
        if row is None or not row.is_open:
            raise VenueRefused("not_open", "unknown order")
        self.end(row, LegStatus.CANCELED)

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """What rests."""
        self._call("open_orders")
        await asyncio.sleep(0.001)
        return tuple(row.fact() for row in self.rows.values() if row.symbol == symbol and row.is_open)

    async def order_history(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """What was made since then."""
        self._call("order_history")
        await asyncio.sleep(0.001)
        rows = self.rows.values()
        return tuple(row.fact() for row in rows if row.symbol == symbol and row.created_at >= since)

    async def look_up(self, order: Order, role: LegRole) -> VenueOrder | None:
        """One leg by the venue's id or, where there are such, by ours."""
        self._call("look_up")
        await asyncio.sleep(0.001)
        leg = order.leg(role)
        row = self._find(leg.venue_order_id, leg.client_id)
        return row.fact() if row else None

    async def trades_of(self, symbol: str, venue_order_id: VenueOrderId) -> tuple[Trade, ...]:
        """One order's trades, but for the hidden ones."""
        self._call("trades_of")
        await asyncio.sleep(0.001)
        if venue_order_id in self.hidden_trades:
            return ()
        return tuple(trade for trade in self.trades if trade.venue_order_id == venue_order_id)

    async def trades_since(self, symbol: str, since: datetime) -> tuple[Trade, ...]:
        """Every trade since then, but for the hidden ones."""
        self._call("trades_since")
        await asyncio.sleep(0.001)
        shown = (t for t in self.trades if t.venue_order_id not in self.hidden_trades)
        return tuple(trade for trade in shown if trade.traded_at >= since)

    async def balances(self) -> tuple[AssetBalance, ...]:
        """The quote, less what is locked by BUYs."""
        self._call("balances")
        await asyncio.sleep(0.001)
        buys = (row for row in self.rows.values() if row.is_open and row.side is Side.BUY)
        locked = sum(((row.quantity - row.executed) * row.price for row in buys), ZERO)
        return (AssetBalance("USDT", self.quote - locked, locked),)

    async def fee_rates(self, symbol: str) -> FeeRates:
        """The same for everybody."""
        self._call("fee_rates")
        return FeeRates(self.venue.fee, self.venue.fee)

    async def order_limits(self, symbol: str) -> Mapping[str, Decimal]:
        """As set."""
        self._call("order_limits")
        return self.limits

    async def run_stream(self, sink: StreamSink) -> None:
        """Up until cancelled."""
        self.sinks.append(sink)
        try:
            sink(StreamUp())
            await asyncio.Event().wait()
        finally:
            self.sinks.remove(sink)

    # ------------------------------------------------------------------ what a test does

    def accept(self, order: Order) -> list[Row]:
        """Put an order of ours on the books."""
        list_id = self.venue.next_id() if order.pending is not None else None
        rows = []
        for leg in order.legs:
            pending = leg.role is LegRole.PENDING
            row = Row(
                venue_id=VenueOrderId(self.venue.next_id()),
                side=leg.side,
                price=leg.price,
                quantity=leg.quantity,
                status=LegStatus.PENDING if pending else LegStatus.OPEN,
                created_at=self.now(),
                updated_at=self.now(),
                client_id=leg.client_id,
                list_id=list_id,
                role=leg.role if list_id is not None else None,
            )
            self.rows[row.venue_id] = row
            rows.append(row)
        return rows

    def foreign(self, side: Side, price: str, quantity: str, *, made: float = 0.0) -> Row:
        """An order placed by hand, so many seconds ago."""
        at = self.now() - timedelta(seconds=made)
        amount = Decimal(quantity)
        venue_id = VenueOrderId(self.venue.next_id())
        row = Row(venue_id, side, Decimal(price), amount, LegStatus.OPEN, at, at, client_id="web_1")
        self.rows[venue_id] = row
        return row

    def fill(self, row: Row, quantity: str | None = None) -> Trade:
        """Trade so much of an order at its price, or all that is left."""
        amount = row.quantity - row.executed if quantity is None else Decimal(quantity)
        buys = row.side is Side.BUY
        rate = self.venue.fee
        fee = Fee("ALPHA_22", amount * rate) if buys else Fee("USDT", amount * row.price * rate)
        trade = Trade(
            key=TradeKey(f"{row.venue_id}/{self.venue.next_id()}"),
            side=row.side,
            price=row.price,
            quantity=amount,
            quote=amount * row.price,
            fee=fee,
            traded_at=self.now(),
            venue_order_id=row.venue_id,
        )
        self.trades.append(trade)
        row.executed += amount
        row.executed_quote += trade.quote
        row.updated_at = self.now()
        self.quote += -trade.quote if buys else trade.quote
        if row.executed == row.quantity:
            row.status = LegStatus.FILLED
            self._trigger(row)
        self.push(row)
        return trade

    def end(self, row: Row, status: LegStatus) -> None:
        """End an order without a trade; either leg's end ends an untriggered list."""
        sibling = self.sibling(row)
        row.status, row.updated_at = status, self.now()
        if sibling is not None and sibling.is_open:
            sibling.status, sibling.updated_at = status, self.now()
            self.push(sibling)
        self.push(row)

    def sibling(self, row: Row) -> Row | None:
        """The other leg of its list."""
        others = (r for r in self.rows.values() if r.list_id == row.list_id and r is not row)
        return next(others, None) if row.list_id is not None else None

    def row(self, order: Order, role: LegRole = LegRole.WORKING) -> Row:
        """The row of a leg."""
        leg = order.leg(role)
        row = self._find(leg.venue_order_id, leg.client_id)
        assert row is not None
        return row

    def push(self, row: Row) -> None:
        """Tell the streams, unless they are silent."""
        for sink in [] if self.silent else list(self.sinks):
            for _ in range(self.pushes):
                sink(OrderPushed(row.fact()))

    def now(self) -> datetime:
        """The venue's time, to the millisecond."""
        now = self.venue.clock.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def _trigger(self, row: Row) -> None:
        pending = self.sibling(row)
        if pending is not None and pending.status is LegStatus.PENDING:
            pending.status = LegStatus.OPEN
            pending.quantity = self.venue.known.quantity_after_fee(row.executed, self.venue.fee)
            pending.updated_at = self.now()
            self.push(pending)

    def _find(self, venue_id: VenueOrderId | None, client_id: str) -> Row | None:
        if venue_id is not None:
            return self.rows.get(venue_id)
        named = (r for r in self.rows.values() if r.client_id == client_id)
        return next(named, None) if client_id and self.venue.has_client_ids else None

    def _call(self, name: str) -> None:
        self.calls[name] += 1
        if name in self.failing:
            raise self.failing[name]


class FakeVenue:
    """The venue: instrument, price, world, and its accounts."""

    def __init__(self, clock: Clock, venue: Venue = Venue.ALPHA) -> None:
        self.clock = clock
        self.venue = venue
        self.known = instrument_of(venue)
        self.price = Decimal(48)
        self.fee = FEE
        self.world_id = "w1"
        self.world_takes = 0.0  # seconds to tell it
        self.accounts: dict[str, FakeAccount] = {}
        self.delay = 0.0
        self.band_unknown = False
        self.clock_unknown = False
        self.ahead = timedelta()  # of the service's clock
        self.rules_take = 0.0  # seconds that reading them anew takes
        self.doubted: list[str] = []  # whose rules were doubted
        self.limits: Limits | None = None
        self._ids = 5000

    @property
    def has_client_ids(self) -> bool:
        """Spot takes ids of ours, Alpha none."""
        return self.venue is Venue.SPOT

    @property
    def sizes_pending(self) -> bool:
        """The SELL gets what the BUY received."""
        return True

    def account(self, user_id: str, credential: Credential) -> FakeAccount:
        """The user's account, the same over restarts. ValueError for another kind of credential."""
        if (credential.kind == "session") is not (self.venue is Venue.ALPHA):
            raise ValueError(f"{self.venue} takes no {credential.kind}")
        return self.accounts.setdefault(user_id, FakeAccount(self, user_id))

    async def world(self) -> str:
        """Which world."""
        await asyncio.sleep(self.world_takes)
        return self.world_id

    async def ready(self) -> None:
        """Always, unless the test says that its clock is unknown."""
        if self.clock_unknown:
            raise VenueNotReached("clock", "uncertain")

    async def instrument(self, symbol: str) -> Instrument:
        """KOGE, and nothing else."""
        await asyncio.sleep(self.rules_take)
        return await self.known_instrument(symbol)

    async def known_instrument(self, symbol: str) -> Instrument:
        """The same, at once."""
        if symbol != KOGE:
            raise VenueRefused("unknown_symbol", f"{symbol} is not listed")
        return self.known

    def doubt_rules(self, symbol: str) -> None:
        """An order was denied by them."""
        self.doubted.append(symbol)

    async def time(self) -> datetime:
        """The venue's own clock."""
        if self.clock_unknown:
            raise VenueNotReached("clock", "uncertain")
        return self.clock.now() + self.ahead

    def told_limits(self) -> Limits | None:
        """What the test says."""
        return self.limits

    async def last_price(self, symbol: str) -> Decimal:
        """The price of the test."""
        if self.delay:
            await asyncio.sleep(self.delay)
        if symbol != KOGE:
            raise VenueRefused("unknown_symbol", f"{symbol} is not listed")
        return self.price

    async def band_price(self, symbol: str) -> Decimal | None:
        """The last price, or that it is not known."""
        price = await self.last_price(symbol)
        return None if self.band_unknown else price

    async def aclose(self) -> None:
        """Nothing to close."""

    def next_id(self) -> str:
        """An id that is given once."""
        self._ids += 1
        return str(self._ids)


def instrument_of(venue: Venue) -> Instrument:
    """The instrument as that venue lists it."""
    return msgspec.structs.replace(INSTRUMENT, venue=venue)


def answer_of(rows: list[Row], order: Order, at: datetime) -> Placed:
    """A definite yes, in the port's words."""
    legs = tuple(
        PlacedLeg(role=leg.role, venue_order_id=row.venue_id, status=row.status or LegStatus.OPEN)
        for leg, row in zip(order.legs, rows, strict=True)
    )
    return Placed(legs=legs, list_id=rows[0].list_id, accepted_at=at)


async def accepted(account: FakeAccount, order: Order) -> Placed:
    """A definite yes."""
    return answer_of(account.accept(order), order, account.now())
