"""Reading a venue's JSON: every number as text first, every wrong shape as Unreadable. Pure.

Parsers use these few functions and nothing else, so that no float is ever made and no answer,
however broken, raises anything but Unreadable.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn

from otopilot.clock import from_ms
from otopilot.money import ZERO

Row = Mapping[str, Any]

# The venues write plain decimals; a zero from their big-decimal library may come as 0E-8.
_AMOUNT = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
_YEAR_9999_MS = 253_402_300_799_999


# What a key, a signature, a session or a listen key looks like; no word of the venues' does.
_TOKEN = re.compile(r"(?=[A-Za-z+/=_.%-]*[0-9])[A-Za-z0-9+/=_.%-]{24,}")
_LONGEST_SAID = 200


class Unreadable(Exception):
    """The answer does not look as the venue's document says. The text names the field, not its value."""


def decode(document: bytes | str) -> Any:
    """The document with all its numbers as text. Raises Unreadable."""
    try:
        return _DECODER.decode(document if isinstance(document, str) else document.decode())
    except (ValueError, RecursionError):
        raise Unreadable("not JSON") from None


def row_of(value: Any, what: str) -> Row:
    """An object."""
    if not isinstance(value, dict):
        raise Unreadable(f"{what}: not an object")
    return value


def rows_of(value: Any, what: str) -> Sequence[Row]:
    """A list of objects."""
    if not isinstance(value, list):
        raise Unreadable(f"{what}: not a list")
    return [row_of(item, what) for item in value]


def text_of(row: Row, key: str, default: str | None = None) -> str:
    """A text or a number as text; the default when it is absent or null."""
    value = row.get(key)
    if isinstance(value, str):
        return value
    if value is None and default is not None:
        return default
    raise Unreadable(f"{key}: not a text")


def id_of(row: Row, key: str) -> str:
    """An id: text or number, not empty."""
    value = text_of(row, key)
    if not value:
        raise Unreadable(f"{key}: empty")
    return value


def number_of(row: Row, key: str) -> str:
    """An id that is a whole number, not negative; as text."""
    value = row.get(key)
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise Unreadable(f"{key}: not a number")
    return value


def amount_of(row: Row, key: str, default: Decimal | None = None) -> Decimal:
    """An amount, exact; the default when it is absent, null or empty."""
    value = row.get(key)
    if value in (None, "") and default is not None:
        return default
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise Unreadable(f"{key}: not an amount")
    return Decimal(value)


def not_negative_of(row: Row, key: str, default: Decimal | None = None) -> Decimal:
    """An amount of something there is: zero or more (reliability 60)."""
    value = amount_of(row, key, default)
    if value < 0:
        raise Unreadable(f"{key}: below zero")
    return value


def above_zero_of(row: Row, key: str) -> Decimal:
    """An amount of something that happened: nothing trades at no price or in no quantity (reliability 60)."""
    value = amount_of(row, key)
    if value <= 0:
        raise Unreadable(f"{key}: not above zero")
    return value


def positive_of(row: Row, key: str) -> Decimal | None:
    """An amount whose zero or absence means "no such rule"; none is below zero."""
    value = not_negative_of(row, key, ZERO)
    return value if value > 0 else None


def whole_of(row: Row, key: str, default: int | None = None) -> int:
    """A whole number; the default when it is absent or null."""
    value = row.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not _WHOLE.fullmatch(value):
        raise Unreadable(f"{key}: not a whole number")
    return int(value)


def moment_of(row: Row, *keys: str) -> datetime:
    """Epoch milliseconds of the first of the keys that is there."""
    for key in keys:
        if row.get(key) is not None:
            milliseconds = whole_of(row, key)
            if not 0 <= milliseconds <= _YEAR_9999_MS:
                raise Unreadable(f"{key}: not a time")
            return from_ms(milliseconds)
    raise Unreadable(f"{keys[0]}: not a time")


def flag_of(row: Row, key: str) -> bool:
    """True or false."""
    value = row.get(key)
    if not isinstance(value, bool):
        raise Unreadable(f"{key}: neither true nor false")
    return value


def quoted(said: str) -> str:
    """A venue's own text, cut, without anything in it that may be a credential's: it may quote a request."""
    return _TOKEN.sub("[...]", said)[:_LONGEST_SAID]


def _refuse(_: str) -> NoReturn:
    raise ValueError("not a number")


_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_refuse)
