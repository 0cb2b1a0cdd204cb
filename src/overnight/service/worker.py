"""The worker: claims shards and lanes, lets the dispatcher work, and settles what is done.

Everything it tells the database goes into one transaction per turn, at most ten a second, and
each of them renews the lease, so that one who was declared dead writes nothing. Such a worker
raises `LeaseLost` and its process ends: it never argues. A turn that could not be written
changes nothing here, and the next one says the same again.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy import Connection

from overnight.dispatch.dispatcher import Dispatcher, DispatchOptions
from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.segment import is_disk_full
from overnight.dispatch.shard import OpenShard
from overnight.domain.errors import Conflict, Unavailable
from overnight.domain.job import Counts, JobEvent
from overnight.domain.plan import SHARD_REQUESTS_MAX
from overnight.seams import Seams
from overnight.service.held_lanes import HeldLanes, LaneKey, LaneNews
from overnight.service.lease import Lease
from overnight.service.shard_loader import ShardLoader
from overnight.store import jobs, lanes, shards, workers
from overnight.store.blobs import Blobs
from overnight.store.database import Database
from overnight.store.lanes import LaneClaim
from overnight.store.shards import Held, Progress, Settlement, ShardClaim

TURN_SECONDS: Final = 0.1
POLL_SECONDS: Final = 0.025
"""How often it looks whether another process has changed the database."""
LOOK_SECONDS: Final = 1.0
"""How often it looks for lanes when nothing has changed: a lease may have run out."""
PROGRESS_SECONDS: Final = 1.5
UNSENDABLE_SECONDS: Final = 30.0
DISK_FULL_SECONDS: Final = 5.0
"""How long it claims nothing after a segment found no room."""
DRAIN_RESERVE_SECONDS: Final = 1.0
"""What a stop keeps of the lease, for the writing after the drain."""
FRUITLESS_TAKEOVERS_MAX: Final = 5
CLAIM_ROUNDS_MAX: Final = 32

_Want = frozenset[str] | None
"""The models of a lane that could do with more work; None is any."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    upstreams: Mapping[str, LaneOptions]
    """By URL; limits are those of all its lanes together."""
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
    reported: Counts = Counts()
    """The last progress that was written."""

    @property
    def progress(self) -> Progress:
        claim = self.claim
        return Progress(claim.job_id, claim.ordinal, claim.epoch, self.shard.counts)

    @property
    def settlement(self) -> Settlement:
        claim, shard = self.claim, self.shard
        return Settlement(
            claim.job_id,
            claim.ordinal,
            claim.epoch,
            shard.segment_bytes,
            shard.segment_digest,
            shard.counts,
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """What the database says of the world: jobs of ours to stop, wants that nothing
    can still, lanes to claim or to give.
    """

    stopped: dict[str, bool]
    dry: set[_Want]
    claimable_lanes: int
    surplus_lanes: int


@dataclass(slots=True)
class _Turn:
    """What one turn wants to write, and what came of it."""

    renew: bool = False
    settlements: list[Settlement] = field(default_factory=list)
    releases: list[Held] = field(default_factory=list)
    grown: list[tuple[_Held, Progress]] = field(default_factory=list)
    lane_news: dict[LaneKey, LaneNews] = field(default_factory=dict)
    lane_releases: list[LaneClaim] = field(default_factory=list)
    lanes_wanted: int = 0
    overdue: set[str] = field(default_factory=set)
    corrupt: dict[str, str] = field(default_factory=dict)
    wants: dict[_Want, int] = field(default_factory=dict)
    claimed: list[ShardClaim] = field(default_factory=list)
    dry: set[_Want] = field(default_factory=set)
    """Wants for which there was nothing more to claim."""
    new_lanes: list[LaneClaim] = field(default_factory=list)
    lost_lanes: set[LaneKey] = field(default_factory=set)

    @property
    def empty(self) -> bool:
        return not (
            self.renew
            or self.settlements
            or self.releases
            or self.grown
            or self.lane_news
            or self.lane_releases
            or self.lanes_wanted
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
        self._clock = seams.clock
        self._options = options
        self._lease = Lease(identity, "worker", database, seams.clock, options.lease_seconds)
        self._dispatcher = Dispatcher(seams, options.dispatch)
        self._lanes = HeldLanes(self._dispatcher, seams.clock, options.upstreams)
        self._loader = ShardLoader(database, blobs, seams)
        self._held: dict[OpenShard, _Held] = {}
        self._settling: list[Settlement] = []
        self._releasing: list[Held] = []
        self._corrupt: dict[str, str] = {}
        self._dry: set[_Want] = set()
        self._changed = True
        """Another process has written since our last turn."""
        self._look_at = 0.0
        self._progress_at = 0.0
        self._claim_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain, settle and leave. Raises `LeaseLost`."""
        try:
            async with self._lease.held(), self._dispatcher.running():
                while not stop.is_set():
                    try:
                        wrote = await self._turn()
                    except Unavailable as error:
                        _log.warning("the database is unavailable; trying again", reason=str(error))
                        wrote = True
                    await self._rest(stop, wrote)
                await self._leave()
        finally:
            self._loader.close()

    async def _rest(self, stop: asyncio.Event, wrote: bool) -> None:
        """Wait a turn; end it early when another process has written and we have not."""
        until = self._clock.monotonic() + TURN_SECONDS
        while self._clock.monotonic() < until and not stop.is_set():
            await asyncio.sleep(POLL_SECONDS)
            with suppress(Unavailable):
                self._changed |= await self._database.changed()
            if self._changed and not wrote:
                return

    async def _turn(self) -> bool:
        """One round of bookkeeping; says whether it wrote anything."""
        asked = self._clock.monotonic()
        if self._changed:
            self._dry.clear()
        turn = self._plan(asked, await self._look_round(asked))
        if not turn.empty:
            await self._database.write(lambda tx: self._transact(tx, turn))
            self._carried_out(turn, asked)
            await self._open(turn.claimed)
            await self._loader.keep_only({held.claim.job_id for held in self._held.values()})
        return not turn.empty

    async def _look_round(self, now: float) -> int:
        """Heed what others want of us; returns how many lanes there are to claim."""
        wants = self._wants(now)
        if not (self._changed or self._held or wants or now >= self._look_at):
            return 0
        look = await self._database.read(lambda tx: self._look(tx, wants))
        self._changed = False
        self._dry |= look.dry
        self._look_at = now + LOOK_SECONDS
        for job_id, expired in look.stopped.items():
            options = self._options
            grace = options.expire_grace_seconds if expired else options.cancel_grace_seconds
            self._dispatcher.stop_job(job_id, grace)
        self._lanes.tend(look.surplus_lanes, now)
        return look.claimable_lanes

    def _look(self, tx: Connection, wants: Collection[_Want]) -> _Look:
        now = self._clock.now()
        return _Look(
            shards.stopped_jobs(tx, self._id),
            {models for models in wants if not shards.is_claimable(tx, models)},
            lanes.claimable(tx, self._id, now),
            lanes.surplus(tx, self._id, now),
        )

    # What to write

    def _plan(self, asked: float, lanes_wanted: int) -> _Turn:
        self._collect_finished()
        self._collect_unsendable(asked)
        turn = _Turn(
            renew=self._lease.is_due(asked),
            settlements=list(self._settling),
            releases=list(self._releasing),
            lane_news=self._lanes.news(),
            lane_releases=list(self._lanes.leaving),
            lanes_wanted=lanes_wanted,
            overdue=self._overdue(),
            corrupt=dict(self._corrupt),
            wants=self._wants(asked),
        )
        if asked >= self._progress_at:
            turn.grown = self._grown()
        return turn

    def _collect_finished(self) -> None:
        finished = self._dispatcher.finished
        while not finished.empty():
            self._settling.append(self._held.pop(finished.get_nowait()).settlement)

    def _collect_unsendable(self, now: float) -> None:
        """Release what could not be sent for a while: another worker may have a lane for it."""
        for shard, held in list(self._held.items()):
            if self._lanes.sendable(shard.order.model):
                held.unsendable_since = None
            elif held.unsendable_since is None:
                held.unsendable_since = now
            elif now - held.unsendable_since > UNSENDABLE_SECONDS:
                self._withdraw(held)

    def _withdraw(self, held: _Held) -> None:
        if self._dispatcher.withdraw(held.shard):
            self._release(held)

    def _release(self, held: _Held) -> None:
        del self._held[held.shard]
        self._releasing.append(held.progress.held)

    def _grown(self) -> list[tuple[_Held, Progress]]:
        shown = [(held, held.progress) for held in self._held.values()]
        return [(held, progress) for held, progress in shown if held.reported != progress.counts]

    def _overdue(self) -> set[str]:
        now = self._clock.now()
        return {
            held.claim.job_id
            for held in self._held.values()
            if held.claim.deadline <= now and not held.shard.stopped
        }

    def _wants(self, now: float) -> dict[_Want, int]:
        """Requests to claim by what lanes serve, but where there was nothing just now."""
        wants: dict[_Want, int] = {}
        if self._dispatcher.disk_full or now < self._claim_at:
            return wants
        for lane in self._lanes:
            requests = self._dispatcher.wanted(lane)
            if requests > 0 and lane.models not in self._dry:
                wants[lane.models] = wants.get(lane.models, 0) + requests
        return wants

    # Writing it

    def _transact(self, tx: Connection, turn: _Turn) -> None:
        now = self._clock.now()
        self._lease.renew(tx)
        for job_id in sorted(turn.overdue):
            with suppress(Conflict):
                jobs.advance(tx, job_id, JobEvent.DEADLINE_PASSED, now)
        for job_id, why in turn.corrupt.items():
            with suppress(Conflict):
                jobs.advance(tx, job_id, JobEvent.CORRUPTED, now, why)
        for job_id, ordinal, _ in shards.settle(tx, self._id, turn.settlements, now):
            _log.warning("a settlement came too late", job=job_id, shard=ordinal)
        shards.release(tx, self._id, turn.releases)
        shards.renew_progress(tx, self._id, [progress for _, progress in turn.grown])
        reports = [news.report for news in turn.lane_news.values()]
        turn.lost_lanes = lanes.report(tx, self._id, reports)
        lanes.release(tx, self._id, turn.lane_releases)
        if turn.lanes_wanted:
            turn.new_lanes = lanes.claim(tx, self._id, turn.lanes_wanted, now)
        for models in turn.wants:
            self._claim(tx, turn, models, now)

    def _claim(self, tx: Connection, turn: _Turn, models: _Want, now: float) -> None:
        """Go round the jobs, one shard from each, until there is enough."""
        missing = turn.wants[models]
        for _ in range(CLAIM_ROUNDS_MAX):
            if missing <= 0:
                return
            some = shards.claim(tx, self._id, models, -(-missing // SHARD_REQUESTS_MAX), now)
            if not some:
                turn.dry.add(models)
                return
            turn.claimed += some
            missing -= sum(claim.requests for claim in some)

    # What follows from it

    def _carried_out(self, turn: _Turn, asked: float) -> None:
        self._lease.renewed(asked)
        del self._settling[: len(turn.settlements)]
        del self._releasing[: len(turn.releases)]
        del self._lanes.leaving[: len(turn.lane_releases)]
        for job_id in turn.corrupt:
            self._corrupt.pop(job_id, None)
        for held, progress in turn.grown:
            held.reported = progress.counts
            self._progress_at = asked + PROGRESS_SECONDS
        self._lanes.told(turn.lane_news)
        for key in sorted(turn.lost_lanes):
            self._lanes.lose(key)
        for claim in turn.new_lanes:
            self._lanes.add(claim, asked)
        self._dry |= turn.dry
        if turn.releases:
            self._dry.clear()

    async def _open(self, claims: list[ShardClaim]) -> None:
        for claim in claims:
            one_by_one = claim.fruitless_takeovers >= FRUITLESS_TAKEOVERS_MAX
            try:
                shard = await self._loader.load(claim, one_by_one=one_by_one)
            except Unavailable as error:
                _log.warning("a shard can not be opened now", reason=str(error))
                self._releasing.append((claim.job_id, claim.ordinal, claim.epoch))
                continue
            except OSError as error:
                if not is_disk_full(error):
                    raise
                _log.warning("the disk is full; nothing is claimed", reason=str(error))
                self._claim_at = self._clock.monotonic() + DISK_FULL_SECONDS
                self._releasing.append((claim.job_id, claim.ordinal, claim.epoch))
                continue
            if isinstance(shard, OpenShard):
                self._held[shard] = _Held(claim, shard)
                self._dispatcher.open(shard)
            else:
                _log.error("stored data is damaged", job=claim.job_id, reason=str(shard))
                self._corrupt[claim.job_id] = str(shard)
                self._releasing.append((claim.job_id, claim.ordinal, claim.epoch))

    async def _leave(self) -> None:
        """Say goodbye: settle what is done, release what is not."""
        try:
            asked = self._clock.monotonic()
            await self._database.write(self._lease.renew)
            self._lease.renewed(asked)
            spare = self._lease.seconds_left - DRAIN_RESERVE_SECONDS
            await self._dispatcher.drain(min(self._options.drain_seconds, max(0.0, spare)))
            self._collect_finished()
            for shard, held in list(self._held.items()):
                if shard.lacking or shard.pending or shard.unsynced:
                    self._release(held)
                else:
                    self._settling.append(self._held.pop(shard).settlement)
            turn = _Turn(settlements=self._settling, releases=self._releasing)
            await self._database.write(lambda tx: self._say_goodbye(tx, turn))
        except Unavailable as error:
            _log.warning("left without a word; others will take over", reason=str(error))

    def _say_goodbye(self, tx: Connection, turn: _Turn) -> None:
        self._transact(tx, turn)
        workers.leave(tx, self._id)
