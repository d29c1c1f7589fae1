"""Orders and lists as Spot's answers tell them (binance-spot 3.2, 4.3, 4.6).

Absent keys are absent, not null: a leg of an OPO has no `origQty` until it is released, an order
that did not expire has no `expiryReason`.
"""

from paper_exchange.config import Instrument
from paper_exchange.model import MARKET_KINDS, Amendment, Fill, Order, OrderList, PreventedMatch, Status
from paper_exchange.numbers import ZERO
from paper_exchange.spot_wire import Ms, Row, price, quantity


def status_text(order: Order) -> str:
    return "PENDING_NEW" if order.status is Status.PENDING else order.status.value


def list_id(order: Order) -> int:
    return -1 if order.list_id is None else order.list_id


def ack(order: Order, now_ms: int) -> Row:
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": list_id(order),
        "clientOrderId": order.client_id,
        "transactTime": Ms(now_ms),
    }


def result(order: Order, instrument: Instrument, now_ms: int, trade_group: int = -1) -> Row:
    row = ack(order, now_ms) | _amounts(order, instrument) | _terms(order)
    row["workingTime"] = Ms(order.working_ms) if order.working_ms is not None else -1
    return row | _endings(order, instrument) | _taken_from(order, instrument, trade_group)


def full(order: Order, instrument: Instrument, now_ms: int, fills: list[Fill], trade_group: int = -1) -> Row:
    """A result and the trades it had when the answer left."""
    rows: list[Row] = []
    shown = ZERO
    for fill in fills:
        shown += fill.quantity
        if shown > order.executed:
            break
        rows.append(
            {
                "price": price(instrument, fill.price),
                "qty": quantity(instrument, fill.quantity),
                "commission": quantity(instrument, fill.fee),
                "commissionAsset": fill.fee_asset,
                "tradeId": fill.match_id,
            }
        )
    return result(order, instrument, now_ms, trade_group) | {"fills": rows}


def cancelled(order: Order, instrument: Instrument, now_ms: int) -> Row:
    """An order in the answer to a cancel: with both client ids, without a working time."""
    found = ack(order, now_ms)
    row: Row = {"symbol": found.pop("symbol"), "origClientOrderId": original_id(order)}
    return row | found | _amounts(order, instrument) | _terms(order) | _endings(order, instrument)


def amended(order: Order, instrument: Instrument, now_ms: int) -> Row:
    """An order in the answer to an amendment, which spells some keys its own way (binance-spot 3.2)."""
    row: Row = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": list_id(order),
        "origClientOrderId": order.amendments[-1].old_client_id,
        "clientOrderId": order.client_id,
        "price": price(instrument, ZERO if order.kind in MARKET_KINDS else order.price),
        "qty": quantity(instrument, order.quantity),
        "executedQty": quantity(instrument, order.executed),
        "preventedQty": quantity(instrument, order.prevented),
        "quoteOrderQty": price(instrument, order.quote_wanted),
        "cumulativeQuoteQty": price(instrument, order.quote),
    }
    row |= _terms(order)
    return row | ({"workingTime": Ms(order.working_ms)} if order.working_ms is not None else {})


def amendment(order: Order, one: Amendment, instrument: Instrument) -> Row:
    """One line of an order's amendments."""
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "executionId": one.execution_id,
        "origClientOrderId": one.old_client_id,
        "newClientOrderId": one.new_client_id,
        "origQty": quantity(instrument, one.old_quantity),
        "newQty": quantity(instrument, one.new_quantity),
        "time": Ms(one.time_ms),
    }


def prevented(order: Order, one: PreventedMatch, instrument: Instrument, trade_group: int) -> Row:
    """A self-trade that did not happen, as its history tells it."""
    row: Row = {
        "symbol": order.symbol,
        "preventedMatchId": one.prevented_id,
        "takerOrderId": one.taker_order_id,
        "makerSymbol": order.symbol,
        "makerOrderId": one.maker_order_id,
        "tradeGroupId": trade_group,
        "selfTradePreventionMode": one.mode,
    }
    found = _prevented_row(one, instrument)
    amounts = {key: found[key] for key in found if key not in ("preventedMatchId", "makerOrderId")}
    return row | amounts | {"transactTime": Ms(one.time_ms)}


def list_state(order_list: OrderList, legs: tuple[Order, Order]) -> Row:
    """A list in the answer to the amendment of a leg."""
    row = list_row(order_list, legs, 0)
    return {name: row[name] for name in row if name not in ("listStatusType", "transactionTime")}


def queried(order: Order, instrument: Instrument) -> Row:
    """An order as queries tell it."""
    amounts = _amounts(order, instrument)
    quote_wanted = amounts.pop("origQuoteOrderQty")
    row: Row = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": list_id(order),
        "clientOrderId": order.client_id,
    }
    terms = _terms(order)
    stp = terms.pop("selfTradePreventionMode")
    row |= amounts | terms
    row |= {
        "stopPrice": price(instrument, order.stop_price),
        "icebergQty": quantity(instrument, order.iceberg),
        "time": Ms(order.created_ms),
        "updateTime": Ms(order.updated_ms),
        "isWorking": order.working_ms is not None,
        "workingTime": Ms(order.working_ms) if order.working_ms is not None else -1,
        "origQuoteOrderQty": quote_wanted,
        "selfTradePreventionMode": stp,
    }
    if order.prevented:
        row["preventedMatchId"] = order.prevented_matches[-1].prevented_id
    return row | _endings(order, instrument)


def original_id(order: Order) -> str:
    """The id an order was placed under; a cancel gave it another one."""
    return order.original_client_id or order.client_id


def list_row(order_list: OrderList, legs: tuple[Order, Order], now_ms: int) -> Row:
    """A list without its orders' states."""
    state = "ALL_DONE" if order_list.done else "EXEC_STARTED"
    return {
        "orderListId": order_list.list_id,
        "contingencyType": "OTO",
        "listStatusType": state,
        "listOrderStatus": "ALL_DONE" if order_list.done else "EXECUTING",
        "listClientOrderId": order_list.client_id,
        "transactionTime": Ms(now_ms),
        "symbol": order_list.symbol,
        "orders": [
            {"symbol": leg.symbol, "orderId": leg.order_id, "clientOrderId": original_id(leg)} for leg in legs
        ],
    }


def _amounts(order: Order, instrument: Instrument) -> Row:
    row: Row = {"price": price(instrument, ZERO if order.kind in MARKET_KINDS else order.price)}
    if order.quantity:
        row["origQty"] = quantity(instrument, order.quantity)
    return row | {
        "executedQty": quantity(instrument, order.executed),
        "origQuoteOrderQty": price(instrument, order.quote_wanted),
        "cummulativeQuoteQty": price(instrument, order.quote),
    }


def _terms(order: Order) -> Row:
    return {
        "status": status_text(order),
        "timeInForce": order.time_in_force,
        "type": order.kind,
        "side": order.side,
        "selfTradePreventionMode": order.stp,
        **order.strategy,
    }


def _endings(order: Order, instrument: Instrument) -> Row:
    """The keys that only some orders have."""
    row: Row = {}
    if order.stop_price:
        row["stopPrice"] = price(instrument, order.stop_price)
    if order.iceberg:
        row["icebergQty"] = quantity(instrument, order.iceberg)
    if order.prevented:
        row["preventedQuantity"] = quantity(instrument, order.prevented)
    if order.status is Status.EXPIRED and order.expiry_reason:
        row["expiryReason"] = order.expiry_reason
    return row


def _taken_from(order: Order, instrument: Instrument, trade_group: int) -> Row:
    """Self-trades a taker was kept from; only a placement's answer tells them."""
    mine = [one for one in order.prevented_matches if one.taker_order_id == order.order_id]
    if not mine:
        return {}
    row: Row = {"preventedMatches": [_prevented_row(one, instrument) for one in mine]}
    return row | ({"tradeGroupId": trade_group} if trade_group != -1 else {})


def _prevented_row(one: PreventedMatch, instrument: Instrument) -> Row:
    row: Row = {
        "preventedMatchId": one.prevented_id,
        "makerOrderId": one.maker_order_id,
        "price": price(instrument, one.price),
    }
    if one.taker_quantity:
        row["takerPreventedQuantity"] = quantity(instrument, one.taker_quantity)
    if one.maker_quantity:
        row["makerPreventedQuantity"] = quantity(instrument, one.maker_quantity)
    return row
