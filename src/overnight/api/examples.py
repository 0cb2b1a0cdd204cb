"""A file and a batch as each dialect spells them, for the documents.

Made by the functions that make the real answers, so that they can not differ.
"""

from collections.abc import Mapping
from typing import Final

from overnight.api import openai_shapes, together_shapes
from overnight.domain.file import StoredFile
from overnight.domain.job import Counts, Job, JobStatus

_NOON: Final = 1_795_262_400.0
_FILE: Final = StoredFile(
    id="file-3b2f0c9d8e7a6f5b4c3d2e1f",
    tenant="research",
    name="questions.jsonl",
    purpose="batch",
    bytes=2_041_877,
    created_at=_NOON,
)
_JOB: Final = Job(
    id="batch_7d1e5a90c4b8f2637e6d5c4b",
    tenant="research",
    endpoint="/v1/chat/completions",
    input_file_id=_FILE.id,
    input_bytes=_FILE.bytes,
    line_rules="openai",
    status=JobStatus.IN_PROGRESS,
    created_at=_NOON + 5,
    deadline=_NOON + 5 + 86_400,
    metadata={"run": "nightly"},
    model="qwen3-8b",
    total=10_000,
    counts=Counts(succeeded=4_210, failed=3, prompt_tokens=905_150, completion_tokens=1_263_000),
    entered_at={JobStatus.VALIDATING: _NOON + 5, JobStatus.IN_PROGRESS: _NOON + 8},
)

OPENAI: Final[Mapping[str, object]] = {
    "Batch": openai_shapes.batch(_JOB, None),
    "FileObject": openai_shapes.file_object(_FILE),
}
"""By the names of the schemas."""

TOGETHER: Final[Mapping[str, object]] = {
    "BatchJob": together_shapes.batch_job(_JOB, None),
    "FileObject": together_shapes.file_object(_FILE),
}
