"""More defects put in on purpose: in what stands around the orders (secrets, keys, bounds, time)."""

import asyncio
from typing import Any

from order_service.credentials import Vault
from order_service.gate import GatedAccount
from order_service.order_manager import OrderManager
from order_service.venues.spot_rest import SpotRest
from otopilot import log
from otopilot.order import LegRole, Order
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


BESIDE: tuple[Planted, ...] = (
    Planted("secrets are logged", _secrets_are_logged, ("I14",)),
    Planted("secrets are stored as they are", _secrets_are_not_sealed, ("I14",)),
    Planted("sends are never forgotten", _sends_are_never_forgotten, ("I15",)),
    Planted("old requests stay good", _old_requests_stay_good, ("I10",), (23, "harsh")),
    Planted("requests are signed with another's key", _signed_with_anothers_key, ("I12",), (1, "harsh")),
)
