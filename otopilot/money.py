"""Money: Decimal in, Decimal out.

Amounts are text on every wire and in every table, and Decimal everywhere else. No float ever
becomes an amount, and no amount is ever written with an exponent.
"""

import decimal
import re
from decimal import ROUND_DOWN, ROUND_UP, Decimal

ZERO = Decimal(0)
ONE = Decimal(1)
HUNDRED = Decimal(100)

# Sums and products of exchange amounts need at most about 40 digits; a rounded intermediate
# would be a wrong volume figure. New threads copy DefaultContext, this one is set at once.
decimal.DefaultContext.prec = 60
decimal.getcontext().prec = 60

_PLAIN = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?", re.ASCII)


def parse(text: str) -> Decimal:
    """The exact value of a plain decimal text such as "48.01706542".

    Raises ValueError for anything else: exponents, blanks, NaN, infinity, other digits.
    """
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"not a plain decimal number: {text[:40]!r}")
    return Decimal(text)


def text(amount: Decimal) -> str:
    """The amount as plain text, exact, without exponent and without trailing zeros."""
    plain = format(amount, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain in ("-0", "") else plain


def plus_percent(amount: Decimal, percentage: Decimal) -> Decimal:
    """amount x (1 + percentage / 100), exact: 100 and 0.5 give 100.5."""
    return amount * (HUNDRED + percentage) / HUNDRED


def percent_of(part: Decimal, whole: Decimal) -> Decimal:
    """part as a percentage of whole; zero when the whole is zero."""
    return part * HUNDRED / whole if whole else ZERO


def floor_to(amount: Decimal, grid: Decimal) -> Decimal:
    """The greatest multiple of grid that is not above a non-negative amount."""
    return (amount / grid).to_integral_value(ROUND_DOWN) * grid


def ceil_to(amount: Decimal, grid: Decimal) -> Decimal:
    """The least multiple of grid that is not below a non-negative amount."""
    return (amount / grid).to_integral_value(ROUND_UP) * grid


def truncate(amount: Decimal, places: int) -> Decimal:
    """The amount cut, not rounded, to so many decimal places."""
    return amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_DOWN)
