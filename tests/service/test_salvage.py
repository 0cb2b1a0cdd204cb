"""Stored bytes that are lost or altered: noticed, never served, and the sound ones delivered."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from overnight.dispatch.segment import segment_path
from overnight.domain.job import TERMINAL, Job, JobEvent, JobStatus
from overnight.service.clerk import HOLD_UP_SECONDS
from support.service_world import ServiceWorld, in_world, request_lines, running

REQUESTS = 100
EVERYTHING = Counter(f"c{number}" for number in range(1, REQUESTS + 1))


async def all_done(world: ServiceWorld) -> str:
    """A job whose every request has its outcome; nobody has published it yet."""
    await world.configure()
    job_id = await world.accept(REQUESTS)
    async with running(world.worker("w")):
        await world.until(job_id, JobStatus.FINALIZING)
    return job_id


async def half_done(world: ServiceWorld) -> str:
    """A job of which some requests have their outcome; it was cancelled."""
    await world.configure()
    job_id = await world.accept(REQUESTS)
    async with running(world.worker("w")):
        await asyncio.sleep(0.7)
    await world.happen(job_id, JobEvent.CANCEL_REQUESTED)
    return job_id


async def published(world: ServiceWorld, job_id: str) -> Job:
    async with running(world.clerk("c")):
        return await world.until(job_id, *TERMINAL)


def flip(world: ServiceWorld, path: Path, offset: int) -> None:
    world.disk.files[path][offset] ^= 1


def cut(world: ServiceWorld, path: Path, length: int) -> None:
    del world.disk.files[path][length:]


def drop(world: ServiceWorld, path: Path) -> None:
    del world.disk.files[path]


def spoil(world: ServiceWorld, path: Path) -> None:
    world.disk.unreadable.add(path)


Hurt = Callable[[ServiceWorld, Path], None]
HURTS: dict[str, Hurt] = {
    "first byte": lambda world, path: flip(world, path, 0),
    "in the middle": lambda world, path: flip(world, path, len(world.disk.files[path]) // 2),
    "last byte": lambda world, path: flip(world, path, -1),
    "cut short": lambda world, path: cut(world, path, len(world.disk.files[path]) - 7),
    "cut in half": lambda world, path: cut(world, path, len(world.disk.files[path]) // 2),
    "missing": drop,
    "bad sector": spoil,
}
each_hurt = pytest.mark.parametrize("hurt", HURTS.values(), ids=list(HURTS))


@each_hurt
def test_a_damaged_plan_is_made_again(tmp_path: Path, hurt: Hurt) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await all_done(world)
        hurt(world, world.blobs.plan_path(job_id))
        job = await published(world, job_id)
        assert (job.status, job.error_file_id) == (JobStatus.COMPLETED, None)
        assert world.ids(job) == EVERYTHING
        assert not world.left_of(job_id)

    in_world(tmp_path, test)


@each_hurt
def test_a_plan_that_is_damaged_while_the_job_runs_costs_no_line(
    tmp_path: Path, hurt: Hurt
) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(REQUESTS)
        hurt(world, world.blobs.plan_path(job_id))
        async with running(world.worker("w")):
            job = await published(world, job_id)
        assert job.status is JobStatus.FAILED
        assert job.failure is not None
        # Each by its name, although none was sent.
        assert world.ids(job) == EVERYTHING
        assert {line["error"]["code"] for line in world.lines(job.error_file_id)} == {
            "internal_error"
        }

    in_world(tmp_path, test)


@each_hurt
def test_without_plan_and_input_the_outcomes_are_published(tmp_path: Path, hurt: Hurt) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await half_done(world)
        hurt(world, world.blobs.plan_path(job_id))
        drop(world, world.blobs.file_path((await world.job(job_id)).input_file_id))
        done = {f"c{number}" for number in world.gpu.numbers}
        job = await published(world, job_id)
        assert job.status is JobStatus.FAILED
        assert job.failure is not None
        assert f"{REQUESTS - len(done)} results could not be read back" in job.failure
        assert set(world.ids(job)) == done

    in_world(tmp_path, test)


@each_hurt
def test_a_damaged_segment_costs_only_what_it_lost(tmp_path: Path, hurt: Hurt) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await all_done(world)
        hurt(world, segment_path(world.blobs.segments_folder(job_id), 0, 1))
        job = await published(world, job_id)
        assert job.status is JobStatus.FAILED
        assert job.failure is not None
        assert "could not be read back from storage" in job.failure
        assert world.ids(job) == EVERYTHING
        errors = world.lines(job.error_file_id)
        assert {line["error"]["code"] for line in errors} == {"internal_error"}
        whole_loss = hurt in (drop, spoil)
        assert (len(errors) == REQUESTS) is whole_loss
        if hurt is HURTS["in the middle"]:
            # The frames behind the damaged one are sound.
            assert len(errors) < REQUESTS // 4
        # What it was made from is kept, and leaves only what tells something.
        left = {path.name for path in world.left_of(job_id)}
        assert left <= {"plan", "00000000.000001"}
        async with running(world.clerk("later")):
            await asyncio.sleep(2)
        assert {path.name for path in world.left_of(job_id)} == left

    in_world(tmp_path, test)


@each_hurt
def test_a_segment_that_is_damaged_before_a_takeover_is_sent_again_or_told(
    tmp_path: Path, hurt: Hurt
) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(REQUESTS)
        async with running(world.worker("w")) as worker:
            await asyncio.sleep(0.7)
            await worker.kill()
        hurt(world, segment_path(world.blobs.segments_folder(job_id), 0, 1))
        async with running(world.clerk("c")), running(world.worker("w2")):
            job = await world.until(job_id, *TERMINAL)
        assert world.ids(job) == EVERYTHING
        assert job.status is (JobStatus.FAILED if hurt is spoil else JobStatus.COMPLETED)

    in_world(tmp_path, test)


@each_hurt
def test_an_input_that_is_damaged_before_it_is_validated_is_refused(
    tmp_path: Path, hurt: Hurt
) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.submit(REQUESTS)
        sound = await world.submit(3)
        file_id = (await world.job(job_id)).input_file_id
        hurt(world, world.blobs.file_path(file_id))
        async with running(world.clerk("c")), running(world.worker("w")):
            job = await world.until(job_id, *TERMINAL)
            await world.until(sound, JobStatus.COMPLETED)
        assert job.status is JobStatus.FAILED
        (fault,) = job.faults
        assert file_id in fault.message
        assert "Upload it again" in fault.message
        assert world.gpu.numbers.count(1) == 1

    in_world(tmp_path, test)


@each_hurt
def test_an_input_that_is_damaged_after_that_is_never_sent(tmp_path: Path, hurt: Hurt) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(REQUESTS)
        sound = await world.accept(3)
        hurt(world, world.blobs.file_path((await world.job(job_id)).input_file_id))
        async with running(world.clerk("c")), running(world.worker("w")):
            job = await world.until(job_id, *TERMINAL)
            await world.until(sound, JobStatus.COMPLETED)
        assert sorted(world.gpu.numbers) == [1, 2, 3]
        assert job.status is JobStatus.FAILED
        errors = world.lines(job.error_file_id)
        # A line for each, by its place where its name is lost too.
        assert [int(line["id"][-8:], 16) for line in errors] == list(range(1, REQUESTS + 1))
        for number, line in enumerate(errors, 1):
            if line["custom_id"]:
                assert line["custom_id"] == f"c{number}"
            else:
                assert line["error"]["message"].endswith(f"it is that of line {number}.")

    in_world(tmp_path, test)


def test_a_lost_input_takes_no_outcome_with_it(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await all_done(world)
        drop(world, world.blobs.file_path((await world.job(job_id)).input_file_id))
        job = await published(world, job_id)
        assert (job.status, job.error_file_id) == (JobStatus.COMPLETED, None)
        assert world.ids(job) == EVERYTHING

    in_world(tmp_path, test)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_job_whose_files_may_not_be_opened_waits_and_says_so(
    tmp_path: Path, accepted: bool
) -> None:
    """As when somebody has copied the folder back as another user."""

    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await (all_done(world) if accepted else world.submit(REQUESTS))
        input_path = world.blobs.file_path((await world.job(job_id)).input_file_id)
        refused = segment_path(world.blobs.segments_folder(job_id), 0, 1)
        world.disk.refused.add(refused if accepted else input_path)
        before = (await world.job(job_id)).status
        async with running(world.clerk("c")), running(world.worker("w")):
            sound = await world.submit(3)
            await world.until(sound, JobStatus.COMPLETED)
            job = await world.job(job_id)
            assert job.status is before
            assert job.held_up_by is not None
            assert "Permission denied" in job.held_up_by
            world.disk.refused.clear()
            job = await world.until(job_id, *TERMINAL, seconds=2 * HOLD_UP_SECONDS)
        assert (job.status, job.held_up_by) == (JobStatus.COMPLETED, None)
        assert world.ids(job) == EVERYTHING

    in_world(tmp_path, test)


def test_the_lines_of_several_models_are_read_back_from_a_plan_made_again(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        a, b = request_lines(30, "a").splitlines(True), request_lines(60, "b").splitlines(True)
        data = b"".join(x + y for x, y in zip(a, b[30:], strict=True))
        job_id = await world.accept(data=data)
        world.gpu.models = ("a", "b")
        async with running(world.worker("w")):
            await world.until(job_id, JobStatus.FINALIZING)
        drop(world, world.blobs.plan_path(job_id))
        job = await published(world, job_id)
        assert job.status is JobStatus.COMPLETED
        assert world.ids(job) == Counter(f"c{number}" for number in range(1, 61))

    in_world(tmp_path, test)
