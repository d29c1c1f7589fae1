"""Placements per second: group commit against one commit an order, with the real placing decision.

500 users place on four symbols, 100 of them at any time; each placement is decided whole (idempotency,
epochs, filters, slot, funds, guard, fingerprint, volume scope) and is durable before it counts. A round
is: the disk alone, one writer, the other one, then group commit at a steady 1,000 orders a second, each
on a new journal; ratios are taken within a round, so that a noisy machine disturbs both sides of one.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from order_service import placing
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
STEADY_PER_SECOND = 1000


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
class Run:
    """What one writer did in one round."""

    per_second: float
    cpu_us: float  # of this process, a placement
    seconds: list[float]  # of each placement

    @property
    def p50(self) -> float:
        """Half of them were faster, in seconds."""
        return statistics.median(self.seconds)


@dataclass
class Round:
    """One of each, close together in time."""

    floor: list[float]  # seconds of each fdatasync
    single: Run
    group: Run
    steady: Run

    @property
    def sync(self) -> float:
        """The disk alone, p50 in seconds."""
        return statistics.median(self.floor)


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
        band_price=Decimal("48.01706542"),
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


async def in_flight(desk: Desk, asks: list[list[Ask]], seconds: list[float]) -> None:
    """Everybody places on every symbol, one after another, so many at a time."""

    async def loop(first: int) -> None:
        for user in range(first, USERS, IN_FLIGHT):
            for ask in asks[user]:
                await desk.place(ask, seconds)

    await asyncio.gather(*map(loop, range(IN_FLIGHT)))


async def steadily(desk: Desk, asks: list[list[Ask]], seconds: list[float]) -> None:
    """The same placements, each begun at its own moment whatever became of those before."""
    began, loop = time.perf_counter(), asyncio.get_running_loop()
    placing_: list[asyncio.Task[None]] = []
    for number, ask in enumerate(ask for of_user in asks for ask in of_user):
        ahead = began + number / STEADY_PER_SECOND - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        placing_.append(loop.create_task(desk.place(ask, seconds)))
    await asyncio.gather(*placing_)


async def run(
    path: Path,
    kind: type[Journal],
    load: Callable[[Desk, list[list[Ask]], list[float]], Awaitable[None]],
) -> Run:
    """One writer on a new journal under a load."""
    desk = Desk(path, kind)
    writer = asyncio.create_task(desk.journal.write_forever())
    await desk.journal.run(desk.prepare)
    seconds: list[float] = []
    now = desk.clock.now()
    asks = [[an_ask(user_of(user), symbol, now) for symbol in desk.known] for user in range(USERS)]
    began, cpu = time.perf_counter(), time.process_time()
    await load(desk, asks, seconds)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    writer.cancel()
    desk.store.close()
    return Run(len(seconds) / took, cpu / len(seconds) * 1e6, seconds)


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


def one_round(directory: Path) -> Round:
    """The disk alone, then each writer on a new journal beside it."""
    syncs = floor(directory)
    single = asyncio.run(run(directory / "single.db", OneCommitEach, in_flight))
    group = asyncio.run(run(directory / "group.db", Journal, in_flight))
    steady = asyncio.run(run(directory / "steady.db", Journal, steadily))
    return Round(syncs, single, group, steady)


def show(name: str, runs: list[Run], sync: float) -> None:
    """A line of the table."""
    per_second = statistics.median(one.per_second for one in runs)
    cpu = min(one.cpu_us for one in runs)
    seconds = sorted(second for one in runs for second in one.seconds)
    p50, p99 = (seconds[int(len(seconds) * share)] * 1000 for share in (0.5, 0.99))
    print(f"{name:<28}{per_second:>10,.0f}{cpu:>14.0f}{p50:>10.2f}{p99:>10.2f}{p50 / sync / 1000:>14.1f} x")


def show_ratio(what: str, ratios: list[float], wanted: str) -> None:
    """The rounds' ratios in one line."""
    print(
        f"{what:<62}{statistics.median(ratios):>6.1f}   "
        f"({min(ratios):.1f} to {max(ratios):.1f}; wanted: {wanted})"
    )


def main() -> None:
    """Play the rounds, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--directory", type=Path, help="on the disk to be measured; none: the current one")
    arguments = parser.parse_args()
    rounds: list[Round] = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory(dir=arguments.directory or Path.cwd()) as name:
            rounds.append(one_round(Path(name)))
    sync = statistics.median(second for one in rounds for second in one.floor)
    print(
        f"{len(rounds)} rounds; {IN_FLIGHT} placements in flight, or {STEADY_PER_SECOND:,} a second steadily"
    )
    print(f"fdatasync alone: p50 {sync * 1000:.2f} ms")
    print(f"{'':<28}{'orders/s':>10}{'CPU us each':>14}{'p50 ms':>10}{'p99 ms':>10}{'p50/fdatasync':>16}")
    show("one commit an order", [one.single for one in rounds], sync)
    show("group commit", [one.group for one in rounds], sync)
    show("group commit, steadily", [one.steady for one in rounds], sync)
    ratios = [one.group.per_second / one.single.per_second for one in rounds]
    show_ratio("throughput, group commit against one commit an order", ratios, "5 or more")
    ratios = [one.steady.p50 / one.sync for one in rounds]
    show_ratio(f"p50 at {STEADY_PER_SECOND:,} orders/s against fdatasync alone", ratios, "2.5 or less")


if __name__ == "__main__":
    main()
