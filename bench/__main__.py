"""All benches in turn, and one table: `python -m bench`, or `make bench`.

python -m bench --only dispatch,files      some of them
python -m bench --quick                    a twentieth of each, once: do they work?
python -m bench --write                    put table and plots into docs
"""

import argparse
import importlib
import sys
import time
from collections.abc import Iterator

from bench import report
from bench.figures import Figure, text_table
from bench.scale import FULL, QUICK, Scale

BENCHES = (
    "dispatch",
    "files",
    "rates",
    "uploads",
    "jobs",
    "validation",
    "assembly",
    "memory",
    "workers",
    "latency",
)


def measured(names: list[str], scale: Scale) -> Iterator[Figure]:
    began = time.monotonic()
    for number, name in enumerate(names, 1):
        bench = importlib.import_module(f"bench.{name}")
        first_line = bench.__doc__.splitlines()[0]
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        print(
            f"[{minutes}:{seconds:02}] {number} of {len(names)}, {name}: {first_line}",
            file=sys.stderr,
        )
        yield from bench.figures(scale)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=f"Benches: {', '.join(BENCHES)}."
    )
    parser.add_argument("--only", help="names of benches, with commas between")
    parser.add_argument("--quick", action="store_true", help="a twentieth of each, once")
    parser.add_argument("--rounds", type=int, help="how often each is measured")
    parser.add_argument("--share", type=float, help="of the requests, lines and bytes; 1 is all")
    parser.add_argument("--write", action="store_true", help="put table and plots into docs")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        parser.error(f"no bench is called {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    scale = QUICK if given.quick else FULL
    scale = Scale(given.rounds or scale.rounds, given.share or scale.share)
    found = list(measured(names, scale))
    print(text_table(found))
    if given.write:
        report.write(found, scale)
    return 0


if __name__ == "__main__":
    sys.exit(main())
