"""Digests of a file's blocks, so that whoever reads a part of it can tell if it is still whole.

Eight bytes for every 64 KiB: xxh3-64 of the block, big-endian, one after the other.
"""

from typing import Final

from xxhash import xxh3_64, xxh3_64_digest

BLOCK_BYTES: Final = 64 * 1024
DIGEST_BYTES: Final = 8

BlockDigests = bytes


class BlockHasher:
    """Is shown a file's bytes from the first to the last, in pieces of any size."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._block = xxh3_64()
        self._block_bytes = 0

    def update(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            piece = view[: BLOCK_BYTES - self._block_bytes]
            view = view[len(piece) :]
            self._block.update(piece)
            self._block_bytes += len(piece)
            if self._block_bytes == BLOCK_BYTES:
                self._end_block()

    def digests(self) -> BlockDigests:
        """Of all blocks; nothing can be added after it."""
        if self._block_bytes:
            self._end_block()
        return bytes(self._digests)

    def _end_block(self) -> None:
        self._digests += self._block.digest()
        self._block.reset()
        self._block_bytes = 0


def first_damaged(data: bytes, first_block: int, digests: BlockDigests) -> int | None:
    """The number of the first block of `data` that is not what it was; None when all are.

    `data` begins with block `first_block`; its last block is the file's last or is whole.
    """
    view = memoryview(data)
    for start in range(0, len(data), BLOCK_BYTES):
        number = first_block + start // BLOCK_BYTES
        wanted = digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
        if xxh3_64_digest(view[start : start + BLOCK_BYTES]) != wanted:
            return number
    return None
