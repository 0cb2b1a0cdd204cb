"""A job, its states, and the table that is the only way from one state to another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from overnight.domain.errors import Conflict
from overnight.domain.request import Fault


class JobStatus(StrEnum):
    """Inner states. Each dialect maps all of them to its own words."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    """Every request has its outcome; the result files are being written."""
    CANCELLING = "cancelling"
    EXPIRING = "expiring"
    """The window is over; what was finished is being published."""
    FAILING = "failing"
    """Stored data turned out corrupt; what can be read is being published."""
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"


class JobEvent(StrEnum):
    """What can happen to a job."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CANCEL_REQUESTED = "cancel_requested"
    DEADLINE_PASSED = "deadline_passed"
    ALL_SETTLED = "all_settled"
    CORRUPTED = "corrupted"
    PUBLISHED = "published"
    SALVAGED = "salvaged"
    """Published, but with lines that could not be read back."""


_S, _E = JobStatus, JobEvent

TRANSITIONS: Final[Mapping[tuple[JobStatus, JobEvent], JobStatus]] = MappingProxyType(
    {
        (_S.VALIDATING, _E.ACCEPTED): _S.IN_PROGRESS,
        (_S.VALIDATING, _E.REJECTED): _S.FAILED,
        (_S.VALIDATING, _E.CANCEL_REQUESTED): _S.CANCELLED,
        (_S.VALIDATING, _E.DEADLINE_PASSED): _S.EXPIRED,
        (_S.IN_PROGRESS, _E.ALL_SETTLED): _S.FINALIZING,
        (_S.IN_PROGRESS, _E.CANCEL_REQUESTED): _S.CANCELLING,
        (_S.IN_PROGRESS, _E.DEADLINE_PASSED): _S.EXPIRING,
        (_S.IN_PROGRESS, _E.CORRUPTED): _S.FAILING,
        (_S.FINALIZING, _E.PUBLISHED): _S.COMPLETED,
        (_S.CANCELLING, _E.PUBLISHED): _S.CANCELLED,
        (_S.EXPIRING, _E.PUBLISHED): _S.EXPIRED,
        (_S.FAILING, _E.PUBLISHED): _S.FAILED,
        # Asking twice to cancel is the same wish.
        (_S.CANCELLING, _E.CANCEL_REQUESTED): _S.CANCELLING,
        (_S.CANCELLED, _E.CANCEL_REQUESTED): _S.CANCELLED,
    }
    | {
        (status, _E.SALVAGED): _S.FAILED
        for status in (_S.FINALIZING, _S.CANCELLING, _S.EXPIRING, _S.FAILING)
    }
)

TERMINAL: Final = frozenset(JobStatus) - {
    source for (source, _), target in TRANSITIONS.items() if source is not target
}
"""States nothing leaves; derived from the table, never listed."""

PUBLISHING: Final = frozenset(source for source, event in TRANSITIONS if event is _E.PUBLISHED)
"""States in which the finalizer writes result files once no worker holds a shard."""


def next_status(status: JobStatus, event: JobEvent) -> JobStatus:
    """Look the transition up; raises `Conflict` when the table has none."""
    target = TRANSITIONS.get((status, event))
    if target is None:
        raise Conflict(f"A job that is {status.value} can not be {event.value.replace('_', ' ')}.")
    return target


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of a job by outcome, the tokens their replies reported, and the retries: how often
    a request was sent in vain and is sent again, whoever was to blame.
    """

    succeeded: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.succeeded + other.succeeded,
            self.failed + other.failed,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.retries + other.retries,
        )

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(
            self.succeeded - other.succeeded,
            self.failed - other.failed,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
            self.retries - other.retries,
        )

    @property
    def finished(self) -> int:
        """Requests that have their outcome."""
        return self.succeeded + self.failed

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Job:
    """What the APIs call a batch. Times are unix seconds; `*_at` is None until it happened."""

    id: str
    tenant: str
    endpoint: str
    input_file_id: str
    input_bytes: int
    line_rules: str
    status: JobStatus
    created_at: float
    deadline: float
    completion_window: str = "24h"
    metadata: Mapping[str, str] | None = None
    model: str | None = None
    """The model of all requests, as asked for or as found; None while unknown and when there are
    several."""
    priority: int = 0
    output_expires_after_seconds: int | None = None
    """From the making of the result files to their deletion; None keeps them."""
    total: int = 0
    counts: Counts = field(default_factory=Counts)
    output_file_id: str | None = None
    error_file_id: str | None = None
    faults: tuple[Fault, ...] = ()
    failure: str | None = None
    """Why a FAILED job failed, when it was not its lines."""
    held_up_by: str | None = None
    """What keeps the clerk that has it from going on, for people; None when nothing does."""
    entered_at: Mapping[JobStatus, float] = field(default_factory=dict)
    """When the job entered each state it has been in, from the audit rows."""

    @property
    def percent_done(self) -> float:
        """0 to 100; exactly 100 only when every request has its outcome."""
        if self.status is JobStatus.COMPLETED:
            return 100.0
        finished = self.counts.finished
        if not self.total:
            return 0.0
        percent = 100.0 * finished / self.total
        return percent if finished == self.total else min(round(percent, 2), 99.99)
