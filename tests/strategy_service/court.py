"""One loop before an unfair world: a journal, a venue and a network that do what a test draws.

The world obeys the contract (one slot, request ids, volume scope, uncovered base) and nothing
else: news comes late, twice, out of order or never, answers are lost with and without an order.
It keeps the books, so that a test can ask at the end what is true.
"""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import msgspec

from otopilot.instrument import Side
from otopilot.leg import Leg
from otopilot.money import ZERO
from otopilot.order import CancelWish, LegRole, LegStatus, Order, OrderId, Purpose, RejectionKind, RequestId
from otopilot.position import Position
from strategy_service.state import (
    Action,
    Cancel,
    Denied,
    Find,
    Missing,
    News,
    Phase,
    Place,
    PlaceOto,
    PlaceSell,
    Read,
    Seen,
    Standing,
    StopMode,
    Unanswered,
    Unread,
)
from tests.strategy_service.builders import KOGE, accepted, at, in_doubt, order_of, rejected, user, volume
from tests.strategy_service.play import Play

Choose = Callable[[str, list[Any]], Any]


class Court:
    """The loop and its world. `choose(what, options)` decides everything that is not certain."""

    def __init__(self, choose: Choose, target: str, **settings: Any) -> None:
        self.choose = choose
        self.target = D(target)
        self.orders: dict[OrderId, Order] = {}
        self.contents: dict[RequestId, PlaceOto | PlaceSell] = {}
        self.mail: list[Callable[[], News]] = []
        self.faults: list[str] = []
        self.sell_denied = False
        self.sell_expired = False  # by the venue, with no word of it yet perhaps
        self.healed = False
        self.play = Play(**settings)
        self._do(self.play.actions)

    # ------------------------------------------------------------------ the loop's side

    def tell(self, news: News) -> None:
        """News reaches the loop, and what it does reaches the world."""
        self._do(self.play.said(news))

    def pass_time(self, seconds: float) -> None:
        """Time passes; the loop wakes when it wanted to."""
        until, play = self.play.now + seconds, self.play
        while play.state.wake_at is not None and play.state.wake_at <= until:
            play.now = max(play.now, play.state.wake_at)
            self._do(play.wait(0.0))
        play.now = until

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Place():
                    self._place(action.placement)
                case Cancel():
                    self._wish(action)
                case Find():
                    self._answer_find(action)
                case Read():
                    self._answer_read()

    # ------------------------------------------------------------------ the order service's side

    def _place(self, asked: PlaceOto | PlaceSell) -> None:
        known = self._by_request(asked.request_id)
        if known is not None:
            if self.contents[asked.request_id] == asked:
                self._post(known.order_id)
            else:
                self._deny(asked, "REQUEST_REUSED")
            return
        if self._refusal(asked) is not None:
            return
        how = self._how(asked)
        if how == "request lost":
            self._unanswered(asked)
            return
        if how == "guard":
            self.sell_denied = self.sell_denied or isinstance(asked, PlaceSell)
            self._deny(asked, "DENIED_GUARD", blocking_price="99.99")
            return
        order = order_of(asked, seconds=self.play.now)
        self.orders[order.order_id], self.contents[asked.request_id] = order, asked
        if how == "in doubt":
            self._become(in_doubt(order))
        elif how == "refused":
            self._become(rejected(order))
        else:
            self._become(accepted(order, self.play.now))
        if how == "answer lost":
            self._unanswered(asked)
        else:
            self._post(order.order_id)

    def _how(self, asked: PlaceOto | PlaceSell) -> str:
        fair = ["taken"] * 3
        if self.healed:
            return "taken"
        unfair = ["request lost", "answer lost", "in doubt", "refused", "guard"]
        return str(self.choose("placement", fair + unfair))

    def _refusal(self, asked: PlaceOto | PlaceSell) -> str | None:
        if isinstance(asked, PlaceSell):
            if asked.quantity > self.uncovered():
                return self._deny(asked, "DENIED_UNCOVERED")
            return None
        if any(order.buy and not order.is_over and not order.buy.is_over for order in self.orders.values()):
            return self._deny(asked, "DENIED_SLOT")
        left = self.target - self.bought() - self.reserved()
        smallest = KOGE.smallest_quantity(asked.min_working_price, asked.pending_price, D(0))
        small = left > 0 and self.reserved() == 0 and asked.quantity <= smallest
        if asked.quantity * asked.working_price > left and not small:
            return self._deny(asked, "DENIED_SCOPE", smallest_quantity=str(smallest))
        return None

    def _deny(self, asked: PlaceOto | PlaceSell, reason: str, **metadata: str) -> str:
        news = Denied(request_id=asked.request_id, reason=reason, message=reason, metadata=metadata)
        self.mail.append(lambda: news)
        return reason

    def _unanswered(self, asked: PlaceOto | PlaceSell) -> None:
        news = Unanswered(request_id=asked.request_id, reason="UNAVAILABLE", message="gone")
        self.mail.append(lambda: news)

    def _wish(self, wish: Cancel) -> None:
        order = self.orders[wish.order_id]
        leg = order.leg(wish.role)
        if not order.is_over and not leg.is_over and order.open_wish(wish.role) is None:
            told = CancelWish(wish.role, wish.reason, at(self.play.now), wish.reprice_to)
            self._become(msgspec.structs.replace(order, wishes=(*order.wishes, told)))
        self._post(wish.order_id)

    def _answer_find(self, wanted: Find) -> None:
        order = self.orders.get(wanted.order_id) if wanted.order_id else None
        if wanted.request_id:
            order = self._by_request(wanted.request_id)
            if order is None:
                missing = Missing(wanted.request_id)
                self.mail.append(lambda: missing)
        if order is not None:
            self._post(order.order_id)

    def _answer_read(self) -> None:
        if not self.healed and self.choose("read", [True, True, True, False]) is False:
            gone = Unread(reason="UNAVAILABLE", message="gone", definite=False)
            self.mail.append(lambda: gone)
        else:
            self.mail.append(self.standing)

    def _post(self, order_id: OrderId) -> None:
        news = Seen(self.orders[order_id])
        self.mail.append(lambda: news)

    def _by_request(self, request_id: RequestId) -> Order | None:
        return next((o for o in self.orders.values() if o.request_id == request_id), None)

    # ------------------------------------------------------------------ the venue's side

    def _become(self, order: Order) -> None:
        if order.rejection is not None and order.buy is None:
            self.sell_denied = True
        known = self.orders[order.order_id]
        now = at(self.play.now)
        self.orders[order.order_id] = msgspec.structs.replace(
            order, version=known.version + 1, updated_at=now
        )
        self._post(order.order_id)

    def settle(self, order: Order) -> None:
        """What became of an order in doubt."""
        if self.choose("doubt", [True, False]):
            self._become(accepted(msgspec.structs.replace(order, in_doubt=False), self.play.now))
        else:
            self._become(rejected(order, RejectionKind.ABSENT))

    def fill(self, order: Order, share: D) -> None:
        """The leg that is on the book fills, wholly or by a part of what is left."""
        leg = _on_book(order)
        assert leg is not None
        left = leg.quantity - leg.filled_quantity
        more = left if share == 1 else KOGE.round_quantity(left * share)
        bought = leg.filled_quantity + more
        whole = bought == leg.quantity
        changed = msgspec.structs.replace(
            leg,
            status=LegStatus.FILLED if whole else LegStatus.OPEN,
            reported_quantity=bought,
            filled_quantity=bought,
            filled_quote=bought * leg.price,
        )
        legs = [changed if each.role is leg.role else each for each in order.legs]
        if whole and leg.role is LegRole.WORKING and len(legs) > 1:
            legs[1] = msgspec.structs.replace(legs[1], status=LegStatus.OPEN)
        self._become(msgspec.structs.replace(order, legs=tuple(legs)))

    def end(self, order: Order, status: LegStatus = LegStatus.CANCELED) -> None:
        """The venue ends the leg that is on the book, and with a BUY its SELL."""
        leg = _on_book(order)
        assert leg is not None
        self.sell_expired = self.sell_expired or (status is LegStatus.EXPIRED and leg.side is Side.SELL)
        gone = [
            msgspec.structs.replace(each, status=status)
            if not each.is_over and (each.role is leg.role or leg.role is LegRole.WORKING)
            else each
            for each in order.legs
        ]
        self._become(msgspec.structs.replace(order, legs=tuple(gone)))

    def doubted(self) -> list[Order]:
        """Orders whose fate nobody knows."""
        return [o for o in self.orders.values() if o.in_doubt and o.rejection is None and not o.is_alive]

    def on_book(self) -> list[Order]:
        """Orders with a leg on the book."""
        return [order for order in self.orders.values() if _on_book(order) is not None]

    def wished(self) -> list[Order]:
        """Of those, the ones whose leg on the book is to go."""
        found = []
        for order in self.on_book():
            leg = _on_book(order)
            if leg is not None and order.open_wish(leg.role) is not None:
                found.append(order)
        return found

    def repeat(self) -> None:
        """The stream tells again, later, what it told: answers to calls never do."""
        pushes = [order for order in self.orders.values() if self.choose("again", [True, False])]
        for order in pushes:
            self._post(order.order_id)

    # ------------------------------------------------------------------ the books

    def bought(self) -> D:
        """Quote of all BUY fills."""
        return sum((o.buy.filled_quote for o in self.orders.values() if o.buy), ZERO)

    def reserved(self) -> D:
        """Quote of BUYs that may still fill."""
        alive = (o for o in self.orders.values() if o.buy and not o.is_over and not o.buy.is_over)
        return sum((o.working.unfilled * o.working.price for o in alive), ZERO)

    def inventory(self) -> D:
        """Base bought and not sold."""
        bought = sum((o.buy.filled_quantity for o in self.orders.values() if o.buy), ZERO)
        return bought - sum((o.sell.filled_quantity for o in self.orders.values() if o.sell), ZERO)

    def uncovered(self) -> D:
        """Base that no SELL covers."""
        covered = ZERO
        for order in self.orders.values():
            sell = order.sell
            if sell is None or order.is_over or sell.is_over:
                continue
            if order.buy is None or order.buy.status is LegStatus.FILLED:
                covered += sell.unfilled
        return self.inventory() - covered

    def standing(self) -> Standing:
        """What a reading finds."""
        orders = list(self.orders.values())
        last = max((order.cycle for order in orders), default=0)
        bought = sum((o.buy.filled_quantity for o in orders if o.buy), ZERO)
        position = Position(
            user=user(),
            last_cycle=last,
            cycle_orders=tuple(o for o in orders if o.cycle == last),
            open_orders=tuple(o for o in orders if not o.is_over),
            inventory=self.inventory(),
            uncovered=self.uncovered(),
            average_cost=self.bought() / bought if bought else None,
            bought_quote=self.bought(),
            open_sells=sum(1 for o in orders if o.sell and not o.is_over and not o.sell.is_over),
        )
        figures = volume(str(self.bought()), str(self.target), str(self.reserved()))
        return Standing(position=position, volume=figures)

    # ------------------------------------------------------------------ the end

    def heal(self) -> None:
        """From now on everything is fair and every wish comes true; until the loop has ended."""
        self.healed = True
        for _ in range(400):
            while self.mail:
                self.tell(self.mail.pop(0)())
            for order in self.wished():
                self.end(order)
            for order in self.doubted():
                self._become(rejected(order, RejectionKind.ABSENT))
            if self.play.state.phase is Phase.DONE and not self.mail:
                break
            self.pass_time(0.25)
        self._leftovers()

    def _leftovers(self) -> None:
        """What the loop's owner does after its end, as leftovers.py does it."""
        state = self.play.state
        asked = self._by_request(state.asked.request_id) if state.asked is not None else None
        for each in (asked, state.order):
            if each is None or each.purpose is Purpose.FLATTEN:
                continue
            if each.buy is None and state.stop is StopMode.DRAIN:
                continue
            order = self.orders[each.order_id]
            if not order.working.is_over and not order.is_over:
                self._wish(Cancel(order.order_id, LegRole.WORKING, "stop"))
                for wished in self.wished():
                    self.end(wished)
            order = self.orders[each.order_id]
            if state.stop is not StopMode.DRAIN and not order.is_over and order.pending is not None:
                self._wish(Cancel(order.order_id, LegRole.PENDING, "stop"))


def _on_book(order: Order) -> Leg | None:
    return next((leg for leg in order.legs if leg.status is LegStatus.OPEN), None)
