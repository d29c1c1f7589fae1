"""Kinds of orders and lists that no symbol takes get the documented refusal (binance-spot 3.1, 4.8)."""

from typing import Any

import pytest

from tests.paper_exchange.spot_desk import BNB, Line, SpotTrader, bnb_desk, public, sample

OCO = {"symbol": BNB, "side": "SELL", "quantity": "1", "aboveType": "LIMIT_MAKER", "belowType": "STOP_LOSS"}
WORKING = {
    "symbol": BNB,
    "workingType": "LIMIT",
    "workingSide": "BUY",
    "workingPrice": "700",
    "workingQuantity": "1",
    "workingTimeInForce": "GTC",
    "pendingSide": "SELL",
    "pendingAboveType": "LIMIT_MAKER",
}
REFUSED_LISTS = [
    ("orderList/oco", "orderList.place.oco", "OCO", OCO),
    (
        "order/oco",
        "orderList.place",
        "OCO",
        {"symbol": BNB, "side": "SELL", "quantity": "1", "price": "900", "stopPrice": "700"},
    ),
    ("orderList/otoco", "orderList.place.otoco", "OTOCO", WORKING | {"pendingQuantity": "1"}),
    ("orderList/opoco", "orderList.place.opoco", "OPOCO", WORKING),
]


@pytest.mark.parametrize(("path", "method", "kind", "terms"), REFUSED_LISTS)
def test_lists_of_three_or_of_alternatives_are_refused_as_documented(
    path: str, method: str, kind: str, terms: dict[str, Any]
) -> None:
    trader = SpotTrader(bnb_desk())
    text = f"{kind} orders are not supported for this symbol"
    assert trader.refused("POST", path, **terms) == (400, -2010, text)
    answer = trader.ws(Line(trader.desk, "/ws-api/v3"), method, **terms)
    assert (answer["status"], answer["error"]) == (400, {"code": -2010, "msg": text})
    unknown = {**terms, "symbol": "NONE"}
    assert trader.refused("POST", path, **unknown)[1] == -1121
    last = list(terms)[-1]
    short = {name: value for name, value in terms.items() if name != last}
    assert trader.refused("POST", path, **short)[1] == -1102
    assert trader.refused("POST", path, **terms, pendingTimeInForce="GTC")[1] == -1104
    assert trader.desk.state.by_account[trader.account.key] == []


TERMS = {"symbol": BNB, "side": "SELL", "quantity": "1"}
UNSUPPORTED: list[tuple[dict[str, str], int, str]] = [
    (
        {"type": "STOP_LOSS", "trailingDelta": "100"},
        -2010,
        "Trailing stop orders are not supported for this symbol.",
    ),
    (
        {"type": "LIMIT", "timeInForce": "GTC", "price": "900", "pegPriceType": "PRIMARY_PEG"},
        -1211,
        "Pegged orders are not supported for this symbol.",
    ),
    (
        {"type": "LIMIT", "timeInForce": "GTC", "pegPriceType": "PRIMARY_PEG"},  # the price is optional then
        -1211,
        "Pegged orders are not supported for this symbol.",
    ),
    *(
        (
            {"type": "LIMIT", "timeInForce": "GTC", "price": "900", "selfTradePreventionMode": mode},
            -1013,
            "This symbol does not allow the specified self-trade prevention mode.",
        )
        for mode in ("DECREMENT", "TRANSFER")
    ),
]


@pytest.mark.parametrize(("more", "code", "text"), UNSUPPORTED)
def test_kinds_of_orders_no_symbol_takes_are_refused_as_documented(
    more: dict[str, str], code: int, text: str
) -> None:
    trader = SpotTrader(bnb_desk(), BNB="5")
    assert trader.refused("POST", "order", **TERMS, **more) == (400, code, text)
    unknown = {**TERMS, "symbol": "NONE", **more}
    assert trader.refused("POST", "order", **unknown)[1] == -1121  # the symbol is looked at first
    row = public(trader.desk, "exchangeInfo", f"symbol={BNB}")["symbols"][0]
    flags = ("ocoAllowed", "allowTrailingStop", "pegInstructionsAllowed")
    assert [row[flag] for flag in flags] == [False] * 3


def test_the_refusal_of_a_mode_is_the_venues_own() -> None:
    trader = SpotTrader(bnb_desk(), BNB="5")
    _, body = trader.failed("POST", "order", **TERMS, type="MARKET", selfTradePreventionMode="TRANSFER")
    assert body == sample("rest_error_stp_mode_not_allowed")
