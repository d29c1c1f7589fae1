"""The guard's own acceptance in small; `make guard-hour` plays the whole hour."""

from tests.simulation.guard_hour import play

MINUTES = 5.0


def test_ten_users_on_one_symbol_never_trade_with_each_other_and_do_without_the_guard() -> None:
    guarded = play(guarded=True, minutes=MINUTES)
    assert guarded.matches == 0
    assert guarded.placements > 100
    assert guarded.denials > 0
    assert guarded.waited, "nobody ever waited: the users did not meet"
    free = play(guarded=False, minutes=MINUTES)
    assert free.matches > 10, "without the guard they meet: otherwise the hour proves nothing"
    assert free.denials == 0
