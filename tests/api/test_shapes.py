"""What jobs and files look like in each dialect."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from pydantic import TypeAdapter

from overnight.api import openai_shapes, together_shapes
from overnight.domain.file import FileStatus, StoredFile
from overnight.domain.job import Counts, Job, JobStatus
from overnight.domain.request import Fault

JOB = Job(
    id="batch_0123",
    tenant="local",
    endpoint="/v1/chat/completions",
    input_file_id="file-in",
    input_bytes=1234,
    line_rules="openai",
    status=JobStatus.VALIDATING,
    created_at=1_767_225_600.75,
    deadline=1_767_312_000.75,
)
FILE = StoredFile(
    id="file-1",
    tenant="local",
    name="requests.jsonl",
    purpose="batch",
    bytes=10,
    sha256="0" * 64,
    created_at=1_767_225_600.75,
)
DONE = replace(
    JOB,
    status=JobStatus.COMPLETED,
    total=10,
    counts=Counts(succeeded=7, failed=3, prompt_tokens=70, completion_tokens=140, retries=5),
    output_file_id="file-out",
    error_file_id="file-err",
    metadata={"a": "b"},
    model="m",
    entered_at={
        JobStatus.VALIDATING: 1_767_225_600.75,
        JobStatus.IN_PROGRESS: 1_767_225_601.5,
        JobStatus.FINALIZING: 1_767_225_602.5,
        JobStatus.COMPLETED: 1_767_225_603.5,
    },
)


def test_every_status_is_spelt_in_both_dialects() -> None:
    assert set(openai_shapes.STATUS) == set(JobStatus)
    assert set(together_shapes.STATUS) == set(JobStatus)


def test_together_1_knows_every_status() -> None:
    known = {
        "VALIDATING",
        "IN_PROGRESS",
        "COMPLETED",
        "FAILED",
        "EXPIRED",
        "CANCELLED",
        "CANCELING",
    }
    assert set(together_shapes.STATUS.values()) <= known


def test_openai_batch_that_is_new() -> None:
    assert openai_shapes.batch(JOB, "waiting: no clerk is running") == {
        "id": "batch_0123",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": None,
        "errors": None,
        "input_file_id": "file-in",
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": 1_767_225_600,
        "in_progress_at": None,
        "expires_at": 1_767_312_000,
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "usage": None,
        "retries": 0,
        "metadata": None,
        "waiting_for": "waiting: no clerk is running",
    }


def test_openai_batch_that_is_done() -> None:
    shape = openai_shapes.batch(DONE, None)
    assert shape["status"] == "completed"
    assert shape["in_progress_at"] == 1_767_225_601
    assert shape["finalizing_at"] == 1_767_225_602
    assert shape["completed_at"] == 1_767_225_603
    assert shape["request_counts"] == {"total": 10, "completed": 7, "failed": 3}
    assert shape["usage"] is not None
    assert shape["usage"]["total_tokens"] == 210
    assert shape["retries"] == 5
    assert shape["metadata"] == {"a": "b"}


@pytest.mark.parametrize("spell", [openai_shapes.batch, together_shapes.batch_job])
def test_usage_is_there_from_the_first_moment_of_sending(
    spell: Callable[[Job, str | None], openai_shapes.Batch | together_shapes.BatchJob],
) -> None:
    usage = spell(replace(JOB, status=JobStatus.IN_PROGRESS, total=10), None)["usage"]
    assert usage is not None
    assert usage["total_tokens"] == 0
    under_way = replace(DONE, status=JobStatus.IN_PROGRESS)
    assert spell(under_way, None)["usage"] == spell(DONE, None)["usage"]
    assert spell(under_way, None)["retries"] == 5


def test_openai_errors_are_a_list_object_with_the_files_faults_and_the_jobs_failure() -> None:
    faults = (
        Fault("empty_file", "The file holds no requests."),
        Fault(
            "invalid_url", "The url is wrong.", line=3, param="url", excerpt='{"u', marked=(1, 3)
        ),
    )
    shape = openai_shapes.batch(replace(JOB, faults=faults, failure="Lost."), None)
    assert shape["errors"] == {
        "object": "list",
        "data": [
            {
                "code": "empty_file",
                "message": faults[0].message,
                "param": None,
                "line": None,
                "excerpt": None,
                "marked": None,
            },
            {
                "code": "invalid_url",
                "message": faults[1].message,
                "param": "url",
                "line": 3,
                "excerpt": '{"u',
                "marked": (1, 3),
            },
            {
                "code": "job_failed",
                "message": "Lost.",
                "param": None,
                "line": None,
                "excerpt": None,
                "marked": None,
            },
        ],
    }


@pytest.mark.parametrize("status", JobStatus)
def test_together_1_can_read_a_job_in_every_status(status: JobStatus) -> None:
    shape = together_shapes.batch_job(replace(DONE, status=status), None)
    for name in ("id", "user_id", "input_file_id", "endpoint", "status"):
        assert isinstance(shape[name], str)  # type: ignore[literal-required]
    assert isinstance(shape["file_size_bytes"], int)
    assert 0 <= shape["progress"] <= 100
    for time in (shape["created_at"], shape["job_deadline"]):
        assert datetime.fromisoformat(time).tzinfo is not None


def test_together_times_and_progress() -> None:
    shape = together_shapes.batch_job(DONE, None)
    assert shape["created_at"] == "2026-01-01T00:00:00Z"
    assert shape["job_deadline"] == "2026-01-02T00:00:00Z"
    assert shape["completed_at"] == "2026-01-01T00:00:03Z"
    assert shape["progress"] == 100.0
    assert together_shapes.batch_job(JOB, None)["completed_at"] is None


def test_together_error_is_one_string_that_names_the_first_lines() -> None:
    faults = tuple(Fault("invalid_url", "The url is wrong.", line=n) for n in range(1, 6))
    shape = together_shapes.batch_job(replace(JOB, faults=faults), None)
    assert shape["error"] == (
        "5 faults on 5 lines in the input file: line 1: The url is wrong (invalid_url); "
        "line 2: The url is wrong (invalid_url); line 3: The url is wrong (invalid_url); and 2 more"
    )
    one = together_shapes.batch_job(replace(JOB, faults=faults[:1]), None)
    assert one["error"] == (
        "1 fault on 1 line in the input file: line 1: The url is wrong (invalid_url)"
    )
    assert together_shapes.batch_job(JOB, None)["error"] is None


@pytest.mark.parametrize(
    ("purpose", "openai", "together"),
    [
        ("batch", "batch", "batch-api"),
        ("batch_output", "batch_output", "batch-api"),
        ("fine-tune", "fine-tune", "fine-tune"),
        ("user_data", "user_data", None),
        ("batch-generated", "batch-generated", None),
    ],
)
def test_purposes(purpose: str, openai: str, together: str | None) -> None:
    file = replace(FILE, purpose=purpose)
    assert openai_shapes.file_object(file)["purpose"] == openai
    assert together_shapes.file_object(file)["purpose"] == together


def test_files() -> None:
    assert together_shapes.file_object(FILE) == {
        "id": "file-1",
        "object": "file",
        "bytes": 10,
        "created_at": 1_767_225_600,
        "filename": "requests.jsonl",
        "purpose": "batch-api",
        "FileType": "jsonl",
        "Processed": True,
        "LineCount": None,
        "processing_status": "COMPLETED",
    }
    assert openai_shapes.file_object(FILE)["status"] == "processed"
    pending = replace(FILE, status=FileStatus.PENDING, name="a.CSV")
    assert together_shapes.file_object(pending)["processing_status"] == "PENDING"
    assert together_shapes.file_object(pending)["FileType"] == "csv"
    assert openai_shapes.file_object(pending)["status"] == "uploaded"


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (openai_shapes.Batch, openai_shapes.batch(DONE, None)),
        (openai_shapes.FileList, openai_shapes.file_list([FILE], False)),
        (together_shapes.BatchJob, together_shapes.batch_job(DONE, None)),
        (together_shapes.FileObject, together_shapes.file_object(FILE)),
    ],
)
def test_what_is_sent_is_what_is_documented(kind: type, shape: object) -> None:
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    assert adapter.validate_json(json.dumps(shape), strict=True) == shape
