"""Each defect that is planted is found, by every checker that is there for it, watching alone."""

import pytest

from tests.simulation import checkers
from tests.simulation.checkers.base import Checker
from tests.simulation.planted import PLANTED
from tests.simulation.planting import Planted
from tests.simulation.profiles import PROFILES
from tests.simulation.simulation import play

MOST_SEEDS = 2_000


def test_there_are_defects_enough() -> None:
    assert len({planted.name for planted in PLANTED}) >= 15


def test_every_checker_watches_and_has_a_defect_that_it_must_find() -> None:
    written = {kind for kind in _below(Checker) if kind.name}
    assert written == set(checkers.ALL)
    assert written == {kind for planted in PLANTED for kind in planted.found_by}


def _below(kind: type[Checker]) -> set[type[Checker]]:
    return {found for direct in kind.__subclasses__() for found in (direct, *_below(direct))}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name.replace(" ", "-"))
def test_a_planted_defect_is_found_by_each_of_its_checkers(planted: Planted) -> None:
    seed, profile = planted.known
    missing = planted.found_by
    assert missing, "a defect that nobody finds proves nothing"
    heard = []
    for candidate in (seed, *(n for n in range(MOST_SEEDS) if n != seed)):
        with planted.in_place():
            outcome = play(candidate, PROFILES[profile], only=missing)
        missing = tuple(kind for kind in missing if kind not in outcome.found)
        if not missing:
            return
        heard.append(str(outcome.violation)[:80])
    pytest.fail(f"{planted.name}: {missing} did not find it in {MOST_SEEDS} seeds: {heard[:20]}")
