"""The dispatcher when all is well, in virtual time."""

import asyncio
from collections import Counter

from overnight.dispatch.segment import index_segment, open_latest
from overnight.domain.job import Counts
from support.dispatch_world import SUCCESS, World, virtual
from support.fake_network import Respond
from support.shards import FOLDER

# All is well


@virtual
async def test_every_request_is_sent_once_and_written_down(world: World) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=0.1))
    world.lane()
    world.open(100)
    shard = await world.finished()
    assert sorted(engine.numbers) == list(range(1, 101))
    assert engine.in_flight_max == 4
    assert {sent.target for sent in engine.received} == {"/v1/chat/completions"}
    assert world.lines() == {SUCCESS: 100}
    assert shard.counts == world.dispatcher.counts == Counts(100, 0, 100, 200)


@virtual
async def test_what_a_shard_reports_is_what_its_segment_is(world: World) -> None:
    world.upstream()
    world.lane()
    world.open(10)
    shard = await world.finished()
    file = open_latest(world.disk, FOLDER / "batch_0a", 0, 1)
    assert file is not None
    index = index_segment(file)
    file.close()
    assert (shard.segment_bytes, shard.segment_digest) == (index.size, index.digest)


@virtual
async def test_slots_stay_full_over_the_seams_of_shards_and_jobs(world: World) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=1.0))
    world.lane(slots=4)
    for ordinal in range(4):
        world.open(3, job=f"job_{ordinal % 2}", ordinal=ordinal)
    for _ in range(4):
        await world.finished()
    starts = Counter(round(sent.at) for sent in engine.received)
    assert list(starts.values()) == [4, 4, 4]


@virtual
async def test_an_outcome_is_on_disk_within_20_milliseconds(world: World) -> None:
    engine = world.upstream(lambda sent: Respond(after_seconds=1.0 if sent.number == 1 else 900.0))
    world.lane()
    world.open(2)
    await world.until(lambda: engine.received)
    await asyncio.sleep(1.0 + 0.021)
    assert world.lines() == {SUCCESS: 1}


@virtual
async def test_a_shard_that_was_done_before_is_handed_back_without_sending(world: World) -> None:
    engine = world.upstream()
    world.lane()
    world.open(5)
    await world.finished()
    again = world.open(5, epoch=2)
    assert await world.finished() is again
    assert again.counts == Counts(5, 0, 5, 10)
    assert len(engine.received) == 5


@virtual
async def test_requests_go_where_their_model_is(world: World) -> None:
    one, other = world.upstream(host="one"), world.upstream(host="other")
    one.models, other.models = ["a"], ["b", "c"]
    world.lane(host="one")
    world.lane(host="other")
    world.open(5, model="a", job="x")
    world.open(5, model="c", job="y")
    await world.finished()
    await world.finished()
    assert (len(one.received), len(other.received)) == (5, 5)


@virtual
async def test_an_upstream_without_a_list_of_models_takes_every_model(world: World) -> None:
    engine = world.upstream()
    engine.models = 404
    world.lane()
    world.open(5, model="whatever")
    await world.finished()


@virtual
async def test_an_upstream_that_only_fails_to_list_its_models_gets_one_request_to_prove_itself(
    world: World,
) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=0.5))
    engine.models = 500
    lane = world.lane(slots=8)
    world.open(50, model="whatever")
    await world.until(lambda: len(engine.received) == 1)
    assert lane.trouble(0.0)
    await asyncio.sleep(0.4)
    assert len(engine.received) == 1
    await world.finished(30)
    assert engine.in_flight_max == 8


@virtual
async def test_an_upstream_whose_gateway_has_no_engine_gets_no_request(world: World) -> None:
    engine = world.upstream()
    engine.models = 503
    world.lane()
    world.open(5)
    await asyncio.sleep(300)
    assert not engine.received
    assert "answered 503" in world.dispatcher.troubles()[0]


@virtual
async def test_an_engine_that_can_not_list_its_models_comes_back_after_an_outage(
    world: World,
) -> None:
    engine = world.upstream(lambda _: Respond(after_seconds=0.5))
    engine.models = 500
    world.lane(slots=8)
    shard = world.open(200)
    await world.until(lambda: len(engine.received) > 50)
    engine.crash()
    await asyncio.sleep(100)
    engine.down = False
    back_at = len(engine.received)
    await world.until(lambda: len(engine.received) > back_at + 10, seconds=8)
    await world.finished(60)
    assert shard.counts.failed == 0


@virtual
async def test_a_list_that_comes_later_is_heeded(world: World) -> None:
    engine = world.upstream()
    engine.models = 500
    lane = world.lane()
    world.open(5)
    await world.finished()
    engine.models = ["other"]
    await asyncio.sleep(61)
    assert lane.models == {"other"}


@virtual
async def test_nothing_is_sent_before_the_models_are_known(world: World) -> None:
    engine = world.upstream()
    engine.down = True
    lane = world.lane()
    world.open(5)
    await asyncio.sleep(100)
    assert not engine.received
    assert world.dispatcher.wanted(lane) == 0
    assert "refuses connections" in world.dispatcher.troubles()[0]
    engine.down = False
    await world.finished(40)


# How much is wanted


@virtual
async def test_two_rounds_of_slots_are_wanted_and_no_more(world: World) -> None:
    world.upstream(lambda _: Respond(after_seconds=100.0))
    lane = world.lane(slots=4)
    assert world.dispatcher.wanted(lane) == 0
    await world.until(lambda: lane.answered)
    assert world.dispatcher.wanted(lane) == 8
    world.open(10)
    await asyncio.sleep(0.05)
    assert world.dispatcher.wanted(lane) == 2


@virtual
async def test_of_a_paused_upstream_a_single_request_is_wanted_when_it_is_due(
    world: World,
) -> None:
    engine = world.upstream()
    lane = world.lane()
    await world.until(lambda: lane.answered)
    engine.crash()
    lane.health.unreachable("refuses connections", world.loop.time())
    assert world.dispatcher.wanted(lane) == 0
    await asyncio.sleep(1.05)
    assert world.dispatcher.wanted(lane) == 1
