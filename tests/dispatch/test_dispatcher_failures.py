"""What the dispatcher does about failures, in virtual time."""

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from overnight.dispatch.dispatcher import VAIN_PROBES_MAX
from overnight.dispatch.http1 import Timeouts
from overnight.domain.job import Counts
from overnight.domain.retry import RetryPolicy
from support.dispatch_world import (
    FAILURE,
    HOUR_SECONDS,
    RETRIES_WAITING_MAX,
    SUCCESS,
    World,
    virtual,
)
from support.fake_network import Drop, Respond, Silence

# Failures of requests


@virtual
async def test_a_failure_is_tried_again_after_waits_that_double(world: World) -> None:
    engine = world.upstream(lambda sent: Respond(500 if sent.attempt < 4 else 200))
    world.lane()
    world.open(1)
    await world.finished()
    assert world.lines() == {SUCCESS: 1}
    times = [sent.at for sent in engine.received]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits == pytest.approx([0.5, 1.0, 2.0], abs=0.11)
    assert world.dispatcher.counts.retries == 3


@virtual
async def test_after_five_attempts_a_failure_is_the_outcome(world: World) -> None:
    engine = world.upstream(lambda _: Respond(500))
    world.lane()
    world.open(3)
    await world.finished()
    assert Counter(engine.numbers) == {1: 5, 2: 5, 3: 5}
    assert world.lines() == {FAILURE: 3}


@virtual
async def test_retries_are_known_to_whoever_takes_over(world: World) -> None:
    world.upstream(lambda sent: Respond(500 if sent.attempt < 3 else 200))
    world.lane()
    shard = world.open(10)
    assert await world.finished() is shard
    assert shard.counts == Counts(10, 0, 10, 20, retries=20)
    again = world.open(10, epoch=2)
    assert again.counts == shard.counts


@virtual
async def test_a_retry_holds_no_slot(world: World) -> None:
    engine = world.upstream(lambda sent: Respond(500 if sent.number == 1 else 200))
    world.lane(slots=1)
    world.open(20)
    await world.until(lambda: len(set(engine.numbers)) == 20, seconds=0.4)
    assert engine.numbers.count(1) == 1
    await world.finished()


@virtual
async def test_no_shard_is_opened_while_too_many_requests_wait_for_another_try(
    world: World,
) -> None:
    engine = world.upstream(lambda sent: Respond(500 if sent.attempt < 2 else 200))
    lane = world.lane(slots=RETRIES_WAITING_MAX)
    world.open(RETRIES_WAITING_MAX + 1)
    await world.until(lambda: len(engine.received) > RETRIES_WAITING_MAX, seconds=5)
    assert world.dispatcher.wanted(lane) == 0
    await world.finished()
    assert world.dispatcher.wanted(lane) > 0


@virtual
async def test_a_request_that_can_not_succeed_is_sent_once(world: World) -> None:
    missing = b'{"error":{"message":"The model `m` does not exist"}}'
    engine = world.upstream(
        lambda sent: Respond(404, missing) if sent.number == 1 else Respond(400)
    )
    world.lane()
    world.open(5)
    await world.finished()
    assert len(engine.received) == 5
    assert world.lines() == {FAILURE: 5}


@virtual
async def test_a_reply_that_never_comes_is_a_timeout_and_charged(world: World) -> None:
    engine = world.upstream(lambda sent: Silence() if sent.attempt == 1 else Respond())
    world.lane(timeouts=Timeouts(first_byte_seconds=30))
    world.open(1)
    await world.finished()
    assert engine.received[1].at - engine.received[0].at == pytest.approx(30.5, abs=0.3)


# Failures of upstreams


@virtual
async def test_an_engine_that_is_down_for_an_hour_costs_no_request_anything(world: World) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=0.5))
    world.lane(slots=8)
    shard = world.open(500)
    await world.until(lambda: len(engine.received) > 100)
    engine.crash()
    await asyncio.sleep(HOUR_SECONDS)
    assert "refuses connections" in world.dispatcher.troubles()[0]
    assert len(engine.refused) < 2 * HOUR_SECONDS / 5 + 50
    engine.down = False
    assert await world.finished(30 + 500) is shard
    assert shard.counts.failed == 0
    assert world.dispatcher.charged_retries <= 2
    # What was refused was never sent.
    assert shard.counts.retries == 0
    assert world.lines() == {SUCCESS: 500}


@virtual
async def test_after_an_outage_all_slots_work_again(world: World) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=1.0))
    world.lane(slots=8)
    world.open(100)
    await world.until(lambda: len(engine.received) > 10)
    engine.crash()
    await asyncio.sleep(60)
    engine.down, engine.in_flight_max = False, 0
    await world.finished()
    assert engine.in_flight_max == 8


@virtual
async def test_a_storm_of_503_is_probed_one_at_a_time_and_hardly_charged(world: World) -> None:
    world_ends = 600.0
    engine = world.upstream(
        lambda sent: Respond(503 if sent.at < world_ends else 200, after_seconds=0.1)
    )
    world.lane(slots=8)
    shard = world.open(300)
    await asyncio.sleep(world_ends)
    during = [sent for sent in engine.received if 1.0 < sent.at < world_ends]
    assert len(during) < world_ends / 30 + 10
    assert await world.finished(700) is shard
    assert shard.counts == Counts(300, 0, 300, 600, retries=len(engine.received) - 300)
    assert world.dispatcher.charged_retries <= 2


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_pauses_the_upstream_and_charges_nobody(status: int) -> None:
    @virtual
    async def test(world: World) -> None:
        engine = world.upstream(
            lambda sent: (
                Respond(status, retry_after="20")
                if sent.number == 5 and sent.attempt < 9
                else Respond(after_seconds=0.2)
            )
        )
        world.lane()
        shard = world.open(50)
        await world.finished()
        asked = [sent.at for sent in engine.received if sent.number == 5][:-1]
        for moment in asked:
            resting = [s for s in engine.received if moment + 1e-6 < s.at < moment + 20]
            assert not resting
        assert shard.counts.succeeded == 50
        assert world.dispatcher.charged_retries == 0
        assert shard.counts.retries == len(engine.received) - 50

    test()


@virtual
async def test_a_request_no_gateway_survives_does_not_hold_its_job_for_ever(world: World) -> None:
    """It is the last one left, so that nothing else shows that the upstream is well."""
    engine = world.upstream(
        lambda sent: Respond(504, after_seconds=60.0) if sent.number == 50 else Respond()
    )
    world.lane()
    shard = world.open(100)
    await world.finished(2 * HOUR_SECONDS)
    assert shard.counts.failed == 1
    assert engine.numbers.count(50) <= VAIN_PROBES_MAX + RetryPolicy().attempts_max + 1


@virtual
async def test_a_gateway_whose_engine_is_down_for_hours_costs_no_request_anything(
    world: World,
) -> None:
    """It answers 502 for everything, its list of models as well."""
    over = 2 * HOUR_SECONDS
    engine = world.upstream(
        lambda sent: Respond(502 if 5 < sent.at < over else 200, after_seconds=1.0)
    )
    world.lane()
    shard = world.open(100)
    await asyncio.sleep(6)
    engine.models = 502
    await asyncio.sleep(over)
    engine.models = ["m"]
    await world.finished(HOUR_SECONDS)
    assert shard.counts.succeeded == 100
    assert world.dispatcher.charged_retries <= 2


@virtual
async def test_a_wrong_key_pauses_the_upstream_until_it_is_right(world: World) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=0.1))
    world.lane(models=frozenset("m"))
    engine.unauthorized = True
    shard = world.open(200)
    await asyncio.sleep(HOUR_SECONDS)
    assert "401" in world.dispatcher.troubles()[0]
    assert len(engine.received) < HOUR_SECONDS / 30 + 20
    engine.unauthorized = False
    await world.finished(100)
    assert shard.counts.failed == 0


@virtual
async def test_a_key_revoked_halfway_costs_at_most_what_shows_it(world: World) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=0.1))
    world.lane(slots=8)
    shard = world.open(1_000)
    await world.until(lambda: len(engine.received) > 100)
    engine.unauthorized = True
    await asyncio.sleep(HOUR_SECONDS)
    engine.unauthorized = False
    await world.finished()
    assert shard.counts.failed <= 20
    assert shard.counts.succeeded + shard.counts.failed == 1_000


@virtual
async def test_a_sick_replica_leaves_its_work_to_the_other(world: World) -> None:
    sick = world.upstream(lambda _: Drop(0.1), host="sick")
    well = world.upstream(lambda _: Respond(after_seconds=0.1), host="well")
    world.lane(host="sick")
    world.lane(host="well")
    shard = world.open(200)
    await world.finished(60)
    assert shard.counts.failed == 0
    assert len(well.received) >= 200
    assert len(sick.received) < 30
