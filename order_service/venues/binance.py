"""Where Binance's two venues are reached, for real and on the paper exchange.

The only list of hosts that a credential may be sent to (architecture 9).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from order_service.venues import limits as venue_limits
from order_service.venues.binance_alpha import AlphaVenue
from order_service.venues.binance_spot import SpotVenue
from order_service.venues.port import Limits, Transport, VenuePort
from order_service.venues.transport import HttpTransport, Origin
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.settings import Settings, SettingsError, SpotHosts

ALPHA_REST = "https://www.binance.com"
ALPHA_STREAM = "wss://nbstream.binance.com"


class SpotPlace(NamedTuple):
    """One of Binance's Spot venues (binance-spot 1.1)."""

    rest: str
    ws_api: str


SPOT: Mapping[SpotHosts, SpotPlace] = {
    "prod": SpotPlace("https://api.binance.com", "wss://ws-api.binance.com:443/ws-api/v3"),
    "testnet": SpotPlace("https://testnet.binance.vision", "wss://ws-api.testnet.binance.vision/ws-api/v3"),
    "demo": SpotPlace("https://demo-api.binance.com", "wss://demo-ws-api.binance.com/ws-api/v3"),
}


def live_origins(hosts: SpotHosts) -> frozenset[Origin]:
    """Where requests may go in live mode: Alpha's hosts, and those of the one Spot venue that was named."""
    urls = (ALPHA_REST, ALPHA_STREAM, *SPOT[hosts])
    return frozenset((urlsplit(url).hostname or "", urlsplit(url).port or 443) for url in urls)


# Requests a second that clients of Alpha allow themselves; the venue publishes no limit (binance-alpha 2.4).
ALPHA_REQUESTS_PER_SECOND = 8

Gate = Callable[[Venue, Transport], Transport]  # what a venue's requests pass on their way out


def _open(venue: Venue, transport: Transport) -> Transport:
    return transport


def live_transport(settings: Settings, clock: Clock) -> HttpTransport:
    """Reaches Binance, by TLS only."""
    return HttpTransport(clock, origins=live_origins(settings.spot_hosts), tls_only=True)


def paper_transport(settings: Settings, clock: Clock) -> HttpTransport:
    """Reaches the paper exchange and nothing else. Raises SettingsError."""
    return HttpTransport(clock, origins=frozenset({_paper_origin(settings)}), tls_only=False)


def limits(settings: Settings) -> dict[Venue, Limits]:
    """What each venue allows this address."""
    alpha = settings.order.alpha_requests_per_second
    if alpha is None:
        alpha = ALPHA_REQUESTS_PER_SECOND if settings.mode == "live" else 0
    return {Venue.ALPHA: venue_limits.alpha(alpha), Venue.SPOT: venue_limits.spot()}


def live_venues(
    settings: Settings, transport: Transport, clock: Clock, gate: Gate = _open
) -> dict[Venue, VenuePort]:
    """Both venues on Binance, each through its gate."""
    return {
        Venue.ALPHA: AlphaVenue(
            gate(Venue.ALPHA, transport),
            clock,
            rest_url=ALPHA_REST,
            stream_url=ALPHA_STREAM,
            numbers_as_text=settings.order.alpha_amounts_as == "string",
        ),
        Venue.SPOT: SpotVenue(
            gate(Venue.SPOT, transport),
            clock,
            rest_url=SPOT[settings.spot_hosts].rest,
            ws_api_url=SPOT[settings.spot_hosts].ws_api,
            world="" if settings.spot_hosts == "prod" else settings.spot_hosts,
            recv_window_ms=settings.order.recv_window_ms,
            order_connections=settings.order.spot_connections,
        ),
    }


def paper_venues(
    settings: Settings, transport: Transport, clock: Clock, gate: Gate = _open
) -> dict[Venue, VenuePort]:
    """Both venues on the paper exchange, each through its gate. Raises SettingsError."""
    host, port = _paper_origin(settings)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    tls = "s" if urlsplit(settings.paper.url).scheme == "https" else ""
    rest_url, stream_url = f"http{tls}://{where}", f"ws{tls}://{where}"
    world_url = f"{rest_url}/control/world"
    return {
        Venue.ALPHA: AlphaVenue(
            gate(Venue.ALPHA, transport),
            clock,
            rest_url=rest_url,
            stream_url=stream_url,
            world_url=world_url,
            numbers_as_text=settings.order.alpha_amounts_as == "string",
        ),
        Venue.SPOT: SpotVenue(
            gate(Venue.SPOT, transport),
            clock,
            rest_url=rest_url,
            ws_api_url=f"{stream_url}/ws-api/v3",
            world_url=world_url,
            recv_window_ms=settings.order.recv_window_ms,
            order_connections=settings.order.spot_connections,
        ),
    }


def _paper_origin(settings: Settings) -> Origin:
    try:
        url = urlsplit(settings.paper.url)
        port = url.port or (443 if url.scheme == "https" else 80)
    except ValueError:
        raise SettingsError(f"paper.url: {settings.paper.url!r} is not a URL") from None
    if url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/"):
        raise SettingsError(f"paper.url: {settings.paper.url!r} is not http(s)://host:port")
    return url.hostname, port
