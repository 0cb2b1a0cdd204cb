"""Makes one file of an upload's parts, on no more disk than they take already.

The first part becomes the file and the others are appended to it, each removed once what it held is
durable there. As they go in order, the last that is gone tells how far a join came that broke off,
so it can be gone on with after a crash.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from overnight.domain.block_digests import BlockDigests, BlockHasher
from overnight.domain.errors import Corrupt, Unavailable
from overnight.domain.upload import Part, Upload
from overnight.seams import AppendFile, Disk, ReadFile, Threads
from overnight.store.blobs import Blobs

T = TypeVar("T")

_BLOCK_BYTES: Final = 4 * 1024 * 1024
"""Read, hashed and written at a time."""
_SYNC_BYTES: Final = 64 * 1024 * 1024
"""Copied between two syncs, so that not each of many small parts has to wait for its own."""


@dataclass(frozen=True, slots=True)
class Digests:
    """Of all parts in their order, in lower-case hex, md5 only where it was asked for; and those
    of the blocks.
    """

    sha256: str
    md5: str | None
    blocks: BlockDigests


class Joining:
    """All disk work is done in `thread`, a block at a time, so that joins take turns."""

    def __init__(self, blobs: Blobs, disk: Disk, thread: Threads) -> None:
        self._blobs = blobs
        self._disk = disk
        self._thread = thread

    async def digests(self, upload: Upload, parts: Sequence[Part], *, with_md5: bool) -> Digests:
        """Of the parts, whether they are joined already or not.

        Raises `Corrupt` and `Unavailable`.
        """
        # That of a part alone is known since it came.
        known = parts[0].sha256 if len(parts) == 1 else None
        hashes = [] if known else [hashlib.sha256()]
        if with_md5:
            hashes.append(hashlib.md5(usedforsecurity=False))
        hasher = BlockHasher()
        updates = [hasher.update, *(each.update for each in hashes)]
        done = await self._run(lambda: self._joined(upload, parts))
        if done:
            length = sum(part.bytes for part in parts[:done])
            async for block in self._blocks(self._blobs.joined_path(upload.id), length):
                await self._run(partial(_show, updates, block))
        for part in parts[done:]:
            async for block in self._blocks(self._path(part), part.bytes):
                await self._run(partial(_show, updates, block))
        found = [each.hexdigest() for each in hashes]
        sha256 = known or found[0]
        return Digests(sha256, found[-1] if with_md5 else None, hasher.digests())

    async def join(self, upload: Upload, parts: Sequence[Part]) -> None:
        """Leave the file durably in its place; may be done again, whatever ended the last time.

        Raises `Unavailable` when the disk is full or fails: once it does not, do it again.
        """
        if await self._run(lambda: self._is_in_place(upload)):
            return
        await self.append(upload, parts)
        joined = self._blobs.joined_path(upload.id)
        await self._run(lambda: self._disk.publish(joined, self._blobs.file_path(upload.file_id)))

    async def append(self, upload: Upload, parts: Sequence[Part]) -> None:
        """Join the parts that are there, which are the first of those there will be.

        Raises what `join` raises.
        """
        joined = self._blobs.joined_path(upload.id)
        done = await self._run(lambda: self._begin(upload, parts))
        length = sum(part.bytes for part in parts[:done])
        file = await self._run(lambda: self._go_on(joined, length))
        try:
            await self._append(file, parts[done:])
        finally:
            await self._run(file.close)

    async def _append(self, file: AppendFile, parts: Sequence[Part]) -> None:
        copied: list[Part] = []
        unsynced = 0
        for part in parts:
            async for block in self._blocks(self._path(part), part.bytes):
                await self._run(partial(file.append, [block]))
            copied.append(part)
            unsynced += part.bytes
            if unsynced >= _SYNC_BYTES:
                await self._run(partial(self._release, file, copied))
                copied, unsynced = [], 0
        await self._run(partial(self._release, file, copied))

    def _release(self, file: AppendFile, copied: Sequence[Part]) -> None:
        file.datasync()
        for part in copied:
            self._disk.remove(self._path(part))

    def _begin(self, upload: Upload, parts: Sequence[Part]) -> int:
        """How many parts are in the file; at least the first, which becomes it."""
        done = self._joined(upload, parts)
        joined = self._blobs.joined_path(upload.id)
        if not parts and joined.name not in self._disk.list_folder(joined.parent):
            self._disk.make_folder(joined.parent)
            self._disk.create(joined).close()
        elif parts and not done:
            self._disk.publish(self._path(parts[0]), joined)
            return 1
        return done

    def _joined(self, upload: Upload, parts: Sequence[Part]) -> int:
        """How many parts have gone into the file: all up to the last that is gone.

        They go in order, but a power loss may bring any of them back: removing is not synced.
        """
        there = set(self._disk.list_folder(self._blobs.upload_folder(upload.id)))
        gone = (place for place, part in enumerate(parts, 1) if part.id not in there)
        return max(gone, default=0)

    def _go_on(self, joined: Path, length: int) -> AppendFile:
        if self._size(joined) < length:
            raise Corrupt(f"What was joined of {joined.parent.name} is shorter than its parts.")
        return self._disk.extend(joined, length)

    def _is_in_place(self, upload: Upload) -> bool:
        """A crash came between the rename and the row."""
        try:
            return self._size(self._blobs.file_path(upload.file_id)) == upload.bytes
        except FileNotFoundError:
            return False

    def _size(self, path: Path) -> int:
        file = self._disk.open(path)
        size = file.size()
        file.close()
        return size

    async def _blocks(self, path: Path, size: int) -> AsyncIterator[bytes]:
        file = await self._run(lambda: self._disk.open(path))
        try:
            for offset in range(0, size, _BLOCK_BYTES):
                length = min(_BLOCK_BYTES, size - offset)
                yield await self._run(partial(_read, file, offset, length))
        finally:
            file.close()

    def _path(self, part: Part) -> Path:
        return self._blobs.part_path(part.upload_id, part.id)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await self._thread.run(work)
        except FileNotFoundError as error:
            raise Corrupt(f"{Path(error.filename).name} of an upload is missing.") from error
        except OSError as error:
            raise Unavailable(f"The upload can not be stored: {error.strerror}.") from error


def _show(updates: Sequence[Callable[[bytes], None]], block: bytes) -> None:
    for update in updates:
        update(block)


def _read(file: ReadFile, offset: int, length: int) -> bytes:
    block = file.read_at(offset, length)
    if len(block) != length:
        raise Corrupt(f"What was uploaded ends at byte {offset + len(block)}, too early.")
    return block
