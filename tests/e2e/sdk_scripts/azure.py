"""Files and batches with openai's classes for Azure: `azure.py BASE_URL KEY`. Prints JSON."""

import asyncio
import json
import sys

import openai
from openai import AsyncAzureOpenAI, AzureOpenAI

CHAT = "/v1/chat/completions"
VERSION = "2024-10-21"


def main(base_url: str, key: str) -> dict[str, object]:
    ways = {"plain": {}, "deployment": {"azure_deployment": "sim"}}
    seen: dict[str, object] = {}
    for way, more in ways.items():
        client = AzureOpenAI(azure_endpoint=base_url, api_key=key, api_version=VERSION, **more)
        file = client.files.create(file=("in.jsonl", b"{}\n"), purpose="batch")
        assert client.files.retrieve(file.id).filename == "in.jsonl"
        assert client.files.content(file.id).read() == b"{}\n"
        assert [listed.id for listed in client.files.list(limit=1).data] == [file.id]
        # Azure's own pages leave the version out.
        endpoint = CHAT.removeprefix("/v1") if way == "deployment" else CHAT
        batch = client.batches.create(
            input_file_id=file.id, endpoint=endpoint, completion_window="24h"
        )
        assert batch.endpoint == CHAT
        assert client.batches.retrieve(batch.id).object == "batch"
        assert [listed.id for listed in client.batches.list(limit=1).data] == [batch.id]
        assert client.batches.cancel(batch.id).status in {"cancelling", "cancelled"}
        assert client.files.delete(file.id).deleted
        seen[way] = batch.id
    seen["listed"] = asyncio.run(listed(base_url, key))
    wrong = AzureOpenAI(azure_endpoint=base_url, api_key="wrong", api_version=VERSION)
    try:
        wrong.files.list()
    except openai.AuthenticationError as error:
        seen["refused"] = [error.code, "API key" in str(error)]
    return seen


async def listed(base_url: str, key: str) -> int:
    async with AsyncAzureOpenAI(
        azure_endpoint=base_url, api_key=key, api_version=VERSION
    ) as client:
        return len([batch async for batch in client.batches.list()])


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
