"""How long a client may keep us waiting, and how many of them are served at once.

Whoever has bytes to send or to take is waited for; whoever does not move any more is let go, so
that neither files nor memory are held for nobody.
"""

from dataclasses import dataclass
from enum import Enum


class Wait(Enum):
    """What a connection waits for."""

    HEAD = "head"
    """For a whole head of a request, from connecting or from the end of the reply before."""
    BODY = "body"
    """For the next byte of a request's body."""
    ANSWER = "answer"
    """For ourselves."""
    READER = "reader"
    """For the client to take some of what was written."""
    REST = "rest"
    """For the rest of a body that is not wanted any more: the request has been answered."""
    END = "end"
    """For the client to hang up too."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The most connections there may be, and seconds for each kind of waiting.

    Readers have long, for some write what they read to slow places.
    """

    connections_max: int = 4_000
    head_seconds: float = 30.0
    body_seconds: float = 60.0
    reader_seconds: float = 600.0
    rest_seconds: float = 30.0
    end_seconds: float = 10.0

    def seconds(self, wait: Wait) -> float | None:
        """None: for as long as it takes."""
        return {
            Wait.HEAD: self.head_seconds,
            Wait.BODY: self.body_seconds,
            Wait.ANSWER: None,
            Wait.READER: self.reader_seconds,
            Wait.REST: self.rest_seconds,
            Wait.END: self.end_seconds,
        }[wait]


class Stopwatch:
    """How long one connection has been waiting without anything changing.

    It is looked at once in a while and not told of every byte: what changes between two looks,
    such as a count of bytes, starts it anew.
    """

    def __init__(self) -> None:
        self._waits_for: tuple[Wait, int] | None = None
        self._since = 0.0

    def look(self, wait: Wait, moved: int, now: float) -> float:
        """Seconds of waiting for this, in which `moved` was the same."""
        if self._waits_for != (wait, moved):
            self._waits_for, self._since = (wait, moved), now
        return now - self._since
