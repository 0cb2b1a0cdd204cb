"""The machine's disk as one process uses it: every change may be its last."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64_hexdigest

from overnight.domain.errors import Corrupt
from overnight.seams import AppendFile, ReadFile
from support.memory_disk import Died, MemoryDisk

if TYPE_CHECKING:
    from simulation.process import Process


_MISREADINGS: Final = 0.2
"""How often a read goes wrong while reads go wrong."""


class ProcessDisk:
    def __init__(self, process: "Process") -> None:
        self._process = process

    def create(self, path: Path) -> AppendFile:
        made = self._process.act(f"create {path}", lambda: self._disk.create(path))
        return ProcessAppend(self._process, path, made)

    def extend(self, path: Path, length: int) -> AppendFile:
        made = self._process.act(f"extend {path}", lambda: self._disk.extend(path, length))
        return ProcessAppend(self._process, path, made)

    def open(self, path: Path) -> ReadFile:
        if not self._process.alive:
            raise Died
        return ProcessRead(self._process, path, self._disk.open(path))

    def publish(self, source: Path, target: Path) -> None:
        what = f"rename {source} to {target}"
        self._process.machine.history.renames(self._process, source, target)
        self._process.act(what, lambda: self._disk.publish(source, target))

    def remove(self, path: Path) -> None:
        if path in self._disk.files:
            self._process.machine.history.removes(self._process, path)
            self._process.act(f"remove {path}", lambda: self._disk.remove(path))

    def make_folder(self, path: Path) -> None:
        self._process.act(f"make {path}", lambda: self._disk.make_folder(path))

    def remove_folder(self, path: Path) -> None:
        """File by file, as it is done: a crash leaves the rest."""
        for each in sorted(each for each in self._disk.files if path in each.parents):
            self.remove(each)

    def list_folder(self, path: Path) -> list[str]:
        if not self._process.alive:
            raise Died
        return self._disk.list_folder(path)

    def free_bytes(self, path: Path) -> int:
        return self._disk.free_bytes(path)

    @property
    def _disk(self) -> MemoryDisk:
        return self._process.machine.disk


class ProcessAppend:
    def __init__(self, process: "Process", path: Path, file: AppendFile) -> None:
        self._process = process
        self._path = path
        self._file = file
        self._open = True
        process.open_files += 1

    def append(self, parts: Sequence[bytes]) -> None:
        process, data = self._process, b"".join(parts)
        what = f"append {len(data)} ({xxh3_64_hexdigest(data)}) to {self._path}"
        if process.dies_now(what):
            # What a process had written when it was killed may be any part of what it wanted to.
            self._file.append([data[: process.machine.chance.randint(0, len(data))]])
            process.die(f"in: {what}")
            raise Died
        self._file.append([data])
        process.machine.trace(process, what)

    def datasync(self) -> None:
        self._process.act(f"sync {self._path}", self._file.datasync)

    def close(self) -> None:
        self._process.open_files -= self._open
        self._open = False
        self._file.close()


class ProcessRead:
    """Now and then the disk fails to read, or reads something else than was written."""

    def __init__(self, process: "Process", path: Path, file: ReadFile) -> None:
        self._process = process
        self._path = path
        self._file = file
        self._open = True
        process.open_files += 1

    def size(self) -> int:
        return self._file.size()

    def read_at(self, offset: int, length: int) -> bytes:
        data = self._file.read_at(offset, length)
        machine = self._process.machine
        if data and machine.misreads and machine.chance.random() < _MISREADINGS:
            return self._misread(data)
        return data

    def close(self) -> None:
        self._process.open_files -= self._open
        self._open = False
        self._file.close()

    def _misread(self, data: bytes) -> bytes:
        machine = self._process.machine
        if not machine.history.misreads(self._process, self._path):
            return data
        if machine.chance.random() < 0.3:
            machine.history.counts["reads: failed"] += 1
            raise Corrupt(f"{self._path.name} can not be read from the disk: broken")
        machine.history.counts["reads: flipped a bit"] += 1
        place = machine.chance.randrange(len(data))
        flipped = data[place] ^ (1 << machine.chance.randrange(8))
        return data[:place] + bytes([flipped]) + data[place + 1 :]
