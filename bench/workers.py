"""What a second worker costs: CPU per request of all workers, beside one worker alone.

The same job goes in turn through three services: with one worker and one upstream, with two workers
and an upstream for each, and with two workers that share one upstream by lanes. Counted is the CPU
that the worker processes take from the upload until the results are downloaded. All is on one
machine, upstreams included, so the walls would say little.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Figure
from bench.files import submit
from bench.inputs import write_input
from bench.processes import cpu_seconds, family, service, upstream
from bench.scale import Scale

IN_FLIGHT = 256
PROMPT_BYTES = 200
ROUNDS_MAX = 3


@dataclass
class Rig:
    """A service at rest, to be measured again and again."""

    what: str
    url: str
    supervisor: int
    us: list[float] = field(default_factory=list)

    def measure(self, source: Path, requests: int) -> None:
        workers = _workers(self.supervisor)
        before = [cpu_seconds(pid) for pid in workers]
        submit(source, self.url)
        spent = [cpu_seconds(pid) - was for pid, was in zip(workers, before, strict=True)]
        if len(spent) > 1 and min(spent) < max(spent) / 10:
            raise RuntimeError(f"{self.what}: a worker was left out: {spent} CPU s")
        self.us.append(sum(spent) / requests * 1e6)


def figures(scale: Scale) -> Iterator[Figure]:
    # Fewer would be over before both workers have had their part.
    requests = max(scale.of(60_000), 20_000)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        many, few = folder / "many.jsonl", folder / "few.jsonl"
        write_input(many, requests, PROMPT_BYTES)
        write_input(few, 5_000, PROMPT_BYTES)
        rigs = list(_rigs(stack, folder))
        for rig in rigs:
            submit(few, rig.url)  # Connections are opened, and what is made once is made.
        for _ in range(min(scale.rounds, ROUNDS_MAX)):
            for rig in rigs:
                rig.measure(many, requests)
    alone, *pairs = rigs
    for rig in pairs:
        yield Figure(
            f"{rig.what}, CPU of the workers per request",
            "µs",
            rig.us,
            peers={"one worker": alone.us},
            ratio_at_most=1.15,
        )


def _rigs(stack: ExitStack, folder: Path) -> Iterator[Rig]:
    first, second = (stack.enter_context(upstream()) for _ in range(2))
    two = ("--workers", "2")
    for what, flags in (
        ("one worker", ()),
        ("two workers, two upstreams", (*two, "--upstream", f"http://127.0.0.1:{second}/v1")),
        ("two workers, one upstream of two lanes", (*two, "--lanes", "2")),
    ):
        data = folder / what.replace(" ", "-")
        limit = ("--max-in-flight", str(IN_FLIGHT))
        url, supervisor = stack.enter_context(service(data, first, *limit, *flags))
        yield Rig(what, url, supervisor)


def _workers(supervisor: int) -> list[int]:
    """Pids of the processes that send."""
    found = []
    for pid in family(supervisor):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"overnight.node" in words and b"worker" in words:
            found.append(pid)
    return found
