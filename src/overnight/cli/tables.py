"""What is listed: columns for people on a terminal, fields between tabs for everything else."""

import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TextIO

from overnight.cli.faults import cells, colours_wanted, printable

_STYLES: Final = {
    "completed": "green",
    "failed": "red",
    "expired": "red",
    "cancelled": "yellow",
    "cancelling": "yellow",
    "in_progress": "cyan",
    "finalizing": "cyan",
}
"""Of the statuses that have a colour."""

_CODES: Final = {"dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_GAP: Final = "  "
_SHORTENED_MIN: Final = 10
_UNITS: Final = (("day", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True, slots=True)
class Cell:
    """One value, as people read it and as programs do."""

    shown: str
    exact: str
    style: str = ""

    @classmethod
    def text(cls, words: str | None) -> "Cell":
        return cls(words or "-", words or "")

    @classmethod
    def status(cls, status: str) -> "Cell":
        return cls(status, status, style_of(status))

    @classmethod
    def age(cls, at: float | None) -> "Cell":
        """Of what was made at a time in Unix seconds; programs get the time."""
        return cls("-", "") if at is None else cls(duration(time.time() - at), utc(at))


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    right: bool = False
    shortened: bool = False
    """Gives way on a narrow terminal. Others are there to be copied or compared."""


def print_table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell]],
    stream: TextIO | None = None,
    *,
    when_empty: str = "",
) -> None:
    """Fits the terminal; without one, a line of names and a line for each row, tabs between.

    The columns come in the order of their importance: the last ones go where there is no room.
    People are told `when_empty` instead of column names alone.
    """
    stream = stream or sys.stdout
    if stream.isatty():
        listed = list(rows)
        if when_empty and not listed:
            print(when_empty, file=stream)
            return
        for line in _fitted(columns, listed, Paint(stream), _width()):
            print(line, file=stream)
        return
    print(*(column.name for column in columns), sep="\t", file=stream)
    for row in rows:
        print(*(printable(cell.exact) for cell in row), sep="\t", file=stream)


def _fitted(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], paint: "Paint", width: int
) -> Iterator[str]:
    widths = [
        max([cells(column.name), *(cells(printable(row[at].shown)) for row in rows)])
        for at, column in enumerate(columns)
    ]
    least = [
        min(wanted, _SHORTENED_MIN) if column.shortened else wanted
        for column, wanted in zip(columns, widths, strict=True)
    ]
    count = len(columns)
    while count > 1 and _total(least[:count]) > width:
        count -= 1
    for at in range(count):
        spare = width - _total(widths[:count])
        widths[at] = max(least[at], widths[at] + min(0, spare))
    header = [Cell(column.name, column.name, "dim") for column in columns]
    for row in (header, *rows):
        padded = (
            paint(_padded(printable(cell.shown), wanted, right=column.right), cell.style)
            for cell, wanted, column in zip(row[:count], widths, columns, strict=False)
        )
        yield _GAP.join(padded).rstrip()


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _padded(text: str, width: int, *, right: bool) -> str:
    if cells(text) > width:
        while cells(text) > width - 1:
            text = text[:-1]
        text += "…"
    blank = " " * (width - cells(text))
    return blank + text if right else text + blank


def _width() -> int:
    return shutil.get_terminal_size().columns


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours, on terminals that may have them."""

    stream: TextIO

    def __call__(self, text: str, style: str) -> str:
        if not (style and self.stream.isatty() and colours_wanted()):
            return text
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def print_details(
    heading: str, status: str | None, pairs: Iterable[tuple[str, str | None]]
) -> None:
    """One thing: its id, its status, and a line for whatever is known of it."""
    known = [(printable(name), value) for name, value in pairs if value]
    width = max((len(name) for name, _ in known), default=0)
    print(heading if status is None else f"{heading}  {painted(status)}")
    for name, value in known:
        print(f"  {name:{width}}  {printable(value)}")


def painted(status: str) -> str:
    """The status for standard output, in its colour."""
    return Paint(sys.stdout)(status, style_of(status))


def style_of(status: str) -> str:
    return _STYLES.get(status, "")


def duration(seconds: float) -> str:
    """In its largest unit, such as `3 min`."""
    for unit, size in _UNITS:
        if (count := int(seconds // size)) > 0:
            return f"{count:,} {unit}s" if unit == "day" and count > 1 else f"{count} {unit}"
    return f"{max(0, int(seconds))} s"


def relative(at: float, now: float | None = None) -> str:
    """Such as `3 min ago` or `in 23 h`; `at` and `now` in Unix seconds."""
    seconds = (time.time() if now is None else now) - at
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def utc(at: float) -> str:
    """Such as `2026-11-21T07:20:01Z`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(at: float | None) -> str | None:
    """Both, such as `3 min ago (2026-11-21T07:20:01Z)`."""
    return None if at is None else f"{relative(at)} ({utc(at)})"
