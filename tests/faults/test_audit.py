"""The audit sees what it is for: a checker that catches nothing is broken."""

import copy
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from otopilot.instrument import Venue
from otopilot.order import OrderId, OrderState
from tests.faults import audit
from tests.faults.audit import Books
from tests.faults.floor import Floor
from tests.virtual_loop import virtual


def orphan(books: Books) -> Books:
    books.journal.pop()
    return books


def forgotten(books: Books) -> Books:
    books.orders.pop()
    return books


def doubled(books: Books) -> Books:
    books.orders.append(books.orders[0] | {"order_id": 1})
    return books


def other_status(books: Books) -> Books:
    books.orders[0]["status"] = "CANCELED"
    return books


def other_quantity(books: Books) -> Books:
    books.orders[0]["executed"] = "0.4999"
    return books


def lost_trade(books: Books) -> Books:
    books.ledger.pop()
    return books


def made_up_trade(books: Books) -> Books:
    books.ledger.append(books.ledger[0])
    return books


def other_fee(books: Books) -> Books:
    books.ledger[0]["fee"] = str(Decimal(books.ledger[0]["fee"]) + Decimal("0.00000001"))
    return books


def other_total(books: Books) -> Books:
    books.totals[0]["quote"] = str(Decimal(books.totals[0]["quote"]) + Decimal("0.00000001"))
    return books


def self_match(books: Books) -> Books:
    books.report["self_matches"] = 1
    return books


def repeated_request(books: Books) -> Books:
    books.journal.append(msgspec.structs.replace(books.journal[0], order_id=OrderId("another")))
    return books


TAMPERINGS = (
    orphan,
    forgotten,
    doubled,
    other_status,
    other_quantity,
    lost_trade,
    made_up_trade,
    other_fee,
    other_total,
    self_match,
    repeated_request,
)


@pytest.mark.parametrize("venue", list(Venue))
def test_each_difference_is_seen_and_true_books_have_none(tmp_path: Path, venue: Venue) -> None:
    async def story() -> Books:
        async with Floor(tmp_path, venue) as floor:
            await floor.add("1")
            order = await floor.place(buy="1.002", sell="1.005")
            await floor.reaches(order, OrderState.TRIGGERED)
            floor.move_price(floor.price * 101 / 100)
            await floor.reaches(order, OrderState.COMPLETED)
            await floor.agree()
            return floor.books()

    books = virtual(story)()
    assert audit.compare(books).differences == []
    for tamper in TAMPERINGS:
        tampered = tamper(copy.deepcopy(books))
        assert audit.compare(tampered).differences, tamper.__name__


@pytest.mark.parametrize(("minutes", "twice"), [(0, True), (9, True), (11, False)])
def test_an_alpha_fingerprint_may_come_again_ten_minutes_later_and_not_before(
    minutes: int, twice: bool
) -> None:
    row = {"venue": "alpha", "user_id": "1", "symbol": "X", "side": "BUY", "leg": "working"}
    row |= {"price": "48", "quantity": "1"}
    rows = [row | {"created_ms": 7_000_000 + at * 60_000} for at in (0, minutes)]
    books = Books([], set(), [], [], rows, [], {"self_matches": 0})
    assert bool(audit._doubled(books)) is twice
