"""Simulated worlds from the command line: replay one, or go on until told to stop.

python -m tests.simulation --seed 4711 --trace     replays one, step by step
python -m tests.simulation --seeds 0:100           these, until one fails
python -m tests.simulation --seconds 600           fresh ones for ten minutes
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# Tests import each other by names that begin below this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulation.machine import Report, simulate


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, help="run this one")
    parser.add_argument("--seeds", metavar="FIRST:END", help="run these")
    parser.add_argument("--seconds", type=float, help="run fresh ones for so long")
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    began, runs = time.monotonic(), 0
    for seed in _seeds(given):
        report = simulate(seed, print if given.trace else None)
        runs += 1
        counts += report.counts
        if given.seed is not None:
            print(f"seed {seed}: {report.digest}")
        if report.violations:
            print(failure(report))
            return 1
        if given.seconds and time.monotonic() - began > given.seconds:
            break
    print(f"{runs} worlds in {time.monotonic() - began:.0f} s, every rule kept in all of them")
    for name, count in sorted(counts.items()):
        print(f"{count:>12,}  {name}")
    return 0


def failure(report: Report) -> str:
    """What was broken, and the command that breaks it again."""
    return "\n".join(
        [
            *(f"  {line}" for line in report.trace),
            f"seed {report.seed} breaks {len(report.violations)} rules:",
            *(f"  {line}" for line in report.violations[:10]),
            f"again: .venv/bin/python -m tests.simulation --seed {report.seed} --trace",
        ]
    )


def _seeds(given: argparse.Namespace) -> Iterator[int]:
    if given.seed is not None:
        yield given.seed
    elif given.seeds:
        first, end = given.seeds.split(":")
        yield from range(int(first), int(end))
    else:
        fresh = random.SystemRandom()
        while True:
            yield fresh.randrange(10**9)


if __name__ == "__main__":
    sys.exit(main())
