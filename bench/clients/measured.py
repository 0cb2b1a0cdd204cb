"""One client, once, in a process of its own: what it is given, and how its cost is told.

Imports nothing of Overnight: the peers run in an environment of their own.
"""

import argparse
import asyncio
import json
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

ENDPOINT = "/v1/chat/completions"


@dataclass(frozen=True)
class Job:
    """POST the body of each line of `source`, `in_flight` at a time, and write `target`."""

    source: Path
    target: Path
    port: int
    requests: int
    in_flight: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{ENDPOINT}"


@dataclass(frozen=True)
class Spent:
    cpu_seconds: float
    seconds: float


class Stopwatch:
    """From the first request to the last result."""

    def __init__(self) -> None:
        self._cpu, self._clock = _cpu_seconds(), time.monotonic()

    def read(self) -> Spent:
        return Spent(_cpu_seconds() - self._cpu, time.monotonic() - self._clock)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(client: Callable[[Job], Awaitable[Spent]]) -> None:
    """Run one client on what the command line says, and print what it cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    for name in ("port", "requests", "in_flight"):
        parser.add_argument(name, type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        job = Job(target=Path(folder) / "out.jsonl", **vars(given))
        spent = uvloop.run(_await(client, job))
    cost = {
        "us": spent.cpu_seconds / job.requests * 1e6,
        "rate": job.requests / spent.seconds,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(cost))


async def _await(client: Callable[[Job], Awaitable[Spent]], job: Job) -> Spent:
    return await client(job)


async def in_slots(job: Job, slot: Callable[[], Awaitable[None]]) -> Spent:
    """As many slots at once as may be in flight."""
    stopwatch = Stopwatch()
    await asyncio.gather(*(slot() for _ in range(job.in_flight)))
    return stopwatch.read()
