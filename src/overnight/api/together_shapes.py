"""Jobs and files as the Together API spells them. Pure.

together 1.x reads strictly and is the measure here: it raises on a status or purpose it does
not know, on null where it wants a value, and on an `error` that is no string. A single file it
can not read makes its whole list raise.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final, Literal, NotRequired

from typing_extensions import TypedDict

from overnight.api.openai_shapes import DeletedFile, RequestCounts, Usage, request_counts, usage
from overnight.domain.file import FileStatus, StoredFile
from overnight.domain.job import TERMINAL, Job, JobStatus
from overnight.domain.request import FAULTS_MAX, Fault

_S = JobStatus

STATUS: Final[Mapping[JobStatus, str]] = {
    _S.VALIDATING: "VALIDATING",
    _S.IN_PROGRESS: "IN_PROGRESS",
    _S.FINALIZING: "IN_PROGRESS",
    _S.EXPIRING: "IN_PROGRESS",
    _S.FAILING: "IN_PROGRESS",
    # One L: together 1.x raises on the other spelling.
    _S.CANCELLING: "CANCELING",
    _S.CANCELLED: "CANCELLED",
    _S.COMPLETED: "COMPLETED",
    _S.EXPIRED: "EXPIRED",
    _S.FAILED: "FAILED",
}

_PURPOSE: Final[Mapping[str, str]] = {
    "batch": "batch-api",
    "batch_output": "batch-api",
    "fine-tune": "fine-tune",
    "eval": "eval",
    "eval-output": "eval-output",
}
"""From stored purposes; those not here are sent as null, which together 1.x takes."""

_FAULTS_NAMED_MAX: Final = 3


class BatchJob(TypedDict):
    id: str
    user_id: str
    input_file_id: str
    file_size_bytes: int
    status: str
    job_deadline: str
    created_at: str
    endpoint: str
    progress: float
    model_id: str | None
    output_file_id: str | None
    error_file_id: str | None
    error: str | None
    completed_at: str | None
    request_counts: RequestCounts
    usage: Usage | None
    retries: int
    waiting_for: str | None


class CreatedJob(TypedDict):
    job: BatchJob
    warning: NotRequired[str]


class FileObject(TypedDict):
    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str | None
    FileType: str
    Processed: bool
    LineCount: int | None
    processing_status: Literal["PENDING", "COMPLETED"]


class FileList(TypedDict):
    object: Literal["list"]
    data: list[FileObject]


__all__ = ["STATUS", "BatchJob", "CreatedJob", "DeletedFile", "FileList", "FileObject"]


def batch_job(job: Job, waiting_for: str | None) -> BatchJob:
    return {
        "id": job.id,
        "user_id": job.tenant,
        "input_file_id": job.input_file_id,
        "file_size_bytes": job.input_bytes,
        "status": STATUS[job.status],
        "job_deadline": _utc(job.deadline),
        "created_at": _utc(job.created_at),
        "endpoint": job.endpoint,
        "progress": job.percent_done,
        "model_id": job.model,
        "output_file_id": job.output_file_id,
        "error_file_id": job.error_file_id,
        "error": _error(job),
        "completed_at": _ended_at(job),
        "request_counts": request_counts(job),
        "usage": usage(job),
        "retries": job.counts.retries,
        "waiting_for": waiting_for,
    }


def created_job(job: Job, waiting_for: str | None) -> CreatedJob:
    """`warning` is for people, and printed by together's command line: what will keep the job
    from running.
    """
    created = CreatedJob(job=batch_job(job, waiting_for))
    if not job.input_bytes:
        created["warning"] = "The input file is empty, so this batch will fail."
    elif waiting_for is not None:
        created["warning"] = f"This batch is {waiting_for}."
    return created


def file_object(file: StoredFile) -> FileObject:
    ready = file.status is FileStatus.READY
    suffix = PurePath(file.name).suffix.lower()
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "filename": file.name,
        "purpose": _PURPOSE.get(file.purpose),
        "FileType": suffix[1:] if suffix in (".csv", ".parquet") else "jsonl",
        "Processed": ready,
        "LineCount": file.lines,
        "processing_status": "COMPLETED" if ready else "PENDING",
    }


def stored_purpose(purpose: str) -> str:
    """The word we store for what either dialect's clients send."""
    return "batch" if purpose == "batch-api" else purpose


def _utc(seconds: float) -> str:
    """With a `Z`: together's command line sorts these among aware times."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ended_at(job: Job) -> str | None:
    times = [at for status, at in job.entered_at.items() if status in TERMINAL]
    return _utc(times[0]) if times else None


def _error(job: Job) -> str | None:
    """One string: how many faults there are, and the first of them with their lines."""
    parts = [job.failure] if job.failure is not None else []
    if job.faults:
        named = [_fault(fault) for fault in job.faults[:_FAULTS_NAMED_MAX]]
        if len(job.faults) > len(named):
            named.append(f"and {len(job.faults) - len(named):,} more")
        parts.append(f"{_counted(job.faults)} in the input file: {'; '.join(named)}")
    return ". ".join(parts) or None


def _counted(faults: Sequence[Fault]) -> str:
    """Such as `9 faults on 8 lines`; checking ends when there are very many."""
    lines = len({fault.line for fault in faults} - {None})
    found = f"{len(faults):,} fault{'s'[: len(faults) > 1]}"
    where = f" on {lines:,} line{'s'[: lines > 1]}" if lines else ""
    return ("at least " if len(faults) >= FAULTS_MAX else "") + found + where


def _fault(fault: Fault) -> str:
    where = "" if fault.line is None else f"line {fault.line}: "
    return f"{where}{fault.message.rstrip('.')} ({fault.code})"
