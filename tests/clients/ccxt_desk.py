"""ccxt, pointed at the paper exchange by the settings it documents: urls, hostnames, options."""

from typing import Any, TypeVar

import ccxt

from tests.clients.venue import Keys, Venue

Exchange = TypeVar("Exchange", bound=ccxt.Exchange)
SYMBOL, MARKET = "BTC/USDT", "BTCUSDT"


def connect(kind: type[Exchange], venue: Venue, keys: Keys | None = None, **more: Any) -> Exchange:
    """A client of this class; none of its addresses is left to lead to the real venue.

    The options keep it to Spot: without them it asks for coins and margin pairs under /sapi.
    """
    addresses = dict.fromkeys(("public", "private", "v1"), f"{venue.rest}/v3")
    elsewhere = {name: venue.rest for name in kind().urls["api"] if name not in addresses and name != "ws"}
    sockets = {"spot": f"{venue.streams}/ws", "ws-api": {"spot": venue.ws_api}}
    settings = {
        "urls": {"api": elsewhere | addresses | {"ws": sockets}},
        "options": {"fetchCurrencies": False, "fetchMargins": False, "fetchMarkets": {"types": ["spot"]}},
        "enableRateLimit": False,
    }
    if keys is not None:
        settings |= {"apiKey": keys.api_key, "secret": keys.secret}
    return kind(settings | more)


def oto(**changed: str) -> dict[str, str]:
    """A list as ccxt's raw calls take it: BUY under the market, then SELL above it."""
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
