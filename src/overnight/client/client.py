"""The client: files and jobs of one server, in either dialect."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote
from uuid import uuid4

from overnight.client.dialect import Dialect, NewFile, NewJob
from overnight.client.download import Download
from overnight.client.errors import ClientError
from overnight.client.failures import lacking
from overnight.client.openai import OpenAiDialect
from overnight.client.reading import Fields
from overnight.client.retries import Retries
from overnight.client.server import Server, Spelling
from overnight.client.shapes import file_view, job_view
from overnight.client.together import TogetherDialect
from overnight.client.transport import Transport
from overnight.client.views import FileView, JobView
from overnight.client.webhooks import Webhooks

__all__ = ["Client", "Retries", "Server"]

_DIALECTS: Final[Mapping[Spelling, Dialect]] = {
    "openai": OpenAiDialect(),
    "together": TogetherDialect(),
}


class Client:
    """Every method raises `ClientError`; use it in a `with`, or `close` it."""

    def __init__(self, server: Server, retries: Retries | None = None) -> None:
        self.server = server
        self._transport = Transport.to(server, retries or Retries())
        self._dialect = _DIALECTS[self._transport.address.spelling]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    @property
    def webhooks(self) -> Webhooks:
        """Only servers that speak OpenAI's dialect have them."""
        return Webhooks(self._transport)

    def upload(
        self, path: Path, *, name: str | None = None, on_bytes: Callable[[int], None] | None = None
    ) -> FileView:
        """Send a file as batch input. `on_bytes` is told how many bytes have been sent so far."""
        file = NewFile(path, name or path.name, on_bytes or (lambda _: None))
        return self._file(self._dialect.upload(self._transport, file))

    def file(self, file_id: str) -> FileView:
        return self._file(Fields(self._transport.get(_path("files", file_id))))

    def files(self, *, limit: int | None = None) -> Iterator[FileView]:
        """Newest first; pages are fetched as they are needed."""
        listed = self._dialect.list(self._transport, "/files", limit)
        return map(self._file, islice(listed, limit))

    def delete_file(self, file_id: str) -> None:
        self._transport.delete(_path("files", file_id))

    def download(
        self,
        file_id: str,
        to: Path,
        *,
        on_bytes: Callable[[int, int | None], None] | None = None,
    ) -> int:
        """Fetch a file's bytes; `to` appears whole, by rename, and replaces what was there.

        What a cut connection left is kept beside it, and the next call goes on from there.
        `on_bytes` is told the bytes so far and their total (None where the server does not say).
        Returns the length in bytes.
        """
        path = _path("files", file_id, "content")
        return Download(self._transport, path, file_id, to, on_bytes or (lambda _, __: None)).run()

    def create_job(
        self,
        file_id: str,
        endpoint: str,
        *,
        window: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> JobView:
        """`window` is how long the job may take, such as `24h` (the default)."""
        job = NewJob(file_id, endpoint, window, metadata or {}, uuid4().hex)
        return self._job(self._dialect.create(self._transport, job))

    def job(self, job_id: str) -> JobView:
        return self._job(Fields(self._transport.get(_path("batches", job_id))))

    def jobs(self, *, limit: int | None = None) -> Iterator[JobView]:
        """Newest first; pages are fetched as they are needed."""
        listed = self._dialect.list(self._transport, "/batches", limit)
        return map(self._job, islice(listed, limit))

    def cancel(self, job_id: str) -> JobView:
        """What is finished is kept; the job may go on for a while as `cancelling`."""
        return self._job(Fields(self._transport.post(_path("batches", job_id, "cancel"))))

    def _file(self, fields: Fields) -> FileView:
        file_id = fields.word("id")
        if file_id is None:
            raise lacking("file", "id", self._transport.address)
        return file_view(fields, file_id)

    def _job(self, fields: Fields) -> JobView:
        job_id, status = fields.word("id"), fields.word("status")
        if job_id is None or status is None:
            raise lacking("job", "status" if job_id else "id", self._transport.address)
        return job_view(fields, job_id, status)


def _path(*parts: str) -> str:
    """Raises `ClientError` for an id that would make another path of it."""
    if any(part.strip(".") == "" for part in parts):
        raise ClientError("An id is empty.", "`overnight jobs list` and `files list` show them.")
    return "".join("/" + quote(part, safe="") for part in parts)
