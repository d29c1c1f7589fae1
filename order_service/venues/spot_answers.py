"""What an answer of Spot's proves, by REST or over the WS API: its content, or one of the port's failures.

Pure. A code that is not in the tables here is never a no (architecture 5.4, binance-spot 10).
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from order_service.venues.door import opens_at
from order_service.venues.fields import Row, Unreadable, decode, moment_of, quoted, row_of, text_of, whole_of
from order_service.venues.port import (
    CredentialRefused,
    RateLimited,
    Response,
    TooManyOrders,
    VenueBusy,
    VenueError,
    VenueRefused,
    VenueSilent,
)
from otopilot import door
from otopilot.order import INSUFFICIENT_BALANCE

_BUSY = timedelta(seconds=90)  # "back off minutes"

# What the venue surely did not do, by code; our word where something above may act on it.
_REFUSED_CODES: dict[str, str] = {
    "-1013": "filter",
    "-1021": "clock",
    "-1022": "bad_signature",
    "-1111": "bad_precision",
    "-1121": "unknown_symbol",
    "-2010": "refused",
    "-2011": "not_open",
    "-2013": "no_such_order",
    "-2026": "archived",
} | {
    f"-{number}": f"-{number}"
    for numbers in (
        (1014, 1020, 1099, 1108, 1112, 1151, 1158, 1159, 1160, 1165, 1166, 1168, 1194, 1220),
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
_BUSY_CODE = "-1008"  # overloaded: it may have happened all the same
GOING_CODE = "-1016"  # the server is going: elsewhere there is another
_DUPLICATE = "duplicate order sent"  # after a lost answer the proof that the first one lives
_INSUFFICIENT = "insufficient balance"
_ENGINE_CODE = "-1010"  # wraps what the engine said: a no where these words are one, letter for letter (10.2)
_ENGINE_SAYS = re.compile(
    r"Account has insufficient balance for requested action\."
    r"|Market is closed\."
    r"|This symbol is (not permitted|restricted) for this account\."
    r"|This account may not place or cancel orders\."
    r"|This action is disabled on this account\."
    r"|Order would (immediately match and take|trigger immediately)\."
    r"|Price \* QTY is zero or less\."
    r"|IcebergQty exceeds QTY\."
    r"|Unsupported order combination"
    r"|(Stop loss|OPO) orders are not supported for this symbol\."
    r"|OCO orders are not supported for this symbol"
    r"|Filter failure: [A-Z_]+"
    r"|The relationship of the prices for the orders is not correct\."
    r"|(Rest|WebSocket) API trading is not enabled\."
    r"|This order type is not possible in this trading phase\."
    r"|Limit orders require GTC for this phase\."
)

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
    code, said = code if isinstance(code, str) else "", said if isinstance(said, str) else ""
    wait = door.told(response.headers.get("retry-after", ""))
    until = opens_at(status, wait, now, said=said)
    raise failure(status, code, said, until, now)


def failure(status: int, code: str, said: str, until: datetime, now: datetime) -> VenueError:
    """The port's failure for an error answer; `until`: when calls may go on if it is a limit."""
    code = quoted(code)[:20]
    message = f"{quoted(said)} (code {code or 'none'}, HTTP {status})"
    if code == _ORDER_COUNT_CODE:
        return TooManyOrders(code, message, until)
    if status in door.REFUSING:
        return RateLimited(code or f"http_{status}", message, until)
    if code == _BUSY_CODE:
        return VenueBusy(code, message, now + _BUSY)
    if not 400 <= status < 500 or status == 409:
        return VenueSilent(code or f"http_{status}", message)
    if code in _LIMIT_CODES:
        return RateLimited(code, message, until)
    if code in _CREDENTIAL_CODES:
        return CredentialRefused("not_permitted", message)
    known = code in _REFUSED_CODES or (code == _ENGINE_CODE and _ENGINE_SAYS.fullmatch(said) is not None)
    if not known or (code == "-2010" and _DUPLICATE in said.lower()):
        return VenueSilent(code or f"http_{status}", message)
    word = INSUFFICIENT_BALANCE if _INSUFFICIENT in said.lower() else _REFUSED_CODES.get(code, "refused")
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
    said = text_of(row, "msg", "")
    raise failure(status, text_of(row, "code", ""), said, _retry_at(row, status, said, now), now)


def _retry_at(error: Row, status: int, said: str, now: datetime) -> datetime:
    """A limit's end: here an epoch time, unlike REST's seconds (binance-spot 6)."""
    detail, wait, ahead = error.get("data"), None, timedelta()
    if isinstance(detail, dict):
        try:
            # By the venue's own clock, of which it tells the time beside it: ours may differ.
            told_at = moment_of(detail, "serverTime") if "serverTime" in detail else now
            wait = moment_of(detail, "retryAfter") - told_at if "retryAfter" in detail else None
            ahead = told_at - now
        except Unreadable:
            wait = None
    return opens_at(status, wait, now, said=said, ahead=ahead)


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
