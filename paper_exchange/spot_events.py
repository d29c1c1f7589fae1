"""Spot's user data events (binance-spot 7), in the order a batch tells them.

A list's beginning comes before its orders' reports, its end after them, and what a batch left
of the balances comes last.
"""

from collections.abc import Mapping

from paper_exchange.market import Market
from paper_exchange.model import (
    MARKET_KINDS,
    Account,
    BalanceEvent,
    Event,
    Execution,
    ListEvent,
    OrderEvent,
    Status,
)
from paper_exchange.numbers import ZERO, padded
from paper_exchange.spot_reports import list_id, original_id, status_text
from paper_exchange.spot_wire import Ms, Row, price, quantity

ON_BOOK = (Status.NEW, Status.PARTIALLY_FILLED)
STRATEGY_KEYS = {"strategyId": "j", "strategyType": "J"}
ENDED_WITH_OLD_ID: tuple[Execution, ...] = ("CANCELED", "EXPIRED")


def told(events: list[Event]) -> list[Event]:
    """A batch's private events as the venue orders them."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for place, event in enumerate(events):
        if isinstance(event, OrderEvent) and event.order.list_id is not None:
            first.setdefault(event.order.list_id, place)
            last[event.order.list_id] = place

    def rank(placed: tuple[int, Event]) -> tuple[int, int, int]:
        place, event = placed
        if isinstance(event, BalanceEvent):
            return 1, place, 0
        if isinstance(event, ListEvent):
            found = event.order_list
            if found.done:
                return 0, last.get(found.list_id, place), 1
            return 0, first.get(found.list_id, place), -1
        return 0, place, 0

    private = [
        (place, event)
        for place, event in enumerate(events)
        if isinstance(event, OrderEvent | ListEvent | BalanceEvent)
    ]
    return [event for _, event in sorted(private, key=rank)]


def account_of(event: Event) -> str:
    """Whom a private event concerns; empty for a public one."""
    if isinstance(event, OrderEvent):
        return event.order.account
    if isinstance(event, ListEvent):
        return event.order_list.account
    return event.account if isinstance(event, BalanceEvent) else ""


def symbol_of(event: Event) -> str | None:
    if isinstance(event, OrderEvent):
        return event.order.symbol
    return event.order_list.symbol if isinstance(event, ListEvent) else None


def rows_of(event: Event, account: Account, markets: Mapping[str, Market]) -> list[Row]:
    """An event in the venue's keys."""
    if isinstance(event, OrderEvent):
        row = execution_report(event, markets[event.order.symbol])
        if event.prevention is not None and account.trade_group != -1:
            row["u"] = account.trade_group
        return [row]
    if isinstance(event, ListEvent):
        return [list_status(event)]
    return balances(event) if isinstance(event, BalanceEvent) else []


def execution_report(event: OrderEvent, market: Market) -> Row:
    order, fill, instrument = event.order, event.fill, market.instrument
    nothing_of_base, nothing_of_quote = quantity(instrument, ZERO), price(instrument, ZERO)
    is_taker_only = order.kind in MARKET_KINDS and event.execution != "NEW"
    report: Row = {
        "e": "executionReport",
        "E": Ms(event.time_ms),
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.kind,
        "f": order.time_in_force,
        "q": quantity(instrument, order.quantity),
        "p": price(instrument, ZERO if order.kind in MARKET_KINDS else order.price),
        "P": price(instrument, order.stop_price),
        "F": quantity(instrument, order.iceberg),
        "g": list_id(order),
        "C": _old_id(event),
        "x": event.execution,
        "X": status_text(order),
        "r": order.expiry_reason if order.status is Status.REJECTED else "NONE",
        "i": order.order_id,
        "l": quantity(instrument, fill.quantity) if fill else nothing_of_base,
        "z": quantity(instrument, order.executed),
        "L": price(instrument, fill.price) if fill else nothing_of_quote,
        "n": padded(fill.fee, 8) if fill else "0",
        "N": fill.fee_asset if fill else None,
        "T": Ms(event.time_ms),
        "t": fill.match_id if fill else -1,
    }
    if event.prevention is not None:
        report["v"] = event.prevention.prevented_id
    report |= {
        "I": event.event_id,
        "w": order.status in ON_BOOK and not is_taker_only and not order.waits,
        "m": fill.maker if fill else False,
        "M": fill is not None,
        "O": Ms(order.created_ms),
        "Z": price(instrument, order.quote),
        "Y": price(instrument, fill.quote) if fill else nothing_of_quote,
        "Q": price(instrument, order.quote_wanted),
    }
    if order.working_ms is not None:
        report["W"] = Ms(order.working_ms)
    report["V"] = order.stp
    report |= {STRATEGY_KEYS[key]: value for key, value in order.strategy.items()}
    if event.execution == "EXPIRED" and order.expiry_reason:
        report["eR"] = order.expiry_reason
    return report | _prevention_keys(event, market)


def _prevention_keys(event: OrderEvent, market: Market) -> Row:
    """What a prevented self-trade adds."""
    prevention, instrument = event.prevention, market.instrument
    if prevention is None:
        return {}
    is_taker = event.order.order_id == prevention.taker_order_id
    lost = prevention.taker_quantity if is_taker else prevention.maker_quantity
    return {
        "A": quantity(instrument, event.order.prevented),
        "B": quantity(instrument, lost),
        "U": prevention.maker_order_id if is_taker else prevention.taker_order_id,
        "Cs": event.order.symbol,
        "pl": quantity(instrument, lost),
        "pL": price(instrument, prevention.price),
        "pY": price(instrument, prevention.price * lost),
    }


def _old_id(event: OrderEvent) -> str:
    """The id an order had before what happened renamed it."""
    if event.execution == "REPLACED":
        return event.order.amendments[-1].old_client_id
    return event.order.original_client_id if event.execution in ENDED_WITH_OLD_ID else ""


def list_status(event: ListEvent) -> Row:
    found = event.order_list
    return {
        "e": "listStatus",
        "E": Ms(event.time_ms),
        "s": found.symbol,
        "g": found.list_id,
        "c": "OTO",
        "l": "UPDATED" if event.updated else "ALL_DONE" if found.done else "EXEC_STARTED",
        "L": "ALL_DONE" if found.done else "EXECUTING",
        "r": "NONE",
        "C": found.client_id,
        "T": Ms(event.time_ms),
        "O": [
            {"s": leg.symbol, "i": leg.order_id, "c": original_id(leg)}
            for leg in (event.working, event.pending)
        ],
    }


def balances(event: BalanceEvent) -> list[Row]:
    """The position, and before it what was paid in or out if that is what changed it."""
    rows: list[Row] = []
    if event.deposit is not None:
        (asset,) = event.balances
        rows.append(
            {
                "e": "balanceUpdate",
                "E": Ms(event.time_ms),
                "a": asset,
                "d": padded(event.deposit, 8),
                "T": Ms(event.time_ms),
            }
        )
    if event.locked_elsewhere is not None:
        (asset,) = event.balances
        change = padded(event.locked_elsewhere, 8)
        times = {"E": Ms(event.time_ms), "T": Ms(event.time_ms)}
        rows.append({"e": "externalLockUpdate", "E": times["E"], "a": asset, "d": change, "T": times["T"]})
    position: Row = {
        "e": "outboundAccountPosition",
        "E": Ms(event.time_ms),
        "u": Ms(event.time_ms),
        "B": [
            {"a": asset, "f": padded(free, 8), "l": padded(locked, 8)}
            for asset, (free, locked) in event.balances.items()
        ],
    }
    return [*rows, position]
