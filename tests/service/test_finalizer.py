"""What is published, from every state a job can be published from, damaged or whole."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import update

from overnight.domain.errors import NotFound
from overnight.domain.job import TERMINAL, Job, JobEvent, JobStatus
from overnight.service.janitor import PURGE_SECONDS
from overnight.store import files, jobs
from overnight.store.tables import jobs as jobs_table
from support.fake_network import Respond, Sent, Silence
from support.service_world import ServiceWorld, in_world, running

EVERYTHING = Counter(f"c{number}" for number in range(1, 101))


async def half_done(world: ServiceWorld) -> str:
    """A job of which some forty requests of a hundred have their outcome, and nobody holds it."""
    await world.configure()
    job_id = await world.accept(100)
    async with running(world.worker("w")):
        await asyncio.sleep(0.7)
    assert 20 < len(world.gpu.numbers) < 80
    return job_id


async def advance(world: ServiceWorld, job_id: str, event: JobEvent) -> None:
    now = world.clock.now()
    await world.database.write(lambda tx: jobs.advance(tx, job_id, event, now))


async def published(world: ServiceWorld, job_id: str) -> Job:
    async with running(world.clerk("c")):
        return await world.until(job_id, *TERMINAL)


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (JobEvent.CANCEL_REQUESTED, JobStatus.CANCELLED, "batch_cancelled"),
        (JobEvent.DEADLINE_PASSED, JobStatus.EXPIRED, "batch_expired"),
        (JobEvent.CORRUPTED, JobStatus.FAILED, "internal_error"),
    ],
)
def test_what_was_done_is_published_and_the_rest_says_why_not(
    tmp_path: Path, event: JobEvent, status: JobStatus, code: str
) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await half_done(world)
        done = {f"c{number}" for number in world.gpu.numbers}
        await advance(world, job_id, event)
        job = await published(world, job_id)
        assert job.status is status
        assert world.ids(job) == EVERYTHING
        assert {line["custom_id"] for line in world.lines(job.output_file_id)} == done
        errors = world.lines(job.error_file_id)
        assert {line["error"]["code"] for line in errors} == {code}
        assert all(line["response"] is None for line in errors)
        assert job.counts.succeeded == len(done)

    in_world(tmp_path, test)


def test_both_result_files_expire_when_the_job_said_so(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await half_done(world)
        lifetime = update(jobs_table).values(output_expires_after_seconds=3_600)
        await world.database.write(lambda tx: tx.execute(lifetime))
        await asyncio.sleep(1_000)
        await advance(world, job_id, JobEvent.CANCEL_REQUESTED)
        async with running(world.clerk("c")):
            job = await world.until(job_id, *TERMINAL)
            for file_id in (job.output_file_id, job.error_file_id):
                assert file_id is not None
                file = await world.database.read(lambda tx, id=file_id: files.get(tx, id))
                # From their own making, not from that of the job.
                assert file.expires_at == file.created_at + 3_600
                assert file.created_at > job.created_at + 1_000
            await asyncio.sleep(3_600 + 2 * PURGE_SECONDS)
            for file_id in (job.output_file_id, job.error_file_id):
                with pytest.raises(NotFound):
                    await world.database.read(lambda tx, id=file_id: files.get(tx, id))

    in_world(tmp_path, test)


def test_a_job_that_never_ran_has_only_errors(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await world.accept(100)
        await advance(world, job_id, JobEvent.CANCEL_REQUESTED)
        job = await published(world, job_id)
        assert job.output_file_id is None
        assert world.ids(job) == EVERYTHING

    in_world(tmp_path, test)


def test_a_job_whose_every_request_failed_is_completed(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        world.gpu.answer = lambda _: Respond(400)
        job_id = await world.accept(100)
        async with running(world.worker("w")):
            job = await published(world, job_id)
        assert (job.status, job.output_file_id) == (JobStatus.COMPLETED, None)
        assert (job.counts.succeeded, job.counts.failed) == (0, 100)

    in_world(tmp_path, test)


def test_publishing_waits_for_who_still_holds_a_shard(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(100)

        def answer(sent: Sent) -> Respond | Silence:
            return Silence() if sent.number == 50 else Respond(after_seconds=0.05)

        world.gpu.answer = answer
        async with running(world.clerk("c")), running(world.worker("w")):
            await asyncio.sleep(1)
            await advance(world, job_id, JobEvent.CANCEL_REQUESTED)
            await asyncio.sleep(28)
            assert (await world.job(job_id)).status is JobStatus.CANCELLING
            job = await world.until(job_id, *TERMINAL, seconds=5)
        assert world.ids(job) == EVERYTHING

    in_world(tmp_path, test)
