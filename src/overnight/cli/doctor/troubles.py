"""The newest errors: jobs that failed, upstreams that were paused, and the log."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from overnight.cli.doctor.finding import Finding, ok, warn
from overnight.cli.progress import counted
from overnight.cli.tables import utc
from overnight.domain.errors import OvernightError
from overnight.error_log import error_log_path, newest_errors
from overnight.store import inspection, lanes
from overnight.store.inspection import ReadOnlyDatabase

_RECENT_SECONDS: Final = 24 * 3600.0
_SHOWN_MAX: Final = 5
_READ_MAX: Final = 1_000
_SAID_BY_US: Final = frozenset({"timestamp", "level", "event", "role", "pid", "exception"})


def recorded(reader: ReadOnlyDatabase, *, running: bool) -> Iterator[Finding]:
    """What the database knows of them."""
    try:
        yield from reader.read(lambda tx: [_failed_jobs(tx), _paused(tx, running)])
    except OvernightError as error:
        yield warn("jobs", f"can not be read: {error}", "See what is said of the database.")


def logged(data_dir: Path) -> Finding:
    path = error_log_path(data_dir)
    try:
        records = newest_errors(data_dir, _READ_MAX)
    except OSError as error:
        return warn("log", f"{path} can not be read: {error.strerror}", "Run as its owner.")
    since = datetime.fromtimestamp(time.time() - _RECENT_SECONDS, UTC).isoformat()
    # Both are ISO 8601 in UTC, which sort as they stand.
    recent = [record for record in records if str(record.get("timestamp", "")) >= since]
    if not recent:
        return ok("log", "no warning or error in the last 24 h")
    least = "at least " if len(recent) == _READ_MAX else ""
    told = f"{least}{counted(len(recent), 'trouble')} in the last 24 h, the newest first"
    return warn("log", told, f"All of them are in {path}.", *map(_line, recent[:_SHOWN_MAX]))


def _failed_jobs(tx: Connection) -> Finding:
    failed = inspection.failed_jobs(tx, time.time() - _RECENT_SECONDS, _SHOWN_MAX)
    if not failed:
        return ok("jobs", "none failed in the last 24 h but by faults of their input")
    lines = (f"{utc(job.at)} {job.id}: {job.failure}" for job in failed)
    return warn("jobs", "some failed in the last 24 h", "Submit them again.", *lines)


def _paused(tx: Connection, running: bool) -> Finding:
    paused = {lane.url: lane.paused_reason for lane in lanes.all(tx) if lane.paused_reason}
    if not paused:
        return ok("upstreams", "none is paused")
    lines = tuple(f"{url} {why}" for url, why in paused.items())
    if running:
        return warn(
            "upstreams", f"{len(paused)} paused", "They are tried again by themselves.", *lines
        )
    return ok("upstreams", f"{len(paused)} paused when it ran last", *lines)


def _line(record: Mapping[str, Any]) -> str:
    """Such as `2026-11-21T03:12:44Z worker: the disk is full; nothing is claimed, reason: …`."""
    more = [f"{name}: {value}" for name, value in record.items() if name not in _SAID_BY_US]
    if isinstance(trace := record.get("exception"), str) and trace.strip():
        more.append(trace.strip().splitlines()[-1])
    at = str(record.get("timestamp", ""))[:19]
    said = ", ".join([str(record.get("event", "")), *more])
    return f"{at}Z {record.get('role', '?')}: {said}"
