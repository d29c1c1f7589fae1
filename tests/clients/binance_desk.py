"""python-binance, pointed at the paper exchange by the addresses its classes publish."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from binance import AsyncClient, BinanceSocketManager, Client

from tests.clients.venue import Keys, Venue

MARKET = "BTCUSDT"


@contextmanager
def connected(venue: Venue, keys: Keys | None = None, **more: Any) -> Iterator[Client]:
    """A client over REST; it pings on the way."""
    client = _kind(Client, venue)(**_credentials(keys), **more)
    yield client
    client.close_connection()


@asynccontextmanager
async def connected_async(venue: Venue, keys: Keys) -> AsyncIterator[AsyncClient]:
    """A client that also speaks to the WS API."""
    client = await _kind(AsyncClient, venue).create(keys.api_key, keys.secret)
    yield client
    # Its socket notices that it is to close when a frame comes, or after ten seconds.
    last = asyncio.create_task(client.ws_ping())
    await client.close_connection()
    await asyncio.gather(last, return_exceptions=True)


def sockets(venue: Venue, client: AsyncClient) -> BinanceSocketManager:
    """The manager of market and user streams."""
    kind = type("Manager", (BinanceSocketManager,), {"STREAM_URL": f"{venue.streams}/"})
    return kind(client)


def _kind(kind: Any, venue: Venue) -> Any:
    """The class with the paper exchange's addresses; none of them leads to the real venue."""
    addresses = {name: venue.rest for name in dir(kind) if name.endswith("_URL")}
    return type(kind.__name__, (kind,), addresses | {"WS_API_URL": venue.ws_api})


def _credentials(keys: Keys | None) -> dict[str, str]:
    """Without keys none; a secret in PEM is a private key."""
    if keys is None:
        return {}
    kind = "private_key" if "PRIVATE KEY" in keys.secret else "api_secret"
    return {"api_key": keys.api_key, kind: keys.secret}


def order(**changed: str) -> dict[str, str]:
    """A limit order as the raw call takes it."""
    terms = {"symbol": MARKET, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
    return terms | {"quantity": "0.001", "price": "90000"} | changed


def oto(**changed: str) -> dict[str, str]:
    """A list as the raw calls take it: BUY under the market, then SELL above it."""
    return {
        "symbol": MARKET,
        "workingType": "LIMIT",
        "workingSide": "BUY",
        "workingPrice": "90000",
        "workingQuantity": "0.001",
        "workingTimeInForce": "GTC",
        "pendingType": "LIMIT",
        "pendingSide": "SELL",
        "pendingPrice": "110000",
        "pendingQuantity": "0.001",
        "pendingTimeInForce": "GTC",
    } | changed
