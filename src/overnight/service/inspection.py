"""Whether the bytes on disk are those that the database speaks of. Reads; mends nothing.

Safe beside a running service: what looks wrong is looked at again in a later transaction, for
the job may have ended and its files may be gone meanwhile.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from overnight.dispatch.segment import index_segment, segment_path
from overnight.dispatch.window import is_planned
from overnight.domain.errors import Corrupt, NotFound
from overnight.domain.file import FileStatus, result_file_id
from overnight.domain.job import TERMINAL, Job
from overnight.domain.plan import RECORD
from overnight.seams import Disk, ReadFile
from overnight.service.orphans import is_evidence
from overnight.store import files, inspection, jobs, shards
from overnight.store.blobs import Blobs
from overnight.store.inspection import FileRow, ReadOnlyDatabase
from overnight.store.shards import ShardRow

_STEP_FILES: Final = 200


@dataclass(slots=True)
class Inspected:
    """What was found. `damage` is one sentence each."""

    jobs: int = 0
    shards: int = 0
    segments: int = 0
    files: int = 0
    damage: list[str] = field(default_factory=list)
    orphans: list[Path] = field(default_factory=list)
    """Files and folders that no row speaks of."""
    leftovers: list[Path] = field(default_factory=list)
    """Folders of jobs that have ended: the next start removes them."""
    unfinished_uploads: int = 0


class Inspection:
    """`checksums` False: looks whether everything is there, and reads nothing of it."""

    def __init__(
        self,
        database: ReadOnlyDatabase,
        blobs: Blobs,
        disk: Disk,
        now: float,
        *,
        checksums: bool = True,
    ) -> None:
        self.result = Inspected()
        self._database = database
        self._blobs = blobs
        self._disk = disk
        self._now = now
        self._checksums = checksums

    def total_bytes(self) -> int:
        """What `steps` is going to read, about."""
        return self._database.read(inspection.checkable_bytes) if self._checksums else 0

    def steps(self) -> Iterator[int]:
        """Work in short steps; yields how many bytes are read. `result` is final at the end."""
        # Bytes come before their row: names that are listed first have one by the end.
        names = self._disk.list_folder(self._files_folder)
        folders = self._disk.list_folder(self._blobs.jobs_folder)
        incoming = self._disk.list_folder(self._blobs.incoming_path("any").parent)
        in_parts = self._disk.list_folder(self._blobs.uploads_folder)
        self.result.unfinished_uploads = len(incoming) + len(in_parts)
        done = 0
        for job_id in self._database.read(inspection.live_jobs):
            for read_bytes in self._check_job(job_id):
                done += read_bytes
                yield done
        for number, row in enumerate(self._database.read(inspection.ready_files)):
            self._check_file(row)
            if number % _STEP_FILES == 0:
                yield done
        self._find_orphans(names, folders)
        yield done

    @property
    def _files_folder(self) -> Path:
        return self._blobs.file_path("any").parent

    # Jobs

    def _check_job(self, job_id: str) -> Iterator[int]:
        job, rows = self._database.read(partial(_job_and_shards, job_id=job_id))
        if job is None or job.status in TERMINAL or not rows:
            return
        self.result.jobs += 1
        self.result.shards += len(rows)
        try:
            plan = self._disk.open(self._blobs.plan_path(job_id))
        except (OSError, Corrupt) as error:
            self._suspect(job_id, rows[0], f"the plan {_trouble(error)}")
            return
        with closing(plan):
            for row in rows:
                self._check_shard(job_id, plan, row)
                read_bytes = row.plan.requests * RECORD.size + row.segment_bytes
                yield read_bytes if self._checksums else 0

    def _check_shard(self, job_id: str, plan: ReadFile, row: ShardRow) -> None:
        if self._checksums and not is_planned(plan, row.plan):
            self._suspect(job_id, row, f"the plan of shard {row.plan.ordinal} is damaged")
        if not row.settled:
            # Its segment may be torn at the end, which is what recovery is for.
            return
        self.result.segments += 1
        path = segment_path(
            self._blobs.segments_folder(job_id), row.plan.ordinal, row.segment_epoch
        )
        try:
            with closing(self._disk.open(path)) as segment:
                trouble = self._segment_trouble(segment, row)
        except (OSError, Corrupt) as error:
            trouble = _trouble(error)
        if trouble:
            self._suspect(job_id, row, f"the segment of shard {row.plan.ordinal} {trouble}")

    def _segment_trouble(self, segment: ReadFile, row: ShardRow) -> str:
        if not self._checksums:
            size = segment.size()
            return "" if size >= row.segment_bytes else _cut_short(size, row.segment_bytes)
        index = index_segment(segment)
        if (index.size, index.digest) == (row.segment_bytes, row.segment_digest):
            return ""
        return f"has {index.size:,} good bytes of {row.segment_bytes:,}"

    def _suspect(self, job_id: str, row: ShardRow, what: str) -> None:
        """It is damage only if the row still says that it should be otherwise."""
        job, rows = self._database.read(partial(_job_and_shards, job_id=job_id))
        if job is not None and job.status not in TERMINAL and row in rows:
            self.result.damage.append(f"{job_id}: {what}")

    # Files

    def _check_file(self, row: FileRow) -> None:
        self.result.files += 1
        try:
            with closing(self._disk.open(self._blobs.file_path(row.id))) as file:
                size = file.size()
                trouble = "" if size == row.bytes else _cut_short(size, row.bytes)
        except (OSError, Corrupt) as error:
            trouble = _trouble(error)
        if trouble and self._database.read(partial(_is_still, row=row)):
            self.result.damage.append(f"{row.id}: it {trouble}")

    def _is_leftover(self, job: Job) -> bool:
        return job.status in TERMINAL and not is_evidence(job, self._now)

    def _find_orphans(self, names: list[str], folders: list[str]) -> None:
        known, live = self._database.read(
            lambda tx: (inspection.known_files(tx), inspection.live_jobs(tx))
        )
        # Those of a job that is being published get their rows with its end.
        known |= {result_file_id(job_id, "output") for job_id in live}
        known |= {result_file_id(job_id, "error") for job_id in live}
        self.result.orphans += [self._files_folder / name for name in names if name not in known]
        for name in folders:
            job, _ = self._database.read(partial(_job_and_shards, job_id=name))
            path = self._blobs.jobs_folder / name
            if job is None:
                self.result.orphans.append(path)
            elif self._is_leftover(job) and self._disk.list_folder(path):
                self.result.leftovers.append(path)


def _job_and_shards(tx: Connection, job_id: str) -> tuple[Job | None, list[ShardRow]]:
    try:
        return jobs.get(tx, job_id), shards.of_job(tx, job_id)
    except NotFound:
        return None, []


def _is_still(tx: Connection, row: FileRow) -> bool:
    try:
        file = files.get(tx, row.id)
    except NotFound:
        return False
    return file.status is FileStatus.READY and file.bytes == row.bytes


def _cut_short(size: int, wanted: int) -> str:
    return f"has {size:,} bytes instead of {wanted:,}"


def _trouble(error: OSError | Corrupt) -> str:
    if isinstance(error, FileNotFoundError):
        return "is missing"
    if isinstance(error, Corrupt):
        return f"is damaged: {error}"
    return f"can not be read: {error.strerror or error}"
