"""Each defect that is planted is found, by the checker that is there for it."""

import pytest

from tests.simulation.planted import PLANTED
from tests.simulation.planting import Planted
from tests.simulation.profiles import PROFILES
from tests.simulation.simulation import play

MOST_SEEDS = 2_000


def test_there_are_defects_enough() -> None:
    assert len({planted.name for planted in PLANTED}) >= 15


@pytest.mark.timeout(600)
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name.replace(" ", "-"))
def test_a_planted_defect_is_found(planted: Planted) -> None:
    seed, profile = planted.known
    others = [n for n in range(MOST_SEEDS) if n != seed]
    heard = []
    for candidate in (seed, *others):
        with planted.in_place():
            violation = play(candidate, PROFILES[profile]).violation
        if violation is not None and violation.invariant in planted.found_by:
            return
        heard.append(violation.invariant if violation is not None else "nothing")
    pytest.fail(f"{planted.name} was not found in {MOST_SEEDS} seeds: {heard[:20]}")
