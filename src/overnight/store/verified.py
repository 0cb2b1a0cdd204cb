"""A stored file that checks what it reads."""

from overnight.domain.block_digests import BLOCK_BYTES, first_damaged
from overnight.domain.errors import Corrupt
from overnight.seams import ReadFile


class VerifiedFile:
    """A `ReadFile` that raises `Corrupt` rather than give bytes that are not those written.

    Reads whole blocks and keeps the last, for whoever reads line by line. Takes over `file`.
    """

    def __init__(self, file: ReadFile, name: str, digests: bytes) -> None:
        self._file = file
        self._name = name
        self._digests = digests
        self._kept_start = 0
        self._kept = b""

    def size(self) -> int:
        return self._file.size()

    def read_at(self, offset: int, length: int) -> bytes:
        end = offset + length
        if not self._kept_start <= offset <= end <= self._kept_start + len(self._kept):
            first = offset // BLOCK_BYTES
            start, stop = first * BLOCK_BYTES, -(-end // BLOCK_BYTES) * BLOCK_BYTES
            data = self._file.read_at(start, stop - start)
            damaged = first_damaged(data, first, self._digests)
            if damaged is not None:
                raise Corrupt(
                    f"{self._name} is damaged: the {BLOCK_BYTES // 1024} KiB from byte "
                    f"{damaged * BLOCK_BYTES:,} on are not those that were stored"
                )
            if stop - start > BLOCK_BYTES:
                last = max(start, start + (len(data) - 1) // BLOCK_BYTES * BLOCK_BYTES)
                self._kept_start, self._kept = last, data[last - start :]
                return data[offset - start : end - start]
            self._kept_start, self._kept = start, data
        return self._kept[offset - self._kept_start : end - self._kept_start]

    def close(self) -> None:
        self._file.close()


def verified(file: ReadFile, name: str, digests: bytes | None) -> ReadFile:
    """Of files that came before there were digests, there are none."""
    return file if digests is None else VerifiedFile(file, name, digests)
