"""Lists that no symbol here takes: OCO, OTOCO and OPOCO are checked as far as their names go, then refused.

The venue's text for a symbol that does not allow them answers (binance-spot 4.8, 10.2).
"""

from collections.abc import Callable, Iterable

from paper_exchange.model import Account
from paper_exchange.spot_errors import SpotError
from paper_exchange.spot_finding import SpotFinding
from paper_exchange.spot_params import Params
from paper_exchange.spot_wire import Row

_LEG = (
    *("Type", "Side", "Quantity", "ClientOrderId", "Price", "StopPrice", "TrailingDelta", "IcebergQty"),
    *("TimeInForce", "StrategyId", "StrategyType", "PegPriceType", "PegOffsetType", "PegOffsetValue"),
)
_WHOLE_LIST = ("listClientOrderId", "newOrderRespType", "selfTradePreventionMode")
_OLD_OCO = (
    *("limitClientOrderId", "limitStrategyId", "limitStrategyType", "limitIcebergQty", "trailingDelta"),
    *("stopClientOrderId", "stopStrategyId", "stopStrategyType", "stopLimitPrice", "stopIcebergQty"),
    "stopLimitTimeInForce",
)


def _legs(*parts: str) -> list[str]:
    return [f"{part}{name}" for part in parts for name in _LEG]


# What must be sent, and what may be.
_NEEDED: dict[str, tuple[str, ...]] = {
    "OCO": ("side", "quantity", "aboveType", "belowType"),
    "OCO (old)": ("side", "quantity", "price", "stopPrice"),
    "OTOCO": (
        *("workingType", "workingSide", "workingPrice", "workingQuantity"),
        *("pendingSide", "pendingQuantity", "pendingAboveType"),
    ),
    "OPOCO": (
        *("workingType", "workingSide", "workingPrice", "workingQuantity"),
        *("pendingSide", "pendingAboveType"),
    ),
}
_KNOWN: dict[str, Iterable[str]] = {
    "OCO": _legs("above", "below"),
    "OCO (old)": _OLD_OCO,
    "OTOCO": _legs("working", "pendingAbove", "pendingBelow"),
    "OPOCO": _legs("working", "pendingAbove", "pendingBelow"),
}


class RefusedLists:
    """The endpoints of the lists that are refused."""

    def __init__(self, finding: SpotFinding) -> None:
        self._finding = finding

    def refusing(self, kind: str) -> Callable[[Account, Params], Row]:
        """The call for lists of this kind."""

        def refuse(_: Account, params: Params) -> Row:
            symbol = params.need("symbol")
            for name in _NEEDED[kind]:
                params.need(name)
            params.skip(*_WHOLE_LIST, *_KNOWN[kind])
            params.finish()
            self._finding.instrument(symbol)
            raise SpotError(-2010, f"{kind.split()[0]} orders are not supported for this symbol")

        return refuse
