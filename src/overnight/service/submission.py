"""The creation of a job: what is asked for, what is refused at once, and what was asked before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

import msgspec
from sqlalchemy import Connection

from overnight.domain.completion_window import DEFAULT_WINDOW, window_seconds
from overnight.domain.errors import Conflict, InvalidRequest, NotFound
from overnight.domain.file import FileStatus, StoredFile
from overnight.domain.job import Job, JobStatus
from overnight.domain.line import spellings
from overnight.service.files import BATCH_INPUT
from overnight.store import creations
from overnight.store import files as file_rows
from overnight.store import jobs as job_rows
from overnight.store.creations import Creation

DEFAULT_ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")

IDEMPOTENCY_KEY_SECONDS: Final = 24 * 3600.0
"""How long a key stands for the job that was created with it."""

RESENT_SECONDS: Final = 900.0
"""How long after a request an SDK may send it again: it waits up to ten minutes for the answer,
and as long as it is told, at most two minutes, before it tries once more."""

_IDEMPOTENCY_KEY_MAX: Final = 255
_KEY_SHOWN_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class MetadataLimits:
    """By default those of the OpenAI API. Keys and values are measured in characters."""

    pairs_max: int = 16
    key_max: int = 64
    value_max: int = 512


@dataclass(frozen=True, slots=True)
class JobsOptions:
    """`endpoints` are the paths a job may be for, as the requests of its file name them.

    `window_seconds` is how long a job has whose window is `24h` or not named; `any_window` lets
    jobs name others. `alive_max` jobs of one tenant may be under way.
    """

    endpoints: tuple[str, ...] = DEFAULT_ENDPOINTS
    window_seconds: float = 24 * 3600.0
    any_window: bool = False
    alive_max: int = 10_000
    metadata: MetadataLimits = MetadataLimits()


@dataclass(frozen=True, slots=True)
class SubmitJob:
    """A wish to run a file. `line_rules` names what its lines must hold; the dialect chooses.

    `model` is the one all lines must name; None lets each name its own. The result files are
    deleted `output_expires_after_seconds` after they were made; None keeps them.
    """

    tenant: str
    input_file_id: str
    endpoint: str
    line_rules: str
    completion_window: str | None = None
    metadata: Mapping[str, str] | None = None
    model: str | None = None
    priority: int = 0
    output_expires_after_seconds: int | None = None

    def digest(self) -> str:
        """Equal for wishes that are equal."""
        return sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


@dataclass(frozen=True, slots=True)
class Sending:
    """How a wish came: who sent it (the id of their key), and what tells it from a new one.

    `resent`: the client says that it sends it again, not having seen an answer.
    """

    sender: str
    idempotency_key: str | None = None
    resent: bool = False

    def check(self) -> None:
        """Raises `InvalidRequest`."""
        key = self.idempotency_key
        if key is not None and not 0 < len(key) <= _IDEMPOTENCY_KEY_MAX:
            raise InvalidRequest(
                f"An Idempotency-Key has 1 to {_IDEMPOTENCY_KEY_MAX} characters, "
                f"this one {len(key)}.",
                param="idempotency-key",
            )


@dataclass(frozen=True, slots=True)
class Submitted:
    """`repeated`: the job was there before, for the request had come before."""

    job: Job
    repeated: bool


class Submission:
    """One wish, checked as far as that costs nothing. Raises `InvalidRequest`."""

    def __init__(self, wish: SubmitJob, sending: Sending, options: JobsOptions) -> None:
        sending.check()
        _check_window(wish.completion_window, options)
        _check_metadata(wish.metadata or {}, options.metadata)
        self._wish = replace(wish, endpoint=_endpoint_in_full(wish.endpoint, options.endpoints))
        self._sending = sending
        self._options = options

    def carry_out(self, tx: Connection, job_id: str, now: float) -> Submitted:
        """Insert a job, unless the wish was fulfilled before: then that job is the answer.

        Raises `InvalidRequest` and `Conflict`.
        """
        wish, sending = self._wish, self._sending
        creation = Creation(sending.sender, wish.digest(), sending.idempotency_key)
        earlier = self._earlier(tx, creation, now)
        if earlier is not None:
            return Submitted(job_rows.get(tx, earlier), repeated=True)
        file = _input_file(tx, wish)
        self._check_alive(tx)
        job_rows.create(tx, self._job(job_id, file, now))
        creations.note(tx, job_id, creation)
        return Submitted(job_rows.get(tx, job_id), repeated=False)

    def _earlier(self, tx: Connection, creation: Creation, now: float) -> str | None:
        """The id of the job that answered this very request when it came first."""
        tenant, key = self._wish.tenant, creation.idempotency_key
        if key is None:
            since = now - RESENT_SECONDS
            return creations.newest(tx, tenant, creation, since) if self._sending.resent else None
        used = creations.by_key(tx, tenant, key)
        if used is None:
            return None
        if used.created_at <= now - IDEMPOTENCY_KEY_SECONDS:
            creations.release_key(tx, used.job_id)
            return None
        if used.digest != creation.digest:
            raise Conflict(
                f"The Idempotency-Key '{key[:80]}' has created {used.job_id}, by a request with "
                "other parameters; take a new key for a new batch.",
                param="idempotency-key",
                code="idempotency_key_reused",
            )
        return used.job_id

    def _check_alive(self, tx: Connection) -> None:
        most = self._options.alive_max
        if creations.count_alive(tx, self._wish.tenant) >= most:
            raise Conflict(
                f"There are {most:,} batches that have not ended, as many as the limit "
                "limits.jobs_alive_max allows; wait for one to end, or cancel one.",
                code="too_many_batches",
            )

    def _job(self, job_id: str, file: StoredFile, now: float) -> Job:
        wish = self._wish
        return Job(
            id=job_id,
            tenant=wish.tenant,
            endpoint=wish.endpoint,
            input_file_id=file.id,
            input_bytes=file.bytes,
            line_rules=wish.line_rules,
            status=JobStatus.VALIDATING,
            created_at=now,
            deadline=now + self._window_seconds(),
            completion_window=wish.completion_window or DEFAULT_WINDOW,
            metadata=wish.metadata,
            model=wish.model,
            priority=wish.priority,
            output_expires_after_seconds=wish.output_expires_after_seconds,
        )

    def _window_seconds(self) -> float:
        """`24h` is the name that all clients use for however long a job has by default."""
        window = self._wish.completion_window
        named = None if window in (None, DEFAULT_WINDOW) else window_seconds(window)
        return named or self._options.window_seconds


def _endpoint_in_full(endpoint: str, known: Sequence[str]) -> str:
    for one in known:
        if endpoint in spellings(one):
            return one
    message = f"The endpoint '{endpoint[:80]}' is not supported; supported are {', '.join(known)}."
    if "/audio/" in endpoint:
        message += " Requests that send a file, as for audio, can not be run yet."
    raise InvalidRequest(message, param="endpoint")


def _check_window(window: str | None, options: JobsOptions) -> None:
    if window in (None, DEFAULT_WINDOW):
        return
    if not options.any_window:
        raise InvalidRequest(
            f"The completion_window '{window[:80]}' is not supported; supported is "
            f"'{DEFAULT_WINDOW}'. Others, from 1h to 14d, are when the service has the setting "
            "any_completion_window.",
            param="completion_window",
        )
    if window_seconds(window) is None:
        raise InvalidRequest(
            f"'{window[:80]}' is no completion window; write one from 1h to 14d in minutes, hours "
            "or days, such as '90m', '36h' or '7d'.",
            param="completion_window",
        )


def _check_metadata(metadata: Mapping[str, str], limits: MetadataLimits) -> None:
    if len(metadata) > limits.pairs_max:
        raise InvalidRequest(
            f"Metadata has at most {limits.pairs_max} pairs, this has {len(metadata)}.",
            param="metadata",
        )
    for key, value in metadata.items():
        shown = f"metadata.{key[:_KEY_SHOWN_MAX]}"
        if len(key) > limits.key_max:
            raise InvalidRequest(
                f"A metadata key has at most {limits.key_max} characters, this one {len(key)}.",
                param=shown,
            )
        if len(value) > limits.value_max:
            raise InvalidRequest(
                f"A metadata value has at most {limits.value_max} characters, "
                f"this one {len(value)}.",
                param=shown,
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
