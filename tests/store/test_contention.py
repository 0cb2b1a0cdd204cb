"""Several processes on one file never get in each other's way."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import IO

from overnight.domain.job import Counts, JobStatus
from overnight.store import jobs
from support.store import Store, start_job

TESTS = Path(__file__).parent.parent
JOBS = ("batch_a", "batch_b", "batch_c")


def start_contender(store: Store, worker: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "support.contest", str(store.path), worker]
    return subprocess.Popen(
        command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def pipes_of(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def test_processes_that_contend_settle_every_shard_once(store: Store) -> None:
    for job_id in JOBS:
        start_job(store, job_id, models=["m"] * 30)
    processes = [start_contender(store, f"w{number}") for number in range(4)]
    for process in processes:
        assert pipes_of(process)[1].readline() == "ready\n"
    for process in processes:
        # Closing is the sign to begin, and all of them get it before any is waited for.
        pipes_of(process)[0].close()
        process.stdin = None
    outputs = [process.communicate(timeout=100)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    settled = Counter(shard for output in outputs for shard in output)
    assert len(settled) == 90
    assert set(settled.values()) == {1}
    for job_id in JOBS:
        job = store.do(jobs.get, job_id)
        assert (job.status, job.counts) == (JobStatus.FINALIZING, Counts(300))
    assert sum(map(bool, outputs)) > 1, "only one process had anything to do"
