"""The finalizer: writes a job's result files and ends it.

The walk over the plan decides what is in the files; counters come from it too. Files get
their names by rename, then one fenced transaction adds their rows and advances the job. Run
twice it gives the same: file ids are derived from the job.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Connection

from overnight.domain.file import FileStatus, StoredFile, result_file_id
from overnight.domain.job import Job, JobEvent, JobStatus
from overnight.domain.result_line import Unsent
from overnight.seams import AppendFile, ReadFile, Seams, Threads
from overnight.service.assembly import Assembled, Assembly, AssemblyInput, ShardResult
from overnight.store import files, jobs, shards
from overnight.store.blobs import Blobs
from overnight.store.database import Database
from overnight.store.jobs import JobClaim, Published

_UNSENT: Final = {
    JobStatus.FINALIZING: None,
    JobStatus.CANCELLING: Unsent.CANCELLED,
    JobStatus.EXPIRING: Unsent.EXPIRED,
    JobStatus.FAILING: None,
}
"""What a request without an outcome means, by the state the job is published from."""


class Publishing:
    """The publication of one job, in steps."""

    def __init__(
        self, claim: JobClaim, database: Database, blobs: Blobs, seams: Seams, thread: Threads
    ) -> None:
        self.claim = claim
        self._database = database
        self._blobs = blobs
        self._seams = seams
        self._disk = seams.disk
        self._thread = thread
        self._assembly: Assembly | None = None
        self._steps: Iterator[int] = iter(())
        self._reads: list[ReadFile] = []
        self._writes: list[AppendFile] = []

    async def step(self) -> bool:
        """Write a little; at the end, publish. Raises `LeaseLost`, `Conflict`."""
        if self._assembly is None:
            return not await self._begin()
        if next(self._steps, None) is not None:
            return False
        await self._publish(self._assembly.result)
        return True

    def abandon(self) -> None:
        self._close()
        for draft in self._drafts:
            self._disk.remove(draft)

    @property
    def _drafts(self) -> tuple[Path, Path]:
        folder, epoch = self._blobs.job_folder(self.claim.job.id), self.claim.epoch
        return folder / f"output.{epoch}.draft", folder / f"errors.{epoch}.draft"

    async def _begin(self) -> bool:
        job = self.claim.job
        rows = await self._database.read(lambda tx: shards.of_job(tx, job.id))
        try:
            plan_file = self._open(self._blobs.plan_path(job.id))
            input_file = self._open(self._blobs.file_path(job.input_file_id))
        except FileNotFoundError as error:
            await self._give_up(f"{Path(error.filename).name} is missing")
            return False
        source = AssemblyInput(
            job_hex=job.id.rpartition("_")[2],
            plan_file=plan_file,
            input_file=input_file,
            segments=self._blobs.segments_folder(job.id),
            shards=[_shard_result(row) for row in rows],
            unsent=_UNSENT[job.status],
        )
        output, errors = (self._create(draft) for draft in self._drafts)
        self._assembly = Assembly(source, self._disk, output, errors)
        self._steps = self._assembly.steps()
        return True

    async def _publish(self, result: Assembled) -> None:
        for file in self._writes:
            await self._thread.run(file.datasync)
        self._close()
        now = self._seams.clock.now()
        drafts = self._drafts
        output = self._place(drafts[0], "output", result.output_bytes, now)
        errors = self._place(drafts[1], "error", result.error_bytes, now)
        published = Published(
            event=JobEvent.SALVAGED if result.lost or result.damage else JobEvent.PUBLISHED,
            output_file_id=output.id if output else None,
            error_file_id=errors.id if errors else None,
            counts=result.counts,
            failure=_failure(result),
        )

        def write(tx: Connection) -> None:
            for file in (output, errors):
                if file is not None:
                    files.add(tx, file)
            jobs.publish(tx, self.claim, published, now)

        await self._database.write(write)
        if published.event is JobEvent.PUBLISHED:
            self._blobs.remove_job(self.claim.job.id)

    def _place(
        self, draft: Path, kind: Literal["output", "error"], size: int, now: float
    ) -> StoredFile | None:
        """Give a result file its final name; a file without lines is none."""
        if not size:
            self._disk.remove(draft)
            return None
        job = self.claim.job
        file_id = result_file_id(job.id, kind)
        self._disk.publish(draft, self._blobs.file_path(file_id))
        return _result_file(job, file_id, kind, size, now)

    async def _give_up(self, why: str) -> None:
        """Nothing can be read: end the job without files."""
        self._close()
        published = Published(
            event=JobEvent.SALVAGED,
            output_file_id=None,
            error_file_id=None,
            counts=self.claim.job.counts,
            failure=f"The results could not be read back from storage: {why}.",
        )
        now = self._seams.clock.now()
        await self._database.write(lambda tx: jobs.publish(tx, self.claim, published, now))

    def _open(self, path: Path) -> ReadFile:
        file = self._disk.open(path)
        self._reads.append(file)
        return file

    def _create(self, path: Path) -> AppendFile:
        self._disk.remove(path)
        file = self._disk.create(path)
        self._writes.append(file)
        return file

    def _close(self) -> None:
        for source in self._reads:
            source.close()
        for target in self._writes:
            target.close()
        self._reads.clear()
        self._writes.clear()


def _shard_result(row: shards.ShardRow) -> ShardResult:
    if not row.settled:
        return ShardResult(row.plan, row.epoch, settled=False)
    return ShardResult(row.plan, row.segment_epoch, True, row.segment_bytes, row.segment_digest)


def _result_file(
    job: Job, file_id: str, kind: Literal["output", "error"], size: int, now: float
) -> StoredFile:
    return StoredFile(
        id=file_id,
        tenant=job.tenant,
        name=f"{job.id}_{kind}.jsonl",
        purpose="batch_output",
        bytes=size,
        created_at=now,
        status=FileStatus.READY,
    )


def _failure(result: Assembled) -> str | None:
    if not result.lost and not result.damage:
        return None
    damage = f" ({'; '.join(result.damage[:3])})" if result.damage else ""
    return f"{result.lost:,} results could not be read back from storage{damage}."
