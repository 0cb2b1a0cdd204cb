"""What goes wrong around the processes, and when: drawn from the seed.

Each run gets some kinds of trouble and not others: where everything happens at once, the rare
meeting of two never does.
"""

import asyncio
import random
from collections.abc import Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Final

from support.virtual_time import OWNER

if TYPE_CHECKING:
    from simulation.machine import Machine
    from simulation.process import Process

_OF_PROCESSES: Final = {
    "kill -9 by the clock": ("",),
    "kill -9 at a write": ("", "api"),
    "kill -9 between two awaits": ("",),
    "SIGTERM": ("",),
    "freeze": ("",),
    "freeze at a rename": ("clerk", "worker"),
    "freeze at a commit": ("clerk", "clerk", "worker", "api"),
}
"""And which roles may be struck: of any process, or of one of these at random."""
KINDS: Final = (
    *_OF_PROCESSES, "power loss", "power loss", "clock jump", "upstream down", "disk full",
    "failing syncs", "misreadings", "slow disk", "database busy", "database stalled",
)  # fmt: skip


class Weather:
    def __init__(self, machine: "Machine", chance: random.Random, insisted: Sequence[str]) -> None:
        self._machine = machine
        self._chance = chance
        drawn = chance.sample(KINDS, chance.choice([0, 1, 2, 3, 3, 4, 6]))
        self._kinds = [*drawn, *(kind for kind in insisted if kind not in drawn)]
        self._mean_seconds = chance.choice([0.7, 2.0, 5.0])
        self._passing: list[asyncio.Task[None]] = []
        self._frozen: list[asyncio.Task[None]] = []

    async def run(self, seconds: float) -> None:
        """Make trouble for that long, then end all of it; sleepers wake in their own time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._kinds:
            wait = self._chance.expovariate(1 / self._mean_seconds)
            if loop.time() + wait >= until:
                break
            await asyncio.sleep(wait)
            self._strike(self._chance.choice(self._kinds))
        await asyncio.sleep(max(0.0, until - loop.time()))
        for task in self._passing:
            task.cancel()
        # Whoever is frozen sleeps its time out, or there would be no zombies in short worlds.
        for task in (*self._passing, *self._frozen):
            await asyncio.wait([task])

    def _strike(self, kind: str) -> None:
        machine, chance = self._machine, self._chance
        machine.history.counts[f"trouble: {kind}"] += 1
        machine.trace(None, kind)
        match kind:
            case "power loss":
                machine.lose_power()
            case "clock jump":
                machine.clock_skew += chance.choice([-100, -10, -1, 1, 10, 100]) * chance.random()
                machine.disturb("clock", 0.0)
            case "upstream down":
                self._pass(kind, chance.uniform(0.1, 10.0), chance.choice(machine.hosts))
            case _ if kind in _OF_PROCESSES:
                if process := self._someone(chance.choice(_OF_PROCESSES[kind])):
                    self._hit(process, kind)
            case _:
                self._pass(kind, chance.choice([0.05, 1.0, 4.0, 12.0, 24.0]) * chance.random())

    def _hit(self, process: "Process", kind: str) -> None:
        chance = self._chance
        match kind:
            case "kill -9 by the clock":
                process.die("by the clock")
            case "kill -9 at a write":
                process.acts_left = chance.choice([0, 1, 2, 4, 8, 30])
            case "kill -9 between two awaits":
                process.turns_left = chance.randint(0, 200)
            case "SIGTERM":
                process.stopped_at = self._machine.loop.time()
                process.stop.set()
            case "freeze":
                self.freeze(process)
            case "freeze at a rename":
                process.renames_to_freeze = chance.choice([0, 0, 0, 1, 2])
            case "freeze at a commit":
                process.writes_to_freeze = chance.choice([0, 0, 1, 2, 4])

    def _someone(self, role: str = "") -> "Process | None":
        places = [place.process for place in self._machine.places if place.process]
        running = [process for process in places if process.role.startswith(role)]
        return self._chance.choice(running) if running else None

    def _pass(self, kind: str, seconds: float, host: str = "") -> None:
        self._passing.append(asyncio.ensure_future(self._last(kind, seconds, host)))

    def freeze(self, process: "Process") -> None:
        context = copy_context()
        context.run(OWNER.set, None)
        frozen = asyncio.get_running_loop().create_task(self._freeze(process), context=context)
        self._frozen.append(frozen)

    async def _freeze(self, process: "Process") -> None:
        lease = self._machine.lease_seconds
        seconds = self._chance.choice([0.5, 2 * lease, 3 * lease]) * self._chance.uniform(0.5, 1.5)
        process.freeze()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._machine.disturb("freeze", seconds)
            process.thaw()

    async def _last(self, kind: str, seconds: float, host: str) -> None:
        """Some weather that ends again."""
        machine = self._machine
        began = machine.loop.time()
        self._set(kind, host, True)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._set(kind, host, False)
            machine.disturb(kind, machine.loop.time() - began)

    def _set(self, kind: str, host: str, on: bool) -> None:
        machine = self._machine
        match kind:
            case "upstream down" if on:
                machine.network.crash(host)
            case "upstream down":
                machine.network.revive(host)
            case "disk full":
                machine.disk.full = on
            case "failing syncs":
                machine.disk.broken = on
            case "misreadings":
                machine.misreads = on
            case "slow disk":
                machine.disk_is_slow = on
            case "database busy":
                machine.database_busy = on
            case "database stalled":
                machine.database_stalled = on
