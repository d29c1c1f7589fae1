"""The invariants of reliability section 2, each a small class that looks at what changed."""

from typing import TYPE_CHECKING

from tests.simulation.checkers.base import Checker

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


def all_checkers(sim: "Simulation") -> list[Checker]:
    """One of each."""
    return [kind(sim) for kind in ()]
