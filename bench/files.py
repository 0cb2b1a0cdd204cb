"""What a request costs from file to file, in all processes: a local run, and a job of a service.

`overnight run` is run on a file of N requests and on a file of one; the difference of their CPU
times, divided by N, is the cost of a request: validation, sending, journal, syncs, results.
For the service it is the CPU that all its processes took from before the upload until the results
are downloaded; the client's own is not counted. Beside them: the bare loop of `dispatch.py`.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.clients.call import measure
from bench.figures import Figure
from bench.inputs import one_body, write_input
from bench.processes import cpu_seconds, family, run, service, upstream
from bench.scale import Scale
from bench.wrk import Wrk

IN_FLIGHT = 256
PROMPT_BYTES = 200


@dataclass
class Rounds:
    run_us: list[float] = field(default_factory=list)
    serve_us: dict[str, list[float]] = field(default_factory=dict)
    """By role of the process."""
    bare_us: list[float] = field(default_factory=list)
    run_rate: list[float] = field(default_factory=list)
    wrk_rate: list[float] = field(default_factory=list)


def figures(scale: Scale) -> Iterator[Figure]:
    requests = scale.of(100_000)
    rounds, wrk = Rounds(), Wrk.find()
    with tempfile.TemporaryDirectory() as name, upstream() as port:
        folder = Path(name)
        many, one = folder / "many.jsonl", folder / "one.jsonl"
        write_input(many, requests, PROMPT_BYTES)
        write_input(one, 1, PROMPT_BYTES)
        for _ in range(scale.rounds):
            start_up, whole = _run(one, port), _run(many, port)
            rounds.run_us.append((whole[0] - start_up[0]) / requests * 1e6)
            rounds.run_rate.append(requests / (whole[1] - start_up[1]))
            for role, seconds in _serve(folder, many, one, port).items():
                rounds.serve_us.setdefault(role, []).append(seconds / requests * 1e6)
            rounds.bare_us.append(measure("bare.py", sys.executable, many, port, requests)["us"])
            if wrk:
                rounds.wrk_rate.append(wrk.run(port, IN_FLIGHT, one_body(PROMPT_BYTES))[1])
    peers = {"bare loop, without any of it": rounds.bare_us}
    yield Figure(
        "`overnight run`, CPU per request, file to file", "µs", rounds.run_us, 17, peers=peers
    )
    roles = (f"{role} {statistics.median(us):.1f}" for role, us in rounds.serve_us.items())
    yield Figure(
        "a job through `serve`, CPU of all processes per request",
        "µs",
        [sum(us) for us in zip(*rounds.serve_us.values(), strict=True)],
        17,
        peers=peers,
        note=f"{', '.join(roles)} µs.",
    )
    yield Figure(
        "`overnight run`, requests per second beside its upstream",
        "/s",
        rounds.run_rate,
        peers={"wrk": rounds.wrk_rate} if wrk else {},
        ratio_at_least=0.5 if wrk else None,
        note="" if wrk else "wrk is not installed here.",
    )


def _run(source: Path, port: int) -> tuple[float, float]:
    """CPU and wall seconds."""
    command = [sys.executable, "-m", "overnight", "run", source, "--overwrite"]
    command += ["--output", source.with_suffix(".out"), "--max-in-flight", str(IN_FLIGHT)]
    cost = run([*command, "--upstream", f"http://127.0.0.1:{port}/v1"], stderr=subprocess.DEVNULL)
    return cost.cpu_seconds, cost.wall_seconds


def _serve(folder: Path, many: Path, one: Path, port: int) -> dict[str, float]:
    """CPU seconds of each process for a job of `many`; a first one of `one` has warmed them."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as data,
        service(Path(data) / "data", port, "--max-in-flight", str(IN_FLIGHT)) as (url, pid),
    ):
        submit(one, url)
        before = {process: cpu_seconds(process) for process in family(pid)}
        submit(many, url)
        return {_role(process): cpu_seconds(process) - spent for process, spent in before.items()}


def _role(pid: int) -> str:
    """`api`, `clerk`, `worker`; the supervisor's command line names none of them."""
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return words[words.index("overnight.node") + 1] if "overnight.node" in words else "supervisor"


def submit(source: Path, url: str) -> None:
    output = source.with_suffix(".out")
    output.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "overnight",
        "submit",
        source,
        "--output",
        output,
        "--overwrite",
    ]
    subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ, OVERNIGHT_BASE_URL=url + "/v1"),
    )
