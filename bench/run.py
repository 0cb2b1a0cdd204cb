"""What `overnight run` costs, file to file: all of it but start-up.

    python bench/run.py [--requests 100000] [--in-flight 256] [--rounds 5] [--prompt-bytes 200]

Runs the real command on a file of N requests and on a file of one, in turn, against an upstream
that answers at once. The difference of their CPU times (user + system of the whole process, as
the kernel accounts for a finished child), divided by N, is the cost of a request: validation,
sending, journal, syncs and the writing of the result file.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dispatch import write_input


def cost(source: Path, port: int, in_flight: int) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak MB of one run."""
    output = source.with_suffix(".out.jsonl")
    command = [sys.executable, "-m", "overnight", "run", str(source), "--output", str(output)]
    command += ["--upstream", f"http://127.0.0.1:{port}/v1", "--max-in-flight", str(in_flight)]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, "--overwrite"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"overnight run ended with {process.returncode}")
    output.unlink()
    return usage.ru_utime + usage.ru_stime, time.monotonic() - began, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt-bytes", type=int, default=200)
    given = parser.parse_args()
    upstream = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("upstream.py"), "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(upstream.stdout.readline())
        with tempfile.TemporaryDirectory() as folder:
            many, one = Path(folder) / "many.jsonl", Path(folder) / "one.jsonl"
            write_input(many, given.requests, given.prompt_bytes)
            write_input(one, 1, given.prompt_bytes)
            rounds = []
            for number in range(given.rounds):
                start_up = cost(one, port, given.in_flight)
                whole = cost(many, port, given.in_flight)
                rounds.append((whole, start_up))
                print(f"round {number + 1} of {given.rounds} done", file=sys.stderr)
    finally:
        upstream.kill()
        upstream.wait()
    table(rounds, given)


def table(rounds: list, given: argparse.Namespace) -> None:
    requests = given.requests
    us = [(whole[0] - start_up[0]) / requests * 1e6 for whole, start_up in rounds]
    rates = [requests / (whole[1] - start_up[1]) for whole, start_up in rounds]
    start = [start_up[0] for _, start_up in rounds]
    rss = [whole[2] for whole, _ in rounds]
    print(
        f"overnight run, {requests:,} requests, {given.in_flight} in flight,"
        f" prompts of {given.prompt_bytes} bytes, {given.rounds} rounds\n"
    )
    print(f"{'':34} {'median':>9} {'min - max':>19}")
    for label, values in (
        ("CPU us per request beyond start-up", us),
        ("requests per second", rates),
        ("start-up, CPU s", start),
        ("peak memory, MB", rss),
    ):
        spread = f"{min(values):,.1f} - {max(values):,.1f}"
        print(f"{label:34} {statistics.median(values):9,.1f} {spread:>19}")


if __name__ == "__main__":
    main()
