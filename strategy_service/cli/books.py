"""The paper exchange's own books, held against our ledger, own orders only.

An account may trade by hand as well: what belongs to no order of the journal is foreign, counted
in volume (product 2) and shown apart here. An order with our form of client id that the journal
does not have is no person's: it is an error.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from otopilot import money
from protos import market_pb2
from protos import order_pb2 as pb
from strategy_service.cli.amounts import enum_word
from strategy_service.cli.clients import Services
from strategy_service.cli.paper import Control

PAGE = 1000
LIST_SECONDS = 15.0
SIDES = ("BUY", "SELL")
_OURS = re.compile(r"o[0-9a-f]{16}[lwpc]")  # architecture 5.8


class Account(NamedTuple):
    """One user on one symbol, and what our ledger says of it in quote."""

    venue: str
    symbol: str
    user_id: str
    ledger: dict[str, Decimal]  # by side


class Row(NamedTuple):
    """What the exchange says of one account, in quote by side."""

    account: Account
    own: dict[str, Decimal]
    foreign: dict[str, Decimal]

    def data(self) -> dict[str, str]:
        """For JSON."""
        found = {"user_id": self.account.user_id, "symbol": self.account.symbol}
        found |= {side: money.text(self.own[side]) for side in SIDES}
        return found | {f"foreign_{side}": money.text(self.foreign[side]) for side in SIDES}


@dataclass
class Books:
    """The comparison."""

    rows: list[Row] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def own(self, side: str) -> Decimal:
        """What own orders traded, over all accounts."""
        return sum((row.own[side] for row in self.rows), money.ZERO)

    def foreign(self, side: str) -> Decimal:
        """What orders by hand traded."""
        return sum((row.foreign[side] for row in self.rows), money.ZERO)


def compare(services: Services, control: Control, accounts: list[Account]) -> Books:
    """Ask both sides; every difference in words. Raises CliError."""
    books = Books()
    for account in accounts:
        known = _known_orders(services, account)
        trades = control.trades(account.user_id, account.venue)
        row = _row(account, known, [each for each in trades if each["symbol"] == account.symbol])
        books.rows.append(row)
        who = f"user {account.user_id} on {account.symbol}"
        for side in SIDES:
            if row.own[side] != account.ledger[side]:
                here, there = money.text(account.ledger[side]), money.text(row.own[side])
                books.differences.append(f"{who}: {side} {here} here, {there} there")
        for each in control.orders(account.user_id, account.venue):
            name = str(each.get("original_client_id") or each.get("client_id") or "")
            if _OURS.fullmatch(name) and str(each["order_id"]) not in known:
                books.differences.append(f"{who}: order {each['order_id']} ({name}) is not in the journal")
    if matches := control.report()["self_matches"]:
        books.differences.append(f"{matches} matches between managed users")
    return books


def _row(account: Account, known: set[str], trades: list[dict[str, Any]]) -> Row:
    own, foreign = dict.fromkeys(SIDES, money.ZERO), dict.fromkeys(SIDES, money.ZERO)
    for each in trades:
        whose = own if str(each["order_id"]) in known else foreign
        whose[each["side"]] += Decimal(each["quote"])
    return Row(account, own, foreign)


def _known_orders(services: Services, account: Account) -> set[str]:
    """The venue's ids of every order that the journal has of that account."""
    service, token = services.orders, ""
    found: set[str] = set()
    while True:
        request = pb.ListOrdersRequest(
            user_id=account.user_id, symbol=account.symbol, page_size=PAGE, page_token=token
        )
        page = service.ask(service.stub.ListOrders, request, LIST_SECONDS)
        for order in page.orders:
            if enum_word(market_pb2.Venue.Name(order.venue), "VENUE_") == account.venue:
                found |= {leg.venue_order_id for leg in order.legs if leg.venue_order_id}
        token = page.next_page_token
        if not token:
            return found
