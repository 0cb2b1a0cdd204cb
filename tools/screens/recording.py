"""Run a command on a terminal of our own and keep what it showed, and when."""

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 65_536
_SECONDS_MAX: Final = 120.0
_IN_THE_WAY: Final = {"COLUMNS", "LINES", "NO_COLOR"}
"""Variables that would overrule the terminal."""


@dataclass(frozen=True, slots=True)
class Size:
    columns: int = 100
    rows: int = 40


@dataclass(frozen=True, slots=True)
class Event:
    """`text` as the terminal received it, `seconds` after the command's start."""

    seconds: float
    text: str


@dataclass(frozen=True, slots=True)
class Recording:
    """What was shown on a terminal, in order."""

    size: Size
    events: tuple[Event, ...]


def record(
    words: Sequence[str],
    *,
    folder: Path,
    size: Size,
    interrupt_when: Callable[[str], bool] | None = None,
) -> Recording:
    """Run `words` in `folder`, and press Ctrl-C once the text so far is what is waited for.

    Raises `TimeoutError` when it does not end by itself within two minutes.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in _IN_THE_WAY}
    started_at = time.monotonic()
    child = subprocess.Popen(
        words,
        cwd=folder,
        env={**environ, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    events: list[Event] = []
    text = ""
    try:
        while chunk := _read(ours, started_at + _SECONDS_MAX):
            events.append(Event(time.monotonic() - started_at, decode(chunk)))
            text += events[-1].text
            if interrupt_when is not None and interrupt_when(text):
                interrupt_when = None
                child.send_signal(signal.SIGINT)
    except TimeoutError:
        child.kill()
        raise
    finally:
        os.close(ours)
        child.wait()
    return Recording(size, tuple(events))


def _read(terminal: int, deadline: float) -> bytes:
    """The next bytes; none when the other side is closed."""
    if not select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
        raise TimeoutError(f"not done within {_SECONDS_MAX:g} seconds")
    try:
        return os.read(terminal, _READ_BYTES)
    except OSError:  # so Linux says that nobody has the terminal open any more
        return b""
