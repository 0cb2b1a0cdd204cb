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
from pathlib import Path

import pytest

from support.batches import BatchClient, Results, input_file, numbered
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
IDS = numbered(3_000)
"""About two seconds of sending."""


@pytest.fixture
def sim() -> Iterator[SimProcess]:
    with running_sim("--latency-ms", str(LATENCY_MS)) as engine:
        yield engine


@pytest.fixture
def service(tmp_path: Path, sim: SimProcess) -> Iterator[ServiceProcess]:
    with running_service(tmp_path, sim.base_url, "--max-in-flight", str(IN_FLIGHT)) as running:
        yield running


def submit_and_reach(service: ServiceProcess, finished: int) -> str:
    """A job of all IDS that has this many requests done."""
    job = service.client.submit(input_file(IDS))
    wait_for(lambda: service.client.finished(job) >= finished, what=f"{finished} requests done")
    assert service.client.get(job)["status"] == "in_progress"
    return job


def check(service: ServiceProcess, sim: SimProcess, job: str, deaths: int) -> Results:
    results = service.client.results(job)
    assert results.batch["status"] == "completed"
    results.assert_whole(IDS)
    assert results.errors == []
    assert repeats(sim) <= deaths * REPEATS_PER_DEATH
    return results


def repeats(sim: SimProcess) -> int:
    stats = sim.stats()
    return int(stats["requests"] - stats["distinct"])


def seconds_until(condition: Callable[[], object], what: str) -> float:
    started = time.monotonic()
    wait_for(condition, what=what)
    return time.monotonic() - started


def test_a_killed_worker(service: ServiceProcess, sim: SimProcess) -> None:
    job = submit_and_reach(service, 500)
    for _ in range(2):
        service.kill("worker")
        sent = sim.stats()["requests"]
        pause = seconds_until(lambda s=sent: sim.stats()["requests"] > s + IN_FLIGHT, "sending")
        assert pause < KILLED_SECONDS_MAX
    check(service, sim, job, deaths=2)


def test_a_killed_api(service: ServiceProcess, sim: SimProcess) -> None:
    """Whoever polls waits a little; the work does not."""
    job = submit_and_reach(service, 200)
    sent = sim.stats()["requests"]
    service.kill("api")
    pause = seconds_until(lambda: service.client.look(job), "an answer")
    assert pause < KILLED_SECONDS_MAX
    assert sim.stats()["requests"] > sent
    check(service, sim, job, deaths=0)


def test_a_clerk_killed_while_validating(service: ServiceProcess, sim: SimProcess) -> None:
    job = freeze_clerk_and_submit(service, padding=5_000)
    assert_killed_at(service, job, "plan*.draft", "validating")
    check(service, sim, job, deaths=0)


def test_a_clerk_killed_while_publishing(service: ServiceProcess, sim: SimProcess) -> None:
    job = submit_and_reach(service, 500)
    clerk = service.pid_of("clerk")
    os.kill(clerk, signal.SIGSTOP)
    service.client.wait_for_status(job, "finalizing")
    assert_killed_at(service, job, "output*.draft", "finalizing")
    check(service, sim, job, deaths=0)
    assert not (service.data_dir / "jobs" / job).exists()


def freeze_clerk_and_submit(service: ServiceProcess, padding: int) -> str:
    content = input_file(IDS, padding=padding)
    os.kill(service.pid_of("clerk"), signal.SIGSTOP)
    return service.client.submit(content)


def assert_killed_at(service: ServiceProcess, job: str, draft: str, status: str) -> None:
    """Let the stopped clerk go on, and kill it when it has begun to write `draft`."""
    clerk = service.pid_of("clerk")
    folder = service.data_dir / "jobs" / job
    os.kill(clerk, signal.SIGCONT)
    deadline = time.monotonic() + 10
    while not any(folder.glob(draft)):  # It is there for some milliseconds only.
        assert time.monotonic() < deadline
    os.kill(clerk, signal.SIGKILL)
    assert service.client.get(job)["status"] == status


def test_a_killed_clerk_costs_little(service: ServiceProcess) -> None:
    service.kill("clerk")
    started = time.monotonic()
    job = service.client.submit(input_file(["only"]))
    service.client.results(job).assert_whole(["only"])
    assert time.monotonic() - started < KILLED_SECONDS_MAX


def test_a_supervisor_killed_alone(service: ServiceProcess, sim: SimProcess) -> None:
    """Its children see the end of their pipes and leave; a restart goes on."""
    job = submit_and_reach(service, 500)
    service.kill_supervisor()
    assert repeats(sim) == 0
    service.start()
    check(service, sim, job, deaths=1)


def test_everything_killed(service: ServiceProcess, sim: SimProcess) -> None:
    job = submit_and_reach(service, 500)
    for _ in range(2):
        service.kill_everything()
        service.start()
    check(service, sim, job, deaths=2)


def test_a_worker_that_sleeps_over_its_lease(tmp_path: Path, sim: SimProcess) -> None:
    """Another takes over; the sleeper wakes, finds itself declared dead, and is gone."""
    flags = ("--max-in-flight", str(IN_FLIGHT), "--workers", "2")
    with running_service(tmp_path, sim.base_url, *flags, lease_seconds=3) as service:
        job = submit_and_reach(service, 500)
        sleeper = wait_for(lambda: holder_of_the_lane(service), what="a holder of the lane")
        os.kill(sleeper, signal.SIGSTOP)
        try:
            # What had been sent is answered, into the sleeper's socket.
            wait_for(lambda: sim.stats()["in_flight"] == 0, what="a standstill")
            sent = sim.stats()["requests"]
            pause = seconds_until(lambda: sim.stats()["requests"] > sent, "a takeover")
            assert pause < 3 + KILLED_SECONDS_MAX
        finally:
            os.kill(sleeper, signal.SIGCONT)
        wait_for(lambda: not is_alive(sleeper), what="the sleeper's end")
        # Once for the death, once for what it sends before it looks at the time.
        check(service, sim, job, deaths=2)


def holder_of_the_lane(service: ServiceProcess) -> int | None:
    """The worker that is connected to the engine, as the kernel's table of sockets has it."""
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


def test_asked_to_stop(service: ServiceProcess, sim: SimProcess) -> None:
    job = submit_and_reach(service, 500)
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < 10
    assert claims_held(service.data_dir) == 0
    service.start()
    check(service, sim, job, deaths=0)


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


def test_a_second_service_on_the_folder(service: ServiceProcess) -> None:
    command = [sys.executable, "-m", "overnight", "serve", "--port", "0"]
    command += ["--data-dir", str(service.data_dir), *service.arguments]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 2
    assert "in use by another Overnight" in second.stderr
    client: BatchClient = service.client
    job = client.submit(input_file(["still here"]))
    client.results(job).assert_whole(["still here"])
