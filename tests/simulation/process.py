"""One process of the simulated machine: through what it touches the world, and how it dies.

A process that is dead goes on running only in order to clean up after itself; nothing it does
reaches disk, database or network any more. One that is frozen runs not at all, and when it is
thawed goes on where it was: a zombie, if it was declared dead meanwhile.
"""

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Connection
from xxhash import xxh3_64_hexdigest

from overnight.domain.errors import Unavailable
from overnight.seams import AppendFile, ReadFile, Seams
from overnight.store.database import Database
from support.memory_disk import Died
from support.virtual_time import OWNER, ProcessLoop

if TYPE_CHECKING:
    from simulation.machine import Machine

T = TypeVar("T")

EPOCH: Final = 1_700_000_000.0


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
        self.died_at: float | None = None
        self.declared_dead_at: float | None = None
        self.leased_until = 0.0
        """By the monotonic clock, as the last renewal that was committed says."""
        self.thawed_at = -1.0
        self.freezes: list[tuple[float, float]] = []
        self.acts_left: int | None = None
        """It dies at the act (a write, a transaction) that finds none left."""
        self.renames_to_freeze: int | None = None
        """It is frozen after so many renames: when it is about to tell the database of a file."""
        self.turns_left: int | None = None
        """It dies before the callback that finds none left: anywhere between two awaits."""
        self.own_commits = 0
        self.open_files = 0
        disk = ProcessDisk(self)
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
            self.machine.history.counts["processes killed"] += 1
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

    def dies_now(self, what: str) -> bool:
        if not self.alive:
            raise Died
        if self.renames_to_freeze is not None and what.startswith("rename"):
            self.renames_to_freeze -= 1
            if self.renames_to_freeze < 0:
                self.renames_to_freeze = None
                self.machine.weather.freeze(self)
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
    ) -> None:
        if not self.alive:
            raise Died
        receivers = self.machine.receivers
        network = receivers if receivers.is_one(host) else self.machine.network
        await network.connect(factory, host, port, tls, server_name)


class _Errand:
    def __init__(self, work: Callable[[], object], future: "asyncio.Future[object]") -> None:
        self.work: Callable[[], object] | None = work
        self.future = future


class Thread:
    """`seams.Threads`: takes its time, and goes on with what was begun when nobody waits."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._waiting: deque[_Errand] = deque()
        self._begun: _Errand | None = None

    async def run(self, work: Callable[[], T]) -> T:
        if not self._process.alive:
            raise Died
        errand = _Errand(work, asyncio.get_running_loop().create_future())
        self._waiting.append(errand)
        if self._begun is None:
            self._next()
        return await errand.future  # type: ignore[return-value]

    def close(self) -> None:
        """Wait for what was begun, forget what was not."""
        for errand in self._waiting:
            errand.future.cancel()
        self._waiting.clear()
        if self._begun is not None and self._process.alive:
            self._do(self._begun)

    def _next(self) -> None:
        self._begun = None
        while self._waiting and self._begun is None:
            errand = self._waiting.popleft()
            if not errand.future.done():
                self._begun = errand
        if self._begun is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self._process.machine.thread_seconds(), self._carry_out, self._begun)

    def _carry_out(self, errand: _Errand) -> None:
        self._do(errand)
        self._next()

    def _do(self, errand: _Errand) -> None:
        work, errand.work = errand.work, None
        if work is None:
            return
        try:
            result = self._process.act("thread", work)
        except BaseException as error:  # noqa: BLE001  it belongs to who waits for it
            if not errand.future.done():
                errand.future.set_exception(error)
                errand.future.exception()
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(self._process.machine.thread_seconds(), _tell, errand.future, result)


def _tell(future: "asyncio.Future[object]", result: object) -> None:
    if not future.done():
        future.set_result(result)


class ProcessDisk:
    """The machine's disk, as one process uses it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def create(self, path: Path) -> AppendFile:
        made = self._process.act(f"create {path}", lambda: self._disk.create(path))
        return ProcessAppend(self._process, path, made)

    def extend(self, path: Path, length: int) -> AppendFile:
        made = self._process.act(f"extend {path}", lambda: self._disk.extend(path, length))
        return ProcessAppend(self._process, path, made)

    def open(self, path: Path) -> ReadFile:
        if not self._process.alive:
            raise Died
        return self._disk.open(path)

    def publish(self, source: Path, target: Path) -> None:
        what = f"rename {source} to {target}"
        self._process.machine.history.renames(self._process, source, target)
        self._process.act(what, lambda: self._disk.publish(source, target))

    def remove(self, path: Path) -> None:
        if path in self._disk.files:
            self._process.machine.history.removes(self._process, path)
            self._process.act(f"remove {path}", lambda: self._disk.remove(path))

    def make_folder(self, path: Path) -> None:
        self._process.act(f"make {path}", lambda: self._disk.make_folder(path))

    def remove_folder(self, path: Path) -> None:
        """File by file, as it is done: a crash leaves the rest."""
        for each in sorted(each for each in self._disk.files if path in each.parents):
            self.remove(each)

    def list_folder(self, path: Path) -> list[str]:
        if not self._process.alive:
            raise Died
        return self._disk.list_folder(path)

    def free_bytes(self, path: Path) -> int:
        return self._disk.free_bytes(path)

    @property
    def _disk(self):  # noqa: ANN202
        return self._process.machine.disk


class ProcessAppend:
    def __init__(self, process: Process, path: Path, file: AppendFile) -> None:
        self._process = process
        self._path = path
        self._file = file
        self._open = True
        process.open_files += 1

    def append(self, parts: Sequence[bytes]) -> None:
        process, data = self._process, b"".join(parts)
        what = f"append {len(data)} ({xxh3_64_hexdigest(data)}) to {self._path}"
        if process.dies_now(what):
            # What a process had written when it was killed may be any part of what it wanted to.
            self._file.append([data[: process.machine.chance.randint(0, len(data))]])
            process.die(f"in: {what}")
            raise Died
        self._file.append([data])
        process.machine.trace(process, what)

    def datasync(self) -> None:
        self._process.act(f"sync {self._path}", self._file.datasync)

    def close(self) -> None:
        self._process.open_files -= self._open
        self._open = False
        self._file.close()


class ProcessDatabase(Database):
    """The machine's database, as one process uses it: sometimes busy, sometimes slow to answer."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._machine = process.machine
        self._threads = Thread(process)
        self._reader = self._machine.engine
        self._writer = self._machine.engine.execution_options(begin="IMMEDIATE")
        self._seen: int | None = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        await self._admission()
        return await super().read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        await self._admission()
        history, process = self._machine.history, self._process
        return await super().write(lambda tx: history.watch(process, tx, work))

    async def changed(self) -> bool:
        await self._admission()
        others = self._machine.history.commits - self._process.own_commits
        changed, self._seen = others != self._seen, others
        return changed

    async def checkpoint(self) -> None:
        await self._admission()

    async def close(self) -> None:
        self._threads.close()

    async def _admission(self) -> None:
        while self._machine.database_stalled:  # noqa: ASYNC110  virtual time costs nothing
            await asyncio.sleep(0.1)
        if self._machine.database_busy:
            raise Unavailable("The database can not serve right now: database is locked.")
