"""Ids that may have been used before, found in eight bytes per id."""

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from xxhash import xxh3_64_intdigest

IdDigest = Callable[[bytes], int]
"""64 bits of a `custom_id`: equal for equal ids, and almost never for others."""

BUCKETS: Final = 256
_GROWING_MAX: Final = 512
"""Digests in a bucket, or about, before they are put away."""


class IdDigests:
    """Digests of all ids of a file, in buckets by their low byte.

    Only a bucket at a time is ever made a set, which costs ten times the bytes of an array.
    """

    def __init__(self, digest: IdDigest = xxh3_64_intdigest) -> None:
        self.digest: Final = digest
        self._growing = _empty_buckets()
        self._kept: list[list[bytes]] = [[] for _ in range(BUCKETS)]

    def add(self, custom_ids: Iterable[bytes]) -> None:
        buckets = self._growing
        for digest in map(self.digest, custom_ids):
            buckets[digest & 255].append(digest)
        if len(buckets[0]) >= _GROWING_MAX:
            self._keep()

    def repeated(self) -> Iterator[set[int]]:
        """Digests that occur more than once, bucket by bucket; each is emptied on the way."""
        for bucket in self._emptied():
            distinct = set(bucket)
            yield _repeated(bucket) if len(distinct) < len(bucket) else set()

    def count_repeats(self) -> int:
        """How many were added that had been added before; empties all buckets."""
        return sum(len(bucket) - len(set(bucket)) for bucket in self._emptied())

    def _keep(self) -> None:
        """Pieces that never grow: arrays that do take a fifth more, in themselves and in gaps."""
        for kept, bucket in zip(self._kept, self._growing, strict=True):
            kept.append(bucket.tobytes())
        self._growing = _empty_buckets()

    def _emptied(self) -> "Iterator[array[int]]":
        self._keep()
        for kept in self._kept:
            bucket = array("Q", b"".join(kept))
            kept.clear()
            yield bucket


def _empty_buckets() -> "list[array[int]]":
    return [array("Q") for _ in range(BUCKETS)]


def _repeated(bucket: Iterable[int]) -> set[int]:
    seen: set[int] = set()
    repeated: set[int] = set()
    for digest in bucket:
        (repeated if digest in seen else seen).add(digest)
    return repeated
