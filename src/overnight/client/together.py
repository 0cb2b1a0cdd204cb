"""The Together dialect: uploads in three steps, lists whole, jobs wrapped when created."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, urljoin

import httpx2

from overnight.client.content import FileContent, opened
from overnight.client.dialect import NewFile, NewJob
from overnight.client.errors import BadReply, ClientError
from overnight.client.failures import lacking
from overnight.client.reading import Fields, listed
from overnight.client.server import Address
from overnight.client.transport import Transport

_NAMES_A_PLACE: Final = frozenset({200, 201, 301, 302, 303, 307, 308})


class TogetherDialect:
    def upload(self, transport: Transport, file: NewFile) -> Fields:
        """Ask for a place, put the bytes there, confirm."""
        with opened(file.path, file.on_bytes) as content:
            form = {"purpose": "batch-api", "file_name": file.name, "file_type": "jsonl"}
            reply = transport.send(transport.request("POST", "/files", data=form))
            place = reply.headers.get("location")
            if place is None or reply.status_code not in _NAMES_A_PLACE:
                # It has the file already, or refuses it.
                return Fields(transport.json(reply))
            file_id = reply.headers.get("x-together-file-id")
            if not file_id:
                raise lacking("place for a file", "X-Together-File-Id", transport.address)
            _put(transport, place_of(transport.address, place), content)
        return Fields(transport.post(f"/files/{quote(file_id, safe='')}/preprocess"))

    def create(self, transport: Transport, job: NewJob) -> Fields:
        if job.metadata:
            raise ClientError(
                "The Together dialect has no metadata for jobs.",
                "Leave it out, or use the OpenAI dialect if the server speaks it.",
            )
        body = {"input_file_id": job.file_id, "endpoint": job.endpoint}
        if job.window is not None:
            body["completion_window"] = job.window
        headers = {"idempotency-key": job.key}
        created = Fields(transport.post("/batches", json=body, headers=headers))
        return created.inner("job") if "job" in created else created

    def list(self, transport: Transport, path: str, limit: int | None) -> Iterator[Fields]:  # noqa: ARG002  there are no pages
        items = listed(transport.get(path))
        items.sort(key=lambda item: item.time("created_at") or 0.0, reverse=True)
        return iter(items)


def place_of(address: Address, location: str) -> str:
    """Where the bytes go; raises `BadReply` for a place less safe than the server."""
    place = urljoin(address.url, location)
    if address.url.startswith("https:") and not place.startswith("https:"):
        raise BadReply(f"{address.name} wants the file sent unencrypted, so it was not sent.")
    return place


def _put(transport: Transport, place: str, content: FileContent) -> None:
    """The place carries its own right, so the key stays here."""
    storage = transport.elsewhere(place)
    try:
        request = storage.request("PUT", place, content=content, timeout=storage.upload_timeout)

        def from_the_start() -> httpx2.Request:
            content.seek(0)
            return request()

        storage.expect_success(storage.send(from_the_start))
    finally:
        storage.close()
