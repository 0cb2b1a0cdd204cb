"""One process of the simulated machine: through what it touches the world, and how it dies.

A process that is dead goes on running only in order to clean up after itself; nothing it does
reaches disk, database or network any more. One that is frozen runs not at all, and when it is
thawed goes on where it was: a zombie, if it was declared dead meanwhile.
"""

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from overnight.seams import Seams
from overnight.store.blobs import Blobs
from simulation.disk import ProcessDisk
from simulation.thread import Thread
from support.memory_disk import Died
from support.virtual_time import OWNER, ProcessLoop

if TYPE_CHECKING:
    from simulation.machine import Machine

T = TypeVar("T")

EPOCH: Final = 1_700_000_000.0
DATA: Final = Path("data")


class Process:
    """`seams.Clock` and `seams.Chance` are its own methods; the rest of the seams are below."""

    def __init__(self, machine: "Machine", role: str, identity: str) -> None:
        self.machine = machine
        self.role = role
        self.id = identity
        self.alive = True
        self.stop = asyncio.Event()
        self.stopped_at: float | None = None
        """When it was asked to stop."""
        self.started_at = machine.loop.time()
        self.died_at: float | None = None
        self.declared_dead_at: float | None = None
        self.leased_until = 0.0
        """By the monotonic clock, as the last renewal that was committed says."""
        self.thawed_at = -1.0
        self.freezes: list[tuple[float, float]] = []
        self.acts_left: int | None = None
        """It dies at the act (a write, a transaction) that finds none left."""
        self.renames_to_freeze: int | None = None
        """It is frozen after so many renames: when it is about to tell the database of a file, or
        a moment later, when the database is about to hear of it."""
        self.writes_to_freeze: int | None = None
        """It is frozen before the transaction that finds none left."""
        self.turns_left: int | None = None
        """It dies before the callback that finds none left: anywhere between two awaits."""
        self.own_commits = 0
        self.open_files = 0
        disk = ProcessDisk(self)
        self.blobs = Blobs(DATA, disk)
        self.seams = Seams(
            self, self, self.connect, disk, lambda _: Thread(self), self.machine.receivers.resolve
        )
        self._chance = random.Random(f"{machine.seed}/{identity}")
        self._frozen_at: float | None = None
        self._held: list[asyncio.Handle] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def __str__(self) -> str:
        return self.id

    # Clock and chance

    def now(self) -> float:
        return EPOCH + self.machine.loop.time() + self.machine.clock_skew

    def monotonic(self) -> float:
        return self.machine.loop.time()

    def jitter(self) -> float:
        return self._chance.random()

    def token(self, digits: int) -> str:
        return "".join(self._chance.choice("0123456789abcdef") for _ in range(digits))

    # Life

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run `work` as this process, until it ends or the process does."""
        context = copy_context()
        context.run(OWNER.set, self)
        task = self.machine.loop.create_task(work, context=context)
        self._tasks[task] = None
        return task

    def die(self, how: str) -> None:
        """As by kill -9."""
        if self.alive:
            self.machine.trace(self, f"dies {how}")
            self.machine.history.counts["processes: killed"] += 1
            self.gone()
            self.thaw()
            for task in self._tasks:
                task.cancel()

    def gone(self) -> None:
        """It has ended, by itself or not; its connections end with it."""
        self.alive = False
        self.died_at = self.machine.loop.time()
        self.machine.network.forget(self)

    @property
    def is_frozen(self) -> bool:
        return self._frozen_at is not None

    def is_well_for(self, seconds: float) -> bool:
        """Has it been able to work for so long?"""
        since = max(self.started_at, self.thawed_at)
        runs = self.alive and not self.is_frozen and not self.stop.is_set()
        return runs and self.machine.loop.time() - since >= seconds

    def freeze(self) -> None:
        """As by SIGSTOP."""
        if self.alive and self._frozen_at is None:
            self.machine.trace(self, "is frozen")
            self._frozen_at = self.machine.loop.time()

    def thaw(self) -> None:
        if self._frozen_at is not None:
            self.machine.trace(self, "is thawed")
            self.thawed_at = self.machine.loop.time()
            self.freezes.append((self._frozen_at, self.thawed_at))
            self._frozen_at = None
            held, self._held = self._held, []
            loop = self.machine.loop
            assert isinstance(loop, ProcessLoop)
            loop.thaw(held)

    def may_run(self, handle: asyncio.Handle) -> bool:
        if self._frozen_at is not None:
            self._held.append(handle)
            return False
        if self.turns_left is not None and self.alive:
            self.turns_left -= 1
            if self.turns_left < 0:
                self.die("between two awaits")
        return True

    def act(self, what: str, do: Callable[[], T]) -> T:
        """Do something to the world; `Died` when it is dead, or dies just before or after."""
        dies = self.dies_now(what)
        if dies and self.machine.chance.random() < 0.5:
            self.die(f"before: {what}")
            raise Died
        result = do()
        self.machine.trace(self, what)
        if dies:
            self.die(f"after: {what}")
            raise Died
        return result

    def freeze_at_write(self) -> None:
        """Be frozen, if it is time, when the thread of the database is about to begin: what it does
        then comes first after the thaw, before any fence.
        """
        if self.writes_to_freeze is not None:
            self.writes_to_freeze -= 1
            if self.writes_to_freeze < 0:
                self.writes_to_freeze = None
                self.machine.weather.freeze(self)

    def dies_now(self, what: str) -> bool:
        if not self.alive:
            raise Died
        if self.renames_to_freeze is not None and what.startswith("rename"):
            self.renames_to_freeze -= 1
            if self.renames_to_freeze < 0:
                self.renames_to_freeze = None
                if self.machine.chance.random() < 0.5:
                    self.machine.weather.freeze(self)
                else:
                    self.writes_to_freeze = 0
        if self.acts_left is None:
            return False
        self.acts_left -= 1
        return self.acts_left < 0

    async def connect(
        self,
        factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        server_name: str | None = None,
        socket_path: str | None = None,
    ) -> None:
        if not self.alive:
            raise Died
        receivers = self.machine.receivers
        network = receivers if receivers.is_one(host) else self.machine.network
        await network.connect(factory, host, port, tls, server_name, socket_path)
