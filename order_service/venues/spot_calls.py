"""The calls about single orders: over the WS API where a connection stands, else by REST.

A placement or a cancel is written once, whichever path it takes: the other path is only for what has
surely not been written (architecture 5.3). A question may be asked again, by REST.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from order_service.venues.port import Credential, VenueBusy, VenueNotReached, VenueRefused, VenueSilent
from order_service.venues.reading import before_sending
from order_service.venues.spot_answers import order_counts
from order_service.venues.spot_rest import SEND_SECONDS, SpotRest
from order_service.venues.spot_rules import Call
from order_service.venues.ws_api import NO_CONNECTION
from order_service.venues.ws_pool import WsPool

T = TypeVar("T")

ASK_SECONDS = 3.0  # a question over the WS API; then it is asked by REST


class SpotCalls:
    """One venue's; shared by its accounts."""

    def __init__(self, rest: SpotRest, pool: WsPool) -> None:
        self._rest = rest
        self._pool = pool

    async def send(
        self,
        credential: Credential,
        call: Call,
        params: Mapping[str, str],
        parse: Callable[[Any], T],
        *,
        at: datetime,
        not_after: datetime | None = None,
        seconds: float = SEND_SECONDS,
        counts: Callable[[dict[int, int]], None] | None = None,
    ) -> T:
        """A placement or a cancel, signed with the time `at`; over a socket the answer is awaited `seconds`.

        `counts` hears the account's order counts.
        """
        if (api := self._pool.pick()) is not None:
            signed = await before_sending(self._rest.ws_params(credential, params, at))
            send = api.call(call.method, signed, parse, seconds=seconds, not_after=not_after, counts=counts)
            try:
                return await self._rest.server_clock.watch(send)
            except VenueNotReached as error:
                if error.code != NO_CONNECTION:
                    raise
        return await self._rest.send(
            credential,
            call.verb,
            call.path,
            params,
            parse,
            at=at,
            not_after=not_after,
            heard=None if counts is None else lambda headers: counts(order_counts(headers)),
        )

    async def ask(
        self, credential: Credential, call: Call, params: Mapping[str, str], parse: Callable[[Any], T]
    ) -> T:
        """A question about an order."""
        if (api := self._pool.pick()) is not None:
            try:
                signed = await self._rest.ws_params(credential, params)
                return await self._rest.server_clock.watch(
                    api.call(call.method, signed, parse, seconds=ASK_SECONDS)
                )
            except (VenueNotReached, VenueSilent) as error:
                if error.code == "banned" or isinstance(error, VenueBusy):
                    raise
            except VenueRefused as refusal:
                if refusal.code != "clock":
                    raise
        return await self._rest.signed_get(credential, call.path, params, parse)
