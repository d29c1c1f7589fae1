"""Spot's rules of a symbol, and how an order is put within them. Pure; venue spelling stays here.

Exchange info becomes an Instrument; a placement becomes the venue's parameters, as OPO where the symbol
allows it, so that the SELL takes what was received (architecture 5.10, binance-spot 2.2, 2.3, 4).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from order_service.venues.fields import (
    Row,
    id_of,
    not_negative_of,
    positive_of,
    row_of,
    rows_of,
    whole_of,
)
from order_service.venues.filters import filters_of, status_of, status_under, strictest
from order_service.venues.port import VenueRefused
from otopilot import money
from otopilot.instrument import Instrument, InstrumentStatus, Side, Venue
from otopilot.money import ZERO
from otopilot.order import Leg, Order

Params = dict[str, str]


class Call(msgspec.Struct, frozen=True):
    """A call about an order, as the WS API and as REST name it."""

    method: str
    verb: str
    path: str


PLACE = Call("order.place", "POST", "/api/v3/order")
PLACE_OTO = Call("orderList.place.oto", "POST", "/api/v3/orderList/oto")
PLACE_OPO = Call("orderList.place.opo", "POST", "/api/v3/orderList/opo")
CANCEL = Call("order.cancel", "DELETE", "/api/v3/order")
STATUS = Call("order.status", "GET", "/api/v3/order")


class Rules(msgspec.Struct, frozen=True):
    """A symbol's rules, and what the port has no word for."""

    instrument: Instrument
    expire_taker: bool  # may orders ask for self-trade prevention EXPIRE_TAKER?
    band_minutes: int | None = None  # of the price bands' average; none where their filters do not agree


def placement(order: Order, rules: Rules) -> tuple[Call, Params]:
    """The call and its parameters that place an order: single, OPO where allowed, else OTO."""
    params: Params = {"symbol": order.symbol}
    if rules.expire_taker:
        params["selfTradePreventionMode"] = "EXPIRE_TAKER"
    working, pending = order.working, order.pending
    if pending is None:
        return PLACE, params | {
            "side": working.side.name,
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": money.text(working.quantity),
            "price": money.text(working.price),
            "newClientOrderId": working.client_id,
            "newOrderRespType": "FULL",
        }
    params |= {"listClientOrderId": f"o{order.order_id}l", "newOrderRespType": "RESULT"}
    params |= _leg_params("working", working) | _leg_params("pending", pending)
    sides = (working.side, pending.side)
    if rules.instrument.opo_allowed and sides == (Side.BUY, Side.SELL):
        del params["pendingQuantity"]  # the SELL takes what was received (architecture 5.10)
        return PLACE_OPO, params
    return PLACE_OTO, params


def _leg_params(prefix: str, leg: Leg) -> Params:
    return {
        f"{prefix}Type": "LIMIT",
        f"{prefix}Side": leg.side.name,
        f"{prefix}Price": money.text(leg.price),
        f"{prefix}Quantity": money.text(leg.quantity),
        f"{prefix}TimeInForce": "GTC",
        f"{prefix}ClientOrderId": leg.client_id,
    }


# ------------------------------------------------------------------ exchange info


def rules(answer: Any, symbol: str) -> Rules:
    """The symbol's entry of exchange info (binance-spot 2.2, 2.3)."""
    info = row_of(answer, "exchangeInfo")
    for row in rows_of(info.get("symbols"), "symbols"):
        if row.get("symbol") == symbol:
            modes = row.get("allowedSelfTradePreventionModes")
            instrument = _instrument(row, filters_of(info.get("exchangeFilters") or []))
            takes = isinstance(modes, list) and "EXPIRE_TAKER" in modes
            return Rules(instrument, takes, _band_minutes(filters_of(row.get("filters"))))
    raise VenueRefused("unknown_symbol", f"Spot does not list {symbol}")


_STATUSES = {
    "TRADING": InstrumentStatus.TRADING,
    **dict.fromkeys(("END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY"), InstrumentStatus.HALTED),
}


def _status(row: Row) -> InstrumentStatus:
    """Trading, or not (reliability 28)."""
    may = row.get("isSpotTradingAllowed", True) is True
    return status_of(row, _STATUSES) if may else InstrumentStatus.HALTED


def _band_minutes(filters: Mapping[str, Row]) -> int | None:
    """Over how many minutes the venue averages; none where that is not one number."""
    bands = [filters[name] for name in ("PERCENT_PRICE", "PERCENT_PRICE_BY_SIDE") if name in filters]
    told = {whole_of(band, "avgPriceMins", -1) for band in bands}
    minutes = min(told) if len(told) == 1 else -1
    return minutes if minutes >= 0 else None


def _instrument(row: Row, everywhere: Mapping[str, Row]) -> Instrument:
    filters = filters_of(row.get("filters"))
    price, lot = filters.get("PRICE_FILTER", {}), filters.get("LOT_SIZE", {})
    base, symbol = id_of(row, "baseAsset"), id_of(row, "symbol")
    least = {"NOTIONAL": "minNotional", "MIN_NOTIONAL": "minNotional"}

    def band(side: str, part: str) -> dict[str, str]:
        return {"PERCENT_PRICE_BY_SIDE": f"{side}Multiplier{part}", "PERCENT_PRICE": f"multiplier{part}"}

    quote_precision = whole_of(row, "quotePrecision", 8)
    base_precision = whole_of(row, "baseAssetPrecision", 8)
    return Instrument(
        venue=Venue.SPOT,
        symbol=symbol,
        token=base,
        base_asset=base,
        quote_asset=id_of(row, "quoteAsset"),
        status=status_under(filters, _status(row), symbol),
        # A filter part of 0 is off; then the asset's precision is the grid.
        tick_size=positive_of(price, "tickSize") or Decimal(1).scaleb(-quote_precision),
        step_size=positive_of(lot, "stepSize") or Decimal(1).scaleb(-base_precision),
        min_price=not_negative_of(price, "minPrice", ZERO),
        max_price=positive_of(price, "maxPrice"),
        min_quantity=not_negative_of(lot, "minQty", ZERO),
        max_quantity=positive_of(lot, "maxQty"),
        min_notional=strictest(filters, least, max) or ZERO,
        max_notional=positive_of(filters.get("NOTIONAL", {}), "maxNotional"),
        bid_multiplier_down=strictest(filters, band("bid", "Down"), max),
        bid_multiplier_up=strictest(filters, band("bid", "Up"), min),
        ask_multiplier_down=strictest(filters, band("ask", "Down"), max),
        ask_multiplier_up=strictest(filters, band("ask", "Up"), min),
        max_num_orders=whole_of(filters.get("MAX_NUM_ORDERS", {}), "maxNumOrders", 0),
        max_num_order_lists=whole_of(filters.get("MAX_NUM_ORDER_LISTS", {}), "maxNumOrderLists", 0),
        exchange_max_num_orders=whole_of(everywhere.get("EXCHANGE_MAX_NUM_ORDERS", {}), "maxNumOrders", 0),
        exchange_max_num_order_lists=whole_of(
            everywhere.get("EXCHANGE_MAX_NUM_ORDER_LISTS", {}), "maxNumOrderLists", 0
        ),
        max_position=positive_of(filters.get("MAX_POSITION", {}), "maxPosition"),
        oto_allowed=row.get("otoAllowed") is True,
        opo_allowed=row.get("otoAllowed") is True and row.get("opoAllowed") is True,
        base_precision=base_precision,
        quote_precision=quote_precision,
    )
