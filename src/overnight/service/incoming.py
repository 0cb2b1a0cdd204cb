"""Bytes on their way in: hashed and written as they arrive, never held whole."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from overnight.domain.block_digests import BlockDigests, BlockHasher
from overnight.domain.errors import LimitExceeded, Unavailable
from overnight.seams import AppendFile, Disk, Threads

_WRITE_BYTES: Final = 1024 * 1024
"""Held before a write: few enough trips to the thread, little enough memory per upload."""

_LARGE_BYTES: Final = 64 * 1024
"""Pieces of such a size on average are written one by one: to join them would cost more."""

_SYNC_BYTES: Final = 64 * 1024 * 1024
"""Synced on the way, so that the last sync of a large file is short for all who wait behind it."""


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """How much may come; `what` is coming, and `why` no more of it is taken."""

    bytes_max: int
    what: str
    why: str
    code: str = "file_too_large"

    def check(self, size_bytes: int) -> None:
        """Raises `LimitExceeded` for what has that many bytes, or more."""
        if size_bytes > self.bytes_max:
            raise LimitExceeded(
                f"{self.what} has {size_bytes:,} bytes or more; {self.why} {self.bytes_max:,}.",
                param="file",
                code=self.code,
            )


@dataclass(frozen=True, slots=True)
class Received:
    """What arrived: its length, its sha256 in lower-case hex, and the digests of its blocks."""

    bytes: int
    sha256: str
    digests: BlockDigests


class Incoming:
    """One upload in progress, as a context: what is not published by its end is removed.

    Hashing and writing happen in `threads`, so a slow disk holds up this upload and not the
    event loop, and the sender is held back by not being read from.
    """

    def __init__(self, path: Path, disk: Disk, threads: Threads, limit: SizeLimit) -> None:
        self.path = path
        self._disk = disk
        self._threads = threads
        self._limit = limit
        self._digest = hashlib.sha256()
        self._blocks = BlockHasher()
        self._file: AppendFile | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._unsynced = 0
        self._bytes = 0

    async def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises `LimitExceeded` past the file size limit and `Unavailable` when the disk refuses.
        """
        self._bytes += len(data)
        self.refuse_over_limit(self._bytes)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _WRITE_BYTES:
            await self._flush()

    def refuse_over_limit(self, announced_bytes: int) -> None:
        """Raises `LimitExceeded` when that many bytes would not be taken."""
        self._limit.check(announced_bytes)

    async def finish(self) -> Received:
        """Everything arrived: returns when the bytes are on the disk, still under `path`."""
        await self._flush()
        await self._threads.run(self._sync_and_close)
        return Received(self._bytes, self._digest.hexdigest(), self._blocks.digests())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            await self._threads.run(self._discard)

    async def _flush(self) -> None:
        parts, length = self._held, self._held_bytes
        self._held, self._held_bytes = [], 0
        if length < _LARGE_BYTES * len(parts):
            parts = [b"".join(parts)]
        await self._threads.run(lambda: self._append(parts))

    def _append(self, parts: list[bytes]) -> None:
        try:
            if self._file is None:
                self._file = self._disk.create(self.path)
            for part in parts:
                self._file.append((part,))
                self._unsynced += len(part)
            if self._unsynced >= _SYNC_BYTES:
                self._file.datasync()
                self._unsynced = 0
        except OSError as error:
            raise Unavailable(f"The upload can not be stored: {error.strerror}.") from error
        for part in parts:
            self._digest.update(part)
            self._blocks.update(part)

    def _sync_and_close(self) -> None:
        assert self._file is not None, "the flush before makes the file"  # noqa: S101
        try:
            self._file.datasync()
            self._file.close()
        except OSError as error:
            raise Unavailable(f"The upload can not be stored: {error.strerror}.") from error

    def _discard(self) -> None:
        assert self._file is not None, "only called once there is a file"  # noqa: S101
        self._file.close()
        self._disk.remove(self.path)
