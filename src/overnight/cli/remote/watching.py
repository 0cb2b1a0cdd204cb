"""Following a job to its end: the progress line, and a server that may be away for a while."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from overnight.client.errors import ClientError, Refused, Unreachable
from overnight.client.views import JobView

if TYPE_CHECKING:
    from overnight.cli.progress import ProgressLine
    from overnight.client.client import Client

AWAY_SECONDS_MAX: Final = 600.0
"""A server may be away so long, to be upgraded or moved."""

_NOTES: Final = {
    "validating": "validating the input",
    "finalizing": "writing the results",
    "cancelling": "cancelling",
}
_AWAY: Final = "the server does not answer, trying again"


@dataclass(frozen=True, slots=True)
class Pace:
    """Time, as `watched` needs it: monotonic seconds, and sleeping."""

    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


def watched(client: "Client", job: JobView, pace: Pace | None = None) -> JobView:
    """The job once it has ended. Raises `ClientError` when the server stays away."""
    from overnight.cli.progress import ProgressLine

    pace = pace or Pace()
    started_at = answered_at = pace.clock()
    with ProgressLine(job.total or 0, "job", clock=pace.clock) as line:
        while True:
            show(line, job)
            if job.ended:
                return job
            pace.pause(poll_seconds(pace.clock() - started_at))
            try:
                job = client.job(job.id)
                answered_at = pace.clock()
            except ClientError as error:
                if not is_passing(error) or pace.clock() - answered_at > AWAY_SECONDS_MAX:
                    raise
                show(line, job, _AWAY)


def poll_seconds(watched_seconds: float) -> float:
    """Until the next look: soon at first, for small jobs; then 1 s, and from a minute on up to 5.

    Who has waited for two minutes can wait for another four seconds.
    """
    return min(5.0, max(0.25, min(1.0, watched_seconds / 4), watched_seconds / 30))


def is_passing(error: ClientError) -> bool:
    """May the same question be answered later? A restart looks so, also through a proxy."""
    match error:
        case Unreachable():
            return True
        case Refused(status=status):
            return status >= 500 or status == 429
        case _:
            return False


def show(line: "ProgressLine", job: JobView, note: str | None = None) -> None:
    """How far the job is; `note` instead of what it waits for."""
    counted = (job.prompt_tokens, job.completion_tokens)
    line.update(
        (job.succeeded or 0) + (job.failed or 0),
        failed=job.failed or 0,
        tokens=None if counted == (None, None) else sum(each or 0 for each in counted),
        retries=job.retries or 0,
        note=note or job.waiting_for or _NOTES.get(job.status, ""),
        total=job.total or 0,
    )
