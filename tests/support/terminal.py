"""`overnight …` in a process of its own, on a terminal or without one, and Ctrl-C."""

import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl

from support.command_line import Ended

SECONDS_MAX = 60.0

_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen(io.StringIO):
    """Keeps what is printed, and says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """Everything ever drawn, without colours and moves of the cursor."""
        plain = _CONTROLS.sub("", self.getvalue())
        return [line.rstrip() for line in re.split(r"[\r\n]+", plain) if line.strip()]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "overnight", *map(str, arguments)]


def started(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    """Without a terminal. `interrupt` it, or let it end."""
    return subprocess.Popen(
        command(*arguments),
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where tests run in the background Ctrl-C is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )


def ended(process: "subprocess.Popen[str]") -> Ended:
    with process:
        out, err = process.communicate(timeout=SECONDS_MAX)
    return Ended(process.returncode, out, err)


def interrupted(process: "subprocess.Popen[str]") -> Ended:
    process.send_signal(signal.SIGINT)
    return ended(process)


def on_terminal(*arguments: object, columns: int = 80, **environment: str) -> Ended:
    """On a pseudo-terminal so wide. Both streams go to it, so `err` is empty."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    usual = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS"}}
    process = subprocess.Popen(
        command(*arguments),
        env={**usual, "TERM": "xterm-256color", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        shown = _all(ours)
        return Ended(process.wait(SECONDS_MAX), shown, "")
    finally:
        os.close(ours)
        process.kill()
        process.wait()


def _all(descriptor: int) -> str:
    """Everything until the other end is closed."""
    pieces: list[bytes] = []
    deadline = time.monotonic() + SECONDS_MAX
    while select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # Linux says so when nobody holds the terminal any more.
            piece = b""
        if not piece:
            return b"".join(pieces).decode().replace("\r\n", "\n")
        pieces.append(piece)
    raise AssertionError(f"it did not end within {SECONDS_MAX:g} s")


def without_controls(text: str) -> str:
    """What is left for the eye, colours and cursor movements taken out."""
    return _CONTROLS.sub("", text)
