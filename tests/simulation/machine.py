"""One simulated machine: processes, disk, database and upstreams, all of it from one seed.

    report = simulate(4711)
    assert not report.violations

The code under test is the real one, from the validator to the janitor; what is simulated is what
lies behind `overnight.seams`, and the supervisor.
"""

import asyncio
import hashlib
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from overnight.dispatch.dispatcher import DispatchOptions
from overnight.dispatch.http1 import Timeouts
from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.target import Target
from overnight.domain import plan, webhook
from overnight.domain.errors import NotFound
from overnight.domain.job import TERMINAL, Job
from overnight.domain.request import LineRules
from overnight.domain.retry import RetryPolicy
from overnight.service import incoming, janitor, joining
from overnight.service.clerk import ClerkOptions
from overnight.service.intake import IntakeOptions
from overnight.service.webhooks.courier import CourierOptions
from overnight.service.webhooks.deliverer import DelivererOptions
from overnight.service.worker import WorkerOptions
from overnight.store import jobs, lanes
from overnight.store.blobs import Blobs
from overnight.store.lanes import LaneSpec
from simulation.database import Commits, ProcessDatabase, empty_database
from simulation.front import Front
from simulation.history import History
from simulation.place import Place
from simulation.process import DATA, EPOCH, Process
from simulation.receivers import Receivers
from simulation.upstream import ScriptedUpstream
from simulation.users import User, leave
from simulation.verdict import judge
from simulation.weather import Weather
from simulation.workload import MODELS, NUMBERS_PER_JOB, Order, orders, parcels
from support.fake_network import FakeNetwork
from support.memory_disk import MemoryDisk
from support.virtual_time import ProcessLoop

SHARD_REQUESTS: Final = 12
PATIENCE_SECONDS: Final = 400.0
"""How long, once all trouble is over, jobs may take to end."""
GRACE_SECONDS: Final = 3.0
TIDY_AFTER_SECONDS: Final = 48 * 3_600.0
"""By then everything has expired that can."""


_OF_HOUSEKEEPING: Final = (
    "database busy", "database stalled", "disk full", "slow disk", "failing syncs", "clock",
)  # fmt: skip
"""What may keep a clerk from passing a deadline."""


@dataclass(frozen=True, slots=True)
class Report:
    seed: int
    insisted: Sequence[str]
    """Kinds of trouble that were to be among those drawn."""
    violations: Sequence[str]
    digest: str
    """Of all that happened, in its order."""
    counts: Counter[str]
    trace: Sequence[str]
    """The end of what happened."""


class Trace:
    def __init__(self, show: Callable[[str], None] | None) -> None:
        self._digest = hashlib.sha256()
        self._show = show
        self.end: deque[str] = deque(maxlen=60)

    def add(self, line: str) -> None:
        self._digest.update(line.encode() + b"\n")
        self.end.append(line)
        if self._show:
            self._show(line)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()[:16]


class Network(FakeNetwork):
    def crash(self, host: str) -> None:
        self._upstreams[host].crash()

    def revive(self, host: str) -> None:
        self._upstreams[host].down = False

    def forget(self, process: Process) -> None:
        for upstream in self._upstreams.values():
            upstream.forget(process)


class Machine:
    def __init__(
        self, seed: int, show: Callable[[str], None] | None, insisted: Sequence[str]
    ) -> None:
        self.seed = seed
        self.insisted = insisted
        self.chance = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        self.disk = MemoryDisk()
        self.network = Network()
        self.blobs = Blobs(DATA, self.disk)
        self.engine = empty_database()
        self.commits = Commits(self.engine)
        self.history = History(self)
        self.clock_skew = 0.0
        self.disk_is_slow = False
        self.misreads = False
        self.database_busy = False
        self.database_stalled = False
        self.healed = False
        self.closing = False
        self.traced = Trace(show)
        self.lease_seconds = 6.0
        self.trouble_seconds = self.chance.choice([3.0, 10.0, 25.0])
        self.orders = orders(self.chance, self.trouble_seconds)
        self.hosts = [f"gpu{n}" for n in range(self.chance.randint(1, 3))]
        self._make_upstreams()
        self.receivers = Receivers(self, self.chance)
        self._options()
        self.parcels = parcels(self.chance, self.trouble_seconds)
        self.places = [Place(self, "api", 0)]
        self.places += [Place(self, "clerk", n) for n in range(self.chance.choice([1, 2]))]
        self.places += [Place(self, "worker", n) for n in range(self.chance.randint(1, 3))]
        self.weather = Weather(self, self.chance, insisted)
        self.deaths = 0
        self.ended_at = 0.0
        """When all jobs had ended, or patience."""
        self.left: set[Path] = set()
        """Files there were when all was done, before the last power loss."""
        self._calm_since = 0.0
        self._latest: dict[str, float] = {}
        self.front: Front | None = None
        """What users reach; it may be that of a process that is gone."""
        self.database = ProcessDatabase(Process(self, "observer", "observer"))

    def _make_upstreams(self) -> None:
        for host in self.hosts:
            upstream = ScriptedUpstream.drawn(self, host, self.chance)
            models = MODELS if host == "gpu0" else self.chance.sample(MODELS, 2)
            self.network.upstream(host, upstream.answer).models = tuple(models)

    def _options(self) -> None:
        slots = self.chance.choice([1, 4, 8])
        timeouts = Timeouts(connect_seconds=2.0, first_byte_seconds=6.0, idle_seconds=3.0)
        targets = [Target.parse(f"http://{host}/v1") for host in self.hosts]
        lanes = {t.url: LaneOptions(t, slots, timeouts=timeouts) for t in targets}
        self.worker_options = WorkerOptions(
            lanes,
            DispatchOptions(RetryPolicy(backoff_first_seconds=0.5, backoff_max_seconds=4.0)),
            lease_seconds=self.lease_seconds,
            cancel_grace_seconds=GRACE_SECONDS,
            expire_grace_seconds=GRACE_SECONDS,
            drain_seconds=2.0,
        )
        intake = IntakeOptions(LineRules(None))
        # A context for TLS takes longer to make than a second of a world takes.
        courier = CourierOptions(allow_private=True, timeout_seconds=4.0)
        self.clerk_options = ClerkOptions(
            intake, DelivererOptions(courier), lease_seconds=self.lease_seconds
        )

    # What processes and upstreams ask

    def wall(self) -> float:
        return EPOCH + self.loop.time() + self.clock_skew

    def thread_seconds(self) -> float:
        return self.chance.random() * (0.15 if self.disk_is_slow else 0.001)

    def trace(self, who: Process | None, what: str) -> None:
        self.traced.add(f"{self.loop.time():9.4f} {who or ''!s:12} {what}")

    def order_of(self, number: int) -> Order:
        return self.orders[number // NUMBERS_PER_JOB - 1]

    def disturb(self, kind: str, seconds: float) -> None:
        """Something that excuses delay has just ended, after so many seconds."""
        self._calm_since = self._latest[kind] = self.loop.time()
        self.history.hindered.append((kind, self._calm_since - seconds, self._calm_since))

    def calm_for(self, seconds: float) -> bool:
        return not self._is_busy() and self.loop.time() - self._calm_since > seconds

    def well_for(self, seconds: float) -> bool:
        """Calm, and nobody has been dead, stopped or frozen in the meantime?"""
        everybody = [place.process for place in self.places]
        running = [p for p in everybody if p is not None and p.is_well_for(0.0)]
        return len(running) == len(everybody) and self.calm_for(seconds)

    def keeps_house_for(self, seconds: float) -> bool:
        """Has some clerk lived for so long, and the database served it?"""
        since = max(self._latest.get(kind, -99.0) for kind in _OF_HOUSEKEEPING)
        if self._is_busy() or self.loop.time() - since <= seconds:
            return False
        processes = [place.process for place in self.places if place.process is not None]
        return any(p.role == "clerk" and p.is_well_for(seconds) for p in processes)

    def _is_busy(self) -> bool:
        return self.database_busy or self.database_stalled or self.disk.full or self.disk_is_slow

    def recently(self, kind: str) -> bool:
        return self.disk.broken or self.loop.time() - self._latest.get(kind, -99.0) < 30.0

    def declared_dead(self, name: str) -> None:
        for place in self.places:
            if place.process is not None and place.process.id == name:
                place.process.declared_dead_at = self.loop.time()

    def lose_power(self) -> None:
        for place in self.places:
            if place.process is not None:
                place.process.die("with the machine")
        self.disk.lose_power(self.chance)
        if self.commits.lose_power(self.chance):
            self.history.rows_lost(self.engine)
        self.history.power_losses.append(self.loop.time())

    # The run

    async def run(self) -> Report:
        await self.database.write(lambda tx: lanes.sync(tx, self._specs()))
        await self.database.write(self.receivers.sign_up)
        keeping = [asyncio.ensure_future(place.keep()) for place in self.places]
        watching = asyncio.ensure_future(self._watch())
        users = [User(self, order.parcel).order(order) for order in self.orders]
        users += [User(self, parcel).store() for parcel in self.parcels]
        users += [leave(self, receiver) for receiver in self.receivers.all.values()]
        using = asyncio.gather(*users)
        await self.weather.run(self.trouble_seconds)
        self._heal()
        ended = await self._wait_for_the_end(using)
        self.ended_at = self.loop.time()
        await self._close(keeping)
        watching.cancel()
        self.left = set(self.disk.files)
        self.lose_power()
        judge(self, ended)
        return Report(
            self.seed,
            self.insisted,
            self.history.violations,
            self.traced.digest,
            self.history.counts,
            list(self.traced.end),
        )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            for place in self.places:
                if place.process is not None:
                    self.history.lives(place.process)
            self.history.keeps_time()

    def _specs(self) -> list[LaneSpec]:
        return [LaneSpec(url, 0) for url in self.worker_options.upstreams]

    def _heal(self) -> None:
        self.trace(None, "all is well from here on")
        self.healed = True
        for place in self.places:
            if place.process is not None:
                place.process.acts_left = place.process.turns_left = None
                place.process.renames_to_freeze = place.process.writes_to_freeze = None

    async def _wait_for_the_end(self, using: "asyncio.Future[Any]") -> list[Job]:
        """All jobs as they ended, or are when patience has."""
        until = self.loop.time() + PATIENCE_SECONDS
        await asyncio.wait([using], timeout=PATIENCE_SECONDS)
        if using.done():
            using.result()
        else:
            self.history.broke("users still wait for answers")
            using.cancel()
        while self._is_going_on() and self.loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return await self.database.read(self._jobs)

    def _is_going_on(self) -> bool:
        jobs = self.history.latest.jobs.values()
        return not self.history.violations and any(row.status not in TERMINAL for row in jobs)

    def _jobs(self, tx: Connection) -> list[Job]:
        found = []
        for order in self.orders:
            with suppress(NotFound):
                found.append(jobs.get(tx, order.job_id))
        return found

    async def _close(self, keeping: list["asyncio.Task[None]"]) -> None:
        """Stop everybody; two days later let fresh processes tidy up what the dead left lying."""
        await self._stop_all(keeping)
        self.clock_skew += TIDY_AFTER_SECONDS
        for seconds in (5.0, 1.0):
            self.places = [Place(self, "api", 9), Place(self, "clerk", 9)]
            self.closing = False
            kept = [asyncio.ensure_future(place.keep()) for place in self.places]
            await asyncio.sleep(seconds)
            await self._stop_all(kept)

    async def _stop_all(self, keeping: list["asyncio.Task[None]"]) -> None:
        self.closing = True
        for place in self.places:
            if place.process is not None:
                place.process.stopped_at = self.loop.time()
                place.process.stop.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                for task in keeping:
                    await asyncio.wait([task])
        for task in keeping:
            if not task.done():
                self.history.broke("a process does not stop within 30 s")
                task.cancel()


_SMALLER: Final = (
    # So that a small job has several shards, and a small file several writes and syncs.
    (plan, "_SHARD_RECORDS_BYTES_MAX", SHARD_REQUESTS * plan.RECORD.size),
    (incoming, "_WRITE_BYTES", 200),
    (incoming, "_SYNC_BYTES", 500),
    (joining, "_BLOCK_BYTES", 300),
    (joining, "_SYNC_BYTES", 500),
    (webhook, "_BACKOFF_FIRST_SECONDS", 1.0),
    (webhook, "_BACKOFF_MAX_SECONDS", 5.0),
    (janitor, "PURGE_SECONDS", 3.0),
    (janitor, "SWEEP_SECONDS", 2.0),
    (janitor, "BYTES_OUTLIVE_ROWS_SECONDS", 1.0),
)


def simulate(
    seed: int, show: Callable[[str], None] | None = None, insisted: Sequence[str] = ()
) -> Report:
    """Run one world to its end, the kinds of trouble `insisted` on among its own."""
    structlog.configure(processors=[_drop])
    usual = [(module, name, getattr(module, name)) for module, name, _ in _SMALLER]
    try:
        for module, name, value in _SMALLER:
            setattr(module, name, value)
        with asyncio.Runner(loop_factory=ProcessLoop) as runner:
            return runner.run(_simulate(seed, show, insisted))
    finally:
        for module, name, value in usual:
            setattr(module, name, value)
        structlog.reset_defaults()


async def _simulate(
    seed: int, show: Callable[[str], None] | None, insisted: Sequence[str]
) -> Report:
    machine = Machine(seed, show, insisted)
    machine.loop.set_exception_handler(lambda _, what: _unheard(machine, what))
    return await machine.run()


def _unheard(machine: Machine, what: dict[str, object]) -> None:
    """An exception nobody waits for: of the dead, or a bug."""
    error = what.get("exception")
    if isinstance(error, Exception):
        machine.history.broke(f"{what.get('message')}: {error!r}")


def _drop(*_: object) -> dict[str, object]:
    raise structlog.DropEvent
