"""Exact decimals: the only arithmetic on amounts inside the paper exchange.

Products are taken in a context wide enough to be exact for every filter a venue publishes, so
rounding happens only where a venue document names it (binance-alpha 4.3).
"""

from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal, InvalidOperation

EXACT = Context(prec=60)
ZERO = Decimal(0)
HUNDRED = Decimal(100)


def product(left: Decimal, right: Decimal) -> Decimal:
    """The exact product."""
    return EXACT.multiply(left, right)


def cut(value: Decimal, places: int) -> Decimal:
    """Truncated to so many decimals, as the venue books quote amounts."""
    return value.quantize(Decimal(1).scaleb(-places), ROUND_DOWN, EXACT)


def half_up(value: Decimal, places: int) -> Decimal:
    """Rounded half up, as the venue books fees."""
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, EXACT)


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The greatest multiple of step that is not above value."""
    return product(EXACT.divide(value, step).to_integral_value(ROUND_DOWN), step)


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether value lies on the grid of step."""
    return EXACT.remainder(value, step) == 0


def text(value: Decimal) -> str:
    """Plain digits: no exponent, no trailing zeros."""
    plain = format(value, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain in ("", "-0") else plain


def padded(value: Decimal, places: int) -> str:
    """Plain digits with at least so many decimals."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > places:
        value = Decimal(text(value))
        exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -exponent < places:
        value = value.quantize(Decimal(1).scaleb(-places), context=EXACT)
    return format(value, "f")


def amount(raw: object) -> Decimal:
    """A finite decimal from a JSON string or number literal; ValueError for anything else."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
        raise ValueError(f"not an amount: {raw!r}")
    try:
        value = Decimal(raw)
    except InvalidOperation as error:
        raise ValueError(f"not an amount: {raw!r}") from error
    if not value.is_finite() or abs(value.adjusted()) > 25 or len(value.as_tuple().digits) > 28:
        raise ValueError(f"not an amount: {raw!r}")
    return value
