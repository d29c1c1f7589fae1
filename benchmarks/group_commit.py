"""Placements per second: group commit against one commit an order, with the real placing decision.

500 users place on four symbols, 100 of them at any time; each placement is decided whole (idempotency,
epochs, filters, slot, funds, guard, fingerprint, volume scope) and is durable before it counts. Rounds
of the two writers alternate with measurements of the disk alone, each round on a new journal.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from order_service import check, journal_file, placing
from order_service.feed import Feed
from order_service.journal import Journal
from order_service.ledger import FIRST_MOMENT, AccountKey
from order_service.placing import Ask, Circumstances
from order_service.store import Cursor, SqliteStore
from order_service.transaction import Transaction
from order_service.venues.port import FeeRates
from otopilot.clock import SystemClock
from otopilot.instrument import Instrument, Side, Venue
from otopilot.order import OrderId, Purpose, RequestId, ScopeId, StrategyId, UserId
from otopilot.position import ScopeMember, VolumeScope

IN_FLIGHT = 100
USERS_EACH = 5  # that one of those in flight places for, in turn
USERS = IN_FLIGHT * USERS_EACH
SYMBOLS = 4
TARGET = Decimal(10**9)


class OneCommitEach(Journal):
    """The same writer without its point: every decision has a commit of its own."""

    async def write_forever(self) -> None:
        """As the journal's, one by one."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._queue = self._queue, []
            for item in batch:
                await self._write([item])


@dataclass
class Round:
    """What one round took."""

    per_second: float
    seconds: list[float]  # of each placement


class Desk:
    """A journal with users, scopes and read histories, ready to place on."""

    def __init__(self, path: Path, kind: type[Journal]) -> None:
        self.clock = SystemClock()
        self.store = SqliteStore(path)
        self.journal = kind(self.store, self.clock, Feed(self.store.instance_epoch))
        self.known = {symbol: circumstances(symbol) for symbol in map(name_of, range(SYMBOLS))}

    def prepare(self, tx: Transaction) -> None:
        """One scope a symbol, over everybody."""
        tx.books.owner_epoch = 1
        tx.set_meta("owner_epoch", "1")
        for symbol in self.known:
            members = tuple(ScopeMember(user_of(n), Venue.ALPHA, symbol) for n in range(USERS))
            tx.set_scope(VolumeScope(scope_id=ScopeId(symbol), members=members, target=TARGET))
            for member in members:
                account = AccountKey(member.user_id, member.venue, member.symbol)
                tx.set_cursor(account, Cursor(FIRST_MOMENT, FIRST_MOMENT))

    async def place(self, ask: Ask, seconds: list[float]) -> None:
        """One placement, from the question to the durable answer."""
        began = time.perf_counter()
        known, order_id = self.known[ask.symbol], OrderId(self.clock.new_id())

        def decide(tx: Transaction) -> object:
            if found := placing.find_existing(tx.books, ask):
                return found
            return placing.decide(tx, ask, known, order_id, self.clock.now())

        await self.journal.run(decide)
        seconds.append(time.perf_counter() - began)


def name_of(number: int) -> str:
    """A symbol."""
    return f"ALPHA_{100 + number}USDT"


def user_of(number: int) -> UserId:
    """A user."""
    return UserId(f"user{number:03}")


def circumstances(symbol: str) -> Circumstances:
    """What the venue says of a symbol."""
    instrument = Instrument(
        venue=Venue.ALPHA,
        symbol=symbol,
        token="KOGE",  # noqa: S106 - of a chain
        chain="BSC",
        base_asset=symbol.removesuffix("USDT"),
        quote_asset="USDT",
        tick_size=Decimal("0.00000001"),
        step_size=Decimal("0.0001"),
        min_quantity=Decimal("0.0001"),
        min_notional=Decimal(5),
    )
    return Circumstances(
        instrument=instrument,
        fees=FeeRates(buy=Decimal("0.0001"), sell=Decimal("0.0001")),
        last_price=Decimal("48.01706542"),
        free_quote=Decimal(10**6),
        free_quote_at=datetime.now(UTC),
        has_client_ids=False,
    )


def an_ask(user_id: UserId, symbol: str, now: datetime) -> Ask:
    """An OTO as a loop asks for it."""
    return Ask(
        request_id=RequestId(f"st/{user_id}/{symbol}/1/0"),
        owner_epoch=1,
        user_id=user_id,
        venue=Venue.ALPHA,
        symbol=symbol,
        strategy_id=StrategyId("st"),
        cycle=1,
        try_number=0,
        step=0,
        scope_id=ScopeId(symbol),
        purpose=Purpose.OTO,
        side=Side.BUY,
        quantity=Decimal("0.5123"),
        price=Decimal("48.01706542"),
        limit_price=None,
        pending_price=Decimal("48.50706542"),
        price_confirmed_at=now,
        max_price_age=timedelta(seconds=60),
    )


async def one_round(directory: Path, kind: type[Journal]) -> Round:
    """Everybody places on every symbol, one after another."""
    path = directory / "order.db"
    desk = Desk(path, kind)
    writer = asyncio.create_task(desk.journal.write_forever())
    await desk.journal.run(desk.prepare)
    seconds: list[float] = []

    now = desk.clock.now()
    asks = [[an_ask(user_of(user), symbol, now) for symbol in desk.known] for user in range(USERS)]

    async def loop(first: int) -> None:
        for user in range(first, USERS, IN_FLIGHT):
            for ask in asks[user]:
                await desk.place(ask, seconds)

    began = time.perf_counter()
    await asyncio.gather(*map(loop, range(IN_FLIGHT)))
    took = time.perf_counter() - began
    writer.cancel()
    desk.store.close()
    return Round(len(seconds) / took, seconds)


def floor(directory: Path) -> list[float]:
    """Seconds of an fdatasync after a page was appended."""
    took = []
    with (directory / "floor").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return took


def start_seconds(path: Path) -> tuple[int, float]:
    """How long the check of a journal takes at a start, and of how many events."""
    connection = journal_file.connect(path, read_only=True)
    began = time.perf_counter()
    sound = check.verify(connection)
    took = time.perf_counter() - began
    connection.close()
    return sound.events, took


def show(name: str, rounds: list[Round]) -> float:
    """A line of the table; returns the median throughput."""
    per_second = statistics.median(one.per_second for one in rounds)
    seconds = sorted(second for one in rounds for second in one.seconds)
    p50, p99 = (seconds[int(len(seconds) * share)] * 1000 for share in (0.5, 0.99))
    print(f"{name:<24}{per_second:>12,.0f}{p50:>10.2f}{p99:>10.2f}")
    return per_second


def main() -> None:
    """Alternate the writers, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="on the disk to be measured; none: the current one")
    arguments = parser.parse_args()
    syncs: list[float] = []
    single: list[Round] = []
    group: list[Round] = []
    checked = (0, 0.0)
    for _ in range(arguments.rounds):
        for kind, rounds in ((OneCommitEach, single), (Journal, group)):
            with tempfile.TemporaryDirectory(dir=arguments.directory or Path.cwd()) as name:
                directory = Path(name)
                syncs.extend(floor(directory))
                rounds.append(asyncio.run(one_round(directory, kind)))
                if kind is Journal:
                    checked = start_seconds(directory / "order.db")
    print(f"group commit, {IN_FLIGHT} placements in flight, {arguments.rounds} rounds of each, alternating")
    print(f"{'':<24}{'orders/s':>12}{'p50 ms':>10}{'p99 ms':>10}")
    one = show("one commit an order", single)
    many = show("group commit", group)
    syncs.sort()
    p50, p99 = (syncs[int(len(syncs) * share)] * 1000 for share in (0.5, 0.99))
    print(f"{'fdatasync alone':<24}{'':>12}{p50:>10.2f}{p99:>10.2f}")
    print(f"ratio {many / one:.1f} (wanted: at least 5)")
    events, took = checked
    print(
        f"check at start: {took * 1000:.0f} ms for {events} events, {took / events * 1e5:.2f} s per 100,000"
    )


if __name__ == "__main__":
    main()
