"""The client: files and jobs of one server, in either dialect."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from overnight.client.views import FileView, JobView


@dataclass(frozen=True, slots=True)
class Server:
    """Where a batch API is: `base_url` with or without `/v1`, a path before it is kept."""

    base_url: str
    api_key: str | None = None
    dialect: Literal["auto", "openai", "together"] = "auto"


class Client:
    """Every method raises `ClientError`; use it in a `with`, or `close` it."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None: ...

    def upload(
        self, path: Path, *, name: str | None = None, on_bytes: Callable[[int], None] | None = None
    ) -> FileView:
        """Send a file as batch input. `on_bytes` is told how many bytes have been sent so far."""
        raise NotImplementedError

    def file(self, file_id: str) -> FileView:
        raise NotImplementedError

    def files(self, *, limit: int | None = None) -> Iterator[FileView]:
        """Newest first; pages are fetched as they are needed."""
        raise NotImplementedError

    def delete_file(self, file_id: str) -> None:
        raise NotImplementedError

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
        raise NotImplementedError

    def create_job(
        self,
        file_id: str,
        endpoint: str,
        *,
        window: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> JobView:
        """`window` is how long the job may take, such as `24h` (the server's own default)."""
        raise NotImplementedError

    def job(self, job_id: str) -> JobView:
        raise NotImplementedError

    def jobs(self, *, limit: int | None = None) -> Iterator[JobView]:
        """Newest first; pages are fetched as they are needed."""
        raise NotImplementedError

    def cancel(self, job_id: str) -> JobView:
        raise NotImplementedError
