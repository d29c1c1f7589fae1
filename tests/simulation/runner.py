"""Many seeds over several processes: counts, the first failures, how long it took.

Each process plays every n-th seed. A seed that fails is written to the regression folder when that
is asked for, and the test suite plays it from then on.
"""

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.simulation.profiles import PROFILES
from tests.simulation.simulation import Outcome, play

Seed = tuple[int, str, bool]  # its number, its profile, and whether it has many users
REGRESSIONS = Path(__file__).parent / "regressions"


@dataclass(frozen=True)
class Regression:
    """A seed that failed once."""

    seed: int
    profile: str
    failed: str  # the invariant and its story, as it was then
    many: bool = False  # fifty users on a shared target

    @property
    def path(self) -> Path:
        """Its file."""
        return REGRESSIONS / f"{'shared-' if self.many else ''}{self.profile}-{self.seed}.json"


@dataclass(frozen=True)
class Report:
    """What came of many seeds."""

    seeds: int
    failures: list[Outcome]
    steps: int
    placements: int
    virtual_seconds: float
    wall_seconds: float
    cpu_seconds: float


def regressions() -> list[Regression]:
    """Every seed that is kept."""
    return [Regression(**json.loads(path.read_text())) for path in sorted(REGRESSIONS.glob("*.json"))]


def keep(outcome: Outcome) -> Path:
    """Write a failing seed down."""
    kept = Regression(outcome.seed, outcome.profile, str(outcome.violation)[:500], outcome.many)
    kept.path.write_text(json.dumps(asdict(kept), indent=2) + "\n")
    return kept.path


def run(
    seeds: list[Seed],
    jobs: int,
    seconds: float | None = None,
    told: Callable[[Outcome], None] = lambda _: None,
) -> Report:
    """Play the seeds, as many as there is time for."""
    began, cpu = time.monotonic(), 0.0
    count, steps, placements, virtual = 0, 0, 0, 0.0
    failures: list[Outcome] = []
    for outcome, used in _outcomes(seeds, jobs, None if seconds is None else began + seconds):
        count, cpu = count + 1, cpu + used
        steps, placements = steps + outcome.steps, placements + outcome.placements
        virtual += outcome.seconds
        if outcome.violation is not None:
            failures.append(outcome)
        told(outcome)
    return Report(count, failures, steps, placements, virtual, time.monotonic() - began, cpu)


def _outcomes(seeds: list[Seed], jobs: int, until: float | None) -> Iterator[tuple[Outcome, float]]:
    if jobs == 1:
        for seed in seeds:
            if until is not None and time.monotonic() > until:
                return
            yield _play(seed)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for outcome in pool.imap_unordered(_play, seeds):
            yield outcome
            if until is not None and time.monotonic() > until:
                pool.terminate()
                return


def _play(seed: Seed) -> tuple[Outcome, float]:
    began = time.process_time()
    try:
        outcome = play(seed[0], PROFILES[seed[1]], many=seed[2])
    except Exception as error:
        raise RuntimeError(f"seed {seed[0]} ({seed[1]}) could not be played to its end") from error
    return outcome, time.process_time() - began
