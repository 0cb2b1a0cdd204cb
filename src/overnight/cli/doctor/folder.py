"""The data folder: where it lies, what room there is, and who is at work in it."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Final

from overnight.cli.doctor.finding import Finding, fail, ok, warn
from overnight.cli.probe import get
from overnight.cli.progress import counted, in_bytes
from overnight.domain.errors import ConfigurationError
from overnight.node import DATABASE_NAME
from overnight.store.inspection import Usage
from overnight.supervisor.folder import LOCK_NAME, refuse_network_file_system
from overnight.supervisor.supervisor import RUN_FILE_NAME

_SCARCE_BYTES: Final = 1 << 30
_FULL_BYTES: Final = 64 << 20
_NEARLY: Final = 0.9
_TENANTS_NAMED_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Service:
    """Who is at work in the folder. `pids` are of the children that live, by role."""

    running: bool = False
    url: str = ""
    pid: int | None = None
    pids: Mapping[str, Sequence[int]] = field(default_factory=dict)


def is_there(folder: Path) -> bool:
    return (folder / DATABASE_NAME).is_file()


def place(folder: Path) -> Iterator[Finding]:
    """Where it lies, and whether we may write there."""
    try:
        refuse_network_file_system(folder)
    except ConfigurationError as error:
        yield fail("place", str(error), *error.__notes__)
        return
    if not folder.is_dir():
        yield _absent(folder)
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        advice = "Run as its owner, or make this user its owner with chown."
        yield fail("place", f"{folder} can not be read and written by this user", advice)
    elif not is_there(folder):
        yield from _without_database(folder)
    elif folder.stat().st_mode & 0o077:
        told = f"{folder} is open to other users of this machine"
        yield warn("place", told, f"chmod 700 {folder}")
    else:
        yield ok("place", f"{folder}, on a local disk, for its owner alone")


def _absent(folder: Path) -> Finding:
    if folder.exists():
        return fail("place", f"{folder} is a file", "Name a folder with --data-dir.")
    above = next(each for each in folder.absolute().parents if each.exists())
    if not os.access(above, os.W_OK | os.X_OK):
        told = f"{folder} is not there, and this user can not make it in {above}"
        return fail("place", told, "Name another with --data-dir.")
    return ok("place", f"{folder} is not there yet: `overnight serve` makes it")


def _without_database(folder: Path) -> Iterator[Finding]:
    if {entry.name for entry in folder.iterdir()} <= {LOCK_NAME}:
        yield ok("place", f"{folder} is empty: nothing here yet")
    else:
        told = f"{folder} holds files, but no {DATABASE_NAME}"
        yield warn("place", told, "Is it the right one? Name another with --data-dir.")


def room(folder: Path, live_input_bytes: int) -> Finding:
    """Results take about as much room as their inputs, and for a moment twice that."""
    usage = os.statvfs(folder)
    free = usage.f_bavail * usage.f_frsize
    told = f"{in_bytes(free)} free, {in_bytes(_bytes_in(folder))} used by Overnight"
    if free < _FULL_BYTES:
        return fail("room", f"the disk is full: {told}", "Make room: jobs wait until there is.")
    if free < max(_SCARCE_BYTES, 2 * live_input_bytes):
        return warn("room", told, "Make room: results are about as large as their inputs.")
    return ok("room", told)


def storage(used: Sequence[Usage], most: int | None) -> Finding:
    """What users keep here, and who is about to reach the limit."""
    files, total = sum(each.files for each in used), sum(each.bytes for each in used)
    limit = "no limit" if most is None else f"at most {in_bytes(most)} each"
    owners = counted(len(used), "tenant")
    told = f"{counted(files, 'file')} of {owners}, {in_bytes(total)}; {limit}"
    named = tuple(
        f"{each.tenant}: {counted(each.files, 'file')}, {in_bytes(each.bytes)}"
        for each in used[: _TENANTS_NAMED_MAX if len(used) > 1 else 0]
    )
    if most is not None and used and used[0].bytes > _NEARLY * most:
        advice = "Delete files, or raise limits.storage_bytes_max: uploads beyond it are refused."
        return warn("storage", told, advice, *named)
    return ok("storage", told, *named)


def _bytes_in(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def service_in(folder: Path) -> Service:
    """As the lock and the file `run.json` tell it."""
    told = _run_file(folder)
    pid = told.get("pid")
    pids = told.get("pids")
    roles = pids if isinstance(pids, dict) else {}
    living = {role: [one for one in some if _is_alive(one)] for role, some in roles.items()}
    return Service(
        running=_is_locked(folder),
        url=str(told.get("url", "")),
        pid=pid if isinstance(pid, int) and _is_alive(pid) else None,
        pids=living,
    )


def service_finding(service: Service, folder: Path) -> Finding:
    if not service.running:
        left = (folder / RUN_FILE_NAME).exists()
        return ok("service", "not running" + (", and was killed at its end" if left else ""))
    if service.pid is None:
        told = f"something holds {folder / LOCK_NAME}, but no supervisor is running"
        return warn("service", told, "Processes of a killed one are ending; look again in 10 s.")
    children = ", ".join(f"{role} {pid}" for role, some in service.pids.items() for pid in some)
    told = f"running at {service.url}: supervisor {service.pid}, {children or 'no children'}"
    if missing := [role for role, some in service.pids.items() if not some]:
        advice = "It starts them again; what it says on standard error tells why they end."
        return fail("service", f"{told}; without {', '.join(missing)}", advice)
    return _readiness(service, told)


def _readiness(service: Service, told: str) -> Finding:
    try:
        status, body = get(f"{service.url}/readyz")
    except (OSError, HTTPException) as error:
        advice = "Does a proxy stand before it, or is it still starting?"
        return warn("service", f"{told}; /readyz can not be asked ({error})", advice)
    if status != 200:
        text = body.decode(errors="replace").strip()
        advice = "Look again in a moment; then at what it says on standard error."
        return fail("service", f"{told}; it is not ready: {text}", advice)
    return ok("service", f"{told}; ready")


def _is_locked(folder: Path) -> bool:
    """Asks for a shared lock and gives it back at once: nobody is kept out for longer."""
    try:
        lock = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _run_file(folder: Path) -> dict[str, object]:
    try:
        told = json.loads((folder / RUN_FILE_NAME).read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
