"""The clerk: validates new jobs, publishes finished ones, keeps house.

All of it is work over whole files, done in steps of some ten milliseconds that take turns, so
that neither a deadline nor a small job waits behind a large file.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection

from overnight.domain.errors import Conflict, LeaseLost, Unavailable
from overnight.seams import Clock, Seams
from overnight.service.finalizer import Publishing
from overnight.service.intake import Intake, IntakeOptions
from overnight.service.janitor import Janitor
from overnight.store import jobs, workers
from overnight.store.blobs import Blobs
from overnight.store.database import Database
from overnight.store.jobs import JobClaim

POLL_SECONDS: Final = 0.025
LOOK_SECONDS: Final = 1.0
"""How often it looks for work when nothing seems to have changed."""
HOUSEKEEPING_SECONDS: Final = 1.0
WORKS_MAX: Final = 8
"""Files it works on side by side."""

_log = structlog.get_logger()


class Work(Protocol):
    """A claimed job being validated or published."""

    claim: JobClaim

    async def step(self) -> bool:
        """Do a little; True when all is done. Raises `LeaseLost` when the claim is gone."""
        ...

    def abandon(self) -> None:
        """Leave without a trace."""
        ...


@dataclass(frozen=True, slots=True)
class ClerkOptions:
    intake: IntakeOptions
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
        self._thread = seams.threads("files")
        self._janitor = Janitor(database, blobs, seams)
        self._works: deque[Work] = deque()
        self._look_at = 0.0
        self._housekeeping_at = 0.0
        self._renew_at = 0.0
        self._fence_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then hand claims back. Raises `LeaseLost`."""
        await self._register()
        try:
            while not stop.is_set():
                try:
                    await self._turn()
                except Unavailable as error:
                    _log.warning("can not work right now; trying again", reason=str(error))
                    await asyncio.sleep(LOOK_SECONDS)
            for work in self._works:
                work.abandon()
            await self._database.write(lambda tx: workers.leave(tx, self._id))
        finally:
            self._thread.close()

    async def _register(self) -> None:
        asked = self._clock.monotonic()
        until = self._clock.now() + self._options.lease_seconds
        now = self._clock.now()
        await self._database.write(lambda tx: workers.register(tx, self._id, "clerk", now, until))
        self._renewed(asked)
        await self._janitor.clear_folders()

    def _renewed(self, asked: float) -> None:
        self._fence_at = asked + self._options.lease_seconds - 2.0
        self._renew_at = asked + self._options.lease_seconds / 3

    async def _turn(self) -> None:
        now = self._clock.monotonic()
        if now >= self._renew_at:
            await self._renew(now)
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + HOUSEKEEPING_SECONDS
            await self._janitor.step()
            await self._drop_overtaken()
        if now >= self._look_at or await self._database.changed():
            self._look_at = now + LOOK_SECONDS
            await self._take_on()
        if self._works:
            await self._step(self._works[0])
        else:
            await asyncio.sleep(POLL_SECONDS)

    async def _renew(self, asked: float) -> None:
        if asked > self._fence_at:
            raise LeaseLost("the lease could not be renewed in time")
        until = self._clock.now() + self._options.lease_seconds
        if not await self._database.write(lambda tx: workers.renew(tx, self._id, until)):
            raise LeaseLost("this clerk was declared dead")
        self._renewed(asked)

    async def _take_on(self) -> None:
        """Claim jobs to publish first (somebody waits for results), then to validate."""
        while len(self._works) < WORKS_MAX:
            # Looking is cheap; a write transaction is not, and there are many looks.
            if not await self._database.read(jobs.has_work_for_clerk):
                return
            work = await self._database.write(self._claim)
            if work is None:
                return
            self._works.append(work)

    def _claim(self, tx: Connection) -> Work | None:
        now, parts = self._clock.now(), (self._database, self._blobs, self._seams)
        claim = jobs.claim_publishing(tx, self._id, now)
        if claim is not None:
            return Publishing(claim, *parts, self._thread)
        claim = jobs.claim_validation(tx, self._id, now)
        if claim is not None:
            return Intake(claim, *parts, self._options.intake, self._thread)
        return None

    async def _step(self, work: Work) -> None:
        self._works.rotate(-1)
        try:
            done = await work.step()
        except (LeaseLost, Conflict) as error:
            # The job went another way meanwhile: cancelled, expired, taken over.
            _log.info("a job was overtaken", job=work.claim.job.id, reason=str(error))
            work.abandon()
            done = True
        if done:
            self._works.remove(work)

    async def _drop_overtaken(self) -> None:
        for work in list(self._works):
            claim = work.claim
            if not await self._database.read(partial(jobs.still_claimed, claim=claim)):
                work.abandon()
                self._works.remove(work)
