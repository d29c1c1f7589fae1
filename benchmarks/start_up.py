"""What a start costs with a long history: the check of the file, then the books made from it.

The history is made by the writer's own transactions: OTO cycles of 500 users on four symbols, each
placed, accepted, filled on both sides with one trade a leg. At the end one order a user and symbol rests.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec

from benchmarks.group_commit import SYMBOLS, USERS, name_of, user_of
from order_service import check, journal_file
from order_service.books import Books
from order_service.ledger import AccountKey, LedgerRow
from order_service.store import SqliteStore
from order_service.transaction import Transaction
from otopilot.clock import SystemClock
from otopilot.instrument import Side, Venue
from otopilot.order import (
    Fee,
    Leg,
    LegRole,
    LegStatus,
    News,
    Order,
    OrderId,
    Report,
    RequestId,
    ScopeId,
    StrategyId,
    Trade,
    Traded,
    TradeKey,
    VenueOrderId,
    advance,
)

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
EACH = timedelta(seconds=10)  # a cycle
BATCH = 500
BUY, SELL = Decimal("48.01706542"), Decimal("48.50706542")
BOUGHT = Decimal("0.5123")


def an_order(number: int, order_id: OrderId) -> Order:
    """The number-th order of everybody's."""
    user, cycle = user_of(number % USERS), number // USERS + 1
    symbol = name_of(number // USERS % SYMBOLS)
    at = BEGAN + number * EACH

    def leg(role: LegRole, side: Side, price: Decimal) -> Leg:
        return Leg(role=role, side=side, asked_price=price, price=price, quantity=BOUGHT)

    return Order(
        order_id=order_id,
        request_id=RequestId(f"st/{user}/{symbol}/{cycle}/0"),
        user_id=user,
        venue=Venue.ALPHA,
        symbol=symbol,
        strategy_id=StrategyId("st"),
        cycle=cycle,
        try_number=0,
        step=0,
        scope_id=ScopeId(symbol),
        legs=(leg(LegRole.WORKING, Side.BUY, BUY), leg(LegRole.PENDING, Side.SELL, SELL)),
        submitted_at=at,
        updated_at=at,
    )


def live(tx: Transaction, number: int, order: Order, *, whole: bool) -> None:
    """Its life: on the book, and when `whole` also filled, sold and in the ledger."""
    for place, leg in enumerate(order.legs):
        venue_id = VenueOrderId(f"{2 * number + place}")
        opened = Report(role=leg.role, status=LegStatus.OPEN, at=order.updated_at, venue_order_id=venue_id)
        order = _learn(tx, order, opened)
        if not whole:
            return
        filled = Report(
            role=leg.role, status=LegStatus.FILLED, at=order.updated_at, reported_quantity=leg.quantity
        )
        order = _learn(tx, order, filled)
        trade = Trade(
            key=TradeKey(f"{venue_id}-1"),
            side=leg.side,
            price=leg.price,
            quantity=leg.quantity,
            quote=leg.price * leg.quantity,
            fee=Fee("USDT", Decimal("0.00246")),
            traded_at=order.updated_at,
            venue_order_id=venue_id,
        )
        order = _learn(tx, order, Traded(role=leg.role, trade=trade, at=order.updated_at))
        account = AccountKey(order.user_id, order.venue, order.symbol)
        fee = trade.fee.amount
        tx.add_trade(LedgerRow(account=account, trade=trade, order_id=order.order_id, fee_value=fee))


def _learn(tx: Transaction, order: Order, news: News) -> Order:
    after = advance(order, news)
    tx.update(order, after, msgspec.json.encode(news))
    return after


async def make(path: Path, orders: int) -> None:
    """A journal with so many orders."""
    clock, store = SystemClock(), SqliteStore(path, inline=True)
    books = Books(store)
    for first in range(0, orders, BATCH):
        tx = Transaction(books, clock.now())
        for number in range(first, min(orders, first + BATCH)):
            order = an_order(number, OrderId(clock.new_id()))
            tx.insert(order, "0" * 64)
            live(tx, number, order, whole=number < orders - USERS * SYMBOLS)
        await store.commit(tx.statements)
    store.close()


def timed(name: str, work: Callable[[], object]) -> float:
    """Seconds that it took, shown."""
    began = time.perf_counter()
    work()
    took = time.perf_counter() - began
    print(f"{name:<44}{took:>8.2f} s")
    return took


def main() -> None:
    """Make a journal, then start on it step by step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, help="on the disk to be measured; none: the current one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory or Path.cwd()) as name:
        path = Path(name) / "order.db"
        timed(f"(making {arguments.orders:,} orders)", lambda: asyncio.run(make(path, arguments.orders)))
        print(f"{path.stat().st_size / 1e6:,.0f} MB")
        connection = journal_file.connect(path, read_only=True)
        timed("pages and indexes (SQLite's own check)", lambda: check.check_pages(connection))
        connection.close()
        timed("opening: those, every checksum, every total", lambda: _open(path))
        store = SqliteStore(path)
        timed("books: live orders, every own trade folded", lambda: Books(store))
        before = Books(store)
        timed("books after a failed commit without a trade", lambda: before.rebuild({}))
        store.close()


def _open(path: Path) -> None:
    SqliteStore(path).close()


if __name__ == "__main__":
    main()
