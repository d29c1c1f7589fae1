"""What the kill drill lets pass and what it does not; `make kill-drill` is the drill itself."""

import sqlite3
from pathlib import Path

import pytest

from tests.faults.audit import Verdict
from tests.system import kill_drill
from tests.system.fleet import SERVICES
from tests.system.kill_drill import Journal, Kill, Recovery, failures, judge, schedule, table

KILL = Kill("order_service", 0.0)
AGREED = Verdict({"still in doubt": 0}, [])


def recovery(
    live: dict[str, float],
    doubted: set[str] = frozenset(),
    said: dict[str, str] | None = None,  # type: ignore[assignment]
) -> Recovery:
    return judge(KILL, 1.0, live, doubted or set(), said or {})


def test_a_seed_names_the_same_kills_again_and_another_seed_others() -> None:
    assert schedule(7, 50) == schedule(7, 50)
    assert schedule(7, 50) != schedule(8, 50)


def test_two_hundred_kills_meet_every_service_often() -> None:
    for seed in range(5):
        victims = [kill.service for kill in schedule(seed, 200)]
        assert min(victims.count(name) for name in SERVICES) > 20


def test_who_was_late_is_told_with_its_time_and_its_last_words() -> None:
    late = recovery({"1": 9.9, "2": 10.1}, said={"2": "settling: orders are being read (blocked)"})
    assert late.missed == {"2": "live only after 10.1 s: settling: orders are being read (blocked)"}
    assert recovery({"1": 10.1}, said={"1": "guard: blocked by a claim"}).missed == {}


def test_a_loop_that_waits_for_room_or_for_held_claims_counts_as_live_and_no_other_reason_does() -> None:
    reserved = recovery(
        {}, said={"1": "reserved: 3 of the target are left", "2": "guard: blocked by a claim"}
    )
    assert set(reserved.waiting) == {"1", "2"}
    assert not reserved.missed
    stuck = recovery({"1": 1.0}, said={"2": "order_unreachable: not up (blocked)", "3": "no status"})
    assert set(stuck.missed) == {"2", "3"}
    assert not stuck.waiting


def test_every_miss_every_difference_and_every_doubt_that_stays_fails_the_drill() -> None:
    well = recovery({"1": 2.0})
    assert failures([well], AGREED) == []
    assert failures([well, recovery({"1": 12.0}, said={"1": "why"})], AGREED) == [
        "kill 2 of order_service: user 1: live only after 12.0 s: why"
    ]
    assert failures([well], Verdict({"still in doubt": 0}, ["orphaned at the exchange: 1 17"]))
    assert failures([well], Verdict({"still in doubt": 2}, [])) == ["2 orders are still in doubt"]


def test_the_table_tells_doubt_apart_from_plain_recovery() -> None:
    each = recovery({"1": 2.0, "2": 17.0}, {"2"})
    assert (each.plain, each.in_doubt) == (2.0, 17.0)
    order, everything = table([each])[1:]
    assert order.split() == ["order_service", "1", "1.0", "1.0", "2.0", "2.0", "1", "17.0", "17.0", "0", "0"]
    assert everything.split()[0] == "all"


def test_the_journal_tells_who_placed_and_who_came_into_doubt_since_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "order.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE orders (order_id TEXT, user_id TEXT, state TEXT, live INTEGER, number INTEGER);
        CREATE TABLE events (sequence INTEGER, order_id TEXT, body BLOB);
        INSERT INTO orders VALUES
            ('a', '1', 'completed', 0, 1), ('b', '2', 'triggered', 1, 2), ('c', '3', 'in_doubt', 1, 3),
            ('d', '4', 'submitting', 1, 4), ('e', '5', 'rejected', 0, 5);
        INSERT INTO events VALUES
            (1, 'a', CAST('{"type":"doubted","reason":"long ago"}' AS BLOB)),
            (2, 'b', CAST('{"type":"accepted"}' AS BLOB)),
            (3, 'b', CAST('{"type":"doubted","reason":"found at start"}' AS BLOB));
        """
    )
    connection.commit()
    connection.close()
    journal = Journal(path)
    assert journal.marks() == (5, 3)
    assert journal.placed_since(0) == {"1", "2"}
    assert journal.placed_since(1) == {"2"}
    assert journal.in_doubt_since(1) == {"2", "3"}


@pytest.mark.parametrize(("differences", "code"), [([], 0), (["volume of 1 differs"], 1)])
def test_the_drill_says_its_seed_and_exits_non_zero_on_any_miss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], differences: list[str], code: int
) -> None:
    drilled: list[list[Kill]] = []

    def run(root: Path, kills: list[Kill]) -> tuple[list[Recovery], Verdict]:
        drilled.append(kills)
        return [recovery({"1": 2.0})], Verdict({"still in doubt": 0}, differences)

    monkeypatch.setattr(kill_drill, "run", run)
    monkeypatch.setattr("sys.argv", ["kill_drill", "-n", "3", "--seed", "42"])
    assert kill_drill.main() == code
    said = capsys.readouterr().out
    assert "seed 42" in said
    assert drilled == [schedule(42, 3)]
