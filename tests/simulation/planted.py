"""Defects put into the services on purpose, each with the checkers of which every one must find it.

A checker that catches nothing is broken (reliability 3). Each defect is one that somebody wrote
once, somewhere: it replaces a function for as long as its block lasts. `known` is a seed in which
they are known to find it, so that the test is quick; it looks for others when they do not any more.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import msgspec

from order_service import books as books_module
from order_service import ledger, matching, placing
from order_service.books import Books
from order_service.gate import GatedAccount
from order_service.guard import Guard, Verdict
from order_service.journal import Journal
from order_service.order_manager import OrderManager
from order_service.resolution import Resolution
from order_service.room import NOTHING
from order_service.transaction import Transaction
from order_service.venues.port import VenueError, VenueSilent
from otopilot.money import ZERO
from otopilot.order import (
    IN_FLIGHT,
    Doubted,
    Fee,
    LegStatus,
    Order,
    OrderState,
    Refused,
    RejectionKind,
    Report,
    Trade,
    Traded,
    TradeKey,
)
from tests.simulation.checkers.guarding import NoCrossedClaims, NoSelfMatch
from tests.simulation.checkers.journaling import OldEpochs
from tests.simulation.checkers.money import Inventories, LedgerIsTheBooks, Targets, Volumes
from tests.simulation.checkers.placing import AtMostOneList, AtMostOneRequest, OneSlot
from tests.simulation.checkers.prices import FreshPrices
from tests.simulation.checkers.rest import Bijection, NothingStuck, OthersUntouched
from tests.simulation.planted_beside import BESIDE
from tests.simulation.planting import Patch, Patches, Planted

# ---------------------------------------------------------------------- sending


def _sends_again(change: Callable[[Order], Order]) -> Patch:
    def plant(patches: Patches) -> None:
        def make(place: Any) -> Any:
            async def twice(self: GatedAccount, order: Order) -> Any:
                try:
                    return await place(self, order)
                except VenueSilent:
                    return await place(self, change(order))

            return twice

        patches.put(GatedAccount, "place", make)

    return plant


def _renamed(order: Order) -> Order:
    legs = tuple(
        msgspec.structs.replace(
            leg, client_id=leg.client_id and "o" + leg.client_id[:0:-1][1:] + leg.client_id[-1]
        )
        for leg in order.legs
    )
    return msgspec.structs.replace(order, legs=legs)


def _exception_means_failed(patches: Patches) -> None:
    def make(ask: Any) -> Any:
        async def failed(self: OrderManager, *asked: Any) -> Any:
            news = await ask(self, *asked)
            if isinstance(news[0], Doubted):
                return [Refused(kind=RejectionKind.VENUE, code="failed", message="failed", at=news[0].at)]
            return news

        return failed

    patches.put(OrderManager, "_ask_venue", make)


def _sends_before_it_is_durable(patches: Patches) -> None:
    def make(write: Any) -> Any:
        async def early(self: Journal, batch: list[Any]) -> None:
            for item in batch:
                if item.then is not None:
                    item.decide = _then_at_once(item.decide, item.then)
                    item.then = None
            await write(self, batch)

        return early

    patches.put(Journal, "_write", make)


def _then_at_once(decide: Any, then: Any) -> Any:
    def both(tx: Transaction) -> Any:
        answer = decide(tx)
        then(answer)
        return answer

    return both


# ---------------------------------------------------------------------- doubt


def _failed_queries_mean_rejected(patches: Patches) -> None:
    failures: dict[str, int] = {}

    def make(step: Any) -> Any:
        async def counted(self: Resolution, session: Any, order: Order) -> float:
            try:
                return float(await step(self, session, order))
            except VenueError:
                failures[order.order_id] = failures.get(order.order_id, 0) + 1
                if failures[order.order_id] >= 1:
                    now = self._clock.now()
                    gone = Refused(kind=RejectionKind.VENUE, code="gone", message="gone", at=now)
                    await self._manager.learn(order.order_id, gone)
                raise

        return counted

    patches.put(Resolution, "step", make)


def _failed_query_is_not_found(patches: Patches) -> None:
    def make(ask: Any) -> Any:
        async def empty(self: GatedAccount, name: str, call: Any, *more: Any) -> Any:
            try:
                return await ask(self, name, call, *more)
            except VenueError:
                if name in ("open_orders", "order_history"):
                    return ()
                if name == "look_up":
                    return None
                raise

        return empty

    patches.put(GatedAccount, "_ask", make)
    _impatient(patches)


def _impatient(patches: Patches) -> None:
    """Absence after one look, as soon as somebody looks."""

    def make(look: Any) -> Any:
        async def at_once(
            self: Resolution, order: Order, case: Any, began: Any, gap: float, proof: str
        ) -> float:
            gone = Refused(kind=RejectionKind.VENUE, code="absent", message=proof, at=self._clock.now())
            await self._manager.learn(order.order_id, gone)
            return 0.0

        return at_once

    patches.put(Resolution, "_clean_look", make)


def _late_proof_is_ignored(patches: Patches) -> None:
    patches.put(matching, "late_proof", lambda _: lambda books, account, fact: None)


def _claim_dropped_in_doubt(patches: Patches) -> None:
    def make(claim_of: Any) -> Any:
        def none_in_doubt(order: Order, held: bool) -> Any:
            return None if order.state is OrderState.IN_DOUBT else claim_of(order, held)

        return none_in_doubt

    patches.put(books_module, "claim_of", make)


def _slot_freed_in_doubt(patches: Patches) -> None:
    def make(place: Any) -> Any:
        def freed(self: Books, order: Order) -> Any:
            result = place(self, order)
            if order.state is OrderState.IN_DOUBT:
                self.buys[books_module.account_of(order)].pop(order.order_id, None)
            return result

        return freed

    patches.put(Books, "place", make)


def _reservation_released_early(patches: Patches) -> None:
    def make(reserved_by: Any) -> Any:
        return lambda order: NOTHING if order.state in IN_FLIGHT or order.is_alive else reserved_by(order)

    patches.put(books_module, "reserved_by", make)


# ---------------------------------------------------------------------- the ledger


def _made_up_fills(patches: Patches) -> None:
    def make(learn: Any) -> Any:
        async def made_up(self: OrderManager, order_id: Any, *news: Any) -> Any:
            more = [item for report in news for item in _invented(self, order_id, report)]
            return await learn(self, order_id, *news, *more)

        return made_up

    patches.put(OrderManager, "learn", make)


def _invented(manager: OrderManager, order_id: Any, report: Any) -> list[Traded]:
    """A fill made of a report that says so, before the trades are read."""
    order = manager.books.order(order_id)
    if order is None or not isinstance(report, Report) or report.status is not LegStatus.FILLED:
        return []
    leg = order.leg(report.role)
    if leg.filled_quantity or report.venue_order_id is None:
        return []
    trade = Trade(
        key=TradeKey(f"{report.venue_order_id}:filled"),
        side=leg.side,
        price=leg.price,
        quantity=leg.quantity,
        quote=leg.price * leg.quantity,
        fee=Fee("USDT", ZERO),
        traded_at=report.at,
        venue_order_id=report.venue_order_id,
    )
    return [Traded(role=report.role, trade=trade, at=report.at)]


def _dedupe_before_insert(patches: Patches) -> None:
    seen: dict[str, None] = {}

    def make(learn: Any) -> Any:
        async def once(self: OrderManager, order_id: Any, *news: Any) -> Any:
            fresh = [n for n in news if not isinstance(n, Traded) or f"{order_id}/{n.trade.key}" not in seen]
            seen.update({f"{order_id}/{n.trade.key}": None for n in fresh if isinstance(n, Traded)})
            return await learn(self, order_id, *fresh)

        return once

    patches.put(OrderManager, "learn", make)


def _trade_keyed_by_reading(patches: Patches) -> None:
    count = 0

    def make(trades_of: Any) -> Any:
        async def renamed(self: GatedAccount, *where: Any) -> Any:
            nonlocal count
            count += 1
            trades = await trades_of(self, *where)
            return tuple(msgspec.structs.replace(t, key=TradeKey(f"{t.key}#{count}")) for t in trades)

        return renamed

    patches.put(GatedAccount, "trades_of", make)


def _foreign_counted_as_own(patches: Patches) -> None:
    def make(add_trade: Any) -> Any:
        def own(self: Transaction, row: Any) -> Any:
            if row.order_id is None and (orders := self.books.by_account.get(row.account)):
                row = msgspec.structs.replace(row, order_id=next(iter(orders)))
            return add_trade(self, row)

        return own

    patches.put(Transaction, "add_trade", make)


def _local_time_day(patches: Patches) -> None:
    def local(moment: datetime) -> date:
        return moment.astimezone(timezone(timedelta(hours=8))).date()

    patches.put(ledger, "day_of", lambda _: local)


# ---------------------------------------------------------------------- the placing decision


def _price_age_not_checked(patches: Patches) -> None:
    patches.put(placing, "check_price_age", lambda _: lambda ask, now: None)


def _stale_owner_accepted(patches: Patches) -> None:
    def make(decide: Any) -> Any:
        def accepted(tx: Transaction, ask: Any, *more: Any) -> Any:
            return decide(tx, msgspec.structs.replace(ask, owner_epoch=tx.books.owner_epoch), *more)

        return accepted

    patches.put(placing, "decide", make)


def _guard_off(patches: Patches) -> None:
    def make(_: Any) -> Any:
        def anything(self: Guard, market: Any, *args: Any, **asked: Any) -> Verdict:
            wanted = asked.get("asked")
            if wanted is not None:
                return Verdict(wanted.bid, wanted.ask)
            return Verdict(asked["bid"], asked["ask"])

        return anything

    patches.put(Guard, "decide", make)


def _targets_not_checked(patches: Patches) -> None:
    patches.put(placing, "_check_scope", lambda _: lambda *args: None)


PLANTED: tuple[Planted, ...] = (
    Planted("resent with the same id", _sends_again(lambda order: order), (AtMostOneRequest, AtMostOneList)),
    Planted("resent with a new id", _sends_again(_renamed), (AtMostOneRequest, AtMostOneList)),
    Planted("an exception means failed", _exception_means_failed, (OthersUntouched,)),
    Planted("sent before it is durable", _sends_before_it_is_durable, (AtMostOneRequest,)),
    Planted(
        "failed queries mean rejected",
        _failed_queries_mean_rejected,
        (Bijection, NothingStuck),
        (14, "harsh"),
    ),
    Planted("a failed query counts as not found", _failed_query_is_not_found, (Bijection,), (0, "harsh")),
    Planted("absence needs no waiting", _impatient, (Bijection,), (0, "harsh")),
    Planted("late proof of life is ignored", _late_proof_is_ignored, (Bijection, LedgerIsTheBooks)),
    Planted("the claim is dropped while in doubt", _claim_dropped_in_doubt, (NoCrossedClaims,)),
    Planted("the slot is freed in doubt", _slot_freed_in_doubt, (OneSlot,)),
    Planted("the reservation is released early", _reservation_released_early, (Targets,), (6, "harsh")),
    Planted("fills are made up", _made_up_fills, (LedgerIsTheBooks,)),
    Planted(
        "trades are marked seen before they are written",
        _dedupe_before_insert,
        (LedgerIsTheBooks, Bijection),
        (16, "harsh"),
    ),
    Planted("trades are keyed by the reading", _trade_keyed_by_reading, (LedgerIsTheBooks,)),
    Planted("foreign trades count as own", _foreign_counted_as_own, (LedgerIsTheBooks, Inventories)),
    Planted("the day is local time", _local_time_day, (Volumes,), (306, "harsh")),
    Planted("the age of a price is not checked", _price_age_not_checked, (FreshPrices,)),
    Planted("a stale owner is accepted", _stale_owner_accepted, (OldEpochs,), (302, "harsh")),
    Planted("the guard is off", _guard_off, (NoCrossedClaims, NoSelfMatch)),
    Planted("targets are not checked", _targets_not_checked, (Targets,), (8, "harsh")),
    *BESIDE,
)
