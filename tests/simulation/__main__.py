"""`python -m tests.simulation`: play many seeds, or one seed again with its trace.

`--seed n` repeats one seed exactly; without it `--seeds` of them are played from `--from` on. With
`--keep` the seeds that fail are written to regressions/, and the test suite plays them from then on.
Exit 1 when an invariant does not hold.
"""

import argparse
import sys
from collections.abc import Sequence

from tests.simulation import runner
from tests.simulation.profiles import PROFILES, SETS
from tests.simulation.simulation import Outcome, play

SHOWN = 50  # lines of a failure's trace
NAMED = 5  # failures whose trace is shown


def main(words: Sequence[str] | None = None) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this one seed")
    parser.add_argument("--trace", action="store_true", help="with --seed: print everything that happens")
    parser.add_argument("--seeds", type=int, default=300, help="how many (default 300)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--profile", choices=sorted(SETS), default="both")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--seconds", type=float, help="begin no seed after that long")
    parser.add_argument("--shared", action="store_true", help="fifty users on a shared target")
    parser.add_argument("--keep", action="store_true", help="write failing seeds to regressions/")
    args = parser.parse_args(words)
    profiles = SETS[args.profile]
    if args.seed is not None:
        echo = print if args.trace else None
        outcomes = [play(args.seed, PROFILES[p], echo, many=args.shared) for p in profiles]
        for outcome in outcomes:
            _show(outcome)
        if args.keep:
            _keep(outcomes)
        return int(any(outcome.violation for outcome in outcomes))
    numbers = range(args.first, args.first + args.seeds)
    seeds = [(n, profiles[n % len(profiles)], args.shared) for n in numbers]
    report = runner.run(seeds, args.jobs, args.seconds, _dot)
    print()
    for failed in report.failures[:NAMED]:
        _show(failed)
    for failed in report.failures[NAMED:]:
        print(f"seed {failed.seed} ({failed.profile}): {str(failed.violation)[:200]}")
    if args.keep:
        _keep(report.failures)
    print(
        f"{report.seeds} seeds ({args.profile}, from {args.first}), {len(report.failures)} violations;"
        f" {report.placements} placements, {report.steps} steps,"
        f" {report.virtual_seconds / 3600:.1f} virtual hours"
        f" in {report.wall_seconds:.0f} s, {report.cpu_seconds / max(1, report.seeds):.2f} s CPU a seed"
    )
    return int(bool(report.failures))


def _dot(outcome: Outcome) -> None:
    if outcome.violation is None:
        print(".", end="", flush=True)
    else:  # at once: a run that is cut short has told
        print(f"\nseed {outcome.seed} ({outcome.profile}): {str(outcome.violation)[:300]}", flush=True)


def _keep(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.violation is not None:
            print(f"kept: {runner.keep(outcome)}")


def _show(outcome: Outcome) -> None:
    where = f"seed {outcome.seed} ({outcome.profile}), step {outcome.steps}, {outcome.seconds:.3f} s"
    if outcome.violation is None:
        print(f"{where}: holds; {outcome.placements} placements, trace {outcome.digest}")
        return
    print(f"{where}: {outcome.violation}")
    print("\n".join(outcome.lines[-SHOWN:]))
    target = "simulate-shared" if outcome.many else "simulate"
    print(f"again: make {target} SEED={outcome.seed} PROFILE={outcome.profile}")


if __name__ == "__main__":
    sys.exit(main())
