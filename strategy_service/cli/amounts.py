"""Amounts for people: exact text in, few digits out, never more than there is.

Cutting is toward zero; JSON output never comes through here, it keeps every digit.
"""

from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal, InvalidOperation

from otopilot import money

NOTHING = "–"
MOST_SHOWN = 10  # of a list that may be of any length


def decimal(text: str) -> Decimal:
    """The amount of a field; a field that is empty counts as zero."""
    return Decimal(text) if text else money.ZERO


def short(text: str, places: int = 2) -> str:
    """The amount cut to so many places; one that would vanish keeps its first two digits."""
    if not text:
        return NOTHING
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return text  # not ours to judge here: show what was sent
    cut = money.truncate(amount, places)
    if not cut and amount:
        cut = amount.quantize(Decimal(1).scaleb(amount.adjusted() - 1), rounding=ROUND_DOWN)
    return money.text(cut)


def fixed(text: str, places: int = 2) -> str:
    """As short(), with all its places, so that columns line up."""
    if not text:
        return NOTHING
    return format(money.truncate(Decimal(text), places), "f")


def first(items: Sequence[str], where: str) -> str:
    """The first ten, and how many more there are, with the command that shows them."""
    shown = ", ".join(items[:MOST_SHOWN])
    return f"{shown} {more(len(items), where)}".rstrip()


def more(count: int, where: str) -> str:
    """What is not shown of so many items; empty when all of them are."""
    return f"… and {count - MOST_SHOWN} more (`{where}`)" if count > MOST_SHOWN else ""


def duration(seconds: float) -> str:
    """m:ss, or h:mm:ss; a dash when it cannot be said."""
    if seconds < 0:
        return NOTHING
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def enum_word(name: str, prefix: str) -> str:
    """ORDER_STATE_IN_DOUBT with prefix ORDER_STATE_ is "in doubt"."""
    return name.removeprefix(prefix).lower().replace("_", " ")
