"""together 1.x, sync and async; what only its sync class has, that one does in both kinds."""

import asyncio
from pathlib import Path
from typing import Any

from blocking import Blocking
from scenario import play
from together import AsyncTogether, Together, filemanager
from together.error import TogetherException
from together.resources import files as uploading
from together.types.batch import BatchJobStatus
from vocabulary import CHAT, PART_BYTES, Client, File, Job, NotOffered, Options, Refused

# Parts are for files above 5 GiB, and not a test's.
filemanager.MIN_PART_SIZE_MB, filemanager.TARGET_PART_SIZE_MB = 0, PART_BYTES / 1024**2
ONE_REQUEST_GIB_MAX = uploading.MULTIPART_THRESHOLD_GB
SPELLINGS = {BatchJobStatus.CANCELING: "cancelling"}


class TogetherClient(Client):
    has_metadata = False

    def __init__(self, options: Options, base_path: str = "/v1", key: str = "") -> None:
        super().__init__(options)
        given = {"base_url": options.base_url + base_path, "api_key": key or options.key}
        self.sync = Together(**given)
        self.sdk: Any = self.sync
        if options.kind == "async":
            self.sdk = Blocking(AsyncTogether(**given), asyncio.Runner())

    def upload(self, path: Path, lives_seconds: int | None = None) -> File:
        return told_file(self.sync.files.upload(file=path, purpose="batch-api", check=False))

    def upload_in_parts(self, path: Path) -> File:
        uploading.MULTIPART_THRESHOLD_GB = 0
        try:
            return self.upload(path)
        finally:
            uploading.MULTIPART_THRESHOLD_GB = ONE_REQUEST_GIB_MAX

    def file(self, file_id: str) -> File:
        return told_file(self.sdk.files.retrieve(file_id))

    def content(self, file_id: str) -> bytes:
        target = self.options.folder / "downloaded.jsonl"
        self.sync.files.retrieve_content(file_id, output=target)
        return target.read_bytes()

    def files(self) -> list[str]:
        return [told_file(file).id for file in self.sdk.files.list().data]

    def delete(self, file_id: str) -> None:
        assert self.sdk.files.delete(file_id).deleted is True

    def create(self, file_id: str, endpoint: str = CHAT, **more: Any) -> Job:
        if more:
            raise NotOffered
        return told_job(self.sdk.batches.create_batch(file_id, endpoint))

    def job(self, job_id: str) -> Job:
        return told_job(self.sdk.batches.get_batch(job_id))

    def jobs(self) -> list[str]:
        return [told_job(job).id for job in self.sdk.batches.list_batches()]

    def cancel(self, job_id: str) -> Job:
        return told_job(self.sdk.batches.cancel_batch(job_id))

    def with_key(self, key: str) -> Client:
        return TogetherClient(self.options, key=key)

    def at_other_places(self) -> list[Client]:
        return [TogetherClient(self.options, path) for path in ("", "/together/v1")]

    def as_refusal(self, error: Exception) -> Refused | None:
        """A failed download has no text of the server's, for the SDK keeps it to itself."""
        if not isinstance(error, TogetherException):
            return None
        # Its own `str` fails for an error that an async class raised.
        text = error._message
        return Refused("" if "Error downloading" in text else text, error.http_status)


def told_file(file: Any) -> File:
    assert file.bytes is not None, file
    # Its enum knows four purposes; a file with any other must come without.
    purpose = file.purpose.value if file.purpose else ""
    return File(id=file.id, bytes=file.bytes, filename=file.filename, purpose=purpose)


def told_job(job: Any) -> Job:
    assert isinstance(job.status, BatchJobStatus), job
    assert job.created_at.tzinfo is not None, job
    assert job.file_size_bytes > 0, job
    if job.status is BatchJobStatus.COMPLETED:
        assert job.progress == 100.0, job
    return Job(
        id=job.id,
        status=SPELLINGS.get(job.status, job.status.value.lower()),
        input_file_id=job.input_file_id,
        output_file_id=job.output_file_id,
        error_file_id=job.error_file_id,
        faults=job.error or "",
        model=job.model_id,
    )


if __name__ == "__main__":
    play(TogetherClient)
