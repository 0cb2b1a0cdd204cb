"""together 2.x and 3.x, sync and async.

2.x wants a base URL with `/v1`, 3.x one without; both must work with either.
"""

import asyncio
from pathlib import Path
from typing import Any

import together
from blocking import Blocking
from scenario import play
from together.lib.resources import files as uploading
from vocabulary import CHAT, PART_BYTES, Client, File, Job, Options, Refused

# Parts are for files above 5 GiB, and not a test's.
uploading.MIN_PART_SIZE_MB, uploading.TARGET_PART_SIZE_MB = 0, PART_BYTES / 1024**2
ONE_REQUEST_GIB_MAX = uploading.MULTIPART_THRESHOLD_GB
SPELLINGS = {"CANCELING": "cancelling"}


class TogetherClient(Client):
    has_metadata = False

    def __init__(self, options: Options, base_path: str | None = None, key: str = "") -> None:
        super().__init__(options)
        is_2 = together.__version__.startswith("2.")
        path = ("/v1" if is_2 else "") if base_path is None else base_path
        given = {"base_url": options.base_url + path, "api_key": key or options.key}
        if options.kind == "async":
            self.sdk: Any = Blocking(together.AsyncTogether(**given), asyncio.Runner())
        else:
            self.sdk = together.Together(**given)

    def upload(self, path: Path, lives_seconds: int | None = None) -> File:
        return told_file(self.sdk.files.upload(file=str(path), purpose="batch-api"))

    def upload_in_parts(self, path: Path) -> File:
        uploading.MULTIPART_THRESHOLD_GB = 0
        try:
            return self.upload(path)
        finally:
            uploading.MULTIPART_THRESHOLD_GB = ONE_REQUEST_GIB_MAX

    def file(self, file_id: str) -> File:
        return told_file(self.sdk.files.retrieve(file_id))

    def content(self, file_id: str) -> bytes:
        return self.sdk.files.content(file_id).read()

    def files(self) -> list[str]:
        return [told_file(file).id for file in self.sdk.files.list().data]

    def delete(self, file_id: str) -> None:
        self.sdk.files.delete(file_id)

    def create(self, file_id: str, endpoint: str = CHAT, **more: Any) -> Job:
        if key := more.pop("idempotency_key", None):
            more["extra_headers"] = {"Idempotency-Key": key}
        if model := more.pop("model", None):
            more["model_id"] = model
        created = self.sdk.batches.create(endpoint=endpoint, input_file_id=file_id, **more)
        assert created.job is not None, created
        return told_job(created.job)

    def job(self, job_id: str) -> Job:
        return told_job(self.sdk.batches.retrieve(job_id))

    def jobs(self) -> list[str]:
        return [told_job(job).id for job in self.sdk.batches.list()]

    def cancel(self, job_id: str) -> Job:
        return told_job(self.sdk.batches.cancel(job_id))

    def with_key(self, key: str) -> Client:
        return TogetherClient(self.options, key=key)

    def at_other_places(self) -> list[Client]:
        paths = ["", "/v1", "/together", "/together/v1"]
        return [TogetherClient(self.options, path) for path in paths]

    def as_refusal(self, error: Exception) -> Refused | None:
        if not isinstance(error, together.APIStatusError):
            return None
        told = error.body["error"]
        retries = int(error.response.request.headers.get("x-stainless-retry-count", 0))
        return Refused(told["message"], error.status_code, told["code"], told["param"], retries)


def told_file(file: Any) -> File:
    assert file.object == "file", file
    assert isinstance(file.created_at, int), file
    return File(id=file.id, bytes=file.bytes, filename=file.filename, purpose=file.purpose)


def told_job(job: Any) -> Job:
    assert job.created_at.tzinfo is not None, job
    assert job.job_deadline > job.created_at, job
    assert 0 <= job.progress <= 100, job
    assert job.file_size_bytes > 0, job
    if job.status == "COMPLETED":
        assert job.progress == 100.0, job
        assert job.completed_at >= job.created_at, job
    return Job(
        id=job.id,
        status=SPELLINGS.get(job.status, job.status.lower()),
        input_file_id=job.input_file_id,
        output_file_id=job.output_file_id,
        error_file_id=job.error_file_id,
        faults=job.error or "",
        model=job.x_model_id,
    )


if __name__ == "__main__":
    play(TogetherClient)
