"""The invariants hold under faults and crashes; the same seed takes the same course."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import __main__, runner
from tests.simulation.planted import PLANTED
from tests.simulation.profiles import PROFILES
from tests.simulation.simulation import play

ROOT = Path(__file__).parents[2]
SEEDS = [(seed, profile) for seed in range(8) for profile in ("mild", "harsh")]


@pytest.mark.parametrize(("seed", "profile"), SEEDS)
def test_every_invariant_holds_under_faults_and_crashes(seed: int, profile: str) -> None:
    outcome = play(seed, PROFILES[profile])
    assert outcome.violation is None, "\n".join([str(outcome.violation), *outcome.lines[-50:]])
    assert outcome.placements >= 80


@pytest.mark.parametrize(("seed", "profile"), [(1, "mild"), (2, "harsh")])
def test_fifty_users_reach_a_shared_target_and_no_more(seed: int, profile: str) -> None:
    outcome = play(seed, PROFILES[profile], many=True)
    assert outcome.violation is None, "\n".join([str(outcome.violation), *outcome.lines[-50:]])


@pytest.mark.parametrize("kept", runner.regressions(), ids=lambda kept: f"{kept.seed}-{kept.profile}")
def test_a_seed_that_failed_once_holds_now(kept: runner.Regression) -> None:
    outcome = play(kept.seed, PROFILES[kept.profile], many=kept.many)
    assert outcome.violation is None, "\n".join([str(outcome.violation), *outcome.lines[-50:]])


def test_a_seed_that_fails_is_kept_when_that_is_asked_for_and_one_that_holds_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "REGRESSIONS", tmp_path)
    one = ("--seed", "1", "--profile", "harsh")
    defect = next(planted for planted in PLANTED if planted.known == (1, "harsh"))
    with defect.in_place():
        assert __main__.main(one) == 1
        assert runner.regressions() == []
        assert __main__.main((*one, "--keep")) == 1
    (kept,) = runner.regressions()
    assert (kept.seed, kept.profile, kept.many) == (1, "harsh", False)
    kept.path.unlink()
    assert __main__.main((*one, "--keep")) == 0
    assert runner.regressions() == []


def test_one_seed_takes_the_same_course_in_three_processes() -> None:
    digests = {_digest_in_another_process(hash_seed) for hash_seed in ("1", "77", "4242")}
    assert len(digests) == 1, digests


def _digest_in_another_process(hash_seed: str) -> str:
    program = (
        "from tests.simulation.profiles import HARSH\n"
        "from tests.simulation.simulation import play\n"
        "outcome = play(3, HARSH)\n"
        "print(outcome.digest, outcome.steps, outcome.placements, outcome.violation)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()
