"""Which error ends with which code."""

from collections.abc import Iterator

import pytest

from overnight.cli.messages import ExitCode, say_error, told
from overnight.domain import errors
from overnight.domain.errors import OvernightError


def all_errors(root: type[OvernightError] = OvernightError) -> Iterator[type[OvernightError]]:
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)


@pytest.mark.parametrize("kind", sorted(all_errors(), key=lambda kind: kind.__name__))
def test_every_error_of_ours_is_told_in_a_line(
    kind: type[OvernightError], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, told():
        raise kind("What is wrong.")
    told_callers = issubclass(kind, errors.CallerFault | errors.ConfigurationError)
    assert caught.value.code == (ExitCode.USAGE if told_callers else ExitCode.OUR_FAILURE)
    assert capsys.readouterr().err == "error: What is wrong.\n"


def test_notes_are_hints(capsys: pytest.CaptureFixture[str]) -> None:
    error = errors.Unavailable("No.")
    error.add_note("Try.")
    with pytest.raises(SystemExit), told():
        raise error
    assert capsys.readouterr().err == "error: No.\nhint: Try.\n"


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), told():
        raise ZeroDivisionError


def test_interrupted() -> None:
    with pytest.raises(SystemExit) as caught, told():
        raise KeyboardInterrupt
    assert caught.value.code == 130


def test_words_of_others_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    say_error("one\x1b[2J\ntwo", "three\r")
    assert capsys.readouterr().err == "error: one�[2J\nerror: two\nhint: three�\n"
