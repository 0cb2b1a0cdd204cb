"""What is listed: columns for people on a terminal, fields between tabs for everything else."""

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TextIO

from overnight.cli.faults import printable

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
    whole: bool = False
    """Never shortened, because it is there to be copied."""
    right: bool = False
    width_from: int = 0
    """Left out on narrower terminals."""


def print_table(
    columns: Sequence[Column], rows: Iterable[Sequence[Cell]], stream: TextIO | None = None
) -> None:
    """Fits the terminal; without one, a line of names and a line for each row, tabs between."""
    stream = stream or sys.stdout
    if stream.isatty():
        _print_columns(columns, rows, stream)
        return
    print(*(column.name for column in columns), sep="\t", file=stream)
    for row in rows:
        print(*(printable(cell.exact) for cell in row), sep="\t", file=stream)


def _print_columns(
    columns: Sequence[Column], rows: Iterable[Sequence[Cell]], stream: TextIO
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    shown = [
        (at, column) for at, column in enumerate(columns) if console.width >= column.width_from
    ]
    rows = list(rows)
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for at, column in shown:
        widest = max((len(row[at].shown) for row in rows), default=0)
        table.add_column(
            column.name.replace("_", " "),
            no_wrap=True,
            justify="right" if column.right else "left",
            min_width=widest if column.whole else None,
        )
    for row in rows:
        cells = (row[at] for at, _ in shown)
        table.add_row(*(Text(printable(cell.shown), style=cell.style) for cell in cells))
    console.print(table)


def print_details(
    heading: str, status: str | None, pairs: Iterable[tuple[str, str | None]]
) -> None:
    """One thing: its id, its status, and a line for whatever is known of it."""
    known = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in known), default=0)
    print(heading if status is None else f"{heading}  {painted(status)}")
    for name, value in known:
        print(f"  {name:{width}}  {printable(value)}")


def painted(status: str, stream: TextIO | None = None) -> str:
    """The status in its colour, if the stream is a terminal that may have colours."""
    stream = stream or sys.stdout
    style = style_of(status)
    if not (style and stream.isatty()):
        return status
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    with console.capture() as capture:
        console.print(Text(status, style=style), end="")
    return capture.get()


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
