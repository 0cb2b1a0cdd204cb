"""What a simulation replaces: clock, chance, sockets, disk and threads.

Nothing below `node` reaches the world but through these. The event loop's own timers count as
the clock: a loop whose time is virtual runs all of this code unchanged, so waiting is plain
`asyncio.sleep` and `loop.call_later`, and `Clock` is only asked what time it is.
"""

import asyncio
import errno
import os
import random
import secrets
import socket
import ssl
import stat
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

from overnight.domain.errors import Corrupt

T = TypeVar("T")


class Clock(Protocol):
    """Wall time is stored and shown; waiting and self-fencing use the monotonic clock."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; the event loop's `time()` counts the same ones."""
        ...


class Chance(Protocol):
    def jitter(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def token(self, digits: int) -> str:
        """Unguessable lower-case hex digits."""
        ...


class Connect(Protocol):
    """Opens a TCP (or TLS) connection; raises `OSError` when it can not.

    `server_name` is whom the certificate must name, if that is not `host`. With a `socket_path`
    it goes to that Unix socket, wherever `host` and `port` are.
    """

    async def __call__(
        self,
        factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        server_name: str | None = None,
        socket_path: str | None = None,
    ) -> None: ...


class Resolve(Protocol):
    """All addresses of a host, in the order to try them; raises `OSError` when there is none."""

    async def __call__(self, host: str, port: int) -> list[str]: ...


class AppendFile(Protocol):
    """A file that only grows, made by us alone. Every method may raise `OSError`."""

    def append(self, parts: Sequence[bytes]) -> None:
        """Write all parts. On failure the file is cut back to what it was."""
        ...

    def datasync(self) -> None: ...

    def close(self) -> None: ...


class ReadFile(Protocol):
    def size(self) -> int: ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes, fewer only at the end of the file.

        Raises `Corrupt` when the disk has lost them.
        """
        ...

    def close(self) -> None: ...


class Disk(Protocol):
    """Files and folders. Raises `OSError`."""

    def create(self, path: Path) -> AppendFile:
        """A new file; `FileExistsError` when there is one."""
        ...

    def extend(self, path: Path, length: int) -> AppendFile:
        """A file that there is, cut to `length` bytes, to go on with."""
        ...

    def open(self, path: Path) -> ReadFile:
        """Raises `Corrupt` when the disk can not find its way to it any more."""
        ...

    def publish(self, source: Path, target: Path) -> None:
        """Rename `source`, whose bytes are synced, over `target`; returns when that is durable."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file; fine when there is none."""
        ...

    def make_folder(self, path: Path) -> None:
        """Make a folder and its parents, durably; fine when it exists."""
        ...

    def remove_folder(self, path: Path) -> None:
        """Remove a folder and all in it; fine when there is none."""
        ...

    def list_folder(self, path: Path) -> list[str]:
        """Names in a folder, sorted; empty when there is none."""
        ...

    def free_bytes(self, path: Path) -> int: ...


class Threads(Protocol):
    """Where blocking work goes: one thread, so that work is done in the order it was given."""

    async def run(self, work: Callable[[], T]) -> T: ...

    def close(self) -> None: ...


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class SystemChance:
    def jitter(self) -> float:
        return random.random()  # noqa: S311  spreads retries, guards nothing

    def token(self, digits: int) -> str:
        return secrets.token_hex((digits + 1) // 2)[:digits]


async def connect_system(
    factory: Callable[[], asyncio.Protocol],
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    server_name: str | None = None,
    socket_path: str | None = None,
) -> None:
    """`Connect` over the real network, without Nagle's delay."""
    loop = asyncio.get_running_loop()
    if socket_path is not None:
        await _connect_unix(factory, socket_path)
        return
    name = server_name if tls else None
    transport, _ = await loop.create_connection(factory, host, port, ssl=tls, server_hostname=name)
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def _connect_unix(factory: Callable[[], asyncio.Protocol], path: str) -> None:
    try:
        await asyncio.get_running_loop().create_unix_connection(factory, path)
    except ConnectionRefusedError:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            # Linux refuses, where others tell what it is.
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), path) from None
        raise


async def resolve_host(host: str, port: int) -> list[str]:
    """`Resolve` as the system does it."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class SystemAppendFile:
    """A new file, or with `length` one that there is, cut to it."""

    def __init__(self, path: Path, length: int | None = None) -> None:
        how = os.O_CREAT | os.O_EXCL if length is None else 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | how, 0o666)
        self._length = length or 0
        if length is not None:
            os.ftruncate(self._fd, length)
            os.lseek(self._fd, length, os.SEEK_SET)

    def append(self, parts: Sequence[bytes]) -> None:
        data = memoryview(b"".join(parts))
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError:
            if written:
                os.ftruncate(self._fd, self._length)
                os.lseek(self._fd, self._length, os.SEEK_SET)
            raise
        self._length += written

    def datasync(self) -> None:
        getattr(os, "fdatasync", os.fsync)(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


_LOST: Final = frozenset(
    {errno.EIO, getattr(errno, "EUCLEAN", errno.EIO), getattr(errno, "EBADMSG", errno.EIO)}
)
"""A bad sector, or bytes that the file system itself knows to be wrong."""


def _lost(path: Path, error: OSError) -> Corrupt:
    return Corrupt(f"{path.name} can not be read from the disk: {error.strerror}")


class SystemReadFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _LOST:
                raise
            raise _lost(path, error) from error

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        try:
            return self._read_at(offset, length)
        except OSError as error:
            if error.errno not in _LOST:
                raise
            raise _lost(self._path, error) from error

    def _read_at(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        if len(data) == length or not data:
            return data
        pieces = [data]
        have = len(data)
        while have < length and (data := os.pread(self._fd, length - have, offset + have)):
            pieces.append(data)
            have += len(data)
        return b"".join(pieces)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class SystemDisk:
    def create(self, path: Path) -> AppendFile:
        return SystemAppendFile(path)

    def extend(self, path: Path, length: int) -> AppendFile:
        return SystemAppendFile(path, length)

    def open(self, path: Path) -> ReadFile:
        return SystemReadFile(path)

    def publish(self, source: Path, target: Path) -> None:
        os.replace(source, target)
        _sync_folder(target.parent)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        if path.is_dir():
            return
        self.make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)

    def remove_folder(self, path: Path) -> None:
        for name in self.list_folder(path):
            child = path / name
            if child.is_dir() and not child.is_symlink():
                self.remove_folder(child)
            else:
                child.unlink(missing_ok=True)
        if path.is_dir():
            path.rmdir()

    def list_folder(self, path: Path) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def free_bytes(self, path: Path) -> int:
        usage = os.statvfs(path)
        return usage.f_bavail * usage.f_frsize


class OneThread:
    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Seams:
    """All of them together, as `node` hands them down."""

    clock: Clock = field(default_factory=SystemClock)
    chance: Chance = field(default_factory=SystemChance)
    connect: Connect = connect_system
    disk: Disk = field(default_factory=SystemDisk)
    threads: Callable[[str], Threads] = OneThread
    """Makes the thread of the given name; each user has its own."""
    resolve: Resolve = resolve_host
