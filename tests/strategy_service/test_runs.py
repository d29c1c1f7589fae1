"""The run table survives the process; places are fair; rates are honest."""

import sqlite3
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest

from strategy_service.history import Ended, History
from strategy_service.places import Places
from strategy_service.reasons import RoundResult
from strategy_service.runs import Runs, RunsInUse
from strategy_service.state import Outcome, RoundEnd, StopMode
from strategy_service.status import Rate, StrategyStatus, UserState, UserStatus
from strategy_service.strategy_run import describe
from tests.strategy_service.builders import strategy

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_runs_are_there_after_the_process_went(tmp_path: Path) -> None:
    first = Runs(tmp_path / "runs.db")
    first.begin("s", NOON, "r1")
    first.wish_stop("s", "2", StopMode.CANCEL)
    first.end_user("s", "1", Ended(Outcome.REACHED, NOON, ("o1", "o2")))
    first.close()
    again = Runs(tmp_path / "runs.db")
    (run,) = again.runs()
    assert (run.strategy_id, run.desired, run.started_at, run.ended_at) == ("s", True, NOON, None)
    assert again.ended_users("s") == {"1": Ended(Outcome.REACHED, NOON, ("o1", "o2"))}
    assert again.stop_wishes("s") == {"2": StopMode.CANCEL}
    again.close()


def test_a_new_run_forgets_how_the_last_one_ended() -> None:
    runs = Runs(None)
    runs.begin("s", NOON, "r1")
    runs.end_user("s", "1", Ended(Outcome.STOPPED, NOON, ()))
    runs.wish_stop("s", "1", StopMode.DRAIN)
    runs.end("s", NOON)
    runs.begin("s", NOON + timedelta(hours=1), "r2")
    run = runs.run("s")
    assert run is not None
    assert (run.desired, run.ended_at) == (True, None)
    assert not runs.ended_users("s")
    assert not runs.stop_wishes("s")


def test_two_services_cannot_share_a_run_table(tmp_path: Path) -> None:
    first = Runs(tmp_path / "runs.db")
    with pytest.raises(RunsInUse, match="another strategy service"):
        Runs(tmp_path / "runs.db")
    first.close()
    Runs(tmp_path / "runs.db").close()


def test_a_scopes_revision_rises_with_its_content_and_only_then() -> None:
    runs = Runs(None)
    assert runs.scope_revision("s", "a") == 1
    assert runs.scope_revision("s", "a") == 1
    assert runs.scope_revision("s", "b") == 2
    assert runs.scope_revision("s", "a") == 3
    assert runs.scope_revision("s", "a", at_least=9) == 9


def test_requests_are_known_again_and_bounded() -> None:
    runs = Runs(None)
    assert runs.known("a") is None
    runs.remember("a", "start", NOON)
    assert runs.known("a") == "start"
    runs.remember("", "start", NOON)
    assert runs.known("") is None
    for number in range(1001):
        runs.remember(f"r{number}", "start", NOON)
    assert runs.known("a") is None


def test_places_are_for_distinct_users_in_order_of_asking() -> None:
    places, granted = Places(1), []
    for who, user in (("a", "1"), ("b", "2"), ("c", "1"), ("d", "3")):
        places.ask(who, user, lambda who=who: granted.append(who))  # type: ignore[misc]
    assert granted == ["a", "c"]  # user 1 has its place in both strategies
    places.leave("b")
    places.give_back("1")
    assert granted == ["a", "c"]
    places.give_back("1")
    assert granted == ["a", "c", "d"]
    assert not places.anybody_waits


def test_more_places_are_handed_out_when_the_limit_rises() -> None:
    places, granted = Places(1), []
    for user in "123":
        places.ask(user, user, lambda user=user: granted.append(user))  # type: ignore[misc]
    places.resize(2)
    assert granted == ["1", "2"]


def test_the_rate_is_of_the_last_minute_and_a_new_day_starts_it_anew() -> None:
    rate = Rate()
    assert rate.per_minute() == 0
    for second in range(121):
        rate.sample(second, D(second))
    assert rate.per_minute() == pytest.approx(D(60), abs=D("0.01"))
    rate.sample(122, D(0))
    assert rate.per_minute() == 0


def status(scope: str, *volumes: str, rates: tuple[str, ...] = ()) -> StrategyStatus:
    config = strategy(users=tuple(str(i) for i in range(len(volumes))), target="100", target_scope=scope)
    users = tuple(
        UserStatus(
            user_id=str(i),
            state=UserState.RUNNING,
            volume=D(volume),
            volume_per_minute=D(rates[i]) if rates else D(0),
        )
        for i, volume in enumerate(volumes)
    )
    return describe(config, users, symbol="")


def test_per_user_progress_counts_no_more_than_each_ones_target() -> None:
    assert status("per_user", "150", "50").progress == "75.00%"
    assert status("shared", "50", "25.999").progress == "75.99%"


def test_the_eta_is_of_the_slowest_user_and_unknown_without_a_rate() -> None:
    assert status("shared", "40", "20", rates=("60", "60")).eta_seconds == 20
    assert status("per_user", "40", "90", rates=("60", "60")).eta_seconds == 60
    assert status("per_user", "40", "90", rates=("60", "0")).eta_seconds == -1
    assert status("shared", "40", "20").eta_seconds == -1
    assert status("shared", "140").eta_seconds == 0


def test_rounds_of_a_table_without_their_lateness_are_kept_and_new_ones_have_it() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    History(db)
    db.execute("ALTER TABLE rounds DROP COLUMN late_ms")
    old = ("s", "1", 1, "filled", NOON.isoformat(), NOON.isoformat(), "30", 1, 0, "")
    db.execute("INSERT INTO rounds VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", old)
    history = History(db)
    end = RoundEnd(cycle=2, result=RoundResult.FILLED, started_at=NOON, ended_at=NOON, late=0.0125)
    history.add("s", "1", end)
    newest, oldest = history.rounds("", "", None, 10)
    assert (newest.end.late, oldest.end.late) == (0.012, None)


def test_trades_that_come_late_amend_their_round_whether_it_was_written_or_not() -> None:
    history = History(sqlite3.connect(":memory:", isolation_level=None))
    first = RoundEnd(cycle=1, result=RoundResult.FILLED, started_at=NOON, ended_at=NOON)
    second = RoundEnd(cycle=2, result=RoundResult.FILLED, started_at=NOON, ended_at=NOON, skipped=0)
    history.add("s", "1", first)
    history.write()
    history.add("s", "1", msgspec.structs.replace(first, bought=D("29.9"), amends=True))
    history.add("s", "1", second)
    history.add("s", "1", msgspec.structs.replace(second, bought=D(30), amends=True))
    told = [(each.end.cycle, each.end.bought) for each in history.rounds("", "", None, 10)]
    assert told == [(2, D(30)), (1, D("29.9"))]
