"""What a placement may meet at a fake venue: yes, no, silence, and everything late."""

import asyncio

from order_service.venues.port import (
    CredentialRefused,
    Placed,
    VenueNotReached,
    VenueRefused,
    VenueSilent,
)
from otopilot.order import Order
from tests.order_service.fakes import Behaviour, FakeAccount, accepted


async def answer_lost(account: FakeAccount, order: Order) -> Placed:
    """It happened, and nobody says so."""
    account.accept(order)
    raise VenueSilent("timeout", "no answer")


async def request_lost(account: FakeAccount, order: Order) -> Placed:
    """It never arrived, and nobody says so."""
    raise VenueSilent("timeout", "no answer")


async def refused(account: FakeAccount, order: Order) -> Placed:
    """A definite no."""
    raise VenueRefused("-2010", "insufficient balance")


async def refused_by_filter(account: FakeAccount, order: Order) -> Placed:
    """A no by the venue's rules."""
    raise VenueRefused("filter", "Filter failure: MAX_ASSET")


async def not_reached(account: FakeAccount, order: Order) -> Placed:
    """It never left."""
    raise VenueNotReached("no_connection", "nothing was sent")


async def credential_refused(account: FakeAccount, order: Order) -> Placed:
    """The session has ended."""
    raise CredentialRefused("auth_expired", "log in again")


async def garbage(account: FakeAccount, order: Order) -> Placed:
    """It happened, and the adapter breaks over the answer."""
    account.accept(order)
    raise KeyError("orderId")


def slow(seconds: float, then: Behaviour = accepted) -> Behaviour:
    """The request takes so long on its way to the venue."""

    async def behave(account: FakeAccount, order: Order) -> Placed:
        await asyncio.sleep(seconds)
        return await then(account, order)

    return behave


def late(seconds: float) -> Behaviour:
    """The answer is lost at once, and the engine accepts the order so much later."""

    async def behave(account: FakeAccount, order: Order) -> Placed:
        asyncio.get_running_loop().call_later(seconds, account.accept, order)
        raise VenueSilent("timeout", "no answer")

    return behave
