"""Where the venues are reached: Binance's own hosts live, the paper exchange's host in paper mode."""

from urllib.parse import urlsplit

import pytest

from order_service.venues import binance
from order_service.venues.port import VenueNotReached
from otopilot.clock import SystemClock
from otopilot.instrument import Venue
from otopilot.settings import PaperSettings, Settings, SettingsError, SpotHosts
from tests.order_service.venues.fakes import FakeTransport, reply

CLOCK = SystemClock()


def paper(url: str) -> Settings:
    return Settings(paper=PaperSettings(url=url))


@pytest.mark.parametrize("hosts", ["prod", "testnet", "demo"])
def test_live_urls_are_on_the_allow_list_and_encrypted(hosts: SpotHosts) -> None:
    origins = binance.live_origins(hosts)
    for url in (binance.ALPHA_REST, binance.ALPHA_STREAM, *binance.SPOT[hosts]):
        parts = urlsplit(url)
        assert parts.scheme in ("https", "wss")
        assert (parts.hostname, parts.port or 443) in origins
    assert all(host.endswith((".binance.com", ".binance.vision")) for host, _ in origins)
    others = {urlsplit(url).hostname for name in binance.SPOT if name != hosts for url in binance.SPOT[name]}
    assert not others & {host for host, _ in origins}, "a key goes to the venue it was made for alone"


@pytest.mark.parametrize(("hosts", "world"), [("prod", ""), ("testnet", "testnet"), ("demo", "demo")])
async def test_a_test_venue_is_a_world_of_its_own(hosts: SpotHosts, world: str) -> None:
    settings = Settings(mode="live", spot_hosts=hosts)
    spot = binance.live_venues(settings, FakeTransport(), CLOCK)[Venue.SPOT]
    assert await spot.world() == world


@pytest.mark.parametrize("venue", list(Venue))
async def test_both_venues_of_the_paper_exchange_tell_its_world(venue: Venue) -> None:
    transport = FakeTransport({"/control/world": reply({"world_id": "w"})})
    venues = binance.paper_venues(paper("http://paper:8900/"), transport, CLOCK)
    assert await venues[venue].world() == "w"
    assert transport.sent[0].url == "http://paper:8900/control/world"
    assert venues[venue].venue is venue


@pytest.mark.parametrize("venue", list(Venue))
async def test_the_real_venues_have_no_world_id(venue: Venue) -> None:
    assert await binance.live_venues(Settings(), FakeTransport(), CLOCK)[venue].world() == ""


@pytest.mark.parametrize("url", ["https://www.binance.com/", "http://127.0.0.1:8901/", "http://paper/"])
async def test_paper_mode_reaches_the_paper_exchange_only(url: str) -> None:
    transport = binance.paper_transport(paper("http://127.0.0.1:8900"), CLOCK)
    with pytest.raises(VenueNotReached, match="host_not_allowed"):
        await transport.request("GET", url, headers={}, timeout_seconds=1)


async def test_live_mode_reaches_no_other_host() -> None:
    transport = binance.live_transport(Settings(mode="live"), CLOCK)
    with pytest.raises(VenueNotReached, match="host_not_allowed"):
        await transport.request("GET", "http://127.0.0.1:8900/", headers={}, timeout_seconds=1)


@pytest.mark.parametrize(
    "url", ["paper:8900", "ftp://paper", "http://", "http://paper:x", "http://paper/api"]
)
def test_a_paper_url_that_is_none_is_an_error_of_the_settings(url: str) -> None:
    with pytest.raises(SettingsError, match=r"paper\.url"):
        binance.paper_transport(paper(url), CLOCK)
