"""How many requests a second one worker sends, by how many are in flight, beside wrk.

The upstream answers at once and shares the machine, so on two cores it sets the pace from some
point on; this is for the shape of the curve.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.clients.call import measure
from bench.figures import Figure
from bench.inputs import one_body, write_input
from bench.processes import upstream
from bench.scale import Scale
from bench.wrk import Wrk

IN_FLIGHT = (1, 8, 64, 256, 1024)
PROMPT_BYTES = 200


def figures(scale: Scale) -> Iterator[Figure]:
    requests, wrk = scale.of(20_000), Wrk.find()
    rounds = min(3, scale.rounds)
    with tempfile.TemporaryDirectory() as folder, upstream() as port:
        source = Path(folder) / "input.jsonl"
        write_input(source, requests, PROMPT_BYTES)
        for in_flight in IN_FLIGHT:
            ours, theirs = [], []
            for _ in range(rounds):
                found = measure("ours.py", sys.executable, source, port, requests, in_flight)
                ours.append(found["rate"])
                if wrk:
                    theirs.append(wrk.run(port, in_flight, one_body(PROMPT_BYTES), seconds=1)[1])
            yield Figure(
                f"worker, requests per second, {in_flight:,} in flight",
                "/s",
                ours,
                peers={"wrk": theirs} if wrk else {},
                plot="rates",
                at=in_flight,
            )
