"""Stopping a job, draining, and lanes that come and go, in virtual time."""

import asyncio

import pytest

from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.target import Target
from support.dispatch_world import SUCCESS, World, virtual
from support.fake_network import Respond, Silence

# Cancel


@virtual
async def test_a_stopped_job_sends_no_more_and_gets_what_ends_within_the_grace(
    world: World,
) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=10.0))
    world.lane()
    shard = world.open(100)
    await world.until(lambda: engine.in_flight == 4)
    world.dispatcher.stop_job("batch_0a", grace_seconds=30)
    assert await world.finished(11) is shard
    assert len(engine.received) == 4
    assert world.lines() == {SUCCESS: 4}
    assert shard.counts.succeeded == 4


@virtual
async def test_after_the_grace_what_is_in_flight_is_aborted(world: World) -> None:
    engine = world.upstream(lambda _: Silence())
    world.lane()
    shard = world.open(100)
    await world.until(lambda: engine.in_flight == 4)
    before = world.loop.time()
    world.dispatcher.stop_job("batch_0a", grace_seconds=30)
    assert await world.finished() is shard
    assert world.loop.time() - before == pytest.approx(30, abs=0.5)
    assert engine.in_flight == 0
    assert world.lines() == {}


@virtual
async def test_aborting_says_nothing_of_the_upstream(world: World) -> None:
    engine = world.upstream(lambda s: Silence() if s.number < 1_000 else Respond(after_seconds=1))
    lane = world.lane(slots=50)
    world.open(40)
    await world.until(lambda: engine.in_flight == 40)
    other = world.open(100, job="other", ordinal=1)
    world.dispatcher.stop_job("batch_0a", grace_seconds=2)
    await world.finished()
    assert lane.health.paused_until is None
    assert lane.health.failures_in_row == 0
    assert await world.finished() is other
    assert world.dispatcher.charged_retries == 0


@virtual
async def test_an_aborted_probe_makes_room_for_the_next(world: World) -> None:
    engine = world.upstream(lambda sent: Silence() if sent.number < 1_000 else Respond())
    lane = world.lane()
    await world.until(lambda: lane.answered)
    engine.crash()
    world.open(1)
    await world.until(lambda: lane.health.paused_until is not None)
    engine.down = False
    await world.until(lambda: engine.in_flight == 1)
    other = world.open(5, job="other", ordinal=1)
    world.dispatcher.stop_job("batch_0a", grace_seconds=0)
    assert other in {await world.finished(5), await world.finished(40)}


@virtual
async def test_graces_end_in_the_order_of_their_ends(world: World) -> None:
    engine = world.upstream(lambda _: Silence())
    world.lane()
    world.open(1, job="patient")
    hasty = world.open(1, job="hasty", ordinal=1)
    await world.until(lambda: engine.in_flight == 2)
    world.dispatcher.stop_job("patient", grace_seconds=500)
    world.dispatcher.stop_job("hasty", grace_seconds=1)
    assert await world.finished(2) is hasty


@virtual
async def test_retries_of_a_stopped_job_are_forgotten(world: World) -> None:
    engine = world.upstream(lambda _: Respond(500))
    world.lane()
    shard = world.open(20)
    await world.until(lambda: len(engine.received) >= 20)
    world.dispatcher.stop_job("batch_0a", grace_seconds=30)
    assert await world.finished(5) is shard
    sent = len(engine.received)
    await asyncio.sleep(200)
    assert len(engine.received) == sent


@virtual
async def test_a_neighbour_of_a_stopped_job_goes_on(world: World) -> None:
    world.upstream(lambda _: Respond(after_seconds=0.1))
    world.lane()
    world.open(1_000, job="stopped")
    other = world.open(200, job="other", ordinal=1)
    await asyncio.sleep(1)
    world.dispatcher.stop_job("stopped", grace_seconds=30)
    await world.finished()
    assert await world.finished() is other
    assert other.counts.succeeded == 200


# Drain, and lanes that come and go


@virtual
async def test_draining_waits_for_what_is_in_flight_and_returns_the_rest(world: World) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=2.0))
    world.lane()
    shard = world.open(100)
    await world.until(lambda: engine.in_flight == 4)
    before = world.loop.time()
    assert await world.dispatcher.drain(8) == [shard]
    assert world.loop.time() - before < 2.1
    assert len(engine.received) == 4
    assert world.lines() == {SUCCESS: 4}


@virtual
async def test_draining_does_not_wait_for_ever(world: World) -> None:
    engine = world.upstream(lambda _: Silence())
    world.lane()
    shard = world.open(100)
    await world.until(lambda: engine.in_flight == 4)
    before = world.loop.time()
    assert await world.dispatcher.drain(8) == [shard]
    assert world.loop.time() - before == pytest.approx(8, abs=0.1)


@virtual
async def test_what_a_removed_lane_had_in_flight_another_sends(world: World) -> None:
    stuck = world.upstream(lambda _: Silence(), host="stuck")
    well = world.upstream(host="well")
    lane = world.lane(host="stuck")
    shard = world.open(4)
    await world.until(lambda: stuck.in_flight == 4)
    world.lane(host="well")
    await asyncio.sleep(5)
    world.dispatcher.remove_lane(lane)
    assert await world.finished(1) is shard
    assert sorted(well.numbers) == [1, 2, 3, 4]
    assert stuck.in_flight == 0


@virtual
async def test_a_lane_may_begin_narrow_and_be_widened(world: World) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=1.0))
    options = LaneOptions(Target.parse("http://gpu/v1"), 8)
    lane = world.dispatcher.add_lane(options, 2)
    world.open(100)
    await asyncio.sleep(5)
    assert engine.in_flight_max == 2
    world.dispatcher.widen(lane)
    await asyncio.sleep(5)
    assert engine.in_flight_max == 8


@virtual
async def test_a_withdrawn_shard_keeps_its_outcomes_and_is_forgotten(world: World) -> None:
    engine = world.upstream(lambda s: Respond() if s.number <= 3 else Respond(after_seconds=5.0))
    world.lane()
    shard = world.open(100)
    await world.until(lambda: engine.in_flight == 4)
    assert not world.dispatcher.withdraw(shard)
    engine.crash()
    await asyncio.sleep(0.1)
    assert world.dispatcher.withdraw(shard)
    assert world.lines() == {SUCCESS: 3}
    assert not list(world.dispatcher.shards)
    await asyncio.sleep(10)
    assert world.dispatcher.finished.empty()
