"""Telling how far an upload or a download is, if it takes long enough for anybody to wonder."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from overnight.cli.progress import ProgressLine

QUIET_SECONDS: Final = 1.0
"""Nothing is said about what takes no longer."""


class Transfer:
    """A progress line in bytes on standard error, begun when the first second is over.

    Give it to `with`, and hand `moved` to the client.
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._total = total
        self._clock = clock
        self._line: ProgressLine | None = None
        self._started_at = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._line is not None:
            self._line.__exit__(kind, error, trace)

    def moved(self, done: int, total: int | None = None) -> None:
        """`done` bytes so far; without a total there is nothing to show."""
        from overnight.cli.progress import ProgressLine, in_bytes

        total = total or self._total
        if total is None:
            return
        if self._line is None:
            if self._clock() - self._started_at < QUIET_SECONDS:
                return
            self._line = ProgressLine(total, self._label, amount=in_bytes, clock=self._clock)
            self._line.__enter__()
        self._line.update(done, total=total)
