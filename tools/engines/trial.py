"""Overnight before a real engine: measured against a plain loop, then the engine is killed."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Final

from overnight.cli.demo.processes import running
from overnight.cli.progress import ProgressLine
from tools.engines.batch import Line, Look, Tally, batch, requests, tally, too_long
from tools.engines.catalogue import Engine
from tools.engines.direct import Pass, drive
from tools.engines.installation import install
from tools.engines.process import EngineProcess, running_engine
from tools.environment import say

KILL_AT: Final = 0.4
"""Share of the requests done, by a count that is up to two seconds old."""
_COUNT_AGE_SECONDS: Final = 3.0


@dataclass(frozen=True)
class Outage:
    """What the kill cost. Seconds are since the kill."""

    ready_seconds: float
    """Until the engine answered us again."""
    resumed_seconds: float
    """Until the batch was seen to move again."""
    said: str
    """What the job said it was waiting for."""


@dataclass(frozen=True)
class Setting:
    """An engine that is ready, a service before it, a folder for files."""

    engine: EngineProcess
    service_url: str
    folder: Path


@contextmanager
def serving(process: EngineProcess) -> Iterator[Setting]:
    """`overnight serve` before the engine."""
    with tempfile.TemporaryDirectory(prefix="overnight-trial-") as name:
        folder = Path(name)
        with running(
            *("serve", "--port", "0", "--data-dir", str(folder / "data")),
            *("--upstream", process.base_url),
            *("--max-in-flight", str(process.engine.max_in_flight)),
            folder=folder,
        ) as service:
            yield Setting(process, str(service["url"]), folder)


def undisturbed(setting: Setting, lines: Sequence[Line]) -> Pass:
    """One batch, from `create` to its end."""
    *_, last = _watch(setting, lines, "batch")
    if last.status != "COMPLETED" or last.seconds is None or last.failed:
        raise AssertionError(f"a batch that nobody disturbed ended as {last}")
    counted = tally(lines, setting.folder, last)
    return Pass(len(lines), counted.completion_tokens, last.seconds)


def killed(setting: Setting, lines: Sequence[Line]) -> tuple[Look, Outage]:
    """One batch whose engine is killed and started again; returns how it ended."""
    engine, outage = setting.engine, _OutageWatch()
    look: Look | None = None
    with ThreadPoolExecutor(max_workers=1) as threads:
        for look in _watch(setting, lines, "batch with a kill"):
            if not outage.begun and look.total and look.done >= KILL_AT * look.total:
                engine.kill()
                outage.begin(look)
                engine.start()
                outage.ready = threads.submit(engine.wait_until_ready)
            outage.see(look)
    if look is None or not outage.begun:
        raise AssertionError("the batch ended before its engine could be killed")
    return look, outage.outage()


class _OutageWatch:
    def __init__(self) -> None:
        self.ready: Future[float] | None = None
        self._killed_at = 0.0
        self._done_before = 0
        self._resumed_seconds: float | None = None
        self._said = ""

    @property
    def begun(self) -> bool:
        return self.ready is not None or self._killed_at > 0

    def begin(self, look: Look) -> None:
        self._killed_at = time.monotonic()
        self._done_before = look.done

    def see(self, look: Look) -> None:
        """What was done before the kill may be counted a little after it."""
        if not self.begun or self._resumed_seconds is not None:
            return
        since = time.monotonic() - self._killed_at
        self._said = look.waiting_for or self._said
        if since < _COUNT_AGE_SECONDS:
            self._done_before = look.done
        elif look.done > self._done_before:
            self._resumed_seconds = since

    def outage(self) -> Outage:
        if self.ready is None or self._resumed_seconds is None:
            raise AssertionError("the batch did not go on after the kill")
        return Outage(self.ready.result(), self._resumed_seconds, self._said)


def _watch(setting: Setting, lines: Sequence[Line], label: str) -> Iterator[Look]:
    with (
        ProgressLine(len(lines), label, stream=sys.stdout) as line,
        batch(setting.service_url, lines, setting.folder) as looks,
    ):
        for look in looks:
            line.update(
                look.done, failed=look.failed, retries=look.retries, note=look.waiting_for or ""
            )
            yield look


def try_out(engine: Engine) -> bool:
    """Install, start, measure, kill, count; prints all figures and says whether all was right."""
    figures = [("install", str(install(engine)))]
    with running_engine(engine) as process:
        say(f"Starting {engine.title} …")
        figures.append(("start", f"first answer after {process.wait_until_ready():.1f} s"))
        with serving(process) as setting:
            lines = requests(engine.served_as, engine.requests)
            figures += _rates(setting, lines)
            lines.insert(len(lines) // 2, too_long(engine.served_as))
            answers_before = process.answers()
            last, outage = killed(setting, lines)
            counted = tally(lines, setting.folder, last)
            # One of them was the question whether it was back.
            repeated = process.answers() - answers_before - 1 - counted.succeeded
    figures += _night(outage, counted)
    figures.append(("repeated", f"{repeated} requests that had been answered before"))
    wrong = list(_wrong(engine, last, counted))
    width = max(len(name) for name, _ in figures)
    load = os.getloadavg()[1]
    say(f"\n{engine.title}, {engine.max_in_flight} in flight; load {load:.1f} on this machine")
    for name, words in figures:
        say(f"  {name:{width}}  {words}".rstrip())
    for words in wrong:
        say(f"  WRONG: {words}")
    return not wrong


def _rates(setting: Setting, lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Batch and loop in turn, so that a slow moment of the machine strikes both."""
    process = setting.engine
    in_flight = process.engine.max_in_flight
    drive(process.base_url, lines[: 2 * in_flight], in_flight)  # To warm it up.
    loops, batches = [], []
    for _ in range(2):
        loops.append(drive(process.base_url, lines, in_flight))
        batches.append(undisturbed(setting, lines))
    loops.append(drive(process.base_url, lines, in_flight))
    ratio = mean(one.rate for one in batches) / mean(one.rate for one in loops)
    return [
        *(("plain loop", str(one)) for one in loops),
        *(("batch", str(one)) for one in batches),
        ("ratio", f"{ratio:.2f} of the plain loop's rate, by the means"),
    ]


def _night(outage: Outage, counted: Tally) -> list[tuple[str, str]]:
    return [
        ("kill -9", f"engine back after {outage.ready_seconds:.1f} s"),
        ("", f"batch seen to go on after {outage.resumed_seconds:.1f} s"),
        ("it said", outage.said or "nothing"),
        ("results", str(counted)),
        ("tokens", f"{counted.prompt_tokens:,} prompt, {counted.completion_tokens:,} completion"),
    ]


def _wrong(engine: Engine, last: Look, counted: Tally) -> Iterator[str]:
    """Whatever is not as promised."""
    if last.status != "COMPLETED":
        yield f"the batch ended as {last.status}: {last.error}"
    if not counted.whole:
        yield f"the files are not one result per request: {counted}"
    failures = counted.requests - counted.succeeded
    too_long_ones = 1 if engine.refuses_long_prompts else 0
    if failures != too_long_ones:
        yield f"{failures} requests failed, not {too_long_ones}"
    if any(not 400 <= status < 500 for status in counted.refused):
        yield "a failure is not the engine's 4xx for the prompt that is too long"
