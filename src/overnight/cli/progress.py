"""One line that tells how far something is: a bar on a terminal, a line now and then elsewhere."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TextIO

from overnight.cli.faults import printable
from overnight.cli.recent_rate import RecentRate, Sample

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

ETA_AFTER_SECONDS: Final = 3.0
"""Before that a rate says more of the start than of the work."""
STALLED_SECONDS: Final = 15.0
_STALLED_GAPS: Final = 4
"""A slow engine is silent for long. It has stalled after four times its usual silence."""
_FRAME_SECONDS: Final = 0.1
PLAIN_LINE_SECONDS: Final = 5.0
_BAR_WIDTH_MIN: Final = 8
_BAR_WIDTH_MAX: Final = 24

_NO_FIGURES: Final = str.maketrans("", "", "0123456789")

Amount = Callable[[float], str]


def in_thousands(amount: float) -> str:
    """With a decimal where it matters: `412`, `1,200`, `3.4`."""
    return f"{amount:,.1f}" if amount < 9.95 and amount % 1 else f"{amount:,.0f}"


def in_bytes(amount: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def in_short(amount: float) -> str:
    """Three figures are enough: `812`, `81.2k`, `2.1M`."""
    if amount < 9_999.5:
        return in_thousands(amount)
    amount /= 1_000
    return f"{amount:.1f}k" if amount < 999.95 else f"{amount / 1_000:,.1f}M"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Such as `1 file` and `2,000 files`; a `plural` of its own gives `7 retries`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def as_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def as_rate(per_second: float, amount: Amount) -> str:
    """By the second, or for slow engines by the minute or the hour: `412/s`, `24/min`, `6/h`."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_second * seconds >= 1:
            return f"{amount(per_second * seconds)}/{unit}"
    return f"{amount(per_second * 3_600)}/h"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where it stands at one moment. `total` 0: not known yet; `tokens` None: there are none."""

    total: int
    done: int = 0
    failed: int = 0
    tokens: int | None = None
    retries: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast it goes at one moment; of the whole when it has `ended`. None: not known."""

    elapsed: float
    rate: float | None = None
    tokens_rate: float | None = None
    left: float | None = None
    stalled: float | None = None
    """Seconds since anything came back, once that is longer than usual."""
    ended: bool = False


class Part(NamedTuple):
    """A piece of the line; where there is no room, those of high rank go first."""

    words: str
    rank: int
    style: str = ""


def parts(standing: Standing, pace: Pace, amount: Amount) -> list[Part]:
    """Such as `1,200/10,000 done`, `3 failed`, `412/s`, `81.2k tok/s`, `0:21 left`."""
    of_total = f"/{amount(standing.total)}" if standing.total else ""
    told = [Part(f"{amount(standing.done)}{of_total} done", 0)]
    if standing.failed:
        told.append(Part(f"{standing.failed:,} failed", 1, "red"))
    retries = [Part(counted(standing.retries, "retry", "retries"), 5)]
    speed = []
    if pace.rate:
        speed.append(Part(as_rate(pace.rate, amount), 3))
    if pace.tokens_rate and standing.tokens is not None:
        speed.append(Part(f"{in_short(pace.tokens_rate)} tok/s", 4))
    if pace.ended:
        told += retries if standing.retries else []
        if standing.tokens:
            told.append(Part(f"{in_short(standing.tokens)} tokens", 4))
        told.append(Part(f"{as_time(pace.elapsed)} in all", 2))
        if speed:
            speed[0] = speed[0]._replace(words=f"on average {speed[0].words}")
        return told + speed
    told += speed
    if pace.stalled is not None:
        told.append(Part(f"stalled {as_time(pace.stalled)}", 2, "yellow"))
    elif pace.left is not None:
        told.append(Part(f"{as_time(math.ceil(pace.left))} left", 2))
    told += retries if standing.retries else []
    told.append(Part(f"{as_time(pace.elapsed)} so far", 6))
    return told


def fitting(told: Iterable[Part], width: int) -> list[Part]:
    """Those that fit on one line of `width` columns; the most important always does."""
    kept = sorted(told, key=lambda part: part.rank)
    order = {part: place for place, part in enumerate(told)}
    while len(kept) > 1 and len(_joined(kept)) > width:
        kept.pop()
    return sorted(kept, key=order.__getitem__)


def _joined(told: Iterable[Part]) -> str:
    return ", ".join(part.words for part in told)


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
        self._first: Sample | None = None
        self._started_at = self._drawn_at = clock()
        self._moved_at: float | None = None
        self._bar: _Bar | None = None
        self._every_seconds = PLAIN_LINE_SECONDS

    def __enter__(self) -> Self:
        if self._stream.isatty() and os.environ.get("TERM") != "dumb":
            self._bar = _Bar(self._label, self._stream)
            self._every_seconds = _FRAME_SECONDS
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The last word, however it ended: how far it came, and how fast on the whole."""
        self._draw(self._overall())
        if self._bar is not None:
            self._bar.close()

    def update(
        self,
        done: int,
        *,
        failed: int = 0,
        tokens: int | None = None,
        retries: int = 0,
        note: str = "",
        total: int | None = None,
    ) -> None:
        """Tell where it stands; what the first call says was there before.

        `done` counts the failed ones too, `tokens` are those of prompts and completions so far,
        `note` says what is being waited for, if anything.
        """
        now, before = self._clock(), self._standing
        note = printable(note)
        if self._first is None:
            self._first = Sample(now, done, tokens or 0)
        elif done > before.done:
            self._moved_at = now
        changed = _without_figures(note) != _without_figures(before.note)
        total = before.total if total is None else total
        self._standing = Standing(total, done, failed, tokens, retries, note)
        self._rate.sample(now, done, tokens or 0)
        if changed or now - self._drawn_at >= self._every_seconds:
            self._drawn_at = now
            self._draw(self._lately(now))

    def _lately(self, now: float) -> Pace:
        """What was done before the first update does not count: that was another run."""
        standing, rate = self._standing, self._rate.per_second()
        stalled = left = None
        if standing.done < standing.total and rate:
            silence = now - (self._moved_at or now)
            if silence >= max(STALLED_SECONDS, _STALLED_GAPS / rate):
                stalled = silence
            elif self._rate.seconds >= ETA_AFTER_SECONDS:
                left = (standing.total - standing.done) / rate
        tokens_rate = self._rate.tokens_per_second()
        return Pace(now - self._started_at, rate, tokens_rate, left, stalled)

    def _overall(self) -> Pace:
        now, standing = self._clock(), self._standing
        elapsed = now - self._started_at
        if self._first is None or now <= self._first.at:
            return Pace(elapsed, ended=True)
        seconds = now - self._first.at
        rate = (standing.done - self._first.done) / seconds
        tokens_rate = ((standing.tokens or 0) - self._first.tokens) / seconds
        return Pace(elapsed, rate, tokens_rate, ended=True)

    def _draw(self, pace: Pace) -> None:
        standing = self._standing
        note = standing.note if standing.done < standing.total or not pace.ended else ""
        told = parts(standing, pace, self._amount)
        if self._bar is None:
            words = _joined([*told, Part(note, 0)] if note else told)
            print(f"{self._label}: {words}", file=self._stream, flush=True)
        else:
            self._bar.draw(standing, told, note, ended=pace.ended)


class _Bar:
    """A line with a bar that is drawn when told to, without a thread; a note goes below it."""

    def __init__(self, label: str, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._label = label
        self._console = Console(file=stream)
        self._live = Live(console=self._console, auto_refresh=False)
        self._live.start()

    def draw(self, standing: Standing, told: list[Part], note: str, *, ended: bool) -> None:
        """Where there is no room a part of the words goes, or once it has ended first the bar."""
        from rich.console import Group
        from rich.text import Text

        lines: list[RenderableType] = [self._line(standing, told, ended=ended)]
        if note:
            lines.append(Text(f"  {note}", style="yellow"))
        self._live.update(Group(*lines), refresh=True)

    def _line(self, standing: Standing, told: list[Part], *, ended: bool) -> "RenderableType":
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        room = self._console.width - len(self._label) - 1
        told = fitting(told, room if ended else room - _BAR_WIDTH_MIN - 1)
        words_width = len(_joined(told))
        bar_width = min(_BAR_WIDTH_MAX, room - words_width - 1)
        cells: list[RenderableType] = [_styled(told)]
        if bar_width >= _BAR_WIDTH_MIN:
            share = min(1.0, standing.done / standing.total) if standing.total else 0.0
            cells.insert(0, ProgressBar(total=1.0, completed=share, width=bar_width))
        if words_width <= room:
            cells.insert(0, Text(self._label))
        grid = Table.grid(padding=(0, 1, 0, 0))
        for _ in cells:
            grid.add_column(no_wrap=True)
        grid.add_row(*cells)
        return grid

    def close(self) -> None:
        self._live.stop()


def _styled(told: Iterable[Part]) -> "Text":
    from rich.text import Text

    return Text(", ").join(Text(part.words, style=part.style) for part in told)
