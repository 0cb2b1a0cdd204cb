"""Simulated worlds from the command line: replay one, or go on until told to stop.

python -m tests.simulation --seed 4711 --trace     replays one, step by step
python -m tests.simulation --seeds 0:100           these, until one fails
python -m tests.simulation --seconds 600           fresh ones for ten minutes
"""

import argparse
import random
import shlex
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

# Tests import each other by names that begin below this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulation.machine import Report, simulate
from simulation.tally import Tally
from simulation.weather import KINDS


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
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument(
        "--with",
        dest="insisted",
        action="append",
        default=[],
        choices=sorted({*KINDS}),
        metavar="KIND",
        help="let this kind of trouble be in all worlds: " + ", ".join(sorted({*KINDS})),
    )
    given = parser.parse_args()
    tally = Tally()
    for seed in _seeds(given):
        report = simulate(seed, print if given.trace else None, given.insisted)
        tally.add(report)
        tally.show()
        if given.seed is not None and not given.json:
            print(f"seed {seed}: {report.digest}")
        if report.violations:
            tally.show(done=True)
            print(failure(report))
            return 1
        if given.seconds and tally.seconds > given.seconds:
            break
    tally.show(done=True)
    print(tally.as_json() if given.json else tally.table())
    return 0


def failure(report: Report) -> str:
    """What was broken, and the command that breaks it again."""
    insisted = "".join(f" --with {shlex.quote(kind)}" for kind in report.insisted)
    return "\n".join(
        [
            *(f"  {line}" for line in report.trace),
            f"seed {report.seed} breaks {len(report.violations)} rules:",
            *(f"  {line}" for line in report.violations[:10]),
            f"again: .venv/bin/python -m tests.simulation --seed {report.seed} --trace{insisted}",
        ]
    )


def _seeds(given: argparse.Namespace) -> Iterator[int]:
    if given.seed is not None:
        yield given.seed
    elif given.seeds:
        first, end = given.seeds.split(":")
        yield from range(int(first), int(end))
    else:
        # One after the other, so that two numbers tell which they were.
        yield from count(random.SystemRandom().randrange(10**9))


if __name__ == "__main__":
    sys.exit(main())
