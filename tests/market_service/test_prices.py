"""GetPrice and WatchPrices over gRPC: the newest trade, with an age that does not lie."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from protos import market_pb2 as pb
from tests.market_service.conftest import Start, Stub, alpha, refused
from tests.market_service.imitation import KOGE, Imitation

STALE_MS = 600
SPOT = pb.PriceKey(venue=pb.VENUE_SPOT, symbol="BTCUSDT")


def ask(symbol: str = KOGE) -> pb.GetPriceRequest:
    return pb.GetPriceRequest(venue=pb.VENUE_ALPHA, symbol=symbol, stale_after_ms=STALE_MS)


def watching(market: Stub, *keys: pb.PriceKey) -> Any:
    request = pb.WatchPricesRequest(keys=keys or [alpha()], stale_after_ms=STALE_MS)
    return market.WatchPrices(request, timeout=20)


async def prices(stream: Any) -> AsyncIterator[pb.Price]:
    while (message := await stream.read()) is not grpc.aio.EOF:
        for price in message.prices:
            yield price


async def until(stream: Any, wanted: Any) -> pb.Price:
    """The first price of the stream for which `wanted` holds."""
    async with asyncio.timeout(10):
        async for price in prices(stream):
            if wanted(price):
                return price
    raise AssertionError("the stream ended")


async def subscribed(venue: Imitation, count: int = 1) -> None:
    """Until the service follows so many streams."""
    async with asyncio.timeout(5):
        while sum(map(len, venue.subscribed.values())) < count:
            await asyncio.sleep(0.01)


async def test_the_first_question_starts_the_upstream_and_is_answered_by_a_read(
    venue: Imitation, market: Stub
) -> None:
    await venue.trade(KOGE, "48.01706542")
    first = await market.GetPrice(ask())
    assert (first.price, first.stale, first.source) == ("48.01706542", False, pb.PRICE_SOURCE_REST)
    await subscribed(venue)
    await venue.trade(KOGE, "48.1")
    await asyncio.sleep(0.1)
    second = await market.GetPrice(ask())
    assert (second.price, second.source) == ("48.1", pb.PRICE_SOURCE_STREAM)
    assert second.sequence == first.sequence + 1


async def test_an_unknown_symbol_is_not_found(market: Stub) -> None:
    fault = await refused(market.GetPrice(ask("ALPHA_22USTD")))
    assert fault.code is grpc.StatusCode.NOT_FOUND
    assert KOGE in fault.message
    stream = watching(market, alpha(), alpha("ALPHA_9USDT"))
    fault = await refused(stream.read())
    assert fault.code is grpc.StatusCode.NOT_FOUND


async def test_a_symbol_that_never_traded_is_unavailable(market: Stub) -> None:
    fault = await refused(market.GetPrice(ask()))
    assert fault.code is grpc.StatusCode.UNAVAILABLE
    assert "no trade of ALPHA_22USDT" in fault.message


async def test_a_watch_opens_with_a_snapshot_then_changes_then_heartbeats(
    venue: Imitation, market: Stub
) -> None:
    await venue.trade(KOGE, "48")
    await market.GetPrice(ask())
    stream = watching(market)
    snapshot = await stream.read()
    assert (snapshot.sequence, snapshot.snapshot) == (1, True)
    assert [price.price for price in snapshot.prices] == ["48"]
    await subscribed(venue)
    await venue.trade(KOGE, "49")
    changed = await until(stream, lambda price: price.price == "49")
    assert changed.source == pb.PRICE_SOURCE_STREAM
    venue.status, venue.muted = 500, True
    beats, began = [], time.monotonic()
    while time.monotonic() - began < 2.5:
        message = await stream.read()
        assert not message.snapshot
        beats.append(time.monotonic())
    assert max(b - a for a, b in zip([began, *beats], beats, strict=False)) < 1.2


async def test_one_stream_carries_both_venues_and_many_symbols(venue: Imitation, market: Stub) -> None:
    stream = watching(market, alpha(), alpha("ALPHA_373USDT"), SPOT, SPOT)
    await stream.read()
    await subscribed(venue, 3)
    for symbol, price in ((KOGE, "48"), ("ALPHA_373USDT", "0.36"), ("BTCUSDT", "90000")):
        await venue.trade(symbol, price)
    seen: dict[str, str] = {}
    async with asyncio.timeout(5):
        async for price in prices(stream):
            seen[price.symbol] = price.price
            if len(seen) == 3:
                break
    assert seen == {KOGE: "48", "ALPHA_373USDT": "0.36", "BTCUSDT": "90000"}


async def test_changes_within_a_moment_travel_together_and_the_newest_wins(
    venue: Imitation, market: Stub
) -> None:
    stream = watching(market)
    await stream.read()
    await subscribed(venue)
    messages = 0
    for number in range(1, 201):
        await venue.trade(KOGE, str(number))
    async with asyncio.timeout(5):
        while True:
            message = await stream.read()
            messages += 1
            if message.prices and message.prices[-1].price == "200":
                break
    assert messages < 50


async def test_a_reader_that_sleeps_finds_the_newest_price_soon_after_it_wakes(
    venue: Imitation, market: Stub
) -> None:
    slow, quick = watching(market), watching(market)
    await slow.read()
    await quick.read()
    await subscribed(venue)
    for number in range(1, 1001):
        await venue.trade(KOGE, str(number))
    await until(quick, lambda price: price.price == "1000")
    messages = 0
    while True:
        message = await slow.read()
        messages += 1
        if any(price.price == "1000" for price in message.prices):
            break
    assert messages < 100


async def test_an_older_trade_never_replaces_a_newer_one(venue: Imitation, market: Stub) -> None:
    await venue.trade(KOGE, "48", a=100)
    await market.GetPrice(ask())
    await subscribed(venue)
    old = venue.trades[KOGE][0]["T"] - 1000
    await venue.say(KOGE, {"e": "aggTrade", "E": old, "s": KOGE, "a": 99, "p": "1", "T": old})
    await asyncio.sleep(0.1)
    assert (await market.GetPrice(ask())).price == "48"


@pytest.mark.parametrize("key", [alpha(), SPOT], ids=["alpha", "spot"])
async def test_a_silent_stream_is_backed_by_reads(venue: Imitation, market: Stub, key: pb.PriceKey) -> None:
    await venue.trade(key.symbol, "48")
    stream = watching(market, key)
    await until(stream, lambda price: price.price == "48")
    venue.muted = True
    confirmed = await until(stream, lambda price: price.age_ms < 400 and price.sequence == 1)
    assert not confirmed.stale
    await venue.trade(key.symbol, "49")
    moved = await until(stream, lambda price: price.price == "49")
    assert moved.source == pb.PRICE_SOURCE_REST


async def test_a_quiet_market_stays_fresh_and_keeps_its_socket(venue: Imitation, market: Stub) -> None:
    await venue.trade(KOGE, "48")
    stream = watching(market)
    began = time.monotonic()
    async with asyncio.timeout(5):
        async for price in prices(stream):
            assert not price.stale
            if time.monotonic() - began > 2:
                break
    assert venue.connects == 1
    assert (await market.GetPrice(ask())).age_ms < STALE_MS


async def test_a_stalled_stream_and_failing_reads_turn_the_price_stale_and_back(
    venue: Imitation, market: Stub
) -> None:
    await venue.trade(KOGE, "48")
    stream = watching(market)
    await until(stream, lambda price: not price.stale)
    venue.status, venue.muted = 500, True
    began = time.monotonic()
    stale = await until(stream, lambda price: price.stale)
    assert time.monotonic() - began < 2
    assert stale.age_ms > STALE_MS
    assert stale.price == "48"
    asked = await market.GetPrice(ask())
    assert asked.stale
    venue.status, venue.muted = 200, False
    await subscribed(venue)
    await venue.trade(KOGE, "49")
    fresh = await until(stream, lambda price: not price.stale)
    assert fresh.price in ("48", "49")


async def test_a_cut_socket_is_opened_again(venue: Imitation, market: Stub) -> None:
    await venue.trade(KOGE, "48")
    stream = watching(market)
    await subscribed(venue)
    await venue.cut()
    await subscribed(venue)
    assert venue.connects == 2
    await venue.trade(KOGE, "49")
    moved = await until(stream, lambda price: price.price == "49")
    assert moved.source == pb.PRICE_SOURCE_STREAM


async def test_a_socket_that_will_end_has_its_successor_before_it_is_closed(
    venue: Imitation, start: Start
) -> None:
    market = await start(venue.url, reconnect_seconds=60)
    stream = watching(market, SPOT)
    await stream.read()
    await subscribed(venue)
    await asyncio.sleep(5)  # one that is told to go as it comes is kept so long
    await venue.say_raw('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}')
    await subscribed(venue, 2)
    async with asyncio.timeout(20):
        for number in range(1, 1000):
            await venue.trade("BTCUSDT", str(number))
            await until(stream, lambda price, number=number: price.price == str(number))
            if len(venue.subscribed) == 1:
                break
            await asyncio.sleep(0.1)
    assert venue.connects == 2
    await venue.trade("BTCUSDT", "90000")
    await until(stream, lambda price: price.price == "90000")


async def test_a_silent_socket_that_no_read_vouches_for_is_replaced(venue: Imitation, market: Stub) -> None:
    await venue.trade(KOGE, "48")
    stream = watching(market)
    await until(stream, lambda price: True)
    await subscribed(venue)
    venue.muted, venue.status = True, 500
    async with asyncio.timeout(8):
        while venue.connects == 1:
            await asyncio.sleep(0.05)
    stream.cancel()


async def test_a_socket_that_brings_one_symbol_and_forgets_another_is_replaced(
    venue: Imitation, market: Stub
) -> None:
    await venue.trade(KOGE, "48")
    await venue.trade("ALPHA_373USDT", "1")
    stream = watching(market, alpha(), alpha("ALPHA_373USDT"))
    await until(stream, lambda price: True)
    await subscribed(venue, 2)
    venue.mute = {KOGE}
    async with asyncio.timeout(8):
        for number in range(1000):
            if venue.connects > 1:
                break
            await venue.trade(KOGE, str(50 + number))
            await venue.trade("ALPHA_373USDT", str(1 + number))
            await asyncio.sleep(0.1)
    assert venue.connects == 2
    stream.cancel()


async def test_garbage_is_rejected_and_the_feed_goes_on(venue: Imitation, market: Stub) -> None:
    stream = watching(market)
    await stream.read()
    await subscribed(venue)
    for text in ("{", "[]", "null", '{"stream":"x"}', '{"data":[1]}', '"\\ud800"', "{}"):
        await venue.say_raw(text)
    for bad in ({"p": "0"}, {"p": "-3"}, {"T": 10**17}, {"e": "nonsense"}, {"s": "ALPHA_1USDT"}):
        good = {"e": "aggTrade", "E": 1, "s": KOGE, "a": 1, "p": "1", "T": 1}
        await venue.say(KOGE, good | bad)
    await venue.trade(KOGE, "48", unknown_field={"x": 1})
    first = await until(stream, lambda price: True)
    assert first.price == "48"
    assert venue.connects == 1


async def test_after_a_429_nothing_is_sent_until_the_named_time(venue: Imitation, market: Stub) -> None:
    await venue.trade(KOGE, "48")
    stream = watching(market)
    await until(stream, lambda price: True)
    venue.muted = True
    venue.status, venue.headers = 429, {"Retry-After": "2"}
    asked = venue.asked["agg-trades"]
    async with asyncio.timeout(5):
        while venue.asked["agg-trades"] == asked:
            await asyncio.sleep(0.02)
    refused_at, asked = time.monotonic(), venue.asked["agg-trades"]
    venue.status = 200
    async with asyncio.timeout(8):
        while venue.asked["agg-trades"] == asked:
            await asyncio.sleep(0.02)
    assert time.monotonic() - refused_at > 1.9
    stream.cancel()


async def test_no_venue_no_price_but_an_answer(start: Start) -> None:
    market = await start("http://127.0.0.1:9")
    fault = await refused(market.GetPrice(ask(), timeout=5))
    assert fault.code is grpc.StatusCode.UNAVAILABLE
    assert "http://127.0.0.1:9" in fault.message
    assert fault.metadata["venue"] == "alpha"


async def test_asks_that_make_no_sense_are_invalid(market: Stub) -> None:
    for call in (
        watching(market, pb.PriceKey(symbol=KOGE)).read(),
        watching(market, alpha("")).read(),
        market.WatchPrices(pb.WatchPricesRequest()).read(),
        market.WatchPrices(pb.WatchPricesRequest(keys=[alpha()] * 1001)).read(),
        market.GetPrice(pb.GetPriceRequest(venue=pb.VENUE_ALPHA, symbol=KOGE, stale_after_ms=-1)),
    ):
        assert (await refused(call)).code is grpc.StatusCode.INVALID_ARGUMENT
