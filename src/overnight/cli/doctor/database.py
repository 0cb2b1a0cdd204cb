"""The database and the bytes it speaks of."""

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from overnight.cli.doctor.finding import Finding, fail, ok, warn
from overnight.cli.progress import ProgressLine, counted, in_bytes
from overnight.domain.errors import Corrupt, OvernightError, Unavailable
from overnight.domain.job import JobStatus
from overnight.seams import SystemDisk
from overnight.service.inspection import Inspected, Inspection
from overnight.store import inspection, workers
from overnight.store.blobs import Blobs
from overnight.store.inspection import ReadOnlyDatabase
from overnight.store.migrate import schema

_OVERDUE_SECONDS: Final = 300.0
"""What a deadline may be past while the grace runs and results are written."""

_NAMED_MAX: Final = 5
_BAR_FROM_BYTES: Final = 64 * 1024 * 1024

_DAMAGED: Final = (
    "Keep a copy of the folder and report it. Jobs it concerns end as failed, with all results "
    "that can be read; submit the rest again."
)


def schema_finding(reader: ReadOnlyDatabase) -> Finding:
    """Whether it can be opened, and is as this program knows it; else nothing more is read."""
    try:
        found = reader.read(schema)
    except Corrupt as error:
        return fail("file", str(error), _DAMAGED)
    except Unavailable as error:
        return fail("file", str(error), "Look again; if it stays so, is the disk full or ill?")
    present = ", ".join(sorted(found.present)) or "none"
    if not found.present <= found.known:
        told = f"{present}, written by a newer version of Overnight"
        return fail("schema", told, "Upgrade Overnight, or use another data folder.")
    if found.newest not in found.present:
        told = f"{present}, of an older version of Overnight; this one has {found.newest}"
        return warn("schema", told, "Start `overnight serve`: it upgrades it. Then look again.")
    return ok("schema", f"{present}, the newest")


def contents(reader: ReadOnlyDatabase, *, running: bool, quick: bool) -> Iterator[Finding]:
    try:
        if not quick:
            yield from reader.read(_soundness)
        yield from reader.read(lambda tx: list(_work(tx, running)))
    except OvernightError as error:
        yield fail("file", str(error), _DAMAGED)


def _soundness(tx: Connection) -> list[Finding]:
    if faults := inspection.page_faults(tx):
        return [
            fail(
                "pages",
                f"damaged in {counted(len(faults), 'place')}",
                _DAMAGED,
                *faults[:_NAMED_MAX],
            )
        ]
    if dangling := inspection.dangling_rows(tx):
        return [
            fail("pages", f"{counted(dangling, 'reference')} to rows that are not there", _DAMAGED)
        ]
    return [ok("pages", "sound: quick_check and foreign keys find nothing")]


def _work(tx: Connection, running: bool) -> Iterator[Finding]:
    now = time.time()
    overdue = inspection.overdue_jobs(tx, now - _OVERDUE_SECONDS)
    yield _jobs(inspection.jobs_by_status(tx), overdue, running)
    lapsed = len(workers.lapsed(tx, now))
    alive = inspection.running_workers(tx, now)
    if running:
        told = ", ".join(f"{count} {role}" for role, count in sorted(alive.items())) or "none"
        if lapsed:
            advice = "The janitor of the clerk frees them within seconds; look again."
            yield warn("leases", f"{told} alive, {lapsed} run out", advice)
        else:
            yield ok("leases", f"{told} alive, none run out")
    elif lapsed or alive:
        yield ok("leases", f"{lapsed + sum(alive.values())} left behind; the next start frees them")
    else:
        yield ok("leases", "none held")


def _jobs(counts: dict[JobStatus, int], overdue: Sequence[str], running: bool) -> Finding:
    order = [status for status in JobStatus if status in counts]
    told = ", ".join(f"{counts[status]:,} {status.value}" for status in order) or "none yet"
    if not overdue:
        return ok("jobs", told)
    named = ", ".join(overdue[:_NAMED_MAX])
    told = f"{told}; {len(overdue):,} past their deadline: {named}"
    if running:
        return fail("jobs", told, "The clerk should have ended them: report it, with this page.")
    return warn("jobs", told, "Start `overnight serve`: it ends them.")


def stored_bytes(reader: ReadOnlyDatabase, folder: Path, *, quick: bool) -> Iterator[Finding]:
    """Plans, segments and files held against the database; a bar on long ones."""
    disk = SystemDisk()
    walk = Inspection(reader, Blobs(folder, disk), disk, time.time(), checksums=not quick)
    started = time.monotonic()
    try:
        total = walk.total_bytes()
        long = total >= _BAR_FROM_BYTES
        with ProgressLine(total, "checking", amount=in_bytes) if long else nullcontext() as line:
            for done in walk.steps():
                if line is not None:
                    line.update(min(done, total))
    except (OvernightError, OSError, ValueError) as error:
        yield fail("bytes", f"can not be checked: {error}", _DAMAGED)
        return
    yield from _verdict(walk.result, quick, total, time.monotonic() - started)


def _verdict(found: Inspected, quick: bool, total: int, seconds: float) -> Iterator[Finding]:
    read = f"are whole ({in_bytes(total)} in {seconds:.1f} s)"
    how = "are there (--quick: not read)" if quick else read
    looked_at = (
        f"{counted(found.jobs, 'plan')}, {counted(found.segments, 'segment')}, "
        f"{counted(found.files, 'file')}"
    )
    if found.damage:
        more = len(found.damage) - _NAMED_MAX
        named = (*found.damage[:_NAMED_MAX], *([f"and {more:,} more"] if more > 0 else []))
        told = f"damage in {counted(len(found.damage), 'place')}; looked at {looked_at}"
        yield fail("bytes", told, _DAMAGED, *named)
    else:
        yield ok("bytes", f"{looked_at} {how}")
    if found.orphans:
        named = tuple(str(path) for path in found.orphans[:_NAMED_MAX])
        told = f"{counted(len(found.orphans), 'file')} that no row speaks of"
        advice = "A service that runs removes those it made within 20 minutes."
        yield warn("orphans", told, advice, *named)
    if found.leftovers or found.unfinished_uploads:
        told = (
            f"{counted(len(found.leftovers), 'folder')} of ended jobs, "
            f"{counted(found.unfinished_uploads, 'upload')} under way or broken off"
        )
        yield ok("leftovers", f"{told}: a start removes what nobody uses")
