"""A place for one child process, and the processes that fill it one after another."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from overnight.settings import Assignment, Settings

ChildCommand = Callable[[str], Sequence[str]]
"""Role → the command that starts it; the numbers of its descriptors are added."""

BACKOFF_FIRST_SECONDS: Final = 0.1
BACKOFF_MAX_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""A child that ran this long was well; the next wait is the first one again."""

OWNER_ONLY: Final = 0o077
"""The umask of children: what they put into the data folder is for nobody else, even where the
folder itself was made by somebody who let others in."""

_REMEMBERED_MAX: Final = 8
"""Dead incarnations a new one is told of. Older ones' leases have lapsed anyhow."""


def node_command(role: str) -> Sequence[str]:
    return (sys.executable, "-m", "overnight.node", role)


@dataclass(frozen=True, slots=True)
class Inheritance:
    """Descriptors a child gets, besides its pipe."""

    lock: int
    listener: int | None = None


class Place:
    """Not thread-safe; times are of the monotonic clock."""

    def __init__(self, role: str, settings: Settings, command: ChildCommand) -> None:
        self.role = role
        self.restart_at: float | None = None
        """When to start the next process; None while one runs and before the first."""
        self.wait_seconds = 0.0
        """The latest wait before a restart; 0 before the first."""
        self._settings = settings
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._started_at = 0.0
        self._worker_id = ""
        self._dead: tuple[str, ...] = ()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, inheritance: Inheritance) -> None:
        """Start a process under a fresh id. Raises `OSError` when the system can not."""
        reader, self._pipe = os.pipe()
        self._worker_id = secrets.token_hex(8)
        flags = [f"--assignment={reader}", f"--lock={inheritance.lock}"]
        passed = [reader, inheritance.lock]
        if inheritance.listener is not None:
            flags.append(f"--socket={inheritance.listener}")
            passed.append(inheritance.listener)
        try:
            # A group of its own: Ctrl-C in the terminal is for the supervisor alone.
            self._process = subprocess.Popen(  # noqa: S603  our own command
                [*self._command(self.role), *flags],
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                process_group=0,
                umask=OWNER_ONLY,
            )
        except OSError:
            self._close_pipe()
            raise
        finally:
            os.close(reader)
        self.restart_at = None
        self._started_at = time.monotonic()
        self._tell(
            Assignment(settings=self._settings, worker_id=self._worker_id, replaces=self._dead)
        )

    def _tell(self, assignment: Assignment) -> None:
        line = memoryview(assignment.to_line())
        try:
            while line:
                line = line[os.write(self._pipe, line) :]
        except BrokenPipeError:
            pass  # It died already; reaping it says so.

    def reap(self) -> int | None:
        """If the process has ended, its exit code or minus its signal; `restart_at` is then set."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._process = None
        self._close_pipe()
        self._dead = (*self._dead, self._worker_id)[-_REMEMBERED_MAX:]
        self._schedule(time.monotonic())
        return code

    def postpone(self) -> float:
        """The system could not start it: try later. Returns the wait in seconds."""
        self._started_at = time.monotonic()
        self._schedule(self._started_at)
        return self.wait_seconds

    def _schedule(self, now: float) -> None:
        steady = now - self._started_at >= STEADY_SECONDS
        doubled = min(2 * self.wait_seconds, BACKOFF_MAX_SECONDS)
        self.wait_seconds = BACKOFF_FIRST_SECONDS if steady or not doubled else doubled
        self.restart_at = now + self.wait_seconds

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
