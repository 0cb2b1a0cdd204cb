"""Real processes, really killed: rounds of all scenarios, and what they came to.

python -m tests.chaos                              every scenario, for some minutes
python -m tests.chaos --seconds 3600               for as long as you like
python -m tests.chaos --only kills --seed 4711     one round again
"""

import argparse
import json
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# Tests import each other by names that begin below this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos.frame import Outcome, Scenario, play
from chaos.report import as_json, failure, rows_of, table
from chaos.scenarios import scenarios

INTERRUPTED = 130

DEFAULT_SECONDS = 360.0
"""With the last round that began before, less than eight minutes."""


def main() -> int:
    # Asked to end in whatever way, it takes along what it started, and tells how far it came.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = _arguments()
    chosen = [one for one in scenarios() if not given.only or one.name in given.only]
    began = time.monotonic()
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        _play_all(chosen, given, outcomes, began)
    except KeyboardInterrupt:
        interrupted = True
    rows, seconds = rows_of([one.name for one in chosen], outcomes), time.monotonic() - began
    failed = [outcome for outcome in outcomes if outcome.failure]
    if given.json:
        print(json.dumps(as_json(rows, seconds), indent=2))
    else:
        print("", table(rows, seconds), *map(failure, failed), sep="\n")
    return INTERRUPTED if interrupted else 1 if failed else 0


def _play_all(
    chosen: list[Scenario], given: argparse.Namespace, outcomes: list[Outcome], began: float
) -> None:
    to_terminal = sys.stdout.isatty() and not given.json
    for scenario, seed in _rounds(chosen, given, outcomes, began):
        if to_terminal:
            print(f"  …       {scenario.name}, seed {seed}", end="", flush=True)
        try:
            outcomes.append(play(scenario, seed))
        finally:
            if to_terminal:
                print("\r\x1b[K", end="", flush=True)
        told = _told(outcomes[-1])
        print(told, file=sys.stderr if given.json else sys.stdout, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [scenario.name for scenario in scenarios()]
    parser.add_argument(
        "--seconds", type=float, default=DEFAULT_SECONDS, help="begin no round after"
    )
    parser.add_argument("--seed", type=int, help="one round with this seed, and no other")
    parser.add_argument("--only", action="append", choices=names, help="this one; may be repeated")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    return parser.parse_args()


def _rounds(
    chosen: list[Scenario], given: argparse.Namespace, outcomes: list[Outcome], began: float
) -> Iterator[tuple[Scenario, int]]:
    """Each scenario once, then again in turn; one that failed, or can not be played, not again."""
    fresh = random.SystemRandom()
    if given.seed is not None:
        yield from ((scenario, given.seed) for scenario in chosen)
        return
    first = True
    while chosen:
        for scenario in chosen:
            if not first and time.monotonic() - began + scenario.seconds > given.seconds:
                return
            yield scenario, fresh.randrange(10**9)
        over = {outcome.scenario for outcome in outcomes if outcome.failure or outcome.not_here}
        chosen = [scenario for scenario in chosen if scenario.name not in over]
        first = False


def _told(outcome: Outcome) -> str:
    verdict = "FAILED" if outcome.failure else "not here" if outcome.not_here else "kept"
    return f"{outcome.seconds:6.1f} s  {outcome.scenario}, seed {outcome.seed}: {verdict}"


if __name__ == "__main__":
    sys.exit(main())
