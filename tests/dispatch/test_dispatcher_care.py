"""A disk that fails and requests that kill, in virtual time."""

import asyncio
import errno
from collections import Counter

import pytest

from overnight.dispatch.segment import index_segment, open_latest
from support.dispatch_world import FAILURE, HOUR_SECONDS, SUCCESS, World, virtual
from support.fake_network import Respond, Sent, Silence
from support.memory_disk import MemoryDisk
from support.shards import FOLDER, open_shard, written
from support.virtual_time import SlowThreads, run_virtual

# The disk


@virtual
async def test_a_full_disk_holds_sending_back_and_loses_nothing(world: World) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=0.1))
    lane = world.lane()
    shard = world.open(200)
    await world.until(lambda: len(engine.received) > 50)
    world.disk.full = True
    await asyncio.sleep(1)
    sent = len(engine.received)
    await asyncio.sleep(HOUR_SECONDS)
    assert len(engine.received) == sent
    assert world.dispatcher.troubles() == ["waiting: the disk is full"]
    assert world.dispatcher.wanted(lane) == 0
    assert not world.dispatcher.withdraw(shard)
    world.disk.full = False
    assert await world.finished(60) is shard
    assert Counter(engine.numbers) == dict.fromkeys(range(1, 201), 1)
    assert world.lines() == {SUCCESS: 200}
    assert world.dispatcher.troubles() == []


@virtual
async def test_a_shard_that_could_not_be_written_down_is_not_called_finished(world: World) -> None:
    world.upstream()
    world.lane()
    world.disk.full = False
    shard = world.open(4)
    world.disk.full = True
    await world.until(lambda: not shard.lacking)
    await asyncio.sleep(10)
    assert world.dispatcher.finished.empty()
    assert await world.dispatcher.drain(1) == [shard]


def test_a_broken_disk_ends_the_dispatcher_with_its_own_error() -> None:
    @virtual
    async def test(world: World) -> None:
        world.upstream()
        world.lane()
        world.open(4)
        world.disk.broken = True
        await world.finished()

    with pytest.raises(OSError, match="broken") as error:
        test()
    assert error.value.errno == errno.EIO


def test_what_is_raised_inside_comes_out_as_it_is() -> None:
    @virtual
    async def test(world: World) -> None:
        world.upstream()
        world.lane()
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        test()


def test_a_file_is_not_closed_under_the_thread_that_syncs_it() -> None:
    async def main() -> None:
        world = World(SlowThreads)
        engine = world.upstream(lambda s: Respond() if s.number <= 3 else Silence())
        async with world.dispatcher.running():
            world.lane()
            shard = world.open(10)
            await world.until(lambda: shard.unsynced)
            await asyncio.sleep(0.25)  # the next sync is under way
            engine.crash()
            await world.until(lambda: world.dispatcher.withdraw(shard), seconds=0.1)
            await asyncio.sleep(1)
        assert world.disk.opened == 0

    run_virtual(main())


# One by one


@virtual
async def test_a_careful_shard_is_sent_one_by_one_and_all_else_waits(world: World) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=1.0))
    world.lane()
    world.open(40, job="other", ordinal=1)
    await world.until(lambda: engine.in_flight == 4)
    careful = world.open(5, one_by_one=True)
    assert await world.finished() is careful
    assert [s.in_flight for s in engine.received if s.number <= 5] == [1] * 5
    begin, end = (engine.numbers.index(number) for number in (1, 5))
    assert engine.numbers[begin : end + 1] == [1, 2, 3, 4, 5]
    await world.finished()
    assert engine.received[-1].in_flight == 4


@virtual
async def test_the_lane_that_has_the_careful_request_is_woken(world: World) -> None:
    busy = world.upstream(lambda _: Respond(after_seconds=10.0), host="busy")
    other = world.upstream(host="other")
    busy.models, other.models = ["a"], ["b"]
    world.lane(host="busy")
    world.lane(host="other")
    world.open(2, model="a", job="x", ordinal=1)
    await world.until(lambda: busy.in_flight == 2)
    careful = world.open(3, model="b", one_by_one=True)
    assert await world.finished() is not careful
    assert await world.finished(1) is careful


@virtual
async def test_retries_of_a_careful_request_are_no_deaths(world: World) -> None:
    world.upstream(lambda sent: Respond(500 if sent.attempt < 4 else 200))
    world.lane()
    world.open(1, one_by_one=True)
    await asyncio.sleep(1.9)
    again = open_shard(world.disk, 1, epoch=2, one_by_one=True)
    again.close()
    assert (again.failed, again.unsent) == (0, 1)
    await world.finished()


def test_a_request_alone_in_flight_at_two_deaths_is_worker_lost_and_nothing_else_is() -> None:
    disk = MemoryDisk()

    def one_life(epoch: int) -> tuple[list[int], bool]:
        """Work until request 3 is in flight and die of it; says what was sent."""

        async def main() -> tuple[list[int], bool]:
            world = World()
            world.disk = disk
            engine = world.upstream(lambda s: Silence() if s.number == 3 else Respond())
            ended = False
            async with world.dispatcher.running():
                world.lane()
                world.dispatcher.open(open_shard(disk, 5, epoch=epoch, one_by_one=True))
                try:
                    await world.finished(100)
                    ended = True
                except TimeoutError:
                    pass
            return engine.numbers, ended

        return run_virtual(main())

    assert one_life(1) == ([1, 2, 3], False)
    assert one_life(2) == ([3], False)
    assert one_life(3) == ([4, 5], True)
    assert written(disk) == {1: SUCCESS, 2: SUCCESS, 3: FAILURE, 4: SUCCESS, 5: SUCCESS}


@virtual
async def test_a_lone_request_that_is_drained_is_no_death(world: World) -> None:
    engine = world.upstream(lambda _: Silence())
    world.lane()
    world.open(1, one_by_one=True)
    await world.until(lambda: engine.in_flight == 1)
    await world.dispatcher.drain(1)
    file = open_latest(world.disk, FOLDER / "batch_0a", 0, 1)
    assert file is not None
    assert not any(index_segment(file).lone_sendings.values())
    file.close()


@virtual
async def test_a_full_disk_stops_careful_requests_as_well(world: World) -> None:
    engine = world.upstream()
    world.lane()
    careful = world.open(3, one_by_one=True)
    world.disk.full = True
    await asyncio.sleep(60.5)
    assert not engine.received
    assert world.dispatcher.troubles() == ["waiting: the disk is full"]
    world.disk.full = False
    assert await world.finished(5) is careful


@virtual
async def test_an_engine_that_dies_of_every_request_fails_the_job_in_the_end_and_says_why(
    world: World,
) -> None:
    """As vLLM does when its kernel can not run the model: 500 for all in flight, then nobody."""
    loop = asyncio.get_running_loop()

    def revive() -> None:
        engine.down = False

    def die(_: Sent) -> Respond:
        loop.call_later(0.1, engine.crash)
        loop.call_later(60.0, revive)
        return Respond(500, b'{"error":{"message":"EngineCore encountered an issue."}}')

    engine = world.upstream(die)
    world.lane(slots=8)
    shard = world.open(40)
    await world.until(lambda: len(engine.received) > 8, seconds=200)
    await asyncio.sleep(30)
    assert "refuses connections" in world.dispatcher.troubles()[0]
    await world.finished(3 * HOUR_SECONDS)
    assert shard.counts.failed == 40
