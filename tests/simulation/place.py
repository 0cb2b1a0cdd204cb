"""Where one process after another does the same work, as the supervisor keeps it."""

import asyncio
from typing import TYPE_CHECKING

from overnight.domain.errors import Corrupt, LeaseLost, Unavailable
from overnight.service.clerk import Clerk
from overnight.service.worker import Worker
from overnight.store import workers
from simulation.database import ProcessDatabase
from simulation.front import Front
from simulation.process import Process

if TYPE_CHECKING:
    from simulation.machine import Machine


class Place:
    def __init__(self, machine: "Machine", role: str, number: int) -> None:
        self.process: Process | None = None
        self._machine = machine
        self._role = role
        self._number = number
        self._generation = 0
        self._dead: list[str] = []

    async def keep(self) -> None:
        machine = self._machine
        while not machine.closing:
            self._generation += 1
            name = f"{self._role}{self._number}.{self._generation}"
            process = self.process = Process(machine, self._role, name)
            machine.trace(process, "starts")
            machine.disturb("start", 0.0)
            task = process.spawn(self._live(process))
            await asyncio.wait([task])
            self.process = None
            self._bury(process, None if task.cancelled() else task.exception())
            if not machine.closing:
                await asyncio.sleep(machine.chance.uniform(0.05, 1.5))

    async def _live(self, process: Process) -> None:
        machine = self._machine
        database = ProcessDatabase(process)
        if self._dead and machine.chance.random() < 0.7:
            # Otherwise as on another machine: the lease has to run out.
            gone, self._dead = self._dead, []
            await database.write(lambda tx: workers.reclaim(tx, gone, process.now()))
        parts = (process.id, database, process.blobs, process.seams)
        match self._role:
            case "clerk":
                await Clerk(*parts, machine.clerk_options).run(process.stop)
            case "worker":
                await Worker(*parts, machine.worker_options).run(process.stop)
            case "api":
                machine.front = Front(process, database)
                await machine.front.run(process.stop)
        await database.close()

    def _bury(self, process: Process, error: BaseException | None) -> None:
        machine, was_alive = self._machine, process.alive
        self._dead.append(process.id)
        machine.deaths += 1
        if not was_alive:
            return
        process.gone()
        machine.trace(process, f"ends {error!r}")
        if error is None:
            if process.stopped_at is None:
                machine.history.broke(f"{process} ended and nobody had asked it to")
            elif process.open_files:
                machine.history.broke(f"{process} leaves {process.open_files} files open")
        elif isinstance(error, LeaseLost | Unavailable):
            machine.history.counts[f"processes: ended by {type(error).__name__}"] += 1
        elif isinstance(error, OSError) and machine.recently("failing syncs"):
            machine.history.counts["processes: ended by a failed sync"] += 1
        elif isinstance(error, Corrupt) and machine.history.misread:
            # What could be read a moment before; its successor finds it as it is.
            machine.history.counts["processes: ended by a failed read"] += 1
        else:
            machine.history.broke(f"{process} died of {error!r}")
