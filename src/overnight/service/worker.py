"""The worker: claims shards and lanes, lets the dispatcher work, and settles what is done.

Everything it tells the database goes into one transaction per turn, at most ten a second, and
each statement in it is fenced by this worker's id and the claim's epoch. A worker that finds
itself declared dead raises `LeaseLost` and its process ends: it never argues.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy import Connection

from overnight.dispatch.dispatcher import Dispatcher, DispatchOptions
from overnight.dispatch.lane import Lane, LaneOptions
from overnight.dispatch.shard import OpenShard
from overnight.domain.errors import Conflict, LeaseLost, Unavailable
from overnight.domain.job import JobEvent
from overnight.seams import Seams
from overnight.service.shard_loader import ShardLoader
from overnight.store import jobs, lanes, shards, workers
from overnight.store.blobs import Blobs
from overnight.store.database import Database
from overnight.store.lanes import LaneClaim, LaneReport
from overnight.store.shards import Progress, Settlement, ShardClaim

TURN_SECONDS: Final = 0.1
POLL_SECONDS: Final = 0.025
"""How often it looks whether another process has changed the database."""
PROGRESS_SECONDS: Final = 1.5
FENCE_MARGIN_SECONDS: Final = 2.0
UNSENDABLE_SECONDS: Final = 30.0
CAUTIOUS_SECONDS: Final = 60.0
"""After a takeover the upstream may still be busy with the dead owner's requests."""
FRUITLESS_TAKEOVERS_MAX: Final = 5
CLAIM_ROUNDS_MAX: Final = 32

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    upstreams: Mapping[str, LaneOptions]
    """By URL; limits are those of one lane."""
    dispatch: DispatchOptions
    lease_seconds: float = 15.0
    cancel_grace_seconds: float = 30.0
    expire_grace_seconds: float = 30.0
    drain_seconds: float = 8.0


@dataclass(slots=True)
class _Held:
    """A shard of ours: its claim, and since when nothing of it could be sent."""

    claim: ShardClaim
    shard: OpenShard
    unsendable_since: float | None = None
    reported: int = -1


@dataclass(slots=True)
class _Turn:
    """What one turn wants to write, and what came of it."""

    renew: bool = False
    settlements: list[Settlement] = field(default_factory=list)
    releases: list[tuple[str, int, int]] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    reports: list[LaneReport] = field(default_factory=list)
    overdue: set[str] = field(default_factory=set)
    corrupt: dict[str, str] = field(default_factory=dict)
    wants: list[tuple[frozenset[str] | None, int]] = field(default_factory=list)
    claimed: list[ShardClaim] = field(default_factory=list)
    new_lanes: list[LaneClaim] = field(default_factory=list)
    lost_lanes: set[tuple[str, int]] = field(default_factory=set)

    @property
    def empty(self) -> bool:
        return not (
            self.renew
            or self.settlements
            or self.releases
            or self.progress
            or self.reports
            or self.overdue
            or self.corrupt
            or self.wants
        )


class Worker:
    """One incarnation of a worker process."""

    def __init__(
        self, identity: str, database: Database, blobs: Blobs, seams: Seams, options: WorkerOptions
    ) -> None:
        self._id = identity
        self._database = database
        self._seams = seams
        self._clock = seams.clock
        self._options = options
        self._dispatcher = Dispatcher(seams, options.dispatch)
        self._loader = ShardLoader(blobs, seams)
        self._held: dict[OpenShard, _Held] = {}
        self._lanes: dict[tuple[str, int], tuple[LaneClaim, Lane]] = {}
        self._cautious: list[tuple[float, Lane]] = []
        self._settling: list[Settlement] = []
        self._releasing: list[tuple[str, int, int]] = []
        self._corrupt: dict[str, str] = {}
        self._last_reports: dict[tuple[str, int], LaneReport] = {}
        self._fence_at = 0.0
        self._renew_at = 0.0
        self._progress_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain, settle and leave. Raises `LeaseLost`."""
        await self._register()
        try:
            async with self._dispatcher.running():
                while not stop.is_set():
                    changed = await self._turn()
                    await self._rest(stop, changed)
                await self._leave()
        finally:
            self._loader.close()

    async def _register(self) -> None:
        now, asked = self._clock.now(), self._clock.monotonic()
        until = now + self._options.lease_seconds
        await self._database.write(lambda tx: workers.register(tx, self._id, "worker", now, until))
        self._renewed(asked)

    def _renewed(self, asked: float) -> None:
        """A renewal asked for at `asked` (monotonic) was accepted."""
        self._fence_at = asked + self._options.lease_seconds - FENCE_MARGIN_SECONDS
        self._renew_at = asked + self._options.lease_seconds / 3

    async def _rest(self, stop: asyncio.Event, busy: bool) -> None:
        """Wait a turn; end it early when another process has written or work ran out."""
        until = self._clock.monotonic() + TURN_SECONDS
        while self._clock.monotonic() < until and not stop.is_set():
            await asyncio.sleep(POLL_SECONDS)
            if not busy and await self._database.changed():
                return

    async def _turn(self) -> bool:
        """One round of bookkeeping; says whether it wrote anything."""
        asked = self._clock.monotonic()
        if asked > self._fence_at:
            raise LeaseLost("the lease could not be renewed in time")
        turn = self._plan(asked)
        if not turn.empty:
            try:
                await self._database.write(lambda tx: self._transact(tx, turn))
            except Unavailable as error:
                _log.warning("the database is unavailable; trying again", reason=str(error))
                return True
            self._carried_out(turn, asked)
            await self._open(turn.claimed)
        await self._heed_stops()
        return not turn.empty

    # What to write

    def _plan(self, asked: float) -> _Turn:
        self._collect_finished()
        self._collect_unsendable(asked)
        turn = _Turn(
            renew=asked >= self._renew_at,
            settlements=list(self._settling),
            releases=list(self._releasing),
            reports=self._lane_reports(),
            overdue=self._overdue(),
            corrupt=dict(self._corrupt),
            wants=self._wants(),
        )
        if asked >= self._progress_at:
            self._progress_at = asked + PROGRESS_SECONDS
            turn.progress = self._progress()
        if not self._lanes and asked >= self._progress_at - PROGRESS_SECONDS:
            turn.renew = True
        return turn

    def _collect_finished(self) -> None:
        finished = self._dispatcher.finished
        while not finished.empty():
            shard = finished.get_nowait()
            claim = self._held.pop(shard).claim
            self._settling.append(
                Settlement(
                    claim.job_id,
                    claim.ordinal,
                    claim.epoch,
                    shard.segment_bytes,
                    shard.segment_digest,
                    shard.counts,
                )
            )

    def _collect_unsendable(self, now: float) -> None:
        """Release what could not be sent for a while: another worker may have a lane for it."""
        for shard, held in list(self._held.items()):
            if self._sendable(shard):
                held.unsendable_since = None
            elif held.unsendable_since is None:
                held.unsendable_since = now
            elif now - held.unsendable_since > UNSENDABLE_SECONDS:
                if self._dispatcher.withdraw(shard):
                    self._release(held)

    def _sendable(self, shard: OpenShard) -> bool:
        return any(
            lane.health.paused_until is None and lane.serves(shard.order.model)
            for _, lane in self._lanes.values()
        )

    def _release(self, held: _Held) -> None:
        del self._held[held.shard]
        claim = held.claim
        self._releasing.append((claim.job_id, claim.ordinal, claim.epoch))

    def _progress(self) -> list[Progress]:
        grown = []
        for shard, held in self._held.items():
            done = shard.succeeded + shard.failed
            if done != held.reported:
                held.reported = done
                claim = held.claim
                grown.append(Progress(claim.job_id, claim.ordinal, claim.epoch, shard.counts))
        return grown

    def _lane_reports(self) -> list[LaneReport]:
        """Reports of lanes whose state is not what was last told."""
        news = []
        for key, (claim, lane) in self._lanes.items():
            report = self._lane_report(claim, lane)
            last = self._last_reports.get(key)
            if last is None or report != last:
                self._last_reports[key] = report
                news.append(report)
        return news

    def _lane_report(self, claim: LaneClaim, lane: Lane) -> LaneReport:
        until = lane.health.paused_until
        if until is not None:
            # The loop's clock, told as wall time; whole seconds, so that it keeps still.
            until = round(self._clock.now() + until - asyncio.get_running_loop().time())
        return LaneReport(
            url=claim.url,
            number=claim.number,
            epoch=claim.epoch,
            models=None if lane.models is None else sorted(lane.models),
            answered=lane.answered,
            paused_reason=lane.health.reason or None,
            paused_until=until,
        )

    def _overdue(self) -> set[str]:
        now = self._clock.now()
        return {
            held.claim.job_id
            for held in self._held.values()
            if held.claim.deadline <= now and not held.shard.stopped
        }

    def _wants(self) -> list[tuple[frozenset[str] | None, int]]:
        if self._dispatcher.disk_full:
            return []
        wanted = ((lane.models, self._dispatcher.wanted(lane)) for _, lane in self._lanes.values())
        return [(models, requests) for models, requests in wanted if requests > 0]

    # Writing it

    def _transact(self, tx: Connection, turn: _Turn) -> None:
        now = self._clock.now()
        if turn.renew:
            if not workers.renew(tx, self._id, now + self._options.lease_seconds):
                raise LeaseLost("this worker was declared dead")
            turn.new_lanes = lanes.claim(tx, self._id, len(self._options.upstreams), now)
        for job_id in turn.overdue:
            with suppress(Conflict):
                jobs.advance(tx, job_id, JobEvent.DEADLINE_PASSED, now)
        for job_id, why in turn.corrupt.items():
            with suppress(Conflict):
                jobs.advance(tx, job_id, JobEvent.CORRUPTED, now, why)
        for job_id, ordinal, _ in shards.settle(tx, self._id, turn.settlements, now):
            _log.warning("a settlement came too late", job=job_id, shard=ordinal)
        shards.release(tx, self._id, turn.releases)
        shards.renew_progress(tx, self._id, turn.progress)
        turn.lost_lanes = lanes.report(tx, self._id, turn.reports)
        for models, wanted in turn.wants:
            turn.claimed += self._claim(tx, models, wanted, now)

    def _claim(
        self, tx: Connection, models: frozenset[str] | None, wanted: int, now: float
    ) -> list[ShardClaim]:
        """Go round the jobs, one shard from each, until there is enough."""
        claimed: list[ShardClaim] = []
        for _ in range(CLAIM_ROUNDS_MAX):
            missing = wanted - sum(claim.requests for claim in claimed)
            if missing <= 0:
                break
            some = shards.claim(tx, self._id, models, -(-missing // 1_000), now)
            if not some:
                break
            claimed += some
        return claimed

    # What follows from it

    def _carried_out(self, turn: _Turn, asked: float) -> None:
        if turn.renew:
            self._renewed(asked)
        del self._settling[: len(turn.settlements)]
        del self._releasing[: len(turn.releases)]
        for job_id in turn.corrupt:
            self._corrupt.pop(job_id, None)
        for key in turn.lost_lanes:
            claim_and_lane = self._lanes.pop(key, None)
            if claim_and_lane is not None:
                self._dispatcher.remove_lane(claim_and_lane[1])
        for claim in turn.new_lanes:
            self._add_lane(claim, asked)
        while self._cautious and self._cautious[0][0] <= asked:
            self._dispatcher.widen(self._cautious.pop(0)[1])

    def _add_lane(self, claim: LaneClaim, now: float) -> None:
        options = self._options.upstreams[claim.url]
        if claim.taken_over:
            lane = self._dispatcher.add_lane(options, max(1, options.max_in_flight // 2))
            self._cautious.append((now + CAUTIOUS_SECONDS, lane))
        else:
            lane = self._dispatcher.add_lane(options, options.max_in_flight)
        self._lanes[claim.url, claim.number] = (claim, lane)
        self._last_reports.pop((claim.url, claim.number), None)

    async def _open(self, claims: list[ShardClaim]) -> None:
        for claim in claims:
            one_by_one = claim.fruitless_takeovers >= FRUITLESS_TAKEOVERS_MAX
            shard = await self._loader.load(claim, one_by_one=one_by_one)
            if isinstance(shard, OpenShard):
                self._held[shard] = _Held(claim, shard)
                self._dispatcher.open(shard)
            else:
                _log.error("stored data is damaged", job=claim.job_id, reason=str(shard))
                self._corrupt[claim.job_id] = str(shard)
                self._releasing.append((claim.job_id, claim.ordinal, claim.epoch))

    async def _heed_stops(self) -> None:
        """Stop sending for jobs that were cancelled, or whose time is up."""
        if not self._held:
            return
        stopped = await self._database.read(lambda tx: shards.stopped_jobs(tx, self._id))
        for job_id, expired in stopped.items():
            options = self._options
            grace = options.expire_grace_seconds if expired else options.cancel_grace_seconds
            self._dispatcher.stop_job(job_id, grace)

    async def _leave(self) -> None:
        """Say goodbye: settle what is done, release what is not."""
        unfinished = await self._dispatcher.drain(self._options.drain_seconds)
        self._collect_finished()
        for shard in unfinished:
            self._release(self._held[shard])
        for shard in list(self._held):
            self._dispatcher.finished.put_nowait(shard)
        self._collect_finished()
        turn = _Turn(settlements=self._settling, releases=self._releasing)
        await self._database.write(lambda tx: self._transact(tx, turn))
        await self._database.write(lambda tx: workers.leave(tx, self._id))
