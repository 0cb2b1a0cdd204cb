"""Jobs and files as the OpenAI API spells them. Pure.

Nullable keys are sent as null and times are whole seconds, as its SDKs pass both on to user
code as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from typing_extensions import TypedDict

from overnight.domain.file import FileStatus, StoredFile
from overnight.domain.job import Job, JobStatus
from overnight.domain.request import Fault

_S = JobStatus

STATUS: Final[Mapping[JobStatus, str]] = {
    _S.VALIDATING: "validating",
    _S.IN_PROGRESS: "in_progress",
    _S.FINALIZING: "finalizing",
    _S.EXPIRING: "finalizing",
    _S.FAILING: "finalizing",
    _S.CANCELLING: "cancelling",
    _S.CANCELLED: "cancelled",
    _S.COMPLETED: "completed",
    _S.EXPIRED: "expired",
    _S.FAILED: "failed",
}


class RequestCounts(TypedDict):
    total: int
    completed: int
    failed: int


class LineError(TypedDict):
    code: str
    message: str
    param: str | None
    line: int | None
    excerpt: str | None
    marked: tuple[int, int] | None


class LineErrors(TypedDict):
    object: Literal["list"]
    data: list[LineError]


class InputTokenDetails(TypedDict):
    cached_tokens: int


class OutputTokenDetails(TypedDict):
    reasoning_tokens: int


class Usage(TypedDict):
    input_tokens: int
    input_tokens_details: InputTokenDetails
    output_tokens: int
    output_tokens_details: OutputTokenDetails
    total_tokens: int


class Batch(TypedDict):
    id: str
    object: Literal["batch"]
    endpoint: str
    model: str | None
    errors: LineErrors | None
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: Usage | None
    retries: int
    metadata: dict[str, str] | None
    waiting_for: str | None


class FileObject(TypedDict):
    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["uploaded", "processed"]
    status_details: None


class DeletedFile(TypedDict):
    id: str
    object: Literal["file"]
    deleted: Literal[True]


class BatchList(TypedDict):
    object: Literal["list"]
    data: list[Batch]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileList(TypedDict):
    object: Literal["list"]
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


def batch(job: Job, waiting_for: str | None) -> Batch:
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": job.endpoint,
        "model": job.model,
        "errors": _errors(job),
        "input_file_id": job.input_file_id,
        "completion_window": job.completion_window,
        "status": STATUS[job.status],
        "output_file_id": job.output_file_id,
        "error_file_id": job.error_file_id,
        "created_at": int(job.created_at),
        "in_progress_at": _entered(job, _S.IN_PROGRESS),
        "expires_at": int(job.deadline),
        "finalizing_at": _entered(job, _S.FINALIZING, _S.EXPIRING, _S.FAILING),
        "completed_at": _entered(job, _S.COMPLETED),
        "failed_at": _entered(job, _S.FAILED),
        "expired_at": _entered(job, _S.EXPIRED),
        "cancelling_at": _entered(job, _S.CANCELLING),
        "cancelled_at": _entered(job, _S.CANCELLED),
        "request_counts": request_counts(job),
        "usage": usage(job),
        "retries": job.counts.retries,
        "metadata": None if job.metadata is None else dict(job.metadata),
        "waiting_for": waiting_for,
    }


def batch_list(batches: list[Batch], has_more: bool) -> BatchList:
    return {
        "object": "list",
        "data": batches,
        "first_id": batches[0]["id"] if batches else None,
        "last_id": batches[-1]["id"] if batches else None,
        "has_more": has_more,
    }


def file_object(file: StoredFile) -> FileObject:
    """The stored purposes are this dialect's own."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed" if file.status is FileStatus.READY else "uploaded",
        "status_details": None,
    }


def file_list(files: Sequence[StoredFile], has_more: bool) -> FileList:
    return {
        "object": "list",
        "data": [file_object(file) for file in files],
        "first_id": files[0].id if files else None,
        "last_id": files[-1].id if files else None,
        "has_more": has_more,
    }


def deleted_file(file_id: str) -> DeletedFile:
    return {"id": file_id, "object": "file", "deleted": True}


def request_counts(job: Job) -> RequestCounts:
    """Integers from the first answer on: client loops read them at once."""
    return {"total": job.total, "completed": job.counts.succeeded, "failed": job.counts.failed}


def usage(job: Job) -> Usage | None:
    """What the replies so far reported; upstreams tell neither cached nor reasoning tokens
    reliably.
    """
    if job.status is _S.VALIDATING:
        return None
    prompt, completion = job.counts.prompt_tokens, job.counts.completion_tokens
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }


def _errors(job: Job) -> LineErrors | None:
    """With the excerpts that `overnight validate` shows, which the OpenAI API does not have."""
    faults = [*job.faults]
    if job.failure is not None:
        faults.append(Fault("job_failed", job.failure))
    if not faults:
        return None
    data: list[LineError] = [
        {
            "code": fault.code,
            "message": fault.message,
            "param": fault.param,
            "line": fault.line,
            "excerpt": fault.excerpt,
            "marked": fault.marked,
        }
        for fault in faults
    ]
    return {"object": "list", "data": data}


def _entered(job: Job, *statuses: JobStatus) -> int | None:
    times = [job.entered_at[status] for status in statuses if status in job.entered_at]
    return int(min(times)) if times else None
