"""The report of faults, on a terminal and elsewhere."""

import io

import pytest

from overnight.cli.faults import SHOWN_MAX, cells, counted, fitted, show_faults
from overnight.domain.request import FAULTS_MAX, Fault
from support.terminal import Screen

FAULT = Fault("invalid_url", "The url is wrong.", 3, "url", '{"url": "/v2"}', (8, 13))


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def shown(*faults: Fault, stream: io.StringIO, total: int | None = None, source: str = "in") -> str:
    show_faults(faults, total=total, source=source, stream=stream)
    return stream.getvalue()


def test_a_fault_is_its_place_message_and_text() -> None:
    assert shown(FAULT, stream=io.StringIO()) == (
        "in:3: invalid_url url\n"
        "  The url is wrong.\n"
        '  3 | {"url": "/v2"}\n'
        "    |         ^^^^^\n"
        "\n"
        "1 fault on 1 line: 1 invalid_url\n"
    )


def test_without_a_name_the_place_is_the_line() -> None:
    stream = io.StringIO()
    show_faults([FAULT, Fault("empty_file", "It is empty.")], stream=stream)
    assert "line 3: invalid_url url\n" in stream.getvalue()
    assert "file: empty_file\n" in stream.getvalue()


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" in shown(FAULT, stream=Screen())
    assert "\x1b[" not in shown(FAULT, stream=io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in shown(FAULT, stream=Screen())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[" not in shown(FAULT, stream=Screen())


def test_a_terminal_shows_some_and_a_file_all() -> None:
    faults = [FAULT] * (SHOWN_MAX + 5)
    on_terminal = shown(*faults, stream=Screen())
    assert on_terminal.count("The url is wrong") == SHOWN_MAX
    assert "… and 5 more" in on_terminal
    assert shown(*faults, stream=io.StringIO()).count("The url is wrong") == len(faults)


def test_nothing_in_a_fault_steers_a_terminal() -> None:
    text = shown(Fault("x", "a\x1b[2Jb", 1, "p\x07", "c\x9bd"), stream=io.StringIO())
    assert text.isprintable() or set(text) - {"\n"} == {c for c in text if c.isprintable()}


def test_counting() -> None:
    other = Fault("empty_file", "")
    assert counted([FAULT, FAULT, other]) == "3 faults on 1 line: 2 invalid_url, 1 empty_file"
    assert counted([other]) == "1 fault: 1 empty_file"
    assert counted([FAULT], total=7) == "7 faults: 1 invalid_url"
    assert counted([FAULT] * FAULTS_MAX).startswith("at least 1,000 faults")


@pytest.mark.parametrize("excerpt", ['{"url": "/v2", "x": "' + "日" * 40 + '"}', "日" * 69 + "!"])
@pytest.mark.parametrize("columns", [20, 60, 80])
def test_wide_text_is_cut_so_that_the_mark_stays(excerpt: str, columns: int) -> None:
    marked = (len(excerpt) - 1, len(excerpt))
    text, mark = fitted(excerpt, marked, columns)
    assert cells(text) <= columns
    assert mark is not None
    assert text[slice(*mark)] == excerpt[slice(*marked)]


def test_nothing_of_a_fault_steers_a_terminal() -> None:
    clear = "\x1b[2J"
    fault = Fault(clear, clear, 1, clear, clear)
    lines = shown(fault, stream=io.StringIO(), source=clear).splitlines()
    assert all(line.isprintable() for line in lines)
