"""Several commands on one screen, one after the other, as somebody sits and types them."""

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.screens.recording import Event, Recording, Size, record

_PAUSE_SECONDS: Final = 1.0
"""Between the end of a command and the next: time to read."""

_PROMPT: Final = "\x1b[32m$\x1b[0m \x1b[1m{}\x1b[0m\r\n"


class Session:
    """`folder` is where the commands run; nothing they show says where that is."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder = folder
        self._size = size
        self._events: list[Event] = []

    @property
    def recording(self) -> Recording:
        return Recording(self._size, tuple(self._events))

    def run(self, command: str, interrupt_when: Callable[[str], bool] | None = None) -> None:
        """Type it and wait for its end."""
        began = self._events[-1].seconds + _PAUSE_SECONDS if self._events else 0.0
        blank = "\r\n" if self._events else ""
        self._events.append(Event(began, blank + _PROMPT.format(command)))
        seen = record(
            shlex.split(command), folder=self.folder, size=self._size, interrupt_when=interrupt_when
        )
        self._events += [Event(began + event.seconds, event.text) for event in seen.events]

    def unseen(self, command: str) -> None:
        """What has to have happened before."""
        subprocess.run(
            shlex.split(command), cwd=self.folder, env=os.environ, check=True, capture_output=True
        )
