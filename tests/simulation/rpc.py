"""The strategy service's calls to the order service, over a line that fails as gRPC does.

A call may be lost on its way, carried out without an answer, or cut in the middle, which cancels its
handler. What the service itself says becomes Refused or Unreached by the same table as on the wire
(servicer.py and clients.py there).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from order_service.denied import Denied, JournalFailed, Kind
from order_service.feed import FellBehind
from order_service.placing import Ask
from otopilot.instrument import Side
from otopilot.order import LegRole, Order, OrderId, Purpose, RequestId, ScopeId
from otopilot.position import Position, ScopeVolume, VolumeScope
from strategy_service.clients import CallFailed, Claimed, OrderNews, Refused, Unreached
from strategy_service.state import PlaceOto, PlaceSell, Rules
from tests.simulation.order_process import OrderProcess

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

DEADLINE_SECONDS = 5.0
LATENCY_SECONDS = 0.0005
HEARTBEAT_SECONDS = 1.0

_CODES = {
    Kind.BAD_ARGUMENT: "INVALID_ARGUMENT",
    Kind.NOT_FOUND: "NOT_FOUND",
    Kind.REUSED: "ALREADY_EXISTS",
    Kind.PRECONDITION: "FAILED_PRECONDITION",
    Kind.EXHAUSTED: "RESOURCE_EXHAUSTED",
    Kind.UNAVAILABLE: "UNAVAILABLE",
}

Work = Callable[[OrderProcess], Awaitable[Any]]


class SimOrders:
    """OrderClient of one start of the strategy service."""

    def __init__(self, simulation: "Simulation", seed: str) -> None:
        self._sim = simulation
        self._dice = random.Random(seed)
        self.killed = False

    # ------------------------------------------------------------------ the line

    async def _call(self, name: str, work: Work) -> Any:
        sim, dice = self._sim, self._dice
        profile = sim.network.profile
        lost = profile is not None and dice.random() < profile.call_lost
        server = sim.order
        if server is None or not server.ready or lost:
            await asyncio.sleep(LATENCY_SECONDS)
            raise _unreached("UNAVAILABLE", "no connection")
        call = _Call(sim, server, work, name)
        seconds = LATENCY_SECONDS + 0.002 * dice.random()
        if profile is not None and dice.random() < profile.call_late:
            # On its way for long: it arrives also when its sender has died meanwhile.
            seconds = dice.choice((0.3, 1.0, 3.0))
        sim.network.after(seconds, call.arrive)
        cut = None
        if profile is not None and dice.random() < profile.call_unanswered:
            cut = sim.loop.call_later(dice.choice((0.0, 0.01, 0.05, 1.0)), call.cut)
        deadline = sim.loop.call_later(DEADLINE_SECONDS, call.expire)
        try:
            return await call.outcome
        except asyncio.CancelledError:
            call.cut()
            raise
        finally:
            deadline.cancel()
            if cut is not None:
                cut.cancel()
            call.close()

    # ------------------------------------------------------------------ OrderClient

    async def claim(self, owner: str) -> Claimed:
        """Take the placing right."""
        epoch, instance = await self._call("claim", lambda server: server.accounts.claim(owner))
        return Claimed(epoch, instance)

    async def set_scope(self, scope: VolumeScope, owner_epoch: int) -> ScopeVolume:
        """Write a target."""
        call = lambda server: server.accounts.set_scope(scope, owner_epoch)  # noqa: E731
        volume: ScopeVolume = await self._call("scope", call)
        return volume

    async def scope_revision(self, scope_id: ScopeId) -> int:
        """The revision a scope was last set with."""
        volume = await self._call("volume", lambda server: server.accounts.volume(scope_id))
        return int(volume.scope.revision)

    async def volume(self, scope: VolumeScope) -> ScopeVolume:
        """A scope's figures."""
        call = lambda server: server.accounts.volume(scope.scope_id)  # noqa: E731
        volume: ScopeVolume = await self._call("volume", call)
        self._sim.reported(volume)
        return volume

    async def position(self, rules: Rules) -> Position:
        """Where a user stands."""
        where = (rules.user_id, rules.instrument.venue, rules.instrument.symbol, rules.strategy_id)
        position: Position = await self._call("position", lambda server: server.accounts.position(*where))
        return position

    async def recent(self, rules: Rules) -> Sequence[Order]:
        """The newest orders."""
        where = {"user_id": rules.user_id, "strategy_id": rules.strategy_id}

        async def read(server: OrderProcess) -> list[Order]:
            rows = server.journal.books.store.list_orders(where, None, 200)
            return [order for _, order in rows]

        orders: list[Order] = await self._call("recent", read)
        return orders

    async def place(self, placement: PlaceOto | PlaceSell, rules: Rules, owner_epoch: int) -> Order:
        """Place an OTO or a single SELL."""
        ask = _oto(placement, rules, owner_epoch) if isinstance(placement, PlaceOto) else None
        if ask is None:
            assert isinstance(placement, PlaceSell)
            ask = _single(placement, rules, owner_epoch)
        asked = ask
        self._sim.asked(asked)
        try:
            order: Order = await self._call("place", lambda server: server.manager.place(asked))
        except CallFailed as error:
            self._sim.trace.add("strategy", f"{ask.request_id} {error.reason}")
            raise
        self._sim.acknowledged(order)
        return order

    async def cancel(
        self, order_id: OrderId, role: LegRole, reason: str, reprice_to: Decimal | None = None
    ) -> Order:
        """Journal the wish that a leg be gone."""
        self._sim.tell("wished", order_id, role)
        more = () if reprice_to is None else (reprice_to,)
        call = lambda server: server.manager.cancel(order_id, role, reason, *more)  # noqa: E731
        order: Order = await self._call("cancel", call)
        self._sim.acknowledged(order)
        return order

    async def find(self, order_id: OrderId | None, request_id: RequestId | None) -> Order:
        """One order."""

        async def read(server: OrderProcess) -> Order:
            books = server.journal.books

            def look(_: object) -> Order | None:
                if order_id is not None:
                    return books.order(order_id)
                known = books.order_of_request(request_id) if request_id is not None else None
                return known[0] if known else None

            order = await server.journal.run(look)
            if order is None:
                raise Denied(Kind.NOT_FOUND, "UNKNOWN_ORDER", f"there is no order {order_id or request_id}")
            return order

        order: Order = await self._call("find", read)
        return order

    async def watch(self, after_sequence: int) -> AsyncIterator[OrderNews]:
        """Order news after a sequence; 0 starts with a snapshot."""
        sim, dice = self._sim, self._dice
        await asyncio.sleep(0.002)
        server = sim.order
        if server is None or not server.ready:
            raise _unreached("UNAVAILABLE", "no connection")
        sequence = after_sequence
        if not sequence:
            read = lambda tx: (list(tx.books.live.values()), server.feed.newest)  # noqa: E731
            live, sequence = await self._call("snapshot", lambda server: server.journal.run(read))
            for session in server.sessions.all():
                yield OrderNews(sequence=sequence, snapshot=True, user=session.user())
            for order in live:
                yield OrderNews(sequence=sequence, snapshot=True, order=order)
            yield OrderNews(sequence=sequence)
        while True:
            await server.feed.wait(sequence, HEARTBEAT_SECONDS)
            profile = sim.network.profile
            cuts = profile.stream_cuts_per_minute / 60 if profile is not None else 0.0
            if not server.ready or dice.random() < cuts * 0.2:
                raise _unreached("UNAVAILABLE", "stream broken")
            try:
                items = server.feed.after(sequence)
            except FellBehind:
                raise Refused("OUT_OF_RANGE", "FELL_BEHIND", "start again at 0") from None
            for number, item in items:
                sequence = number
                yield OrderNews(sequence=number, order=item.order, user=item.user, ask_again=item.ask_again)
            if not items:
                yield OrderNews(sequence=sequence)


class _Call:
    """One call: its handler in the service, and what its client hears."""

    def __init__(self, sim: "Simulation", server: OrderProcess, work: Work, name: str) -> None:
        self.outcome: asyncio.Future[Any] = sim.loop.create_future()
        self._sim = sim
        self._server = server
        self._work = work
        self._name = name
        self._handler: asyncio.Task[None] | None = None
        self._cut = False
        server.died.append(self._died)

    def arrive(self) -> None:
        """It has reached the service, if that is still there and the connection, too."""
        if self._server.ready and not self._cut:
            self._handler = self._server.call(self._handle(), self._name)

    def cut(self) -> None:
        """The connection breaks: the client hears so, and gRPC cancels the handler."""
        self._end("UNAVAILABLE", "connection reset")

    def expire(self) -> None:
        """The client's deadline: gRPC cancels the handler."""
        self._end("DEADLINE_EXCEEDED", "deadline exceeded")

    def close(self) -> None:
        """The client has heard."""
        self._server.died.remove(self._died)

    def _end(self, code: str, message: str) -> None:
        self._cut = True
        if self._handler is not None:
            self._handler.cancel()
        _settle(self.outcome, _unreached(code, message))

    def _died(self) -> None:
        _settle(self.outcome, _unreached("UNAVAILABLE", "connection reset"))

    async def _handle(self) -> None:
        """The service's side."""
        try:
            result = await self._work(self._server)
        except Denied as denied:
            code = _CODES[denied.kind]
            kind = Unreached if denied.kind is Kind.UNAVAILABLE else Refused
            _settle(self.outcome, kind(code, denied.reason, denied.message, denied.metadata))
        except JournalFailed as error:
            _settle(self.outcome, Unreached("UNAVAILABLE", "JOURNAL", str(error)))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # A defect: reported, and the client hears as from gRPC.
            self._sim.defect("order service", f"{type(error).__name__}: {error}")
            _settle(self.outcome, _unreached("UNKNOWN", str(error)))
        else:
            if not self.outcome.done():
                self.outcome.set_result(result)


def _settle(outcome: "asyncio.Future[Any]", error: CallFailed) -> None:
    if not outcome.done():
        outcome.set_exception(error)
        outcome.exception()  # seen: the client may have gone


def _unreached(code: str, message: str) -> Unreached:
    return Unreached(code, code, message)


def _oto(asked: PlaceOto, rules: Rules, owner_epoch: int) -> Ask:
    return Ask(
        request_id=asked.request_id,
        owner_epoch=owner_epoch,
        user_id=rules.user_id,
        venue=rules.instrument.venue,
        symbol=rules.instrument.symbol,
        strategy_id=rules.strategy_id,
        cycle=asked.cycle,
        try_number=asked.try_number,
        step=asked.step,
        scope_id=rules.scope_id,
        purpose=Purpose.OTO,
        side=Side.BUY,
        quantity=asked.quantity,
        price=asked.working_price,
        limit_price=asked.min_working_price,
        pending_price=asked.pending_price,
        price_confirmed_at=asked.reference.confirmed_at,
        max_price_age=timedelta(seconds=float(rules.settings.max_quote_age_seconds)),
    )


def _single(asked: PlaceSell, rules: Rules, owner_epoch: int) -> Ask:
    quote = asked.reference
    return Ask(
        request_id=asked.request_id,
        owner_epoch=owner_epoch,
        user_id=rules.user_id,
        venue=rules.instrument.venue,
        symbol=rules.instrument.symbol,
        strategy_id=rules.strategy_id,
        cycle=asked.cycle,
        try_number=asked.try_number,
        step=asked.step,
        scope_id=None,
        purpose=asked.purpose,
        side=Side.SELL,
        quantity=asked.quantity,
        price=asked.price,
        limit_price=None,
        price_confirmed_at=quote.confirmed_at if quote is not None else None,
        max_price_age=timedelta(seconds=float(rules.settings.max_quote_age_seconds)),
    )
