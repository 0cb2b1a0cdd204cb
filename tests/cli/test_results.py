"""Fetching result files: in which order, and what is left when it fails half-way."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from overnight.cli.remote.connection import DEFAULT_BASE_URL, Connection, Dialect
from overnight.cli.remote.outcome import Teller
from overnight.cli.remote.results import Results, default_output, destination
from overnight.client.client import Client
from overnight.client.errors import Refused, Unreachable
from overnight.client.views import FileView, JobView
from overnight.domain.errors import ConfigurationError

JOB = JobView(
    "batch_1",
    "completed",
    input_file_id="file-in",
    output_file_id="file-out",
    error_file_id="file-err",
    total=3,
    succeeded=2,
    failed=1,
)
OUT, ERR = Path("out.jsonl"), Path("out.errors.jsonl")


@dataclass
class Shelf:
    """A client with some files; asking for others is refused, or fails as it is told to."""

    files: dict[str, bytes]
    failure: BaseException = field(default_factory=lambda: Refused("no such file", status=404))
    asked: list[str] = field(default_factory=list)

    def file(self, file_id: str) -> FileView:
        return FileView(file_id, "prompts.jsonl", len(self._content(file_id)), "batch", 0.0)

    def download(self, file_id: str, to: Path, *, on_bytes: Callable[[int, int], None]) -> int:
        content = self._content(file_id)
        on_bytes(len(content), len(content))
        return to.write_bytes(content)

    def _content(self, file_id: str) -> bytes:
        self.asked.append(file_id)
        if file_id not in self.files:
            raise self.failure
        return self.files[file_id]

    @property
    def client(self) -> Client:
        return cast("Client", self)


def test_the_output_comes_last() -> None:
    shelf = Shelf({"file-out": b"1\n2\n", "file-err": b"3\n"})
    assert destination(OUT, None, overwrite=False).fetch(shelf.client, JOB) == Results(OUT, ERR)
    assert shelf.asked == ["file-err", "file-out"]
    assert (OUT.read_bytes(), ERR.read_bytes()) == (b"1\n2\n", b"3\n")


def test_errors_alone_do_not_stay_and_block_the_next_try() -> None:
    shelf = Shelf({"file-err": b"3\n"}, Unreachable("cut"))
    with pytest.raises(Unreachable):
        destination(OUT, None, overwrite=False).fetch(shelf.client, JOB)
    assert not ERR.exists()
    destination(OUT, None, overwrite=False)


def test_ctrl_c_while_downloading_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(Connection(DEFAULT_BASE_URL, None, Dialect.AUTO), as_json=False)
    shelf = Shelf({"file-err": b"3\n"}, KeyboardInterrupt())
    with pytest.raises(SystemExit) as ended:
        teller.deliver(shelf.client, JOB, destination(OUT, Path("bad.jsonl"), overwrite=True))
    assert ended.value.code == 130
    command = "overnight jobs download batch_1 --output out.jsonl --errors bad.jsonl --overwrite"
    assert capsys.readouterr().err.endswith(f"hint: go on with: {command}\n")


def test_named_after_the_input_or_the_job() -> None:
    assert default_output(Shelf({"file-in": b""}).client, JOB) == Path("prompts.results.jsonl")
    assert default_output(Shelf({}).client, JOB) == Path("batch_1.results.jsonl")


def test_a_folder_is_no_file() -> None:
    Path("out").mkdir()
    with pytest.raises(ConfigurationError, match="out is a folder"):
        destination(Path("out"), None, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_pipe_is_never_replaced_by_a_file(overwrite: bool) -> None:
    os.mkfifo("pipe")
    with pytest.raises(ConfigurationError, match="pipe is a device or a pipe"):
        destination(OUT, Path("pipe"), overwrite=overwrite)


@pytest.mark.parametrize(
    ("output_id", "error_id", "left"),
    [
        ("file-out", None, {OUT: b"1\n2\n"}),
        (None, "file-err", {ERR: b"3\n"}),
        (None, None, {OUT: b"old", ERR: b"old"}),
    ],
)
def test_what_an_earlier_job_left_is_not_taken_for_this_ones(
    output_id: str | None, error_id: str | None, left: dict[Path, bytes]
) -> None:
    OUT.write_bytes(b"old")
    ERR.write_bytes(b"old")
    shelf = Shelf({"file-out": b"1\n2\n", "file-err": b"3\n"})
    job = replace(JOB, output_file_id=output_id, error_file_id=error_id)
    destination(OUT, None, overwrite=True).fetch(shelf.client, job)
    assert {path: path.read_bytes() for path in (OUT, ERR) if path.exists()} == left
