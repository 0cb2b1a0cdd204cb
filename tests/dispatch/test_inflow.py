"""Long replies under way: together they stay within the limit, and all of them end."""

import asyncio

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from overnight.dispatch.dispatcher import Dispatcher, DispatchOptions
from overnight.dispatch.inflow import COUNTED_FROM_BYTES, Inflow
from overnight.domain.job import Counts
from overnight.seams import Seams
from support.bad_upstream import TIMEOUTS
from support.dispatch_world import EvenChance, World, virtual
from support.fake_network import Raw, Sent
from support.virtual_time import InlineThreads, VirtualClock

PIECE_BYTES = 10_000


class Reply:
    """As a connection is while it takes one."""

    def __init__(self) -> None:
        self.size = 0
        self.reads = True

    def pause(self) -> None:
        assert self.reads
        self.reads = False

    def resume(self) -> None:
        assert not self.reads
        self.reads = True


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(1, 100)), max_size=200),
    st.integers(1, 1_000),
)
def test_one_goes_on_whatever_happens_and_no_two_beyond_the_limit(
    steps: list[tuple[int, bool, int]], bytes_max: int
) -> None:
    inflow = Inflow(bytes_max)
    replies: dict[int, Reply] = {}
    for number, ends, size in steps:
        reply = replies.setdefault(number, Reply())
        if ends:
            inflow.ended(replies.pop(number))
        elif reply.reads:
            before = inflow.bytes_held
            reply.size += size
            inflow.grew(reply, reply.size)
            others = [other for other in replies.values() if other.reads and other is not reply]
            assert not (reply.reads and others and before + size > bytes_max)
        assert inflow.bytes_held == sum(reply.size for reply in replies.values())
        counted = [reply for reply in replies.values() if reply.size]
        assert not counted or any(reply.reads for reply in counted)
    for number in list(replies):
        inflow.ended(replies.pop(number))
    assert inflow.bytes_held == 0


def dispatcher_with(world: World, replies_bytes_max: int) -> Dispatcher:
    seams = Seams(VirtualClock(), EvenChance(), world.network.connect, world.disk, InlineThreads)
    return Dispatcher(seams, DispatchOptions(replies_bytes_max=replies_bytes_max))


@virtual
async def test_long_replies_beyond_the_limit_wait_and_come_whole(world: World) -> None:
    body = b'{"a":"%b"}' % (b"x" * 1_000_000)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    pieces = [body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES)]
    # Slower than the idle time allows for one reply behind the other, if waiting counted.
    world.upstream(lambda _: Raw([(0.0, head), *((0.1, piece) for piece in pieces)]))
    slots, limit = 16, 2_500_000
    dispatcher = world.dispatcher = dispatcher_with(world, limit)
    held_max = 0

    async with dispatcher.running():
        world.lane(slots=slots, timeouts=TIMEOUTS)
        inflow = dispatcher.inflow
        shard = world.open(64)
        while shard.lacking:
            held_max = max(held_max, inflow.bytes_held)
            await asyncio.sleep(0.05)
    assert shard.counts == Counts(64, 0)
    assert limit < held_max <= limit + len(body) + slots * PIECE_BYTES
    assert inflow.bytes_held == 0


@virtual
async def test_short_replies_never_wait_for_long_ones(world: World) -> None:
    body = b'{"a":"%b"}' % (b"x" * 40_000)
    assert len(body) < COUNTED_FROM_BYTES
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    endless = [(0.0, b"HTTP/1.1 200 OK\r\n\r\n"), *[(1.0, b"x" * PIECE_BYTES)] * 10_000]

    def answer(sent: Sent) -> Raw:
        if sent.number <= 3:
            return Raw(endless)
        return Raw([(0.0, head + body[:1_000]), (1.0, body[1_000:])])

    world.upstream(answer)
    dispatcher = world.dispatcher = dispatcher_with(world, 100_000)
    timeouts = msgspec.structs.replace(TIMEOUTS, reply_seconds=600)
    async with dispatcher.running():
        world.lane(slots=4, timeouts=timeouts)
        shard = world.open(100)
        await world.until(lambda: shard.counts.succeeded == 97, seconds=120)
