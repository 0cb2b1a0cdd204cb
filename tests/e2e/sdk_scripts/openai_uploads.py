"""Uploads in parts with any openai SDK: `openai_uploads.py BASE_URL INPUT`. Prints JSON."""

import asyncio
import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
from openai import AsyncOpenAI, OpenAI

PART_BYTES = 1 << 20


def main(base_url: str, source: str) -> dict[str, object]:
    client = OpenAI(api_key="any", base_url=f"{base_url}/v1")
    data = Path(source).read_bytes()
    md5 = hashlib.md5(data).hexdigest()
    chunked = client.uploads.upload_file_chunked(
        file=Path(source), mime_type="text/jsonl", purpose="batch", part_size=PART_BYTES, md5=md5
    )
    assert chunked.status == "completed", chunked
    assert chunked.file.bytes == len(data), chunked
    from_memory = client.uploads.upload_file_chunked(
        file=data, filename="in.jsonl", bytes=len(data), mime_type="text/jsonl", purpose="batch"
    )
    files = [chunked.file.id, from_memory.file.id, side_by_side(client, data)]
    files.append(asyncio.run(upload_async(base_url, source)))
    for file_id in files:
        assert client.files.content(file_id).read() == data
    return {"files": files, "refused": refusal(client)}


def side_by_side(client: OpenAI, data: bytes) -> str:
    """Parts at once, and completed by their ids in the right order."""
    upload = announce(client, len(data))
    pieces = [data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)]
    with ThreadPoolExecutor(4) as threads:
        parts = threads.map(
            lambda piece: client.uploads.parts.create(upload.id, data=piece), pieces
        )
        part_ids = [part.id for part in parts]
    return client.uploads.complete(upload.id, part_ids=part_ids).file.id


async def upload_async(base_url: str, source: str) -> str:
    async with AsyncOpenAI(api_key="any", base_url=f"{base_url}/v1") as client:
        upload = await client.uploads.upload_file_chunked(
            file=Path(source), mime_type="text/jsonl", purpose="batch", part_size=PART_BYTES
        )
        return upload.file.id


def announce(client: OpenAI, size: int) -> object:
    return client.uploads.create(
        bytes=size, filename="in.jsonl", mime_type="text/jsonl", purpose="batch"
    )


def refusal(client: OpenAI) -> list[str]:
    upload = announce(client, 3)
    client.uploads.parts.create(upload.id, data=b"abc")
    assert client.uploads.cancel(upload.id).status == "cancelled"
    try:
        client.uploads.complete(upload.id, part_ids=[])
    except openai.ConflictError as error:
        retries = error.response.request.headers["x-stainless-retry-count"]
        return [error.code, upload.status, retries]
    raise AssertionError("it was cancelled")


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:3])))
