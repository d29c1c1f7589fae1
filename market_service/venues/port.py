"""What the public side of a venue can do, and the one way it fails.

Reads change nothing, so there is no "did it happen?" here: a read that brought nothing
believable is Unavailable, whatever the cause, and may be repeated once its `retry_after`
has passed.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import msgspec

from otopilot.instrument import Instrument, Venue


class Unavailable(Exception):
    """The venue could not be read. The message names the venue, its address and the cause."""

    def __init__(self, venue: Venue, url: str, cause: str, *, retry_after: float = 0.0) -> None:
        super().__init__(f"{venue}: {url} cannot be read: {cause}")
        self.venue = venue
        self.url = url
        self.cause = cause
        self.retry_after = retry_after  # seconds in which asking again is pointless


class ReadRefused(Unavailable):
    """The venue understood the read and said no (a symbol it does not have, say)."""


class Tick(msgspec.Struct, frozen=True):
    """The last trade of a symbol as the venue tells it; all times are the venue's."""

    symbol: str
    price: Decimal  # quote per base, above zero
    traded_at: datetime
    trade_id: int  # the aggregate trade's; orders trades of one instant
    sent_at: datetime | None = None  # when a frame left the venue; none for a read

    def is_newer_than(self, other: "Tick") -> bool:
        """Was this trade made after the other?"""
        return (self.traded_at, self.trade_id) > (other.traded_at, other.trade_id)

    def is_same_trade_as(self, other: "Tick") -> bool:
        """Is it the same trade, told again?"""
        return (self.traded_at, self.trade_id) == (other.traded_at, other.trade_id)


class Reading(msgspec.Struct, frozen=True):
    """A last trade that was read by REST; `asked_at` is on our clock."""

    tick: Tick
    asked_at: datetime


class FeeRates(msgspec.Struct, frozen=True):
    """Public fees as fractions: of a BUY from the base received, of a SELL from the quote received."""

    buy: Decimal
    sell: Decimal


class Listing(msgspec.Struct, frozen=True):
    """Everything a venue lists, at one moment."""

    instruments: Mapping[str, Instrument]  # by symbol
    chains: Mapping[str, str] = {}  # a chain's name, by its id; empty on Spot
    unreadable: Mapping[str, str] = {}  # symbols whose rules could not be understood, and why


class Line(Protocol):
    """One socket that carries the trades of several symbols."""

    @property
    def has_room(self) -> bool:
        """May another symbol be added?"""
        ...

    def add(self, symbol: str) -> None:
        """Carry this symbol too, from now on and after every reconnect."""
        ...

    def drop(self, symbol: str) -> None:
        """Carry this symbol no more."""
        ...

    def vouch(self, symbol: str) -> None:
        """A read agrees with what the socket said: its silence is the market's, not its own."""
        ...

    def missed(self, symbol: str) -> None:
        """A read brought a trade that the socket did not bring."""
        ...

    async def run(self) -> None:
        """Keep the socket up until cancelled."""
        ...


OnTick = Callable[[Tick], None]  # must return at once


class MarketVenue(Protocol):
    """The public side of one venue. Concrete classes are named only in __main__."""

    @property
    def venue(self) -> Venue:
        """Which one."""
        ...

    @property
    def url(self) -> str:
        """Where its REST reads go, for messages."""
        ...

    @property
    def symbols_per_read(self) -> int:
        """How many symbols with a known trade one call of last_trades() takes cheaply."""
        ...

    async def listing(self) -> Listing:
        """Every instrument. Raises Unavailable."""
        ...

    async def fee_rates(self, symbol: str) -> FeeRates | None:
        """The public fee rates; none where the venue publishes none. Raises Unavailable."""
        ...

    def last_trades(self, known: Mapping[str, Tick | None]) -> AsyncIterator[Reading]:
        """The last trade of each symbol that has one, as they come.

        `known` holds what is believed so far; a venue may answer that very tick when a cheaper
        read confirms its price. Raises Unavailable, perhaps after some of them.
        """
        ...

    def line(self, on_tick: OnTick, wanted: Callable[[], bool]) -> Line:
        """A socket, not yet running. `wanted` says whether anyone follows what it carries."""
        ...
