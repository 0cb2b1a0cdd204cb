"""Whatever dies, and whenever: once all is deleted, no file is left, and none goes too soon."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, select

from overnight.domain.errors import Unavailable
from overnight.domain.job import TERMINAL, JobEvent, JobStatus
from overnight.seams import Seams, SystemChance
from overnight.service.files import Files, FilesOptions, NewFile
from overnight.service.janitor import (
    ABANDONED_UPLOAD_SECONDS,
    BYTES_OUTLIVE_ROWS_SECONDS,
    SWEEP_SECONDS,
    Janitor,
)
from overnight.service.orphans import EVIDENCE_SECONDS, Orphans
from overnight.service.part_order import OrderOfIds
from overnight.service.part_uploads import NewUpload, PartUploads
from overnight.store import files, workers
from overnight.store.tables import files as file_table
from support.memory_disk import Died, MemoryDisk
from support.service_world import FailingDatabase, ServiceWorld, in_world, running
from support.virtual_time import YieldingThreads

T = TypeVar("T")

OPTIONS = FilesOptions(secret=b"s" * 32, upload_seconds=120)
UPLOAD = NewFile("local", "a.jsonl", "batch")


class MortalDatabase(FailingDatabase):
    """A transaction counts as a change to the disk: the process may die before it."""

    def __init__(self, path: Path, disk: MemoryDisk) -> None:
        super().__init__(path, YieldingThreads("database"))
        self._disk = disk

    async def write(self, work: Callable[[Connection], T]) -> T:
        self._disk.change()
        return await super().write(work)


def seams(world: ServiceWorld) -> Seams:
    return replace(world.seams, chance=SystemChance())


async def upload(world: ServiceWorld, database: FailingDatabase) -> None:
    service = Files(database, world.blobs, seams(world), OPTIONS)
    async with service.incoming() as incoming:
        await incoming.write(b"all of it")
        await service.add(incoming, UPLOAD)


async def put_by_link(world: ServiceWorld, database: FailingDatabase) -> None:
    service = Files(database, world.blobs, seams(world), OPTIONS)
    _, token = await service.reserve(UPLOAD, None)
    for data in (b"all of it", b"all of it, and better"):
        async with service.incoming() as incoming:
            await incoming.write(data)
            await service.fulfil(service.read_link(token), incoming)


async def send_in_parts(world: ServiceWorld, database: FailingDatabase) -> None:
    service = PartUploads(database, world.blobs, seams(world), OPTIONS)
    announced = await service.create(NewUpload(UPLOAD, 6))
    parts = []
    for data in (b"one", b"two"):
        async with await service.incoming(announced) as incoming:
            await incoming.write(data)
            parts.append((await service.add_part(announced, incoming)).id)
    await service.complete(announced.id, "local", OrderOfIds(parts))


async def run_a_job(world: ServiceWorld, database: FailingDatabase) -> None:
    await world.configure()
    job_id = await world.submit(20)
    for name, connection in (("mortal", database), ("successor", world.database)):
        with suppress(Died):
            async with (
                running(world.clerk(f"c-{name}", connection)) as clerk,
                running(world.worker(f"w-{name}", connection)) as worker,
            ):
                while (await world.job(job_id)).status not in TERMINAL:
                    if clerk.ended or worker.ended:
                        raise Died
                    await asyncio.sleep(0.05)
            return
        revive(world)
        await reclaim_all(world)


async def reclaim_all(world: ServiceWorld) -> None:
    now = world.clock.now()
    await world.database.write(lambda tx: workers.reclaim_all(tx, now))


def revive(world: ServiceWorld) -> None:
    world.disk.writes_left = None
    world.disk.opened = 0


async def delete_all(world: ServiceWorld) -> None:
    now = world.clock.now()

    def delete(tx: Connection) -> None:
        for file_id in tx.scalars(select(file_table.c.id).where(file_table.c.deleted_at.is_(None))):
            files.forget(tx, file_id, now)

    await world.database.write(delete)


async def keep_house(world: ServiceWorld, seconds: float) -> None:
    """As a clerk does it, and an API that starts."""
    await Files(world.database, world.blobs, world.seams, OPTIONS).clear_incoming()
    janitor = Janitor(world.database, world.blobs, world.seams, YieldingThreads("files"))
    await janitor.step()
    for _ in range(4):
        await asyncio.sleep(seconds / 4)
        await janitor.step()


Scene = Callable[[ServiceWorld, FailingDatabase], Awaitable[None]]


@pytest.mark.parametrize("scene", [upload, put_by_link, send_in_parts, run_a_job])
def test_no_death_leaves_a_file_behind(tmp_path: Path, scene: Scene) -> None:
    async def live(world: ServiceWorld, changes: int) -> bool:
        database = MortalDatabase(world.path, world.disk)
        world.disk.writes_left, world.disk.torn = changes, changes % 2 == 0
        try:
            with suppress(Died):
                await scene(world, database)
            died = world.disk.writes_left in (0, None)
        finally:
            await database.close()
        revive(world)
        await delete_all(world)
        await keep_house(world, 2 * ABANDONED_UPLOAD_SECONDS)
        assert sorted(world.disk.files) == []
        return died

    async def test(world: ServiceWorld) -> None:
        changes = 0
        while await live(world, changes):
            changes += 1
        assert changes > 3

    in_world(tmp_path, test)


def test_a_file_that_is_on_its_way_is_not_taken_for_an_orphan(tmp_path: Path) -> None:
    """Its bytes have their name, and its row is late: for hours, in a process that was frozen."""

    async def test(world: ServiceWorld) -> None:
        path = world.blobs.file_path("file-late")
        world.disk.files[path] = bytearray(b"bytes")
        janitor = Janitor(world.database, world.blobs, world.seams, YieldingThreads("files"))
        await janitor.step()
        await asyncio.sleep(SWEEP_SECONDS - 1)
        await janitor.step()
        assert path in world.disk.files
        await asyncio.sleep(2)
        await janitor.step()
        assert path not in world.disk.files
        # Whoever comes so late adds no row for what is gone.
        with pytest.raises(Unavailable, match="not there"):
            world.blobs.check_file("file-late")

    in_world(tmp_path, test)


class WatchedDatabase(FailingDatabase):
    """Before each transaction there is a sweep, and all it meets it has met before."""

    orphans: Orphans
    sweeps = 0

    async def write(self, work: Callable[[Connection], T]) -> T:
        await self.orphans.sweep()
        await self.orphans.sweep()
        self.sweeps += 1
        return await super().write(work)


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    """Also what has its name and not yet its row."""

    async def test(world: ServiceWorld) -> None:
        await world.configure()
        watched = WatchedDatabase(world.path, YieldingThreads("database"))
        sweeper = YieldingThreads("files")
        watched.orphans = Orphans(world.database, world.blobs, world.seams, sweeper)
        ids = [await world.submit(20) for _ in range(2)]
        async with running(world.clerk("c", watched)), running(world.worker("w", watched)):
            ended = [await world.until(job_id, *TERMINAL) for job_id in ids]
        await send_in_parts(world, watched)
        assert {job.status for job in ended} == {JobStatus.COMPLETED}
        assert [sum(world.ids(job).values()) for job in ended] == [20, 20]
        assert watched.sweeps > 10
        await watched.close()

    in_world(tmp_path, test)


def test_what_a_failed_job_was_made_from_is_kept_for_a_month(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(20)
        await world.happen(job_id, JobEvent.CORRUPTED)
        async with running(world.clerk("c")):
            await world.until(job_id, JobStatus.FAILED)
        draft = world.blobs.job_folder(job_id) / "output.1.draft"
        world.disk.files[draft] = bytearray(b"half of it")
        await keep_house(world, EVIDENCE_SECONDS - 10)
        assert [path.name for path in world.left_of(job_id)] == ["plan"]
        await keep_house(world, 4 * SWEEP_SECONDS)
        assert not world.left_of(job_id)
        # Its result file is the user's.
        assert len(world.ids(await world.job(job_id))) == 20

    in_world(tmp_path, test)


def test_a_file_that_can_not_be_removed_keeps_no_other(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        paths = []
        for _ in range(2):
            job = await world.job(await world.submit(1))
            await world.happen(job.id, JobEvent.CANCEL_REQUESTED)
            paths.append(world.blobs.file_path(job.input_file_id))
        world.disk.refused.add(paths[0])
        await delete_all(world)
        await keep_house(world, 4 * BYTES_OUTLIVE_ROWS_SECONDS)
        assert list(world.disk.files) == [paths[0]]
        world.disk.refused.clear()
        await keep_house(world, 4 * BYTES_OUTLIVE_ROWS_SECONDS)
        assert list(world.disk.files) == []

    in_world(tmp_path, test)
