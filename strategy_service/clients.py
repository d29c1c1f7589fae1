"""The market and order services as the loops see them: Protocols, and their gRPC clients.

The simulation replaces the Protocols; the stubs stop here. Every call has a deadline of 5 s
and none is repeated here: the caller knows what may be (architecture 5.1). A failure is either
Refused, a definite no, or Unreached, nobody knows.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol, TypeVar

import grpc
import msgspec

from otopilot import log, wire
from otopilot.instrument import Instrument, Venue
from otopilot.order import LegRole, Order, OrderId, RequestId, ScopeId, UserId
from otopilot.position import Position, ScopeVolume, User, VolumeScope
from otopilot.quote import Quote
from otopilot.rpc import fault_of
from protos import market_pb2, market_pb2_grpc, order_pb2, order_pb2_grpc
from strategy_service.state import PlaceOto, PlaceSell, Rules

_log = log.get("clients")

DEADLINE_SECONDS = 5.0
_RECENT_ORDERS = 200

# Codes that say nothing about what happened: the same request is asked again (architecture 5.1).
_UNKNOWN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)


class CallFailed(Exception):
    """A call came to nothing. `code` is gRPC's name, `reason` the service's or the same name."""

    def __init__(
        self, code: str, reason: str, message: str, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})


class Refused(CallFailed):
    """The service was reached and said no: nothing happened."""


class Unreached(CallFailed):
    """Nobody knows whether it happened."""


class Claimed(msgspec.Struct, frozen=True):
    """The placing right."""

    owner_epoch: int
    instance_epoch: int


class PriceKey(msgspec.Struct, frozen=True, order=True):
    """Names one price."""

    venue: Venue
    symbol: str


class OrderNews(msgspec.Struct, frozen=True, kw_only=True):
    """One item of the order stream; a heartbeat has none of the three."""

    sequence: int
    snapshot: bool = False
    order: Order | None = None
    user: User | None = None
    ask_again: tuple[UserId, ...] = ()


class MarketClient(Protocol):
    """Prices and instruments."""

    async def instrument(
        self, venue: Venue, token: str, chain: str | None, max_age_seconds: float
    ) -> Instrument:
        """The instrument of a token, its rules read no longer ago. Raises Refused or Unreached."""
        ...

    async def price(self, key: PriceKey) -> Quote:
        """The last price, just confirmed. Raises Refused or Unreached."""
        ...

    def watch(self, keys: Sequence[PriceKey]) -> AsyncIterator[Sequence[Quote]]:
        """Batches of new prices, empty ones as heartbeats. Raises Refused or Unreached."""
        ...


class OrderClient(Protocol):
    """Orders, positions, volume. Each call raises Refused or Unreached."""

    async def claim(self, owner: str) -> Claimed:
        """Take the placing right."""
        ...

    async def set_scope(self, scope: VolumeScope, owner_epoch: int) -> ScopeVolume:
        """Write a target."""
        ...

    async def scope_revision(self, scope_id: ScopeId) -> int:
        """The revision a scope was last set with."""
        ...

    async def volume(self, scope: VolumeScope) -> ScopeVolume:
        """A scope's figures."""
        ...

    async def position(self, rules: Rules) -> Position:
        """Where a user stands on the symbol of its rules."""
        ...

    async def recent(self, rules: Rules) -> Sequence[Order]:
        """The strategy's newest orders of a user, at most 200."""
        ...

    async def place(self, placement: PlaceOto | PlaceSell, rules: Rules, owner_epoch: int) -> Order:
        """Place an OTO or a single SELL, at most once."""
        ...

    async def cancel(
        self, order_id: OrderId, role: LegRole, reason: str, reprice_to: Decimal | None = None
    ) -> Order:
        """Journal the wish that a leg be gone; `reprice_to`: and that its SELL go back at this price."""
        ...

    async def find(self, order_id: OrderId | None, request_id: RequestId | None) -> Order:
        """One order, by our id or the request's."""
        ...

    def watch(self, after_sequence: int) -> AsyncIterator[OrderNews]:
        """Order news after a sequence; 0 starts with a snapshot."""
        ...


Answer = TypeVar("Answer")


def failure(error: grpc.RpcError) -> CallFailed:
    """What a failed call says about whether it happened."""
    fault = fault_of(error)
    kind = Unreached if fault.code in _UNKNOWN else Refused
    return kind(fault.code.name, fault.reason, fault.message, fault.metadata)


async def _ask(call: Awaitable[Answer]) -> Answer:
    try:
        return await call
    except grpc.RpcError as error:
        raise failure(error) from error


def _readable(items: Iterable[Any], read: Callable[[Any], Answer]) -> list[Answer]:
    """What can be read of a stream's items: one user's bad item must not end everybody's stream.

    The loop it was meant for asks for its order a second later and shows what is wrong with it.
    """
    found = []
    for item in items:
        try:
            found.append(read(item))
        except ValueError as error:
            _log.error("stream item not understood", error=str(error))
    return found


class GrpcMarket:
    """MarketClient over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = market_pb2_grpc.MarketServiceStub(channel)

    async def instrument(
        self, venue: Venue, token: str, chain: str | None, max_age_seconds: float
    ) -> Instrument:
        """The instrument of a token; on Spot the token may also be the symbol."""
        request = market_pb2.GetInstrumentRequest(
            venue=wire.venue_to_pb(venue),
            token=token,
            chain=chain or "",
            max_age_ms=round(max_age_seconds * 1000),
        )
        answer = await _ask(self._stub.GetInstrument(request, timeout=DEADLINE_SECONDS))
        return wire.instrument_from_pb(answer)

    async def price(self, key: PriceKey) -> Quote:
        """The last price."""
        request = market_pb2.GetPriceRequest(venue=wire.venue_to_pb(key.venue), symbol=key.symbol)
        return wire.quote_from_pb(await _ask(self._stub.GetPrice(request, timeout=DEADLINE_SECONDS)))

    async def watch(self, keys: Sequence[PriceKey]) -> AsyncIterator[Sequence[Quote]]:
        """One stream for all keys."""
        wanted = [market_pb2.PriceKey(venue=wire.venue_to_pb(key.venue), symbol=key.symbol) for key in keys]
        call = self._stub.WatchPrices(market_pb2.WatchPricesRequest(keys=wanted))
        try:
            async for message in call:
                yield _readable(message.prices, wire.quote_from_pb)
        except grpc.RpcError as error:
            raise failure(error) from error
        finally:
            call.cancel()


class GrpcOrders:
    """OrderClient over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = order_pb2_grpc.OrderServiceStub(channel)

    async def claim(self, owner: str) -> Claimed:
        """Take the placing right."""
        answer = await _ask(self._stub.Claim(order_pb2.ClaimRequest(owner=owner), timeout=DEADLINE_SECONDS))
        return Claimed(answer.owner_epoch, answer.instance_epoch)

    async def set_scope(self, scope: VolumeScope, owner_epoch: int) -> ScopeVolume:
        """Write a target."""
        request = wire.scope_to_request(scope, owner_epoch)
        answer = await _ask(self._stub.SetVolumeScope(request, timeout=DEADLINE_SECONDS))
        return wire.volume_from_pb(answer, scope)

    async def scope_revision(self, scope_id: ScopeId) -> int:
        """The revision a scope was last set with."""
        request = order_pb2.GetVolumeRequest(scope_id=scope_id)
        return int((await _ask(self._stub.GetVolume(request, timeout=DEADLINE_SECONDS))).revision)

    async def volume(self, scope: VolumeScope) -> ScopeVolume:
        """A scope's figures."""
        request = order_pb2.GetVolumeRequest(scope_id=scope.scope_id)
        answer = await _ask(self._stub.GetVolume(request, timeout=DEADLINE_SECONDS))
        return wire.volume_from_pb(answer, scope)

    async def position(self, rules: Rules) -> Position:
        """Where a user stands."""
        request = order_pb2.GetPositionRequest(
            user_id=rules.user_id,
            venue=wire.venue_to_pb(rules.instrument.venue),
            symbol=rules.instrument.symbol,
            strategy_id=rules.strategy_id,
        )
        return wire.position_from_pb(await _ask(self._stub.GetPosition(request, timeout=DEADLINE_SECONDS)))

    async def recent(self, rules: Rules) -> Sequence[Order]:
        """The newest orders."""
        request = order_pb2.ListOrdersRequest(
            user_id=rules.user_id,
            strategy_id=rules.strategy_id,
            symbol=rules.instrument.symbol,
            page_size=_RECENT_ORDERS,
        )
        answer = await _ask(self._stub.ListOrders(request, timeout=DEADLINE_SECONDS))
        return [wire.order_from_pb(order) for order in answer.orders]

    async def place(self, placement: PlaceOto | PlaceSell, rules: Rules, owner_epoch: int) -> Order:
        """Place an OTO or a single SELL."""
        if isinstance(placement, PlaceOto):
            call = self._stub.PlaceOto(oto_request(placement, rules, owner_epoch), timeout=DEADLINE_SECONDS)
        else:
            request = sell_request(placement, rules, owner_epoch)
            call = self._stub.PlaceOrder(request, timeout=DEADLINE_SECONDS)
        return wire.order_from_pb(await _ask(call))

    async def cancel(
        self, order_id: OrderId, role: LegRole, reason: str, reprice_to: Decimal | None = None
    ) -> Order:
        """Journal the wish that a leg be gone; `reprice_to`: and that its SELL go back at this price."""
        request = order_pb2.CancelOrderRequest(
            order_id=order_id,
            role=wire.role_to_pb(role),
            reason=reason,
            reprice_to=wire.amount(reprice_to),
        )
        return wire.order_from_pb(await _ask(self._stub.CancelOrder(request, timeout=DEADLINE_SECONDS)))

    async def find(self, order_id: OrderId | None, request_id: RequestId | None) -> Order:
        """One order."""
        request = order_pb2.GetOrderRequest(order_id=order_id or "", request_id=request_id or "")
        return wire.order_from_pb(await _ask(self._stub.GetOrder(request, timeout=DEADLINE_SECONDS)))

    async def watch(self, after_sequence: int) -> AsyncIterator[OrderNews]:
        """Order news of all users."""
        call = self._stub.WatchOrders(order_pb2.WatchOrdersRequest(after_sequence=after_sequence))
        try:
            async for item in call:
                told = [item.order] if item.HasField("order") else []
                users = [item.user] if item.HasField("user") else []
                yield OrderNews(
                    sequence=item.sequence,
                    snapshot=item.snapshot,
                    order=next(iter(_readable(told, wire.order_from_pb)), None),
                    user=next(iter(_readable(users, wire.user_from_pb)), None),
                    ask_again=tuple(UserId(user) for user in item.ask_again_user_ids),
                )
        except grpc.RpcError as error:
            raise failure(error) from error
        finally:
            call.cancel()


def oto_request(asked: PlaceOto, rules: Rules, owner_epoch: int) -> order_pb2.PlaceOtoRequest:
    """An OTO for the wire."""
    return order_pb2.PlaceOtoRequest(
        request_id=asked.request_id,
        owner_epoch=owner_epoch,
        user_id=rules.user_id,
        venue=wire.venue_to_pb(rules.instrument.venue),
        symbol=rules.instrument.symbol,
        strategy_id=rules.strategy_id,
        cycle=asked.cycle,
        try_number=asked.try_number,
        step=asked.step,
        scope_id=rules.scope_id,
        quantity=wire.amount(asked.quantity),
        working_price=wire.amount(asked.working_price),
        min_working_price=wire.amount(asked.min_working_price),
        pending_price=wire.amount(asked.pending_price),
        reference_price=wire.amount(asked.reference.price),
        price_confirmed_at=wire.timestamp(asked.reference.confirmed_at),
        max_price_age_ms=int(rules.settings.max_quote_age_seconds * 1000),
    )


def sell_request(asked: PlaceSell, rules: Rules, owner_epoch: int) -> order_pb2.PlaceOrderRequest:
    """A single SELL for the wire. It names no scope: what was bought is sold whatever the target leaves.

    Where SELLs count, its trades count as every trade of the account does, and while it is open it is
    reserved, so that BUYs leave room for it.
    """
    quote = asked.reference
    return order_pb2.PlaceOrderRequest(
        request_id=asked.request_id,
        owner_epoch=owner_epoch,
        user_id=rules.user_id,
        venue=wire.venue_to_pb(rules.instrument.venue),
        symbol=rules.instrument.symbol,
        strategy_id=rules.strategy_id,
        cycle=asked.cycle,
        try_number=asked.try_number,
        step=asked.step,
        purpose=wire.purpose_to_pb(asked.purpose),
        side=order_pb2.SIDE_SELL,
        quantity=wire.amount(asked.quantity),
        price=wire.amount(asked.price),
        price_confirmed_at=wire.timestamp(quote.confirmed_at) if quote is not None else None,
        max_price_age_ms=int(rules.settings.max_quote_age_seconds * 1000) if quote is not None else 0,
    )
