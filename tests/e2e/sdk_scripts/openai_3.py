"""A whole batch with openai 1.x, 2.x or 3.x: `openai_3.py BASE_URL INPUT`. Prints JSON.

The client checks every answer strictly against the SDK's own types.
"""

import json
import sys
import time
from pathlib import Path

import openai
from openai import OpenAI

ENDED = {"completed", "failed", "expired", "cancelled"}
CHAT = "/v1/chat/completions"


def main(base_url: str, source: str) -> dict[str, object]:
    client = OpenAI(api_key="any", base_url=f"{base_url}/v1", _strict_response_validation=True)
    with open(source, "rb") as data:
        file = client.files.create(file=data, purpose="batch")
    assert file.status == "processed", file
    assert file.bytes == Path(source).stat().st_size, file
    assert client.files.retrieve(file.id).filename == Path(source).name
    assert client.files.wait_for_processing(file.id).id == file.id

    batch = client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"run": "1"}
    )
    assert batch.status == "validating", batch
    assert batch.request_counts.total == 0, batch
    batch = wait(client, batch.id)
    assert batch.status == "completed", batch
    assert batch.metadata == {"run": "1"}, batch
    assert batch.completed_at >= batch.in_progress_at >= batch.created_at, batch
    assert batch.errors is None, batch
    ids = custom_ids(client.files.content(batch.output_file_id).text)
    assert batch.request_counts.completed == len(ids), batch

    second = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    cancelled = try_to_cancel(client, second.id)
    # One to a page, so that the client asks for the next ones itself.
    assert [listed.id for listed in client.batches.list(limit=1)][:2] == [second.id, batch.id]
    assert file.id in [listed.id for listed in client.files.list(purpose="batch", limit=1)]
    wait(client, second.id)
    assert client.files.delete(file.id).deleted is True
    assert file.id not in [listed.id for listed in client.files.list()]
    return {
        "custom_ids": ids,
        "cancelled": cancelled,
        "job": batch.id,
        "refused": refusals(client),
    }


def wait(client: OpenAI, batch_id: str) -> object:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        batch = client.batches.retrieve(batch_id)
        if batch.status in ENDED:
            return batch
        time.sleep(0.05)
    raise TimeoutError(f"{batch} did not end")


def custom_ids(text: str) -> list[str]:
    return [json.loads(line)["custom_id"] for line in text.split("\n") if line]


def try_to_cancel(client: OpenAI, batch_id: str) -> str:
    """A small job may be over before it can be cancelled; that must be refused at once."""
    began = time.monotonic()
    try:
        return client.batches.cancel(batch_id).status
    except openai.ConflictError as error:
        assert time.monotonic() - began < 0.4, "a refusal was retried"
        return "too late" if "Cannot cancel a batch with status" in str(error) else str(error)


def refusals(client: OpenAI) -> dict[str, object]:
    seen: dict[str, object] = {}
    try:
        client.batches.retrieve("batch_none")
    except openai.NotFoundError as error:
        seen["retrieve"] = [error.code, error.param, error.request_id is not None]
    try:
        client.batches.create(
            input_file_id="file-none", endpoint="/v1/none", completion_window="24h"
        )
    except openai.BadRequestError as error:
        seen["endpoint"] = [error.code, error.param, error.request_id is not None]
    try:
        client.files.create(file=("a.jsonl", b""), purpose="no purpose!")
    except openai.BadRequestError as error:
        seen["purpose"] = [error.code, error.param, error.request_id is not None]
    return seen


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:3])))
