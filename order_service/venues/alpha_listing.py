"""What Alpha lists: the pairs with their rules, and the tokens it has withdrawn, each kept for five minutes.

A pair trades for us only while both lists say so. The list of tokens may never have been read: then accounts
are looked after all the same, and nothing is placed.
"""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from order_service.venues import alpha_rules
from order_service.venues.fields import Row, Unreadable
from order_service.venues.port import VenueNotReached, VenueRefused, VenueSilent
from order_service.venues.reading import HALTED_SECONDS, Kept
from otopilot import log
from otopilot.clock import Clock
from otopilot.instrument import Instrument, InstrumentStatus

LISTED_SECONDS = 300.0

_Withdrawn = Mapping[str, InstrumentStatus]  # by alpha id
_log = log.get("alpha_listing")


class AlphaListing:
    """Owns the caches of both lists; the reads are its owner's."""

    def __init__(
        self,
        clock: Clock,
        read_symbols: Callable[[], Awaitable[Mapping[str, Row]]],
        read_withdrawn: Callable[[], Awaitable[_Withdrawn]],
    ) -> None:
        self._clock = clock
        self._symbols = Kept(clock, LISTED_SECONDS, read_symbols, keep_last=True)
        self._read_withdrawn = read_withdrawn
        self._withdrawn = Kept(clock, LISTED_SECONDS, self._tokens, keep_last=True)
        self._parsed: dict[str, tuple[Row, Instrument]] = {}  # by symbol: each row once
        self._read_again_at = 0.0  # by the monotonic clock, while the list of tokens has never been read

    async def instrument(self, symbol: str) -> Instrument:
        """The rules of a symbol; VenueRefused `unknown_symbol`."""
        found = self._pair(await self._symbols.get(), symbol)
        if found.status is InstrumentStatus.TRADING:
            found = _under(found, await self._if_any(self._withdrawn.get))
        if found.status is InstrumentStatus.TRADING:
            return found
        found = self._pair(await self._symbols.get(HALTED_SECONDS), symbol)
        return _under(found, await self._if_any(lambda: self._withdrawn.get(HALTED_SECONDS)))

    async def known_instrument(self, symbol: str) -> Instrument:
        """The same, however old: a placement does not wait for a refresh."""
        found = self._pair(await self._symbols.known(), symbol)
        return _under(found, await self._if_any(self._withdrawn.known))

    async def base_asset(self, symbol: str) -> str:
        """The alpha id of a symbol's token; VenueRefused `unknown_symbol`."""
        return self._pair(await self._symbols.known(), symbol).base_asset

    def _pair(self, known: Mapping[str, Row], symbol: str) -> Instrument:
        if symbol not in known:
            raise VenueRefused("unknown_symbol", f"Alpha does not list {symbol}")
        row, kept = known[symbol], self._parsed.get(symbol)
        if kept is not None and kept[0] is row:
            return kept[1]
        try:
            found = alpha_rules.instrument(row)
        except Unreadable as error:
            raise VenueSilent("unreadable", f"{symbol}: {error}") from error
        self._parsed[symbol] = (row, found)
        return found

    def doubt(self) -> None:
        """An order was denied by the rules (see the port)."""
        self._symbols.doubt()

    async def _tokens(self) -> _Withdrawn:
        """The list of tokens; who queued for a first read that failed makes no other one."""
        if self._clock.monotonic() < self._read_again_at:
            raise VenueNotReached("unread", "the list of tokens could not be read just now")
        return await self._read_withdrawn()

    async def _if_any(self, read: Callable[[], Awaitable[_Withdrawn]]) -> _Withdrawn | None:
        """None while the list has never been read; then whoever asks does not wait for the next try."""
        if self._clock.monotonic() < self._read_again_at:
            return None
        try:
            return await read()
        except (VenueNotReached, VenueSilent) as error:
            if (now := self._clock.monotonic()) >= self._read_again_at:
                self._read_again_at = now + HALTED_SECONDS
                _log.warning("token list unread: Alpha counts as halted", error=str(error))
            return None


def _under(found: Instrument, withdrawn: _Withdrawn | None) -> Instrument:
    """The pair's rules, and what is told of its token."""
    if found.status is not InstrumentStatus.TRADING:
        return found
    told = InstrumentStatus.HALTED if withdrawn is None else withdrawn.get(found.base_asset)
    return found if told is None else msgspec.structs.replace(found, status=told)
