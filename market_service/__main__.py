"""The market_service process: wires venues, catalogue, hub and servicer, and serves them."""

import asyncio
import sys
from contextlib import AsyncExitStack

import aiohttp

from market_service.catalogue import Catalogue
from market_service.hub import Hub
from market_service.servicer import MarketServicer, registration
from market_service.venues.binance_alpha import AlphaMarket
from market_service.venues.binance_spot import SpotMarket
from market_service.venues.port import MarketVenue
from otopilot import log, rpc
from otopilot.clock import Clock, SystemClock
from otopilot.instrument import Venue
from otopilot.settings import Settings

CONNECTIONS_PER_VENUE = 20

_log = log.get("market_service")


async def open_service(stack: AsyncExitStack, settings: Settings, clock: Clock) -> tuple[rpc.Server, Hub]:
    """Everything this service is, serving; it ends with the stack. Raises RefuseStart.

    An unreachable venue is no death: the service serves, and each answer says what is wrong.
    """
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit_per_host=CONNECTIONS_PER_VENUE))
    )
    venues: dict[Venue, MarketVenue] = {
        Venue.ALPHA: AlphaMarket(settings, session, clock),
        Venue.SPOT: SpotMarket(settings, session, clock),
    }
    hub = Hub(venues, clock, settings.market.silence_seconds)
    await stack.enter_async_context(hub.running())
    catalogue = await stack.enter_async_context(Catalogue(venues, clock))
    servicer = MarketServicer(hub, catalogue, clock)
    server = await stack.enter_async_context(rpc.serve(settings.market, [registration(servicer)]))
    await server.set_serving(True)
    return server, hub


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Prices and instruments of Binance Spot and Alpha, over gRPC."""
    async with AsyncExitStack() as stack:
        server, hub = await open_service(stack, settings, SystemClock())
        _log.info("serving", host=settings.market.host, port=server.port, mode=settings.mode)
        await stop.wait()
        hub.end_watches()  # so that the server's grace is not spent on streams without end


def main() -> int:
    """Run the service; the exit code."""
    return rpc.run_service("market-service", serve)


if __name__ == "__main__":
    sys.exit(main())
