"""Jobs: what the APIs call batches. Everything slow happens after the answer, in the clerk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from overnight.domain.errors import Conflict, InvalidRequest, NotFound
from overnight.domain.file import FileStatus, StoredFile
from overnight.domain.job import TERMINAL, Job, JobEvent, JobStatus
from overnight.seams import Seams
from overnight.service.files import BATCH_INPUT
from overnight.service.waiting import Situation, why_waiting
from overnight.store import files as file_rows
from overnight.store import jobs as job_rows
from overnight.store import lanes, shards, workers
from overnight.store.database import Database

WINDOW: Final = "24h"
WINDOW_SECONDS: Final = 24 * 3600.0
DEFAULT_ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")

_METADATA_PAIRS_MAX: Final = 16
_METADATA_KEY_MAX: Final = 64
_METADATA_VALUE_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class JobsOptions:
    """`endpoints` are the paths a job may be for, as the requests of its file name them.

    `window_seconds` is how long a job has; clients know it only by its name, `24h`.
    """

    endpoints: tuple[str, ...] = DEFAULT_ENDPOINTS
    window_seconds: float = WINDOW_SECONDS


@dataclass(frozen=True, slots=True)
class SubmitJob:
    """A wish to run a file. `line_rules` names what its lines must hold; the dialect chooses."""

    tenant: str
    input_file_id: str
    endpoint: str
    line_rules: str
    completion_window: str | None = None
    metadata: Mapping[str, str] | None = None
    priority: int = 0


class Jobs:
    """Submit, get, list and cancel."""

    def __init__(self, database: Database, seams: Seams, options: JobsOptions) -> None:
        self._database = database
        self._clock = seams.clock
        self._chance = seams.chance
        self._options = options

    async def submit(self, wish: SubmitJob) -> Job:
        """Answers at once and never reads the file; raises `InvalidRequest`."""
        self._check(wish)
        job_id = f"batch_{self._chance.token(24)}"
        now = self._clock.now()

        def create(tx: Connection) -> Job:
            file = _input_file(tx, wish)
            deadline = now + self._options.window_seconds
            job_rows.create(tx, _new_job(job_id, wish, file, now, deadline))
            return job_rows.get(tx, job_id)

        return await self._database.write(create)

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
        now = self._clock.now()

        def look(tx: Connection) -> dict[str, str]:
            situation = Situation(
                clerk_alive=workers.alive(tx, "clerk", now),
                worker_alive=workers.alive(tx, "worker", now),
                lanes=lanes.all(tx),
                now=now,
            )
            sentences = {}
            for job in live:
                running = job.status is JobStatus.IN_PROGRESS
                models = shards.open_models(tx, job.id) if running else []
                sentences[job.id] = why_waiting(job.status, models, situation)
            return {job_id: why for job_id, why in sentences.items() if why is not None}

        return await self._database.read(look)

    def _check(self, wish: SubmitJob) -> None:
        if wish.endpoint not in self._options.endpoints:
            raise InvalidRequest(
                f"'{wish.endpoint[:80]}' is not supported; "
                f"supported are {', '.join(self._options.endpoints)}.",
                param="endpoint",
            )
        if wish.completion_window not in (None, WINDOW):
            raise InvalidRequest(
                f"'{wish.completion_window[:80]}' is not supported; supported is '{WINDOW}'.",
                param="completion_window",
            )
        _check_metadata(wish.metadata or {})


def _check_metadata(metadata: Mapping[str, str]) -> None:
    """The limits are those of the OpenAI API."""
    if len(metadata) > _METADATA_PAIRS_MAX:
        raise InvalidRequest(
            f"Metadata has at most {_METADATA_PAIRS_MAX} pairs, this has {len(metadata)}.",
            param="metadata",
        )
    for key, value in metadata.items():
        if len(key) > _METADATA_KEY_MAX:
            raise InvalidRequest(
                f"A metadata key has at most {_METADATA_KEY_MAX} characters, this one {len(key)}.",
                param=f"metadata.{key[:_METADATA_KEY_MAX]}",
            )
        if len(value) > _METADATA_VALUE_MAX:
            raise InvalidRequest(
                f"A metadata value has at most {_METADATA_VALUE_MAX} characters, "
                f"this one {len(value)}.",
                param=f"metadata.{key}",
            )


def _input_file(tx: Connection, wish: SubmitJob) -> StoredFile:
    try:
        file = file_rows.get(tx, wish.input_file_id, wish.tenant)
    except NotFound as error:
        raise InvalidRequest(
            f"There is no file '{wish.input_file_id[:80]}'; upload the input first.",
            param="input_file_id",
            code="file_not_found",
        ) from error
    if file.status is not FileStatus.READY:
        raise InvalidRequest(
            f"The bytes of {file.id} have not been uploaded yet.",
            param="input_file_id",
            code="file_not_ready",
        )
    if file.purpose != BATCH_INPUT:
        raise InvalidRequest(
            f"{file.id} was uploaded for the purpose '{file.purpose}'; "
            "upload it for batches ('batch', or 'batch-api' with Together's clients).",
            param="input_file_id",
            code="invalid_purpose",
        )
    return file


def _new_job(job_id: str, wish: SubmitJob, file: StoredFile, now: float, deadline: float) -> Job:
    return Job(
        id=job_id,
        tenant=wish.tenant,
        endpoint=wish.endpoint,
        input_file_id=file.id,
        input_bytes=file.bytes,
        line_rules=wish.line_rules,
        status=JobStatus.VALIDATING,
        created_at=now,
        deadline=deadline,
        completion_window=wish.completion_window or WINDOW,
        metadata=wish.metadata,
        priority=wish.priority,
    )
