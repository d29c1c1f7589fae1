"""What Spot's price bands are measured from: reference price, average or last price (binance-spot 2.3)."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from order_service.venues.binance_spot import SpotVenue
from order_service.venues.port import Response, VenueSilent
from order_service.venues.spot_band import BAND_SECONDS, BAND_WITHIN_SECONDS, NEVER_FOR
from tests.order_service.venues.fakes import FakeTransport, Reply, fixture, reply
from tests.order_service.venues.test_spot_writes import BTC, exchange_info, venue_of
from tests.virtual_loop import VirtualClock, virtual

NEVER = reply(fixture("spot/rest_reference_price_never_set_error"), 400)
NONE_NOW = reply(fixture("spot/rest_reference_price_null"))
OWN = reply(fixture("spot/rest_reference_price"))
AVERAGE = reply(fixture("spot/rest_avg_price"))
LAST = reply({"symbol": BTC, "price": "9.5"})


def band(minutes: Any, name: str = "PERCENT_PRICE_BY_SIDE") -> dict[str, Any]:
    pairs = {f"{side}Multiplier{part}": "2" for side in ("bid", "ask") for part in ("Up", "Down")}
    plain = {"multiplierUp": "2", "multiplierDown": "2"}
    return {"filterType": name, "avgPriceMins": minutes} | (pairs if "SIDE" in name else plain)


def desk(reference: Reply, *bands: dict[str, Any], **more: Reply) -> tuple[FakeTransport, Any]:
    replies: dict[str, Reply | list[Reply]] = {
        "referencePrice": reference,
        "avgPrice": AVERAGE,
        "price": LAST,
    }
    transport = FakeTransport(replies | more)
    return transport, venue_of(transport, filters=list(bands))


@pytest.mark.parametrize(
    ("reference", "minutes", "price", "asked"),
    [
        (OWN, 5, "10", ["referencePrice"]),
        (NONE_NOW, 5, "9.35751834", ["referencePrice", "avgPrice"]),
        (NEVER, 5, "9.35751834", ["referencePrice", "avgPrice"]),
        (NEVER, 0, "9.5", ["referencePrice", "price"]),
    ],
)
async def test_the_reference_price_comes_first_then_the_average_or_with_0_minutes_the_last_price_2_3(
    reference: Reply, minutes: int, price: str, asked: list[str]
) -> None:
    transport, venue = desk(reference, band(minutes))
    assert await venue.band_price(BTC) == Decimal(price)
    assert [path for path in transport.paths() if path not in ("exchangeInfo", "time")] == asked


@pytest.mark.parametrize(
    ("bands", "average"),
    [
        ([band(5), band(1, "PERCENT_PRICE")], AVERAGE),  # two filters that do not agree
        ([band(None)], AVERAGE),  # minutes that are not told
        ([band(1)], AVERAGE),  # the answer is of five minutes
        ([band(5)], reply({"mins": 5, "price": "0.00000000", "closeTime": 0})),  # nothing traded
        ([band(5)], VenueSilent("timeout", "no answer")),
    ],
)
async def test_what_cannot_be_known_is_none_and_never_a_guess_2_3(
    bands: list[dict[str, Any]], average: Reply
) -> None:
    _, venue = desk(NEVER, *bands, avgPrice=average)
    assert await venue.band_price(BTC) is None


async def test_nonsense_for_a_price_is_unreadable_and_no_missing_price_2_3() -> None:
    _, venue = desk(NEVER, band(5), avgPrice=reply({"mins": "x"}))
    with pytest.raises(VenueSilent, match="unreadable"):
        await venue.band_price(BTC)


async def test_a_reference_price_that_cannot_be_read_is_not_taken_for_none_2_3() -> None:
    transport, venue = desk(VenueSilent("timeout", "no answer"), band(5))
    assert await venue.band_price(BTC) is None
    assert "avgPrice" not in transport.paths()


async def test_a_symbol_without_bands_is_not_asked_about_2_3() -> None:
    transport, venue = desk(OWN)
    assert await venue.band_price(BTC) is None
    assert "referencePrice" not in transport.paths()


async def test_it_is_kept_for_two_seconds_and_that_there_never_was_one_for_five_minutes_2_1() -> None:
    transport, venue = desk(NEVER, band(5))
    for _ in range(3):
        await venue.band_price(BTC)
    assert (transport.paths().count("referencePrice"), transport.paths().count("avgPrice")) == (1, 1)
    await venue.clock.sleep(BAND_SECONDS)
    await venue.band_price(BTC)
    assert (transport.paths().count("referencePrice"), transport.paths().count("avgPrice")) == (1, 2)
    await venue.clock.sleep(NEVER_FOR)
    transport.replies["referencePrice"] = OWN
    assert await venue.band_price(BTC) == 10


class SlowTransport(FakeTransport):
    """Takes a minute for what is asked about prices."""

    async def request(self, method: str, url: str, **more: Any) -> Response:
        if "referencePrice" in url:
            await asyncio.sleep(60)
        return await super().request(method, url, **more)


@virtual
async def test_nobody_waits_longer_than_half_a_second_nor_again_at_once_2_3() -> None:
    told: Mapping[str, Reply] = {"exchangeInfo": reply(exchange_info(filters=[band(5)]))}
    clock = VirtualClock()
    venue = SpotVenue(SlowTransport(told), clock, rest_url="https://spot", ws_api_url="wss://spot")
    began = clock.monotonic()
    assert await asyncio.gather(*(venue.band_price(BTC) for _ in range(20))) == [None] * 20
    assert clock.monotonic() - began < BAND_WITHIN_SECONDS * 1.5
