"""openai 1.x, 2.x and 3.x: the sync and async classes, those for Azure, and module-level calls.

Answers are checked strictly against the SDK's own types wherever it can do that.
"""

import asyncio
from pathlib import Path
from typing import Any

import openai
from blocking import Blocking
from scenario import play
from vocabulary import CHAT, PART_BYTES, Client, File, Job, Options, Refused

AZURE_VERSION = "2024-10-21"


class OpenAiClient(Client):
    def __init__(self, options: Options, base_path: str = "/v1", key: str | None = None) -> None:
        super().__init__(options)
        self.sdk = opened(options, base_path, key or options.key)

    def upload(self, path: Path, lives_seconds: int | None = None) -> File:
        expiry = {"anchor": "created_at", "seconds": lives_seconds}
        more = {} if lives_seconds is None else {"expires_after": expiry}
        with path.open("rb") as data:
            file = self.sdk.files.create(file=data, purpose="batch", **more)
        return told_file(self.sdk.files.wait_for_processing(file.id))

    def upload_in_parts(self, path: Path) -> File:
        upload = self.sdk.uploads.upload_file_chunked(
            file=path, mime_type="application/jsonl", purpose="batch", part_size=PART_BYTES
        )
        assert (upload.status, upload.bytes) == ("completed", path.stat().st_size), upload
        return told_file(upload.file)

    def upload_for(self, path: Path, purpose: str) -> File:
        return told_file(self.sdk.files.create(file=path, purpose=purpose))

    def file(self, file_id: str) -> File:
        return told_file(self.sdk.files.retrieve(file_id))

    def content(self, file_id: str) -> bytes:
        return self.sdk.files.content(file_id).content

    def files(self) -> list[str]:
        return [file.id for file in self.sdk.files.list(limit=5)]

    def page(self, after: str | None, limit: int) -> list[str]:
        cursor = {"purpose": "batch"} if after is None else {"purpose": "batch", "after": after}
        return [file.id for file in self.sdk.files.list(limit=limit, **cursor).data]

    def delete(self, file_id: str) -> None:
        assert self.sdk.files.delete(file_id).deleted is True

    def create(self, file_id: str, endpoint: str = CHAT, **more: Any) -> Job:
        if key := more.pop("idempotency_key", None):
            more["extra_headers"] = {"Idempotency-Key": key}
        if seconds := more.pop("output_lives_seconds", None):
            more["output_expires_after"] = {"anchor": "created_at", "seconds": seconds}
        if self.options.kind == "azure" and endpoint == CHAT:
            # Azure's own pages leave the version out.
            endpoint = CHAT.removeprefix("/v1")
        batch = self.sdk.batches.create(
            input_file_id=file_id, endpoint=endpoint, completion_window="24h", **more
        )
        return told_job(batch)

    def job(self, job_id: str) -> Job:
        return told_job(self.sdk.batches.retrieve(job_id))

    def jobs(self) -> list[str]:
        return [batch.id for batch in self.sdk.batches.list(limit=5)]

    def cancel(self, job_id: str) -> Job:
        return told_job(self.sdk.batches.cancel(job_id))

    def with_key(self, key: str) -> Client:
        return OpenAiClient(self.options, key=key)

    def at_other_places(self) -> list[Client]:
        paths = ["?deployment"] if "azure" in self.options.kind else ["", "/v1/v1", "/openai/v1"]
        return [OpenAiClient(self.options, path) for path in paths]

    def as_refusal(self, error: Exception) -> Refused | None:
        if not isinstance(error, openai.APIStatusError):
            return None
        assert error.request_id, "there is no request id"
        retries = int(error.response.request.headers.get("x-stainless-retry-count", 0))
        return Refused(str(error), error.status_code, error.code, error.param, retries)


def opened(options: Options, base_path: str, key: str) -> Any:
    base_url = options.base_url + base_path
    strict = {"_strict_response_validation": True}
    azure = {"azure_endpoint": options.base_url, "api_version": AZURE_VERSION}
    if base_path == "?deployment":
        azure["azure_deployment"] = "sim"
    match options.kind:
        case "sync":
            return openai.OpenAI(base_url=base_url, api_key=key, **strict)
        case "async":
            sdk = openai.AsyncOpenAI(base_url=base_url, api_key=key, **strict)
            return Blocking(sdk, asyncio.Runner())
        case "azure":
            return openai.AzureOpenAI(api_key=key, **azure, **strict)
        case "azure async":
            sdk = openai.AsyncAzureOpenAI(api_key=key, **azure, **strict)
            return Blocking(sdk, asyncio.Runner())
        case "module":
            # Its client is one for the whole process, and is asked anew for these each time.
            openai.api_key, openai.base_url = key, f"{base_url}/"
            return openai
    raise ValueError(f"there is no kind {options.kind!r}")


def told_file(file: Any) -> File:
    assert file.object == "file", file
    assert file.status == "processed", file
    assert isinstance(file.created_at, int), file
    expires_at = file.expires_at
    return File(
        id=file.id,
        bytes=file.bytes,
        filename=file.filename,
        purpose=file.purpose,
        lives_seconds=None if expires_at is None else expires_at - file.created_at,
    )


def told_job(batch: Any) -> Job:
    told = (batch.object, batch.completion_window, batch.endpoint)
    assert told == ("batch", "24h", CHAT), batch
    times = [batch.created_at, batch.in_progress_at, batch.finalizing_at, batch.completed_at]
    known = [time for time in times if time is not None]
    assert known == sorted(known), batch
    assert all(isinstance(time, int) for time in known), batch
    if batch.status == "completed":
        assert len(known) == len(times), batch
    counts = batch.request_counts
    faults = batch.errors.data if batch.errors else []
    return Job(
        id=batch.id,
        status=batch.status,
        input_file_id=batch.input_file_id,
        output_file_id=batch.output_file_id,
        error_file_id=batch.error_file_id,
        counts=(counts.total, counts.completed, counts.failed),
        metadata=batch.metadata,
        faults=" ".join(f"{fault.code} line {fault.line}: {fault.message}" for fault in faults),
    )


if __name__ == "__main__":
    play(OpenAiClient)
