"""A whole batch with together 2.x or 3.x: `together_3.py BASE_URL INPUT`. Prints JSON.

2.x wants a base URL with `/v1`, 3.x one without; both must work with either.
"""

import json
import sys
import time
from pathlib import Path

import together
from together import Together

ENDED = {"COMPLETED", "FAILED", "EXPIRED", "CANCELLED"}


def main(base_url: str, source: str) -> dict[str, object]:
    client = Together(api_key="any", base_url=base_url)
    file = client.files.upload(file=source, purpose="batch-api")
    assert file.id.startswith("file-"), file
    assert file.bytes == Path(source).stat().st_size, file
    assert client.files.retrieve(file.id).filename == Path(source).name

    job = client.batches.create(endpoint="/v1/chat/completions", input_file_id=file.id).job
    assert job is not None
    assert job.status == "VALIDATING", job
    assert job.created_at.tzinfo is not None, job
    job = wait(client, job.id)
    assert job.status == "COMPLETED", job
    assert job.progress == 100.0, job
    assert job.error is None, job
    assert job.completed_at is not None, job
    ids = download(client, job.output_file_id)

    second = client.batches.create(endpoint="/v1/chat/completions", input_file_id=file.id).job
    cancelled = try_to_cancel(client, second.id)
    assert {job.id, second.id} <= {listed.id for listed in client.batches.list()}
    assert file.id in {listed.id for listed in client.files.list().data}
    wait(client, second.id)
    client.files.delete(file.id)
    assert file.id not in {listed.id for listed in client.files.list().data}
    refused = refusal(client)
    return {
        "custom_ids": ids,
        "cancelled": cancelled,
        "job": job.id,
        "refused": refused,
    }


def wait(client: Together, job_id: str) -> object:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job = client.batches.retrieve(job_id)
        if job.status in ENDED:
            return job
        time.sleep(0.05)
    raise TimeoutError(f"{job} did not end")


def download(client: Together, file_id: str) -> list[str]:
    content = client.files.content(file_id).read()
    return [json.loads(line)["custom_id"] for line in content.splitlines()]


def try_to_cancel(client: Together, job_id: str) -> str:
    """A small job may be over before it can be cancelled; that must be refused at once."""
    began = time.monotonic()
    try:
        return client.batches.cancel(job_id).status
    except together.ConflictError as error:
        assert time.monotonic() - began < 0.9, "a refusal was retried"
        return "too late" if "Cannot cancel a batch with status" in str(error) else str(error)


def refusal(client: Together) -> str:
    try:
        client.batches.retrieve("batch_none")
    except together.NotFoundError as error:
        return error.body["error"]["message"]
    raise AssertionError("there is no such job")


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:3])))
