"""Binance's own SDK, pointed at the paper exchange by its configuration objects."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from binance_sdk_spot.rest_api import SpotRestAPI
from binance_sdk_spot.spot import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
    Spot,
)

from tests.clients.venue import DEADLINE, Keys, Venue

MARKET = "BTCUSDT"
BTCUSDT = {"symbol": MARKET}
LIMIT = BTCUSDT | {
    "side": "BUY",
    "type": "LIMIT",
    "time_in_force": "GTC",
    "quantity": "0.001",
    "price": "90000",
}
OTO = BTCUSDT | {
    "working_type": "LIMIT",
    "working_side": "BUY",
    "working_price": "90000",
    "working_quantity": "0.001",
    "working_time_in_force": "GTC",
    "pending_type": "LIMIT",
    "pending_side": "SELL",
    "pending_price": "110000",
    "pending_quantity": "0.001",
    "pending_time_in_force": "GTC",
}


def connect(venue: Venue, keys: Keys) -> SpotRestAPI:
    """The REST half; no retries, so that a refusal is met once."""
    settings = {"base_path": venue.rest.removesuffix("/api"), "timeout": DEADLINE * 1000, "retries": 0}
    return Spot(ConfigurationRestAPI(**_credentials(keys), **settings)).rest_api


@asynccontextmanager
async def ws_api(venue: Venue, keys: Keys) -> AsyncIterator[Any]:
    """The WS API half, connected."""
    settings = {"stream_url": venue.ws_api, "timeout": DEADLINE * 1000}
    spot = Spot(config_ws_api=ConfigurationWebSocketAPI(**_credentials(keys), **settings))
    connection = await spot.websocket_api.create_connection()
    try:
        yield connection
    finally:
        await connection.close_connection(close_session=True)


@asynccontextmanager
async def streams(venue: Venue) -> AsyncIterator[Any]:
    """The market streams, connected."""
    spot = Spot(config_ws_streams=ConfigurationWebSocketStreams(stream_url=venue.streams))
    connection = await spot.websocket_streams.create_connection()
    try:
        yield connection
    finally:
        await connection.close_connection(close_session=True)


def heard(stream: Any) -> "asyncio.Queue[Any]":
    """What a stream tells, in order."""
    queue: asyncio.Queue[Any] = asyncio.Queue()
    listen: Callable[[Any], None] = queue.put_nowait
    stream.on("message", listen)
    return queue


def _credentials(keys: Keys) -> dict[str, str]:
    kind = "private_key" if "PRIVATE KEY" in keys.secret else "api_secret"
    return {"api_key": keys.api_key, kind: keys.secret}
