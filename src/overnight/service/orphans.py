"""The orphans: files that a process left when it died between making them and telling of them.

Each place of the data folder has its rule for whose a name is. In `files`, where bytes come before
their row, a name without one may be about to get it: so nothing is removed that was not without one
at the look before, ten minutes ago, and the last look is in the transaction that removes it. Who
adds a row looks in the same way whether the bytes are still there.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from overnight.domain.errors import NotFound
from overnight.domain.file import result_file_id
from overnight.domain.job import TERMINAL, Job, JobStatus
from overnight.domain.upload import is_upload_id
from overnight.seams import Seams, Threads
from overnight.store import files, jobs, uploads
from overnight.store.blobs import Blobs
from overnight.store.database import Database

EVIDENCE_SECONDS: Final = 30 * 24 * 3600.0
"""How long what a failed job was made from is kept for a look."""
_AT_ONCE: Final = 500

_DRAFT: Final = re.compile(r"(?:plan|output|errors)\.(\d+)\.draft")

_log = structlog.get_logger()


class Orphans:
    """Removes files in `thread`, for that takes long when they are large."""

    def __init__(self, database: Database, blobs: Blobs, seams: Seams, thread: Threads) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = seams.clock
        self._disk = seams.disk
        self._thread = thread
        self._suspects: set[str] = set()
        """Files without an owner at the last look."""

    async def sweep(self) -> None:
        """Look everywhere. Raises `Unavailable` and `OSError`."""
        for name in await self._thread.run(lambda: self._disk.list_folder(self._blobs.jobs_folder)):
            await self.clear_folder(name)
        await self._clear_upload_folders()
        await self._clear_files()

    async def clear_folder(self, job_id: str) -> None:
        """Remove what is left of a job on disk and nobody can want."""
        found = await self._database.read(partial(_find, job_id=job_id))
        if found is None:
            return
        job, epoch = found
        if job.status not in TERMINAL:
            await self._thread.run(lambda: self._remove_drafts(job_id, epoch))
        elif not is_evidence(job, self._clock.now()):
            await self._thread.run(partial(self._blobs.remove_job, job_id))
        else:
            await self._thread.run(lambda: self._remove_drafts(job_id, epoch + 1))

    def _remove_drafts(self, job_id: str, epoch: int) -> None:
        """Those of clerks that had the job before that epoch."""
        folder = self._blobs.job_folder(job_id)
        for name in self._disk.list_folder(folder):
            draft = _DRAFT.fullmatch(name)
            if draft is not None and int(draft[1]) < epoch:
                self._disk.remove(folder / name)

    async def _clear_upload_folders(self) -> None:
        # The names before the rows: a folder is never made before its row.
        names = self._disk.list_folder(self._blobs.uploads_folder)
        needed = await self._database.read(uploads.unended)
        for name in sorted(set(names) - needed):
            if is_upload_id(name):
                await self._thread.run(partial(self._blobs.remove_upload, name))

    async def _clear_files(self) -> None:
        names = await self._thread.run(self._blobs.list_files)
        suspects: set[str] = set()
        for some in _in_pieces(names):
            owned = await self._database.read(partial(_owned, names=some))
            suspects |= set(some) - owned
        for name in sorted(suspects & self._suspects):
            if await self._database.write(partial(self._remove_unowned, name=name)):
                _log.warning("removed a file that nobody owns", file=name)
        self._suspects = suspects

    def _remove_unowned(self, tx: Connection, name: str) -> bool:
        if _owned(tx, [name]):
            return False
        self._blobs.remove_file(name)
        return True


def is_evidence(job: Job, now: float) -> bool:
    """What a job was made from that failed after it was accepted tells what went wrong."""
    entered = job.entered_at
    return (
        job.status is JobStatus.FAILED
        and JobStatus.IN_PROGRESS in entered
        and entered[JobStatus.FAILED] > now - EVIDENCE_SECONDS
    )


def _owned(tx: Connection, names: list[str]) -> set[str]:
    """Those of `names` that some row speaks of, or will."""
    owned = files.with_bytes(tx, names) | uploads.files_to_be(tx, names)
    if len(owned) < len(names):
        # A job's result files get their rows with its end.
        for job_id in jobs.live(tx):
            owned |= {result_file_id(job_id, "output"), result_file_id(job_id, "error")}
    return owned & set(names)


def _in_pieces(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]


def _find(tx: Connection, job_id: str) -> tuple[Job, int] | None:
    try:
        return jobs.get(tx, job_id), jobs.clerk_epoch(tx, job_id)
    except NotFound:
        return None
