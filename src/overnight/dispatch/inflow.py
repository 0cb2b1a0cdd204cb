"""Room in memory for long replies under way.

Each reply has its limit, and yet many may come at once: 128 of 64 MiB are more than most machines
have. When all together are beyond the limit, all but one wait, unread, until others have ended;
their senders notice no more than a slow network.
"""

from typing import Final, Protocol

COUNTED_FROM_BYTES: Final = 64 * 1024
"""Shorter replies are not counted, and never wait."""


class Reading(Protocol):
    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Inflow:
    """Shared by all connections of a worker."""

    __slots__ = ("_bytes_max", "_held", "_waiting", "bytes_held")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_held = 0
        self._bytes_max = bytes_max
        self._held: dict[Reading, int] = {}
        # Not a set: who has waited longest goes on first.
        self._waiting: dict[Reading, None] = {}

    def grew(self, reply: Reading, size: int) -> None:
        """A reply has that many bytes by now; it may have to wait for more."""
        self.bytes_held += size - self._held.get(reply, 0)
        self._held[reply] = size
        is_last_reading = len(self._waiting) + 1 >= len(self._held)
        if self.bytes_held > self._bytes_max and reply not in self._waiting and not is_last_reading:
            self._waiting[reply] = None
            reply.pause()

    def ended(self, reply: Reading) -> None:
        """It is whole or given up: others may go on, one at least."""
        self.bytes_held -= self._held.pop(reply, 0)
        self._waiting.pop(reply, None)
        while self._waiting and (
            self.bytes_held <= self._bytes_max or len(self._waiting) == len(self._held)
        ):
            first = next(iter(self._waiting))
            del self._waiting[first]
            first.resume()
