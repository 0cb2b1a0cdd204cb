"""The janitor: frees what the dead held, ends what is overdue, removes what nobody needs."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from overnight.domain.errors import Conflict, NotFound
from overnight.domain.job import TERMINAL, JobEvent, JobStatus
from overnight.seams import Seams
from overnight.store import files, jobs, workers
from overnight.store.blobs import Blobs
from overnight.store.database import Database

PURGE_SECONDS: Final = 30.0
BYTES_OUTLIVE_ROWS_SECONDS: Final = 600.0
"""A download that is under way when its file is deleted may end."""
ABANDONED_UPLOAD_SECONDS: Final = 24 * 3600.0
_AT_ONCE: Final = 100

_log = structlog.get_logger()


class Janitor:
    def __init__(self, database: Database, blobs: Blobs, seams: Seams) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = seams.clock
        self._disk = seams.disk
        self._purge_at = 0.0

    async def step(self) -> None:
        """One look round; cheap when there is nothing to do."""
        now = self._clock.now()
        gone, overdue = await self._database.read(
            lambda tx: (workers.lapsed(tx, now), jobs.past_deadline(tx, now, _AT_ONCE))
        )
        if gone:
            freed = await self._database.write(lambda tx: workers.reclaim(tx, gone, now))
            _log.warning("workers fell silent", workers=list(gone), claims_freed=freed)
        if overdue:
            await self._database.write(lambda tx: _expire(tx, overdue, now))
        monotonic = self._clock.monotonic()
        if monotonic >= self._purge_at:
            self._purge_at = monotonic + PURGE_SECONDS
            await self._purge(now)
            await self._database.checkpoint()

    async def _purge(self, now: float) -> None:
        """Rows first, bytes ten minutes later."""
        expired = await self._database.read(lambda tx: files.expired(tx, now))
        before = now - ABANDONED_UPLOAD_SECONDS
        stale = await self._database.read(lambda tx: files.stale_pending(tx, before))
        forgotten = [*expired, *stale]
        if forgotten:
            await self._database.write(lambda tx: _forget(tx, forgotten, now))
        ids = await self._database.read(
            lambda tx: files.purgeable(tx, now, BYTES_OUTLIVE_ROWS_SECONDS)
        )
        if ids:
            for file_id in ids:
                self._blobs.remove_file(file_id)
            await self._database.write(lambda tx: files.purged(tx, ids))

    async def clear_folders(self) -> None:
        """Remove what jobs that have ended left behind when a process died."""
        for name in self._disk.list_folder(self._blobs.jobs_folder):
            status = await self._database.read(partial(_status, job_id=name))
            # What a FAILED job's files were made from is evidence.
            if status in TERMINAL - {JobStatus.FAILED}:
                self._blobs.remove_job(name)


def _expire(tx: Connection, overdue: Sequence[str], now: float) -> None:
    for job_id in overdue:
        with suppress(Conflict):
            jobs.advance(tx, job_id, JobEvent.DEADLINE_PASSED, now)


def _forget(tx: Connection, ids: Sequence[str], now: float) -> None:
    for file_id in ids:
        files.forget(tx, file_id, now)


def _status(tx: Connection, job_id: str) -> JobStatus | None:
    try:
        return jobs.get(tx, job_id).status
    except NotFound:
        return None
