"""Jobs under fire: every kind of process killed again and again, and then the lines counted.

    python bench/kills.py [--requests 100000] [--jobs 1] [--seed 0] [--kills 25]
                          [--in-flight 128] [--latency-ms 20] [--every-seconds 0.2-2]

A simulated engine, a service in a temporary folder, and the requests in one job or in several of
equal size. `--kills` times, after a random wait, a random victim gets kill -9: a worker, the
clerk, the API, the supervisor alone, or all of them at once; after the last two `serve` is
started again. Victims and waits follow from the seed, the moments they hit do not quite. Kills
that are left when the last job ends fall away. Exit code 1 unless every job is completed, with
each of its requests in its files exactly once.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.batches import FINAL, Results, input_file, numbered
from support.service import ServiceProcess, running_service
from support.sim import SimProcess, running_sim

VICTIMS = {"worker": 4, "clerk": 2, "api": 2, "supervisor": 1, "everything": 1}
"""How often each is hit, by weight."""

SENDERS = frozenset({"worker", "supervisor", "everything"})
"""Those whose death costs sendings."""

WORK_SECONDS_MAX = 1_800.0


@dataclass(frozen=True, slots=True)
class Plan:
    requests: int
    jobs: int
    seed: int
    kills: int
    in_flight: int
    latency_ms: float
    every_seconds: tuple[float, float]

    def ids_of_jobs(self) -> list[list[str]]:
        ids = numbered(self.requests)
        return [ids[first :: self.jobs] for first in range(self.jobs)]


@dataclass(slots=True)
class Battle:
    """What was done to the jobs, and what came of them, in the order of `Plan.ids_of_jobs`."""

    killed: Counter[str] = field(default_factory=Counter)
    results: list[Results] = field(default_factory=list)
    repeated_sendings: int = 0
    seconds: float = 0.0


def fight(plan: Plan, folder: Path) -> Battle:
    with (
        running_sim("--latency-ms", str(plan.latency_ms)) as sim,
        running_service(folder, sim.base_url, "--max-in-flight", str(plan.in_flight)) as service,
    ):
        jobs = [service.client.submit(input_file(ids)) for ids in plan.ids_of_jobs()]
        battle = Battle()
        started = time.monotonic()
        _kill(service, jobs, plan, battle)
        for job in jobs:
            service.client.wait(job, WORK_SECONDS_MAX)
        battle.seconds = time.monotonic() - started
        battle.results = [service.client.results(job) for job in jobs]
        battle.repeated_sendings = _repeated_sendings(sim)
    return battle


def _kill(service: ServiceProcess, jobs: list[str], plan: Plan, battle: Battle) -> None:
    dice = random.Random(plan.seed)
    kinds, weights = list(VICTIMS), list(VICTIMS.values())
    for _ in range(plan.kills):
        time.sleep(dice.uniform(*plan.every_seconds))
        (victim,) = dice.choices(kinds, weights)
        if all(_has_ended(service, job) for job in jobs):
            return
        _strike(service, victim)
        battle.killed[victim] += 1


def _has_ended(service: ServiceProcess, job: str) -> bool:
    batch = service.client.look(job)
    return batch is not None and batch["status"] in FINAL


def _strike(service: ServiceProcess, victim: str) -> None:
    if victim == "supervisor":
        service.kill_supervisor()
    elif victim == "everything":
        service.kill_everything()
    else:
        service.kill(victim)
        return
    service.start()


def _repeated_sendings(sim: SimProcess) -> int:
    stats = sim.stats()
    return int(stats["requests"] - stats["distinct"])


def report(plan: Plan, battle: Battle) -> bool:
    """Print the table; says whether each request came out exactly once."""
    pairs = list(zip(plan.ids_of_jobs(), battle.results, strict=True))
    lines = sum(len(job.output) + len(job.errors) for job in battle.results)
    missing = sum(job.missing(ids) for ids, job in pairs)
    twice = sum(job.repeated() for job in battle.results)
    completed = sum(job.batch["status"] == "completed" and not job.errors for job in battle.results)
    deaths = sum(battle.killed[victim] for victim in SENDERS)
    rows = [
        *((f"kills of {victim}", battle.killed[victim]) for victim in VICTIMS),
        ("jobs", plan.jobs),
        ("jobs completed without errors", completed),
        ("requests", plan.requests),
        ("lines in output and errors", lines),
        ("missing", missing),
        ("twice", twice),
        ("sent again", battle.repeated_sendings),
        ("sent again per death of a worker", round(battle.repeated_sendings / max(1, deaths))),
        ("seconds", round(battle.seconds)),
    ]
    for name, value in rows:
        print(f"{name:34}{value:>12,}")
    return completed == plan.jobs and lines == plan.requests and not missing and not twice


def _parse() -> Plan:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--every-seconds", default="0.2-2", metavar="LO-HI")
    given = vars(parser.parse_args())
    low, _, high = given.pop("every_seconds").partition("-")
    return Plan(**given, every_seconds=(float(low), float(high or low)))


def main() -> int:
    plan = _parse()
    with tempfile.TemporaryDirectory() as folder:
        battle = fight(plan, Path(folder))
    return 0 if report(plan, battle) else 1


if __name__ == "__main__":
    sys.exit(main())
