"""What servers tell of files and jobs, whatever their dialect. Times are unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
"""The statuses that no job leaves."""

STATUSES: Final = frozenset({"validating", "in_progress", "finalizing", "cancelling"}) | ENDED


@dataclass(frozen=True, slots=True)
class LineFault:
    """Why an input file was refused. Without a `line` it is about the file as a whole."""

    code: str
    message: str
    line: int | None = None
    """Counted from 1."""
    param: str | None = None
    """The field at fault, such as `body.model`."""
    excerpt: str | None = None
    """The offending text, shortened."""
    marked: tuple[int, int] | None = None
    """From which character of `excerpt` to which the fault itself reaches."""


@dataclass(frozen=True, slots=True)
class FileView:
    id: str
    name: str
    bytes: int | None
    purpose: str | None
    created_at: float | None
    expires_at: float | None = None
    lines: int | None = None


@dataclass(frozen=True, slots=True)
class JobView:
    """A job; None is what the server did not tell."""

    id: str
    status: str
    """One of `STATUSES`; a status unknown to us is given in lower case."""
    endpoint: str | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: float | None = None
    deadline: float | None = None
    ended_at: float | None = None
    total: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    percent: float | None = None
    """0 to 100."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    retries: int | None = None
    waiting_for: str | None = None
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[LineFault, ...] = ()
    """The first of them; `fault_count` counts them all."""
    fault_count: int = 0
    failure: str | None = None
    """Why the job failed, if it was not for its input."""

    @property
    def ended(self) -> bool:
        return self.status in ENDED
