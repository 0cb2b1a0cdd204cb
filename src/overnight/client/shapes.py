"""Files and jobs as servers spell them, read into views.

One reader does for both dialects: where they name a thing differently neither uses the other's
name, and servers that are modelled on them mix the two.
"""

from typing import Final

from overnight.client.reading import Fields
from overnight.client.views import ENDED, FileView, JobView, LineFault

_SPELT_WITH_ONE_L: Final = {"canceling": "cancelling", "canceled": "cancelled"}

_JOB_FAILED: Final = "job_failed"
"""How Overnight's list of faults tells of a failure that is not the input's."""


def file_view(fields: Fields, file_id: str) -> FileView:
    return FileView(
        id=file_id,
        name=fields.text("filename", "name") or "",
        bytes=fields.integer("bytes"),
        purpose=fields.text("purpose"),
        created_at=fields.time("created_at"),
        expires_at=fields.time("expires_at"),
        lines=fields.integer("LineCount", "lines"),
    )


def job_view(fields: Fields, job_id: str, status: str) -> JobView:
    status = status.lower()
    status = _SPELT_WITH_ONE_L.get(status, status)
    counts, usage, errors = map(fields.inner, ("request_counts", "usage", "errors"))
    told = [_fault(fault) for fault in errors.items("data")]
    faults = tuple(fault for fault in told if fault.code != _JOB_FAILED)
    failures = [fault.message for fault in told if fault.code == _JOB_FAILED]
    return JobView(
        id=job_id,
        status=status,
        endpoint=fields.text("endpoint"),
        input_file_id=fields.text("input_file_id"),
        output_file_id=fields.text("output_file_id"),
        error_file_id=fields.text("error_file_id"),
        created_at=fields.time("created_at"),
        deadline=fields.time("expires_at", "job_deadline"),
        # Together says `completed_at` of every end.
        ended_at=fields.time(f"{status}_at", "completed_at") if status in ENDED else None,
        total=counts.integer("total"),
        succeeded=counts.integer("completed"),
        failed=counts.integer("failed"),
        percent=_percent(fields, counts),
        prompt_tokens=usage.integer("input_tokens", "prompt_tokens"),
        completion_tokens=usage.integer("output_tokens", "completion_tokens"),
        retries=fields.integer("retries"),
        waiting_for=fields.text("waiting_for"),
        model=fields.text("model", "model_id"),
        metadata=fields.texts("metadata"),
        faults=faults,
        fault_count=max(len(faults), errors.integer("total") or 0),
        # Together's one string sums up the faults, when those are told as well.
        failure=failures[0] if failures else None if faults else fields.text("error"),
    )


def _fault(fields: Fields) -> LineFault:
    return LineFault(
        code=fields.text("code") or "unknown",
        message=fields.text("message") or "",
        line=fields.integer("line"),
        param=fields.text("param"),
        excerpt=fields.text("excerpt"),
        marked=fields.span("marked"),
    )


def _percent(fields: Fields, counts: Fields) -> float | None:
    total = counts.integer("total")
    if total:
        done = (counts.integer("completed") or 0) + (counts.integer("failed") or 0)
        return min(100.0, 100.0 * done / total)
    return fields.number("progress")
