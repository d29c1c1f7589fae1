"""The one writer of the journal.

Decisions run one after another on the books in memory; what they write is committed together
with whatever queued while the last commit ran (architecture 5, the writer). A caller gets its
answer, also a no, and a watcher its news, only after the commit: all of them speak of what is on
the disk. A failed commit fails its whole batch and the books are rebuilt from the disk, unless the
disk has the batch after all. The writer itself outlives every failure: nothing that queued is ever
left without an answer.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from order_service.books import Books
from order_service.denied import Denied, JournalFailed, Kind, TakenOver
from order_service.feed import Feed
from order_service.journal_file import LEAST_FREE_BYTES
from order_service.ledger import AccountKey
from order_service.store import SqliteStore
from order_service.transaction import Transaction
from otopilot import log
from otopilot.clock import Clock

MOST_QUEUED = 10_000
WATCH_SECONDS = 1.0

T = TypeVar("T")
_log = log.get("journal")


class _Item(Generic[T]):
    """A queued decision."""

    def __init__(
        self,
        decide: Callable[[Transaction], T],
        begin_before: float | None,
        then: Callable[[T], None] | None,
    ) -> None:
        self.decide = decide
        self.begin_before = begin_before
        self.then = then
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def answer(self, answer: T) -> None:
        """It stands."""
        if not self.future.done():
            self.future.set_result(answer)
        if self.then is not None:
            _follow(self.then, answer)

    def fail(self, error: Exception) -> None:
        """It never happened."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # seen: a caller that went away leaves nobody to retrieve it


_Answers = list[tuple[_Item[Any], Any]]
_Refusals = list[tuple[_Item[Any], Exception]]


class Journal:
    """Runs decisions and makes them durable. `run()` is the only way to change anything."""

    def __init__(self, store: SqliteStore, clock: Clock, feed: Feed) -> None:
        self._store = store
        self._clock = clock
        self._feed = feed
        self._queue: list[_Item[Any]] = []
        self._wake = asyncio.Event()
        self._listeners: list[Callable[[str], None]] = []
        self.books = Books(store)
        self.failed = False  # the last commit failed: not serving until one succeeds
        self.taken_over = asyncio.Event()  # by another instance: nothing is written here any more
        self.low_on_space = False
        self._stale = False  # the books are ahead of the disk: rebuild before the next decision
        self._traded: dict[AccountKey, None] = {}  # whose ledger is ahead of it, too

    async def run(
        self,
        decide: Callable[[Transaction], T],
        *,
        begin_before: float | None = None,
        then: Callable[[T], None] | None = None,
    ) -> T:
        """Decide on the books, make it durable, then answer.

        `decide` is synchronous and raises before it changes anything. A decision that has not begun
        by the monotonic time `begin_before` never begins. `then` is called with the answer after the
        commit, also when the caller has gone by then: what a commit obliges to belongs there. Raises
        what `decide` raises, Denied (OVERLOADED) and JournalFailed.
        """
        if len(self._queue) >= MOST_QUEUED:
            raise _overloaded()
        item = _Item(decide, begin_before, then)
        self._queue.append(item)
        self._wake.set()
        # A caller that goes away takes its future along and nothing else: what is queued is decided,
        # committed and followed all the same (architecture 5.2).
        return await item.future

    # ------------------------------------------------------------------ health

    @property
    def writable(self) -> bool:
        """May anything new be begun (reliability 37, 38)?"""
        return not (self.failed or self.low_on_space or self.taken_over.is_set())

    def require_space(self) -> None:
        """For placements: what is begun must find room for all its news. Raises Denied."""
        if self.low_on_space:
            message = (
                f"the journal's disk has less than {LEAST_FREE_BYTES >> 20} MiB free: nothing is placed "
                "until there is more; cancels are taken"
            )
            raise Denied(Kind.UNAVAILABLE, "JOURNAL", message)

    async def watch_disk(self) -> None:
        """Keep the health true: look at the free space, and try again to write after a failure.

        The owner of the journal runs it until it cancels it. With nobody served, nobody else would write.
        """
        while True:
            self.look_at_space()
            if self.failed:
                await self._try_to_write()
            await self._clock.sleep(WATCH_SECONDS)

    def look_at_space(self) -> None:
        """Is there room for what may yet be journaled? A disk that cannot tell has none."""
        try:
            low = self._store.free_bytes() < LEAST_FREE_BYTES
        except OSError as error:
            _log.error("free space unknown", error=str(error))
            low = True
        if low is not self.low_on_space:
            (_log.error if low else _log.info)("free space", low=low)
        self.low_on_space = low

    async def _try_to_write(self) -> None:
        try:
            await self.run(lambda tx: tx.set_meta("tried_at", tx.now.isoformat()))
        except (JournalFailed, Denied) as error:
            _log.warning("the journal still cannot be written", error=str(error))

    # ------------------------------------------------------------------ the writer

    async def write_forever(self) -> None:
        """The writer's task; the owner of the journal runs it until it cancels it."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._queue = self._queue, []
            await self._write(batch)

    async def _write(self, batch: list[_Item[Any]]) -> None:
        try:
            self._rebuild_if_stale()
            transaction = Transaction(self.books, self._clock.now())
            with self._store.deciding():
                answers, refusals = self._decide(transaction, batch)
            if transaction.statements:
                await self._commit(transaction)
        except JournalFailed as error:
            _log.error("commit failed", error=str(error), batch=len(batch))
            self.failed = True
            if isinstance(error, TakenOver):
                self.taken_over.set()
            self._abandon(batch, error)
            return
        self._feed.publish(transaction.published)
        for alarm in transaction.alarms:
            self._sound(alarm)
        for item, answer in answers:
            item.answer(answer)
        for item, no in refusals:
            item.fail(no)

    async def _commit(self, transaction: Transaction) -> None:
        """Raises JournalFailed when nothing of it is on the disk, or nobody can tell."""
        self._stale, self._traded = True, transaction.traded  # until it is on the disk
        try:
            await self._store.commit(transaction.statements)
            self.failed = False
        except TakenOver:
            raise
        except JournalFailed as error:
            if not transaction.is_on(self._store):
                raise
            # What is on the disk happened, whatever became of the word of it: a no would be a lie.
            _log.error("commit failed once it was durable", error=str(error))
            self.failed = True
        self._stale = False

    def on_alarm(self, sound: Callable[[str], None]) -> None:
        """Call this, before anything else is decided, when the journal shows what must never happen."""
        self._listeners.append(sound)

    def _sound(self, alarm: str) -> None:
        _log.critical("alarm: managed orders traded with each other", story=alarm)
        for listener in self._listeners:
            _follow(listener, alarm)

    def _decide(self, transaction: Transaction, batch: list[_Item[Any]]) -> tuple[_Answers, _Refusals]:
        """What to say once the batch stands. Raises JournalFailed when none of it may.

        A no waits for the commit as well: it may rest on a decision before it in the same batch.
        """
        answers: _Answers = []
        refusals: _Refusals = []
        statements = transaction.statements
        for item in batch:
            if item.begin_before is not None and self._clock.monotonic() > item.begin_before:
                refusals.append((item, _overloaded()))
                continue
            mark = len(statements)
            try:
                answers.append((item, item.decide(transaction)))
            except Exception as error:
                refusals.append((item, error))
                if len(statements) != mark:
                    # It changed the books half way: a defect. Nothing of this batch may stand.
                    _log.exception("a decision failed half way")
                    item.fail(error)
                    self._stale, self._traded = True, transaction.traded
                    raise JournalFailed(f"a decision of the same batch failed half way: {error}") from error
        return answers, refusals

    def _abandon(self, batch: list[_Item[Any]], error: JournalFailed) -> None:
        for item in batch:
            item.fail(error)
        try:
            self._rebuild_if_stale()
        except JournalFailed as again:
            _log.error("books not rebuilt", error=str(again))

    def _rebuild_if_stale(self) -> None:
        """Bring the books back to the disk. Raises JournalFailed; then they stay stale."""
        if not self._stale:
            return
        try:
            self.books.rebuild(self._traded)
        except Exception as error:  # of sqlite3, or of a row that is not what it was
            raise JournalFailed(f"the journal could not be read: {error}") from error
        self._stale = False


def _follow(then: Callable[[Any], None], answer: Any) -> None:
    try:
        then(answer)
    except Exception:
        # The commit stands whatever its listeners do, and so must the writer.
        _log.exception("what follows a commit failed")


def _overloaded() -> Denied:
    return Denied(Kind.EXHAUSTED, "OVERLOADED", "the journal's writer has too much to do: ask again")
