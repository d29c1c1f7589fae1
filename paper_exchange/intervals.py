"""Candle intervals of both venues: where each begins and ends, and candles of them (binance-spot 2.1)."""

from datetime import UTC, datetime

import msgspec

from paper_exchange.tape import Candle, Tape

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
MONDAY_MS = 4 * DAY_MS  # the epoch was a Thursday
MONTH = "1M"

LENGTHS = {
    "1s": 1000,
    "15s": 15_000,  # Alpha's alone
    **{f"{n}m": n * MINUTE_MS for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * HOUR_MS for n in (1, 2, 4, 6, 8, 12)},
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
    MONTH: DAY_MS,
}

OF_SPOT = LENGTHS.keys() - {"15s"}


def candles(tape: Tape, interval: str, shift_ms: int = 0) -> list[Candle]:
    """Candles of an interval, oldest first; `shift_ms` is how far the client's day is ahead of UTC."""
    start = MONDAY_MS if interval == "1w" else 0
    found = tape.klines(LENGTHS[interval], start - shift_ms)
    if interval != MONTH:
        return found
    months: list[Candle] = []
    for day in found:
        opened = _month(day.open_ms + shift_ms)[0] - shift_ms
        if months and months[-1].open_ms == opened:
            months[-1].absorb(day)
        else:
            months.append(msgspec.structs.replace(day, open_ms=opened))
    return months


def last_ms(open_ms: int, interval: str, shift_ms: int = 0) -> int:
    """The last millisecond of the candle that opened then."""
    if interval == MONTH:
        return _month(open_ms + shift_ms)[1] - shift_ms - 1
    return open_ms + LENGTHS[interval] - 1


def _month(at_ms: int) -> tuple[int, int]:
    """First moment of the month and of the next one."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    first = datetime(at.year, at.month, 1, tzinfo=UTC)
    after = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return int(first.timestamp() * 1000), int(after.timestamp() * 1000)
