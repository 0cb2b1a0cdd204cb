"""Result lines in batches: merged into the input's order, gathered into large writes."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import itemgetter
from typing import Final, NamedTuple

from overnight.domain.block_digests import BlockHasher

_WRITE_BYTES: Final = 1 << 20

_MERGED_LINES: Final = 1_000
_LINES_OF_A_MODEL_MIN: Final = 64
"""Fewer than that at a time of many models, and finding them costs more than the lines."""


class LineBatch(NamedTuple):
    """Lines and their numbers, which rise. Those `failed` belong into the error file."""

    numbers: Sequence[int]
    lines: list[bytes]
    failed: set[int]

    def divided(self) -> tuple[list[bytes], list[bytes]]:
        """Successes and failures."""
        if not self.failed:
            return self.lines, []
        is_failed = [number in self.failed for number in self.numbers]
        succeeded = compress(self.lines, [not each for each in is_failed])
        return list(succeeded), list(compress(self.lines, is_failed))

    def in_parts(self, part_bytes: int) -> "Iterator[LineBatch]":
        """Parts of about so many bytes, if its lines are of about the same length."""
        parts = sum(map(len, self.lines)) // part_bytes + 1
        size = -(-len(self.lines) // parts)
        for start in range(0, len(self.lines), size):
            part = slice(start, start + size)
            yield LineBatch(self.numbers[part], self.lines[part], self.failed)


@dataclass(slots=True)
class _Run:
    """The batches of one model, and how far the first of them is used up."""

    batches: Iterator[LineBatch]
    batch: LineBatch = field(init=False)
    used: int = 0

    def advance(self) -> bool:
        """To the next batch; False when there is none."""
        following = next(self.batches, None)
        if following is None:
            return False
        self.batch, self.used = following, 0
        return True

    def ahead(self, lines: int) -> int:
        """The line number that is so many lines ahead, or the last of the batch."""
        return self.batch.numbers[min(self.used + lines, len(self.batch.lines)) - 1]

    def take(self, last: int) -> Iterator[tuple[int, bytes]]:
        """What comes up to line number `last`."""
        start, self.used = self.used, bisect_right(self.batch.numbers, last, self.used)
        part = slice(start, self.used)
        return zip(self.batch.numbers[part], self.batch.lines[part], strict=True)


def merged(models: Sequence[Iterator[LineBatch]]) -> Iterator[LineBatch]:
    """All batches in the order of line numbers, which rise within each of `models`.

    Some hundred lines at a time are sorted, which are a few runs that rise: that takes a third of
    the time of merging line by line.
    """
    if len(models) == 1:
        yield from models[0]
        return
    lines_max = max(_MERGED_LINES // max(1, len(models)), _LINES_OF_A_MODEL_MIN)
    runs = [run for run in map(_Run, models) if run.advance()]
    while runs:
        last = min(run.ahead(lines_max) for run in runs)
        pairs: list[tuple[int, bytes]] = []
        failed: set[int] = set()
        for run in runs:
            pairs += run.take(last)
            failed |= run.batch.failed
        pairs.sort(key=itemgetter(0))
        yield LineBatch([number for number, _ in pairs], [line for _, line in pairs], failed)
        runs = [run for run in runs if run.used < len(run.batch.lines) or run.advance()]


class Sink:
    """Gathers lines into large writes."""

    def __init__(self, append: Callable[[Sequence[bytes]], None]) -> None:
        self._append = append
        self._lines: list[bytes] = []
        self._pending_bytes = 0
        self._hasher = BlockHasher()
        self.digests = self._hasher.digests
        self.written_bytes = 0

    def write(self, lines: list[bytes]) -> None:
        self._lines += lines
        self._pending_bytes += sum(map(len, lines))
        if self._pending_bytes >= _WRITE_BYTES:
            self._drain()

    def close(self) -> int:
        """Write the rest; returns the bytes of all lines."""
        self._drain()
        return self.written_bytes

    def _drain(self) -> None:
        if self._lines:
            data = b"".join(self._lines)
            self._append([data])
            self._hasher.update(data)
            self.written_bytes += self._pending_bytes
            self._lines.clear()
            self._pending_bytes = 0
