"""What happens in the demo, in order, and the words it is told in."""

import json
import os
import shutil
import signal
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final, TypedDict

from overnight.cli.demo.batch import Result, WatchedBatch
from overnight.cli.demo.novel import AUTHOR, TITLE, YEAR, Paragraph, paragraphs
from overnight.cli.demo.processes import cleaning_up_on_signals, running
from overnight.cli.messages import ExitCode
from overnight.cli.probe import get
from overnight.cli.progress import in_bytes
from overnight.cli.remote.connection import Connection, Dialect
from overnight.client.client import Client
from overnight.domain.errors import Unavailable
from overnight.supervisor.supervisor import RUN_FILE_NAME

MODEL: Final = "sim"
DATA_FOLDER: Final = "data"
LATENCY_MS: Final = "200-600"
MAX_IN_FLIGHT: Final = 64
KILL_AT: Final = 0.25
"""Share of the requests done, by a count that is up to two seconds old: about the middle."""

BATCH_SECONDS_MAX: Final = 120.0
_RESTART_SECONDS_MAX: Final = 10.0
_WIDTH_MAX: Final = 88


class EngineStats(TypedDict):
    """The part of what the simulated engine counts that the demo reads."""

    requests: int
    distinct: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What came of it: the result file held against the input."""

    requests: int
    results: int
    missing: int
    twice: int
    kills: int
    repeated: int
    """Requests that the engine received more than once, each time after the first."""

    @property
    def right(self) -> bool:
        return (
            self.results == self.requests
            and not self.missing
            and not self.twice
            and self.kills == 1
        )

    def __str__(self) -> str:
        killed = "once" if self.kills == 1 else f"{self.kills} times"
        return (
            f"{self.requests} requests, {self.results} results, {self.missing} missing, "
            f"{self.twice} twice; worker killed {killed}, {self.repeated} requests repeated"
        )


def tell() -> ExitCode:
    """Run the demo. Raises `Unavailable` when something it needs does not work."""
    book = list(paragraphs())
    say(f"A batch of {len(book)} requests, and a worker that will not live to see it done.\n")
    with (
        cleaning_up_on_signals(),
        tempfile.TemporaryDirectory(prefix="overnight-demo-") as name,
        running(
            *("sim", "--port", "0", "--model", MODEL, "--latency-ms", LATENCY_MS),
            folder=Path(name),
        ) as engine,
    ):
        engine_url = str(engine["base_url"])
        say(f"Engine   {engine_url}, simulated: no GPU, 0.2 to 0.6 s a reply")
        with running(
            *("serve", "--port", "0", "--data-dir", DATA_FOLDER, "--upstream", engine_url),
            *("--max-in-flight", str(MAX_IN_FLIGHT)),
            folder=Path(name),
        ) as service:
            say(f"Service  {service['url']}, SQLite and a temporary folder")
            with Connection(str(service["url"]), None, Dialect.OPENAI).open() as client:
                tally = Demo(book, client, engine_url, Path(name)).run()
    say(str(tally))
    return ExitCode.OK if tally.right else ExitCode.OUR_FAILURE


class Demo:
    """One batch, from the upload to the count."""

    def __init__(
        self, book: Sequence[Paragraph], client: Client, engine_url: str, folder: Path
    ) -> None:
        self._book = book
        self._client = client
        self._folder = folder
        self._stats_url = f"{engine_url.removesuffix('/v1')}/sim/stats"
        self._run_file = folder / DATA_FOLDER / RUN_FILE_NAME
        self._kills = 0

    def run(self) -> Tally:
        batch, total = self._submit(), len(self._book)
        batch.watch("running", total, until=KILL_AT * total, seconds_max=BATCH_SECONDS_MAX)
        if not batch.job.ended:
            self._kill_the_worker()
        batch.watch("going on", total, seconds_max=BATCH_SECONDS_MAX)
        if batch.job.status != "completed":
            raise Unavailable(f"the batch ended as {batch.job.status}")
        results = batch.results()
        show_sample(self._book, results)
        say("Now the count. What the dead worker had not yet written down was asked again:\n")
        return self._count(results)

    def _submit(self) -> WatchedBatch:
        content = b"".join(paragraph.request(MODEL) for paragraph in self._book)
        size = in_bytes(len(content))
        say(f"Input    {len(self._book)} paragraphs of “{TITLE}” ({AUTHOR}, {YEAR}), {size}")
        batch = WatchedBatch.submit(self._client, self._folder, content)
        say(f"Batch    {batch.job.id}; you could go to sleep now\n")
        return batch

    def _kill_the_worker(self) -> None:
        """Without a word of warning, and see that there is another one."""
        victim = self._worker()
        if victim is None:
            raise Unavailable("there is no worker to kill")
        unanswered = self._stats()["in_flight"]
        os.kill(victim, signal.SIGKILL)
        killed_at = time.monotonic()
        self._kills += 1
        say(f"\nNow the bad night: kill -9 of worker {victim}, {unanswered} answers outstanding.")
        while (successor := self._worker()) in {victim, None}:
            if time.monotonic() - killed_at > _RESTART_SECONDS_MAX:
                raise Unavailable("no other worker was started")
            time.sleep(0.01)
        seconds = time.monotonic() - killed_at
        say(
            f"Worker {successor} was there {seconds:.1f} s later. It reads in the journal what is\n"
            "done, and sends the rest.\n"
        )

    def _worker(self) -> int | None:
        pids: list[int] = json.loads(self._run_file.read_text())["pids"]["worker"]
        return pids[0] if pids else None

    def _stats(self) -> EngineStats:
        try:
            _, body = get(self._stats_url)
        except (OSError, HTTPException) as error:
            raise Unavailable(f"{self._stats_url} does not answer: {error}") from error
        stats: EngineStats = json.loads(body)
        return stats

    def _count(self, results: Sequence[Result]) -> Tally:
        times = Counter(result.custom_id for result in results)
        stats = self._stats()
        return Tally(
            requests=len(self._book),
            results=len(results),
            missing=sum(paragraph.custom_id not in times for paragraph in self._book),
            twice=sum(n > 1 for n in times.values()),
            kills=self._kills,
            repeated=stats["requests"] - stats["distinct"],
        )


def show_sample(book: Sequence[Paragraph], results: Sequence[Result]) -> None:
    """Three of them: the first, one from the middle, the last."""
    say("\nThree of the results, in the order of the input, as all of them are:\n")
    texts = {paragraph.custom_id: paragraph.text for paragraph in book}
    for result in results[:: max(1, (len(results) - 1) // 2)][:3]:
        say(f"  {result.custom_id}")
        say(_folded("    ", texts.get(result.custom_id, "(not one of ours)"), lines=1))
        say(_folded("    → ", result.answer, lines=2) + "\n")


def _folded(lead: str, text: str, lines: int) -> str:
    return textwrap.fill(
        text,
        min(_WIDTH_MAX, shutil.get_terminal_size().columns),
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        max_lines=lines,
        placeholder=" …",
    )


def say(words: str) -> None:
    print(words, flush=True)
