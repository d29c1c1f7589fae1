"""Spot's spelling: parameters, answers, events, codes. Pure; the whole of it stands here.

Adapters hand in what the wire said and get the port's words or one of its failures. A code that
is not in the tables below is never a no (architecture 5.4, binance-spot 10).
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from order_service.venues.fields import (
    Row,
    Unreadable,
    above_zero_of,
    amount_of,
    flag_of,
    id_of,
    moment_of,
    not_negative_of,
    number_of,
    positive_of,
    quoted,
    row_of,
    rows_of,
    text_of,
    whole_of,
)
from order_service.venues.port import (
    SELF_MATCH,
    AssetBalance,
    BalancePushed,
    FeeRates,
    OrderPushed,
    Placed,
    PlacedLeg,
    StreamNews,
    TradePushed,
    VenueOrder,
)
from otopilot.instrument import Side
from otopilot.money import ZERO
from otopilot.order import Fee, Leg, LegRole, LegStatus, Order, Trade, TradeKey, VenueOrderId

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


def archived(order: Order, role: LegRole, now: datetime) -> VenueOrder:
    """A leg that ended long ago with nothing executed; how, the venue no longer tells (binance-spot 3.3)."""
    leg = order.leg(role)
    return VenueOrder(
        venue_order_id=leg.venue_order_id or VenueOrderId(""),
        symbol=order.symbol,
        side=leg.side,
        price=leg.price,
        quantity=leg.quantity,
        status=LegStatus.CANCELED,
        raw_status="archived",
        client_id=leg.client_id,
        created_at=order.submitted_at,
        updated_at=now,
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


def order_limits(answer: Any) -> Mapping[str, Decimal]:
    """What one order may be worth of an asset; of two limits the lesser holds."""
    limits: dict[str, Decimal] = {}
    for row in rows_of(row_of(answer, "my filters").get("assetFilters"), "assetFilters"):
        if text_of(row, "filterType") == "MAX_ASSET":
            asset, limit = id_of(row, "asset"), not_negative_of(row, "limit")
            limits[asset] = min(limit, limits.get(asset, limit))
    return limits


def last_price(answer: Any) -> Decimal:
    """The price of ticker/price."""
    return above_zero_of(row_of(answer, "ticker"), "price")


def reference_price(answer: Any) -> Decimal | None:
    """The price of referencePrice; none where the symbol has none now (binance-spot 2.1)."""
    return positive_of(row_of(answer, "reference"), "referencePrice")


def average_price(answer: Any, minutes: int) -> Decimal | None:
    """The price of avgPrice; none where nothing traded, or it is of other minutes than asked about."""
    row = row_of(answer, "average")
    return positive_of(row, "price") if whole_of(row, "mins") == minutes else None


def server_time_ms(answer: Any) -> int:
    """The venue's clock."""
    return whole_of(row_of(answer, "time"), "serverTime")


# ------------------------------------------------------------------ events


_QUIET_EVENTS = ("listStatus",)  # says less than the reports that come with it
_BALANCE_EVENTS = ("outboundAccountPosition", "balanceUpdate", "externalLockUpdate")


def unknown_event(event: Row) -> str | None:
    """The kind of an event that no document tells of; to be ignored and logged (binance-spot 7.2)."""
    kind = event.get("e")
    known = kind == "executionReport" or kind in _BALANCE_EVENTS or kind in _QUIET_EVENTS
    return None if known else quoted(str(kind))


def pushed(event: Row) -> list[StreamNews]:
    """The news in a user data event; events that say nothing about orders or money are none."""
    kind = event.get("e")
    if kind in _BALANCE_EVENTS:
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
