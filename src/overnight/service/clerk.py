"""The clerk: validates new jobs, publishes finished ones, keeps house, delivers events.

The first two are work over whole files, done in steps of some ten milliseconds that take turns,
so that neither a deadline nor a small job waits behind a large file. The lease and the house are
kept beside that work, for a step may wait long for the disk; and events are delivered beside it,
for whoever receives them may let us wait.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection

from overnight.domain.errors import Conflict, LeaseLost, Unavailable
from overnight.domain.job import JobStatus
from overnight.seams import Clock, Seams
from overnight.service.finalizer import Publishing
from overnight.service.intake import Intake, IntakeOptions
from overnight.service.janitor import Janitor
from overnight.service.lease import Lease
from overnight.service.webhooks.deliverer import Deliverer, DelivererOptions
from overnight.store import jobs, workers
from overnight.store.blobs import Blobs
from overnight.store.database import Database
from overnight.store.jobs import JobClaim

POLL_SECONDS: Final = 0.025
LOOK_SECONDS: Final = 1.0
"""How often it looks for work when nothing seems to have changed."""
HOUSEKEEPING_SECONDS: Final = 1.0
HOLD_UP_SECONDS: Final = 10.0
"""How long a job waits for a disk that is full or refuses it for another reason."""
HELD_UP_MAX: Final = 64
"""With so many it is the disk and not the jobs: no more are taken on."""
WORKS_MAX: Final = 8
"""Files it works on side by side."""

_log = structlog.get_logger()


class Work(Protocol):
    """A claimed job being validated or published."""

    claim: JobClaim

    async def step(self) -> bool:
        """Do a little; True when all is done. Raises `LeaseLost` when the claim is gone.

        After `Unavailable` it can be called again and goes on from there.
        """
        ...

    def abandon(self) -> None:
        """Leave without a trace."""
        ...


@dataclass(frozen=True, slots=True)
class _HeldUp:
    claim: JobClaim
    until: float
    """By the monotonic clock."""


@dataclass(frozen=True, slots=True)
class ClerkOptions:
    intake: IntakeOptions
    deliverer: DelivererOptions = field(default_factory=DelivererOptions)
    lease_seconds: float = 15.0


class Clerk:
    """One incarnation of a clerk process."""

    def __init__(
        self, identity: str, database: Database, blobs: Blobs, seams: Seams, options: ClerkOptions
    ) -> None:
        self._id = identity
        self._database = database
        self._blobs = blobs
        self._seams = seams
        self._clock: Clock = seams.clock
        self._options = options
        self._lease = Lease(identity, "clerk", database, seams.clock, options.lease_seconds)
        self._thread = seams.threads("files")
        self._janitor = Janitor(database, blobs, seams, self._thread)
        self._deliverer = Deliverer(database, seams, options.deliverer)
        self._works: deque[Work] = deque()
        self._held_up: dict[str, _HeldUp] = {}
        self._poll_at = 0.0
        self._look_at = 0.0
        self._more_wait = False
        """There was more work than it could take on."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then hand claims back. Raises `LeaseLost`."""
        try:
            async with self._lease.held(), self._kept():
                await self._keep_working(stop)
                for work in self._works:
                    work.abandon()
                await self._leave()
        finally:
            self._thread.close()

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        """Keep lease and house and deliver inside; what ends one of them ends the block, as
        itself.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                kept = [
                    tasks.create_task(self._lease.keep()),
                    tasks.create_task(self._keep_house()),
                    tasks.create_task(self._deliverer.run()),
                ]
                yield
                for task in kept:
                    task.cancel()
        except BaseExceptionGroup as group:
            # What followed the first came of it.
            raise group.exceptions[0] from (group if len(group.exceptions) > 1 else None)

    async def _keep_house(self) -> None:
        while True:
            try:
                await self._janitor.step()
            except (Unavailable, OSError) as error:
                _log.warning("can not keep house right now", reason=str(error))
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def _keep_working(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._turn()
            except Unavailable as error:
                _log.warning("can not work right now; trying again", reason=str(error))
                await asyncio.sleep(LOOK_SECONDS)

    async def _leave(self) -> None:
        try:
            await self._database.write(lambda tx: workers.leave(tx, self._id))
        except Unavailable as error:
            _log.warning("left without a word; others will take over", reason=str(error))

    async def _turn(self) -> None:
        now = self._clock.monotonic()
        if await self._is_time_to_look(now):
            await self._drop_overtaken()
            await self._take_on(now)
            self._look_at = now + LOOK_SECONDS
        if self._works:
            await self._step(self._works[0])
            # A step need not wait for anything, and lease and house are kept beside it.
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(POLL_SECONDS)

    async def _is_time_to_look(self, now: float) -> bool:
        """Small jobs are done within a poll, so it does not wait for that while more are there."""
        if self._more_wait and len(self._works) <= WORKS_MAX // 2:
            return True
        if now < self._poll_at:
            return False
        self._poll_at = now + POLL_SECONDS
        return await self._database.changed() or now >= self._look_at

    async def _take_on(self, now: float) -> None:
        """Claim jobs to publish first (somebody waits for results), then to validate."""
        for job_id, held_up in list(self._held_up.items()):
            if held_up.until <= now:
                await self._database.write(partial(jobs.hold_up, claim=held_up.claim, why=None))
                del self._held_up[job_id]
                self._works.append(self._work(held_up.claim))
        self._more_wait = False
        free = WORKS_MAX - len(self._works)
        if free <= 0 or len(self._held_up) >= HELD_UP_MAX:
            return
        # Looking is cheap; a write transaction is not, and there are many looks.
        if await self._database.read(jobs.has_work_for_clerk):
            claims = await self._database.write(partial(self._claim, limit=free))
            self._works += map(self._work, claims)
            self._more_wait = len(claims) == free

    def _claim(self, tx: Connection, limit: int) -> list[JobClaim]:
        due = jobs.claim_publishing(tx, self._id, limit)
        return due + jobs.claim_validation(tx, self._id, limit - len(due))

    def _work(self, claim: JobClaim) -> Work:
        parts = (self._database, self._blobs, self._seams)
        if claim.job.status is JobStatus.VALIDATING:
            return Intake(claim, *parts, self._options.intake, self._thread)
        return Publishing(claim, *parts, self._thread)

    async def _step(self, work: Work) -> None:
        self._works.rotate(-1)
        try:
            if await work.step():
                self._works.remove(work)
        except (LeaseLost, Conflict) as error:
            await self._drop(work, str(error))
        except OSError as error:
            await self._hold_up(work, error)

    async def _hold_up(self, work: Work, error: OSError) -> None:
        """The disk does not play along: this job waits, and is begun afresh; the others go on."""
        claim = work.claim
        name = f" ({Path(error.filename).name})" if isinstance(error.filename, str | Path) else ""
        why = f"{error.strerror or error}{name}"
        _log.warning("the disk refuses; trying again", job=claim.job.id, reason=why)
        self._works.remove(work)
        with suppress(OSError):
            work.abandon()
        self._held_up[claim.job.id] = _HeldUp(claim, self._clock.monotonic() + HOLD_UP_SECONDS)
        await self._database.write(lambda tx: jobs.hold_up(tx, claim, f"the disk refuses: {why}"))

    async def _drop_overtaken(self) -> None:
        if not self._works:
            return
        held = await self._database.read(lambda tx: jobs.claimed_by(tx, self._id))
        for work in list(self._works):
            if (work.claim.job.id, work.claim.epoch) not in held:
                await self._drop(work, "its claim is gone")

    async def _drop(self, work: Work, reason: str) -> None:
        """The job went another way meanwhile: cancelled, expired, taken over."""
        job_id = work.claim.job.id
        _log.info("a job was overtaken", job=job_id, reason=reason)
        work.abandon()
        self._works.remove(work)
        await self._janitor.clear_folder(job_id)
