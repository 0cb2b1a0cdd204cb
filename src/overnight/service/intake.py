"""Intake: a claimed VALIDATING job is read once, and accepted with its plan or rejected.

The plan is written under a name of this claim's own, synced and renamed; then one fenced
transaction inserts all shards and advances the job. A crash before it leaves only rubbish.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from overnight.domain.block_digests import BlockDigests
from overnight.domain.errors import Corrupt
from overnight.domain.fault_codes import FaultCode
from overnight.domain.job import Job
from overnight.domain.request import Fault, LineRules
from overnight.seams import AppendFile, ReadFile, Seams, Threads
from overnight.service.validator import Validation, ValidationProgress
from overnight.store import files, jobs, lanes
from overnight.store.blobs import Blobs
from overnight.store.database import Database
from overnight.store.jobs import Accepted, JobClaim
from overnight.store.verified import verified


@dataclass(frozen=True, slots=True)
class IntakeOptions:
    rules: LineRules
    """The limits of all jobs; endpoint and form come from each."""


class Intake:
    """The validation of one job, in steps."""

    def __init__(
        self,
        claim: JobClaim,
        database: Database,
        blobs: Blobs,
        seams: Seams,
        options: IntakeOptions,
        thread: Threads,
    ) -> None:
        self.claim = claim
        self._database = database
        self._blobs = blobs
        self._disk = seams.disk
        self._clock = seams.clock
        self._options = options
        self._thread = thread
        self._validation: Validation | None = None
        self._steps: Iterator[ValidationProgress] = iter(())
        self._input: ReadFile | None = None
        self._plan: AppendFile | None = None
        self._verdict: Callable[[Connection], None] | None = None
        """What is left to write once all is read."""
        self._rejected = False

    async def step(self) -> bool:
        """Read a little; at the end, say what came of it.

        Raises `LeaseLost`, `Conflict`, `OSError`.
        """
        if self._verdict is None:
            if self._validation is None:
                await self._begin()
            elif self._read_on():
                await self._conclude(self._validation)
        if self._verdict is None:
            return False
        await self._database.write(self._verdict)
        if self._rejected:
            await self._thread.run(partial(self._blobs.remove_job, self.claim.job.id))
        return True

    def abandon(self) -> None:
        self._close()
        self._disk.remove(self._draft)

    @property
    def _draft(self) -> Path:
        path = self._blobs.plan_path(self.claim.job.id)
        return path.with_name(f"{path.name}.{self.claim.epoch}.draft")

    async def _begin(self) -> None:
        job = self.claim.job
        served, digests = await self._database.read(
            lambda tx: (served_models(tx), files.digests(tx, job.input_file_id))
        )
        self._disk.make_folder(self._blobs.segments_folder(job.id))
        self._disk.remove(self._draft)
        try:
            self._input = self._open(digests)
        except FileNotFoundError:
            self._reject([_gone(job.input_file_id)])
            return
        except Corrupt as error:
            self._reject([_damaged(job.input_file_id, error)])
            return
        self._plan = self._disk.create(self._draft)
        rules = rules_of(job, self._options.rules)
        self._validation = Validation(self._input, self._plan, rules, served)
        self._steps = self._validation.steps()

    def _open(self, digests: BlockDigests | None) -> ReadFile:
        job = self.claim.job
        opened = self._disk.open(self._blobs.file_path(job.input_file_id))
        if (size := opened.size()) != job.input_bytes:
            opened.close()
            raise Corrupt(f"it has {size:,} bytes, and {job.input_bytes:,} were uploaded")
        return verified(opened, "it", digests)

    def _read_on(self) -> bool:
        """True when all is read."""
        try:
            return next(self._steps, None) is None
        except Corrupt as error:
            self._reject([_damaged(self.claim.job.input_file_id, error)])
            return False

    async def _conclude(self, validation: Validation) -> None:
        """Make the plan durable, or throw it away; what is left is one transaction."""
        plan = validation.plan
        if plan is None or self._plan is None:
            self._reject(validation.faults)
            return
        await self._thread.run(self._plan.datasync)
        self._close()
        self._disk.publish(self._draft, self._blobs.plan_path(self.claim.job.id))
        accepted = Accepted(total=plan.total, model=plan.model)
        self._verdict = lambda tx: jobs.accept(
            tx, self.claim, plan.shards, accepted, self._clock.now()
        )

    def _reject(self, faults: list[Fault]) -> None:
        self._close()
        self._rejected = True
        self._verdict = lambda tx: jobs.reject(tx, self.claim, faults, self._clock.now())

    def _close(self) -> None:
        for file in (self._input, self._plan):
            if file is not None:
                file.close()


def _gone(file_id: str) -> Fault:
    message = f"Cannot find file {file_id}: it is gone. Upload it again, and create a new batch."
    return Fault(FaultCode.INVALID_REQUEST, message, param="file_id")


def _damaged(file_id: str, error: Corrupt) -> Fault:
    message = (
        f"Cannot read file {file_id} back from storage: {error}. Upload it again, and create a "
        "new batch."
    )
    return Fault(FaultCode.INVALID_REQUEST, message, param="file_id")


def rules_of(job: Job, limits: LineRules) -> LineRules:
    """What this job's lines must be: its endpoint and model, and whether `method` and `url` are
    needed."""
    routed = job.line_rules == "openai"
    return replace(limits, endpoint=job.endpoint, routed=routed, model=job.model)


def served_models(tx: Connection) -> frozenset[str] | None:
    """All models there are; None when some upstream takes any, or has not answered yet."""
    rows = lanes.all(tx)
    if not rows or any(not row.answered or row.models is None for row in rows):
        return None
    return frozenset(model for row in rows for model in row.models or ())
