"""The bytes of a file on their way to a server."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from overnight.client.dialect import OnBytes
from overnight.client.errors import ClientError


class FileContent(io.FileIO):
    """A file that tells how far it has been read, which is how much has been sent."""

    def __init__(self, path: Path, on_bytes: OnBytes) -> None:
        super().__init__(path)
        self._path = path
        self._on_bytes = on_bytes

    def read(self, size: int | None = -1) -> bytes:
        with on_this_machine(self._path):
            data = super().read(-1 if size is None else size) or b""
        if data:
            self._on_bytes(self.tell())
        return data


@contextmanager
def on_this_machine(path: Path) -> Iterator[None]:
    """What the disk refuses is told as the client's other failures are."""
    try:
        yield
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror or error}.") from error


@contextmanager
def opened(path: Path, on_bytes: OnBytes) -> Iterator[FileContent]:
    """Raises `ClientError` when there is no such file, or it has no length to announce."""
    if path.exists() and not path.is_file():
        raise ClientError(
            f"{path} is not a plain file.", "An upload announces its length first: give a file."
        )
    with on_this_machine(path):
        content = FileContent(path, on_bytes)
    with content:
        yield content
