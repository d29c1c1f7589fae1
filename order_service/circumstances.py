"""What is read from the venue before a placement is decided: nothing has been written or sent yet.

Whatever cannot be read in time denies the placement; no order exists then.
"""

import asyncio

from order_service.asking import BEGIN_WITHIN_SECONDS, Ask, Circumstances
from order_service.denied import Denied, Kind
from order_service.sessions import Session, Sessions
from order_service.venues.port import CredentialRefused, VenueError
from otopilot.clock import Clock
from otopilot.instrument import Side
from otopilot.money import ZERO


async def read(sessions: Sessions, session: Session, ask: Ask, clock: Clock) -> Circumstances:
    """Rules, fees, price, funds and the venue's time. Raises Denied."""
    try:
        async with asyncio.timeout(BEGIN_WITHIN_SECONDS):
            return await _read(session, ask, clock)
    except TimeoutError:
        message = f"{ask.venue} did not answer in time: nothing was placed"
        raise Denied(Kind.UNAVAILABLE, "VENUE_UNREADABLE", message) from None
    except CredentialRefused as refusal:
        await sessions.stop(session, refusal.code, refusal.message)
        raise Denied(
            Kind.PRECONDITION, "USER_STOPPED", refusal.message, reason_code=refusal.code
        ) from refusal
    except VenueError as error:
        if error.code == "unknown_symbol":
            raise Denied(Kind.NOT_FOUND, "UNKNOWN_SYMBOL", error.message) from error
        message = f"{ask.venue} could not be read ({error}): nothing was placed"
        raise Denied(Kind.UNAVAILABLE, "VENUE_UNREADABLE", message) from error


async def _read(session: Session, ask: Ask, clock: Clock) -> Circumstances:
    port = session.port
    await port.ready()
    # Of any age: whoever sweeps reads the rules anew, and no placement waits for that.
    instrument = await port.known_instrument(ask.symbol)
    # The largest position counts the base held by now; the quote is reckoned on from what was read.
    exact = ask.side is Side.BUY and instrument.max_position is not None
    funds = await session.funds(instrument.quote_asset, at_least=ask.quantity * ask.price, exact=exact)
    return Circumstances(
        instrument=instrument,
        fees=await session.fees(ask.symbol),
        band_price=await port.band_price(ask.symbol),
        free_quote=funds.free.get(instrument.quote_asset, ZERO),
        free_quote_at=funds.read_at,
        held_base=funds.held.get(instrument.base_asset, ZERO),
        order_limits=await session.order_limits(ask.symbol),
        has_client_ids=port.has_client_ids,
        ahead=await port.time() - clock.now(),
    )
