"""Whatever is killed, and whenever: nothing lost, nothing twice, and little done again."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.batches import input_file, numbered
from support.polling import is_alive, wait_for
from support.service import ServiceProcess, running_service
from support.sim import SimProcess, running_sim

IN_FLIGHT = 32
LATENCY_MS = 20
UNWRITTEN_MS = 50
"""What finished this long before a kill may have been in memory only."""

REPEATS_PER_DEATH = IN_FLIGHT * (1 + math.ceil(UNWRITTEN_MS / LATENCY_MS))
"""All slots were busy, and each may have ended a request per latency since the last write."""

KILLED_SECONDS_MAX = 3.0
REQUESTS = 3_000
"""About two seconds of sending."""


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with running_sim("--latency-ms", str(LATENCY_MS)) as engine:
        yield engine


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, sim: SimProcess) -> Iterator[ServiceProcess]:
    """One for all tests: whatever was done to it, it goes on."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder, sim.base_url, "--max-in-flight", str(IN_FLIGHT)) as running:
        yield running


@dataclass(slots=True)
class Ordeal:
    """A job of requests that nobody has sent before, and what its service is put through."""

    service: ServiceProcess
    sim: SimProcess
    ids: list[str]
    repeats_before: int
    job: str = ""

    def submit(self, padding: int = 0) -> str:
        self.job = self.service.client.submit(input_file(self.ids, padding=padding))
        return self.job

    def submit_and_reach(self, finished: int) -> str:
        job, client = self.submit(), self.service.client
        wait_for(lambda: client.finished(job) >= finished, what=f"{finished} requests done")
        assert client.get(job)["status"] == "in_progress"
        return job

    def check(self, deaths: int) -> None:
        """It ended well, and at no higher price than that of so many deaths of a worker."""
        results = self.service.client.results(self.job)
        assert results.batch["status"] == "completed"
        results.assert_whole(self.ids)
        assert results.errors == []
        assert repeats(self.sim) - self.repeats_before <= deaths * REPEATS_PER_DEATH


@pytest.fixture
def ordeal(request: pytest.FixtureRequest, service: ServiceProcess, sim: SimProcess) -> Ordeal:
    return begin(service, sim, request.node.name)


def begin(service: ServiceProcess, sim: SimProcess, name: str) -> Ordeal:
    return Ordeal(service, sim, numbered(REQUESTS, f"{name} "), repeats(sim))


def repeats(sim: SimProcess) -> int:
    stats = sim.stats()
    return int(stats["requests"] - stats["distinct"])


def is_quick(service: ServiceProcess, seconds: float) -> bool:
    """As promised; a machine that is too busy for that still needs no more than a whole start."""
    return seconds < max(KILLED_SECONDS_MAX, service.start_seconds)


def seconds_until(condition: Callable[[], object], what: str) -> float:
    started = time.monotonic()
    wait_for(condition, what=what)
    return time.monotonic() - started


def test_a_killed_worker(ordeal: Ordeal) -> None:
    sim = ordeal.sim
    ordeal.submit_and_reach(500)
    for _ in range(2):
        ordeal.service.kill("worker")
        sent = sim.stats()["requests"]
        pause = seconds_until(lambda s=sent: sim.stats()["requests"] > s + IN_FLIGHT, "sending")
        assert is_quick(ordeal.service, pause)
    ordeal.check(deaths=2)


def test_a_killed_api(ordeal: Ordeal) -> None:
    """Whoever polls waits a little; the work does not."""
    service = ordeal.service
    job = ordeal.submit_and_reach(200)
    sent = ordeal.sim.stats()["requests"]
    service.kill("api")
    pause = seconds_until(lambda: service.client.look(job), "an answer")
    assert is_quick(service, pause)
    assert ordeal.sim.stats()["requests"] > sent
    ordeal.check(deaths=0)


def test_a_clerk_killed_while_validating(ordeal: Ordeal) -> None:
    os.kill(ordeal.service.pid_of("clerk"), signal.SIGSTOP)
    ordeal.submit(padding=5_000)
    assert_clerk_killed_at(ordeal, "plan*.draft", "validating")
    ordeal.check(deaths=0)


def test_a_clerk_killed_while_publishing(ordeal: Ordeal) -> None:
    job = ordeal.submit_and_reach(500)
    os.kill(ordeal.service.pid_of("clerk"), signal.SIGSTOP)
    ordeal.service.client.wait_for_status(job, "finalizing")
    assert_clerk_killed_at(ordeal, "output*.draft", "finalizing")
    ordeal.check(deaths=0)
    assert not (ordeal.service.data_dir / "jobs" / job).exists()


def assert_clerk_killed_at(ordeal: Ordeal, draft: str, status: str) -> None:
    """Let the stopped clerk go on, and kill it when it has begun to write `draft`."""
    service = ordeal.service
    clerk = service.pid_of("clerk")
    folder = service.data_dir / "jobs" / ordeal.job
    os.kill(clerk, signal.SIGCONT)
    deadline = time.monotonic() + 10
    while not any(folder.glob(draft)):  # It is there for some milliseconds only.
        assert time.monotonic() < deadline
    os.kill(clerk, signal.SIGKILL)
    assert service.client.get(ordeal.job)["status"] == status


def test_a_killed_clerk_costs_little(service: ServiceProcess) -> None:
    job = service.client.submit(input_file(["before"]))
    service.client.wait(job)
    service.kill("clerk")
    started = time.monotonic()
    job = service.client.submit(input_file(["only"]))
    service.client.wait_for_status(job, "in_progress", "finalizing", "completed")
    assert is_quick(service, time.monotonic() - started)
    service.client.results(job).assert_whole(["only"])


def test_a_supervisor_killed_alone(ordeal: Ordeal) -> None:
    """Its children see the end of their pipes and leave; a restart goes on."""
    ordeal.submit_and_reach(500)
    ordeal.service.kill_supervisor()
    ordeal.service.start()
    ordeal.check(deaths=1)


def test_everything_killed(ordeal: Ordeal) -> None:
    ordeal.submit_and_reach(500)
    for _ in range(2):
        ordeal.service.kill_everything()
        ordeal.service.start()
    ordeal.check(deaths=2)


def test_asked_to_stop(ordeal: Ordeal) -> None:
    service = ordeal.service
    ordeal.submit_and_reach(500)
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < 10
    assert claims_held(service.data_dir) == 0
    service.start()
    ordeal.check(deaths=0)


def test_a_second_service_on_the_folder(service: ServiceProcess) -> None:
    command = [sys.executable, "-m", "overnight", "serve", "--port", "0"]
    command += ["--data-dir", str(service.data_dir), *service.arguments]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 2
    assert "in use by another Overnight" in second.stderr
    job = service.client.submit(input_file(["still here"]))
    service.client.results(job).assert_whole(["still here"])


def test_a_worker_that_sleeps_over_its_lease(tmp_path: Path, sim: SimProcess) -> None:
    """Another takes over; the sleeper wakes, finds itself declared dead, and is gone."""
    flags = ("--max-in-flight", str(IN_FLIGHT), "--workers", "2")
    with running_service(tmp_path, sim.base_url, *flags, lease_seconds=3) as service:
        ordeal = begin(service, sim, "asleep")
        ordeal.submit_and_reach(500)
        sleeper = wait_for(lambda: holder_of_the_lane(service), what="a holder of the lane")
        os.kill(sleeper, signal.SIGSTOP)
        try:
            # What had been sent is answered, into the sleeper's socket.
            wait_for(lambda: sim.stats()["in_flight"] == 0, what="a standstill")
            sent = sim.stats()["requests"]
            wait_for(lambda: sim.stats()["requests"] > sent, what="a takeover")
        finally:
            os.kill(sleeper, signal.SIGCONT)
        wait_for(lambda: not is_alive(sleeper), what="the sleeper's end")
        # Once for the death, once for what it sends before it looks at the time.
        ordeal.check(deaths=2)


def holder_of_the_lane(service: ServiceProcess) -> int | None:
    """The worker that is connected to the engine: the one with many sockets."""
    for pid in service.pids("worker"):
        sockets = [fd for fd in Path(f"/proc/{pid}/fd").iterdir() if is_socket(fd)]
        if len(sockets) >= IN_FLIGHT:
            return pid
    return None


def is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except FileNotFoundError:
        return False


def test_asked_to_stop_while_the_engine_is_slow(tmp_path: Path) -> None:
    """Requests that take longer than the stop are given up, and sent again by the next start."""
    with (
        running_sim("--latency-ms", "60000") as slow,
        running_service(tmp_path, slow.base_url) as service,
    ):
        service.client.submit(input_file(numbered(10)))
        wait_for(lambda: slow.stats()["in_flight"] == 10, what="the sending")
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 10
        assert claims_held(tmp_path) == 0


def claims_held(data_dir: Path) -> int:
    """What is still in somebody's hands. Nobody runs: the file is ours to read."""
    queries = (
        "select count(*) from workers",
        "select count(*) from lanes where worker is not null",
        "select count(*) from shards where worker is not null",
        "select count(*) from jobs where clerk is not null",
    )
    with closing(sqlite3.connect(data_dir / "overnight.sqlite3")) as database:
        return sum(database.execute(query).fetchone()[0] for query in queries)
