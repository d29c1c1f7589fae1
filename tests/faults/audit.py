"""Three books, compared to the last digit: the journal's orders, its ledger, and the exchange's own.

Reads the journal's file and the exchange's control API; trusts no service's word. Every difference is
one line of text; none is the claim.
"""

import sqlite3
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from otopilot.order import LegRole, Order, OrderState, RejectionKind
from tests.faults.processes import Pair

Row = dict[str, Any]
FINGERPRINT_MS = 600_000
# The exchange's words for the journal's.
ENDED = {"FILLED": "filled", "CANCELED": "canceled", "EXPIRED": "expired", "EXPIRED_IN_MATCH": "expired"}


class Books(NamedTuple):
    """What each side has."""

    journal: list[Order]
    doubted: set[str]
    ledger: list[Row]
    totals: list[Row]
    orders: list[Row]
    trades: list[Row]
    report: Row


class Verdict(NamedTuple):
    """The counts of the final table, and every difference in words."""

    figures: dict[str, int]
    differences: list[str]


def read(pair: Pair) -> Books:
    """All books as they are now."""
    orders, trades = pair.control("GET", "orders")["orders"], pair.control("GET", "trades")["trades"]
    report = pair.control("GET", "report")
    return Books(*journal(pair.journal), orders=orders, trades=trades, report=report)


def journal(path: Path) -> tuple[list[Order], set[str], list[Row], list[Row]]:
    """Orders, the ids of those that were ever in doubt, ledger rows and totals of a journal's file."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    connection.row_factory = sqlite3.Row
    try:
        bodies = connection.execute("SELECT body FROM orders ORDER BY number").fetchall()
        events = connection.execute("SELECT order_id, body FROM events").fetchall()
        ledger = [dict(row) for row in connection.execute("SELECT * FROM trades")]
        totals = [dict(row) for row in connection.execute("SELECT * FROM totals")]
    finally:
        connection.close()
    doubted = {row["order_id"] for row in events if row["body"].startswith(b'{"type":"doubted"')}
    return [msgspec.json.decode(row["body"], type=Order) for row in bodies], doubted, ledger, totals


def compare(books: Books) -> Verdict:
    """What the run did, and whatever does not agree."""
    found = [*_doubled(books), *_unlike(books), *_ledger(books), *_totals(books)]
    if matches := books.report["self_matches"]:
        found.append(f"{matches} trades between two managed orders")
    absent = [o for o in books.journal if o.rejection and o.rejection.kind is RejectionKind.ABSENT]
    adopted = [o for o in books.journal if o.order_id in books.doubted and o.rejection is None]
    figures = {
        "in the journal": len(books.journal),
        "accepted by the exchange": sum(row["leg"] != "pending" for row in books.orders),
        "filled": sum(order.state is OrderState.COMPLETED for order in books.journal),
        "cancelled or expired": sum(
            order.state in (OrderState.CANCELED, OrderState.EXPIRED) for order in books.journal
        ),
        "ever in doubt": len(books.doubted),
        "adopted": len(adopted),
        "absent": len(absent),
        "still in doubt": sum(order.state is OrderState.IN_DOUBT for order in books.journal),
        "doubled": len(_doubled(books)),
        "orphaned": len(_orphans(books)),
        "trades": len(books.trades),
        "differences": len(found),
    }
    return Verdict(figures, found)


def _orphans(books: Books) -> list[Row]:
    known = {(o.venue, o.user_id, leg.venue_order_id) for o in books.journal for leg in o.legs}
    return [r for r in books.orders if (r["venue"], r["user_id"], str(r["order_id"])) not in known]


def _doubled(books: Books) -> list[str]:
    """Two orders of the exchange for one of the journal: by client id, or by fingerprint on Alpha.

    A fingerprint may come again when the order that had it ended ten minutes ago (architecture 5.6).
    """
    seen: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row in books.orders:
        if row["leg"] == "pending":
            continue
        alpha = row["venue"] == "alpha"
        name = ("", row["price"], row["quantity"]) if alpha else (_first_id(row),)
        created = int(row["created_ms"]) if alpha else 0
        seen[row["venue"], row["user_id"], row["symbol"], row["side"], *name].append(created)
    requests = Counter(order.request_id for order in books.journal)
    return [
        f"{len(times)} orders of the exchange are {key}"
        for key, times in seen.items()
        if any(later - earlier < FINGERPRINT_MS for earlier, later in pairwise(sorted(times)))
    ] + [f"{count} orders of request {request}" for request, count in requests.items() if count > 1]


def _first_id(row: Row) -> str:
    """A cancel gives an order a new client id; the one it was placed with is kept beside it."""
    return str(row["original_client_id"] or row["client_id"])


def _unlike(books: Books) -> list[str]:
    """Orders of one side only, and legs of which the two sides tell different stories."""
    theirs = {(row["venue"], row["user_id"], str(row["order_id"])): row for row in books.orders}
    found = [f"orphaned at the exchange: {row['user_id']} {row['order_id']}" for row in _orphans(books)]
    for order in books.journal:
        placed = order.rejection is None
        for leg in order.legs:
            row = theirs.get((order.venue, order.user_id, leg.venue_order_id or ""))
            if row is None:
                if placed:
                    found.append(f"{order.order_id} {leg.role}: the exchange has no order of it")
                continue
            told = (leg.filled_quantity, leg.filled_quote, str(leg.status))
            true = (Decimal(row["executed"]), Decimal(row["quote"]), ENDED.get(row["status"]))
            if told[:2] != true[:2]:
                found.append(f"{order.order_id} {leg.role}: journal {told}, exchange {true}")
            elif true[2] != (told[2] if leg.is_over else None):
                found.append(f"{order.order_id} {leg.role}: journal {told[2]}, exchange {row['status']}")
    return found


def _ledger(books: Books) -> list[str]:
    """Every trade of theirs is one row of ours, with the same amounts and the same fee."""
    ours: dict[tuple[str, str, str], list[tuple[Decimal, ...]]] = defaultdict(list)
    for row in books.ledger:
        ours[row["venue"], row["user_id"], row["venue_order_id"]].append(_amounts(row))
    true: dict[tuple[str, str, str], list[tuple[Decimal, ...]]] = defaultdict(list)
    for row in books.trades:
        true[row["venue"], row["user_id"], str(row["order_id"])].append(_amounts(row))
    return [
        f"trades of {key}: ledger {sorted(ours[key])}, exchange {sorted(true[key])}"
        for key in ours.keys() | true.keys()
        if sorted(ours.get(key, [])) != sorted(true.get(key, []))
    ]


def _amounts(row: Row) -> tuple[Decimal, ...]:
    return tuple(Decimal(row[name]) for name in ("price", "quantity", "quote", "fee"))


def _totals(books: Books) -> list[str]:
    """The totals that volume is counted from, against the exchange's trades."""
    ours: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in books.totals:
        ours[row["venue"], row["user_id"], row["symbol"], row["side"].upper()] += Decimal(row["quote"])
    true: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in books.trades:
        true[row["venue"], row["user_id"], row["symbol"], row["side"]] += Decimal(row["quote"])
    return [
        f"volume of {key}: totals {ours.get(key)}, exchange {true.get(key)}"
        for key in ours.keys() | true.keys()
        if ours.get(key, 0) != true.get(key, 0)
    ]


def open_buys(books: Books) -> list[Order]:
    """Orders whose working leg has not ended."""
    return [o for o in books.journal if not o.is_over and not o.leg(LegRole.WORKING).is_over]
