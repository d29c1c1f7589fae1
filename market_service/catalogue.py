"""What trades: each venue's instruments, cached for five minutes or less, the last good ones kept.

Finds an instrument by its symbol, or by a token's name and chain. Token names are not unique
(several chains, re-listings), so a name that means two things is never guessed.
"""

import asyncio
import difflib
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from market_service.venues.port import FeeRates, Listing, MarketVenue, Unavailable
from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import Instrument, InstrumentStatus, Venue
from otopilot.tasks import TaskOwner

FRESH_SECONDS = 300.0
RETRY_SECONDS = 10.0  # after a failed read the last good listing is used this long without asking
LEAST_SECONDS = 10.0  # a listing is not read anew sooner, however young it is wanted
PATIENCE_SECONDS = 1.0  # for a slow read, of who can be served the last good listing
QUOTE_ASSET = "USDT"
GREATEST_FEE_CACHE = 1000
GREATEST_HINTS = 5  # looking for close names is slow

_log = log.get("catalogue")


class NotListed(Exception):
    """The venue has no such thing; `close` are names it may have meant."""

    def __init__(self, message: str, close: Iterable[str] = ()) -> None:
        self.close = tuple(close)
        hint = f"; did you mean {', '.join(self.close)}?" if self.close else ""
        super().__init__(message + hint)


class Ambiguous(Exception):
    """The name means several things; `choices` says what would tell them apart."""

    def __init__(self, message: str, choices: Iterable[str]) -> None:
        self.choices = tuple(choices)
        super().__init__(message)


class Listed(msgspec.Struct, frozen=True):
    """An instrument and when its rules were read."""

    instrument: Instrument
    fetched_at: datetime


class _Shelf:
    """One venue's last good listing."""

    def __init__(self, venue: MarketVenue) -> None:
        self.venue = venue
        self.listing: Listing | None = None
        self.fetched_at: datetime | None = None
        self.read_at = 0.0  # monotonic, when the read of the listing began
        self.ask_again_at = 0.0  # monotonic
        self.failure: Unavailable | None = None
        self.reading: asyncio.Task[None] | None = None
        self.fees: dict[str, tuple[float, FeeRates | None]] = {}  # symbol -> (fresh until, rates)

    def is_due(self, now: float, max_age_seconds: float) -> bool:
        """Is it to be read for somebody whom a listing of that age serves?"""
        served = max(LEAST_SECONDS, min(max_age_seconds, FRESH_SECONDS))
        old = self.listing is None or now - self.read_at >= served
        return old and now >= self.ask_again_at


class Catalogue:
    """Instruments of every venue. Owns the reads: one at a time a venue, whoever waits for it or leaves."""

    def __init__(self, venues: Mapping[Venue, MarketVenue], clock: Clock) -> None:
        self._tasks = TaskOwner("catalogue")
        self._shelves = {name: _Shelf(venue) for name, venue in venues.items()}
        self._clock = clock

    async def __aenter__(self) -> "Catalogue":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()

    async def missing(self, venue: Venue, symbols: Iterable[str]) -> list[str]:
        """A line for each symbol the venue does not list. Raises Unavailable."""
        _, listing, _ = await self._listing(venue)
        absent = [symbol for symbol in symbols if symbol not in listing.instruments]
        lines = [str(_no_symbol(venue, symbol, listing)) for symbol in absent[:GREATEST_HINTS]]
        if len(absent) > GREATEST_HINTS:
            lines.append(f"and {len(absent) - GREATEST_HINTS} more that {venue} does not have")
        return lines

    async def by_symbol(self, venue: Venue, symbol: str, *, max_age_seconds: float = FRESH_SECONDS) -> Listed:
        """The instrument of a symbol; age in seconds. Raises NotListed, Unavailable."""
        shelf, listing, fetched_at = await self._listing(venue, max_age_seconds)
        name = symbol if symbol in listing.instruments else symbol.upper()
        if name in listing.instruments:
            return await self._with_fees(shelf, listing.instruments[name], fetched_at)
        if name in listing.unreadable:
            why = f"the rules of {name} cannot be understood: {listing.unreadable[name]}"
            raise Unavailable(venue, shelf.venue.url, why)
        raise _no_symbol(venue, symbol, listing)

    async def by_token(
        self, venue: Venue, token: str, chain: str, *, max_age_seconds: float = FRESH_SECONDS
    ) -> Listed:
        """The instrument of a token against USDT, like by_symbol. Raises Ambiguous too."""
        shelf, listing, fetched_at = await self._listing(venue, max_age_seconds)
        named = _named(token, listing)
        if not named:
            known = {item.token for item in listing.instruments.values()}
            raise NotListed(f"{venue} has no token {token!r}", _close(token, known))
        chosen = _on_chain(venue, token, chain, named, listing)
        quoted = [item for item in chosen if item.quote_asset == QUOTE_ASSET]
        if not quoted:
            others = ", ".join(sorted(item.symbol for item in chosen))
            raise NotListed(f"{venue} does not trade {token!r} against {QUOTE_ASSET}, only {others}")
        return await self._with_fees(shelf, _only(venue, token, quoted), fetched_at)

    async def _listing(
        self, venue: Venue, max_age_seconds: float = FRESH_SECONDS
    ) -> tuple[_Shelf, Listing, datetime]:
        """The venue's listing, read anew when it is older than that. Raises Unavailable."""
        shelf = self._shelves[venue]
        if shelf.is_due(self._clock.monotonic(), max_age_seconds):
            # Whoever waits for another's read shares its outcome, also when that is a failure.
            reading = shelf.reading = shelf.reading or self._tasks.spawn(self._read(shelf), f"read {venue}")
            await asyncio.wait({reading}, timeout=PATIENCE_SECONDS if shelf.listing else None)
        if shelf.listing is None or shelf.fetched_at is None:
            raise shelf.failure or Unavailable(venue, shelf.venue.url, "not read yet")
        return shelf, shelf.listing, shelf.fetched_at

    async def _read(self, shelf: _Shelf) -> None:
        try:
            await self._try_to_read(shelf)
        finally:
            shelf.reading = None

    async def _try_to_read(self, shelf: _Shelf) -> None:
        fetched_at, began = self._clock.now(), self._clock.monotonic()
        try:
            listing = await shelf.venue.listing()
        except Unavailable as error:
            shelf.failure = error
            # With nothing to fall back on, the next caller asks for itself.
            wait = RETRY_SECONDS if shelf.listing else error.retry_after
            shelf.ask_again_at = self._clock.monotonic() + wait
            _log.warning("instruments not read", venue=shelf.venue.venue, why=str(error))
            return
        shelf.listing, shelf.fetched_at, shelf.failure = listing, fetched_at, None
        shelf.read_at = began
        _log.info("instruments read", venue=shelf.venue.venue, count=len(listing.instruments))
        if listing.unreadable:
            some = dict(list(listing.unreadable.items())[:5])
            _log.warning("instruments set aside", count=len(listing.unreadable), some=some)

    async def _with_fees(self, shelf: _Shelf, item: Instrument, fetched_at: datetime) -> Listed:
        """The instrument with its public fee rates; without them when they cannot be had."""
        fresh_until, rates = shelf.fees.get(item.symbol, (0.0, None))
        now = self._clock.monotonic()
        if now >= fresh_until:
            wait = FRESH_SECONDS
            try:
                rates = await shelf.venue.fee_rates(item.symbol)
            except Unavailable as error:
                wait = RETRY_SECONDS
                _log.warning("fee rates not read", symbol=item.symbol, why=str(error))
            if len(shelf.fees) >= GREATEST_FEE_CACHE:
                shelf.fees.clear()
            shelf.fees[item.symbol] = (now + wait, rates)
        if rates is not None:
            item = msgspec.structs.replace(item, buy_fee_rate=rates.buy, sell_fee_rate=rates.sell)
        return Listed(item, fetched_at)


def _named(token: str, listing: Listing) -> list[Instrument]:
    """Every instrument of a token's name; another spelling counts only when there is no exact one."""
    wanted = token.casefold()
    alike = [item for item in listing.instruments.values() if item.token.casefold() == wanted]
    return [item for item in alike if item.token == token] or alike


def _on_chain(
    venue: Venue, token: str, chain: str, named: list[Instrument], listing: Listing
) -> list[Instrument]:
    chains = sorted({item.chain for item in named})
    if not chain:
        if len(chains) > 1:
            raise Ambiguous(f"{venue} has {token!r} on several chains: {', '.join(chains)}; name one", chains)
        return named
    name = next((n for i, n in listing.chains.items() if i.casefold() == chain.casefold()), chain)
    chosen = [item for item in named if item.chain.casefold() == name.casefold()]
    if not chosen:
        raise NotListed(f"{venue} has no token {token!r} on chain {chain!r}, only on {', '.join(chains)}")
    return chosen


def _only(venue: Venue, token: str, items: list[Instrument]) -> Instrument:
    """The one that trades, where the others are withdrawn listings of the same name."""
    trading = [item for item in items if item.status is InstrumentStatus.TRADING]
    candidates = trading or items
    if len(candidates) > 1:
        symbols = sorted(item.symbol for item in candidates)
        raise Ambiguous(f"{venue} has {token!r} more than once: ask for one of {', '.join(symbols)}", symbols)
    return candidates[0]


def _no_symbol(venue: Venue, symbol: str, listing: Listing) -> NotListed:
    return NotListed(f"{venue} has no symbol {symbol!r}", _close(symbol, listing.instruments))


def _close(wanted: str, names: Iterable[str]) -> list[str]:
    """Names that look alike, whatever their case."""
    by_fold = {name.casefold(): name for name in names}
    return [by_fold[fold] for fold in difflib.get_close_matches(wanted.casefold(), by_fold, n=3)]
