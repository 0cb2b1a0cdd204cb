"""A clerk and workers in virtual time: a real database, a disk and upstreams in memory."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection

from overnight.dispatch.dispatcher import DispatchOptions
from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.target import Target
from overnight.domain.block_digests import BlockDigests, BlockHasher
from overnight.domain.errors import Unavailable
from overnight.domain.file import FileStatus, StoredFile
from overnight.domain.job import Job, JobEvent, JobStatus
from overnight.domain.request import LineRules
from overnight.seams import Seams
from overnight.service.clerk import Clerk, ClerkOptions
from overnight.service.intake import Intake, IntakeOptions
from overnight.service.worker import Worker, WorkerOptions
from overnight.store import files, jobs, lanes, workers
from overnight.store.blobs import Blobs
from overnight.store.database import Database
from overnight.store.lanes import LaneSpec
from overnight.store.migrate import migrate
from support.dispatch_world import HOUR_SECONDS, EvenChance
from support.fake_network import FakeNetwork, Respond
from support.memory_disk import MemoryDisk
from support.virtual_time import VirtualClock, YieldingThreads, run_virtual

T = TypeVar("T")

CHAT = "/v1/chat/completions"
URL = "http://gpu/v1"


def request_lines(count: int, model: str = "m") -> bytes:
    """Custom ids are c1, c2, …; the `n` of a body is the number in its id."""
    bodies = [
        {"model": model, "n": n, "messages": [{"role": "user", "content": "?"}]}
        for n in range(1, count + 1)
    ]
    lines = [{"custom_id": f"c{body['n']}", "body": body} for body in bodies]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def digests_of(data: bytes) -> BlockDigests:
    hasher = BlockHasher()
    hasher.update(data)
    return hasher.digests()


_BUSY = Unavailable("The database can not serve right now: database is locked.")


class FailingDatabase(Database):
    """A database that can not serve while `down`, or not answer, and counts transactions."""

    down = False
    stalled = False
    writes = 0
    writes_left: int | None = None
    """How many more transactions it takes; None: as many as there are."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        await self._check()
        return await super().read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        await self._check()
        if self.writes_left is not None:
            if not self.writes_left:
                raise _BUSY
            self.writes_left -= 1
        self.writes += 1
        return await super().write(work)

    async def changed(self) -> bool:
        await self._check()
        return await super().changed()

    async def _check(self) -> None:
        if self.stalled:
            await asyncio.Event().wait()
        if self.down:
            raise _BUSY


class ServiceWorld:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "db"
        self.clock = VirtualClock()
        self.disk = MemoryDisk()
        self.network = FakeNetwork()
        self.gpu = self.network.upstream("gpu", lambda _: Respond(after_seconds=0.05))
        self.seams = Seams(
            self.clock, EvenChance(), self.network.connect, self.disk, YieldingThreads
        )
        self.blobs = Blobs(Path("data"), self.disk)
        migrate(self.path)
        self.database = self.connection()
        self._jobs = 0

    def connection(self) -> FailingDatabase:
        """Another process's view of the database."""
        return FailingDatabase(self.path, YieldingThreads("database"))

    async def configure(self, *specs: LaneSpec) -> None:
        """The lanes there are; one to `URL` unless told otherwise."""
        wanted = specs or (LaneSpec(URL, 0),)
        await self.database.write(lambda tx: lanes.sync(tx, wanted))

    # Processes

    def worker(self, name: str, database: Database | None = None, **changes: Any) -> Worker:
        upstreams = {
            f"http://{host}/v1": LaneOptions(Target.parse(f"http://{host}/v1"), 4)
            for host in ("gpu", "gpu2")
        }
        options = replace(WorkerOptions(upstreams, DispatchOptions()), **changes)
        database = database or self.connection()
        return Worker(name, database, self.blobs, self.seams, options)

    def clerk(self, name: str, database: Database | None = None, **changes: Any) -> Clerk:
        options = replace(ClerkOptions(IntakeOptions(LineRules(None))), **changes)
        return Clerk(name, database or self.connection(), self.blobs, self.seams, options)

    # Jobs

    async def submit(
        self, count: int = 10, *, window_seconds: float = 24 * HOUR_SECONDS, data: bytes = b""
    ) -> str:
        """A job in VALIDATING and its input file."""
        self._jobs += 1
        now, number = self.clock.now(), self._jobs
        job_id, file_id = f"batch_{number:04x}", f"file-{number:04x}"
        data = data or request_lines(count)
        self.disk.files[self.blobs.file_path(file_id)] = bytearray(data)
        file = StoredFile(
            id=file_id,
            tenant="local",
            name="in.jsonl",
            purpose="batch",
            bytes=len(data),
            created_at=now,
            status=FileStatus.READY,
        )
        job = Job(
            id=job_id,
            tenant="local",
            endpoint=CHAT,
            input_file_id=file_id,
            input_bytes=len(data),
            line_rules="together",
            status=JobStatus.VALIDATING,
            created_at=now,
            deadline=now + window_seconds,
        )

        def write(tx: Connection) -> None:
            files.add(tx, file, digests_of(data))
            jobs.create(tx, job)

        await self.database.write(write)
        return job_id

    async def accept(self, count: int = 10, **how: Any) -> str:
        """A job in IN_PROGRESS, validated by a clerk that is gone again."""
        job_id = await self.submit(count, **how)
        now = self.clock.now()
        clerk = f"intake-{job_id}"
        await self.database.write(lambda tx: workers.register(tx, clerk, "clerk", now, now + 9))
        (claim,) = await self.database.write(lambda tx: jobs.claim_validation(tx, clerk, 1))
        options = IntakeOptions(LineRules(None))
        intake = Intake(
            claim, self.database, self.blobs, self.seams, options, YieldingThreads("files")
        )
        while not await intake.step():
            pass
        await self.database.write(lambda tx: workers.leave(tx, clerk))
        return job_id

    async def accept_on_full_disk(self, count: int) -> str:
        """The plan of a job found room, and nothing since."""
        self.disk.full = False
        job_id = await self.accept(count)
        self.disk.full = True
        return job_id

    async def happen(self, job_id: str, event: JobEvent) -> None:
        now = self.clock.now()
        await self.database.write(lambda tx: jobs.advance(tx, job_id, event, now))

    async def job(self, job_id: str) -> Job:
        return await self.database.read(lambda tx: jobs.get(tx, job_id))

    async def until(self, job_id: str, *statuses: JobStatus, seconds: float = 500) -> Job:
        async with asyncio.timeout(seconds):
            while (job := await self.job(job_id)).status not in statuses:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return job

    async def until_true(self, condition: Callable[[], object]) -> None:
        """Looks at every turn of the loop."""
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """A result file, line by line; none when there is no file."""
        if file_id is None:
            return []
        data = bytes(self.disk.files[self.blobs.file_path(file_id)])
        return [json.loads(line) for line in data.splitlines()]

    def left_of(self, job_id: str) -> list[Path]:
        """What the job's folder holds."""
        folder = self.blobs.job_folder(job_id)
        return [path for path in self.disk.files if folder in path.parents]

    def ids(self, job: Job) -> Counter[str]:
        """How often each custom id is in the job's two files."""
        return Counter(
            line["custom_id"]
            for file_id in (job.output_file_id, job.error_file_id)
            for line in self.lines(file_id)
        )


class Running:
    """A worker or clerk at work; `kill` ends it as kill -9 does, `stop` as SIGTERM does."""

    def __init__(self, process: Worker | Clerk) -> None:
        self._stop = asyncio.Event()
        self._task = asyncio.ensure_future(process.run(self._stop))

    @property
    def ended(self) -> bool:
        return self._task.done()

    async def stop(self) -> None:
        self._stop.set()
        await self._task

    async def kill(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def end(self) -> None:
        """Wait for it to end by itself; raises what it ended with."""
        await self._task


@asynccontextmanager
async def running(process: Worker | Clerk) -> AsyncIterator[Running]:
    """Stopped at the end, unless it has ended before; what it ended with is raised."""
    run = Running(process)
    try:
        yield run
    except BaseException:
        await run.kill()
        raise
    if not run.ended:
        await run.stop()


def in_world(folder: Path, test: Callable[[ServiceWorld], Coroutine[Any, Any, None]]) -> None:
    """Run a test in virtual time; every file must be closed at its end."""

    async def main() -> None:
        world = ServiceWorld(folder)
        await test(world)
        await world.database.close()
        assert world.disk.opened == 0

    run_virtual(main())
