"""The report of what is wrong with an input file, the same wherever it is shown."""

import os
import shutil
import sys
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TextIO

SHOWN_MAX: Final = 20
"""Faults shown in full on a terminal; a file or a program gets them all."""

_STYLES: Final = {"place": "1", "code": "1;31", "field": "36", "gutter": "34", "mark": "1;33"}


class FaultLike(Protocol):
    """A fault, whether found here or told by a server. `line` None means the whole file."""

    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def line(self) -> int | None: ...
    @property
    def param(self) -> str | None: ...
    @property
    def excerpt(self) -> str | None: ...


def show_faults(
    faults: Sequence[FaultLike],
    *,
    total: int | None = None,
    source: str | None = None,
    stream: TextIO | None = None,
) -> None:
    """Print each fault with its place, message and text, then how many there are of each code.

    `total` is how many there are when more are known than given; `source` the file's name, if
    known. Goes to standard output by default. A fault may have `marked`, a pair of character
    positions in its excerpt, which is then underlined.
    """
    stream = stream or sys.stdout
    on_terminal = stream.isatty()
    report = _Report(source, _columns(on_terminal), coloured=on_terminal and colours_wanted())
    shown = faults[:SHOWN_MAX] if on_terminal else faults
    for fault in shown:
        print(*report.lines(fault), "", sep="\n", file=stream)
    if hidden := len(faults) - len(shown):
        print(f"… and {hidden:,} more; send the output to a file to see all\n", file=stream)
    print(*report.wrapped(counted(faults, total), indent=""), sep="\n", file=stream)


def counted(faults: Sequence[FaultLike], total: int | None = None) -> str:
    """Such as `12 faults on 9 lines: 8 duplicate_custom_id, 4 invalid_url`."""
    from overnight.domain.request import FAULTS_MAX

    found = len(faults) if total is None else total
    lines = len({fault.line for fault in faults} - {None})
    # Whoever looked for them stopped there.
    at_least = "at least " if found == len(faults) >= FAULTS_MAX else ""
    where = f" on {lines:,} line{'s'[: lines > 1]}" if lines and found == len(faults) else ""
    codes = Counter(fault.code for fault in faults).most_common()
    named = ", ".join(f"{count:,} {printable(code)}" for code, count in codes)
    return f"{at_least}{found:,} fault{'s'[: found > 1]}{where}: {named}"


@dataclass(frozen=True, slots=True)
class _Report:
    source: str | None
    columns: int | None
    """What messages are wrapped at; None: they are not."""
    coloured: bool

    def lines(self, fault: FaultLike) -> Iterator[str]:
        code = printable(fault.code)
        named = [self._paint("place", self._place(fault)), self._paint("code", code)]
        if fault.param is not None:
            named.append(self._paint("field", printable(fault.param)))
        yield " ".join(named)
        yield from self.wrapped(printable(fault.message))
        if fault.excerpt:
            yield from self._quoted(fault)

    def _place(self, fault: FaultLike) -> str:
        if self.source is not None:
            source = printable(self.source)
            return f"{source}:" if fault.line is None else f"{source}:{fault.line}:"
        return "file:" if fault.line is None else f"line {fault.line}:"

    def wrapped(self, text: str, indent: str = "  ") -> list[str]:
        if self.columns is None:
            return [indent + text]
        return textwrap.wrap(
            text,
            self.columns,
            initial_indent=indent,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )

    def _quoted(self, fault: FaultLike) -> Iterator[str]:
        number = "" if fault.line is None else str(fault.line)
        room = self.columns - len(number) - len("   | ") if self.columns else None
        excerpt, marked = fitted(
            printable(fault.excerpt or ""), getattr(fault, "marked", None), room
        )
        yield f"  {self._paint('gutter', f'{number} |')} {excerpt}"
        if marked is not None:
            start, end = marked
            blank = " " * cells(excerpt[:start])
            mark = self._paint("mark", "^" * max(1, cells(excerpt[start:end])))
            yield f"  {self._paint('gutter', ' ' * len(number) + ' |')} {blank}{mark}"

    def _paint(self, part: str, text: str) -> str:
        return f"\x1b[{_STYLES[part]}m{text}\x1b[0m" if self.coloured else text


def printable(text: str) -> str:
    """The text with nothing in it that could steer a terminal; as many characters as before."""
    return "".join(each if each.isprintable() else "�" for each in text)


def fitted(
    excerpt: str, marked: tuple[int, int] | None, room: int | None
) -> tuple[str, tuple[int, int] | None]:
    """The excerpt cut to `room` columns, at its end if the mark allows it; and the mark."""
    if room is None or cells(excerpt) <= room:
        return excerpt, marked
    start, end = marked or (0, 0)
    cut = 0
    while cut < start and cells(excerpt[cut:end]) > room - 2:
        cut += 1
    shown = ("…" if cut else "") + excerpt[cut:]
    while len(shown) > 1 and cells(shown) > room - 1:
        shown = shown[:-1]
    moved = cut - 1 if cut else 0
    return f"{shown}…", (start - moved, end - moved) if marked else None


def cells(text: str) -> int:
    """How many columns a terminal gives the text."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(each) for each in text)


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _columns(on_terminal: bool) -> int | None:
    return min(shutil.get_terminal_size().columns, 100) if on_terminal else None


def colours_wanted() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
