"""A stored file, and the ids of the files that a job makes."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Literal


class FileStatus(StrEnum):
    PENDING = "pending"
    """Its id is known, its bytes have not arrived whole."""
    READY = "ready"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What the APIs call a file. Times are unix seconds; `sha256` is lower-case hex."""

    id: str
    tenant: str
    name: str
    purpose: str
    bytes: int
    created_at: float
    sha256: str | None = None
    expires_at: float | None = None
    lines: int | None = None
    status: FileStatus = FileStatus.READY


def result_file_id(job_id: str, kind: Literal["output", "error"]) -> str:
    """Derived from the job, so that a finalizer that runs twice makes the same file."""
    return "file-" + sha256(f"{job_id}:{kind}".encode()).hexdigest()[:24]
