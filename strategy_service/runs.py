"""The run table: what shall run, how each user ended, which revision each scope has.

Its own small SQLite file. With it and the order journal a strategy service that was killed
goes on without a person (architecture, opening paragraph). Writes are rare and short, so they
are made where they happen. A start or a pause that cannot be written is refused; what has happened,
a stop among it, has happened: it is written, in its order, as soon as the disk takes it.
"""

import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import grpc

from otopilot import log
from otopilot.order import LegRole, OrderId, RequestId
from otopilot.rpc import Fault
from strategy_service.history import Ended, History, PastRun
from strategy_service.state import Outcome, StopMode

_log = log.get("runs")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    strategy_id TEXT PRIMARY KEY,
    desired INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    config_revision TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS run_users (
    strategy_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    left_open TEXT NOT NULL,
    PRIMARY KEY (strategy_id, user_id)
) STRICT;
CREATE TABLE IF NOT EXISTS stop_wishes (
    strategy_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    mode TEXT NOT NULL,
    PRIMARY KEY (strategy_id, user_id)
) STRICT;
CREATE TABLE IF NOT EXISTS scopes (
    scope_id TEXT PRIMARY KEY,
    content TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS leftovers (
    strategy_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (strategy_id, user_id, order_id, request_id, role)
) STRICT;
CREATE TABLE IF NOT EXISTS pauses (
    strategy_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (strategy_id, user_id)
) STRICT;
CREATE TABLE IF NOT EXISTS first_cycles (
    strategy_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    cycle INTEGER NOT NULL,
    PRIMARY KEY (strategy_id, user_id)
) STRICT;
CREATE TABLE IF NOT EXISTS identity (
    name TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS requests (
    request_id TEXT PRIMARY KEY,
    what TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
"""
_MOST_REQUESTS = 1000
_MOST_UNWRITTEN = 10_000
EVERYBODY = ""  # instead of a user's id: whoever takes part in the strategy


class RunsInUse(Exception):
    """Another strategy service has the run table open, or it cannot be opened."""


@contextmanager
def _refused_unless_written() -> Iterator[None]:
    """What is asked for, and must outlive the process, or not be. Raises Fault RUN_TABLE."""
    try:
        yield
    except sqlite3.Error as error:
        text = f"the run table cannot be written ({error}): look at its disk, then ask again"
        raise Fault(grpc.StatusCode.UNAVAILABLE, "RUN_TABLE", text) from error


class Run(NamedTuple):
    """A strategy's newest run."""

    strategy_id: str
    desired: bool
    started_at: datetime
    ended_at: datetime | None
    config_revision: str


class Leftover(NamedTuple):
    """A cancel wish of an ended loop that order_service has not taken; of an order or of a request.

    Of the pending leg: whatever of the order is on the book, and what gets there by a fill.
    """

    strategy_id: str
    user_id: str
    order_id: OrderId
    request_id: RequestId
    role: LegRole


class Runs:
    """The table, open, by one process at a time."""

    def __init__(self, path: Path | None) -> None:
        """None keeps it in memory (the embedded executor, and tests). Raises RunsInUse."""
        self._unwritten: deque[tuple[str, tuple[object, ...]]] = deque(maxlen=_MOST_UNWRITTEN)
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=2.0)
            # The file stays locked until it is closed: two supervisors of one table must not be.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            self.history = History(self._db)
            columns = [row[1] for row in self._db.execute("PRAGMA table_info(stop_wishes)")]
            if "mode" not in columns:  # a table of an earlier release
                self._db.execute("ALTER TABLE stop_wishes ADD COLUMN mode TEXT NOT NULL DEFAULT 'drain'")
        except (sqlite3.Error, OSError) as error:
            raise RunsInUse(
                f"the run table {path} cannot be opened ({error}): is another strategy service running?"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self.write()
        self._db.close()

    def write(self) -> None:
        """Write what is not written yet; what the disk does not take stays for the next time."""
        self._try_to_catch_up()
        self.history.write()

    def _catch_up(self) -> None:
        while self._unwritten:
            self._db.execute(*self._unwritten[0])
            self._unwritten.popleft()

    def _try_to_catch_up(self) -> None:
        try:
            self._catch_up()
        except sqlite3.Error as error:
            _log.error("run table not written", error=str(error), waiting=len(self._unwritten))

    def _happened(self, statement: str, *values: object) -> None:
        self._unwritten.append((statement, values))
        self._try_to_catch_up()

    def identity(self, fresh: str) -> str:
        """The table's own name, under which its processes own the placing right; the fresh one at first."""
        row = self._db.execute("SELECT name FROM identity").fetchone()
        if row is None:
            self._db.execute("INSERT INTO identity VALUES (?)", (fresh,))
        return str(row[0]) if row else fresh

    @_refused_unless_written()
    def begin(self, strategy_id: str, at: datetime, config_revision: str) -> None:
        """A new run is wanted; the one before it becomes history, its stops and pauses are forgotten."""
        self._catch_up()
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for earlier in self.past_runs(strategy_id, replaced=False):
                self.history.keep(earlier)
            for table in ("run_users", "stop_wishes", "pauses", "first_cycles"):
                self._db.execute(
                    f"DELETE FROM {table} WHERE strategy_id = ?",  # noqa: S608 - constants
                    (strategy_id,),
                )
            self._db.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, 1, ?, NULL, ?)",
                (strategy_id, at.isoformat(), config_revision),
            )

    def apply(self, strategy_id: str, config_revision: str) -> None:
        """The run obeys this configuration now."""
        self._happened(
            "UPDATE runs SET config_revision = ? WHERE strategy_id = ?", config_revision, strategy_id
        )

    @_refused_unless_written()
    def desire(self, strategy_id: str) -> None:
        """The run that goes on already is wanted."""
        self._catch_up()
        self._db.execute("UPDATE runs SET desired = 1, ended_at = NULL WHERE strategy_id = ?", (strategy_id,))

    def undesire(self, strategy_id: str) -> None:
        """It shall not run any more, and not after a restart either."""
        self._happened("UPDATE runs SET desired = 0 WHERE strategy_id = ?", strategy_id)

    def end(self, strategy_id: str, at: datetime) -> None:
        """Every user of it ended: it stays finished until it is started again."""
        self._happened(
            "UPDATE runs SET desired = 0, ended_at = ? WHERE strategy_id = ? AND ended_at IS NULL",
            at.isoformat(),
            strategy_id,
        )

    def end_user(self, strategy_id: str, user_id: str, ended: Ended) -> None:
        """A user's part is over."""
        self._happened(
            "INSERT OR REPLACE INTO run_users VALUES (?, ?, ?, ?, ?)",
            strategy_id,
            user_id,
            ended.outcome.value,
            ended.ended_at.isoformat(),
            " ".join(ended.left_open),
        )

    def forget_user(self, strategy_id: str, user_id: str) -> None:
        """The user takes part again."""
        for table in ("run_users", "stop_wishes", "pauses"):
            self._happened(
                f"DELETE FROM {table} WHERE strategy_id = ? AND user_id = ?",  # noqa: S608 - constants
                strategy_id,
                user_id,
            )

    def wish_stop(self, strategy_id: str, user_id: str, mode: StopMode) -> None:
        """The user winds down, now or after a restart; a weaker wish leaves a stronger one as it is."""
        known = self.stop_wishes(strategy_id).get(user_id)
        if known is None or mode.strength > known.strength:
            self._happened(
                "INSERT OR REPLACE INTO stop_wishes (strategy_id, user_id, mode) VALUES (?, ?, ?)",
                strategy_id,
                user_id,
                mode.value,
            )

    def stop_wishes(self, strategy_id: str) -> dict[str, StopMode]:
        """Who was told to wind down in the newest run, and how."""
        rows = self._db.execute("SELECT user_id, mode FROM stop_wishes WHERE strategy_id = ?", (strategy_id,))
        return {user: StopMode(mode) for user, mode in rows}

    @_refused_unless_written()
    def pause(self, strategy_id: str, user_ids: Iterable[str]) -> None:
        """These users place no BUY, now or after a restart; EVERYBODY: whoever takes part."""
        self._db.executemany(
            "INSERT OR IGNORE INTO pauses VALUES (?, ?)", [(strategy_id, user) for user in user_ids]
        )

    @_refused_unless_written()
    def resume(self, strategy_id: str, user_ids: Iterable[str]) -> None:
        """These pauses are over."""
        self._db.executemany(
            "DELETE FROM pauses WHERE strategy_id = ? AND user_id = ?",
            [(strategy_id, user) for user in user_ids],
        )

    def paused(self, strategy_id: str) -> frozenset[str]:
        """Who is paused; EVERYBODY among them: all of the strategy."""
        rows = self._db.execute("SELECT user_id FROM pauses WHERE strategy_id = ?", (strategy_id,))
        return frozenset(user for (user,) in rows)

    def first_cycle(self, strategy_id: str, user_id: str, cycle: int) -> int:
        """The journal's cycle before the user's first of this run; the given one when it begins now."""
        key = (strategy_id, user_id)
        row = self._db.execute(
            "SELECT cycle FROM first_cycles WHERE strategy_id = ? AND user_id = ?", key
        ).fetchone()
        if row is None:
            self._happened("INSERT OR IGNORE INTO first_cycles VALUES (?, ?, ?)", *key, cycle)
        return int(row[0]) if row else cycle

    def leave(self, left: Leftover) -> None:
        """A wish is to be carried out, now or after a restart."""
        self._happened("INSERT OR IGNORE INTO leftovers VALUES (?, ?, ?, ?, ?)", *left)

    def taken(self, left: Leftover) -> None:
        """It is carried out, or there is nothing to cancel."""
        self._happened(
            "DELETE FROM leftovers WHERE strategy_id = ? AND user_id = ? AND order_id = ?"
            " AND request_id = ? AND role = ?",
            *left,
        )

    def leftovers(self) -> list[Leftover]:
        """What is not carried out yet."""
        rows = self._db.execute("SELECT * FROM leftovers ORDER BY rowid")
        return [Leftover(s, u, OrderId(o), RequestId(r), LegRole(role)) for s, u, o, r, role in rows]

    def run(self, strategy_id: str) -> Run | None:
        """The newest run of a strategy."""
        row = self._db.execute("SELECT * FROM runs WHERE strategy_id = ?", (strategy_id,)).fetchone()
        return _run(row) if row else None

    def runs(self) -> list[Run]:
        """The newest run of every strategy that ever ran."""
        return [_run(row) for row in self._db.execute("SELECT * FROM runs ORDER BY strategy_id")]

    def ended_users(self, strategy_id: str) -> dict[str, Ended]:
        """Who of the newest run ended, and how."""
        rows = self._db.execute(
            "SELECT user_id, outcome, ended_at, left_open FROM run_users WHERE strategy_id = ?",
            (strategy_id,),
        )
        return {
            user: Ended(Outcome(outcome), datetime.fromisoformat(at), tuple(left.split()))
            for user, outcome, at, left in rows
        }

    def past_runs(self, strategy_id: str = "", *, replaced: bool = True) -> list[PastRun]:
        """Runs newest first, the present ones included; of one strategy or all."""
        present = [
            PastRun(
                run.strategy_id,
                run.started_at,
                run.ended_at,
                run.config_revision,
                self.ended_users(run.strategy_id),
            )
            for run in self.runs()
            if strategy_id in ("", run.strategy_id)
        ]
        earlier = self.history.runs(strategy_id) if replaced else []
        return sorted([*present, *earlier], key=lambda run: run.started_at, reverse=True)

    @_refused_unless_written()
    def scope_revision(self, scope_id: str, content: str, at_least: int = 1) -> int:
        """The revision of that content: the one it has, or a higher one when it is new."""
        row = self._db.execute(
            "SELECT content, revision FROM scopes WHERE scope_id = ?", (scope_id,)
        ).fetchone()
        if row is not None and row[0] == content and row[1] >= at_least:
            return int(row[1])
        revision = max(at_least, row[1] + 1 if row is not None else 1)
        self._db.execute("INSERT OR REPLACE INTO scopes VALUES (?, ?, ?)", (scope_id, content, revision))
        return int(revision)

    def known(self, request_id: str) -> str | None:
        """What was done for this request; none when it is new. An empty id is always new."""
        row = self._db.execute("SELECT what FROM requests WHERE request_id = ?", (request_id,)).fetchone()
        return str(row[0]) if row and request_id else None

    def remember(self, request_id: str, what: str, at: datetime) -> None:
        """This request was acted upon. The newest thousand are kept."""
        if not request_id:
            return
        self._happened("INSERT OR IGNORE INTO requests VALUES (?, ?, ?)", request_id, what, at.isoformat())
        self._happened(
            "DELETE FROM requests WHERE rowid NOT IN"
            " (SELECT rowid FROM requests ORDER BY rowid DESC LIMIT ?)",
            _MOST_REQUESTS,
        )


def _run(row: tuple[str, int, str, str | None, str]) -> Run:
    strategy_id, desired, started, ended, revision = row
    return Run(
        strategy_id,
        bool(desired),
        datetime.fromisoformat(started),
        datetime.fromisoformat(ended) if ended else None,
        revision,
    )
