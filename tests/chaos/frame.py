"""What a scenario is, what it is given, and what it tells."""

import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

ROUND_SECONDS_MAX = 420.0
"""A round that has not ended by then hangs, on however slow a machine."""


class NotHere(Exception):  # noqa: N818  nothing went wrong
    """This machine can not play the scenario; the message says what it lacks."""


@dataclass(slots=True)
class Tally:
    """What was done to the service, and what came of it. Scenarios add to it as they go."""

    faults: Counter[str] = field(default_factory=Counter)
    """By kind, such as `kill worker` or `freeze clerk`."""
    jobs: int = 0
    requests: int = 0
    """Lines of all jobs."""
    sent_again: int = 0
    """Sendings of a request that had been sent before, and not been answered with a failure."""
    missing: int = 0
    twice: int = 0

    def add(self, other: "Tally") -> None:
        self.faults += other.faults
        for name in ("jobs", "requests", "sent_again", "missing", "twice"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Round:
    """One run of a scenario. The seed chooses what is done; when, is up to real processes."""

    seed: int
    folder: Path
    """Empty; kept for a look if the round fails."""
    chance: random.Random
    tally: Tally
    brief: bool = False
    """As short as makes sense: it is one of many tests."""

    @property
    def log(self) -> Path:
        """Where services should write; told if the round fails."""
        return self.folder / "service.log"


@dataclass(frozen=True, slots=True)
class Scenario:
    """`play` raises `AssertionError`, or whatever else it meets, if a promise is broken."""

    name: str
    play: Callable[[Round], None]
    seconds: float
    """Of one round, where nothing else runs."""
    in_tests: bool = False
    """Is a brief round short enough for `make test`?"""


@dataclass(slots=True)
class Outcome:
    """A round that has ended."""

    scenario: str
    seed: int
    tally: Tally
    seconds: float = 0.0
    failure: str = ""
    """What was broken; empty if nothing was."""
    not_here: str = ""
    log: list[str] = field(default_factory=list)
    """What the processes said, if it failed."""
    kept: Path | None = None
    """Where the folder is, if it failed."""


def play(scenario: Scenario, seed: int) -> Outcome:
    """One round in a folder of its own. What processes write on standard error goes to a file."""
    base = Path(tempfile.mkdtemp(prefix="overnight-chaos-"))
    folder, log = base / "round", base / "stderr.txt"
    folder.mkdir()
    outcome = Outcome(scenario.name, seed, Tally())
    game = Round(seed, folder, random.Random(seed), outcome.tally)
    began = time.monotonic()
    try:
        with stderr_into(log), an_end_within(ROUND_SECONDS_MAX):
            scenario.play(game)
    except NotHere as lack:
        outcome.not_here = str(lack)
    except Exception as error:  # noqa: BLE001  whatever it is, it is the verdict
        outcome.failure = what_broke(error)
        outcome.log = [line for path in (log, game.log) for line in lines_of(path)]
        outcome.kept = folder
    finally:
        outcome.seconds = time.monotonic() - began
        if outcome.kept is None:
            shutil.rmtree(base)
    return outcome


def lines_of(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines() if log.exists() else []


def what_broke(error: BaseException) -> str:
    """The message, and the line of a scenario or check where it was noticed."""
    places = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        places.append(f"{Path(code.co_filename).name}:{step.tb_lineno} {code.co_name}")
        step = step.tb_next
    if isinstance(error, ExceptionGroup):
        return "\n".join(what_broke(one) for one in error.exceptions)
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return f"{kind}{error or 'an assertion failed'} ({' > '.join(places[-3:])})"


@contextmanager
def stderr_into(path: Path) -> Iterator[None]:
    """For this process and those it starts."""
    before = os.dup(2)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@contextmanager
def an_end_within(seconds: float) -> Iterator[None]:
    """In the main thread only."""

    def too_late(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"the round had not ended after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def send_signal(pid: int, number: signal.Signals) -> None:
    """To a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
