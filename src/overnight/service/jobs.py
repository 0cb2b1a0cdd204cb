"""Jobs: what the APIs call batches. Everything slow happens after the answer, in the clerk."""

from collections.abc import Sequence

from sqlalchemy import Connection

from overnight.domain.errors import Conflict
from overnight.domain.job import TERMINAL, Job, JobEvent, JobStatus
from overnight.seams import Seams
from overnight.service.submission import JobsOptions, Sending, Submission, SubmitJob, Submitted
from overnight.service.waiting import Situation, why_waiting
from overnight.store import jobs as job_rows
from overnight.store import lanes, shards, workers
from overnight.store.blobs import SCARCE_BYTES, Blobs
from overnight.store.database import Database


class Jobs:
    """Submit, get, list and cancel."""

    def __init__(
        self, database: Database, blobs: Blobs, seams: Seams, options: JobsOptions
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = seams.clock
        self._chance = seams.chance
        self._options = options

    async def submit(self, wish: SubmitJob, sending: Sending) -> Submitted:
        """Answers at once and never reads the file; raises `InvalidRequest` and `Conflict`."""
        submission = Submission(wish, sending, self._options)
        job_id = f"batch_{self._chance.token(24)}"
        now = self._clock.now()
        return await self._database.write(lambda tx: submission.carry_out(tx, job_id, now))

    async def get(self, job_id: str, tenant: str | None) -> Job:
        """Raises `NotFound`."""
        return await self._database.read(lambda tx: job_rows.get(tx, job_id, tenant))

    async def page(
        self, tenant: str, *, after: str | None = None, limit: int | None = None
    ) -> tuple[list[Job], bool]:
        """Newest first; the flag says whether more follow. Raises `InvalidRequest` on `after`."""
        return await self._database.read(lambda tx: job_rows.page(tx, tenant, after, limit))

    async def cancel(self, job_id: str, tenant: str | None) -> Job:
        """Asking twice is fine. Raises `NotFound`, and `Conflict` when it is too late."""
        now = self._clock.now()

        def cancel(tx: Connection) -> Job:
            job = job_rows.get(tx, job_id, tenant)
            try:
                job_rows.advance(tx, job_id, JobEvent.CANCEL_REQUESTED, now)
            except Conflict as error:
                raise Conflict(
                    f"Cannot cancel a batch with status '{job.status.value}'.",
                    code="batch_not_cancellable",
                ) from error
            return job_rows.get(tx, job_id)

        return await self._database.write(cancel)

    async def waiting_for(self, job: Job) -> str | None:
        """One sentence why the job does not move; None when it does, or has ended."""
        return (await self.all_waiting_for([job])).get(job.id)

    async def all_waiting_for(self, jobs: Sequence[Job]) -> dict[str, str]:
        """The sentence of each of `jobs` that does not move, by id."""
        live = [job for job in jobs if job.status not in TERMINAL]
        if not live:
            return {}
        now, disk_full = self._clock.now(), self._blobs.room() < SCARCE_BYTES

        def look(tx: Connection) -> dict[str, str]:
            situation = Situation(
                clerk_alive=workers.alive(tx, "clerk", now),
                worker_alive=workers.alive(tx, "worker", now),
                lanes=lanes.all(tx),
                now=now,
                disk_full=disk_full,
            )
            sentences = {}
            for job in live:
                running = job.status is JobStatus.IN_PROGRESS
                models = shards.open_models(tx, job.id) if running else []
                sentences[job.id] = why_waiting(job, models, situation)
            return {job_id: why for job_id, why in sentences.items() if why is not None}

        return await self._database.read(look)
