"""The clerk against a real database and a disk in memory, in virtual time."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from overnight.domain.errors import LeaseLost
from overnight.domain.job import TERMINAL, Job, JobEvent, JobStatus
from overnight.seams import AppendFile
from overnight.service.clerk import HOLD_UP_SECONDS
from overnight.store import jobs, workers
from support.fake_network import Respond
from support.memory_disk import Died
from support.service_world import ServiceWorld, in_world, request_lines, running

COMPLETED = JobStatus.COMPLETED


def everything(count: int) -> Counter[str]:
    return Counter(f"c{number}" for number in range(1, count + 1))


async def advance(world: ServiceWorld, job_id: str, event: JobEvent) -> None:
    now = world.clock.now()
    await world.database.write(lambda tx: jobs.advance(tx, job_id, event, now))


async def reclaim_all(world: ServiceWorld) -> None:
    now = world.clock.now()
    await world.database.write(lambda tx: workers.reclaim_all(tx, now))


def left_of(world: ServiceWorld, job_id: str) -> list[str]:
    """Files of a job that are no result files."""
    folder = world.blobs.job_folder(job_id)
    return sorted(path.name for path in world.disk.files if folder in path.parents)


def test_a_job_goes_all_the_way(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.submit(1_500)
        async with running(world.clerk("c")), running(world.worker("w")):
            job = await world.until(job_id, *TERMINAL)
        assert (job.status, job.percent_done, job.error_file_id) == (COMPLETED, 100.0, None)
        lines = world.lines(job.output_file_id)
        assert [line["custom_id"] for line in lines] == [f"c{n}" for n in range(1, 1_501)]
        assert left_of(world, job_id) == []

    in_world(tmp_path, test)


def test_a_faulty_file_is_refused_with_its_lines(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        data = request_lines(3) + b"{}\n"
        job_id = await world.submit(data=data)
        async with running(world.clerk("c")):
            job = await world.until(job_id, *TERMINAL)
        assert job.status is JobStatus.FAILED
        assert {fault.line for fault in job.faults} == {4}
        assert left_of(world, job_id) == []

    in_world(tmp_path, test)


def test_a_job_whose_input_is_gone_fails_and_says_so(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await world.submit(3)
        world.disk.files.clear()
        async with running(world.clerk("c")):
            job = await world.until(job_id, *TERMINAL)
        assert (job.status, job.failure) == (JobStatus.FAILED, None)
        [fault] = job.faults
        assert (fault.code, fault.param, fault.line) == ("invalid_request", "file_id", None)
        assert "it is gone" in fault.message

    in_world(tmp_path, test)


def test_a_small_job_does_not_wait_behind_large_ones(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        large = [await world.submit(20_000) for _ in range(2)]
        small = await world.submit(3)
        database = world.connection()
        ended: list[str] = []

        async def watch() -> None:
            while len(ended) < 3:
                for job_id in (*large, small):
                    if job_id not in ended:
                        job = await world.job(job_id)
                        if job.status is not JobStatus.VALIDATING:
                            ended.append(job_id)
                await asyncio.sleep(0)

        async with running(world.clerk("c", database)):
            await watch()
        assert ended[0] == small

    in_world(tmp_path, test)


@pytest.mark.parametrize("event", [JobEvent.CANCEL_REQUESTED, JobEvent.DEADLINE_PASSED])
def test_a_job_that_ends_while_it_is_validated_leaves_nothing(
    tmp_path: Path, event: JobEvent
) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await world.submit(20_000)
        async with running(world.clerk("c")):
            await world.until_true(lambda: left_of(world, job_id))
            await advance(world, job_id, event)
            await asyncio.sleep(3)
            assert left_of(world, job_id) == []
            assert (await world.job(job_id)).status in (JobStatus.CANCELLED, JobStatus.EXPIRED)

    in_world(tmp_path, test)


def test_a_stopped_clerk_hands_its_claims_back_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(world: ServiceWorld) -> None:
        job_id = await world.submit(20_000)
        begun, create = asyncio.Event(), world.disk.create

        def tell(path: Path) -> AppendFile:
            begun.set()
            return create(path)

        monkeypatch.setattr(world.disk, "create", tell)
        async with running(world.clerk("first")) as first:
            await begun.wait()
            assert left_of(world, job_id)
            await first.stop()
        assert left_of(world, job_id) == []
        async with running(world.clerk("second")):
            await world.until(job_id, JobStatus.IN_PROGRESS, seconds=5)

    in_world(tmp_path, test)


def test_a_clerk_declared_dead_ends(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        async with running(world.clerk("c")) as clerk:
            await asyncio.sleep(1)
            await reclaim_all(world)
            with pytest.raises(LeaseLost):
                await clerk.end()

    in_world(tmp_path, test)


def test_a_clerk_that_can_not_renew_ends_before_its_lease(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        database = world.connection()
        async with running(world.clerk("c", database)) as clerk:
            await asyncio.sleep(7)
            database.down = True
            down_at = world.clock.monotonic()
            with pytest.raises(LeaseLost):
                await clerk.end()
        assert world.clock.monotonic() <= down_at + 13

    in_world(tmp_path, test)


@pytest.mark.parametrize("after", range(1, 8))
def test_what_the_database_refuses_is_said_again(tmp_path: Path, after: int) -> None:
    """The n-th transaction and what follows for three seconds finds the database busy."""

    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.submit(30)
        database = world.connection()
        database.writes_left = after
        async with running(world.clerk("c", database)), running(world.worker("w")):
            await asyncio.sleep(4)
            database.writes_left = None
            job = await world.until(job_id, *TERMINAL)
        assert job.status is COMPLETED
        assert world.ids(job) == everything(30)
        assert left_of(world, job_id) == []

    in_world(tmp_path, test)


@pytest.mark.parametrize("status", [JobStatus.VALIDATING, JobStatus.FINALIZING])
def test_a_full_disk_is_waited_for(tmp_path: Path, status: JobStatus) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        if status is JobStatus.FINALIZING:
            job_id = await world.accept(30)
            async with running(world.worker("w")):
                await world.until(job_id, status)
        else:
            job_id = await world.submit(30)
        world.disk.full = True
        async with running(world.clerk("c")) as clerk, running(world.worker("w2")):
            await asyncio.sleep(3 * HOLD_UP_SECONDS)
            assert not clerk.ended
            assert (await world.job(job_id)).status is status
            world.disk.full = False
            job = await world.until(job_id, *TERMINAL, seconds=2 * HOLD_UP_SECONDS)
        assert world.ids(job) == everything(30)

    in_world(tmp_path, test)


def test_a_clerk_with_nothing_to_do_hardly_writes(tmp_path: Path) -> None:
    """Its lease every five seconds; and each minute the janitor lets time pass for uploads."""

    async def test(world: ServiceWorld) -> None:
        database = world.connection()
        async with running(world.clerk("c", database)):
            await asyncio.sleep(1)
            before = database.writes
            await asyncio.sleep(100)
            assert database.writes - before <= 21 + 2

    in_world(tmp_path, test)


# Whatever is killed, and whenever


async def live_once(world: ServiceWorld, job_id: str, generation: int, writes: int) -> Job:
    """Run a clerk and a worker until the job has ended, or the disk's n-th change kills both."""
    world.disk.writes_left = writes
    with suppress(Died):
        async with (
            running(world.clerk(f"c{generation}")) as clerk,
            running(world.worker(f"w{generation}")) as worker,
        ):
            while not (clerk.ended or worker.ended):
                if (await world.job(job_id)).status in TERMINAL:
                    break
                await asyncio.sleep(0.05)
            # Both live in one machine: one power switch.
            if clerk.ended or worker.ended:
                raise Died
    world.disk.writes_left = None
    world.disk.opened = 0
    await reclaim_all(world)
    return await world.job(job_id)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_and_nothing_twice(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)

    async def test(world: ServiceWorld) -> None:
        await world.configure()
        world.gpu.answer = lambda sent: Respond(
            400 if sent.number % 7 == 0 else 200, after_seconds=0.02
        )
        job_id = await world.submit(60)
        world.disk.torn = chance.random() < 0.5
        for generation in range(200):
            job = await live_once(world, job_id, generation, chance.randint(4, 24))
            if job.status in TERMINAL:
                break
        else:
            job = await live_once(world, job_id, 999, 1_000_000)
        assert job.status is COMPLETED, job.failure
        assert world.ids(job) == everything(60)
        assert job.counts.succeeded + job.counts.failed == 60
        # Eight are refused, and some may have been alone in flight at two deaths.
        codes = Counter(line["error"]["code"] for line in world.lines(job.error_file_id))
        assert codes.total() == job.counts.failed
        assert codes.total() - codes["worker_lost"] >= 7
        async with running(world.clerk("tidy")):
            await asyncio.sleep(2)
        assert left_of(world, job_id) == []

    in_world(tmp_path, test)
