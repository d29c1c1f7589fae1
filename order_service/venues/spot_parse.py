"""Spot's spelling: parameters, answers, events, codes. Pure; the whole of it stands here.

Adapters hand in what the wire said and get the port's words or one of its failures. A code that
is not in the tables below is never a no (architecture 5.4, binance-spot 10).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from order_service.venues.fields import (
    Row,
    Unreadable,
    above_zero_of,
    amount_of,
    decode,
    flag_of,
    id_of,
    moment_of,
    not_negative_of,
    number_of,
    positive_of,
    row_of,
    rows_of,
    text_of,
    whole_of,
)
from order_service.venues.port import (
    SELF_MATCH,
    AssetBalance,
    BalancePushed,
    CredentialRefused,
    FeeRates,
    OrderPushed,
    Placed,
    PlacedLeg,
    RateLimited,
    Response,
    StreamNews,
    TooManyOrders,
    TradePushed,
    VenueError,
    VenueOrder,
    VenueRefused,
    VenueSilent,
)
from otopilot import money
from otopilot.instrument import Instrument, InstrumentStatus, Side, Venue
from otopilot.money import ZERO
from otopilot.order import Fee, Leg, LegStatus, Order, Trade, TradeKey, VenueOrderId

Params = dict[str, str]

_RATE_LIMIT_SECONDS = 60.0
_LONGEST_RETRY_SECONDS = 3 * 86400.0

_STATUSES = {
    "NEW": LegStatus.OPEN,
    "PARTIALLY_FILLED": LegStatus.OPEN,
    "PENDING_CANCEL": LegStatus.OPEN,
    "PENDING_NEW": LegStatus.PENDING,
    "FILLED": LegStatus.FILLED,
    "CANCELED": LegStatus.CANCELED,
    "EXPIRED": LegStatus.EXPIRED,
    "EXPIRED_IN_MATCH": LegStatus.EXPIRED,
    "REJECTED": LegStatus.REJECTED,
}

# What the venue surely did not do, by code; our word where something above may act on it.
_REFUSED_CODES: dict[str, str] = {
    "-1013": "filter",
    "-1021": "clock",
    "-1022": "bad_signature",
    "-1121": "unknown_symbol",
    "-2010": "refused",
    "-2011": "not_open",
    "-2013": "no_such_order",
} | {
    f"-{number}": f"-{number}"
    for numbers in (
        (1014, 1020, 1099, 1108, 1111, 1112, 1151, 1158, 1159, 1160, 1165, 1166, 1168, 1194, 1220),
        range(1100, 1107),
        range(1114, 1121),
        (1122, 1127, 1128, 1130, 1131, 1134, 1135, 1145, 1210, 1211),
        range(1196, 1200),
        range(1222, 1226),
        (2016, 2026, 2035, 2036, 2039, 2042, 2043),
    )
    for number in numbers
}
_CREDENTIAL_CODES = frozenset({"-1002", "-2008", "-2014", "-2015"})
_LIMIT_CODES = frozenset({"-1003", "-1034"})
_ORDER_COUNT_CODE = "-1015"  # of one account, whoever else is behind this address
_DUPLICATE = "duplicate order sent"  # after a lost answer the proof that the first one lives
_INSUFFICIENT = "insufficient balance"


# ------------------------------------------------------------------ placing


class Rules(msgspec.Struct, frozen=True):
    """A symbol's rules, and what the port has no word for."""

    instrument: Instrument
    expire_taker: bool  # may orders ask for self-trade prevention EXPIRE_TAKER?


def placement(order: Order, rules: Rules) -> tuple[str, Params]:
    """Path and parameters that place an order: single, OPO where allowed, else OTO."""
    params: Params = {"symbol": order.symbol}
    if rules.expire_taker:
        params["selfTradePreventionMode"] = "EXPIRE_TAKER"
    working, pending = order.working, order.pending
    if pending is None:
        return "/api/v3/order", params | {
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
        return "/api/v3/orderList/opo", params
    return "/api/v3/orderList/oto", params


def _leg_params(prefix: str, leg: Leg) -> Params:
    return {
        f"{prefix}Type": "LIMIT",
        f"{prefix}Side": leg.side.name,
        f"{prefix}Price": money.text(leg.price),
        f"{prefix}Quantity": money.text(leg.quantity),
        f"{prefix}TimeInForce": "GTC",
        f"{prefix}ClientOrderId": leg.client_id,
    }


def placed(order: Order, answer: Any, now: datetime) -> Placed:
    """The ids of a placement, legs found by our client ids. Raises Unreadable: then nobody knows."""
    row = row_of(answer, "answer")
    if order.pending is None:
        return Placed(legs=(_placed_leg(order.working, [row]),), accepted_at=now)
    reports = rows_of(row.get("orderReports"), "orderReports")
    legs = tuple(_placed_leg(leg, reports) for leg in order.legs)
    return Placed(legs=legs, list_id=number_of(row, "orderListId"), accepted_at=now)


def _placed_leg(leg: Leg, reports: list[Row] | Any) -> PlacedLeg:
    for row in reports:
        if text_of(row, "clientOrderId", "") == leg.client_id:
            return PlacedLeg(
                role=leg.role,
                venue_order_id=VenueOrderId(number_of(row, "orderId")),
                # An unknown word is no knowledge of the leg; its id is, and a query will tell.
                status=_STATUSES.get(text_of(row, "status"), LegStatus.UNKNOWN),
                executed_quantity=amount_of(row, "executedQty", ZERO),
            )
    raise Unreadable("clientOrderId: not ours")


# ------------------------------------------------------------------ answers


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
    retry = response.headers.get("retry-after", "")
    seconds = int(retry) if retry.isascii() and retry.isdigit() and len(retry) < 9 else _RATE_LIMIT_SECONDS
    until = now + timedelta(seconds=min(float(seconds), _LONGEST_RETRY_SECONDS))
    raise failure(status, code if isinstance(code, str) else "", said if isinstance(said, str) else "", until)


def failure(status: int, code: str, said: str, until: datetime) -> VenueError:
    """The port's failure for an error answer; `until`: when calls may go on if it is a limit."""
    message = f"{said[:200]} (code {code[:20] or 'none'}, HTTP {status})"
    if code == _ORDER_COUNT_CODE:
        return TooManyOrders(code, message, until)
    if status in (403, 418, 429):
        return RateLimited(code or f"http_{status}", message, until)
    if not 400 <= status < 500 or status == 409:
        return VenueSilent(code or f"http_{status}", message)
    if code in _LIMIT_CODES:
        return RateLimited(code, message, until)
    if code in _CREDENTIAL_CODES:
        return CredentialRefused("not_permitted", message)
    if code not in _REFUSED_CODES or (code == "-2010" and _DUPLICATE in said.lower()):
        return VenueSilent(code or f"http_{status}", message)
    word = "insufficient_balance" if _INSUFFICIENT in said.lower() else _REFUSED_CODES[code]
    return VenueRefused(word, message)


def order(row: Row) -> VenueOrder:
    """An order as queries tell it."""
    raw, list_id = text_of(row, "status"), text_of(row, "orderListId", "-1")
    return VenueOrder(
        venue_order_id=VenueOrderId(number_of(row, "orderId")),
        symbol=id_of(row, "symbol"),
        side=_side(text_of(row, "side")),
        price=not_negative_of(row, "price"),
        quantity=not_negative_of(row, "origQty", ZERO),  # absent on an unreleased OPO leg
        status=_STATUSES.get(raw),
        raw_status=raw,
        executed_quantity=not_negative_of(row, "executedQty"),
        executed_quote=max(ZERO, amount_of(row, "cummulativeQuoteQty", ZERO)),
        client_id=text_of(row, "origClientOrderId", "") or text_of(row, "clientOrderId", ""),
        list_id=None if list_id == "-1" else list_id,
        created_at=moment_of(row, "time", "transactTime"),
        updated_at=moment_of(row, "updateTime", "time", "transactTime"),
        expiry_reason=_reason(raw, text_of(row, "expiryReason", "")),
    )


def orders(answer: Any) -> tuple[VenueOrder, ...]:
    """A list of orders."""
    return tuple(order(row) for row in rows_of(answer, "orders"))


def trade(row: Row) -> Trade:
    """A row of myTrades. Trade ids never repeat within a symbol."""
    return Trade(
        key=TradeKey(number_of(row, "id")),
        side=Side.BUY if flag_of(row, "isBuyer") else Side.SELL,
        price=above_zero_of(row, "price"),
        quantity=above_zero_of(row, "qty"),
        quote=not_negative_of(row, "quoteQty"),
        fee=Fee(id_of(row, "commissionAsset"), not_negative_of(row, "commission")),
        traded_at=moment_of(row, "time"),
        venue_order_id=VenueOrderId(number_of(row, "orderId")),
    )


def trades(answer: Any) -> tuple[Trade, ...]:
    """A list of trades."""
    return tuple(trade(row) for row in rows_of(answer, "trades"))


def balances(answer: Any) -> tuple[AssetBalance, ...]:
    """The balances of an account answer."""
    return tuple(
        AssetBalance(id_of(row, "asset"), amount_of(row, "free"), amount_of(row, "locked"))
        for row in rows_of(row_of(answer, "account").get("balances"), "balances")
    )


def fee_rates(answer: Any) -> FeeRates:
    """The dearer of maker and taker plus the side's part, of all three kinds, without a discount.

    A rate that is too high sells a little less than could be sold; one too low makes the SELL of
    an OTO fail when it is released (binance-spot 4.5).
    """
    content = row_of(answer, "commission")
    buy = sell = ZERO
    for kind in ("standardCommission", "specialCommission", "taxCommission"):
        row = row_of(content.get(kind) or {}, kind)
        role = max(amount_of(row, "maker", ZERO), amount_of(row, "taker", ZERO))
        buy += role + amount_of(row, "buyer", ZERO)
        sell += role + amount_of(row, "seller", ZERO)
    return FeeRates(buy=buy, sell=sell)


def last_price(answer: Any) -> Decimal:
    """The price of ticker/price."""
    return above_zero_of(row_of(answer, "ticker"), "price")


def server_time_ms(answer: Any) -> int:
    """The venue's clock."""
    return whole_of(row_of(answer, "time"), "serverTime")


# ------------------------------------------------------------------ events


def pushed(event: Row) -> list[StreamNews]:
    """The news in a user data event; events that say nothing about orders or money are none."""
    kind = event.get("e")
    if kind in ("outboundAccountPosition", "balanceUpdate", "externalLockUpdate"):
        return [BalancePushed()]
    if kind != "executionReport":
        return []
    raw, list_id = text_of(event, "X"), text_of(event, "g", "-1")
    found = VenueOrder(
        venue_order_id=VenueOrderId(number_of(event, "i")),
        symbol=id_of(event, "s"),
        side=_side(text_of(event, "S")),
        price=not_negative_of(event, "p"),
        quantity=not_negative_of(event, "q"),
        status=_STATUSES.get(raw),
        raw_status=raw,
        executed_quantity=not_negative_of(event, "z"),
        executed_quote=not_negative_of(event, "Z", ZERO),
        # A cancel gives the order a new client id and tells the old one beside it (3.4).
        client_id=text_of(event, "C", "") or text_of(event, "c"),
        list_id=None if list_id == "-1" else list_id,
        created_at=moment_of(event, "O", "T"),
        updated_at=moment_of(event, "T", "E"),
        expiry_reason=_reason(raw, text_of(event, "eR", "") or text_of(event, "r", "")),
    )
    news: list[StreamNews] = []
    if event.get("x") == "TRADE":
        news.append(TradePushed(_event_trade(event, found), found.client_id))
    return [*news, OrderPushed(found)]


def _event_trade(event: Row, found: VenueOrder) -> Trade:
    return Trade(
        key=TradeKey(number_of(event, "t")),
        side=found.side,
        price=above_zero_of(event, "L"),
        quantity=above_zero_of(event, "l"),
        quote=not_negative_of(event, "Y"),
        fee=Fee(text_of(event, "N", ""), not_negative_of(event, "n", ZERO)),
        traded_at=moment_of(event, "T"),
        venue_order_id=found.venue_order_id,
    )


def _reason(raw_status: str, said: str) -> str:
    """Why an order ended, in the venue's word; a prevented self-match, told by the status, in the port's."""
    if raw_status == "EXPIRED_IN_MATCH":
        return SELF_MATCH
    return said if raw_status in ("EXPIRED", "REJECTED") and said != "NONE" else ""


def _side(text: str) -> Side:
    try:
        return Side[text]
    except KeyError:
        raise Unreadable("side: not a side") from None


# ------------------------------------------------------------------ instruments


def rules(answer: Any, symbol: str) -> Rules:
    """The symbol's entry of exchange info (binance-spot 2.2, 2.3)."""
    for row in rows_of(row_of(answer, "exchangeInfo").get("symbols"), "symbols"):
        if row.get("symbol") == symbol:
            modes = row.get("allowedSelfTradePreventionModes")
            return Rules(_instrument(row), isinstance(modes, list) and "EXPIRE_TAKER" in modes)
    raise VenueRefused("unknown_symbol", f"Spot does not list {symbol}")


def _instrument(row: Row) -> Instrument:
    filters: Mapping[str, Row] = {text_of(f, "filterType"): f for f in rows_of(row.get("filters"), "filters")}
    price, lot = filters.get("PRICE_FILTER", {}), filters.get("LOT_SIZE", {})
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
    band = filters.get("PERCENT_PRICE_BY_SIDE", {})
    plain = filters.get("PERCENT_PRICE", {})
    base, status = id_of(row, "baseAsset"), text_of(row, "status")
    quote_precision = whole_of(row, "quotePrecision", 8)
    base_precision = whole_of(row, "baseAssetPrecision", 8)
    return Instrument(
        venue=Venue.SPOT,
        symbol=id_of(row, "symbol"),
        token=base,
        base_asset=base,
        quote_asset=id_of(row, "quoteAsset"),
        status=InstrumentStatus.TRADING if status == "TRADING" else InstrumentStatus.HALTED,
        # A filter part of 0 is off; then the asset's precision is the grid.
        tick_size=positive_of(price, "tickSize") or Decimal(1).scaleb(-quote_precision),
        step_size=positive_of(lot, "stepSize") or Decimal(1).scaleb(-base_precision),
        min_price=amount_of(price, "minPrice", ZERO),
        max_price=positive_of(price, "maxPrice"),
        min_quantity=amount_of(lot, "minQty", ZERO),
        max_quantity=positive_of(lot, "maxQty"),
        min_notional=amount_of(notional, "minNotional", ZERO),
        max_notional=positive_of(notional, "maxNotional"),
        bid_multiplier_down=positive_of(band, "bidMultiplierDown") or positive_of(plain, "multiplierDown"),
        bid_multiplier_up=positive_of(band, "bidMultiplierUp") or positive_of(plain, "multiplierUp"),
        ask_multiplier_down=positive_of(band, "askMultiplierDown") or positive_of(plain, "multiplierDown"),
        ask_multiplier_up=positive_of(band, "askMultiplierUp") or positive_of(plain, "multiplierUp"),
        max_num_orders=whole_of(filters.get("MAX_NUM_ORDERS", {}), "maxNumOrders", 0),
        max_num_order_lists=whole_of(filters.get("MAX_NUM_ORDER_LISTS", {}), "maxNumOrderLists", 0),
        oto_allowed=row.get("otoAllowed") is True,
        opo_allowed=row.get("otoAllowed") is True and row.get("opoAllowed") is True,
        base_precision=base_precision,
        quote_precision=quote_precision,
    )
