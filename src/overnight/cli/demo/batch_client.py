"""The batch API with nothing but the standard library, to show that there is no magic in it.

It speaks the OpenAI dialect by its explicit prefix. Whoever uses an SDK changes `base_url` only.
"""

import json
import secrets
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final, TypedDict
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from overnight.domain.errors import Unavailable

TIMEOUT_SECONDS: Final = 20.0

_open = build_opener(ProxyHandler({})).open
"""Everything is on this machine: a proxy from the environment would only be in the way."""


class RequestCounts(TypedDict):
    total: int
    completed: int
    failed: int


class Usage(TypedDict):
    total_tokens: int


class Batch(TypedDict):
    """The fields that the demo reads."""

    id: str
    status: str
    output_file_id: str | None
    request_counts: RequestCounts
    usage: Usage | None
    retries: int
    waiting_for: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """A line of the result file, without what the demo does not show."""

    custom_id: str
    answer: str


class BatchClient:
    """Every method raises `Unavailable` when the service does not answer, or with a refusal."""

    def __init__(self, url: str) -> None:
        self._base_url = f"{url}/openai/v1"

    def upload(self, name: str, content: bytes) -> str:
        """Store an input file; returns its id."""
        boundary = secrets.token_hex(16)
        body = b"".join(
            (
                f"--{boundary}\r\n"
                'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
                f"--{boundary}\r\n"
                f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode(),
                content,
                f"\r\n--{boundary}--\r\n".encode(),
            )
        )
        kind = f"multipart/form-data; boundary={boundary}"
        file_id: str = json.loads(ask(f"{self._base_url}/files", body, kind))["id"]
        return file_id

    def create(self, file_id: str, endpoint: str) -> Batch:
        wish = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h"}
        body = json.dumps(wish).encode()
        batch: Batch = json.loads(ask(f"{self._base_url}/batches", body, "application/json"))
        return batch

    def retrieve(self, batch_id: str) -> Batch:
        batch: Batch = json.loads(ask(f"{self._base_url}/batches/{batch_id}"))
        return batch

    def results(self, file_id: str) -> list[Result]:
        """The successes of chat completions, in the order of the file."""
        lines = ask(f"{self._base_url}/files/{file_id}/content").splitlines()
        return [_result(line) for line in lines]


def _result(line: bytes) -> Result:
    result = json.loads(line)
    message = result["response"]["body"]["choices"][0]["message"]
    return Result(result["custom_id"], message["content"])


def ask(url: str, body: bytes | None = None, content_type: str | None = None) -> bytes:
    """GET, or POST when there is a body. Raises `Unavailable`."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    try:
        with _open(Request(url, body, headers), timeout=TIMEOUT_SECONDS) as reply:  # noqa: S310
            content: bytes = reply.read()
            return content
    except HTTPError as refusal:
        with refusal:
            words = refusal.read(1000).decode(errors="replace")
        raise Unavailable(f"{url} answered {refusal.code}: {words}") from None
    except (OSError, HTTPException) as error:
        raise Unavailable(f"{url} does not answer: {error}") from error
