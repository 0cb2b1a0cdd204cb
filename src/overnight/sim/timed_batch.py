"""A batch in real time: one timer for all its sequences."""

import asyncio
from collections.abc import Callable

from overnight.sim.batch import Batch, Sequence

SHORTEST_TIMER_SECONDS = 0.001
"""A loop's timers are no finer. The batch keeps exact time all the same; it is only asked later."""


class TimedBatch:
    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._done: dict[Sequence, Callable[[], None]] = {}

    def add(self, sequence: Sequence, done: Callable[[], None]) -> None:
        """`done` is called once the last token is there, never before this returns."""
        now = self._loop.time()
        ended = self.batch.advance(now)
        self.batch.add(sequence, now)
        self._done[sequence] = done
        self._tell(ended)
        self._set_timer()

    def remove(self, sequence: Sequence) -> None:
        """If it is still there; it is not told any more."""
        if self._done.pop(sequence, None) is None:
            return
        now = self._loop.time()
        ended = self.batch.advance(now)
        if sequence not in ended:
            self.batch.remove(sequence, now)
        self._tell(ended)
        self._set_timer()

    def cache_usage(self) -> float:
        return self.batch.cache_usage(self._loop.time())

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wake(self) -> None:
        self._timer = None
        self._tell(self.batch.advance(self._loop.time()))
        self._set_timer()

    def _tell(self, ended: list[Sequence]) -> None:
        for sequence in ended:
            if sequence in self._done:
                self._loop.call_soon(self._done.pop(sequence))

    def _set_timer(self) -> None:
        at = self.batch.next_event
        if self._timer is not None:
            if at is not None and self._wakes_at <= at:
                return  # it comes a little early and is set again
            self._timer.cancel()
            self._timer = None
        if at is not None:
            now = self._loop.time()
            self._wakes_at = max(at, now + SHORTEST_TIMER_SECONDS)
            self._timer = self._loop.call_later(self._wakes_at - now, self._wake)
