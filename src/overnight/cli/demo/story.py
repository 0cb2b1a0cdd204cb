"""What happens in the demo, in order, and the words it is told in."""

import json
import os
import signal
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from overnight.cli.demo.batch_client import Batch, BatchClient, Result, ask
from overnight.cli.demo.novel import AUTHOR, TITLE, YEAR, Paragraph, paragraphs
from overnight.cli.demo.processes import cleaning_up_on_signals, running
from overnight.cli.messages import ExitCode
from overnight.cli.progress import ProgressLine, in_bytes
from overnight.domain.errors import Unavailable
from overnight.supervisor.supervisor import RUN_FILE_NAME

MODEL: Final = "sim"
LATENCY_MS: Final = "200-600"
MAX_IN_FLIGHT: Final = 64
KILL_AT: Final = 0.25
"""Share of the requests done, by a count that is up to two seconds old: about the middle."""

BATCH_SECONDS_MAX: Final = 120.0
_POLL_SECONDS: Final = 0.1
_RESTART_SECONDS_MAX: Final = 10.0
_WIDTH: Final = 88
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})


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
        say(f"Engine   {engine_url}, simulated: no GPU, 0.2 to 0.6 s for an answer")
        data = Path(name) / "data"
        with running(
            *("serve", "--port", "0", "--data-dir", str(data), "--upstream", engine_url),
            *("--max-in-flight", str(MAX_IN_FLIGHT)),
            folder=Path(name),
        ) as service:
            say(f"Service  {service['url']}, SQLite and a temporary folder")
            tally = Demo(book, str(service["url"]), engine_url, data).run()
    say(str(tally))
    return ExitCode.OK if tally.right else ExitCode.OUR_FAILURE


class Demo:
    """One batch, from the upload to the count."""

    def __init__(
        self, book: Sequence[Paragraph], service_url: str, engine_url: str, data: Path
    ) -> None:
        self._book = book
        self._client = BatchClient(service_url)
        self._stats_url = f"{engine_url.removesuffix('/v1')}/sim/stats"
        self._run_file = data / RUN_FILE_NAME
        self._kills = 0

    def run(self) -> Tally:
        batch_id = self._submit()
        enough = KILL_AT * len(self._book)
        batch = self._watch(batch_id, "running", lambda batch: _done(batch) >= enough)
        if batch["status"] not in _ENDED:
            self._kill_the_worker()
        batch = self._watch(batch_id, "going on", lambda _: False)
        if batch["status"] != "completed" or batch["output_file_id"] is None:
            raise Unavailable(f"the batch ended as {batch['status']}, without a result file")
        results = self._client.results(batch["output_file_id"])
        show_sample(self._book, results)
        return self._count(results)

    def _submit(self) -> str:
        content = b"".join(paragraph.request(MODEL) for paragraph in self._book)
        size = in_bytes(len(content))
        say(f"Input    {len(self._book)} paragraphs of “{TITLE}” ({AUTHOR}, {YEAR}), {size}")
        file_id = self._client.upload("paragraphs.jsonl", content)
        batch = self._client.create(file_id, "/v1/chat/completions")
        say(f"Batch    {batch['id']}; you could go to sleep now\n")
        return batch["id"]

    def _watch(self, batch_id: str, label: str, enough: Callable[[Batch], bool]) -> Batch:
        """Show how far the batch is until that is enough or it has ended."""
        deadline = time.monotonic() + BATCH_SECONDS_MAX
        batch = self._client.retrieve(batch_id)
        with ProgressLine(len(self._book), label, stream=sys.stdout) as line:
            _show(line, batch)
            while not (batch["status"] in _ENDED or enough(batch)):
                if time.monotonic() > deadline:
                    why = batch["waiting_for"] or "and it does not say why"
                    raise Unavailable(f"the batch does not get done: {why}")
                time.sleep(_POLL_SECONDS)
                batch = self._client.retrieve(batch_id)
                _show(line, batch)
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
            f"Worker {successor} was there {seconds:.1f} s later. It reads in the journal what is "
            "done, and sends the rest.\n"
        )

    def _worker(self) -> int | None:
        pids: list[int] = json.loads(self._run_file.read_text())["pids"]["worker"]
        return pids[0] if pids else None

    def _stats(self) -> EngineStats:
        stats: EngineStats = json.loads(ask(self._stats_url))
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


def _show(line: ProgressLine, batch: Batch) -> None:
    usage = batch["usage"]
    line.update(
        _done(batch),
        failed=batch["request_counts"]["failed"],
        tokens=usage and usage["total_tokens"],
        retries=batch["retries"],
        note=batch["waiting_for"] or "",
    )


def _done(batch: Batch) -> int:
    counts = batch["request_counts"]
    return counts["completed"] + counts["failed"]


def show_sample(book: Sequence[Paragraph], results: Sequence[Result]) -> None:
    """Three of them: the first, one from the middle, the last."""
    say("\nThree of the results, in the order of the input, as all of them are:\n")
    texts = {paragraph.custom_id: paragraph.text for paragraph in book}
    for result in results[:: max(1, (len(results) - 1) // 2)][:3]:
        say(f"  {result.custom_id}")
        say(_folded("    ", texts.get(result.custom_id, "(not one of ours)"), lines=1))
        say(_folded("    → ", result.answer, lines=2) + "\n")
    say("Now the count. Only what the dead worker had not yet written down was asked again:\n")


def _folded(lead: str, text: str, lines: int) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        max_lines=lines,
        placeholder=" …",
    )


def say(words: str) -> None:
    print(words, flush=True)
