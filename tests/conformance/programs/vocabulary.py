"""What a client can be asked, in words that are the same for all.

Runs inside the environment of the client, so it uses the standard library only.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

CHAT = "/v1/chat/completions"
PART_BYTES = 128 * 1024


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the suite tells a program, as JSON in its one argument."""

    base_url: str
    """Without any path."""
    key: str
    folder: Path
    """For the files it makes."""
    rows: Path
    """Where a line is added for each step, so that those of a program that hangs are not lost."""
    steps: list[str]
    kind: str = ""
    command: str = ""

    @staticmethod
    def read() -> "Options":
        given = json.loads(sys.argv[1])
        return Options(**given | {name: Path(given[name]) for name in ("folder", "rows")})


@dataclass(frozen=True, kw_only=True)
class File:
    """What all clients tell of a file, as far as they do."""

    id: str
    bytes: int
    filename: str
    purpose: str
    lives_seconds: int | None = None
    """From creation to expiry."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job, its status in OpenAI's words."""

    id: str
    status: str
    input_file_id: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    counts: tuple[int, int, int] | None = None
    """Total, completed, failed; where the dialect has them."""
    metadata: dict[str, str] | None = None
    faults: str = ""
    model: str | None = None


class NotOffered(Exception):  # noqa: N818
    """The client has no such call."""


@dataclass(eq=False)
class Refused(Exception):  # noqa: N818
    """An error answer, as the client's user sees it; None is what the client does not tell."""

    message: str
    status: int | None = None
    code: str | None = None
    param: str | None = None
    retries: int | None = None

    def must_be(self, status: int, param: str | None = None) -> None:
        """That status, not asked for again, with a string `code`; `param` or what begins so."""
        assert self.status in (None, status), self
        assert self.retries in (None, 0), f"retried {self.retries} times: {self!r}"
        assert self.code is None or isinstance(self.code, str), f"the code is no string: {self!r}"
        if param is not None and self.param is not None:
            assert self.param.partition(".")[0] == param, f"param is not {param}: {self!r}"


class Client:
    """What a program implements; a call it leaves out is one its SDK does not have."""

    has_metadata = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def upload(self, path: Path, lives_seconds: int | None = None) -> File:
        raise NotOffered

    def upload_in_parts(self, path: Path) -> File:
        """In parts of about `PART_BYTES`."""
        raise NotOffered

    def upload_for(self, path: Path, purpose: str) -> File:
        raise NotOffered

    def file(self, file_id: str) -> File:
        raise NotOffered

    def content(self, file_id: str) -> bytes:
        raise NotOffered

    def files(self) -> list[str]:
        """The ids of all, newest first, in small pages where there are pages."""
        raise NotOffered

    def page(self, after: str | None, limit: int) -> list[str]:
        """The ids of one page of input files; results of jobs may come at any time."""
        raise NotOffered

    def delete(self, file_id: str) -> None:
        raise NotOffered

    def create(self, file_id: str, endpoint: str = CHAT, **more: object) -> Job:
        """`more`: `metadata`, `idempotency_key`, `output_lives_seconds`, `model`, `priority`."""
        raise NotOffered

    def job(self, job_id: str) -> Job:
        raise NotOffered

    def jobs(self) -> list[str]:
        raise NotOffered

    def cancel(self, job_id: str) -> Job:
        raise NotOffered

    def results(self, job: Job) -> bytes:
        """The output of a job that has ended."""
        return self.content(job.output_file_id or "")

    def with_key(self, key: str) -> "Client":
        raise NotOffered

    def at_other_places(self) -> "list[Client]":
        """The same client with other base URLs that people come with."""
        raise NotOffered

    def as_refusal(self, error: Exception) -> Refused | None:
        """None when the error is no answer of the server."""
        return None
