"""OrderService over gRPC: requests into asks, answers into messages. Decides nothing."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc

from order_service.accounts import Accounts
from order_service.denied import Denied, JournalFailed, Kind
from order_service.feed import Feed, FeedItem, FellBehind
from order_service.journal import Journal
from order_service.order_manager import OrderManager
from order_service.placing import Ask
from order_service.sessions import Sessions
from otopilot import wire
from otopilot.clock import Clock
from otopilot.instrument import Side
from otopilot.order import Order, OrderId, OrderState, RequestId, ScopeId, StrategyId, UserId
from otopilot.rpc import Fault
from protos import order_pb2 as pb
from protos import order_pb2_grpc

DEFAULT_AGE_MS = 3_000
HEARTBEAT_SECONDS = 1.0
DEFAULT_PAGE = 100
LARGEST_PAGE = 1_000
LONGEST_ID = 200
LONGEST_REASON = 1_000
LONGEST_TOKEN = 19  # such a number fits into the journal
LARGEST_AGE_MS = 24 * 3600 * 1000
LARGEST_NUMBER = 2**31 - 1

Context = grpc.aio.ServicerContext[Any, Any]

_CODES = {
    Kind.BAD_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.REUSED: grpc.StatusCode.ALREADY_EXISTS,
    Kind.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}


class Faults:
    """`async with Faults():` turns this service's errors into what the chassis sends."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Denied):
            raise Fault(_CODES[error.kind], error.reason, error.message, **error.metadata) from error
        if isinstance(error, JournalFailed):
            raise Fault(grpc.StatusCode.UNAVAILABLE, "JOURNAL", str(error)) from error
        if isinstance(error, ValueError):
            raise Fault(grpc.StatusCode.INVALID_ARGUMENT, "BAD_ARGUMENT", str(error)) from error


class OrderServicer(order_pb2_grpc.OrderServiceServicer):
    """See protos/order.proto."""

    def __init__(
        self,
        manager: OrderManager,
        accounts: Accounts,
        sessions: Sessions,
        journal: Journal,
        feed: Feed,
        clock: Clock,
    ) -> None:
        self._manager = manager
        self._accounts = accounts
        self._sessions = sessions
        self._journal = journal
        self._feed = feed
        self._clock = clock

    async def PlaceOto(self, request: pb.PlaceOtoRequest, context: Context) -> pb.Order:
        async with Faults():
            return wire.order_to_pb(await self._manager.place(_oto(request)))

    async def PlaceOrder(self, request: pb.PlaceOrderRequest, context: Context) -> pb.Order:
        async with Faults():
            return wire.order_to_pb(await self._manager.place(_single(request)))

    async def CancelOrder(self, request: pb.CancelOrderRequest, context: Context) -> pb.Order:
        async with Faults():
            role = wire.role_from_pb(request.role)
            reason = short(request.reason, "reason", LONGEST_REASON) or "asked for"
            price = wire.optional_decimal(request.reprice_to, "reprice_to")
            order_id = OrderId(request.order_id)
            return wire.order_to_pb(await self._manager.cancel(order_id, role, reason, price))

    async def GetOrder(self, request: pb.GetOrderRequest, context: Context) -> pb.Order:
        async with Faults():
            order = await self._journal.run(lambda tx: self._find(request))
            if order is None:
                name = request.order_id or request.request_id
                raise Denied(Kind.NOT_FOUND, "UNKNOWN_ORDER", f"there is no order {name}")
            return wire.order_to_pb(order)

    def _find(self, request: pb.GetOrderRequest) -> Order | None:
        if request.order_id:
            return self._manager.books.order(OrderId(request.order_id))
        if not request.request_id:
            raise Denied(Kind.BAD_ARGUMENT, "BAD_ARGUMENT", "order_id or request_id is needed")
        known = self._manager.books.order_of_request(RequestId(request.request_id))
        return known[0] if known else None

    async def ListOrders(self, request: pb.ListOrdersRequest, context: Context) -> pb.ListOrdersResponse:
        async with Faults():
            size = min(_number(request.page_size, "page_size") or DEFAULT_PAGE, LARGEST_PAGE)
            found, following = self._list(request, _below(request.page_token), size)
            token = str(following) if following is not None else ""
            return pb.ListOrdersResponse(orders=[wire.order_to_pb(o) for o in found], next_page_token=token)

    def _list(
        self, request: pb.ListOrdersRequest, below: int | None, size: int
    ) -> tuple[list[Order], int | None]:
        """A page of orders and the number below which the next one begins."""
        where: dict[str, str | int] = {
            column: value
            for column, value in (
                ("user_id", request.user_id),
                ("strategy_id", request.strategy_id),
                ("symbol", request.symbol),
            )
            if value
        }
        if request.in_doubt_only:
            where["state"] = OrderState.IN_DOUBT
        if request.open_only:
            where["live"] = 1  # orders that are over and not settled are, too: they are left out below
        found: list[Order] = []
        while True:
            rows = self._journal.books.store.list_orders(where, below, size)
            for number, order in rows:
                below = number
                if request.open_only and order.is_over:
                    continue
                found.append(order)
                if len(found) == size:
                    return found, below
            if len(rows) < size:
                return found, None

    async def WatchOrders(
        self, request: pb.WatchOrdersRequest, context: Context
    ) -> AsyncIterator[pb.WatchOrdersResponse]:
        wanted = frozenset(request.user_ids)
        sequence = request.after_sequence
        if not sequence:
            live, sequence = await self._journal.run(
                lambda tx: (list(tx.books.live.values()), self._feed.newest)
            )
            for session in self._sessions.all():
                if not wanted or session.user_id in wanted:
                    yield self._message(sequence, FeedItem(user=session.user()), snapshot=True)
            for order in live:
                if not wanted or order.user_id in wanted:
                    yield self._message(sequence, FeedItem(order=order), snapshot=True)
            yield self._message(sequence, FeedItem())
        told_at = self._clock.monotonic()
        while True:
            await self._feed.wait(sequence, HEARTBEAT_SECONDS)
            try:
                items = self._feed.after(sequence)
            except FellBehind:
                raise Fault(
                    grpc.StatusCode.OUT_OF_RANGE,
                    "FELL_BEHIND",
                    f"sequence {sequence} is no longer kept (newest {self._feed.newest}): start again at 0",
                    newest=str(self._feed.newest),
                ) from None
            for sequence, item in items:
                if _concerns(item, wanted):
                    told_at = self._clock.monotonic()
                    yield self._message(sequence, item)
            # Others' news moves the sequence on, too: a resume must not begin before it.
            if not items or self._clock.monotonic() - told_at >= HEARTBEAT_SECONDS:
                told_at = self._clock.monotonic()
                yield self._message(sequence, FeedItem())

    def _message(self, sequence: int, item: FeedItem, *, snapshot: bool = False) -> pb.WatchOrdersResponse:
        return pb.WatchOrdersResponse(
            sequence=sequence,
            snapshot=snapshot,
            order=wire.order_to_pb(item.order) if item.order else None,
            user=wire.user_to_pb(item.user) if item.user else None,
            ask_again_user_ids=list(item.ask_again),
            sent_at=wire.timestamp(self._clock.now()),
        )

    async def SetVolumeScope(self, request: pb.SetVolumeScopeRequest, context: Context) -> pb.VolumeScope:
        async with Faults():
            scope = wire.scope_from_request(request)
            for name in (scope.scope_id, *(text for m in scope.members for text in (m.user_id, m.symbol))):
                short(name, "scope_id, user_id, symbol")
            return wire.volume_to_pb(await self._accounts.set_scope(scope, request.owner_epoch))

    async def GetVolume(self, request: pb.GetVolumeRequest, context: Context) -> pb.VolumeScope:
        async with Faults():
            return wire.volume_to_pb(await self._accounts.volume(ScopeId(request.scope_id)))

    async def GetPosition(self, request: pb.GetPositionRequest, context: Context) -> pb.Position:
        async with Faults():
            position = await self._accounts.position(
                UserId(request.user_id),
                wire.venue_from_pb(request.venue),
                request.symbol,
                StrategyId(request.strategy_id),
            )
            return wire.position_to_pb(position)

    async def GetBalances(self, request: pb.GetBalancesRequest, context: Context) -> pb.GetBalancesResponse:
        async with Faults():
            venue = wire.venue_from_pb(request.venue)
            balances = await self._accounts.balances(UserId(request.user_id), venue)
            return pb.GetBalancesResponse(
                balances=[
                    pb.Balance(asset=b.asset, free=wire.amount(b.free), locked=wire.amount(b.locked))
                    for b in balances
                    if b.free or b.locked
                ],
                read_at=wire.timestamp(self._clock.now()),
            )

    async def Claim(self, request: pb.ClaimRequest, context: Context) -> pb.ClaimResponse:
        async with Faults():
            owner_epoch, instance_epoch = await self._accounts.claim(_needed(request.owner, "owner"))
            return pb.ClaimResponse(owner_epoch=owner_epoch, instance_epoch=instance_epoch)


def _concerns(item: FeedItem, wanted: frozenset[str]) -> bool:
    if not wanted:
        return True
    named = {item.order.user_id} if item.order else {item.user.user_id} if item.user else set()
    return bool(wanted & (named | set(item.ask_again)))


def _oto(request: pb.PlaceOtoRequest) -> Ask:
    reference = wire.optional_decimal(request.reference_price, "reference_price")
    lowest = wire.optional_decimal(request.min_working_price, "min_working_price")
    return Ask(
        request_id=RequestId(_needed(request.request_id, "request_id")),
        owner_epoch=request.owner_epoch,
        user_id=UserId(_needed(request.user_id, "user_id")),
        venue=wire.venue_from_pb(request.venue),
        symbol=_needed(request.symbol, "symbol"),
        strategy_id=StrategyId(_needed(request.strategy_id, "strategy_id")),
        cycle=_number(request.cycle, "cycle"),
        try_number=_number(request.try_number, "try_number"),
        step=_number(request.step, "step"),
        scope_id=ScopeId(request.scope_id) if request.scope_id else None,
        purpose=wire.purpose_from_pb(0),
        side=Side.BUY,
        quantity=wire.decimal(request.quantity, "quantity"),
        price=wire.decimal(request.working_price, "working_price"),
        limit_price=lowest if lowest is not None else reference,
        pending_price=wire.decimal(request.pending_price, "pending_price"),
        max_pending_price=wire.optional_decimal(request.max_pending_price, "max_pending_price"),
        price_confirmed_at=wire.optional_moment(
            request.price_confirmed_at, request.HasField("price_confirmed_at")
        ),
        max_price_age=_age(request.max_price_age_ms),
        validate_only=request.validate_only,
    )


def _single(request: pb.PlaceOrderRequest) -> Ask:
    return Ask(
        request_id=RequestId(_needed(request.request_id, "request_id")),
        owner_epoch=request.owner_epoch,
        user_id=UserId(_needed(request.user_id, "user_id")),
        venue=wire.venue_from_pb(request.venue),
        symbol=_needed(request.symbol, "symbol"),
        strategy_id=StrategyId(_needed(request.strategy_id, "strategy_id")),
        cycle=_number(request.cycle, "cycle"),
        try_number=_number(request.try_number, "try_number"),
        step=_number(request.step, "step"),
        scope_id=ScopeId(request.scope_id) if request.scope_id else None,
        purpose=wire.purpose_from_pb(request.purpose),
        side=wire.side_from_pb(request.side),
        quantity=wire.decimal(request.quantity, "quantity"),
        price=wire.decimal(request.price, "price"),
        limit_price=wire.optional_decimal(request.limit_price, "limit_price"),
        price_confirmed_at=wire.optional_moment(
            request.price_confirmed_at, request.HasField("price_confirmed_at")
        ),
        max_price_age=_age(request.max_price_age_ms),
        validate_only=request.validate_only,
    )


def _number(value: int, field: str, most: int = LARGEST_NUMBER) -> int:
    """A count, a place in a row or a length of time: never negative."""
    if not 0 <= value <= most:
        raise ValueError(f"{field}: {value} is not between 0 and {most}")
    return value


def _age(milliseconds: int) -> timedelta:
    return timedelta(milliseconds=_number(milliseconds, "max_price_age_ms", LARGEST_AGE_MS) or DEFAULT_AGE_MS)


def _below(token: str) -> int | None:
    """The number that a page token stands for."""
    if not token:
        return None
    if not (token.isascii() and token.isdecimal() and len(token) < LONGEST_TOKEN):
        raise ValueError("page_token: not one that this service gave")
    return int(token)


def _needed(value: str, field: str) -> str:
    if not value:
        raise ValueError(f"{field}: is needed")
    return short(value, field)


def short(value: str, field: str, most: int = LONGEST_ID) -> str:
    """What is kept and told again has an end. Raises ValueError."""
    if len(value) > most:
        raise ValueError(f"{field}: {most} characters at most")
    return value
