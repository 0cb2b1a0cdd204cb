"""The janitor: what the dead held, what is overdue, and what nobody needs."""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from overnight.domain.errors import NotFound
from overnight.domain.file import FileStatus
from overnight.domain.job import JobEvent, JobStatus
from overnight.service.janitor import BYTES_OUTLIVE_ROWS_SECONDS, PURGE_SECONDS
from overnight.store import files, jobs, shards, workers
from overnight.store.shards import ShardClaim
from support.service_world import ServiceWorld, in_world, running

DAY_SECONDS = 24 * 3_600.0


def test_the_silent_are_declared_dead_and_the_others_are_not(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(10)
        now = world.clock.now()

        def write(tx: Connection) -> list[ShardClaim]:
            workers.register(tx, "silent", "worker", now, now + 15)
            return shards.claim(tx, "silent", None, 1, now)

        (claim,) = await world.database.write(write)
        async with running(world.clerk("c")), running(world.worker("alive")):
            await asyncio.sleep(13)
            (row,) = await world.database.read(lambda tx: shards.of_job(tx, job_id))
            assert row.epoch == claim.epoch
            await world.until(job_id, JobStatus.COMPLETED, seconds=6)

    in_world(tmp_path, test)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_deadline_passes_also_when_nobody_works_on_the_job(
    tmp_path: Path, accepted: bool
) -> None:
    async def test(world: ServiceWorld) -> None:
        submit = world.accept if accepted else world.submit
        job_id = await submit(10, window_seconds=60)
        if not accepted:
            # Held by a clerk that is stuck.
            now = world.clock.now()
            await world.database.write(
                lambda tx: workers.register(tx, "stuck", "clerk", now, now + 500)
            )
            await world.database.write(lambda tx: jobs.claim_validation(tx, "stuck", 1))
        async with running(world.clerk("c")):
            await asyncio.sleep(59)
            before = JobStatus.IN_PROGRESS if accepted else JobStatus.VALIDATING
            assert (await world.job(job_id)).status is before
            job = await world.until(job_id, JobStatus.EXPIRED, seconds=4)
        assert len(world.lines(job.error_file_id)) == (10 if accepted else 0)

    in_world(tmp_path, test)


def test_bytes_outlive_the_row_of_a_deleted_file_by_ten_minutes(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await world.submit(3)
        file_id = (await world.job(job_id)).input_file_id
        now = world.clock.now()
        await world.database.write(lambda tx: files.forget(tx, file_id, now))
        path = world.blobs.file_path(file_id)
        async with running(world.clerk("c")):
            await asyncio.sleep(BYTES_OUTLIVE_ROWS_SECONDS - 1)
            assert path in world.disk.files
            await asyncio.sleep(PURGE_SECONDS + 2)
            assert path not in world.disk.files

    in_world(tmp_path, test)


def test_a_file_expires_but_not_under_a_live_job(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await world.accept(3)
        used = await world.database.read(
            lambda tx: files.get(tx, jobs.get(tx, job_id).input_file_id)
        )
        now = world.clock.now()
        short = replace(used, id="file-short", expires_at=now + 60)
        path = world.blobs.file_path(used.id)

        def write(tx: Connection) -> None:
            files.forget(tx, used.id, now - 10_000)
            files.purged(tx, [used.id], now)
            files.forget_tombstones(tx, now + 1)
            files.add(tx, short)
            files.add(tx, replace(used, expires_at=now + 60))

        await world.database.write(write)
        async with running(world.clerk("c")):
            await asyncio.sleep(60 + PURGE_SECONDS + 2)
            with pytest.raises(NotFound):
                await world.database.read(lambda tx: files.get(tx, "file-short"))
            await world.database.read(lambda tx: files.get(tx, used.id))
            later = world.clock.now()
            await world.database.write(
                lambda tx: jobs.advance(tx, job_id, JobEvent.CANCEL_REQUESTED, later)
            )
            await world.until(job_id, JobStatus.CANCELLED, seconds=5)
            await asyncio.sleep(PURGE_SECONDS + 2)
            with pytest.raises(NotFound):
                await world.database.read(lambda tx: files.get(tx, used.id))
            await asyncio.sleep(BYTES_OUTLIVE_ROWS_SECONDS + PURGE_SECONDS + 2)
        assert path not in world.disk.files

    in_world(tmp_path, test)


def test_an_upload_that_never_came_is_forgotten_after_a_day(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await world.submit(3)
        known = await world.database.read(
            lambda tx: files.get(tx, jobs.get(tx, job_id).input_file_id)
        )
        now = world.clock.now()
        old, new = now - DAY_SECONDS - 1, now - DAY_SECONDS + 600
        for name, at in (("file-old", old), ("file-new", new)):
            row = replace(known, id=name, status=FileStatus.PENDING, created_at=at)
            await world.database.write(partial(files.add, file=row))
        async with running(world.clerk("c")):
            await asyncio.sleep(PURGE_SECONDS + 2)
            with pytest.raises(NotFound):
                await world.database.read(lambda tx: files.get(tx, "file-old"))
            await world.database.read(lambda tx: files.get(tx, "file-new"))

    in_world(tmp_path, test)
