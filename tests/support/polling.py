"""Waiting for what another process does, with an end."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(look: Callable[[], T | None], seconds: float = 20.0, what: str = "it") -> T:
    """What `look` returns once that is true; fails the test when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Is there such a process, and is it more than a zombie?"""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # Before it is opened, or while it is read.
        return False
