"""The data folder: on a local disk, and used by one service at a time."""

import fcntl
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from overnight.domain.errors import ConfigurationError

LOCK_NAME: Final = "lock"
LOCK_WAIT_SECONDS: Final = 10.0
"""Children of a killed service need a moment to notice and let go."""

_NOTICE_AFTER_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.05

_MOUNTS: Final = Path("/proc/self/mounts")
# fmt: off
_NETWORK_TYPES: Final = frozenset({
    "afs", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
    "nfs4", "smb3", "smbfs",
})
_NETWORK_FUSE: Final = frozenset({
    "ceph", "curlftpfs", "davfs2", "gcsfuse", "glusterfs", "goofys", "juicefs", "mount-s3", "nfs",
    "rclone", "s3fs", "smbnetfs", "sshfs",
})
# fmt: on


def open_folder(path: Path, on_wait: Callable[[], None] = lambda: None) -> int:
    """Make the folder if need be, take its lock, and return the lock's descriptor.

    The lock is held until every copy of the descriptor is closed, in whatever process.
    `on_wait` is called once if it takes a noticeable time. Raises `ConfigurationError`.
    """
    make_folder(path)
    try:
        lock = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    if not _lock_within(lock, LOCK_WAIT_SECONDS, on_wait):
        os.close(lock)
        refusal = ConfigurationError(f"The data folder {path} is in use by another Overnight.")
        refusal.add_note("Stop that one, or choose another folder with --data-dir.")
        raise refusal
    return lock


def make_folder(path: Path) -> None:
    """For its owner alone; fine when it is there. Raises `ConfigurationError`."""
    refuse_network_file_system(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ConfigurationError(f"The data folder {path} is a file; name a folder.") from error
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"The data folder {path} can not be used: {error.strerror}.")


def _lock_within(lock: int, seconds: float, on_wait: Callable[[], None]) -> bool:
    started = time.monotonic()
    noticed = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - started
            if waited >= seconds:
                return False
            if waited >= _NOTICE_AFTER_SECONDS and not noticed:
                noticed = True
                on_wait()
            time.sleep(_POLL_SECONDS)
        else:
            return True


def refuse_network_file_system(path: Path, mounts: Path = _MOUNTS) -> None:
    """SQLite's write-ahead log needs memory that all processes share, and locks that hold.

    Raises `ConfigurationError`. Where there is no table of mounts (macOS) nothing is refused.
    """
    try:
        table = mounts.read_text(errors="surrogateescape")
    except OSError:
        return
    kind = _network_type(path.resolve(), table)
    if kind is not None:
        refusal = ConfigurationError(
            f"The data folder {path} is on a network file system ({kind}), where a database "
            "can be damaged."
        )
        refusal.add_note("Choose a folder on a local disk with --data-dir.")
        raise refusal


def _network_type(path: Path, mounts: str) -> str | None:
    """The type of the file system that holds `path`, if it is one over a network."""
    best, found = -1, None
    for line in mounts.splitlines():
        _, point, kind, options, *_ = line.split(" ")
        place = Path(_unescape(point))
        depth = len(place.parts)
        # Of two mounts on one point the later hides the earlier.
        if depth >= best and path.is_relative_to(place):
            best, found = depth, kind if _is_network(kind, options) else None
    return found


def _is_network(kind: str, options: str) -> bool:
    if kind == "9p":
        # Sandboxes use it for their local root; WSL for the drives of Windows, where locks fail.
        return "drvfs" in options or "trans=tcp" in options
    return kind in _NETWORK_TYPES or kind.removeprefix("fuse.") in _NETWORK_FUSE


def _unescape(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point)
