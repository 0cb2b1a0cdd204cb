"""The programs that the demo starts, each as a person would; none of them outlives it."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from overnight.domain.errors import Unavailable

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 12.0
"""Each of them promises to end within 10."""

_LOG_LINES_SHOWN: Final = 8


@contextmanager
def running(name: str, *arguments: str, folder: Path) -> Iterator[dict[str, object]]:
    """Start `overnight NAME … --json` and give its ready line; stop it in the end, whatever comes.

    What it says on standard error goes to a file in `folder`. Raises `Unavailable` when it does
    not get ready.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as errors:
        # In a group of its own, so that Ctrl-C reaches the demo alone, and it stops the others in
        # order; without our variables and in another folder, so that no settings of yours matter.
        process = subprocess.Popen(  # noqa: S603  our own command
            [sys.executable, "-m", "overnight", name, *arguments, "--json"],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.upper().startswith("OVERNIGHT_")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            process_group=0,
        )
    try:
        yield _ready_line(process, name, log)
    finally:
        _stop(process)


def _ready_line(process: subprocess.Popen[bytes], name: str, log: Path) -> dict[str, object]:
    output = process.stdout
    if output is None:
        raise AssertionError("a pipe was asked for")
    line = b""
    deadline = time.monotonic() + START_SECONDS
    while not line.endswith(b"\n"):
        left = max(0.0, deadline - time.monotonic())
        piece = os.read(output.fileno(), 4096) if select.select([output], [], [], left)[0] else b""
        if not piece:
            raise _not_ready(name, log)
        line += piece
    ready: dict[str, object] = json.loads(line)
    return ready


def _not_ready(name: str, log: Path) -> Unavailable:
    failure = Unavailable(f"`overnight {name}` did not get ready")
    for line in log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]:
        failure.add_note(line)
    return failure


def _stop(process: subprocess.Popen[bytes]) -> None:
    with process:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()  # Nothing, if it has ended.
            process.wait()


@contextmanager
def cleaning_up_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exit that leaves all `with` blocks, as Ctrl-C does.

    Only the first one counts: nothing should keep the demo from taking its things away.
    """
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    former = {number: signal.getsignal(number) for number in numbers}

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    for number in numbers:
        if former[number] is not signal.SIG_IGN:  # As nohup does: meant to outlive its terminal.
            signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
