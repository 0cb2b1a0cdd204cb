"""The program, what it stands on, and the limits the system sets it."""

import platform
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from overnight import __version__
from overnight.cli.doctor.finding import Finding, fail, ok, warn
from overnight.settings import Loaded, UpstreamSettings
from overnight.settings.fields import is_secret_name

_LIBRARIES: Final = (
    "alembic", "fastapi", "httptools", "msgspec", "pydantic", "sqlalchemy", "structlog", "uvicorn",
    "uvloop", "xxhash",
)  # fmt: skip

_SPARE_FILES: Final = 256
"""For segments, inputs, the database and what libraries keep open."""


def program(loaded: Loaded) -> Iterator[Finding]:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield ok("overnight", f"{__version__} on {python}, {platform.platform(terse=True)}")
    versions = {name: _version(name) for name in _LIBRARIES}
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield ok("libraries", f"{told}, SQLite {sqlite3.sqlite_version}")
    if versions["uvloop"] is None:
        yield warn("uvloop", "is not installed: a request costs more", "pip install uvloop")
    yield _settings(loaded)
    yield from _open_secrets(loaded)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _settings(loaded: Loaded) -> Finding:
    origins = sorted(set(loaded.origins.values()))
    told = f"from {', '.join(origins)}" if origins else "all at their defaults"
    if loaded.strangers:
        names = ", ".join(loaded.strangers)
        return warn("settings", f"{told}; no setting: {names}", "See `overnight config show`.")
    return ok("settings", told)


def _open_secrets(loaded: Loaded) -> Iterator[Finding]:
    """Files with keys in them that are not for their owner alone."""
    for origin in sorted({loaded.origin(name) for name in loaded.origins if is_secret_name(name)}):
        path = Path(origin)
        if path.is_file() and path.stat().st_mode & 0o077:
            told = f"{path} holds keys and is open to other users of this machine"
            yield warn("keys", told, f"chmod 600 {path}")


def limits(
    upstreams: Sequence[UpstreamSettings], pids: Mapping[str, Sequence[int]]
) -> Iterator[Finding]:
    """`pids` are those of the running service, whose limits count; else ours would be its."""
    workers = pids.get("worker", ())
    allowed = _open_files_allowed(workers[0] if workers else None)
    # Any one worker may come to hold all lanes.
    needed = sum(up.max_in_flight for up in upstreams) + _SPARE_FILES
    told = f"a worker {'may' if workers else 'started here may'} open {allowed:,}"
    told += f" and needs up to {needed:,}"
    if allowed < needed:
        advice = f"Run `ulimit -n {needed}` before `overnight serve`, or lower max_in_flight."
        yield fail("open files", told, advice)
    else:
        yield ok("open files", told)


def _open_files_allowed(pid: int | None) -> int:
    import resource

    if pid is not None and hasattr(resource, "prlimit"):
        try:
            return _count(resource.prlimit(pid, resource.RLIMIT_NOFILE)[0])
        except OSError:
            pass  # Somebody else's process: ours is the best guess.
    return _count(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _count(limit: int) -> int:
    """«No limit» is a negative number."""
    return limit if limit >= 0 else 2**31
