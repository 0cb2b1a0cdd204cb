"""What a terminal shows after each piece of output: a terminal emulator does the reading."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import pyte
from pyte.screens import Char

from tools.screens.recording import Recording

_FRAME_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring characters of one look; `column` is where they begin."""

    column: int
    text: str
    colour: str
    bold: bool


Line = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """The screen from `seconds` on."""

    seconds: float
    lines: tuple[Line, ...]


def frames(recording: Recording) -> list[Frame]:
    """At most four a second, the last one always; equal neighbours are one."""
    screen = pyte.Screen(recording.size.columns, recording.size.rows)
    stream = pyte.Stream(screen)
    found: list[Frame] = []
    events = recording.events
    for event, following in zip(events, [*events[1:], None], strict=True):
        stream.feed(event.text)
        since = event.seconds - found[-1].seconds if found else _FRAME_SECONDS
        settled = following is None or following.seconds - event.seconds >= _FRAME_SECONDS
        if not settled and since < _FRAME_SECONDS:
            continue
        frame = Frame(event.seconds, tuple(_lines(screen)))
        if not found or frame.lines != found[-1].lines:
            found.append(frame)
    return found


def _lines(screen: pyte.Screen) -> Iterator[Line]:
    last = max((row for row, line in enumerate(screen.display) if line.strip()), default=-1)
    for row in range(last + 1):
        cells = [screen.buffer[row][column] for column in range(screen.columns)]
        yield tuple(_runs(cells))


def _runs(cells: list[Char]) -> Iterator[Run]:
    column = 0
    for (colour, bold), group in groupby(cells, lambda cell: (cell.fg, cell.bold)):
        text = "".join(cell.data for cell in group)
        if text.strip():
            yield Run(column, text.rstrip(), colour, bold)
        column += len(text)
