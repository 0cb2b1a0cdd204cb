"""A job under fire: every kind of process killed again and again, and then the lines counted.

    python bench/kills.py [--requests 100000] [--seed 0] [--kills 25] [--in-flight 128]
                          [--latency-ms 20] [--every-seconds 0.2-2]

A simulated engine, a service in a temporary folder, one job. `--kills` times, after a random
wait, a random victim gets kill -9: a worker, the clerk, the API, the supervisor alone, or all of
them at once; after the last two `serve` is started again. Victims and waits follow from the seed,
the moments they hit do not quite. What is left of the kills when the job ends falls away.
Exit code 1 unless each request came out exactly once.
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

WORK_SECONDS_MAX = 1_800.0


@dataclass(frozen=True, slots=True)
class Plan:
    requests: int
    seed: int
    kills: int
    in_flight: int
    latency_ms: float
    every_seconds: tuple[float, float]


@dataclass(slots=True)
class Battle:
    """What was done to a job, and what came of it."""

    killed: Counter[str] = field(default_factory=Counter)
    results: Results | None = None
    repeated_sendings: int = 0
    seconds: float = 0.0


def fight(plan: Plan, folder: Path) -> Battle:
    with (
        running_sim("--latency-ms", str(plan.latency_ms)) as sim,
        running_service(folder, sim.base_url, "--max-in-flight", str(plan.in_flight)) as service,
    ):
        job = service.client.submit(input_file(numbered(plan.requests)))
        battle = Battle()
        started = time.monotonic()
        _kill(service, job, plan, battle)
        battle.results = service.client.results(job, WORK_SECONDS_MAX)
        battle.seconds = time.monotonic() - started
        battle.repeated_sendings = _repeated_sendings(sim)
    return battle


def _kill(service: ServiceProcess, job: str, plan: Plan, battle: Battle) -> None:
    dice = random.Random(plan.seed)
    kinds, weights = list(VICTIMS), list(VICTIMS.values())
    for _ in range(plan.kills):
        time.sleep(dice.uniform(*plan.every_seconds))
        (victim,) = dice.choices(kinds, weights)
        batch = service.client.look(job)
        if batch is not None and batch["status"] in FINAL:
            return
        _strike(service, victim)
        battle.killed[victim] += 1
        print(f"killed: {victim}", file=sys.stderr, flush=True)


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
    results = battle.results
    assert results is not None
    ids = numbered(plan.requests)
    lines = len(results.output) + len(results.errors)
    missing, twice = results.missing(ids), results.repeated()
    sent_again = battle.repeated_sendings
    deaths = sum(count for victim, count in battle.killed.items() if victim in _SENDERS)
    rows = [
        *((f"kills of {victim}", battle.killed[victim]) for victim in VICTIMS),
        ("requests", plan.requests),
        ("lines in output and errors", lines),
        ("missing", missing),
        ("twice", twice),
        ("sent again", sent_again),
        ("sent again per death of a worker", round(sent_again / deaths) if deaths else 0),
    ]
    for name, value in rows:
        print(f"{name:34}{value:>12,}")
    print(f"{'seconds':34}{battle.seconds:>12.1f}")
    print(f"{'status':34}{results.batch['status']:>12}")
    whole = not missing and not twice and lines == plan.requests
    return whole and results.batch["status"] == "completed" and not results.errors


_SENDERS = frozenset({"worker", "supervisor", "everything"})


def _parse() -> Plan:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--every-seconds", default="0.2-2", metavar="LO-HI")
    given = parser.parse_args()
    low, _, high = given.every_seconds.partition("-")
    every_seconds = (float(low), float(high or low))
    plan = (given.requests, given.seed, given.kills, given.in_flight, given.latency_ms)
    return Plan(*plan, every_seconds)


def main() -> int:
    plan = _parse()
    with tempfile.TemporaryDirectory() as folder:
        battle = fight(plan, Path(folder))
    return 0 if report(plan, battle) else 1


if __name__ == "__main__":
    sys.exit(main())
