"""I7, I10, I16: the journal's own life: legal edges, replay, epochs, nothing lost by a kill."""

from typing import TYPE_CHECKING

import msgspec

from order_service.placing import Ask
from otopilot.order import IllegalTransition, News, Noted, Order, RejectionKind, advance
from tests.simulation.checkers.base import Checker
from tests.simulation.journal_view import Changes

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

# Copied by hand from the table in architecture 4, so that a change of the code's table shows here.
ENDS = {"completed", "canceled", "expired"}
EDGES = {
    "submitting": {"in_doubt", "working", "triggered", "rejected"} | ENDS,
    "in_doubt": {"working", "triggered", "rejected"} | ENDS,
    "working": {"triggered"} | ENDS,
    "triggered": ENDS,
    "rejected": {"working", "triggered"} | ENDS,  # absent alone
    "completed": set(),
    "canceled": set(),
    "expired": set(),
}


class LegalEdges(Checker):
    """I7: states change along the legal edges only, versions by one and one."""

    name = "I7"

    def committed(self, epoch: int, changes: Changes) -> None:
        for before, after in changes.updated:
            old, new = before.state.value, after.state.value
            if old != new and new not in EDGES[old]:
                self.fail(f"{after.order_id}: {old} -> {new}")
            if old == "rejected" and new != old:
                assert before.rejection is not None
                if before.rejection.kind is not RejectionKind.ABSENT:
                    self.fail(f"{after.order_id}: rejected ({before.rejection.kind}) -> {new}")
            if not before.version <= after.version <= before.version + 1:
                self.fail(f"{after.order_id}: version {before.version} -> {after.version}")
            for one, other in zip(before.legs, after.legs, strict=True):
                if one.venue_order_id not in (None, other.venue_order_id):
                    self.fail(f"{after.order_id}: its {one.role} leg changed its id at the venue")
                if other.filled_quantity < one.filled_quantity:
                    self.fail(f"{after.order_id}: its {one.role} leg lost fills")


class ReplayedState(Checker):
    """I7: replaying the journal gives the live state, byte for byte. At rest."""

    name = "I7"

    def at_rest(self) -> None:
        view = self.sim.view
        for order_id, events in view.events.items():
            order = msgspec.json.decode(events[0], type=Order)
            for body in events[1:]:
                news = msgspec.json.decode(body, type=News)
                if isinstance(news, Noted):
                    continue
                try:
                    order = advance(order, news)
                except IllegalTransition as illegal:
                    self.fail(f"{order_id}: {illegal}")
            if msgspec.json.encode(order) != msgspec.json.encode(view.orders[order_id]):
                self.fail(f"{order_id}: replayed {order}, journal {view.orders[order_id]}")


class OldEpochs(Checker):
    """I10: nothing is written under an old instance epoch or placed under an old owner epoch."""

    name = "I10"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._asked: dict[str, set[int]] = {}
        self._owner = 0

    def asked(self, ask: Ask) -> None:
        self._asked.setdefault(ask.request_id, set()).add(ask.owner_epoch)

    def committed(self, epoch: int, changes: Changes) -> None:
        current = int(self.sim.view.meta["instance_epoch"])
        if epoch != current:
            self.fail(f"instance {epoch} wrote while {current} is the current one")
        if changes.metas:
            # A claim and placements of one batch may stand in either order.
            owners = {self._owner} | {int(v) for k, v in changes.metas if k == "owner_epoch"}
        else:
            owners = {self._owner}
        for order in changes.placed:
            if not owners & self._asked.get(order.request_id, set()):
                told = sorted(self._asked.get(order.request_id, set()))
                self.fail(f"{order.request_id} was asked under {told}, the owner is {sorted(owners)}")
        self._owner = max(owners)


class NothingLost(Checker):
    """I16: what a caller was told is in the journal, also after kill -9."""

    name = "I16"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._told: dict[str, tuple[int, str]] = {}

    def acknowledged(self, order: Order) -> None:
        version, _ = self._told.get(order.order_id, (0, ""))
        if order.version >= version:
            self._told[order.order_id] = (order.version, order.request_id)
        self._check(order.order_id)

    def order_started(self) -> None:
        for order_id in self._told:
            self._check(order_id)

    def at_rest(self) -> None:
        self.order_started()

    def _check(self, order_id: str) -> None:
        version, request_id = self._told[order_id]
        known = self.sim.view.orders.get(order_id)
        if known is None:
            self.fail(f"{order_id} ({request_id}) was acknowledged and is not in the journal")
        if known.version < version or known.request_id != request_id:
            self.fail(f"{order_id} was acknowledged at version {version}, the journal has {known.version}")
