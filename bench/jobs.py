"""Many jobs: what a small one costs, whether all get their turn, and how soon one starts.

- A thousand jobs of ten requests each, created at once: CPU of all processes of the service
  beyond what it needs at rest, from the first creation to the end of the last job; and how
  unevenly they are served.
- Ten thousand ended jobs in the database, and one that is running: what list, get and create take.
- From the creation of a job of a thousand lines to the arrival of its first request upstream.
- What a service at rest needs.

What happens is read from the upstream and, without asking the service, from its database.
"""

import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from bench.api import Client
from bench.figures import Figure
from bench.inputs import body
from bench.old_jobs import add_old_jobs
from bench.processes import cpu_seconds, family, service, upstream
from bench.scale import Scale
from bench.witness import Witness, witness

REST_SECONDS = 10.0
START_LINES = 1_000
START_PAUSE_SECONDS = 0.3
"""Between two starts, and no multiple of any period of the service."""


def figures(scale: Scale) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name, witness() as seen:
        folder = Path(name)
        with service(folder / "data", seen.port) as (url, pid):
            at_rest = _rest(pid, scale)
            yield Figure(
                "service at rest, CPU of all processes",
                "s/min",
                [at_rest * 60],
                note="each of API, clerk and worker is a process; the last two look 40 times a "
                "second whether the database has changed.",
            )
            yield _start(folder, seen, url, scale)
            yield from _many(folder, seen, url, pid, scale, at_rest)
    yield from _among_old_jobs(scale)


def _rest(pid: int, scale: Scale) -> float:
    """CPU seconds per second."""
    time.sleep(2)
    seconds = REST_SECONDS * max(0.2, scale.share)
    before = _cpu(pid)
    time.sleep(seconds)
    return (_cpu(pid) - before) / seconds


def _cpu(pid: int) -> float:
    return sum(map(cpu_seconds, family(pid)))


# From creation to the first request


def _start(folder: Path, seen: Witness, url: str, scale: Scale) -> Figure:
    times = []
    for number in range(scale.of(30) + 1):
        source = _job_file(folder, 100_000 + number, START_LINES)
        with closing(Client(url)) as client:
            file_id = client.upload(source)
            seen.came.clear()
            began = time.time()
            client.create_batch(file_id)
        times.append((_first(seen, 100_000 + number) - began) * 1e3)
        _await_ended(folder / "data", number + 1)
        time.sleep(START_PAUSE_SECONDS)
    runs = range(200_000, 200_001 + scale.of(5))
    run_times = [_start_of_run(folder, seen, number) * 1e3 for number in runs]
    # The first of each makes caches warm.
    peer = statistics.median(run_times[1:])
    return Figure(
        f"job of {START_LINES:,} lines, from creation to its first request upstream",
        "ms",
        times[1:],
        at_most=150,
        note="clerk and worker look at the database every 25 ms, the worker 100 ms after it has "
        "written; and there are five synced commits.",
        peers={"overnight run, start-up": [peer] * (len(times) - 1)},
    )


def _start_of_run(folder: Path, seen: Witness, number: int) -> float:
    """Seconds from the start of a process that runs a file without a service."""
    source = _job_file(folder, number, START_LINES)
    command = [sys.executable, "-m", "overnight", "run", source, "--output", folder / "out.jsonl"]
    command += ["--upstream", f"http://127.0.0.1:{seen.port}/v1", "--overwrite"]
    began = time.time()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return seen.first_at[number] - began


def _first(seen: Witness, number: int) -> float:
    while number not in seen.first_at:
        assert seen.came.wait(30), "the job does not start"
        seen.came.clear()
    return seen.first_at[number]


# Many small ones at once


def _many(
    folder: Path, seen: Witness, url: str, pid: int, scale: Scale, at_rest: float
) -> Iterator[Figure]:
    jobs, data = scale.of(1_000), folder / "data"
    costs, walls, waits, spreads = [], [], [], []
    ended = _count_ended(data)
    for number in range(min(scale.rounds, 2)):
        first = 1 + number * jobs
        numbers = range(first, first + jobs)
        with closing(Client(url)) as client:
            uploaded = [client.upload(_job_file(folder, job, 10)) for job in numbers]
            time.sleep(1)
            before, began = _cpu(pid), time.time()
            created = {}
            for job, file_id in zip(numbers, uploaded, strict=True):
                created[job] = time.time()
                client.create_batch(file_id)
        ended += jobs
        _await_ended(data, ended)
        wall = time.time() - began
        costs.append((_cpu(pid) - before - wall * at_rest) / jobs * 1e3)
        walls.append(wall)
        waits.append(max(seen.first_at[job] - created[job] for job in numbers))
        spreads.append(_slowest_to_median(data, jobs))
    what = f"{jobs:,} jobs of 10 requests at once"
    yield Figure(
        f"{what}, CPU per job",
        "ms",
        costs,
        at_most=5,
        note="a dozen transactions per job, each by way of a thread and SQLAlchemy: three fifths "
        "in the clerk, the rest in worker and API.",
    )
    yield Figure(f"{what}, until all have ended", "s", walls)
    yield Figure(f"{what}, longest wait for a first request", "s", waits)
    yield Figure(f"{what}, slowest job's time to the median one's", "×", spreads)


def _job_file(folder: Path, number: int, lines: int) -> Path:
    prompt = body(200)
    prompt["messages"][0]["content"] += f"of job {number}"
    wish = {"method": "POST", "url": "/v1/chat/completions", "body": prompt}
    path = folder / "job.jsonl"
    with path.open("w") as file:
        for line in range(lines):
            file.write(json.dumps({"custom_id": f"request-{line}", **wish}) + "\n")
    return path


def _query(data: Path, query: str) -> list[tuple[float, ...]]:
    with closing(sqlite3.connect(data / "overnight.sqlite3", timeout=30)) as database:
        return database.execute(query).fetchall()


def _count_ended(data: Path) -> int:
    return int(_query(data, "SELECT count(*) FROM jobs WHERE status = 'completed'")[0][0])


def _await_ended(data: Path, jobs: int) -> None:
    deadline = time.monotonic() + 120
    while _count_ended(data) < jobs:
        assert time.monotonic() < deadline, "jobs do not end"
        time.sleep(0.05)


def _slowest_to_median(data: Path, newest: int) -> float:
    rows = _query(
        data,
        "SELECT max(job_log.at) - jobs.created_at AS took FROM jobs JOIN job_log"
        " ON job_log.job_id = jobs.id GROUP BY jobs.id"
        f" ORDER BY jobs.created_at DESC LIMIT {newest}",
    )
    took = [row[0] for row in rows]
    return max(took) / statistics.median(took)


# Among many old ones


def _among_old_jobs(scale: Scale) -> Iterator[Figure]:
    """A job runs all the while, at some thousand requests a second."""
    jobs = scale.of(10_000)
    with tempfile.TemporaryDirectory() as name, upstream("--latency-ms", "30-70") as port:
        folder = Path(name)
        add_old_jobs(folder / "data", jobs)
        with service(folder / "data", port) as (url, _), closing(Client(url)) as client:
            client.create_batch(client.upload(_job_file(folder, 1, scale.of(100_000))))
            small = client.upload(_job_file(folder, 0, 1))
            for what, ask in _asks(client, small).items():
                took = sorted(_timed(ask) for _ in range(max(50, scale.of(500))))
                half, late = (took[int(len(took) * part)] * 1e3 for part in (0.5, 0.99))
                yield Figure(
                    f"{what}, {jobs:,} jobs in the database, p99",
                    "ms",
                    [late],
                    at_most=20,
                    note=f"half of them take less than {half:.1f} ms; the rest is waiting for the "
                    "processor and, to create, for the write lock of the database.",
                )


def _asks(client: Client, file_id: str) -> dict[str, Callable[[], object]]:
    newest = client.json("GET", "/openai/v1/batches?limit=1")["last_id"]
    return {
        "list of 20": lambda: client.ask("GET", "/openai/v1/batches?limit=20"),
        "list of 100": lambda: client.ask("GET", "/openai/v1/batches?limit=100"),
        "get": lambda: client.ask("GET", f"/openai/v1/batches/{newest}"),
        "create": lambda: client.create_batch(file_id),
    }


def _timed(ask: Callable[[], object]) -> float:
    began = time.monotonic()
    ask()
    return time.monotonic() - began
