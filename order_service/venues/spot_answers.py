"""What an answer of Spot's proves, by REST or over the WS API: its content, or one of the port's failures.

Pure. A code that is not in the tables here is never a no (architecture 5.4, binance-spot 10).
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from order_service.venues.fields import Row, Unreadable, decode, moment_of, quoted, row_of, text_of, whole_of
from order_service.venues.port import (
    CredentialRefused,
    RateLimited,
    Response,
    TooManyOrders,
    VenueError,
    VenueRefused,
    VenueSilent,
)

_RATE_LIMIT_SECONDS = 60.0
_LONGEST_RETRY_SECONDS = 3 * 86400.0

# What the venue surely did not do, by code; our word where something above may act on it.
_REFUSED_CODES: dict[str, str] = {
    "-1013": "filter",
    "-1021": "clock",
    "-1022": "bad_signature",
    "-1121": "unknown_symbol",
    "-2010": "refused",
    "-2011": "not_open",
    "-2013": "no_such_order",
    "-2026": "archived",
} | {
    f"-{number}": f"-{number}"
    for numbers in (
        (1014, 1020, 1099, 1108, 1111, 1112, 1151, 1158, 1159, 1160, 1165, 1166, 1168, 1194, 1220),
        range(1100, 1107),
        range(1114, 1121),
        (1122, 1127, 1128, 1130, 1131, 1134, 1135, 1145, 1210, 1211),
        range(1196, 1200),
        range(1222, 1226),
        (2016, 2035, 2036, 2039, 2042, 2043),
    )
    for number in numbers
}
_CREDENTIAL_CODES = frozenset({"-1002", "-2008", "-2014", "-2015"})
_LIMIT_CODES = frozenset({"-1003", "-1034"})
_ORDER_COUNT_CODE = "-1015"  # of one account, whoever else is behind this address
_DUPLICATE = "duplicate order sent"  # after a lost answer the proof that the first one lives
_INSUFFICIENT = "insufficient balance"

_ORDER_COUNT = re.compile(r"x-mbx-order-count-([0-9]{1,3})([smhd])")
_HEADER_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_INTERVALS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400}


# ------------------------------------------------------------------ REST


def answer_of(response: Response, now: datetime) -> Any:
    """The content of a 200; otherwise the failure that the answer proves (binance-spot 10.1)."""
    status = response.status
    try:
        content = decode(response.body)
    except Unreadable:
        if status == 200:
            raise VenueSilent("unreadable", "not JSON") from None
        content = None
    if status == 200:
        return content
    error = content if isinstance(content, dict) else {}
    code, said = error.get("code"), error.get("msg")
    retry = response.headers.get("retry-after", "")
    seconds = int(retry) if retry.isascii() and retry.isdigit() and len(retry) < 9 else _RATE_LIMIT_SECONDS
    until = now + timedelta(seconds=min(float(seconds), _LONGEST_RETRY_SECONDS))
    raise failure(status, code if isinstance(code, str) else "", said if isinstance(said, str) else "", until)


def failure(status: int, code: str, said: str, until: datetime) -> VenueError:
    """The port's failure for an error answer; `until`: when calls may go on if it is a limit."""
    code = quoted(code)[:20]
    message = f"{quoted(said)} (code {code or 'none'}, HTTP {status})"
    if code == _ORDER_COUNT_CODE:
        return TooManyOrders(code, message, until)
    if status in (403, 418, 429):
        return RateLimited(code or f"http_{status}", message, until)
    if not 400 <= status < 500 or status == 409:
        return VenueSilent(code or f"http_{status}", message)
    if code in _LIMIT_CODES:
        return RateLimited(code, message, until)
    if code in _CREDENTIAL_CODES:
        return CredentialRefused("not_permitted", message)
    if code not in _REFUSED_CODES or (code == "-2010" and _DUPLICATE in said.lower()):
        return VenueSilent(code or f"http_{status}", message)
    word = "insufficient_balance" if _INSUFFICIENT in said.lower() else _REFUSED_CODES[code]
    return VenueRefused(word, message)


def order_counts(headers: Mapping[str, str]) -> dict[int, int]:
    """The account's unfilled orders, by the seconds of the window, as an answer's headers tell them."""
    counts = {}
    for name, text in headers.items():
        told = _ORDER_COUNT.fullmatch(name)
        if told is not None and text.isascii() and text.isdigit() and len(text) < 9:
            counts[int(told[1]) * _HEADER_UNITS[told[2]]] = int(text)
    return counts


# ------------------------------------------------------------------ WS API


def ws_result(message: Row, now: datetime) -> Any:
    """The result of a WS API answer; otherwise the failure that it proves. Raises Unreadable."""
    status = whole_of(message, "status")
    if status == 200:
        return message.get("result")
    row = row_of(message.get("error"), "error")
    raise failure(status, text_of(row, "code", ""), text_of(row, "msg", ""), _retry_at(row, now))


def _retry_at(error: Row, now: datetime) -> datetime:
    """A limit's end: here an epoch time, unlike REST's seconds (binance-spot 6)."""
    detail, unknown = error.get("data"), timedelta(seconds=_RATE_LIMIT_SECONDS)
    if not isinstance(detail, dict) or "retryAfter" not in detail:
        return now + unknown
    try:
        # By the venue's own clock, of which it tells the time beside it: ours may differ.
        told_at = moment_of(detail, "serverTime") if "serverTime" in detail else now
        wait = moment_of(detail, "retryAfter") - told_at
    except Unreadable:
        return now + unknown
    # A limit that was over before it was told says nothing about when to come back.
    return now + (min(wait, timedelta(seconds=_LONGEST_RETRY_SECONDS)) if wait > timedelta() else unknown)


def ws_used_weight(message: Row) -> int | None:
    """What the address has used in this minute, if the answer tells."""
    for kind, seconds, count in _limits_told(message):
        if (kind, seconds) == ("REQUEST_WEIGHT", 60):
            return count
    return None


def ws_order_counts(message: Row) -> dict[int, int]:
    """The account's unfilled orders, by the seconds of the window."""
    return {seconds: count for kind, seconds, count in _limits_told(message) if kind == "ORDERS"}


def _limits_told(message: Row) -> list[tuple[str, int, int]]:
    """(kind, seconds of the window, count); rows that cannot be read tell nothing."""
    rows, told = message.get("rateLimits"), []
    for row in rows if isinstance(rows, list) else []:
        try:
            seconds = whole_of(row, "intervalNum") * _INTERVALS[text_of(row, "interval")]
            told.append((text_of(row, "rateLimitType"), seconds, whole_of(row, "count")))
        except (Unreadable, KeyError, AttributeError):
            continue
    return told
