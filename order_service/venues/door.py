"""How long a venue's door stays shut after it refused: as it told, else by the way it refused. Pure.

403, 418 and 429 are refusals at the door, of the whole address (architecture 5.4). A ban is no matter of
one minute: 418 means two minutes to three days, 403 some minutes (binance-spot 8).
"""

import re
from datetime import datetime, timedelta

from otopilot.clock import from_ms

REFUSING = (403, 418, 429)
LONGEST = timedelta(days=3)
MOST_AHEAD = timedelta(hours=1)  # a clock that differs by more is none
_UNTOLD = {418: timedelta(seconds=120), 403: timedelta(seconds=300)}
_ELSE = timedelta(seconds=60)
_BANNED_UNTIL = re.compile(r"banned until ([0-9]{13})(?![0-9])", re.ASCII)


def untold(status: int) -> timedelta:
    """For how long, when the venue does not say."""
    return _UNTOLD.get(status, _ELSE)


def told(retry_after: str) -> timedelta | None:
    """The seconds of a Retry-After header; none when it says nothing."""
    known = retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 9
    return timedelta(seconds=int(retry_after)) if known else None


def opens_at(
    status: int, wait: timedelta | None, now: datetime, *, said: str = "", ahead: timedelta = timedelta()
) -> datetime:
    """When it may be tried again; `wait` as told, `said` in words, by a clock that is `ahead` of ours.

    The later one holds. What was over before it was told says nothing.
    """
    ends = now + (wait if wait is not None and wait > timedelta() else untold(status))
    named = _BANNED_UNTIL.search(said)
    if named is not None and status == 418:
        ends = max(ends, from_ms(int(named[1])) - (ahead if abs(ahead) <= MOST_AHEAD else timedelta()))
    return min(ends, now + LONGEST)
