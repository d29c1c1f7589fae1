"""Aggregate trades, from frames and from REST rows: both venues spell them alike.

Whatever cannot be a trade (no JSON, a price that is no positive number, a time in the future)
is refused with ValueError, never believed and never fatal. Unknown fields pass.
"""

from datetime import datetime

import msgspec

from market_service.venues.port import Tick
from otopilot import money
from otopilot.clock import from_ms, to_ms

SHUTDOWN = "serverShutdown"
AHEAD_MS = 5_000  # how far the venue's clock may run ahead of ours


class StreamEnds(Exception):
    """The venue refuses what was asked on this socket."""


class Acknowledged(msgspec.Struct, frozen=True):
    """A control message was accepted."""

    message_id: int


class Leaving(msgspec.Struct, frozen=True):
    """The venue will end this socket soon."""


class AggregateTrade(msgspec.Struct):
    """The payload `data` of an aggTrade frame, and a row of the REST answer (there without s, E, e)."""

    e: str = ""
    E: int = 0
    s: str = ""
    a: int = 0
    p: str = ""
    T: int = 0


class _Frame(msgspec.Struct):
    e: str = ""  # of an event that is not wrapped
    stream: str = ""
    data: AggregateTrade | None = None
    id: int | str | None = None
    code: int | None = None
    msg: str = ""
    error: object = None


_frames = msgspec.json.Decoder(_Frame)
_rows = msgspec.json.Decoder(list[AggregateTrade])


def read_frame(raw: bytes, now: datetime) -> Tick | Acknowledged | Leaving | None:
    """What a frame tells; none when that is nothing.

    Raises StreamEnds and, for garbage, ValueError.
    """
    try:
        frame = _frames.decode(raw)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    if frame.data is None:
        if frame.error is not None or frame.code is not None:
            raise StreamEnds(f"refused: {raw[:200].decode(errors='replace')}")
        if frame.stream:
            raise ValueError(f"stream {frame.stream[:40]!r} without data")
        if frame.e == SHUTDOWN:
            return Leaving()
        return Acknowledged(frame.id) if isinstance(frame.id, int) else None
    if frame.data.e == SHUTDOWN:
        return Leaving()
    if frame.data.e != "aggTrade" or not frame.data.s:
        raise ValueError(f"event {frame.data.e[:40]!r} of symbol {frame.data.s[:40]!r} was not asked for")
    return tick_of(frame.data, frame.data.s, now)


def newest_of_rows(raw: bytes, symbol: str, now: datetime) -> Tick | None:
    """The newest trade of a REST answer's array; none when it is empty. Raises ValueError."""
    try:
        return newest(_rows.decode(raw), symbol, now)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None


def newest(rows: list[AggregateTrade], symbol: str, now: datetime) -> Tick | None:
    """The newest of these rows; none when there are none. Raises ValueError."""
    if not rows:
        return None
    return tick_of(max(rows, key=lambda row: (row.T, row.a)), symbol, now)


def tick_of(row: AggregateTrade, symbol: str, now: datetime) -> Tick:
    """A trade that can be believed. Raises ValueError."""
    price = money.parse(row.p)
    if price <= 0:
        raise ValueError(f"price {row.p} of {symbol} is not above zero")
    latest = to_ms(now) + AHEAD_MS
    if not 0 < row.T <= latest or not 0 <= row.E <= latest:
        raise ValueError(
            f"time {row.T} (sent {row.E}) of {symbol} is not a time of the past; now is {latest}"
        )
    return Tick(symbol, price, from_ms(row.T), row.a, from_ms(row.E) if row.E else None)
