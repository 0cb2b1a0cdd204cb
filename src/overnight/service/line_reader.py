"""A file's lines, in batches, with no more of the file in memory than a block and a line."""

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from overnight.seams import ReadFile

BLOCK_BYTES: Final = 256 * 1024
"""Small enough that a block of the shortest possible lines is checked within a step."""

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


class LineBatch(NamedTuple):
    """Lines that lie side by side in the file, without their line breaks; possibly none.

    `offset` is where the first begins, `bytes_read` how far the file has been read.
    """

    offset: int
    lines: list[bytes]
    bytes_read: int


class LineReader:
    """Splits a file at `\\n` and nothing else: U+2028 and its like may stand inside strings.

    A byte order mark at the start of the file belongs to no line. Of a line that is longer
    than `line_bytes_max` at least one byte more than that is delivered, and perhaps not all
    of it: reading goes on at the next line break.
    """

    def __init__(self, file: ReadFile, line_bytes_max: int, block_bytes: int = BLOCK_BYTES) -> None:
        self._file = file
        self._line_bytes_max = line_bytes_max
        self._block_bytes = block_bytes
        self._unfinished: list[bytes] = []
        self._unfinished_offset = 0
        self._unfinished_bytes = 0
        self._skipping = False

    def batches(self, digest: Digest | None = None) -> Iterator[LineBatch]:
        """One batch per block read, and one for a last line without a line break.

        `digest` is fed every byte of the file.
        """
        size = self._file.size()
        position = self._skip_byte_order_mark(digest)
        while position < size:
            block = self._file.read_at(position, min(self._block_bytes, size - position))
            if not block:
                break
            if digest is not None:
                digest.update(block)
            offset, lines = self._split(position, block)
            position += len(block)
            yield LineBatch(offset, lines, position)
        if self._unfinished:
            yield LineBatch(self._unfinished_offset, [b"".join(self._unfinished)], position)

    def _skip_byte_order_mark(self, digest: Digest | None) -> int:
        if self._file.read_at(0, len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
            return 0
        if digest is not None:
            digest.update(BYTE_ORDER_MARK)
        return len(BYTE_ORDER_MARK)

    def _split(self, start: int, block: bytes) -> tuple[int, list[bytes]]:
        """The lines that end in `block`, and where the first of them begins."""
        lines = block.split(b"\n")
        rest = lines.pop()
        rest_offset = start + len(block) - len(rest)
        offset = start
        if lines and self._skipping:
            offset += len(lines.pop(0)) + 1
            self._skipping = False
        elif self._unfinished:
            offset = self._unfinished_offset
            if lines:
                lines[0] = b"".join([*self._unfinished, lines[0]])
                self._forget_unfinished()
        if rest and not self._skipping:
            lines += self._keep(rest_offset, rest)
        return offset, lines

    def _keep(self, offset: int, piece: bytes) -> list[bytes]:
        """Keep a piece of a line whose end is still to come, or deliver it when it is too long."""
        if not self._unfinished:
            self._unfinished_offset = offset
        self._unfinished.append(piece)
        self._unfinished_bytes += len(piece)
        if self._unfinished_bytes <= self._line_bytes_max:
            return []
        line = b"".join(self._unfinished)
        self._forget_unfinished()
        self._skipping = True
        return [line]

    def _forget_unfinished(self) -> None:
        self._unfinished = []
        self._unfinished_bytes = 0
