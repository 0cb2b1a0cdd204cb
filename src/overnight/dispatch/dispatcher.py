"""The dispatcher: lanes, the feed and open shards, put together and kept going.

It is told of shards with `open` and gives them back, finished and synced, through `finished`.
It knows nothing of databases, jobs' states or leases.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec

from overnight.dispatch.feed import Feed
from overnight.dispatch.health import Verdict, is_outage
from overnight.dispatch.inflow import Inflow
from overnight.dispatch.lane import ABORTED, Lane, LaneOptions, Slot
from overnight.dispatch.segment import is_disk_full
from overnight.dispatch.shard import OpenShard, Request
from overnight.domain.job import Counts
from overnight.domain.request import Failure, FailureKind, Outcome, Success
from overnight.domain.retry import Retry, RetryPolicy, decide
from overnight.seams import Seams

TICK_SECONDS: Final = 0.1
FLUSH_SECONDS: Final = 0.02
"""The longest an outcome waits in memory: what kill -9 can cost."""
SYNC_SECONDS: Final = 0.25
"""How often written outcomes are synced: what a power loss can cost."""
GATHER_SECONDS: Final = 0.05
"""How long a complete shard may wait for others to be synced with it."""
FLUSH_BYTES: Final = 1 << 20
DISK_FULL_SECONDS: Final = 1.0
VAIN_PROBES_MAX: Final = 30
"""Of one request, while the upstream lists its models; a quarter of an hour of them at least."""


class DispatchOptions(msgspec.Struct, frozen=True):
    retry: RetryPolicy = RetryPolicy()
    retries_waiting_max: int = 20_000
    """Requests held in memory for another try; beyond that no shard is opened."""
    replies_bytes_max: int = 512 * 1024 * 1024
    """Long replies under way, all together, before some of them have to wait."""


class Dispatcher:
    """Lives in one event loop, from entering `running()` to leaving it."""

    def __init__(self, seams: Seams, options: DispatchOptions) -> None:
        self.lanes: list[Lane] = []
        self.finished: asyncio.Queue[OpenShard] = asyncio.Queue()
        """Shards that need no more sending: flushed, synced, to be settled by the receiver."""
        self.disk_full = False
        self.inflow = Inflow(options.replies_bytes_max)
        self.charged_retries = 0
        """Of the retries, those that cost their requests an attempt."""
        self.settled = Counts()
        """Outcomes of shards that were handed back."""
        self._seams = seams
        self._retry = options.retry
        self._retries_waiting_max = options.retries_waiting_max
        self._jitter = seams.chance.jitter
        self._feed = Feed(self._run_out_of_disk)
        # Not sets: what is done to several shards is done in the order they came.
        self._shards: dict[OpenShard, None] = {}
        self._dirty: dict[OpenShard, None] = {}
        self._closing: list[OpenShard] = []
        self._aborts: list[tuple[float, str]] = []
        self._has_outcomes = asyncio.Event()
        self._to_sync = asyncio.Event()
        self._threads = seams.threads("sync")
        self._loop = asyncio.get_running_loop()
        self._tasks: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep everything going inside; an exception in any loop ends the block, as itself."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                loops = [
                    tasks.create_task(self._keep_ticking()),
                    tasks.create_task(self._keep_flushed()),
                    tasks.create_task(self._keep_synced()),
                ]
                try:
                    yield
                finally:
                    for lane in list(self.lanes):
                        self.remove_lane(lane)
                    for task in loops:
                        task.cancel()
        except BaseExceptionGroup as group:
            # What followed the first came of it.
            raise group.exceptions[0] from (group if len(group.exceptions) > 1 else None)
        finally:
            self._threads.close()
            for shard in (*self._shards, *self._closing):
                shard.close()

    # What the owner does

    def add_lane(self, options: LaneOptions, slots: int | None = None) -> Lane:
        """Start sending to an upstream, with fewer slots at first if so wished."""
        lane = Lane(options, self._feed, self._seams.connect, self.inflow)
        self.lanes.append(lane)
        lane.tasks.append(self._spawn(lane.keep_models()))
        self._add_slots(lane, options.max_in_flight if slots is None else slots)
        return lane

    def widen(self, lane: Lane) -> None:
        """Give a lane all the slots it may have."""
        if lane in self.lanes:
            self._add_slots(lane, lane.options.max_in_flight - len(lane.slots))

    def _add_slots(self, lane: Lane, count: int) -> None:
        for _ in range(count):
            slot = Slot(lane, self._finish)
            lane.slots.append(slot)
            lane.tasks.append(self._spawn(slot.run()))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        if self._tasks is None:
            raise RuntimeError("lanes are added inside `running()`")
        return self._tasks.create_task(work)

    def remove_lane(self, lane: Lane) -> None:
        """Stop sending to an upstream at once; what was on its way goes back to the feed."""
        self.lanes.remove(lane)
        lane.close()
        for slot in lane.slots:
            if slot.request is not None:
                self._send_back(slot.request)
        for task in lane.tasks:
            task.cancel()

    def open(self, shard: OpenShard) -> None:
        """Take a shard on."""
        self._shards[shard] = None
        self._feed.open(shard)
        if shard.pending:
            self._dirty[shard] = None
            self._has_outcomes.set()
        if not shard.lacking:
            self._to_sync.set()
        for lane in self.lanes:
            if lane.serves(shard.order.model):
                lane.wake(shard.unsent)

    @property
    def shards(self) -> Iterable[OpenShard]:
        return self._shards

    @property
    def in_flight(self) -> int:
        return self._feed.out

    @property
    def counts(self) -> Counts:
        """Outcomes of all shards it has had."""
        return sum((shard.counts for shard in self._shards), self.settled)

    def troubles(self) -> list[str]:
        """What keeps lanes from sending, one sentence each."""
        if self.disk_full:
            return ["waiting: the disk is full"]
        now = self._loop.time()
        return [trouble for lane in self.lanes if (trouble := lane.trouble(now))]

    def wanted(self, lane: Lane) -> int:
        """How many more requests should be opened so that this lane never waits for work.

        Twice its slots, or what it gets through in a few ticks if that is more; a single one
        for the probe of a paused upstream.
        """
        if self._feed.closed or not lane.free_for_work(self._loop.time()):
            return 0
        if self._feed.waiting > self._retries_waiting_max:
            return 0
        unsent = sum(s.unsent for s in self._shards if lane.serves(s.order.model))
        if lane.health.paused_until is not None:
            return 0 if unsent else 1
        return max(2 * len(lane.slots), 3 * lane.pace) - unsent

    def stop_job(self, job_id: str, grace_seconds: float) -> None:
        """Send no more of a job; what is in flight may end within the grace, then is aborted.

        Its shards come back through `finished`, with holes.
        """
        stopped = [s for s in self._shards if s.order.job_id == job_id and not s.stopped]
        for shard in stopped:
            shard.stop()
        if stopped:
            self._feed.drop_stopped()
            heapq.heappush(self._aborts, (self._loop.time() + grace_seconds, job_id))
            self._to_sync.set()

    async def drain(self, seconds: float) -> list[OpenShard]:
        """Send nothing more, give what is in flight some time, and write everything down.

        Returns the shards that are not finished, or could not be written down for want of room.
        """
        self._feed.closed = True
        deadline = self._loop.time() + seconds
        while self._feed.out and self._loop.time() < deadline:  # noqa: ASYNC110  once in a life
            await asyncio.sleep(0.02)
        for request in self._under_way():
            self._spare(request)
        self._flush()
        await self._sync(self._shards)
        return [shard for shard in self._shards if shard.lacking or shard.pending]

    def withdraw(self, shard: OpenShard) -> bool:
        """Write down what a shard has and forget it; False while requests of it are in flight,
        or the disk is full.
        """
        if any(request.shard is shard for request in self._under_way()):
            return False
        self._flush()
        if shard.pending:
            return False
        shard.stop()
        self._feed.drop_stopped()
        self._forget(shard)
        return True

    # Outcomes

    def _finish(self, lane: Lane, request: Request, outcome: Outcome) -> None:
        """Take what came of a request: an outcome, or a reason to send it again."""
        shard = request.shard
        if type(outcome) is Success:
            if not lane.health.spotless:
                lane.health.succeeded(self._loop.time())
                lane.wake()
            shard.succeed(request, outcome)
        elif type(outcome) is Failure and not self._failed(lane, request, outcome):
            return
        self._feed.out -= 1
        lane.finished += 1
        if shard not in self._dirty:
            self._dirty[shard] = None
            self._has_outcomes.set()
        elif shard.writer.pending_bytes > FLUSH_BYTES:
            self._flush()
        if not shard.lacking:
            self._to_sync.set()

    def _failed(self, lane: Lane, request: Request, failure: Failure) -> bool:
        """Judge a failure; True when it is the request's outcome (or it will have none)."""
        shard, now = request.shard, self._loop.time()
        verdict = self._judge(lane, request, failure, now)
        if shard.stopped:
            shard.forgo()
            return True
        if verdict is Verdict.UNCHARGED:
            if failure.kind is not FailureKind.CONNECT:
                self._note_retry(request)
            self._send_back(request)
            return False
        request.attempts += 1
        decision = decide(
            self._retry, failure, attempts=request.attempts, now=now, jitter=self._jitter()
        )
        if isinstance(decision, Retry):
            self.charged_retries += 1
            self._note_retry(request)
            self._spare(request)
            self._feed.again(request, decision.at)
            return False
        shard.fail(request, failure)
        return True

    def _judge(self, lane: Lane, request: Request, failure: Failure, now: float) -> Verdict:
        """What a failure says of the upstream; wakes the lane when there may be more to send."""
        health, probe = lane.health, lane.probe is request
        if probe:
            lane.probe = None
        if failure is ABORTED:
            if probe:
                health.unsent()
            return Verdict.UNCHARGED
        was_open = health.paused_until is None
        verdict = health.failed(failure, now, self._jitter(), probe=probe)
        if probe and lane.listed and is_outage(failure):
            # An upstream that is well but for this request: let it not hold the job for ever.
            request.vain_probes += 1
            if request.vain_probes > VAIN_PROBES_MAX:
                verdict = Verdict.CHARGED
        if probe or (not was_open and health.paused_until is None):
            lane.wake()
        return verdict

    def _note_retry(self, request: Request) -> None:
        request.shard.retry(request)
        self._dirty[request.shard] = None
        self._has_outcomes.set()

    def _send_back(self, request: Request) -> None:
        """Whoever can is to send it, at once; it has cost nothing."""
        self._spare(request)
        self._feed.back(request)
        self._wake_for(request)

    def _spare(self, request: Request) -> None:
        """A request that was sent alone is back, or will be: it did not kill us."""
        shard = request.shard
        if shard.order.one_by_one:
            shard.spare(request)
            self._dirty[shard] = None
            self._has_outcomes.set()

    def _wake_for(self, request: Request) -> None:
        for lane in self.lanes:
            if lane.health.paused_until is None and lane.serves(request.shard.order.model):
                lane.wake(1)

    def _under_way(self) -> list[Request]:
        return [
            slot.request for lane in self.lanes for slot in lane.slots if slot.request is not None
        ]

    # Writing down

    def _flush(self) -> None:
        """Write down all outcomes so far. A full disk holds sending back until there is room."""
        try:
            for shard in list(self._dirty):
                shard.flush()
                del self._dirty[shard]
        except OSError as error:
            if not is_disk_full(error):
                raise
            self._run_out_of_disk()
        else:
            if self.disk_full:
                self._hold_back(False)

    def _run_out_of_disk(self) -> None:
        self._has_outcomes.set()
        self._hold_back(True)

    def _hold_back(self, full: bool) -> None:
        self.disk_full = full
        for lane in self.lanes:
            lane.held_back = full
            if not full:
                lane.wake()

    def _forget(self, shard: OpenShard) -> None:
        self._shards.pop(shard, None)
        self._dirty.pop(shard, None)
        self._feed.close(shard)
        self._closing.append(shard)
        if shard.order.one_by_one:
            for lane in self.lanes:
                lane.wake()

    # Loops

    async def _keep_flushed(self) -> None:
        while True:
            await self._has_outcomes.wait()
            await asyncio.sleep(DISK_FULL_SECONDS if self.disk_full else FLUSH_SECONDS)
            self._flush()
            if not self._dirty:
                self._has_outcomes.clear()

    async def _keep_synced(self) -> None:
        """Sync what was flushed now and then, and hand over shards that are complete and synced.

        A sync costs much the same for a line as for a thousand, so completed shards are
        gathered for a moment, and the others wait for their time.
        """
        sync_all_at = self._loop.time() + SYNC_SECONDS
        while True:
            timer = self._loop.call_at(sync_all_at, self._to_sync.set)
            await self._to_sync.wait()
            timer.cancel()
            await asyncio.sleep(GATHER_SECONDS)
            self._to_sync.clear()
            complete = [shard for shard in self._shards if not shard.lacking]
            if any(shard.pending for shard in complete):
                self._flush()
            all_due = self._loop.time() >= sync_all_at
            if all_due:
                sync_all_at = self._loop.time() + SYNC_SECONDS
            await self._sync(self._shards if all_due else complete)
            for shard in complete:
                if not shard.pending and shard in self._shards:
                    self.settled += shard.counts
                    self._forget(shard)
                    self.finished.put_nowait(shard)

    async def _sync(self, shards: Iterable[OpenShard]) -> None:
        """Sync what was flushed of them; the same thread closes files, so never under its hands."""
        unsynced = [shard for shard in shards if shard.unsynced]
        closing, self._closing = self._closing, []
        if unsynced or closing:
            await self._threads.run(partial(_sync_and_close, unsynced, closing))

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._loop.time()
            due = self._feed.mature(now)
            for lane in self.lanes:
                if due:
                    lane.wake(due)
                lane.tick(now)
            self._feed_careful_shards()
            while self._aborts and self._aborts[0][0] <= now:
                self._abort(self._aborts.pop(0)[1])

    def _abort(self, job_id: str) -> None:
        for lane in self.lanes:
            for slot in lane.slots:
                request = slot.request
                if (
                    request is not None
                    and request.shard.stopped
                    and request.shard.order.job_id == job_id
                ):
                    slot.abort()

    def _feed_careful_shards(self) -> None:
        """Nothing is out and a lone request may go: the lane that has it to send may be asleep."""
        if self._feed.one_by_one and not self._feed.out:
            for lane in self.lanes:
                lane.wake(1)


def _sync_and_close(unsynced: Iterable[OpenShard], closing: Iterable[OpenShard]) -> None:
    for shard in unsynced:
        shard.sync()
    for shard in closing:
        shard.sync()
        shard.close()
