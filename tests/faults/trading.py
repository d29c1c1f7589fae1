"""Users who place and cancel as fast as they are let, and repeat a request whose answer they lost.

They speak the order service's own interface and obey its contract (architecture 5.1): the same id
after silence, a new one only after a definite answer.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from types import TracebackType
from typing import Any, NamedTuple

import grpc

from otopilot import rpc, wire
from otopilot.clock import SystemClock
from protos import market_pb2, order_pb2_grpc
from protos import order_pb2 as pb
from tests.faults.processes import Pair

SILENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
)
CALL_SECONDS = 5.0
FILL_SECONDS = 6.0
OVER = (pb.LEG_STATUS_FILLED, pb.LEG_STATUS_CANCELED, pb.LEG_STATUS_EXPIRED, pb.LEG_STATUS_REJECTED)
ACCEPTED = (  # the venue has, or had, it
    pb.ORDER_STATE_WORKING,
    pb.ORDER_STATE_TRIGGERED,
    pb.ORDER_STATE_COMPLETED,
    pb.ORDER_STATE_CANCELED,
    pb.ORDER_STATE_EXPIRED,
)
_CLOCK = SystemClock()


class Market(NamedTuple):
    """Where a user trades, around which price, in which steps."""

    venue: market_pb2.Venue.ValueType
    name: str
    symbol: str
    price: Decimal
    step: Decimal


ALPHA = Market(market_pb2.VENUE_ALPHA, "alpha", "ALPHA_22USDT", Decimal(48), Decimal("0.0001"))
SPOT = Market(market_pb2.VENUE_SPOT, "spot", "BNBUSDT", Decimal(800), Decimal("0.001"))


class Trader(NamedTuple):
    """One user on one market."""

    user_id: str
    market: Market

    @property
    def scope_id(self) -> str:
        return f"s-{self.user_id}"


class Crowd:
    """All traders of a run over one connection; what they did is counted in `counts`.

    `placed` are requests answered by an order that is not refused, `refused` the others; `accepted` are
    orders that the venue is known to have taken, some of them after doubt.
    """

    def __init__(self, pair: Pair, traders: list[Trader], seed: int) -> None:
        self._pair = pair
        self.traders = traders
        self._dice = random.Random(seed)
        self._stack = AsyncExitStack()
        self._latest: dict[str, pb.Order] = {}
        self._news = asyncio.Condition()
        self._cycles: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.denials: Counter[str] = Counter()
        self._owner_epoch = 0
        self.orders: Any = None

    async def __aenter__(self) -> "Crowd":
        channel = await self._stack.enter_async_context(rpc.channel(self._pair.target))
        self.orders = order_pb2_grpc.OrderServiceStub(channel)
        self._admin: Any = order_pb2_grpc.OrderAdminServiceStub(channel)
        watching = asyncio.create_task(self._watch(), name="watch orders")
        self._stack.callback(watching.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # ------------------------------------------------------------------ users

    async def enlist(self, target: str = "100000000") -> None:
        """Accounts at the exchange, credentials at the service, and one scope each."""
        await self.claim()
        for trader in self.traders:
            kind, secret = await asyncio.to_thread(
                self._pair.open_account, trader.user_id, trader.market.name
            )
            request = pb.PutCredentialRequest(
                user_id=trader.user_id,
                venue=trader.market.venue,
                kind=kind,
                secret=secret,
            )
            await self._admin.PutCredential(request, timeout=30)
            member = pb.ScopeMember(
                user_id=trader.user_id, venue=trader.market.venue, symbol=trader.market.symbol
            )
            scope = pb.SetVolumeScopeRequest(
                scope_id=trader.scope_id,
                owner_epoch=self._owner_epoch,
                members=[member],
                side=pb.VOLUME_SIDE_BUY,
                window=pb.VOLUME_WINDOW_ALL,
                target=target,
                revision=1,
            )
            await self.orders.SetVolumeScope(scope, timeout=30)

    async def claim(self) -> None:
        """Take the placing right, also from what was before a restart."""
        answer = await self.orders.Claim(pb.ClaimRequest(owner="fault run"), timeout=CALL_SECONDS)
        self._owner_epoch = answer.owner_epoch

    async def ready(self, seconds: float) -> float:
        """Wait until every user may trade; the seconds it took."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            try:
                listed = await self._admin.ListUsers(pb.ListUsersRequest(), timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() not in SILENT:
                    raise
            else:
                if all(user.state == pb.USER_STATE_READY for user in listed.users):
                    return time.monotonic() - began
            await asyncio.sleep(0.05)
        raise AssertionError(f"not all users were ready within {seconds} s")

    # ------------------------------------------------------------------ trading

    async def trade(self, lists: int, seconds: float) -> None:
        """Place until the venue has accepted so many lists, or so much time has passed."""
        until = time.monotonic() + seconds
        goal = self.counts["accepted"] + lists
        await self.trade_while(lambda: self.counts["accepted"] < goal and time.monotonic() < until)

    async def trade_while(self, go_on: Callable[[], bool]) -> None:
        """Place for as long as this holds."""
        async with asyncio.TaskGroup() as group:
            for trader in self.traders:
                group.create_task(self._rounds(trader, go_on))

    async def _rounds(self, trader: Trader, go_on: Callable[[], bool]) -> None:
        while go_on():
            request = self.request(trader)
            order = await self.place(request, go_on)
            if order is None:
                await asyncio.sleep(self._dice.uniform(0.1, 0.5))
                continue
            self.counts["refused" if order.state == pb.ORDER_STATE_REJECTED else "placed"] += 1
            if self._dice.random() < 0.4:
                await asyncio.sleep(self._dice.uniform(0, 0.3))
                await self._cancel(order.order_id)
            while go_on() and not await self._ended(order.order_id, FILL_SECONDS):
                await self._cancel(order.order_id)

    def request(self, trader: Trader) -> pb.PlaceOtoRequest:
        """The next OTO of a trader: BUY under the middle of the swing, SELL over it."""
        market = trader.market
        self._cycles[trader.user_id] += 1
        cycle = self._cycles[trader.user_id]
        buy = market.price * (1 - Decimal(self._dice.randint(10, 80)) / 10_000)
        sell = market.price * (1 + Decimal(self._dice.randint(10, 80)) / 10_000)
        quantity = Decimal(self._dice.randint(12, 40)) / market.price // market.step * market.step
        quantity += self._dice.randint(1, 40) * market.step
        return pb.PlaceOtoRequest(
            request_id=f"run/{trader.user_id}/{cycle}/0",
            owner_epoch=self._owner_epoch,
            user_id=trader.user_id,
            venue=market.venue,
            symbol=market.symbol,
            strategy_id="run",
            cycle=cycle,
            scope_id=trader.scope_id,
            quantity=format(quantity, "f"),
            working_price=format(buy.quantize(Decimal("0.01")), "f"),
            pending_price=format(sell.quantize(Decimal("0.01")), "f"),
            reference_price=format(buy.quantize(Decimal("0.01")), "f"),
            price_confirmed_at=wire.timestamp(_CLOCK.now()),
            max_price_age_ms=60_000,
        )

    async def place(self, request: pb.PlaceOtoRequest, go_on: Callable[[], bool]) -> pb.Order | None:
        """The order of this request; none if the service said no."""
        while True:
            request.owner_epoch = self._owner_epoch
            try:
                order: pb.Order = await self.orders.PlaceOto(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                self.denials[rpc.fault_of(error).reason] += 1
                if error.code() not in SILENT:
                    return None
                if not go_on():
                    return None  # whatever became of it stands in the journal
                self.counts["repeated"] += 1
                await asyncio.sleep(0.2)
            else:
                await self._hear(order)
                return order

    async def _cancel(self, order_id: str) -> None:
        request = pb.CancelOrderRequest(order_id=order_id, role=pb.LEG_ROLE_WORKING, reason="run")
        try:
            await self._hear(await self.orders.CancelOrder(request, timeout=CALL_SECONDS))
            self.counts["cancels"] += 1
        except grpc.aio.AioRpcError as error:
            self.denials[rpc.fault_of(error).reason] += 1
            await self._look(order_id)

    async def _look(self, order_id: str) -> None:
        """What ended while nobody watched is in no snapshot: ask for it."""
        try:
            order = await self.orders.GetOrder(pb.GetOrderRequest(order_id=order_id), timeout=CALL_SECONDS)
            await self._hear(order)
        except grpc.aio.AioRpcError as error:
            self.denials[rpc.fault_of(error).reason] += 1

    async def cancel_what_buys(self) -> None:
        """Wish every open working leg gone."""
        token = ""
        while True:
            request = pb.ListOrdersRequest(open_only=True, page_size=1000, page_token=token)
            listed = await self.orders.ListOrders(request, timeout=30)
            for order in listed.orders:
                if order.legs[0].status not in OVER:
                    await self._cancel(order.order_id)
            token = listed.next_page_token
            if not token:
                return

    # ------------------------------------------------------------------ news

    def latest(self) -> list[pb.Order]:
        """Every order as it was last heard of."""
        return list(self._latest.values())

    async def _watch(self) -> None:
        sequence = 0
        while True:
            try:
                async for news in self.orders.WatchOrders(pb.WatchOrdersRequest(after_sequence=sequence)):
                    sequence = max(sequence, news.sequence)
                    if news.HasField("order"):
                        await self._hear(news.order)
            except grpc.aio.AioRpcError:
                self.counts["watches"] += 1
                sequence = 0
            await asyncio.sleep(0.2)

    async def _hear(self, order: pb.Order) -> None:
        known = self._latest.get(order.order_id)
        if known is None or known.version <= order.version:
            if order.state in ACCEPTED and (known is None or known.state not in ACCEPTED):
                self.counts["accepted"] += 1
            async with self._news:
                self._latest[order.order_id] = order
                self._news.notify_all()

    async def bans(self) -> int:
        """How many bans the service was told of since it started."""
        counters = await self._admin.GetCounters(pb.GetCountersRequest(), timeout=CALL_SECONDS)
        return sum(budget.bans for budget in counters.budgets)

    async def _ended(self, order_id: str, seconds: float) -> bool:
        """Whether the BUY has ended within so long: then the next may be placed."""

        def over() -> bool:
            order = self._latest[order_id]
            return order.state == pb.ORDER_STATE_REJECTED or order.legs[0].status in OVER

        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(over)
        except TimeoutError:
            return False
        return True
