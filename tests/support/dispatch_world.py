"""A dispatcher in virtual time, with upstreams and a disk in memory."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from overnight.dispatch.dispatcher import Dispatcher, DispatchOptions
from overnight.dispatch.http1 import Timeouts
from overnight.dispatch.lane import Lane, LaneOptions
from overnight.dispatch.shard import OpenShard
from overnight.dispatch.target import Target
from overnight.domain.request import OutcomeKind
from overnight.domain.retry import RetryPolicy
from overnight.seams import Seams, Threads
from support.fake_network import Answer, FakeNetwork, FakeUpstream, Respond
from support.memory_disk import MemoryDisk
from support.shards import open_shard, written
from support.virtual_time import InlineThreads, VirtualClock, run_virtual

SUCCESS, FAILURE = OutcomeKind.SUCCESS, OutcomeKind.FAILURE
HOUR_SECONDS = 3_600.0


class EvenChance:
    """`seams.Chance` that always falls in the middle."""

    def jitter(self) -> float:
        return 0.5

    def token(self, digits: int) -> str:
        return "0" * digits


RETRIES_WAITING_MAX = 500


class World:
    """A dispatcher, the upstreams it sends to and the disk it writes on."""

    def __init__(self, threads: Callable[[str], Threads] = InlineThreads) -> None:
        self.disk = MemoryDisk()
        self.network = FakeNetwork()
        self.dispatcher = Dispatcher(
            Seams(VirtualClock(), EvenChance(), self.network.connect, self.disk, threads),
            DispatchOptions(RetryPolicy(), RETRIES_WAITING_MAX),
        )
        self.loop = asyncio.get_running_loop()

    def upstream(self, answer: Answer = lambda _: Respond(), *, host: str = "gpu") -> FakeUpstream:
        return self.network.upstream(host, answer)

    def lane(
        self,
        *,
        host: str = "gpu",
        slots: int = 4,
        models: frozenset[str] | None = None,
        timeouts: Timeouts = Timeouts(),
        reply_bytes_max: int = 64 * 1024 * 1024,
    ) -> Lane:
        return self.dispatcher.add_lane(
            LaneOptions(Target.parse(f"http://{host}/v1"), slots, models, timeouts, reply_bytes_max)
        )

    def open(self, count: int, **order: Any) -> OpenShard:
        shard = open_shard(self.disk, count, **order)
        self.dispatcher.open(shard)
        return shard

    async def finished(self, seconds: float = 1e6) -> OpenShard:
        """The next shard that is handed back."""
        async with asyncio.timeout(seconds):
            return await self.dispatcher.finished.get()

    async def until(self, true: Callable[[], object], seconds: float = 1e6) -> None:
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110  virtual time costs nothing
                await asyncio.sleep(0.01)

    def lines(self, job: str = "batch_0a", ordinal: int = 0) -> Counter[int]:
        """How many outcomes of each kind are on disk."""
        return Counter(written(self.disk, job=job, ordinal=ordinal).values())


def virtual(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test in virtual time, inside `running()`."""

    async def main() -> None:
        world = World()
        async with world.dispatcher.running():
            await test(world)
        assert world.disk.opened == 0

    def run() -> None:
        run_virtual(main())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run
