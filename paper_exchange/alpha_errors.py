"""Alpha's refusals: the code and text of each (binance-alpha 3.9).

The codes of session, balance, minimum and parameter errors are the venue's own. Nobody has
published the others (their mark is "unknown"), so they are this imitation's choice, none of them
equal to a known code, and `alpha.error_codes` of the configuration can replace each by name.
"""

from collections.abc import Mapping

from paper_exchange.config import Instrument
from paper_exchange.http import Response, json_response
from paper_exchange.model import Refusal, Refused
from paper_exchange.numbers import text

SUCCESS = "000000"
PARAMETER = "000002"
SESSION_INVALID = {"code": "100002001", "message": "登录状态已经失效，请重新登录！", "success": False}
STEP_TEXT = "Order amount must be an integer multiple of the minimum amount movement."

CODES: dict[str, str] = {
    Refusal.INSUFFICIENT_BALANCE: "481020",
    Refusal.MIN_NOTIONAL: "481013",
    Refusal.MAX_NOTIONAL: "481014",
    Refusal.LOT_SIZE: "481011",
    Refusal.PRICE_FILTER: "481012",
    Refusal.PERCENT_PRICE: "481015",
    Refusal.MAX_NUM_ORDERS: "481016",
    Refusal.UNKNOWN_ORDER: "481017",
    Refusal.PENDING_NOT_CANCELLABLE: "481018",
    Refusal.NOT_TRADING: "481019",
    Refusal.UNKNOWN_SYMBOL: PARAMETER,
    "verification_required": "481030",
    "busy": "481031",
}

TEXTS: dict[str, str] = {
    Refusal.INSUFFICIENT_BALANCE: "Insufficient balance.",
    Refusal.LOT_SIZE: STEP_TEXT,
    Refusal.PRICE_FILTER: "Order price must be an integer multiple of the minimum price movement.",
    Refusal.PERCENT_PRICE: "Order price exceeds the allowed range.",
    Refusal.MAX_NUM_ORDERS: "Too many open orders.",
    Refusal.UNKNOWN_ORDER: "Order does not exist.",
    Refusal.PENDING_NOT_CANCELLABLE: "Order cannot be cancelled.",
    Refusal.NOT_TRADING: "Trading of this token is closed.",
    Refusal.UNKNOWN_SYMBOL: "Invalid symbol.",
    "verification_required": "Additional verification must be completed.",
    "busy": "An asynchronous operation is in progress, please try again later.",
}


class ParameterError(Exception):
    """The request itself is wrong: code 000002 with this text."""


def failure(code: str, message: str) -> Response:
    return json_response(
        {"code": code, "message": message, "messageDetail": None, "data": None, "success": False}
    )


def refusal(refused: Refused, instrument: Instrument | None, overrides: Mapping[str, str]) -> Response:
    """The venue's answer to a refusal."""
    reason = refused.reason
    message = TEXTS.get(reason, "Order refused.")
    if instrument is not None and reason is Refusal.MIN_NOTIONAL:
        message = f"Total must be greater than {text(instrument.min_notional)}"
    if instrument is not None and reason is Refusal.MAX_NOTIONAL:
        message = f"Total must be less than {text(instrument.max_notional)}"
    return failure(overrides.get(reason, CODES.get(reason, PARAMETER)), message)
