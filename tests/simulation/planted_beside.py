"""More defects put in on purpose: in what stands around the orders' decisions.

The journal's events, cancels, bans, answers, secrets, keys, bounds, time.
"""

import asyncio
from typing import Any

import msgspec

from order_service import order_manager
from order_service.credentials import Vault
from order_service.gate import GatedAccount
from order_service.order_manager import OrderManager
from order_service.rate_budget import RateBudget
from order_service.transaction import Transaction
from order_service.venues.binance_alpha import AlphaAccount
from order_service.venues.spot_rest import SpotRest
from otopilot import log
from otopilot.order import LegRole, LegStatus, Order, Report
from tests.simulation.checkers.bounds import Bounds, NoSecrets
from tests.simulation.checkers.journaling import LegalEdges, NothingLost, ReplayedState
from tests.simulation.checkers.placing import NoRequestInABan, OldPlacements, OwnKeys, WishedCancels
from tests.simulation.planting import Patches, Planted

_PLAIN = b"plain:"


def _secrets_are_logged(patches: Patches) -> None:
    def make(opened: Any) -> Any:
        def tells(self: Vault, *args: Any) -> Any:
            credential = opened(self, *args)
            log.get("vault").warning("credential opened", headers=str(dict(credential.headers())))
            return credential

        return tells

    patches.put(Vault, "open", make)


def _secrets_are_not_sealed(patches: Patches) -> None:
    seal = Vault.seal
    patches.put(Vault, "seal", lambda _: lambda self, user, venue, kind, secret: _PLAIN + secret)

    def make(opened: Any) -> Any:
        def plain(self: Vault, user_id: str, venue: Any, blob: bytes) -> Any:
            secret = blob.removeprefix(_PLAIN)
            kind = "session" if b"headers" in secret else "hmac"
            return opened(self, user_id, venue, seal(self, user_id, venue, kind, secret))

        return plain

    patches.put(Vault, "open", make)


def _sends_are_never_forgotten(patches: Patches) -> None:
    def make(send: Any) -> Any:
        async def kept(self: OrderManager, session: Any, order: Order, ask: Any) -> None:
            await send(self, session, order, ask)
            task = asyncio.current_task()
            assert task is not None
            self._sending[order.order_id] = task

        return kept

    patches.put(OrderManager, "_send", make)


def _old_requests_stay_good(patches: Patches) -> None:
    def make(init: Any) -> Any:
        def generous(self: SpotRest, *args: Any) -> None:
            init(self, *args)
            self._recv_window_ms = 60_000

        return generous

    patches.put(SpotRest, "__init__", make)


def _signed_with_anothers_key(patches: Patches) -> None:
    firsts: dict[type, GatedAccount] = {}

    def make(look_up: Any) -> Any:
        async def of_the_first(self: GatedAccount, order: Order, role: LegRole) -> Any:
            return await look_up(firsts.setdefault(type(self._account), self), order, role)

        return of_the_first

    patches.put(GatedAccount, "look_up", make)


def _late_news_are_believed(patches: Patches) -> None:
    """The newest word on a leg is its status, and no table of edges is asked."""

    def make(advance: Any) -> Any:
        def believe(order: Order, news: Any) -> Order:
            after: Order = advance(order, news)
            if not isinstance(news, Report) or news.status is LegStatus.UNKNOWN:
                return after
            legs = tuple(
                msgspec.structs.replace(leg, status=news.status) if leg.role is news.role else leg
                for leg in after.legs
            )
            if legs == after.legs:
                return after
            return msgspec.structs.replace(after, legs=legs, version=order.version + 1)

        return believe

    patches.put(order_manager, "advance", make)


def _wishes_leave_no_event(patches: Patches) -> None:
    def make(event: Any) -> Any:
        def but_wishes(self: Transaction, order: Order, news: bytes) -> None:
            if not news.startswith(b'{"type":"wished"'):
                event(self, order, news)

        return but_wishes

    patches.put(Transaction, "_event", make)


def _cancel_kills_the_pending_leg(patches: Patches) -> None:
    def make(cancel: Any) -> Any:
        async def the_list(self: AlphaAccount, order: Order, role: LegRole) -> None:
            pending = order.pending
            await cancel(self, order, LegRole.PENDING if pending and pending.venue_order_id else role)

        return the_list

    patches.put(AlphaAccount, "cancel", make)


def _bans_are_forgotten(patches: Patches) -> None:
    patches.put(RateBudget, "close_until", lambda _: lambda self, refusal: None)


def _answers_before_it_is_durable(patches: Patches) -> None:
    def make(_: Any) -> Any:
        async def at_once(self: OrderManager, order: Order) -> Order:
            return self.books.order(order.order_id) or order

        return at_once

    patches.put(OrderManager, "_as_committed", make)


BESIDE: tuple[Planted, ...] = (
    Planted("late news are believed", _late_news_are_believed, (LegalEdges, ReplayedState), (4, "harsh")),
    Planted("wishes leave no event", _wishes_leave_no_event, (ReplayedState,)),
    Planted("a cancel kills the pending leg", _cancel_kills_the_pending_leg, (WishedCancels,)),
    Planted("bans are forgotten", _bans_are_forgotten, (NoRequestInABan,), (5, "harsh")),
    Planted("answers come before they are durable", _answers_before_it_is_durable, (NothingLost,)),
    Planted("secrets are logged", _secrets_are_logged, (NoSecrets,)),
    Planted("secrets are stored as they are", _secrets_are_not_sealed, (NoSecrets,)),
    Planted("sends are never forgotten", _sends_are_never_forgotten, (Bounds,)),
    Planted("old requests stay good", _old_requests_stay_good, (OldPlacements,), (23, "harsh")),
    Planted("requests are signed with another's key", _signed_with_anothers_key, (OwnKeys,)),
)
