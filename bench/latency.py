"""How full an upstream is kept that takes its time: its rate beside the ideal one.

`overnight run` sends a file to an upstream that answers after 200 ms (512 in flight), and to one
that takes 50 to 500 ms (2,048 in flight). Measured at the upstream, from the moment when a fifth
of the requests is answered to when four fifths are. Ideal: what is in flight, divided by the mean
of the latencies that were drawn. What the upstream itself needs beyond those counts against us:
the note says how much it was.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure
from bench.inputs import write_input
from bench.processes import running, upstream
from bench.scale import Scale

PROMPT_BYTES = 200
ROUNDS_MAX = 3
LOOK_SECONDS = 0.03


@dataclass(frozen=True)
class Case:
    latency_ms: str
    in_flight: int
    requests: int


CASES = (Case("200", 512, 30_000), Case("50-500", 2_048, 80_000))


@dataclass(frozen=True)
class Steady:
    """The middle of a run: requests per second, and of a request's time what the upstream took
    beyond the latency drawn for it.
    """

    rate: float
    ideal: float
    late_ms: float


def figures(scale: Scale) -> Iterator[Figure]:
    for case in CASES:
        # A short run has hardly a middle.
        requests = max(scale.of(case.requests), 12 * case.in_flight)
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "input.jsonl"
            write_input(source, requests, PROMPT_BYTES)
            rounds = [
                _measure(case, source, requests) for _ in range(min(scale.rounds, ROUNDS_MAX))
            ]
        late_ms = statistics.median(each.late_ms for each in rounds)
        yield Figure(
            f"rate, upstream of {case.latency_ms} ms, {case.in_flight:,} in flight",
            "/s",
            [each.rate for each in rounds],
            peers={"ideal": [each.ideal for each in rounds]},
            ratio_at_least=0.98,
            note=f"The upstream itself took {late_ms:.1f} ms longer than the latencies drawn.",
        )


def _measure(case: Case, source: Path, requests: int) -> Steady:
    output = source.with_name("output.jsonl")
    command = [sys.executable, "-m", "overnight", "run", source, "--output", output, "--overwrite"]
    command += ["--max-in-flight", str(case.in_flight), "--upstream"]
    with (
        upstream("--latency-ms", case.latency_ms) as port,
        running([*command, f"http://127.0.0.1:{port}/v1"], stderr=subprocess.DEVNULL) as process,
    ):
        looks = list(_looks(port, requests // 5, requests * 4 // 5))
        if process.wait(60):
            raise RuntimeError(f"overnight run ended with {process.returncode}")
    first, last = looks[0], looks[-1]
    answered = last["answered"] - first["answered"]
    drawn = last["drawn_seconds"] - first["drawn_seconds"]
    taken = last["taken_seconds"] - first["taken_seconds"]
    # Replies may come in bursts, so that two looks alone would tell what time it was in the burst.
    rate = statistics.linear_regression(
        [look["at"] for look in looks], [look["answered"] for look in looks]
    ).slope
    return Steady(
        rate=rate,
        ideal=case.in_flight * answered / drawn,
        late_ms=(taken - drawn) / answered * 1e3,
    )


def _looks(port: int, first: int, last: int) -> Iterator[dict[str, float]]:
    """What the upstream has done, again and again, while it has answered so many requests."""
    deadline = time.monotonic() + 120
    answered = 0.0
    while answered < last:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/spent", timeout=10) as reply:
            spent = json.load(reply)
        answered = spent["answered"]
        if answered >= first:
            yield spent
        if time.monotonic() > deadline:
            raise TimeoutError(f"the upstream has not answered {last:,} requests")
        time.sleep(LOOK_SECONDS)
