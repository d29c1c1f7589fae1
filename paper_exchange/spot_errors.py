"""Spot's refusals: code, text and HTTP status of each (binance-spot 1.5, 2.3, 10.2).

Texts are the venue's own, byte for byte, because clients match on them. Where its documents give
a code without a text, the text is this imitation's and the comment says so.
"""

from typing import Any

from paper_exchange.model import Refusal, Refused

# What leaves open whether anything happened is a 5xx; that of a timeout is a switch (binance-spot 10.1).
_STATUSES = {
    -1000: 500,
    -1001: 500,
    -1002: 401,
    -1003: 429,
    -1006: 500,
    -1007: 504,
    -1008: 503,
    -1015: 429,
    -1016: 500,
    -1034: 429,
    -2014: 401,
    -2015: 401,
}
TIMEOUT = -1007

INSUFFICIENT = "Account has insufficient balance for requested action."
UNKNOWN_ORDER = "Unknown order sent."

REFUSALS: dict[Refusal, tuple[int, str]] = {
    Refusal.UNKNOWN_SYMBOL: (-1121, "Invalid symbol."),
    Refusal.NOT_TRADING: (-2010, "Market is closed."),
    Refusal.INSUFFICIENT_BALANCE: (-2010, INSUFFICIENT),
    Refusal.PRICE_FILTER: (-1013, "Filter failure: PRICE_FILTER"),
    Refusal.LOT_SIZE: (-1013, "Filter failure: LOT_SIZE"),
    Refusal.MIN_NOTIONAL: (-1013, "Filter failure: NOTIONAL"),
    Refusal.MAX_NOTIONAL: (-1013, "Filter failure: NOTIONAL"),
    Refusal.PERCENT_PRICE: (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    Refusal.MAX_NUM_ORDERS: (-2010, "Filter failure: MAX_NUM_ORDERS"),
    Refusal.MAX_NUM_ORDER_LISTS: (-2010, "Filter failure: MAX_NUM_ORDER_LISTS"),
    Refusal.DUPLICATE_CLIENT_ID: (-2010, "Duplicate order sent."),
    Refusal.WOULD_MATCH: (-2010, "Order would immediately match and take."),
    Refusal.LIST_NOT_ALLOWED: (-2010, "OTO orders are not supported for this symbol."),
    Refusal.UNKNOWN_ORDER: (-2011, UNKNOWN_ORDER),
    Refusal.PENDING_NOT_CANCELLABLE: (-2011, UNKNOWN_ORDER),
    Refusal.NOT_PERMITTED: (-2010, "This symbol is not permitted for this account."),
    Refusal.MAX_POSITION: (-2010, "Filter failure: MAX_POSITION"),
    Refusal.MAX_ASSET: (-1013, "Filter failure: MAX_ASSET"),
    Refusal.EXCHANGE_MAX_NUM_ORDERS: (-2010, "Filter failure: EXCHANGE_MAX_NUM_ORDERS"),
    Refusal.EXCHANGE_MAX_NUM_ORDER_LISTS: (-2010, "Filter failure: EXCHANGE_MAX_NUM_ORDER_LISTS"),
    Refusal.AMEND_NOT_ALLOWED: (-2038, "Order amend is not supported for this symbol."),
    Refusal.AMEND_UPWARD: (-2038, "Order amend (quantity increase) is not supported."),
    Refusal.AMEND_OF_NOTHING: (-2038, "The requested action would change no state; rejecting"),
    Refusal.MAX_NUM_ORDER_AMENDS: (-2038, "Filter failure: MAX_NUM_ORDER_AMENDS"),
    Refusal.WOULD_TRIGGER: (-2010, "Order would trigger immediately."),
    Refusal.MAX_NUM_ALGO_ORDERS: (-2010, "Filter failure: MAX_NUM_ALGO_ORDERS"),
    Refusal.ICEBERG_PARTS: (-1013, "Filter failure: ICEBERG_PARTS"),
    Refusal.ICEBERG_EXCEEDS: (-2010, "IcebergQty exceeds QTY."),
    Refusal.NO_LIQUIDITY: (-2010, "Order book liquidity is less than symbol minimum quantity."),
}


class SpotError(Exception):
    """A refusal in the venue's words; `retry_ms` is when a limit ends, `data` what a part of it did."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: int | None = None,
        retry_ms: int | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = _STATUSES.get(code, 400) if status is None else status
        self.retry_ms = retry_ms
        self.data = data


def status_of(code: int) -> int:
    """The HTTP status that goes with a code."""
    return _STATUSES.get(code, 400)


def refusal(refused: Refused) -> SpotError:
    """The core's no in the venue's words."""
    if refused.reason is Refusal.LIST_NOT_ALLOWED:
        return SpotError(-2010, f"{refused.detail} orders are not supported for this symbol.")
    code, text = REFUSALS[refused.reason]
    # The code of this filter is not known.
    return SpotError(int(refused.detail) if refused.reason is Refusal.MAX_ASSET else code, text)


def amend_refusal(refused: Refused) -> SpotError:
    """The engine's no to an amendment has a code of its own, whatever the reason (binance-spot 10.2)."""
    found = refusal(refused)
    return SpotError(-2038, found.message) if found.code in (-2010, -2011) else found


def missing(name: str) -> SpotError:
    return SpotError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def both_missing(one: str, other: str) -> SpotError:
    return SpotError(-1102, f"Param '{one}' or '{other}' must be sent, but both were empty/null!")


def illegal(name: str, legal: str) -> SpotError:
    return SpotError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def not_required(name: str) -> SpotError:
    return SpotError(-1106, f"Parameter '{name}' sent when not required.")


def not_valid(name: str) -> SpotError:
    return SpotError(-1130, f"Data sent for parameter '{name}' is not valid.")


def bad_combination() -> SpotError:
    return SpotError(-1128, "Combination of optional parameters invalid.")


def bad_key() -> SpotError:
    return SpotError(-2015, "Invalid API-key, IP, or permissions for action.")


def too_late() -> SpotError:
    return SpotError(-1021, "Timestamp for this request is outside of the recvWindow.")


def timed_out(status: int) -> SpotError:
    text = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
    return SpotError(TIMEOUT, text, status=status)


def bad_time_unit() -> SpotError:
    return SpotError(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")


def bad_symbol() -> SpotError:
    return SpotError(*REFUSALS[Refusal.UNKNOWN_SYMBOL])


def too_far(hours: int) -> SpotError:
    return SpotError(-1127, f"More than {hours} hours between startTime and endTime.")
