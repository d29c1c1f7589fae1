"""`python -m tests.simulation`: run seeds, or one seed again with its trace."""

import argparse
import sys
import time

from tests.simulation.profiles import PROFILES
from tests.simulation.simulation import play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="harsh")
    parser.add_argument("--trace", action="store_true")
    args = parser.parse_args()
    began = time.process_time()
    outcome = play(args.seed, PROFILES[args.profile], print if args.trace else None)
    print(outcome.seed, outcome.violation, outcome.steps, outcome.seconds, outcome.placements, outcome.digest,
          f"{time.process_time() - began:.2f} s")
    if outcome.violation:
        print("\n".join(outcome.lines[-50:]))
    return 1 if outcome.violation else 0


if __name__ == "__main__":
    sys.exit(main())
