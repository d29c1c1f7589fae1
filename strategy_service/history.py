"""Rounds and runs that are over, for whoever asks later: tables beside the run table.

The loops hand rounds over at any rate; they are written once a second, in one transaction. A
crash may lose the last second of this history, never an order (those are in the journal).
"""

import sqlite3
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from otopilot import log, money
from strategy_service.reasons import Reason, RoundResult
from strategy_service.state import Outcome, RoundEnd

_log = log.get("history")

SCHEMA = """
CREATE TABLE IF NOT EXISTS rounds (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    strategy_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    cycle INTEGER NOT NULL,
    result TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    bought TEXT NOT NULL,
    tries INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    skipped_reason TEXT NOT NULL,
    late_ms INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS rounds_of_a_user ON rounds (strategy_id, user_id, sequence);
CREATE TABLE IF NOT EXISTS past_runs (
    strategy_id TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    config_revision TEXT NOT NULL,
    users TEXT NOT NULL
) STRICT;
"""
# The newest row of a cycle: the cycles of a run that was begun anew may have the numbers of another's.
_AMEND = """
UPDATE rounds SET bought = ? WHERE sequence = (
    SELECT sequence FROM rounds
    WHERE strategy_id = ? AND user_id = ? AND cycle = ? AND result <> 'skipped'
    ORDER BY sequence DESC LIMIT 1
)
"""
_MOST_ROUNDS = 50_000
_MOST_RUNS = 1_000
_MOST_UNWRITTEN = 10_000  # beyond that the oldest are not kept


class Ended(NamedTuple):
    """How a user's part in a run ended."""

    outcome: Outcome
    ended_at: datetime
    left_open: tuple[str, ...]


class PastRound(NamedTuple):
    """A round as it is kept."""

    sequence: int
    strategy_id: str
    user_id: str
    end: RoundEnd


class PastRun(NamedTuple):
    """A run, over or not, and the users whose part has ended."""

    strategy_id: str
    started_at: datetime
    ended_at: datetime | None
    config_revision: str
    users: dict[str, Ended]


class History:
    """Owns the rounds that are not written yet, over a database that somebody else opens and closes."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._db.executescript(SCHEMA)
        if "late_ms" not in {row[1] for row in db.execute("PRAGMA table_info(rounds)")}:
            self._db.execute("ALTER TABLE rounds ADD COLUMN late_ms INTEGER")
        self._unwritten: deque[tuple[str, str, RoundEnd]] = deque(maxlen=_MOST_UNWRITTEN)

    # ------------------------------------------------------------------ rounds

    def add(self, strategy_id: str, user_id: str, end: RoundEnd) -> None:
        """A round is over."""
        self._unwritten.append((strategy_id, user_id, end))

    def write(self) -> None:
        """Keep what was added, the newest so many; what the disk does not take stays for the next time."""
        if not self._unwritten:
            return
        rows = [_row(*each) for each in self._unwritten if not each[2].amends]
        amended = [(money.text(end.bought), *who, end.cycle) for *who, end in self._unwritten if end.amends]
        try:
            self._insert(rows, amended)
        except sqlite3.Error as error:
            _log.error("rounds not written", error=str(error), waiting=len(self._unwritten))
        else:
            self._unwritten.clear()

    def _insert(self, rows: Sequence[tuple[object, ...]], amended: Sequence[tuple[object, ...]]) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO rounds VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.executemany(_AMEND, amended)
            self._db.execute(
                "DELETE FROM rounds WHERE sequence <= (SELECT max(sequence) FROM rounds) - ?", (_MOST_ROUNDS,)
            )

    def rounds(self, strategy_id: str, user_id: str, before: int | None, most: int) -> list[PastRound]:
        """The newest rounds of all, a strategy or a user (empty: any), older than that sequence."""
        self.write()
        rows = self._db.execute(
            "SELECT * FROM rounds WHERE (? = '' OR strategy_id = ?) AND (? = '' OR user_id = ?)"
            " AND (? IS NULL OR sequence < ?) ORDER BY sequence DESC LIMIT ?",
            (strategy_id, strategy_id, user_id, user_id, before, before, most),
        )
        return [_round(row) for row in rows]

    # ------------------------------------------------------------------ runs

    def keep(self, run: PastRun) -> None:
        """A newer run replaces this one; the newest thousand are kept."""
        ended = run.ended_at.isoformat() if run.ended_at else None
        users = msgspec.json.encode(run.users).decode()
        row = (run.strategy_id, run.started_at.isoformat(), ended, run.config_revision, users)
        self._db.execute("INSERT INTO past_runs VALUES (?, ?, ?, ?, ?)", row)
        self._db.execute(
            "DELETE FROM past_runs WHERE rowid <= (SELECT max(rowid) FROM past_runs) - ?", (_MOST_RUNS,)
        )

    def runs(self, strategy_id: str) -> list[PastRun]:
        """Runs that newer ones replaced, newest first; of all strategies with an empty id."""
        rows = self._db.execute(
            "SELECT * FROM past_runs WHERE ? = '' OR strategy_id = ? ORDER BY rowid DESC",
            (strategy_id, strategy_id),
        )
        return [
            PastRun(
                name,
                datetime.fromisoformat(started),
                datetime.fromisoformat(ended) if ended else None,
                revision,
                msgspec.json.decode(users, type=dict[str, Ended]),
            )
            for name, started, ended, revision, users in rows
        ]


def _row(strategy_id: str, user_id: str, end: RoundEnd) -> tuple[str | int | None, ...]:
    return (
        strategy_id,
        user_id,
        end.cycle,
        end.result.value,
        end.started_at.isoformat(),
        end.ended_at.isoformat(),
        money.text(end.bought),
        end.tries,
        end.skipped,
        end.skipped_reason.value if end.skipped_reason is not None else "",
        None if end.late is None else round(end.late * 1000),
    )


def _round(row: tuple[int, str, str, int, str, str, str, str, int, int, str, int | None]) -> PastRound:
    sequence, strategy_id, user_id, cycle, result, started, ended, bought, tries, skipped, reason, late = row
    end = RoundEnd(
        cycle=cycle,
        result=RoundResult(result),
        started_at=datetime.fromisoformat(started),
        ended_at=datetime.fromisoformat(ended),
        bought=money.parse(bought),
        tries=tries,
        skipped=skipped,
        skipped_reason=Reason(reason) if reason else None,
        late=None if late is None else late / 1000,
    )
    return PastRound(sequence, strategy_id, user_id, end)
