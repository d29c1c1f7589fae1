"""How long a venue's door stays shut after it refused, as far as it tells in numbers. Pure.

403, 418 and 429 are refusals at the door, of the whole address (architecture 5.4). A ban is no matter of
one minute: 418 means two minutes to three days, 403 some minutes (binance-spot 8). Both services that
call venues go by this; what becomes of the calls meanwhile is theirs.
"""

from datetime import timedelta

REFUSING = (403, 418, 429)
LONGEST = timedelta(days=3)  # whatever is told
_UNTOLD = {418: timedelta(seconds=120), 403: timedelta(seconds=300)}
_ELSE = timedelta(seconds=60)


def told(retry_after: str) -> timedelta | None:
    """The seconds of a Retry-After header; none when it says nothing."""
    known = retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 9
    return timedelta(seconds=int(retry_after)) if known else None


def shut_for(status: int, wait: timedelta | None) -> timedelta:
    """`wait` as told, else by the way it refused: no time at all tells nothing."""
    untold = _UNTOLD.get(status, _ELSE)
    return min(wait, LONGEST) if wait is not None and wait > timedelta() else untold
