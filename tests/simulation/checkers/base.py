"""What a checker may listen to. Each raises Violation; none changes anything."""

from typing import TYPE_CHECKING, Any, NoReturn

from order_service.placing import Ask
from otopilot.instrument import Venue
from otopilot.order import LegRole, Order, OrderId
from otopilot.position import ScopeVolume
from otopilot.quote import Quote
from paper_exchange.model import Fill
from paper_exchange.model import Order as VenueOrder
from tests.simulation.journal_view import Changes
from tests.simulation.network import Sent
from tests.simulation.trace import Violation

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


class Checker:
    """One invariant."""

    name = ""

    def __init__(self, sim: "Simulation") -> None:
        self.sim = sim

    def fail(self, story: str) -> NoReturn:
        """It does not hold."""
        raise Violation(self.name, story)

    def committed(self, epoch: int, changes: Changes) -> None:
        """The journal has this now."""

    def sent(self, sent: Sent) -> None:
        """A request has left for the venue."""

    def ban_heard(self, venue: Venue, until: float) -> None:
        """The service was told not to ask before that time of the loop."""

    def accepted(self, order: VenueOrder) -> None:
        """The exchange has a new order of a managed account, not placed by hand."""

    def filled(self, fill: Fill) -> None:
        """The exchange traded for a managed account."""

    def asked(self, ask: Ask) -> None:
        """The strategy asks for a placement."""

    def acknowledged(self, order: Order) -> None:
        """The strategy got an answer."""

    def issued(self, credential: dict[str, Any]) -> None:
        """A user's credential was made."""

    def said(self, line: str) -> None:
        """A service's log, or the trace, has this line."""

    def wished(self, order_id: OrderId, role: LegRole) -> None:
        """The strategy asks for a leg to be cancelled."""

    def reported(self, volume: ScopeVolume) -> None:
        """The strategy was told a scope's figures."""

    def quoted(self, quote: Quote) -> None:
        """The strategy was told a price."""

    def order_started(self) -> None:
        """The order service serves, perhaps again."""

    def order_killed(self) -> None:
        """The order service died."""

    def step(self) -> None:
        """After every step: cheap."""

    def full(self) -> None:
        """Every hundred steps, and at the end."""

    def at_rest(self) -> None:
        """Everything works again, nothing is under way."""
