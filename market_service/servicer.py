"""MarketService over gRPC: asks checked, answers converted, errors mapped by one table."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import grpc

from market_service.catalogue import FRESH_SECONDS, Ambiguous, Catalogue, NotListed
from market_service.hub import Hub, TooManySymbols
from market_service.venues.port import Unavailable
from market_service.watch import Key
from otopilot import wire
from otopilot.clock import Clock
from otopilot.instrument import Venue
from otopilot.rpc import BadRequest, Fault, Registration
from protos import market_pb2 as pb
from protos import market_pb2_grpc

NAME = "otopilot.market.v1.MarketService"
DEFAULT_STALE_AFTER_MS = 3000
GREATEST_STALE_AFTER_MS = 24 * 3600 * 1000
GREATEST_WATCH = 1000
LONGEST_WAIT_SECONDS = 5.0

Context = grpc.aio.ServicerContext[Any, Any]


class MarketServicer(market_pb2_grpc.MarketServiceServicer):
    """The service. Holds no state of its own."""

    def __init__(self, hub: Hub, catalogue: Catalogue, clock: Clock) -> None:
        self._hub = hub
        self._catalogue = catalogue
        self._clock = clock

    async def GetInstrument(self, request: pb.GetInstrumentRequest, context: Context) -> pb.Instrument:
        """The rules of one instrument."""
        if not request.symbol and not request.token:
            raise BadRequest("NOTHING_ASKED", [("symbol", "symbol or token: say which instrument is wanted")])
        venue = Venue.ALPHA if request.chain and not request.venue else _venue(request.venue)
        if venue is Venue.SPOT and request.chain:
            raise BadRequest("CHAIN_ON_SPOT", [("chain", "chain: Spot has none; leave it out or ask ALPHA")])
        age = _max_age(request.max_age_ms)
        with _faults():
            if request.symbol:
                listed = await self._catalogue.by_symbol(venue, request.symbol, max_age_seconds=age)
            else:
                listed = await self._catalogue.by_token(
                    venue, request.token, request.chain, max_age_seconds=age
                )
        return wire.instrument_to_pb(listed.instrument, listed.fetched_at)

    async def GetPrice(self, request: pb.GetPriceRequest, context: Context) -> pb.Price:
        """The last price of one symbol."""
        stale_after_ms = _stale_after(request.stale_after_ms)
        key = _key(request.venue, request.symbol)
        with _faults():
            await self._check_listed([key])
            quote = await self._hub.price(key, _patience(context))
        return wire.quote_to_pb(quote, self._clock.now(), stale_after_ms)

    async def WatchPrices(
        self, request: pb.WatchPricesRequest, context: Context
    ) -> AsyncIterator[pb.WatchPricesResponse]:
        """A snapshot, then changes, then heartbeats."""
        stale_after_ms = _stale_after(request.stale_after_ms)
        if not request.keys:
            raise BadRequest("NOTHING_ASKED", [("keys", "keys: name at least one price")])
        if len(request.keys) > GREATEST_WATCH:
            raise BadRequest("TOO_MANY", [("keys", f"keys: {len(request.keys)}, at most {GREATEST_WATCH}")])
        keys = list(dict.fromkeys(_key(key.venue, key.symbol) for key in request.keys))
        with _faults():
            await self._check_listed(keys)
            with self._hub.watch(keys, stale_after_ms) as watch:
                sequence = 0
                async for batch in watch.batches():
                    sequence += 1
                    yield pb.WatchPricesResponse(
                        sequence=sequence,
                        snapshot=batch.snapshot,
                        prices=[wire.quote_to_pb(q, batch.made_at, stale_after_ms) for q in batch.quotes],
                        sent_at=wire.timestamp(batch.made_at),
                    )
        raise Fault(grpc.StatusCode.UNAVAILABLE, "STOPPING", "market_service is stopping; watch again")

    async def _check_listed(self, keys: list[Key]) -> None:
        """Raises NotListed that names every symbol the venues do not have; Unavailable."""
        unknown: list[str] = []
        for venue in Venue:
            new = [key[1] for key in keys if key[0] is venue and not self._hub.follows(key)]
            if new:
                unknown += await self._catalogue.missing(venue, new)
        if unknown:
            raise NotListed("; ".join(unknown))


def registration(servicer: MarketServicer) -> Registration:
    """What a server needs to serve it."""
    return Registration(
        NAME, lambda server: market_pb2_grpc.add_MarketServiceServicer_to_server(servicer, server)
    )


@contextmanager
def _faults() -> Iterator[None]:
    """What can go wrong below, as canonical codes."""
    try:
        yield
    except NotListed as error:
        fault = Fault(grpc.StatusCode.NOT_FOUND, "NOT_LISTED", str(error), close=",".join(error.close))
        raise fault from error
    except Ambiguous as error:
        choices = ",".join(error.choices)
        code = grpc.StatusCode.FAILED_PRECONDITION
        raise Fault(code, "AMBIGUOUS", str(error), choices=choices) from error
    except TooManySymbols as error:
        raise Fault(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_SYMBOLS", str(error)) from error
    except Unavailable as error:
        code = grpc.StatusCode.UNAVAILABLE
        raise Fault(code, "VENUE_UNREADABLE", str(error), venue=error.venue, url=error.url) from error


def _venue(number: int) -> Venue:
    try:
        return wire.venue_from_pb(number)
    except ValueError:
        raise BadRequest("VENUE", [("venue", "venue: say SPOT or ALPHA")]) from None


def _key(venue: int, symbol: str) -> Key:
    if not symbol:
        raise BadRequest("SYMBOL", [("symbol", "symbol: say which, such as ALPHA_22USDT")])
    return _venue(venue), symbol


def _stale_after(asked_ms: int) -> int:
    if not 0 <= asked_ms <= GREATEST_STALE_AFTER_MS:
        text = f"stale_after_ms: {asked_ms} is not between 0 and {GREATEST_STALE_AFTER_MS}"
        raise BadRequest("STALE_AFTER", [("stale_after_ms", text)])
    return asked_ms or DEFAULT_STALE_AFTER_MS


def _max_age(asked_ms: int) -> float:
    """In seconds."""
    if asked_ms < 0:
        raise BadRequest("MAX_AGE", [("max_age_ms", f"max_age_ms: {asked_ms} is negative")])
    return asked_ms / 1000 or FRESH_SECONDS


def _patience(context: Context) -> float:
    """Until shortly before the caller's deadline, so that the story still reaches it."""
    remaining = cast(float | None, context.time_remaining())  # none without a deadline
    if remaining is None:
        return LONGEST_WAIT_SECONDS
    return max(0.05, min(LONGEST_WAIT_SECONDS, remaining * 0.9))
