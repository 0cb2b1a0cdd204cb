"""The worker against a real database and upstreams in memory, in virtual time."""

import asyncio
from pathlib import Path

import pytest

from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.segment import index_segment, open_latest
from overnight.dispatch.target import Target
from overnight.domain.errors import LeaseLost
from overnight.domain.job import JobEvent, JobStatus
from overnight.service.worker import FRUITLESS_TAKEOVERS_MAX, UNSENDABLE_SECONDS
from overnight.store import jobs, lanes, shards, workers
from overnight.store.lanes import LaneRow, LaneSpec
from overnight.store.shards import ShardRow
from support.fake_network import Respond, Sent, Silence
from support.service_world import URL, ServiceWorld, in_world, running

IN_PROGRESS, FINALIZING = JobStatus.IN_PROGRESS, JobStatus.FINALIZING
COMPLETED = JobStatus.COMPLETED


async def lane(world: ServiceWorld, url: str = URL) -> LaneRow:
    rows = await world.database.read(lanes.all)
    return next(row for row in rows if row.url == url)


async def shard_rows(world: ServiceWorld, job_id: str) -> list[ShardRow]:
    return await world.database.read(lambda tx: shards.of_job(tx, job_id))


async def reclaim(world: ServiceWorld, worker: str) -> None:
    """As the supervisor does when it has reaped a process."""
    now = world.clock.now()
    await world.database.write(lambda tx: workers.reclaim(tx, [worker], now))


def on_disk(world: ServiceWorld, job_id: str, ordinal: int = 0) -> int:
    """Outcomes in the newest segment of a shard."""
    file = open_latest(world.disk, world.blobs.segments_folder(job_id), ordinal, 99)
    if file is None:
        return 0
    try:
        return len(index_segment(file).outcomes)
    finally:
        file.close()


# Work


def test_a_job_is_sent_whole_and_handed_on(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(2_500)
        async with running(world.worker("w")):
            job = await world.until(job_id, FINALIZING)
        assert (job.counts.succeeded, job.counts.failed) == (2_500, 0)
        assert sorted(world.gpu.numbers) == list(range(1, 2_501))
        assert world.gpu.in_flight_max == 4

    in_world(tmp_path, test)


def test_progress_is_told_while_a_shard_is_at_work(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(1_000)
        async with running(world.worker("w")):
            await asyncio.sleep(6)
            job = await world.job(job_id)
            sent = len(world.gpu.numbers)
        assert job.status is IN_PROGRESS
        # Two seconds old at most, at 80 requests a second.
        assert sent - 180 < job.counts.succeeded <= sent

    in_world(tmp_path, test)


def test_an_idle_worker_writes_nothing_but_its_lease(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        database, standby = world.connection(), world.connection()
        async with running(world.worker("w", database)), running(world.worker("s", standby)):
            await asyncio.sleep(10)
            before = database.writes, standby.writes
            await asyncio.sleep(100)
            assert database.writes - before[0] <= 21
            assert standby.writes - before[1] <= 21

    in_world(tmp_path, test)


def test_a_worker_whose_upstream_is_down_hardly_writes(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        await world.accept(10)
        world.gpu.down = True
        database = world.connection()
        async with running(world.worker("w", database)):
            await asyncio.sleep(60)
            before = database.writes
            await asyncio.sleep(300)
            # Renewals, one report per probe, and now and then a shard handed back.
            assert database.writes - before < 150
            row = await lane(world)
            assert row.paused_reason is not None
            assert row.paused_until is not None

    in_world(tmp_path, test)


def test_at_most_ten_transactions_a_second(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        database = world.connection()
        for _ in range(60):
            await world.accept(3)
        async with running(world.worker("w", database)):
            before, began = database.writes, world.clock.monotonic()
            await asyncio.sleep(5)
            assert len(world.gpu.numbers) == 180
            assert database.writes - before <= 10 * (world.clock.monotonic() - began) + 1

    in_world(tmp_path, test)


def test_retries_are_told_while_nothing_gets_done(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(10)
        world.gpu.answer = lambda _: Respond(500, after_seconds=0.05)
        async with running(world.worker("w")):
            await asyncio.sleep(4)
            counts = (await world.job(job_id)).counts
        assert counts.finished == 0
        assert counts.retries >= 10

    in_world(tmp_path, test)


# Takeovers


def test_retries_outlive_their_worker_and_are_published(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(100)
        world.gpu.answer = lambda sent: Respond(
            500 if sent.attempt == 1 else 200, after_seconds=0.05
        )
        async with running(world.worker("first")) as first:
            await asyncio.sleep(2)
            known = (await world.job(job_id)).counts.retries
            await first.kill()
        await reclaim(world, "first")
        async with running(world.worker("second")):
            settled = await world.until(job_id, FINALIZING)
        # But for what was in flight when it was killed, and what had not been flushed yet.
        assert 50 < known <= settled.counts.retries
        assert 100 - 8 <= settled.counts.retries <= 100
        async with running(world.clerk("c")):
            published = await world.until(job_id, COMPLETED)
        assert published.counts == settled.counts

    in_world(tmp_path, test)


def test_what_a_killed_worker_had_written_is_not_sent_again(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(500)
        async with running(world.worker("first")) as first:
            await asyncio.sleep(3)
            await first.kill()
        done = on_disk(world, job_id)
        assert done > 100
        await reclaim(world, "first")
        async with running(world.worker("second")):
            job = await world.until(job_id, FINALIZING)
        assert job.counts.succeeded == 500
        # What was in flight, and what had not been flushed yet.
        assert len(world.gpu.numbers) - 500 <= 8

    in_world(tmp_path, test)


def test_a_worker_declared_dead_ends_and_settles_nothing(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(400)
        async with running(world.worker("w")) as worker:
            await asyncio.sleep(1)
            await reclaim(world, "w")
            with pytest.raises(LeaseLost):
                await worker.end()
        assert (await world.job(job_id)).status is IN_PROGRESS
        assert [row.settled for row in await shard_rows(world, job_id)] == [False]

    in_world(tmp_path, test)


def test_a_worker_that_can_not_renew_stops_sending_before_its_lease_ends(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        await world.accept(5_000)
        database = world.connection()
        async with running(world.worker("w", database)) as worker:
            await asyncio.sleep(7)
            database.down = True
            down_at = world.clock.monotonic()
            with pytest.raises(LeaseLost):
                await worker.end()
        assert world.clock.monotonic() <= down_at + 13
        assert world.gpu.received[-1].at <= down_at + 13
        assert world.gpu.in_flight == 0

    in_world(tmp_path, test)


def test_a_database_that_stalls_does_not_hold_the_fence_up(tmp_path: Path) -> None:
    """Nothing fails, nothing returns: only a timer can end such a worker."""

    async def test(world: ServiceWorld) -> None:
        await world.configure()
        await world.accept(5_000)
        database = world.connection()
        async with running(world.worker("w", database)) as worker:
            await asyncio.sleep(2)
            database.stalled = True
            stalled_at = world.clock.monotonic()
            with pytest.raises(LeaseLost):
                await worker.end()
        assert world.clock.monotonic() <= stalled_at + 13.2
        assert world.gpu.in_flight == 0

    in_world(tmp_path, test)


def test_outcomes_wait_for_a_database_that_comes_back(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(100)
        database = world.connection()
        async with running(world.worker("w", database)):
            await asyncio.sleep(0.6)
            database.down = True
            await asyncio.sleep(8)
            assert len(world.gpu.numbers) == 100
            database.down = False
            job = await world.until(job_id, FINALIZING, seconds=2)
        assert job.counts.succeeded == 100
        assert len(world.gpu.numbers) == 100

    in_world(tmp_path, test)


def test_after_five_fruitless_takeovers_a_shard_is_sent_with_care(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(20)
        for number in range(FRUITLESS_TAKEOVERS_MAX):
            name = f"w{number}"
            world.gpu.answer = lambda _: Silence()
            async with running(world.worker(name)) as worker:
                await asyncio.sleep(2)
                await worker.kill()
            await reclaim(world, name)
        world.gpu.received.clear()
        world.gpu.in_flight_max = 0
        world.gpu.answer = lambda _: Respond(after_seconds=0.05)
        async with running(world.worker("careful")):
            await world.until(job_id, FINALIZING)
        assert world.gpu.in_flight_max == 1

    in_world(tmp_path, test)


# Stopping


def test_a_worker_that_is_stopped_lets_requests_end_and_hands_everything_back(
    tmp_path: Path,
) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(500)
        async with running(world.worker("w")) as worker:
            await asyncio.sleep(2)
            before = world.clock.monotonic()
            await worker.stop()
            assert world.clock.monotonic() - before < 1
        sent = len(world.gpu.numbers)
        assert on_disk(world, job_id) == sent
        assert (await lane(world)).worker is None
        async with running(world.worker("next")):
            await world.until(job_id, FINALIZING)
        assert len(world.gpu.numbers) == 500
        rows = await shard_rows(world, job_id)
        assert [row.segment_epoch for row in rows] == [2]

    in_world(tmp_path, test)


def test_a_stop_does_not_wait_for_ever_for_an_upstream(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(10)
        world.gpu.answer = lambda _: Silence()
        async with running(world.worker("w")) as worker:
            await asyncio.sleep(2)
            before = world.clock.monotonic()
            await worker.stop()
            assert world.clock.monotonic() - before < 10
        world.gpu.answer = lambda _: Respond()
        async with running(world.worker("next")):
            await world.until(job_id, FINALIZING, seconds=5)

    in_world(tmp_path, test)


# Cancelling and deadlines


def test_a_cancelled_job_is_sent_no_more_and_what_was_done_is_settled(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(1_000)

        def answer(sent: Sent) -> Respond:
            return Respond(after_seconds=20 if sent.number > 100 else 0.05)

        world.gpu.answer = answer
        async with running(world.worker("w")):
            await asyncio.sleep(3)
            now = world.clock.now()
            await world.database.write(
                lambda tx: jobs.advance(tx, job_id, JobEvent.CANCEL_REQUESTED, now)
            )
            at = world.clock.monotonic()
            await asyncio.sleep(0.2)
            assert [row.settled for row in await shard_rows(world, job_id)] == [False]
            await asyncio.sleep(25)
            rows = await shard_rows(world, job_id)
        assert [row.settled for row in rows] == [True]
        assert max(sent.at for sent in world.gpu.received) <= at + 0.15
        # Its four requests in flight came back within the grace.
        assert (await world.job(job_id)).counts.succeeded == 104

    in_world(tmp_path, test)


def test_what_does_not_come_back_within_the_grace_is_given_up(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(10, window_seconds=60)
        world.gpu.answer = lambda _: Silence()
        async with running(world.worker("w", expire_grace_seconds=5.0)):
            await asyncio.sleep(59)
            assert (await world.job(job_id)).status is IN_PROGRESS
            await asyncio.sleep(2)
            assert (await world.job(job_id)).status is JobStatus.EXPIRING
            await asyncio.sleep(5)
            assert [row.settled for row in await shard_rows(world, job_id)] == [True]
        assert world.gpu.in_flight == 0

    in_world(tmp_path, test)


# Damage and full disks


@pytest.mark.parametrize("damage", ["plan", "input", "missing"])
def test_damaged_input_fails_its_job_and_no_other(tmp_path: Path, damage: str) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        bad, good = await world.accept(10), await world.accept(10)
        plan = world.blobs.plan_path(bad)
        source = world.blobs.file_path((await world.job(bad)).input_file_id)
        if damage == "plan":
            world.disk.files[plan][3] ^= 1
        elif damage == "input":
            del world.disk.files[source][-5:]
        else:
            del world.disk.files[source]
        async with running(world.worker("w")):
            await world.until(good, FINALIZING)
            await world.until(bad, JobStatus.FAILING)
        assert len(world.gpu.numbers) == 10

    in_world(tmp_path, test)


def test_a_full_disk_stops_claiming_until_there_is_room(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        begun = await world.accept(400)
        async with running(world.worker("w")):
            await asyncio.sleep(2)
            world.disk.full = True
            await asyncio.sleep(1)
            sent = len(world.gpu.numbers)
            waiting = await world.accept_on_full_disk(10)
            await asyncio.sleep(60)
            assert len(world.gpu.numbers) == sent
            world.disk.full = False
            await world.until(begun, FINALIZING, seconds=60)
            await world.until(waiting, FINALIZING, seconds=60)
        assert len(world.gpu.numbers) == 410

    in_world(tmp_path, test)


def test_a_segment_that_finds_no_room_hands_its_shard_back(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(400)
        async with running(world.worker("first")) as first:
            await asyncio.sleep(2)
            await first.kill()
        await reclaim(world, "first")
        # Now there are frames to copy, and no room for them.
        world.disk.full = True
        async with running(world.worker("second")) as second:
            await asyncio.sleep(60)
            assert not second.ended
            assert len(world.gpu.numbers) < 200
            world.disk.full = False
            await world.until(job_id, FINALIZING, seconds=60)
        assert len(world.gpu.numbers) <= 408

    in_world(tmp_path, test)


def test_files_of_jobs_that_are_done_are_closed(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        async with running(world.worker("w")):
            for _ in range(3):
                await world.until(await world.accept(10), FINALIZING)
            await asyncio.sleep(1)
            assert world.disk.opened == 0

    in_world(tmp_path, test)


# Lanes


def test_lanes_are_shared_with_a_worker_that_comes_later(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        second = "http://gpu2/v1"
        other = world.network.upstream("gpu2", lambda _: Respond(after_seconds=0.05))
        await world.configure(LaneSpec(URL, 0), LaneSpec(second, 0))
        job_id = await world.accept(3_500)
        async with running(world.worker("w1")):
            await asyncio.sleep(2)
            assert {(await lane(world)).worker, (await lane(world, second)).worker} == {"w1"}
            async with running(world.worker("w2")):
                await asyncio.sleep(5)
                owners = {(await lane(world)).worker, (await lane(world, second)).worker}
                assert owners == {"w1", "w2"}
                await asyncio.sleep(5)
                assert world.gpu.in_flight == other.in_flight == 4
            await asyncio.sleep(2)
            owners = {(await lane(world)).worker, (await lane(world, second)).worker}
            assert owners == {"w1"}
            await world.until(job_id, FINALIZING)
        # Nothing was sent twice, for no lane was taken from under a request.
        assert len(world.gpu.numbers) + len(other.numbers) == 3_500
        assert max(world.gpu.in_flight_max, other.in_flight_max) == 4

    in_world(tmp_path, test)


def test_workers_share_an_upstream_by_lanes(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        shared = {URL: LaneOptions(Target.parse(URL), 5, lanes=2)}
        await world.configure(LaneSpec(URL, 0), LaneSpec(URL, 1))
        job_id = await world.accept(2_500)
        async with running(world.worker("w1", upstreams=shared)):
            await asyncio.sleep(2)
            assert world.gpu.in_flight == 5
            async with running(world.worker("w2", upstreams=shared)) as second:
                await asyncio.sleep(5)
                rows = await world.database.read(lanes.all)
                assert {row.worker for row in rows} == {"w1", "w2"}
                assert world.gpu.in_flight == 5
                await second.kill()
            await reclaim(world, "w2")
            await asyncio.sleep(5)
            # The second lane, of two requests, is used with one for a minute.
            assert world.gpu.in_flight == 4
            await world.until(job_id, FINALIZING)
        assert world.gpu.in_flight_max == 5
        assert set(world.gpu.numbers) == set(range(1, 2_501))
        # Again: what was in flight on two slots, and what they had just ended.
        assert len(world.gpu.numbers) <= 2_504

    in_world(tmp_path, test)


def test_a_lane_of_the_dead_is_used_gently_for_a_minute(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        await world.accept(10_000)
        async with running(world.worker("w1")) as first:
            await asyncio.sleep(1)
            await first.kill()
        await reclaim(world, "w1")
        world.gpu.in_flight_max = 0
        async with running(world.worker("w2")):
            await asyncio.sleep(55)
            assert world.gpu.in_flight_max == 2
            await asyncio.sleep(15)
            assert world.gpu.in_flight_max == 4

    in_world(tmp_path, test)


def test_a_shard_that_can_not_be_sent_goes_back(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        job_id = await world.accept(100)
        async with running(world.worker("w")):
            await asyncio.sleep(0.7)
            world.gpu.crash()
            await asyncio.sleep(UNSENDABLE_SECONDS + 5)
            rows = await shard_rows(world, job_id)
            assert (rows[0].settled, rows[0].epoch > 0) == (False, True)
            world.gpu.down = False
            await world.until(job_id, FINALIZING, seconds=60)
        # Only what the crash cut off was sent again.
        assert len(world.gpu.numbers) <= 104

    in_world(tmp_path, test)


def test_models_are_told_and_shards_of_others_are_left_alone(tmp_path: Path) -> None:
    async def test(world: ServiceWorld) -> None:
        await world.configure()
        world.gpu.models = ("other",)
        job_id = await world.accept(10)
        async with running(world.worker("w")):
            await asyncio.sleep(5)
            row = await lane(world)
            assert (row.models, row.answered) == (["other"], True)
            assert [row.epoch for row in await shard_rows(world, job_id)] == [0]
            world.gpu.models = ("m", "other")
            await world.until(job_id, FINALIZING, seconds=70)

    in_world(tmp_path, test)
