"""A whole batch with together 1.x: `together_1.py BASE_URL INPUT`. Prints what it saw as JSON."""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from together import Together
from together.error import TogetherException
from together.types.batch import BatchJobStatus

ENDED = {"COMPLETED", "FAILED", "EXPIRED", "CANCELLED"}


def main(base_url: str, source: str) -> dict[str, object]:
    client = Together(api_key="any", base_url=f"{base_url}/v1")
    file = client.files.upload(file=source, purpose="batch-api", check=False)
    assert file.id.startswith("file-"), file
    assert file.bytes == Path(source).stat().st_size, file
    assert client.files.retrieve(file.id).filename == Path(source).name

    job = client.batches.create_batch(file.id, "/v1/chat/completions")
    assert isinstance(job.status, BatchJobStatus), job
    assert job.input_file_id == file.id, job
    assert job.created_at.tzinfo is not None, job
    job = wait(client, job.id)
    assert job.status is BatchJobStatus.COMPLETED, job
    assert job.progress == 100.0, job
    assert job.file_size_bytes == file.bytes, job
    ids = download(client, job.output_file_id)

    second = client.batches.create_batch(file.id, "/v1/chat/completions")
    cancelled = try_to_cancel(client, second.id)
    assert {job.id, second.id} <= {listed.id for listed in client.batches.list_batches()}
    assert file.id in {listed.id for listed in client.files.list().data}
    wait(client, second.id)
    assert client.files.delete(file.id).deleted is True
    assert file.id not in {listed.id for listed in client.files.list().data}
    return {"custom_ids": ids, "cancelled": cancelled, "job": job.id}


def wait(client: Together, job_id: str) -> object:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job = client.batches.get_batch(job_id)
        if job.status.value in ENDED:
            return job
        time.sleep(0.05)
    raise TimeoutError(f"{job} did not end")


def download(client: Together, file_id: str) -> list[str]:
    with TemporaryDirectory() as folder:
        target = Path(folder) / "output.jsonl"
        client.files.retrieve_content(file_id, output=str(target))
        return [json.loads(line)["custom_id"] for line in target.read_bytes().splitlines()]


def try_to_cancel(client: Together, job_id: str) -> str:
    """A small job may be over before it can be cancelled; then the refusal must be readable."""
    try:
        return client.batches.cancel_batch(job_id).status.value
    except TogetherException as error:
        return "too late" if "Cannot cancel a batch with status" in str(error) else str(error)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:3])))
