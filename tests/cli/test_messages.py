"""Which error ends with which code."""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from overnight.cli.messages import ExitCode, say_error, told
from overnight.domain import errors
from overnight.domain.errors import OvernightError
from support.terminal import command


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


def test_what_the_system_refuses_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, told():
        Path("nowhere/file").read_bytes()
    assert caught.value.code == ExitCode.OUR_FAILURE
    assert capsys.readouterr().err == (
        "error: nowhere/file: No such file or directory.\n"
        "hint: Where it happened: put --debug before the command.\n"
    )


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """`overnight` in it is ours."""
    words = shlex.join(command())
    return subprocess.run(
        ["bash", "-c", f'overnight() {{ {words} "$@"; }}; {line}'],
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output() -> None:
    done = shell("overnight config init - > /dev/full")
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "error: No space left on device.")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_standard_output_may_be_closed() -> None:
    done = shell("overnight config show >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_enough() -> None:
    done = shell("overnight config init - | head -n 1; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# Settings of Overnight.")


def test_a_reader_that_has_enough_of_the_doctor() -> None:
    done = shell("overnight doctor --quick | head -n 1; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "Program\n")
