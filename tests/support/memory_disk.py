"""`seams.Disk` in memory, which a test can fill up, break, or let die at any moment."""

import errno
from collections.abc import Sequence
from pathlib import Path

from overnight.seams import AppendFile, ReadFile


class Died(BaseException):
    """The process was killed at this moment; what was written stays written."""


class MemoryDisk:
    def __init__(self) -> None:
        self.files: dict[Path, bytearray] = {}
        self.full = False
        """Appending raises ENOSPC and writes nothing."""
        self.broken = False
        """Syncing raises EIO."""
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
        if path in self.files:
            raise FileExistsError(errno.EEXIST, "there is one", str(path))
        self.files[path] = bytearray()
        return _Append(self, self.files[path])

    def extend(self, path: Path, length: int) -> AppendFile:
        self.change()
        del self.files[path][length:]
        return _Append(self, self.files[path])

    def open(self, path: Path) -> ReadFile:
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "there is none", str(path))
        return _Read(self, self.files[path])

    def publish(self, source: Path, target: Path) -> None:
        self.change()
        self.files[target] = self.files.pop(source)

    def remove(self, path: Path) -> None:
        if path in self.files:
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


class _Append:
    def __init__(self, disk: MemoryDisk, data: bytearray) -> None:
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
            raise OSError(errno.EIO, "broken")

    def close(self) -> None:
        self._disk.opened -= self._open
        self._open = False

    def _check_open(self) -> None:
        if not self._open:
            raise OSError(errno.EBADF, "closed")


class _Read:
    def __init__(self, disk: MemoryDisk, data: bytearray) -> None:
        self._disk = disk
        self._data = data
        self._open = True
        disk.opened += 1

    def size(self) -> int:
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(self._data[offset : offset + length])

    def close(self) -> None:
        self._disk.opened -= self._open
        self._open = False
