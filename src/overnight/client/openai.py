"""The OpenAI dialect: one request per file, and lists in pages."""

from collections.abc import Iterator
from typing import Final

from overnight.client.content import opened
from overnight.client.dialect import NewFile, NewJob
from overnight.client.reading import Fields, listed
from overnight.client.transport import Transport

_PAGE_MAX: Final = 100
"""What OpenAI's server gives at most for jobs."""

_LINE_RULES_HEADER: Final = "x-overnight-line-rules"
"""To Overnight: lines may be without `method` and `url`. Other servers do not know it."""


class OpenAiDialect:
    def upload(self, transport: Transport, file: NewFile) -> Fields:
        with opened(file.path, file.on_bytes) as content:
            part = (file.name, content, "application/octet-stream")
            form, files = {"purpose": "batch"}, {"file": part}
            stored = transport.post(
                "/files", data=form, files=files, timeout=transport.upload_timeout
            )
            return Fields(stored)

    def create(self, transport: Transport, job: NewJob) -> Fields:
        body: dict[str, object] = {
            "input_file_id": job.file_id,
            "endpoint": job.endpoint,
            # OpenAI's server takes no job without.
            "completion_window": job.window or "24h",
        }
        if job.metadata:
            body["metadata"] = dict(job.metadata)
        headers = {"idempotency-key": job.key, _LINE_RULES_HEADER: "together"}
        return Fields(transport.post("/batches", json=body, headers=headers))

    def list(self, transport: Transport, path: str, limit: int | None) -> Iterator[Fields]:
        seen: set[str] = set()
        query: dict[str, str | int] = {"limit": min(limit or _PAGE_MAX, _PAGE_MAX)}
        while True:
            reply = transport.get(path, query)
            # A server that does not know `after` answers the same page for ever.
            page = [item for item in listed(reply) if item.text("id") not in seen]
            yield from page
            last = page[-1].text("id") if page else None
            if last is None or not Fields(reply).flag("has_more", default=True):
                return
            seen |= {item.text("id") or "" for item in page}
            query["after"] = last
