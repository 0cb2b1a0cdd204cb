"""One batch through a service on this machine: submitted, watched, its results read."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overnight.cli.progress import ProgressLine
from overnight.cli.remote.watching import show
from overnight.client.client import Client
from overnight.client.views import JobView
from overnight.domain.errors import Unavailable

_POLL_SECONDS: Final = 0.1
_ENDPOINT: Final = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Result:
    """A line of the result file, without what a demo does not show."""

    custom_id: str
    answer: str


@dataclass(slots=True)
class WatchedBatch:
    """`job` is what the service said last. Every method may raise `ClientError`."""

    client: Client
    folder: Path
    """For its files."""
    job: JobView

    @classmethod
    def submit(cls, client: Client, folder: Path, content: bytes) -> "WatchedBatch":
        """From chat requests, a line each."""
        path = folder / "paragraphs.jsonl"
        path.write_bytes(content)
        return cls(client, folder, client.create_job(client.upload(path).id, _ENDPOINT))

    @property
    def done(self) -> int:
        return (self.job.succeeded or 0) + (self.job.failed or 0)

    def watch(
        self, label: str, total: int, *, until: float | None = None, seconds_max: float
    ) -> None:
        """Show how far it is until so many of its requests are done, or it has ended.

        Raises `Unavailable` when that takes too long.
        """
        deadline = time.monotonic() + seconds_max
        with ProgressLine(total, label, stream=sys.stdout) as line:
            while True:
                self.job = self.client.job(self.job.id)
                show(line, self.job)
                if self.job.ended or (until is not None and self.done >= until):
                    return
                if time.monotonic() > deadline:
                    why = self.job.waiting_for or "and it does not say why"
                    raise Unavailable(f"the batch does not get done: {why}")
                time.sleep(_POLL_SECONDS)

    def results(self) -> list[Result]:
        """The successes, in the order of the file. Raises `Unavailable` if there are none."""
        if self.job.output_file_id is None:
            raise Unavailable(f"the batch ended as {self.job.status}, without a result file")
        path = self.folder / "results.jsonl"
        self.client.download(self.job.output_file_id, path)
        return [_result(line) for line in path.read_bytes().splitlines()]


def _result(line: bytes) -> Result:
    result = json.loads(line)
    message = result["response"]["body"]["choices"][0]["message"]
    return Result(result["custom_id"], message["content"])
