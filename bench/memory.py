"""Peak memory of all processes by lines of the file, beside readers that hold it all.

A job goes from file to file through a service and through `overnight run`. Of the service the peaks
of its processes are added, each with the libraries that all of them share; so it is an upper
bound. `polars` and `pyarrow` do nothing but read the same file. `--share 10` takes ten million
lines through all of it; without it, that many are only validated.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.api import roles
from bench.figures import Figure
from bench.files import submit
from bench.inputs import write_input
from bench.peers import python_of_peers
from bench.processes import memory_mb, run, service, upstream
from bench.scale import Scale
from bench.validation import read_by

PROMPT_BYTES = 100
RESTING_MB_MAX = 350
BYTES_PER_LINE_MAX = 10


def figures(scale: Scale) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name, upstream() as port:
        folder = Path(name)
        for lines in (scale.of(10_000), scale.of(1_000_000)):
            source = folder / f"{lines}.jsonl"
            write_input(source, lines, PROMPT_BYTES)
            yield from _of(source, lines, folder, port)
            source.unlink()
        lines = scale.of(10_000_000)
        if scale.share <= 1:
            yield _only_validated(folder / "validated.jsonl", lines)


def _of(source: Path, lines: int, folder: Path, port: int) -> Iterator[Figure]:
    peers = {
        name: [read_by(python_of_peers(), name, source)["mb"]] for name in ("polars", "pyarrow")
    }
    peaks = _service(source, folder / str(lines), port)
    each = ", ".join(f"{role} {peak:.0f}" for role, peak in peaks.items())
    for what, peak, note in (
        ("all processes of a service", sum(peaks.values()), f"The peaks of each: {each} MB."),
        ("`overnight run`", _run(source, port), ""),
    ):
        yield Figure(
            f"{what}, peak memory, {lines:,} lines",
            "MB",
            [peak],
            at_most=_limit_mb(lines),
            peers=peers,
            note=note,
            plot="memory",
            at=lines,
        )


def _limit_mb(lines: int) -> float:
    return RESTING_MB_MAX + lines * BYTES_PER_LINE_MAX / 1e6


def _service(source: Path, folder: Path, port: int) -> dict[str, float]:
    """The peak of each process after one job."""
    with service(folder, port) as (url, pid):
        processes = {"supervisor": pid, **roles(pid)}
        submit(source, url)
        return {role: memory_mb(process) for role, process in processes.items()}


def _run(source: Path, port: int) -> float:
    command = [sys.executable, "-m", "overnight", "run", source, "--overwrite"]
    command += ["--output", source.with_suffix(".run"), "--upstream", f"http://127.0.0.1:{port}/v1"]
    return run(command, stderr=subprocess.DEVNULL).peak_mb


def _only_validated(source: Path, lines: int) -> Figure:
    write_input(source, lines, 0)
    return Figure(
        f"validation alone, peak memory, {lines:,} lines",
        "MB",
        [read_by(sys.executable, "overnight", source)["mb"]],
        at_most=_limit_mb(lines),
    )
