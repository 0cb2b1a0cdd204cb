"""The finalizer: writes a job's result files and ends it.

The walk over the plan decides what is in the files; counters come from it too. Files get
their names by rename, then one fenced transaction adds their rows and advances the job. Run
twice it gives the same: file ids are derived from the job.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

import structlog
from sqlalchemy import Connection

from overnight.domain.block_digests import BlockDigests
from overnight.domain.errors import Corrupt
from overnight.domain.file import FileStatus, StoredFile, result_file_id
from overnight.domain.job import Job, JobEvent, JobStatus
from overnight.domain.result_line import Unsent
from overnight.seams import AppendFile, ReadFile, Seams, Threads
from overnight.service.assembly import Assembled, Assembly, AssemblyInput, ShardResult
from overnight.service.salvage import Nothing, PlanCheck, PlanRepair
from overnight.store import files, jobs, shards
from overnight.store.blobs import Blobs
from overnight.store.database import Database
from overnight.store.jobs import JobClaim, Published
from overnight.store.verified import verified

SYNC_BYTES: Final = 64 * 1024 * 1024
"""Written since the last sync; small enough for a disk to be done with soon."""

_UNSENT: Final = {
    JobStatus.FINALIZING: None,
    JobStatus.CANCELLING: Unsent.CANCELLED,
    JobStatus.EXPIRING: Unsent.EXPIRED,
    JobStatus.FAILING: None,
}
"""What a request without an outcome means, by the state the job is published from."""

_log = structlog.get_logger()


class _Made(NamedTuple):
    """A result file in its place, and what its row will say."""

    file: StoredFile
    digests: BlockDigests


class _Verdict(NamedTuple):
    published: Published
    files: list[_Made]


class Publishing:
    """The publication of one job, in steps."""

    def __init__(
        self, claim: JobClaim, database: Database, blobs: Blobs, seams: Seams, thread: Threads
    ) -> None:
        self.claim = claim
        self._database = database
        self._blobs = blobs
        self._clock = seams.clock
        self._disk = seams.disk
        self._thread = thread
        self._shards: list[ShardResult] = []
        self._plan: ReadFile = Nothing()
        self._input: ReadFile = Nothing()
        self._preparation: Iterator[None] | None = None
        self._assembly: Assembly | None = None
        self._steps: Iterator[int] = iter(())
        self._reads: list[ReadFile] = []
        self._writes: list[AppendFile] = []
        self._synced_bytes = 0
        self._verdict: _Verdict | None = None
        """What is left to write once the files are in their place."""

    async def step(self) -> bool:
        """Write a little; at the end, publish. Raises `LeaseLost`, `Conflict`, `OSError`."""
        if self._verdict is None:
            if self._preparation is None:
                self._preparation = await self._begin()
            elif self._assembly is None:
                if next(self._preparation, self) is self:
                    self._assemble()
            elif next(self._steps, None) is None:
                await self._conclude(self._assembly.result)
            elif self._assembly.written_bytes - self._synced_bytes > SYNC_BYTES:
                await self._sync(self._assembly.written_bytes)
        if self._verdict is None:
            return False
        await self._publish(self._verdict)
        return True

    def abandon(self) -> None:
        self._close()
        for draft in (*self._drafts, self._plan_draft):
            self._disk.remove(draft)

    @property
    def _drafts(self) -> tuple[Path, Path]:
        folder, epoch = self._blobs.job_folder(self.claim.job.id), self.claim.epoch
        return folder / f"output.{epoch}.draft", folder / f"errors.{epoch}.draft"

    @property
    def _plan_draft(self) -> Path:
        return self._blobs.plan_path(self.claim.job.id).with_name(f"plan.{self.claim.epoch}.draft")

    async def _begin(self) -> Iterator[None]:
        job = self.claim.job
        rows, digests = await self._database.read(
            lambda tx: (shards.of_job(tx, job.id), files.digests(tx, job.input_file_id))
        )
        self._shards = [_shard_result(row) for row in rows]
        # A job whose folder is gone still gets its result files.
        self._disk.make_folder(self._blobs.job_folder(job.id))
        self._plan = self._open(self._blobs.plan_path(job.id))
        input_file = self._open(self._blobs.file_path(job.input_file_id))
        self._input = verified(input_file, "the input file", digests)
        return self._prepare()

    def _prepare(self) -> Iterator[None]:
        """Go over the plan; one that is damaged is made again, if the input still gives it."""
        plans = [shard.plan for shard in self._shards]
        check = PlanCheck(self._plan, plans)
        yield from check.steps()
        if not check.damaged:
            return
        draft = self._create(self._plan_draft)
        repair = PlanRepair(self.claim.job, self._input, draft, plans)
        yield from repair.steps()
        told = {"job": self.claim.job.id, "repaired": repair.done}
        _log.error("the plan is damaged", **told)
        if repair.done:
            self._plan = self._open(self._plan_draft)

    def _assemble(self) -> None:
        job = self.claim.job
        source = AssemblyInput(
            job_hex=job.id.rpartition("_")[2],
            plan_file=self._plan,
            input_file=self._input,
            segments=self._blobs.segments_folder(job.id),
            shards=self._shards,
            unsent=_UNSENT[job.status],
        )
        output, errors = (self._create(draft) for draft in self._drafts)
        self._assembly = Assembly(source, self._disk, output, errors)
        self._steps = self._assembly.steps()

    async def _sync(self, written_bytes: int) -> None:
        """A little at a time: one sync of a huge file would keep all other jobs waiting."""

        def sync(files: Sequence[AppendFile]) -> None:
            for file in files:
                file.datasync()

        await self._thread.run(partial(sync, tuple(self._writes)))
        self._synced_bytes = written_bytes

    async def _conclude(self, result: Assembled) -> None:
        """Put the files into their place, durably; what is left is one transaction."""
        await self._sync(result.output_bytes + result.error_bytes)
        self._close()
        now, drafts = self._clock.now(), self._drafts
        self._disk.remove(self._plan_draft)
        output = self._place(drafts[0], "output", result.output_bytes, now)
        errors = self._place(drafts[1], "error", result.error_bytes, now)
        made = []
        if output:
            made.append(_Made(output, result.output_digests))
        if errors:
            made.append(_Made(errors, result.error_digests))
        published = Published(
            event=JobEvent.SALVAGED if result.lost or result.damage else JobEvent.PUBLISHED,
            output_file_id=output.id if output else None,
            error_file_id=errors.id if errors else None,
            counts=result.counts,
            failure=_failure(result),
        )
        self._verdict = _Verdict(published, made)

    async def _publish(self, verdict: _Verdict) -> None:
        published, now = verdict.published, self._clock.now()

        def write(tx: Connection) -> None:
            for made in verdict.files:
                files.add(tx, made.file, made.digests)
            jobs.publish(tx, self.claim, published, now)

        await self._database.write(write)
        whole = published.event is JobEvent.PUBLISHED
        if whole and self.claim.job.status is not JobStatus.FAILING:
            await self._thread.run(partial(self._blobs.remove_job, self.claim.job.id))

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

    def _open(self, path: Path) -> ReadFile:
        """What is lost is read as nothing; what is made of that says so."""
        try:
            file = self._disk.open(path)
        except (FileNotFoundError, Corrupt) as error:
            _log.error("a file of a job is lost", job=self.claim.job.id, reason=str(error))
            return Nothing()
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
    lifetime = job.output_expires_after_seconds
    return StoredFile(
        id=file_id,
        tenant=job.tenant,
        name=f"{job.id}_{kind}.jsonl",
        purpose="batch_output",
        bytes=size,
        created_at=now,
        expires_at=None if lifetime is None else now + lifetime,
        status=FileStatus.READY,
    )


def _failure(result: Assembled) -> str | None:
    if not result.lost and not result.damage:
        return None
    damage = f" ({'; '.join(result.damage[:3])})" if result.damage else ""
    what = f"{result.lost:,} results" if result.lost else "Some of what the job was made from"
    return f"{what} could not be read back from storage{damage}."
