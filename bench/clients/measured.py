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


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(client: Callable[[Job], Awaitable[float]]) -> None:
    """`client` returns the CPU seconds from its first request to its last result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    for name in ("port", "requests", "in_flight"):
        parser.add_argument(name, type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        job = Job(target=Path(folder) / "out.jsonl", **vars(given))
        began = time.monotonic()
        spent = uvloop.run(_await(client, job))
        seconds = time.monotonic() - began
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"us": spent / job.requests * 1e6, "seconds": seconds, "mb": rss}))


async def _await(client: Callable[[Job], Awaitable[float]], job: Job) -> float:
    return await client(job)


async def in_slots(job: Job, slot: Callable[[], Awaitable[None]]) -> float:
    """As many slots at once as may be in flight."""
    before = cpu_seconds()
    await asyncio.gather(*(slot() for _ in range(job.in_flight)))
    return cpu_seconds() - before
