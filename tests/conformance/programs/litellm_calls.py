"""litellm's functions for files and batches, for its providers `openai` and `hosted_vllm`.

Its lists are of one page, and what it returns are openai's types.
"""

import asyncio
import inspect
import os
from pathlib import Path
from typing import Any

# Or it asks a server of its own for the prices of models when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import openai
from openai_sdk import told_file, told_job
from scenario import play
from vocabulary import CHAT, Client, File, Job, Options, Refused

RUNNER = asyncio.Runner()


class LitellmClient(Client):
    def __init__(self, options: Options, key: str | None = None) -> None:
        super().__init__(options)
        provider, _, self.is_async = options.kind.partition(" ")
        self.given = {
            "custom_llm_provider": provider,
            "api_base": f"{options.base_url}/v1",
            "api_key": key or options.key,
        }

    def call(self, name: str, **named: Any) -> Any:
        result = getattr(litellm, f"a{name}" if self.is_async else name)(**named, **self.given)
        return RUNNER.run(settled(result)) if inspect.isawaitable(result) else result

    def upload(self, path: Path, lives_seconds: int | None = None) -> File:
        expiry = {"anchor": "created_at", "seconds": lives_seconds}
        more = {} if lives_seconds is None else {"expires_after": expiry}
        with path.open("rb") as data:
            return told_file(self.call("create_file", file=data, purpose="batch", **more))

    def upload_for(self, path: Path, purpose: str) -> File:
        with path.open("rb") as data:
            return told_file(self.call("create_file", file=data, purpose=purpose))

    def file(self, file_id: str) -> File:
        return told_file(self.call("file_retrieve", file_id=file_id))

    def content(self, file_id: str) -> bytes:
        return self.call("file_content", file_id=file_id).content

    def files(self) -> list[str]:
        listed = self.call("file_list")
        return [file.id for file in getattr(listed, "data", listed)]

    def delete(self, file_id: str) -> None:
        assert self.call("file_delete", file_id=file_id).deleted is True

    def create(self, file_id: str, endpoint: str = CHAT, **more: Any) -> Job:
        if key := more.pop("idempotency_key", None):
            more["extra_headers"] = {"Idempotency-Key": key}
        if seconds := more.pop("output_lives_seconds", None):
            more["output_expires_after"] = {"anchor": "created_at", "seconds": seconds}
        created = self.call(
            "create_batch",
            input_file_id=file_id,
            endpoint=endpoint,
            completion_window="24h",
            **more,
        )
        return told_job(created)

    def job(self, job_id: str) -> Job:
        return told_job(self.call("retrieve_batch", batch_id=job_id))

    def jobs(self) -> list[str]:
        return [batch.id for batch in self.call("list_batches", limit=100).data]

    def cancel(self, job_id: str) -> Job:
        return told_job(self.call("cancel_batch", batch_id=job_id))

    def with_key(self, key: str) -> Client:
        return LitellmClient(self.options, key)

    def as_refusal(self, error: Exception) -> Refused | None:
        if not isinstance(error, openai.APIStatusError):
            return None
        return Refused(str(error), error.status_code, error.code, error.param)


async def settled(awaitable: Any) -> Any:
    return await awaitable


if __name__ == "__main__":
    play(LitellmClient)
