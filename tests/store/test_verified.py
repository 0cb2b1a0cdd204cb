"""Whatever is read of a file, and in whatever order: it is what was written, or `Corrupt`."""

from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.domain.block_digests import BLOCK_BYTES, DIGEST_BYTES, BlockHasher
from overnight.domain.errors import Corrupt
from overnight.store.verified import VerifiedFile
from support.memory_disk import MemoryDisk

PATH = Path("file")
sizes = st.integers(0, 3 * BLOCK_BYTES + 17)


def digests_in_pieces(data: bytes, cuts: list[int]) -> bytes:
    hasher = BlockHasher()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in pairwise(places):
        hasher.update(data[start:stop])
    return hasher.digests()


@settings(max_examples=150, deadline=None)
@given(
    size=sizes,
    cuts=st.lists(sizes, max_size=4),
    reads=st.lists(st.tuples(sizes, sizes), min_size=1, max_size=6),
    flip=st.none() | sizes,
)
def test_what_is_read_is_what_was_written(
    size: int, cuts: list[int], reads: list[tuple[int, int]], flip: int | None
) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    digests = digests_in_pieces(data, cuts)
    assert len(digests) == -(-size // BLOCK_BYTES) * DIGEST_BYTES
    disk = MemoryDisk()
    disk.files[PATH] = bytearray(data)
    if flip is not None and flip < size:
        disk.files[PATH][flip] ^= 0x10
    file = VerifiedFile(disk.open(PATH), "it", digests)
    for offset, length in reads:
        blocks = range(offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES))
        try:
            assert file.read_at(offset, length) == data[offset : offset + length]
        except Corrupt:
            assert flip is not None
            assert flip // BLOCK_BYTES in blocks
    file.close()
