"""One line that tells how far something is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID

RATE_WINDOW_SECONDS: Final = 60.0
_SAMPLE_SECONDS: Final = 1.0
_FRAME_SECONDS: Final = 0.1
PLAIN_LINE_SECONDS: Final = 5.0

_NO_FIGURES: Final = str.maketrans("", "", "0123456789")

Amount = Callable[[float], str]


def in_thousands(amount: float) -> str:
    return f"{amount:,.0f}"


def in_bytes(amount: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def as_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class RecentRate:
    """How much is done per second, over the last minute: nights have fast and slow hours."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def sample(self, now: float, done: int) -> None:
        samples = self._samples
        if len(samples) > 1 and now - samples[-2][0] < _SAMPLE_SECONDS:
            samples.pop()
        samples.append((now, done))
        while len(samples) > 2 and now - samples[1][0] >= RATE_WINDOW_SECONDS:
            samples.popleft()

    def per_second(self) -> float | None:
        """None until there is something to go by."""
        if len(self._samples) < 2:
            return None
        (then, had), (now, has) = self._samples[0], self._samples[-1]
        return (has - had) / (now - then) if now > then else None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where it stands at one moment."""

    total: int
    done: int = 0
    failed: int = 0
    note: str = ""

    def words(self, amount: Amount, rate: float | None, elapsed: float) -> str:
        """Such as `1,200/10,000 done, 3 failed, 412/s, 0:21 left`."""
        parts = [f"{amount(self.done)}/{amount(self.total)} done"]
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.done >= self.total:
            parts.append(f"{as_time(elapsed)} in all")
        elif rate:
            parts.append(f"{amount(rate)}/s")
            parts.append(f"{as_time((self.total - self.done) / rate)} left")
        else:
            parts.append(f"{as_time(elapsed)} so far")
        return ", ".join([*parts, self.note] if self.note else parts)


def _without_figures(note: str) -> str:
    """A countdown is not news."""
    return note.translate(_NO_FIGURES)


class ProgressLine:
    """Give it to `with`, and call `update` as often as you like: it draws when it is time to.

    Goes to `stream`, standard error by default. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        total: int,
        label: str,
        *,
        amount: Amount = in_thousands,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._amount = amount
        self._stream = stream or sys.stderr
        self._clock = clock
        self._standing = Standing(total)
        self._rate = RecentRate()
        self._started_at = self._drawn_at = clock()
        self._bar: _Bar | None = None
        self._every_seconds = PLAIN_LINE_SECONDS

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._bar = _Bar(self._label, self._standing.total, self._stream)
            self._every_seconds = _FRAME_SECONDS
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The last word, however it ended."""
        self._draw()
        if self._bar is not None:
            self._bar.close()

    def update(
        self, done: int, *, failed: int = 0, note: str = "", total: int | None = None
    ) -> None:
        """`done` counts the failed ones too; `note` says what is being waited for, if anything."""
        now = self._clock()
        changed = _without_figures(note) != _without_figures(self._standing.note)
        self._standing = Standing(
            self._standing.total if total is None else total, done, failed, note
        )
        self._rate.sample(now, done)
        if changed or now - self._drawn_at >= self._every_seconds:
            self._drawn_at = now
            self._draw()

    def _draw(self) -> None:
        elapsed = self._clock() - self._started_at
        words = self._standing.words(self._amount, self._rate.per_second(), elapsed)
        if self._bar is not None:
            self._bar.draw(self._standing, words)
        else:
            print(f"{self._label}: {words}", file=self._stream, flush=True)


class _Bar:
    """A Rich bar that is drawn when told to, without a thread."""

    def __init__(self, label: str, total: int, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress: Progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}", markup=False),
            console=Console(file=stream),
            auto_refresh=False,
        )
        self._task: TaskID = self._progress.add_task(label, total=total, words="")
        self._progress.start()

    def draw(self, standing: Standing, words: str) -> None:
        self._progress.update(
            self._task, completed=standing.done, total=standing.total, words=words, refresh=True
        )

    def close(self) -> None:
        self._progress.stop()
