"""How commands end: exit codes, and errors as one readable line each."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from types import FrameType
from typing import NoReturn, TextIO

from overnight.cli.faults import printable
from overnight.domain.errors import CallerFault, ConfigurationError, OvernightError


class ExitCode(IntEnum):
    """The same for all commands."""

    OK = 0
    OUR_FAILURE = 1
    USAGE = 2
    """Wrong usage or configuration: also a key, an id or a request that a server refuses."""
    INPUT_REFUSED = 3
    """The input has faults; nothing was sent."""
    SOME_FAILED = 4
    """Finished, but some requests failed."""
    NOT_FINISHED = 5
    """Cancelled or expired; for who wants the results, not done yet as well."""
    INTERRUPTED = 128 + signal.SIGINT


def say_error(message: str, *hints: str) -> None:
    """`error: …` and `hint: …` lines on standard error, harmless whoever's words they hold."""
    for line in message.splitlines():
        print(f"error: {printable(line)}", file=sys.stderr)
    for hint in hints:
        print(f"hint: {printable(hint)}", file=sys.stderr)


def fail(code: ExitCode, message: str, *hints: str) -> NoReturn:
    say_error(message, *hints)
    raise SystemExit(int(code))


def exit_code(error: OvernightError) -> ExitCode:
    """A caller's fault on the command line is wrong usage."""
    match error:
        case CallerFault() | ConfigurationError():
            return ExitCode.USAGE
        case _:
            return ExitCode.OUR_FAILURE


@contextmanager
def told(debug: bool = False) -> Iterator[None]:
    """Tell our errors in a line and exit; notes of an exception are its hints.

    So it does with what the system refuses, such as a full disk. What is neither is a defect and
    keeps its traceback, as everything does with `debug`.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # Failing at exit, it could not be told any more.
    except OvernightError as error:
        if debug:
            raise
        fail(exit_code(error), str(error), *getattr(error, "__notes__", ()))
    except KeyboardInterrupt:
        if debug:
            raise
        raise SystemExit(int(ExitCode.INTERRUPTED)) from None
    except BrokenPipeError:
        # The reader of our output had enough (`| head`): not worth a word.
        _give_up(sys.stdout)
        _give_up(sys.stderr)
        raise SystemExit(int(ExitCode.OK)) from None
    except OSError as error:
        if debug:
            raise
        if error.filename is None:
            _give_up(sys.stdout)  # It may be what failed.
        place = f"{error.filename}: " if error.filename else ""
        hint = "Where it happened: put --debug before the command."
        fail(ExitCode.OUR_FAILURE, f"{place}{error.strerror or error}.", hint)


def _give_up(stream: TextIO) -> None:
    """Keep the interpreter from failing at the rest when it flushes at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def interrupt_on_sigterm() -> None:
    """End as on Ctrl-C: with the cursor shown, and the command that resumes.

    Where Ctrl-C is ignored, as in the background of a script, SIGTERM keeps its meaning.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGTERM, interrupt)
