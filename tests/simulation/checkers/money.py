"""I4, I5, I6, I11: the ledger, volumes, targets and inventories, worked out again from the exchange's books.

Nothing of the service's arithmetic is used: rows are text from the journal, truth is the exchange's fills.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from order_service.ledger import AccountKey
from otopilot.instrument import Side, Venue
from otopilot.order import Leg, LegStatus, Order, OrderId, RejectionKind, UserId
from otopilot.position import ScopeVolume, VolumeScope, VolumeSide, VolumeWindow
from paper_exchange.model import Fill, Status
from tests.simulation.checkers.base import Checker
from tests.simulation.journal_view import AccountSymbol, Changes, TradeRow
from tests.simulation.order_process import HOLD

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

ZERO = Decimal(0)
ENDED = (LegStatus.REJECTED, LegStatus.EXPIRED, LegStatus.CANCELED, LegStatus.FILLED)

Print = tuple[str, Decimal, Decimal, Decimal, Decimal, int]


def _of_fill(fill: Fill) -> Print:
    return (fill.side, fill.price, fill.quantity, fill.quote, fill.fee, fill.time_ms)


def _of_row(row: TradeRow) -> Print:
    amounts = (Decimal(row.price), Decimal(row.quantity), Decimal(row.quote), Decimal(row.fee))
    return (row.side.upper(), *amounts, row.traded_at_ms)


class LedgerIsTheBooks(Checker):
    """I4: every ledger row is one fill of the exchange, once; at rest every fill is a row."""

    name = "I4"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._rows: dict[str, Counter[Print]] = defaultdict(Counter)
        self._own: dict[str, Decimal] = defaultdict(lambda: ZERO)  # by the venue's order id

    def committed(self, epoch: int, changes: Changes) -> None:
        for row in changes.traded:
            self._take(row)
        for row in (*changes.traded, *changes.adopted):
            if row.order_id is not None:
                self._own[row.venue_order_id] += Decimal(row.quantity)
                if int(row.venue_order_id) in self.sim.exchange.manual:
                    self.fail(f"trade {row.key} of order {row.venue_order_id}, placed by hand, counts as own")
        for order_id in dict.fromkeys(after.order_id for _, after in changes.updated):
            after = self.sim.view.orders[order_id]  # as the whole commit left it
            for leg in after.legs:
                own = self._own[leg.venue_order_id] if leg.venue_order_id is not None else ZERO
                if leg.filled_quantity != own:
                    self.fail(
                        f"{after.order_id}: its {leg.role} leg says {leg.filled_quantity}, the ledger {own}"
                    )

    def _take(self, row: TradeRow) -> None:
        known = self._rows[row.venue_order_id]
        known[_of_row(row)] += 1
        fills = self.sim.exchange.state.fills_of_order.get(int(row.venue_order_id), [])
        there = sum(1 for fill in fills if _of_fill(fill) == _of_row(row))
        if known[_of_row(row)] > there:
            self.fail(f"ledger row {row} is there {known[_of_row(row)]} times, at the exchange {there} times")
        owner = f"{row.venue}/{row.user_id}"
        if fills[0].account != owner or fills[0].symbol != row.symbol:
            self.fail(f"ledger row {row} is a fill of {fills[0].account} on {fills[0].symbol}")

    def at_rest(self) -> None:
        for fill in self.sim.exchange.fills():
            if self._rows[str(fill.order_id)][_of_fill(fill)] < 1:
                self.fail(f"fill {fill} is not in the ledger")
        for row in self.sim.view.trades.values():
            if row.order_id is None and int(row.venue_order_id) not in self.sim.exchange.manual:
                self.fail(f"ledger row {row} of our order counts as foreign")


def in_window(scope: VolumeScope, traded_at_ms: int, now: datetime) -> bool:
    """Does a trade of that time count at that moment?"""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=traded_at_ms)
    if scope.window is VolumeWindow.DAY:
        return (at.year, at.month, at.day) == (now.year, now.month, now.day)
    return scope.since is None or at >= scope.since


def members_of(scope: VolumeScope) -> list[AccountSymbol]:
    """Whose trades count in it."""
    return [(m.venue.value, m.user_id, m.symbol) for m in scope.members]


class Volumes(Checker):
    """I5: reported volume is the sum of the exchange's trades per (scope, side, UTC day)."""

    name = "I5"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._sums: dict[tuple[str, str, str, str, str], tuple[Decimal, Decimal]] = {}
        self._counted: dict[tuple[VolumeScope, date], tuple[int, Decimal]] = {}

    def committed(self, epoch: int, changes: Changes) -> None:
        for row in changes.traded:
            at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=row.traded_at_ms)
            key = (*row.account, row.side, at.date().isoformat())
            quantity, quote = self._sums.get(key, (ZERO, ZERO))
            self._sums[key] = (quantity + Decimal(row.quantity), quote + Decimal(row.quote))
        if changes.traded:
            self.full()

    def full(self) -> None:
        if len(self.sim.view.totals) != len(self._sums):
            self.fail(f"totals {sorted(self.sim.view.totals)}, trades {sorted(self._sums)}")
        for key, sums in self._sums.items():
            told = self.sim.view.totals.get(key)
            if told is None or (Decimal(told[0]), Decimal(told[1])) != sums:
                self.fail(f"total of {key} is {told}, its trades make {sums}")

    def reported(self, volume: ScopeVolume) -> None:
        now = self.sim.clock.now()
        if now.hour == 0 and now.minute == 0 and now.second < 10:
            return  # a figure of yesterday may still be on its way
        truth = self._truth(volume.scope, now)
        if volume.counted > truth:
            self.fail(f"scope {volume.scope.scope_id} reports {volume.counted}, the exchange has {truth}")

    def _truth(self, scope: VolumeScope, now: datetime) -> Decimal:
        """What the exchange traded for the scope; it goes on where it stopped, fills are only ever added."""
        known = (msgspec.structs.replace(scope, target=ZERO, revision=0), now.date())
        seen, total = self._counted.get(known, (0, ZERO))
        members = {(f"{venue}/{user}", symbol) for venue, user, symbol in members_of(scope)}
        fills = self.sim.exchange.state.fills
        for fill in itertools.islice(fills, seen, None):
            if (fill.account, fill.symbol) not in members or not in_window(scope, fill.time_ms, now):
                continue
            if fill.side == "BUY" or scope.side is VolumeSide.BOTH:
                total += fill.quote
        self._counted[known] = (len(fills), total)
        return total

    def at_rest(self) -> None:
        assert self.sim.order is not None
        books, now = self.sim.order.journal.books, self.sim.clock.now()
        for scope in self.sim.view.scopes.values():
            told, truth = books.volume(scope, now).counted, self._truth(scope, now)
            if told != truth:
                self.fail(f"scope {scope.scope_id} counts {told}, the exchange has {truth}")


class Targets(Checker):
    """I6: what is admitted keeps counted + reserved within the target, but for one smallest order."""

    name = "I6"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._targets: dict[str, Decimal] = {}

    def committed(self, epoch: int, changes: Changes) -> None:
        targets = dict(self._targets)
        for scope in changes.scopes:
            self._targets[scope.scope_id] = scope.target
            targets[scope.scope_id] = max(scope.target, targets.get(scope.scope_id, ZERO))
        fresh = {order.order_id for order in changes.placed}
        for order in changes.placed:
            fresh.discard(order.order_id)
            if order.scope_id is not None:
                self._check(order, targets[order.scope_id], fresh)

    def _check(self, order: Order, target: Decimal, later: set[OrderId]) -> None:
        assert order.scope_id is not None
        scope = self.sim.view.scopes[order.scope_id]
        new = sum((leg.quantity * leg.price for leg in self._counting(order, scope)), ZERO)
        counted = self._counted(scope)
        reserved = self._reserved(scope, later | {order.order_id})
        if counted + reserved + new <= target or not new:
            return
        smallest = self._most_for_a_smallest(order, scope)
        if reserved == 0 and counted < target and new <= smallest:
            return
        self.fail(
            f"{order.request_id}: scope {scope.scope_id} has {counted} counted and {reserved} reserved of"
            f" {target}, and admits {new} more (a smallest order is at most {smallest})"
        )

    def _counting(self, order: Order, scope: VolumeScope) -> Iterator[Leg]:
        return (leg for leg in order.legs if leg.side is Side.BUY or scope.side is VolumeSide.BOTH)

    def _counted(self, scope: VolumeScope) -> Decimal:
        now, total = self.sim.clock.now() - timedelta(milliseconds=5), ZERO
        for account in members_of(scope):
            for row in self.sim.view.by_account[account].values():
                counts = row.side == "buy" or scope.side is VolumeSide.BOTH
                if counts and in_window(scope, row.traded_at_ms, now):
                    total += Decimal(row.quote)
        return total

    def _reserved(self, scope: VolumeScope, but: set[OrderId]) -> Decimal:
        members, now, total = set(members_of(scope)), self.sim.clock.now(), ZERO
        for order in self.sim.view.orders.values():
            if order.order_id in but or (order.venue.value, order.user_id, order.symbol) not in members:
                continue
            if order.rejection is not None:
                absent = order.rejection.kind is RejectionKind.ABSENT
                if not absent or now >= order.submitted_at + HOLD - timedelta(seconds=1):
                    continue
            for leg in self._counting(order, scope):
                whole = leg.reported_quantity if leg.status in ENDED else leg.quantity
                total += max(ZERO, whole - leg.filled_quantity) * leg.price
        return total

    def _most_for_a_smallest(self, order: Order, scope: VolumeScope) -> Decimal:
        sell = order.legs[-1].asked_price
        smallest = self.sim.exchange.smallest_order(order.symbol, order.working.asked_price, sell)
        return sum((smallest * leg.price for leg in self._counting(order, scope)), ZERO)


class Inventories(Checker):
    """I11: base bought - sold - fees paid of it = open SELLs + residual, per user and symbol. At rest."""

    name = "I11"

    def at_rest(self) -> None:
        fills: dict[str, list[Fill]] = defaultdict(list)
        opened: dict[str, Decimal] = defaultdict(lambda: ZERO)
        for order in self.sim.exchange.orders():
            key = f"{order.account}/{order.symbol}"
            fills[key] += self.sim.exchange.state.fills_of_order.get(order.order_id, [])
            if order.side == "SELL" and order.status in (Status.NEW, Status.PARTIALLY_FILLED):
                opened[key] += order.open_quantity
        self._add_held(opened)
        assert self.sim.order is not None
        books = self.sim.order.journal.books
        for key in sorted(fills):
            venue, user, symbol = key.split("/")
            held = self._held(symbol, fills[key])
            residual = books.uncovered(AccountKey(UserId(user), Venue(venue), symbol))
            if max(ZERO, held - opened[key]) != residual:
                self.fail(f"{key}: holds {held}, {opened[key]} on open SELLs, residual {residual}")

    def _held(self, symbol: str, fills: list[Fill]) -> Decimal:
        """Base bought, less sold, less fees; what other base of the account paid of these is not missing."""
        base = self.sim.exchange.state.markets[symbol].instrument.base
        held = fees = ZERO
        for fill in sorted(fills, key=lambda fill: fill.fill_id):
            fee = fill.fee if fill.fee_asset == base else ZERO
            if fill.side == "BUY":
                held, fees = held + fill.quantity - fee, fees + fee
                continue
            given = fill.quantity + fee
            paid = min(given - min(given, max(ZERO, held)), fees)
            held, fees = held - given + paid, fees - paid
        return held

    def _add_held(self, opened: dict[str, Decimal]) -> None:
        """A SELL proven absent covers its base until its hold is over."""
        for order_id, until in self.sim.view.held.items():
            order = self.sim.view.orders[order_id]
            sell = order.sell
            if until is not None and order.rejection is not None and order.buy is None and sell is not None:
                opened[f"{order.venue.value}/{order.user_id}/{order.symbol}"] += sell.quantity
