"""Following a job to its end: the progress line, and a server that may be away for a while."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from overnight.client.errors import ClientError, Refused, Unreachable
from overnight.client.views import JobView

if TYPE_CHECKING:
    from overnight.cli.progress import ProgressLine
    from overnight.client.client import Client

POLL_SECONDS_MIN: Final = 1.0
POLL_SECONDS_MAX: Final = 5.0
_POLL_SHARE: Final = 1 / 30
"""Of the time watched so far: who has waited for two minutes can wait for another four seconds."""

AWAY_SECONDS_MAX: Final = 600.0
"""A server may be away so long, to be upgraded or moved."""

_LABELS: Final = {"in_progress": "running"}
"""Of the statuses whose own name would read badly."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Time, as `watched` needs it: monotonic seconds, and sleeping."""

    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


def watched(client: "Client", job: JobView, pace: Pace | None = None) -> JobView:
    """The job once it has ended. Raises `ClientError` when the server stays away."""
    pace = pace or Pace()
    started_at = answered_at = pace.clock()
    with StatusLine(pace.clock) as line:
        while not job.ended:
            line.show(job)
            watched_seconds = pace.clock() - started_at
            pace.pause(min(POLL_SECONDS_MAX, max(POLL_SECONDS_MIN, watched_seconds * _POLL_SHARE)))
            try:
                job = client.job(job.id)
                answered_at = pace.clock()
            except ClientError as error:
                if not is_passing(error) or pace.clock() - answered_at > AWAY_SECONDS_MAX:
                    raise
                line.show(job, note="the server does not answer, trying again")
        line.show(job)
    return job


def is_passing(error: ClientError) -> bool:
    """May the same question be answered later? A restart looks so, also through a proxy."""
    match error:
        case Unreachable():
            return True
        case Refused(status=status):
            return status >= 500 or status == 429
        case _:
            return False


@dataclass
class StatusLine:
    """One progress line after the other, one for each status the job goes through."""

    clock: Callable[[], float]
    _line: "ProgressLine | None" = field(default=None, init=False)
    _status: str = field(default="", init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def show(self, job: JobView, note: str | None = None) -> None:
        from overnight.cli.progress import ProgressLine

        total = job.total or 0
        if job.status != self._status and not job.ended:
            self._close()
            self._status = job.status
            label = _LABELS.get(job.status, job.status)
            self._line = ProgressLine(total, label, clock=self.clock)
            self._line.__enter__()
        if self._line is not None:
            failed = job.failed or 0
            self._line.update(
                (job.succeeded or 0) + failed,
                failed=failed,
                total=total,
                note=(job.waiting_for or "") if note is None else note,
            )

    def _close(self) -> None:
        if self._line is not None:
            self._line.__exit__(None, None, None)
            self._line = None
