"""The janitor: frees what the dead held, ends what is overdue, removes what nobody needs."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from overnight.domain.errors import Conflict, NotFound
from overnight.domain.job import JobEvent
from overnight.seams import Seams, Threads
from overnight.service.orphans import Orphans
from overnight.store import files, jobs, uploads, workers
from overnight.store.blobs import Blobs
from overnight.store.database import Database

PURGE_SECONDS: Final = 30.0
SWEEP_SECONDS: Final = 600.0
BYTES_OUTLIVE_ROWS_SECONDS: Final = 600.0
"""A download that is under way when its file is deleted may end."""
ABANDONED_UPLOAD_SECONDS: Final = 24 * 3600.0
TOMBSTONE_SECONDS: Final = 30 * 24 * 3600.0
"""Nobody goes on with a list, or asks how an upload ended, after that time."""
_AT_ONCE: Final = 100

_log = structlog.get_logger()


class Janitor:
    """Removes files in `thread`, for that takes long when they are large."""

    def __init__(self, database: Database, blobs: Blobs, seams: Seams, thread: Threads) -> None:
        self._database = database
        self._blobs = blobs
        self._thread = thread
        self._clock = seams.clock
        self._orphans = Orphans(database, blobs, seams, thread)
        self._purge_at = 0.0
        self._sweep_at = 0.0

    async def step(self) -> None:
        """One look round; cheap when there is nothing to do."""
        now = self._clock.now()
        gone, overdue = await self._database.read(
            lambda tx: (workers.lapsed(tx, now), jobs.past_deadline(tx, now, _AT_ONCE))
        )
        if gone:
            await self._reclaim(now)
        if overdue:
            await self._database.write(lambda tx: _expire(tx, overdue, now))
        if self._clock.monotonic() >= self._purge_at:
            await self._purge(now)
            await self._database.checkpoint()
            self._purge_at = self._clock.monotonic() + PURGE_SECONDS
        if self._clock.monotonic() >= self._sweep_at:
            await self._orphans.sweep()
            self._sweep_at = self._clock.monotonic() + SWEEP_SECONDS

    async def _reclaim(self, now: float) -> None:
        def write(tx: Connection) -> tuple[list[str], int]:
            # Looked up again: who has renewed since the look is alive.
            gone = workers.lapsed(tx, now)
            return gone, workers.reclaim(tx, gone, now)

        gone, freed = await self._database.write(write)
        _log.warning("workers fell silent", workers=gone, claims_freed=freed)

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
            gone = [each for each in ids if await self._remove(self._blobs.remove_file, each)]
            await self._database.write(lambda tx: files.purged(tx, gone, now))
        await self._database.write(lambda tx: _pass_time(tx, now))
        await self._clear_uploads()

    async def _clear_uploads(self) -> None:
        """Remove what has arrived of uploads that have ended."""
        ids = await self._database.read(uploads.clearable)
        if ids:
            gone = [each for each in ids if await self._remove(self._blobs.remove_upload, each)]
            await self._database.write(lambda tx: uploads.cleared(tx, gone))

    async def clear_folder(self, job_id: str) -> None:
        """Remove what is left of a job on disk, if it has ended and nobody can want it."""
        await self._orphans.clear_folder(job_id)

    async def _remove(self, remove: Callable[[str], None], name: str) -> bool:
        """One that can not be removed now is tried again, and keeps no other."""
        try:
            await self._thread.run(partial(remove, name))
        except OSError as error:
            _log.warning("can not be removed; trying again", name=name, reason=str(error))
            return False
        return True


def _expire(tx: Connection, overdue: Sequence[str], now: float) -> None:
    for job_id in overdue:
        with suppress(Conflict):
            jobs.advance(tx, job_id, JobEvent.DEADLINE_PASSED, now)


def _forget(tx: Connection, ids: Sequence[str], now: float) -> None:
    for file_id in ids:
        # Since we looked, a job may have begun to use it, or its owner deleted it.
        with suppress(NotFound):
            if files.reader_of(tx, file_id) is None:
                files.forget(tx, file_id, now)


def _pass_time(tx: Connection, now: float) -> None:
    uploads.expire(tx, now, now - ABANDONED_UPLOAD_SECONDS)
    files.forget_tombstones(tx, now - TOMBSTONE_SECONDS)
    uploads.forget_ended(tx, now - TOMBSTONE_SECONDS)
