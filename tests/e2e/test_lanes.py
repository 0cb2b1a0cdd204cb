"""Two workers share one engine by lanes: never too much at once, whoever is killed."""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

from support.batches import input_file, numbered
from support.polling import wait_for
from support.service import ServiceProcess, running_service
from support.sim import running_sim

IN_FLIGHT = 17
LATENCY_MS = 20
REPEATS_PER_DEATH = 9 * 4
"""A lane's slots, times what each may have ended since the last write, and what it was at."""

FLAGS = ("--workers", "2", "--lanes", "2", "--max-in-flight", str(IN_FLIGHT))


def holders(service: ServiceProcess) -> set[str]:
    """Who has a lane, by the names of incarnations."""
    place = f"file:{service.data_dir}/overnight.sqlite3?mode=ro"
    with closing(sqlite3.connect(place, uri=True)) as database:
        return {name for (name,) in database.execute("SELECT worker FROM lanes") if name}


def are_others(service: ServiceProcess, before: set[str]) -> bool:
    """A lane for each of two workers, one of which is new."""
    now = holders(service)
    return len(now) == 2 and now != before


def test_two_workers_on_one_engine(tmp_path: Path) -> None:
    ids = numbered(4_000)
    with (
        running_sim("--latency-ms", str(LATENCY_MS)) as sim,
        running_service(tmp_path, sim.base_url, *FLAGS) as service,
    ):
        client = service.client
        wait_for(partial(are_others, service, set()), what="a lane for each")
        job = client.submit(input_file(ids))
        for wanted in (600, 1_600):
            wait_for(lambda wanted=wanted: client.finished(job) >= wanted, what="some results")
            before = holders(service)
            service.kill("worker")
            wait_for(partial(are_others, service, before), what="a lane for each again")
        results = client.results(job)
        stats = sim.stats()
    results.assert_whole(ids)
    assert results.errors == []
    assert stats["most_in_flight"] == IN_FLIGHT
    assert stats["repeated"] <= 2 * REPEATS_PER_DEATH
