"""Several processes on one file never get in each other's way."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from overnight.domain.job import Counts, JobStatus
from overnight.store import jobs
from support.store import Store, start_job

TESTS = Path(__file__).parent.parent
JOBS = ("batch_a", "batch_b", "batch_c")


class Contender:
    """A process of `support.contest`, told when to take its turn."""

    def __init__(self, path: Path, name: str) -> None:
        command = [sys.executable, "-m", "support.contest", str(path), name]
        self._process = subprocess.Popen(
            command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.settled: list[str] = []

    def begin_turn(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end_turn(self) -> bool:
        """False when there was nothing to do."""
        assert self._process.stdout is not None
        word, *settled = self._process.stdout.readline().split() or ["ended"]
        assert word in ("settled", "idle"), "the contender failed; see what it printed"
        self.settled += settled
        return word == "settled"

    def end(self) -> None:
        self._process.communicate(timeout=60)


def take_turns(contenders: list[Contender]) -> bool:
    """All at once; False when nobody had anything to do."""
    for contender in contenders:
        contender.begin_turn()
    moved = [contender.end_turn() for contender in contenders]
    return any(moved)


def test_processes_that_contend_settle_every_shard_once(store: Store) -> None:
    for job_id in JOBS:
        start_job(store, job_id, models=["m"] * 20)
    contenders = [Contender(store.path, f"w{number}") for number in range(4)]
    try:
        while take_turns(contenders):
            pass
    finally:
        for contender in contenders:
            contender.end()
    assert all(contender.settled for contender in contenders)
    settled = Counter(shard for contender in contenders for shard in contender.settled)
    assert len(settled) == 60
    assert set(settled.values()) == {1}
    for job_id in JOBS:
        job = store.do(jobs.get, job_id)
        assert (job.status, job.counts) == (JobStatus.FINALIZING, Counts(200))
