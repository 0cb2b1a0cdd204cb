"""Tables and times as they are printed."""

import io

import pytest

from overnight.cli.tables import Cell, Column, duration, print_table, relative, utc
from support.terminal import Screen


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (3_600, "1 h"),
        (86_399, "23 h"),
        (86_400, "1 day"),
        (172_800, "2 days"),
        (-1, "0 s"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_relative_times() -> None:
    assert relative(1_000, now=1_180) == "3 min ago"
    assert relative(1_180, now=1_000) == "in 3 min"


def test_times_for_programs() -> None:
    assert utc(0) == "1970-01-01T00:00:00Z"


def test_nothing_in_a_cell_breaks_the_fields() -> None:
    stream = io.StringIO()
    print_table([Column("a"), Column("b")], [[Cell.text("x\ty\n"), Cell.text(None)]], stream)
    assert stream.getvalue() == "a\tb\nx�y�\t\n"


def test_people_are_told_that_there_is_nothing() -> None:
    streams = terminal, pipe = Screen(), io.StringIO()
    for stream in streams:
        print_table([Column("id"), Column("age")], [], stream, when_empty="No jobs yet.")
    assert terminal.getvalue() == "No jobs yet.\n"
    assert pipe.getvalue() == "id\tage\n"
