"""I3 and I12 at rest: journal and exchange say the same, nothing is stuck, nobody was stopped for another."""

from otopilot.order import IN_FLIGHT, Leg, LegStatus, Order
from otopilot.position import UserState
from paper_exchange.model import Order as VenueOrder
from paper_exchange.model import Status
from tests.simulation.checkers.base import Checker
from tests.simulation.journal_view import Changes

STATUSES = {
    Status.PENDING: {LegStatus.PENDING},
    Status.NEW: {LegStatus.OPEN},
    Status.PARTIALLY_FILLED: {LegStatus.OPEN},
    Status.FILLED: {LegStatus.FILLED},
    Status.CANCELED: {LegStatus.CANCELED},
    Status.EXPIRED: {LegStatus.EXPIRED},
    Status.EXPIRED_IN_MATCH: {LegStatus.EXPIRED},
}
ENDED = {LegStatus.CANCELED, LegStatus.EXPIRED, LegStatus.REJECTED}


class Bijection(Checker):
    """I3: our orders at the exchange and the journal's intents are a bijection with equal state."""

    name = "I3"

    def at_rest(self) -> None:
        legs: dict[int, tuple[Order, Leg]] = {}
        for order in self.sim.view.orders.values():
            for leg in order.legs:
                if leg.venue_order_id is None:
                    continue
                number = int(leg.venue_order_id)
                if number in legs:
                    self.fail(f"{order.order_id} and {legs[number][0].order_id} both are {number}")
                legs[number] = (order, leg)
        for found in self.sim.exchange.orders():
            if found.order_id not in legs:
                self.fail(f"orphan: {found} is in no intent")
            self._compare(found, *legs.pop(found.order_id))
        if legs:
            number, (order, _) = next(iter(legs.items()))
            self.fail(f"{order.order_id} has a leg {number}, which is not ours at the exchange")

    def _compare(self, found: VenueOrder, order: Order, leg: Leg) -> None:
        expected = STATUSES[found.status]
        if found.leg == "pending" and expected <= ENDED and found.executed == 0:
            expected = ENDED  # which word for the sibling's end differs by source
        status, quantity = leg.status, leg.filled_quantity
        if status not in expected or order.rejection is not None:
            self.fail(
                f"{order.order_id}: {found.order_id} is {found.status}, the journal says {status},"
                f" {order.state}"
            )
        if quantity != found.executed:
            self.fail(
                f"{order.order_id}: {found.order_id} traded {found.executed}, the journal says {quantity}"
            )


class NothingStuck(Checker):
    """At rest no order is in flight, no wish is unheard, everybody may trade."""

    name = "liveness"

    def at_rest(self) -> None:
        for order in self.sim.view.orders.values():
            if order.state in IN_FLIGHT:
                self.fail(f"{order.order_id} ({order.request_id}) is still {order.state}")
            for leg in order.legs:
                if order.open_wish(leg.role) is not None:
                    self.fail(f"{order.order_id}: its {leg.role} leg is to be cancelled, and is {leg.status}")
        assert self.sim.order is not None
        for session in self.sim.order.sessions.all():
            if session.state is not UserState.READY and session.key != self.sim.scenario.unread:
                self.fail(f"user {session.user_id} is {session.state}: {session.reason}")


class OthersUntouched(Checker):
    """I12: nobody is stopped but the one whose credential ended."""

    name = "I12"

    def committed(self, epoch: int, changes: Changes) -> None:
        for venue, user_id, code in changes.stopped:
            revoked = self.sim.scenario.revoked
            if revoked is None or (revoked[0].value, revoked[1]) != (venue, user_id):
                self.fail(f"{venue}/{user_id} was stopped: {code}")
