"""What nature does to a run: outages, cut sockets, deaths, people trading by hand, ended credentials."""

import asyncio
import random
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from otopilot.instrument import Venue
from otopilot.order import IN_FLIGHT, RequestId
from paper_exchange.faults import FaultRule
from paper_exchange.model import NewOrder, Refused
from strategy_service.clients import PriceKey
from tests.simulation.network import Sent
from tests.simulation.scenario import MARKETS

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

TRADING_SECONDS = 22.0  # within which the drawn moments lie
BEAT = 0.5
LARGER_NOTIONAL = Decimal(11)  # of the smallest order, for a while
ENGINE_SECONDS = (2, 10, 20)


class Nature:
    """Owns the course of faults that are not of one request."""

    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._dice = random.Random(f"{sim.name}/nature")
        self._task: asyncio.Task[None] | None = None
        self._beside = 0
        self._ended = False

    def begin(self) -> None:
        """Let it happen."""
        sim, scenario = self._sim, self._sim.scenario
        for fraction in scenario.order_kills:
            when = self._dice.choice((self._soon, self._as_it_sends))
            self._at(fraction, when(sim.kill_order))
        for fraction in scenario.strategy_kills:
            self._at(fraction, self._soon(sim.kill_strategy))
        for fraction, seconds, venue in scenario.outages:
            self._at(fraction, lambda v=venue, s=seconds: self._outage(v, s))
        if scenario.revoked is not None:
            self._at(self._dice.random(), self._revoke)
        self._draw_stand_stills()
        for _ in range(self._dice.randint(0, scenario.profile.conditions)):
            self._at(self._dice.random(), self._change_a_market)
        profile = scenario.profile
        for seconds in ENGINE_SECONDS:
            rule = FaultRule(
                kind="engine_delay",
                endpoint="place*",
                seconds=Decimal(seconds),
                probability=Decimal(str(profile.engine_delay)) / len(ENGINE_SECONDS),
            )
            sim.exchange.world.faults.add(rule)
        self._task = asyncio.ensure_future(self._go_on())

    def end(self) -> None:
        """No more of it."""
        self._ended = True
        self._sim.at_step.clear()
        if self._task is not None:
            self._task.cancel()

    def _at(self, fraction: float, what: object) -> None:
        self._sim.network.after(fraction * TRADING_SECONDS, self._unless_healed, what)

    def _unless_healed(self, what: object) -> None:
        if self._sim.network.profile is not None:
            what()  # type: ignore[operator]

    def _soon(self, kill: object) -> object:
        """Between any two callbacks of the next moments, not only when a timer is due."""

        def later() -> None:
            self._sim.at_step[self._sim.loop.steps + self._dice.randint(1, 300)] = kill  # type: ignore[assignment]

        return later

    def _draw_stand_stills(self) -> None:
        """A machine stops and goes on: requests grow too old to be sent, owners are replaced (42)."""
        profile = self._sim.scenario.profile
        for _ in range(self._dice.randint(0, profile.stand_stills)):
            seconds = self._dice.choice((0.5, 1.5, 6.0))
            self._at(
                self._dice.random(), self._dice.choice((self._order_stops, self._strategy_stops))(seconds)
            )
        if self._dice.random() < profile.zombie:
            seconds = self._dice.uniform(0.2, 5.0)
            self._at(self._dice.random(), self._soon(lambda: self._sim.replace_strategy(seconds)))

    def _order_stops(self, seconds: float) -> object:
        def stop() -> None:
            if self._sim.order is not None and self._sim.order.ready:
                self._sim.pause(self._sim.order.process, seconds)

        return self._soon(stop)

    def _strategy_stops(self, seconds: float) -> object:
        def stop() -> None:
            if self._sim.strategy is not None and not self._sim.strategy.dead:
                self._sim.pause(self._sim.strategy.process, seconds)

        return self._soon(stop)

    def _change_a_market(self) -> None:
        """For a while a market is halted, withdrawn or has other filters (28, 29, 55)."""
        sim, dice = self._sim, self._dice
        symbol, venue, *_ = dice.choice(MARKETS)
        rule: dict[str, object] = {
            "venue": venue.value,
            "symbol": symbol,
            "lasts_seconds": dice.choice((2, 5)),
        }
        spot_only = [
            {"kind": "trading_status", "code": dice.choice(("HALT", "BREAK", "CANCEL_ONLY"))},
            {"kind": "vanish"},
        ]
        rule |= dice.choice(
            [
                {"kind": "delist"},
                {"kind": "filters", "set": {"min_notional": str(LARGER_NOTIONAL)}},
                *(spot_only if venue is Venue.SPOT else []),
            ]
        )
        sim.trace.add("nature", f"{symbol}: {rule}")
        if rule["kind"] == "filters":
            sim.exchange.most_min_notional = LARGER_NOTIONAL
        sim.exchange.world.faults.add(FaultRule.model_validate(rule))
        sim.exchange.moved()

    def _as_it_sends(self, kill: object) -> object:
        """Just after the next placement has left."""

        def heard(sent: Sent) -> None:
            if sent.places and not self._ended:
                self._sim.network.on_sent.remove(heard)
                self._sim.at_step[self._sim.loop.steps + self._dice.randint(1, 3)] = kill  # type: ignore[assignment]

        return lambda: self._sim.network.on_sent.append(heard)

    def _outage(self, venue: Venue, seconds: float) -> None:
        self._sim.trace.add("nature", f"{venue} is out for {seconds:.1f} s")
        self._sim.network.out[venue] = self._sim.loop.time() + seconds
        for socket in list(self._sim.network.sockets):
            socket.cut(noticed=self._dice.random() < 0.5)

    def _revoke(self) -> None:
        assert self._sim.scenario.revoked is not None
        venue, user_id = self._sim.scenario.revoked
        self._sim.trace.add("nature", f"the credential of {venue}/{user_id} ends")
        rule = FaultRule(kind="verification_required", venue=venue.value, user_id=user_id)
        self._sim.exchange.world.faults.add(rule)

    async def _go_on(self) -> None:
        sim, profile = self._sim, self._sim.scenario.profile
        cuts = profile.cuts_per_minute / 60 * BEAT
        while True:
            await asyncio.sleep(BEAT)
            for socket in list(sim.network.sockets):
                if self._dice.random() < cuts:
                    socket.cut(noticed=self._dice.random() >= profile.half_open)
            if self._dice.random() < 0.2:
                self._place_beside()
            if sim.scenario.manual_orders and self._dice.random() < 0.04:
                self._trade_by_hand()

    def _place_beside(self) -> None:
        """Another client, under the same right, wants a BUY where one is in flight: it must not get it."""
        sim = self._sim
        in_flight = [o for o in sim.view.orders.values() if o.buy is not None and o.state in IN_FLIGHT]
        if not in_flight or sim.order is None or not sim.order.ready or sim.strategy is None:
            return
        order = self._dice.choice(in_flight)
        quote = sim.strategy.market.quote(PriceKey(order.venue, order.symbol))
        self._beside += 1
        ask = msgspec.structs.replace(
            sim.asks[order.request_id],
            request_id=RequestId(f"{order.request_id}/beside{self._beside}"),
            owner_epoch=sim.order.journal.books.owner_epoch,
            price_confirmed_at=quote.confirmed_at,
        )
        sim.asked(ask)
        task = sim.order.call(sim.order.manager.place(ask), "place beside")
        task.add_done_callback(_forget)

    def _trade_by_hand(self) -> None:
        """A foreign BUY on a managed account, where it cannot meet a managed order (product 2)."""
        sim = self._sim
        strategy = self._dice.choice(sim.scenario.strategies)
        user_id = self._dice.choice(strategy.user_ids)
        symbol = next(market[0] for market in MARKETS if market[2] == strategy.target_token)
        exchange = sim.exchange.world.exchange
        market = exchange.market(symbol)
        asks = market.book.depth("SELL", 1)
        if not asks:
            return
        price = asks[0][0]
        if any(
            order.symbol == symbol and order.side == "SELL" and order.price <= price
            for order in sim.exchange.open()
        ):
            return
        quantity = market.quantity_of(Decimal(self._dice.choice((7, 15))), price)
        # It never rests: unseen, it could be met by an order of ours that nobody can hold back.
        terms = NewOrder(
            symbol=symbol,
            side="BUY",
            price=price,
            quantity=quantity,
            client_id="web_by_hand",
            time_in_force="IOC",
        )
        number = sim.exchange.state.world.order_id + 1
        sim.exchange.manual.add(number)
        try:
            exchange.place(sim.exchange.account(strategy.venue, user_id), terms)
        except Refused:
            sim.exchange.manual.discard(number)
            return
        sim.trace.add(
            "nature", f"{strategy.venue}/{user_id} buys {quantity} by hand at {price}, order {number}"
        )
        sim.exchange.moved()


def _forget(task: "asyncio.Task[object]") -> None:
    """Whether it was denied is the checkers' business."""
    if not task.cancelled():
        task.exception()
