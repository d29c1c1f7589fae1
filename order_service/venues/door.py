"""When a venue's door opens again after it refused: as it told in numbers or in words. Pure."""

import re
from datetime import datetime, timedelta

from otopilot.clock import from_ms
from otopilot.door import LONGEST, shut_for

MOST_AHEAD = timedelta(hours=1)  # a clock that differs by more is none
_BANNED_UNTIL = re.compile(r"banned until ([0-9]{13})(?![0-9])", re.ASCII)


def opens_at(
    status: int, wait: timedelta | None, now: datetime, *, said: str = "", ahead: timedelta = timedelta()
) -> datetime:
    """When it may be tried again; `wait` as told, `said` in words, by a clock that is `ahead` of ours.

    The later one holds. What was over before it was told says nothing.
    """
    ends = now + shut_for(status, wait)
    named = _BANNED_UNTIL.search(said)
    if named is not None and status == 418:
        ends = max(ends, from_ms(int(named[1])) - (ahead if abs(ahead) <= MOST_AHEAD else timedelta()))
    return min(ends, now + LONGEST)
