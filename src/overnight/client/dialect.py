"""What the dialects do differently. Both are plain functions of a transport."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from overnight.client.reading import Fields
from overnight.client.transport import Transport

OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class NewFile:
    path: Path
    name: str
    on_bytes: OnBytes
    """Told how many bytes have been sent so far."""


@dataclass(frozen=True, slots=True)
class NewJob:
    file_id: str
    endpoint: str
    window: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    """The same for each try, so that a server can tell a repetition from a second wish."""


class Dialect(Protocol):
    """Every method raises `ClientError`."""

    def upload(self, transport: Transport, file: NewFile) -> Fields: ...

    def create(self, transport: Transport, job: NewJob) -> Fields: ...

    def list(self, transport: Transport, path: str, limit: int | None) -> Iterator[Fields]:
        """The files or jobs, newest first, and not many more than `limit`."""
        ...
