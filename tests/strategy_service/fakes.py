"""Order and market service in memory, obeying the contract: a second client for the same loops.

FakeOrders keeps a journal, one slot per user, volume scopes and request ids as order.proto says;
BUYs fill by themselves after a delay unless told otherwise, SELLs rest.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal as D

import msgspec

from otopilot.instrument import Instrument, Side, Venue
from otopilot.money import ZERO
from otopilot.order import (
    CancelWish,
    LegRole,
    LegStatus,
    Order,
    OrderId,
    OrderState,
    RequestId,
    ScopeId,
    UserId,
)
from otopilot.position import MemberVolume, Position, ScopeVolume, User, UserState, VolumeScope
from otopilot.quote import Quote
from strategy_service.clients import DEADLINE_SECONDS, Claimed, OrderNews, PriceKey, Refused, Unreached
from strategy_service.state import PlaceOto, PlaceSell, Rules
from tests.strategy_service.builders import KOGE, order_of
from tests.virtual_loop import VirtualClock, VirtualLoop


def now() -> datetime:
    """The time of day; on a virtual loop its own."""
    loop = asyncio.get_running_loop()
    return VirtualClock().now() if isinstance(loop, VirtualLoop) else datetime.now(UTC)


class FakeMarket:
    """One price, confirmed whenever it is looked at."""

    def __init__(self, *instruments: Instrument) -> None:
        self.instruments = list(instruments or (KOGE,))
        self.current = D(100)
        self.down = False
        self.wanted_ages: list[float] = []  # of the rules, seconds
        self.watched: list[tuple[PriceKey, ...]] = []

    def _quote(self, key: PriceKey) -> Quote:
        at = now()
        return Quote(venue=key.venue, symbol=key.symbol, price=self.current, traded_at=at, confirmed_at=at)

    def _check(self) -> None:
        if self.down:
            raise Unreached("UNAVAILABLE", "UNAVAILABLE", "market service is down")

    async def instrument(
        self, venue: Venue, token: str, chain: str | None, max_age_seconds: float
    ) -> Instrument:
        self._check()
        self.wanted_ages.append(max_age_seconds)
        for each in self.instruments:
            if (each.venue, each.token) == (venue, token):
                return each
        raise Refused("NOT_FOUND", "UNKNOWN_TOKEN", f"no token {token}")

    async def price(self, key: PriceKey) -> Quote:
        self._check()
        return self._quote(key)

    async def watch(self, keys: Sequence[PriceKey]) -> AsyncIterator[Sequence[Quote]]:
        self.watched.append(tuple(keys))
        while True:
            self._check()
            yield [self._quote(key) for key in keys]
            await asyncio.sleep(0.02)


@dataclass
class FakeOrders:
    """The order service. Attributes are switches; `log` holds every placement that was admitted."""

    users: set[str] = field(default_factory=lambda: {"1", "2", "3"})
    stopped: dict[str, str] = field(default_factory=dict)
    down: bool = False
    hanging: bool = False  # takes calls and does nothing about them
    fill_seconds: float | None = 0.005
    lose_requests: int = 0
    lose_answers: int = 0
    answer_seconds: float = 0.0
    on_place: Callable[[PlaceOto | PlaceSell, Rules], None] = lambda asked, rules: None
    history: dict[str, D] = field(default_factory=dict)

    epoch: int = 0
    owner: str = ""
    unwritable: set[str] = field(default_factory=set)
    written: list[VolumeScope] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)
    scopes: dict[ScopeId, VolumeScope] = field(default_factory=dict)
    orders: dict[OrderId, Order] = field(default_factory=dict)
    requests: dict[RequestId, tuple[OrderId, PlaceOto | PlaceSell]] = field(default_factory=dict)
    log: list[tuple[float, str, PlaceOto | PlaceSell]] = field(default_factory=list)
    sent: list[RequestId] = field(default_factory=list)
    canceled: list[tuple[OrderId, LegRole, str]] = field(default_factory=list)
    sequence: int = 0
    snapshots: int = 0
    _watchers: list[asyncio.Queue[OrderNews | None]] = field(default_factory=list)

    # ------------------------------------------------------------------ the contract

    async def _check(self) -> None:
        if self.hanging:
            await asyncio.sleep(DEADLINE_SECONDS)
            raise Unreached("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "no answer")
        if self.down:
            raise Unreached("UNAVAILABLE", "UNAVAILABLE", "order service is down")

    async def claim(self, owner: str) -> Claimed:
        await self._check()
        self.epoch, self.owner = self.epoch + 1, owner
        self.claims.append(owner)
        return Claimed(self.epoch, 1)

    async def set_scope(self, scope: VolumeScope, owner_epoch: int) -> ScopeVolume:
        await self._check()
        known = self.scopes.get(scope.scope_id)
        if owner_epoch != self.epoch:
            raise denied("STALE_OWNER", owner=self.owner)
        if scope.scope_id in self.unwritable:
            raise Refused("INVALID_ARGUMENT", "BAD_ARGUMENT", "this scope cannot be written")
        if known is not None and known != scope and scope.revision <= known.revision:
            raise Refused("FAILED_PRECONDITION", "STALE_REVISION", f"revision {known.revision} is there")
        if known != scope:
            self.written.append(scope)
        self.scopes[scope.scope_id] = scope
        return await self.volume(scope)

    async def scope_revision(self, scope_id: ScopeId) -> int:
        return self.scopes[scope_id].revision

    async def volume(self, scope: VolumeScope) -> ScopeVolume:
        await self._check()
        known = self.scopes.get(scope.scope_id)
        if known is None:
            raise Refused("NOT_FOUND", "UNKNOWN_SCOPE", "no such scope")
        members = tuple(
            MemberVolume(user_id=m.user_id, counted=self.counted(m.user_id), complete=m.user_id in self.users)
            for m in known.members
        )
        mine = {m.user_id for m in known.members}
        reserved = sum(
            (
                order.working.unfilled * order.working.price
                for order in self.orders.values()
                if order.user_id in mine and order.buy is not None and not order.is_over
            ),
            ZERO,
        )
        return ScopeVolume(
            scope=known,
            counted=sum((m.counted for m in members), ZERO),
            reserved=reserved,
            complete=True,
            members=members,
            window_start=None,
        )

    async def position(self, rules: Rules) -> Position:
        await self._check()
        user_id = rules.user_id
        if user_id not in self.users:
            raise Refused("NOT_FOUND", "UNKNOWN_USER", f"no user {user_id}")
        symbol = rules.instrument.symbol
        mine = [o for o in self.orders.values() if (o.user_id, o.symbol) == (user_id, symbol)]
        last = max((o.cycle for o in mine if o.strategy_id == rules.strategy_id), default=0)
        bought = sum((o.working.filled_quantity for o in mine if o.buy is not None), ZERO)
        cost = sum((o.working.filled_quote for o in mine if o.buy is not None), ZERO)
        covered = sum((o.sell.quantity for o in mine if _covers(o) and o.sell is not None), ZERO)
        code = self.stopped.get(user_id, "")
        return Position(
            user=User(
                user_id=user_id,
                venue=Venue.ALPHA,
                state=UserState.STOPPED if code else UserState.READY,
                reason_code=code,
                reason=code,
            ),
            last_cycle=last,
            cycle_orders=tuple(o for o in mine if o.cycle == last and o.strategy_id == rules.strategy_id),
            open_orders=tuple(o for o in mine if not o.is_over),
            inventory=bought,
            uncovered=bought - covered,
            average_cost=cost / bought if bought else None,
            bought_quote=cost,
            open_sells=sum(_covers(o) for o in mine),
        )

    async def recent(self, rules: Rules) -> Sequence[Order]:
        await self._check()
        mine = [o for o in self.orders.values() if o.user_id == rules.user_id]
        return list(reversed(mine))[:200]

    async def place(self, placement: PlaceOto | PlaceSell, rules: Rules, owner_epoch: int) -> Order:
        await self._check()
        self.sent.append(placement.request_id)
        if self.answer_seconds:
            await asyncio.sleep(self.answer_seconds)
        if self.lose_requests > 0:
            self.lose_requests -= 1
            raise Unreached("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "no answer")
        order = self._admit(placement, rules, owner_epoch)
        if self.lose_answers > 0:
            self.lose_answers -= 1
            raise Unreached("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "no answer")
        return order

    def _admit(self, asked: PlaceOto | PlaceSell, rules: Rules, owner_epoch: int) -> Order:
        known = self.requests.get(asked.request_id)
        if known is not None:
            if known[1] != asked:
                raise Refused("ALREADY_EXISTS", "REQUEST_REUSED", "other content")
            return self.orders[known[0]]
        if owner_epoch != self.epoch:
            raise denied("STALE_OWNER", owner=self.owner)
        if rules.user_id not in self.users:
            raise Refused("NOT_FOUND", "UNKNOWN_USER", "no such user")
        self.on_place(asked, rules)
        if isinstance(asked, PlaceOto):
            self._check_buy(asked, rules)
        made = msgspec.structs.replace(
            order_of(asked, user_id=rules.user_id),
            order_id=OrderId(f"o{len(self.orders) + 1}"),
            strategy_id=rules.strategy_id,
            symbol=rules.instrument.symbol,
            submitted_at=now(),
            updated_at=now(),
        )
        self.requests[asked.request_id] = (made.order_id, asked)
        self.log.append((asyncio.get_running_loop().time(), rules.user_id, asked))
        self.orders[made.order_id] = made
        self._take(made.order_id)
        if isinstance(asked, PlaceOto) and self.fill_seconds is not None:
            asyncio.get_running_loop().call_later(self.fill_seconds, self.fill, made.order_id)
        return self.orders[made.order_id]

    def _check_buy(self, asked: PlaceOto, rules: Rules) -> None:
        account = (rules.user_id, rules.instrument.symbol)
        mine = [o for o in self.orders.values() if (o.user_id, o.symbol) == account]
        if any(o.buy and o.state in (OrderState.WORKING, OrderState.SUBMITTING) for o in mine):
            raise denied("DENIED_SLOT")
        scope = self.scopes[rules.scope_id]
        users = {m.user_id for m in scope.members}
        counted = sum((self.counted(user) for user in users), ZERO)
        reserved = sum(
            (
                o.working.unfilled * o.working.price
                for o in self.orders.values()
                if o.user_id in users and o.buy is not None and not o.is_over
            ),
            ZERO,
        )
        left = scope.target - counted - reserved
        notional = asked.quantity * asked.working_price
        smallest = rules.instrument.smallest_quantity(asked.min_working_price, asked.pending_price, ZERO)
        if notional > left and not (left > 0 and reserved == 0 and asked.quantity <= smallest):
            raise denied("DENIED_SCOPE", left=str(max(ZERO, left)), smallest_quantity=str(smallest))

    async def cancel(
        self, order_id: OrderId, role: LegRole, reason: str, reprice_to: D | None = None
    ) -> Order:
        await self._check()
        order = self.orders[order_id]
        self.canceled.append((order_id, role, reason))
        if order.leg(role).is_over:
            raise Refused("FAILED_PRECONDITION", "ORDER_OVER", "it has ended")
        wish = CancelWish(role, reason, now(), reprice_to)
        self._change(order_id, wishes=(*order.wishes, wish))
        asyncio.get_running_loop().call_later(0.005, self.end, order_id, role)
        return self.orders[order_id]

    async def find(self, order_id: OrderId | None, request_id: RequestId | None) -> Order:
        await self._check()
        if request_id is not None:
            known = self.requests.get(request_id)
            order_id = known[0] if known is not None else None
        if order_id is None or order_id not in self.orders:
            raise Refused("NOT_FOUND", "NOT_FOUND", "no such order")
        return self.orders[order_id]

    async def watch(self, after_sequence: int) -> AsyncIterator[OrderNews]:
        await self._check()
        queue: asyncio.Queue[OrderNews | None] = asyncio.Queue()
        self._watchers.append(queue)
        try:
            if after_sequence == 0:
                self.snapshots += 1
            yield OrderNews(sequence=self.sequence, snapshot=after_sequence == 0)
            while True:
                item = await queue.get()
                if item is None:
                    raise Unreached("UNAVAILABLE", "UNAVAILABLE", "stream cut")
                yield item
        finally:
            self._watchers.remove(queue)

    # ------------------------------------------------------------------ the venue

    def counted(self, user_id: str) -> D:
        """BUY volume of a user."""
        bought = sum(
            (o.working.filled_quote for o in self.orders.values() if o.user_id == user_id and o.buy), ZERO
        )
        return bought + self.history.get(user_id, ZERO)

    def _take(self, order_id: OrderId) -> None:
        order = self.orders[order_id]
        legs = [msgspec.structs.replace(order.working, status=LegStatus.OPEN)]
        legs += [msgspec.structs.replace(leg, status=LegStatus.PENDING) for leg in order.legs[1:]]
        self._change(order_id, legs=tuple(legs), accepted_at=now())

    def fill(self, order_id: OrderId, share: D = D(1)) -> None:
        """Fill the working leg, or a part of it."""
        order = self.orders[order_id]
        leg = order.working
        if leg.is_over:
            return
        quantity = leg.quantity if share == 1 else KOGE.round_quantity(leg.quantity * share)
        whole = quantity == leg.quantity
        working = msgspec.structs.replace(
            leg,
            status=LegStatus.FILLED if whole else LegStatus.OPEN,
            reported_quantity=quantity,
            filled_quantity=quantity,
            filled_quote=quantity * leg.price,
        )
        rest = tuple(
            msgspec.structs.replace(each, status=LegStatus.OPEN if whole else each.status)
            for each in order.legs[1:]
        )
        self._change(order_id, legs=(working, *rest))

    def end(self, order_id: OrderId, role: LegRole) -> None:
        """The venue confirms a cancel; with the BUY the SELL is gone too."""
        order = self.orders[order_id]
        gone = [
            msgspec.structs.replace(leg, status=LegStatus.CANCELED)
            if not leg.is_over and (leg.role is role or role is LegRole.WORKING)
            else leg
            for leg in order.legs
        ]
        if not order.leg(role).is_over:
            self._change(order_id, legs=tuple(gone))

    def _change(self, order_id: OrderId, **changes: object) -> None:
        order = self.orders[order_id]
        self.orders[order_id] = msgspec.structs.replace(
            order, version=order.version + 1, updated_at=now(), **changes
        )
        self.tell(order=self.orders[order_id])

    def tell(self, **news: object) -> None:
        """Push news to every stream."""
        self.sequence += 1
        for queue in self._watchers:
            queue.put_nowait(OrderNews(sequence=self.sequence, **news))  # type: ignore[arg-type]

    def cut(self) -> None:
        """End every stream."""
        for queue in self._watchers:
            queue.put_nowait(None)

    def ask_again(self, user_id: str) -> None:
        """The guard's word that a denied request may pass."""
        self.tell(ask_again=(UserId(user_id),))

    def buys(self, user_id: str | None = None) -> list[PlaceOto]:
        """Admitted BUYs, of one user or all."""
        return [
            asked for _, user, asked in self.log if isinstance(asked, PlaceOto) and user_id in (None, user)
        ]

    def starts(self, user_id: str) -> list[float]:
        """When a user's rounds were admitted, in seconds of the event loop."""
        return [
            moment
            for moment, user, asked in self.log
            if user == user_id and isinstance(asked, PlaceOto) and asked.try_number == 0
        ]


def _covers(order: Order) -> bool:
    sell = order.sell
    return sell is not None and not sell.is_over and not order.is_over and sell.side is Side.SELL


def denied(reason: str, **metadata: str) -> Refused:
    return Refused("FAILED_PRECONDITION", reason, reason, metadata)
