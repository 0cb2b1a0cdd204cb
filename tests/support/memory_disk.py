"""`seams.Disk` in memory, which a test can fill up, break, or let die at any moment."""

import errno
import random
from collections.abc import Sequence
from pathlib import Path

from overnight.domain.errors import Corrupt
from overnight.seams import AppendFile, ReadFile


class Died(BaseException):
    """The process was killed at this moment; what was written stays written."""


class Written(bytearray):
    """The bytes of a file that was made here, and what a power loss would do to them."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(data)
        self.synced = len(data)
        """Bytes that are on the medium; all before the first of `holes`, that is."""
        self.holes: list[tuple[int, int]] = []
        """What a sync that failed has dropped: no later sync writes it."""

    @property
    def safe_bytes(self) -> int:
        return min([self.synced, *(start for start, _ in self.holes)])

    def sync(self) -> None:
        self.synced = len(self)

    def fail_to_sync(self) -> None:
        if self.synced < len(self):
            self.holes.append((self.synced, len(self)))

    def after_power_loss(self, chance: random.Random) -> "Written":
        """What is synced, and of the rest nothing, some, all, or its length without its bytes."""
        kept = bytes(self)
        for start, end in self.holes:
            kept = kept[:start] + bytes(end - start) + kept[end:]
        if rest := len(self) - self.synced:
            some = chance.randrange(rest + 1)
            kept = chance.choice(
                [
                    kept[: self.synced],
                    kept[: self.synced + some],
                    kept,
                    kept[: self.synced + some] + bytes(rest - some),
                    kept[: self.synced] + bytes(some) + kept[self.synced + some :],
                ]
            )
        return Written(kept)


class MemoryDisk:
    def __init__(self) -> None:
        self.files: dict[Path, bytearray] = {}
        """What there is. A test may put files here itself: no power loss hurts those."""
        self._named: dict[Path, bytearray] = {}
        """The names that are on the medium."""
        self.full = False
        """Appending raises ENOSPC and writes nothing."""
        self.broken = False
        """Syncing raises EIO."""
        self.unreadable: set[Path] = set()
        """Reading them finds bad sectors."""
        self.refused: set[Path] = set()
        """Opening, making or removing them is not allowed."""
        self.writes_left: int | None = None
        """How many more changes are made before the process dies; None: it lives."""
        self.torn = False
        """Dying while appending leaves half of what was to be written."""
        self.opened = 0
        """Files open at the moment."""

    def change(self) -> None:
        """Count a change; raises `Died` when there is to be none any more."""
        if self.writes_left is not None:
            if not self.writes_left:
                raise Died
            self.writes_left -= 1

    def create(self, path: Path) -> AppendFile:
        self.change()
        self._check_allowed(path)
        if path in self.files:
            raise FileExistsError(errno.EEXIST, "there is one", str(path))
        made = self.files[path] = Written()
        return _Append(self, made)

    def extend(self, path: Path, length: int) -> AppendFile:
        self.change()
        data = self.files[path]
        if not isinstance(data, Written):
            data = self.files[path] = Written(data)
        del data[length:]
        data.synced = min(data.synced, length)
        return _Append(self, data)

    def open(self, path: Path) -> ReadFile:
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "there is none", str(path))
        self._check_allowed(path)
        return _Read(self, path)

    def _check_allowed(self, path: Path) -> None:
        if path in self.refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def publish(self, source: Path, target: Path) -> None:
        self.change()
        self.files[target] = self.files.pop(source)
        for path in [path for path in self._named if path.parent == target.parent]:
            if path not in self.files:
                del self._named[path]
        here = [path for path in self.files if path.parent == target.parent]
        self._named.update((path, self.files[path]) for path in here)

    def remove(self, path: Path) -> None:
        if path in self.files:
            self._check_allowed(path)
            self.change()
            del self.files[path]

    def make_folder(self, path: Path) -> None:
        pass

    def remove_folder(self, path: Path) -> None:
        for each in sorted(each for each in self.files if path in each.parents):
            self.remove(each)

    def list_folder(self, path: Path) -> list[str]:
        return sorted(
            {each.relative_to(path).parts[0] for each in self.files if path in each.parents}
        )

    def free_bytes(self, path: Path) -> int:
        return 0 if self.full else 1 << 40

    # Power

    def safe(self, path: Path) -> bytes | None:
        """What is sure to be found at `path` after a power loss; None when that is nothing."""
        data = self.files.get(path)
        if not isinstance(data, Written):
            return None if data is None else bytes(data)
        return bytes(data[: data.safe_bytes]) if self._named.get(path) is data else None

    def lose_power(self, chance: random.Random) -> None:
        """Forget, tear or keep what was not synced: bytes of files, and names of folders."""
        left: dict[Path, bytearray] = {}
        for path in sorted({*self.files, *self._named}):
            seen, sure = self.files.get(path), self._named.get(path)
            if isinstance(seen, Written) or seen is None:
                seen = sure if seen is sure else chance.choice([seen, sure])
            if seen is not None:
                left[path] = seen
        survivors: dict[int, bytearray] = {}
        for data in left.values():
            if id(data) not in survivors:
                whole = not isinstance(data, Written)
                survivors[id(data)] = data if whole else data.after_power_loss(chance)
        self.files = {path: survivors[id(data)] for path, data in left.items()}
        self._named = {path: data for path, data in self.files.items() if isinstance(data, Written)}


class _Append:
    def __init__(self, disk: MemoryDisk, data: Written) -> None:
        self._disk = disk
        self._data = data
        self._open = True
        disk.opened += 1

    def append(self, parts: Sequence[bytes]) -> None:
        self._check_open()
        if self._disk.full:
            raise OSError(errno.ENOSPC, "no room")
        data = b"".join(parts)
        try:
            self._disk.change()
        except Died:
            if self._disk.torn:
                self._disk.torn = False
                self._data += data[: len(data) // 2]
            raise
        self._data += data

    def datasync(self) -> None:
        self._check_open()
        if self._disk.broken:
            self._data.fail_to_sync()
            raise OSError(errno.EIO, "broken")
        self._data.sync()

    def close(self) -> None:
        self._disk.opened -= self._open
        self._open = False

    def _check_open(self) -> None:
        if not self._open:
            raise OSError(errno.EBADF, "closed")


class _Read:
    def __init__(self, disk: MemoryDisk, path: Path) -> None:
        self._disk = disk
        self._path = path
        self._data = disk.files[path]
        self._open = True
        disk.opened += 1

    def size(self) -> int:
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        if self._path in self._disk.unreadable:
            raise Corrupt(f"{self._path.name} can not be read from the disk: Input/output error")
        return bytes(self._data[offset : offset + length])

    def close(self) -> None:
        self._disk.opened -= self._open
        self._open = False
