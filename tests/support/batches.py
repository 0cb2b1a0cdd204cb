"""A client of the Batch API in plain HTTP, and what must hold of every result."""

import http.client
import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from support.polling import wait_for

Batch = dict[str, Any]
Line = dict[str, Any]

FINAL = frozenset({"completed", "failed", "expired", "cancelled"})
ENDPOINT = "/v1/chat/completions"


def input_file(ids: Iterable[str], *, model: str = "sim", padding: int = 0) -> bytes:
    """One chat request per id, each body unlike all others; `padding` makes it so much longer."""
    return b"".join(input_line(custom_id, model=model, padding=padding) for custom_id in ids)


def input_line(custom_id: str, *, model: str = "sim", padding: int = 0, **body: object) -> bytes:
    text = f"Say {custom_id}." + " " * padding
    request = {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": text}]}
    line = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": request | body}
    return json.dumps(line).encode() + b"\n"


def numbered(count: int, prefix: str = "r") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


@dataclass(frozen=True, slots=True)
class Results:
    """A job that has ended, and the lines of its files."""

    batch: Batch
    output: list[Line]
    errors: list[Line]

    def codes(self) -> Counter[str]:
        """How many error lines there are of each code."""
        return Counter(line["error"]["code"] for line in self.errors)

    def missing(self, ids: Collection[str]) -> int:
        return len(set(ids) - set(self._ids()))

    def repeated(self) -> int:
        ids = self._ids()
        return len(ids) - len(set(ids))

    def _ids(self) -> list[str]:
        return [line["custom_id"] for line in (*self.output, *self.errors)]

    def assert_whole(self, ids: list[str]) -> None:
        """Every request once, in the order of the input, and counted as the files say."""
        places = {custom_id: place for place, custom_id in enumerate(ids)}
        assert self.missing(ids) == 0
        assert self.repeated() == 0
        for lines in (self.output, self.errors):
            found = [places[line["custom_id"]] for line in lines]
            assert found == sorted(found), "the lines are not in the order of the input"
        line_ids = [line["id"] for line in (*self.output, *self.errors)]
        assert len(set(line_ids)) == len(line_ids)
        counts = {"total": len(ids), "completed": len(self.output), "failed": len(self.errors)}
        assert self.batch["request_counts"] == counts


@dataclass(frozen=True, slots=True)
class BatchClient:
    """One connection per call, so that it never holds on to a process that was killed."""

    base_url: str

    def upload(self, content: bytes) -> str:
        boundary = uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        return str(json.loads(self._call("/v1/files", body, kind))["id"])

    def create(self, file_id: str) -> str:
        wish = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
        return str(self._post("/v1/batches", wish)["id"])

    def submit(self, content: bytes) -> str:
        """Upload and create; returns the batch's id."""
        return self.create(self.upload(content))

    def cancel(self, batch_id: str) -> Batch:
        return self._post(f"/v1/batches/{batch_id}/cancel", {})

    def get(self, batch_id: str) -> Batch:
        batch: Batch = json.loads(self._call(f"/v1/batches/{batch_id}"))
        return batch

    def look(self, batch_id: str) -> Batch | None:
        """As `get`; None while the API is away."""
        try:
            return self.get(batch_id)
        except (OSError, http.client.HTTPException):
            return None

    def finished(self, batch_id: str) -> int:
        """How many requests of it are known to be done."""
        batch = self.look(batch_id)
        counts = batch["request_counts"] if batch else {"completed": 0, "failed": 0}
        return int(counts["completed"] + counts["failed"])

    def wait_for_status(self, batch_id: str, *wanted: str, seconds: float = 30) -> Batch:
        def reached() -> Batch | None:
            batch = self.look(batch_id)
            return batch if batch and batch["status"] in wanted else None

        return wait_for(reached, seconds, f"{' or '.join(wanted)}")

    def wait(self, batch_id: str, seconds: float = 60) -> Batch:
        """Until the job has ended, however."""
        return self.wait_for_status(batch_id, *FINAL, seconds=seconds)

    def results(self, batch_id: str, seconds: float = 60) -> Results:
        """Wait for the end and fetch both files."""
        batch = self.wait(batch_id, seconds)
        output, errors = (self._lines(batch[f"{kind}_file_id"]) for kind in ("output", "error"))
        return Results(batch, output, errors)

    def status_of(self, path: str) -> int:
        """0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"{self.base_url}{path}", timeout=10) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return refusal.code
        except (OSError, http.client.HTTPException):
            return 0

    def _lines(self, file_id: str | None) -> list[Line]:
        if file_id is None:
            return []
        content = self._call(f"/v1/files/{file_id}/content")
        return [json.loads(line) for line in content.splitlines()]

    def _post(self, path: str, body: object) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(self._call(path, json.dumps(body).encode()))
        return reply

    def _call(
        self, path: str, body: bytes | None = None, content_type: str = "application/json"
    ) -> bytes:
        request = urllib.request.Request(f"{self.base_url}{path}", body)
        if body is not None:
            request.add_header("Content-Type", content_type)
        with urllib.request.urlopen(request, timeout=30) as reply:
            content: bytes = reply.read()
        return content
