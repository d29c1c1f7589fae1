"""I1, I2, I12: what is sent and what the exchange accepts, put to the journal's intents.

Which intent a request belongs to is read off the wire: by the client id in it, or on Alpha by its
terms. Counted here and at the exchange, never by the service.
"""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from otopilot.instrument import Venue
from otopilot.order import LegRole, Order, OrderId, OrderState
from paper_exchange.model import Order as VenueOrder
from tests.simulation.checkers.base import Checker
from tests.simulation.journal_view import Changes
from tests.simulation.network import Sent
from tests.simulation.order_process import RULES

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

OURS = re.compile(r"o([0-9a-f]{16})[lwp]")

CLOCK_SECONDS = 1.0  # between the venue's clock and ours

Terms = tuple[str, str, str, Decimal, Decimal]  # user, symbol, side, price, quantity


def terms_of(order: Order) -> Terms:
    """An intent's working leg as Alpha's body shows it."""
    leg = order.working
    return (order.user_id, order.symbol, leg.side.value.upper(), leg.price, leg.quantity)


@dataclass
class Placement:
    """A placement request as it was on the wire."""

    user_id: str
    client_id: str
    terms: Terms


class _Intents(Checker):
    """Finds the intent of what is on the wire."""

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._by_terms: dict[Terms, list[str]] = {}

    def committed(self, epoch: int, changes: Changes) -> None:
        for order in changes.placed:
            if order.venue is Venue.ALPHA:
                self._by_terms.setdefault(terms_of(order), []).append(order.order_id)

    def intents(self, client_id: str, terms: Terms) -> list[str]:
        """The intents it may be of: one on Spot; on Alpha those of the same terms, newest first."""
        if client_id:
            named = OURS.fullmatch(client_id)
            return [named[1]] if named and named[1] in self.sim.view.orders else []
        return list(reversed(self._by_terms.get(terms, [])))

    def read(self, sent: Sent) -> Placement:
        """Who asks for what."""
        request = sent.request
        accounts = self.sim.exchange.state.accounts
        if sent.venue is Venue.ALPHA:
            token = re.search(r"p20t=([^;\s]+)", request.headers.get("cookie", ""))
            account = accounts.by_secret(token[1]) if token else None
            body = json.loads(request.body, parse_float=Decimal, parse_int=Decimal)
            oto = "workingPrice" in body
            side = body["workingSide" if oto else "side"]
            price = Decimal(body["workingPrice" if oto else "price"])
            quantity = Decimal(body["workingQuantity" if oto else "quantity"])
            symbol, client_id = f"{body['baseAsset']}{body['quoteAsset']}", ""
        else:
            account = accounts.by_secret(request.headers.get("x-mbx-apikey", ""))
            body = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
            client_id = body.get("workingClientOrderId") or body.get("newClientOrderId", "")
            side = body.get("workingSide") or body["side"]
            price = Decimal(body.get("workingPrice") or body["price"])
            quantity = Decimal(body.get("workingQuantity") or body["quantity"])
            symbol = body["symbol"]
        user_id = account.user_id if account is not None else ""
        return Placement(user_id, client_id, (user_id, symbol, side, price, quantity))


class AtMostOneRequest(_Intents):
    """I1: at most one placement request an intent, and none without an intent on the disk."""

    name = "I1"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._sent: dict[str, int] = {}

    def sent(self, sent: Sent) -> None:
        if not sent.places:
            return
        placement = self.read(sent)
        intents = self.intents(placement.client_id, placement.terms)
        if not intents:
            self.fail(f"request {sent} of user {placement.user_id} has no intent in the journal")
        fresh = [i for i in intents if i not in self._sent]
        if not fresh:
            self.fail(f"intent {intents[0]} was sent as #{self._sent[intents[0]]} and again as {sent}")
        order = self.sim.view.orders[fresh[0]]
        if order.state is OrderState.REJECTED:
            self.fail(f"intent {fresh[0]} is {order.state} and is sent as {sent}")
        self._sent[fresh[0]] = sent.number


class AtMostOneList(_Intents):
    """I2: the exchange accepts at most one list (or single order) an intent."""

    name = "I2"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._accepted: dict[str, int] = {}

    def accepted(self, order: VenueOrder) -> None:
        if order.leg == "pending":
            return
        venue, user_id = self.sim.exchange.managed[order.account]
        terms = (user_id, order.symbol, order.side, order.price, order.quantity)
        client_id = order.client_id if venue is Venue.SPOT else ""
        intents = self.intents(client_id, terms)
        fresh = [i for i in intents if i not in self._accepted]
        if not intents:
            self.fail(f"the exchange accepted {order.order_id} of {order.account}, which no intent asked for")
        if not fresh:
            first = self._accepted[intents[0]]
            self.fail(f"intent {intents[0]} was accepted as {first} and again as {order.order_id}")
        self._accepted[fresh[0]] = order.order_id


class OldPlacements(_Intents):
    """I10: no placement of an old instance is accepted later than the new one's start and recvWindow.

    On Spot, which looks at the time a request was signed; Alpha has no such thing, and what the engine
    held up had come in time.
    """

    name = "I10"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._made_by: dict[str, int] = {}
        self._began = 0.0

    def order_started(self) -> None:
        self._began = self.sim.loop.time()

    def committed(self, epoch: int, changes: Changes) -> None:
        self._made_by.update({order.order_id: epoch for order in changes.placed})

    def accepted(self, order: VenueOrder) -> None:
        if order.leg == "pending":
            return  # its list was accepted before
        venue, _ = self.sim.exchange.managed[order.account]
        if venue is Venue.ALPHA or self.sim.order is None:
            return
        if order.client_id not in self.sim.network.arriving:
            return  # the engine's turn, perhaps while another request arrives
        late = self.sim.loop.time() - self._began - RULES.recv_window
        for intent in self.intents(order.client_id, ("", "", "", Decimal(0), Decimal(0))):
            made_by = self._made_by.get(intent, self.sim.order.store.instance_epoch)
            if made_by < self.sim.order.store.instance_epoch and late > CLOCK_SECONDS:
                self.fail(f"{intent} of instance {made_by} was accepted {late:.3f} s too late")


class OneSlot(Checker):
    """Architecture 5.1: one BUY that has not ended per user and symbol, unless one came back to life."""

    name = "slot"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._open: dict[tuple[str, str, str], dict[str, None]] = {}

    def committed(self, epoch: int, changes: Changes) -> None:
        for _, after in changes.updated:
            self._note(after)
        for order in changes.placed:
            self._note(self.sim.view.orders[order.order_id])
            held = self._open.get((order.venue.value, order.user_id, order.symbol), {})
            if order.buy is not None and len(held) > 1:
                self.fail(
                    f"{order.request_id} was placed while {[i for i in held if i != order.order_id]} is open"
                )

    def _note(self, order: Order) -> None:
        held = self._open.setdefault((order.venue.value, order.user_id, order.symbol), {})
        over = order.is_over or order.buy is None or order.buy.is_over
        held.pop(order.order_id, None)
        if not over:
            held[order.order_id] = None


class WishedCancels(Checker):
    """Architecture 4: a cancel names a leg that somebody wished gone, and never a list.

    On Spot the proof of absence, too, asks to cancel the working leg of an order in doubt; and a wish
    that no disk took is sent once all the same (reliability 38).
    """

    name = "wish"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._asked: dict[tuple[str, LegRole], None] = {}
        self._unknown: dict[str, Sent] = {}
        self._certain_since: dict[str, float] = {}  # orders that were in doubt

    def wished(self, order_id: OrderId, role: LegRole) -> None:
        self._asked[order_id, role] = None

    def sent(self, sent: Sent) -> None:
        request = sent.request
        if sent.venue is Venue.ALPHA and request.path.endswith("/order/cancel"):
            address = str(json.loads(request.body)["orderId"])
        elif request.method == "DELETE":
            if not request.path.endswith("/order"):
                self.fail(f"{sent} names no leg")
            query = request.query
            address = query.get("orderId") or query["origClientOrderId"]
        else:
            return
        if not self._known(sent, address):
            self._unknown[address] = sent

    def committed(self, epoch: int, changes: Changes) -> None:
        for before, after in changes.updated:
            if before.in_doubt and not after.in_doubt:
                self._certain_since[after.order_id] = self.sim.loop.time()
        # An answer may be acted upon in the moment before it is durable: a cancel hurts nobody.
        for address, sent in list(self._unknown.items()):
            if self._known(sent, address):
                del self._unknown[address]

    def at_rest(self) -> None:
        for address, sent in self._unknown.items():
            self.fail(f"{sent} cancels {address}, which is not ours")

    def order_killed(self) -> None:
        self._unknown.clear()

    def _known(self, sent: Sent, address: str) -> bool:
        for order in self.sim.view.orders.values():
            for leg in order.legs:
                if address not in (leg.venue_order_id, leg.client_id):
                    continue
                wished = any(wish.role is leg.role for wish in order.wishes)
                wished = wished or (order.order_id, leg.role) in self._asked
                # News may come while such a cancel waits for a connection.
                doubted = order.in_doubt or sent.began <= self._certain_since.get(order.order_id, -1.0)
                proof = doubted and leg.role is LegRole.WORKING
                if not wished and not proof:
                    self.fail(f"{sent} cancels the {leg.role} leg of {order.order_id}, which nobody wished")
                return True
        return False


class OwnKeys(Checker):
    """I12: requests about a user's order are signed with that user's key."""

    name = "I12"

    def sent(self, sent: Sent) -> None:
        request, accounts = sent.request, self.sim.exchange.state.accounts
        token = re.search(r"p20t=([^;\s]+)", request.headers.get("cookie", ""))
        signer = accounts.by_secret(token[1] if token else request.headers.get("x-mbx-apikey", ""))
        if signer is None:
            return
        named = dict(request.query)
        if sent.venue is Venue.ALPHA and request.body:
            named = json.loads(request.body)
        elif request.body:
            named |= {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if request.path.endswith("/allOrders"):
            named.pop("orderId", None)  # from where on to tell: one after the account's last may be anybody's
        for name in ("orderId", "origClientOrderId", "newClientOrderId", "listClientOrderId"):
            owner = self._owner(str(named.get(name, "")))
            if owner not in (None, signer.key):
                self.fail(f"{sent} about an order of {owner} is signed with the key of {signer.key}")

    def _owner(self, address: str) -> str | None:
        """Whose order has that id; none when nobody's has."""
        if address.isdigit():
            found = self.sim.exchange.state.orders.get(int(address))
            return found.account if found is not None else None
        ours = OURS.fullmatch(address)
        order = self.sim.view.orders.get(ours[1]) if ours else None
        return f"{order.venue.value}/{order.user_id}" if order is not None else None

    def committed(self, epoch: int, changes: Changes) -> None:
        for before, after in changes.updated:
            for role in (LegRole.WORKING, LegRole.PENDING):
                leg = next((leg for leg in after.legs if leg.role is role), None)
                if leg is None or leg.venue_order_id is None:
                    continue
                if before.leg(role).venue_order_id == leg.venue_order_id:
                    continue
                found = self.sim.exchange.state.orders.get(int(leg.venue_order_id))
                owner = f"{after.venue.value}/{after.user_id}"
                if found is None or found.account != owner:
                    self.fail(
                        f"{after.order_id} of {owner} is {leg.venue_order_id} of {found and found.account}"
                    )


class NoRequestInABan(Checker):
    """No request at all during a ban (architecture 5.4), as far as this process was told of it."""

    name = "ban"

    def __init__(self, sim: "Simulation") -> None:
        super().__init__(sim)
        self._bans: dict[Venue, tuple[float, float]] = {}

    def ban_heard(self, venue: Venue, until: float) -> None:
        heard, known = self._bans.get(venue, (self.sim.loop.time(), 0.0))
        if known < self.sim.loop.time():
            heard = self.sim.loop.time()
        self._bans[venue] = (heard, max(known, until))

    def order_killed(self) -> None:
        self._bans.clear()

    def sent(self, sent: Sent) -> None:
        if sent.venue not in self._bans or sent.request.path.startswith("/control"):
            return
        heard, until = self._bans[sent.venue]
        # What was already with the transport, waiting for a connection, had passed the door before.
        if heard + 0.001 < sent.began and sent.at < until - 0.001:
            self.fail(f"{sent} left {sent.at - heard:.3f} s into a ban that lasts {until - heard:.1f} s")
