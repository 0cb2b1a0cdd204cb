"""Looking at a database without changing it, beside the processes that do."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, StaticPool, and_, create_engine, event, func, select

from overnight.domain.file import FileStatus
from overnight.domain.job import JobStatus
from overnight.domain.plan import RECORD
from overnight.store.database import translated_errors
from overnight.store.tables import files, is_live, job_log, jobs, shards, workers

T = TypeVar("T")

_FAULTS_MAX: Final = 20


class ReadOnlyDatabase:
    """Never makes a file, migrates or checkpoints; what it reads holds up no writer.

    Opened at the first use. Raises `Unavailable` and `Corrupt` as `Database` does.
    """

    def __init__(self, path: Path) -> None:
        def connect() -> sqlite3.Connection:
            # Not `immutable`: a service may be writing.
            uri = f"file:{quote(str(path.absolute()))}?mode=ro"
            return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0)

        self._engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
        event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that sees one state of the database throughout."""
        with translated_errors(), self._engine.begin() as connection:
            return work(connection)

    def close(self) -> None:
        self._engine.dispose()


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that failed by something else than the lines of its input."""

    id: str
    at: float
    """Unix time of its end."""
    failure: str


@dataclass(frozen=True, slots=True)
class FileRow:
    """Of a file that should be there: its name here, and how long it should be."""

    id: str
    bytes: int


def page_faults(tx: Connection) -> list[str]:
    """What `PRAGMA quick_check` finds, 20 at most; reads the whole file."""
    rows = tx.exec_driver_sql(f"PRAGMA quick_check({_FAULTS_MAX})")
    return [str(row[0]) for row in rows if row[0] != "ok"]


def dangling_rows(tx: Connection) -> int:
    """How many rows point to one that is not there."""
    return len(tx.exec_driver_sql("PRAGMA foreign_key_check").all())


def jobs_by_status(tx: Connection) -> dict[JobStatus, int]:
    counted = select(jobs.c.status, func.count()).group_by(jobs.c.status)
    return {JobStatus(status): count for status, count in tx.execute(counted)}


def live_jobs(tx: Connection) -> list[str]:
    """Ids of the jobs that have not ended, oldest first."""
    return list(tx.scalars(select(jobs.c.id).where(is_live).order_by(jobs.c.created_at)))


def live_input_bytes(tx: Connection) -> int:
    return tx.scalar(select(func.coalesce(func.sum(jobs.c.input_bytes), 0)).where(is_live)) or 0


def overdue_jobs(tx: Connection, before: float) -> list[str]:
    """Ids of jobs that have not ended although their deadline was before `before`."""
    query = select(jobs.c.id).where(is_live, jobs.c.deadline < before).order_by(jobs.c.deadline)
    return list(tx.scalars(query))


def failed_jobs(tx: Connection, since: float, limit: int) -> list[FailedJob]:
    """Those that failed since then, the newest first."""
    query = (
        select(jobs.c.id, job_log.c.at, jobs.c.failure)
        .join(job_log, job_log.c.job_id == jobs.c.id)
        .where(
            jobs.c.status == JobStatus.FAILED.value,
            job_log.c.to_status == JobStatus.FAILED.value,
            jobs.c.failure.is_not(None),
            job_log.c.at >= since,
        )
        .order_by(job_log.c.at.desc())
        .limit(limit)
    )
    return [FailedJob(*row) for row in tx.execute(query)]


def running_workers(tx: Connection, now: float) -> dict[str, int]:
    """How many incarnations have a lease that runs, by role."""
    query = select(workers.c.role, func.count()).where(workers.c.until > now)
    return {role: int(count) for role, count in tx.execute(query.group_by(workers.c.role))}


@dataclass(frozen=True, slots=True)
class Usage:
    """What the files of a tenant take, results included."""

    tenant: str
    files: int
    bytes: int


def usage(tx: Connection) -> list[Usage]:
    """Of each tenant that has files, the largest first."""
    total = func.coalesce(func.sum(files.c.bytes), 0)
    query = select(files.c.tenant, func.count(), total).where(files.c.deleted_at.is_(None))
    return [
        Usage(*row) for row in tx.execute(query.group_by(files.c.tenant).order_by(total.desc()))
    ]


def checkable_bytes(tx: Connection) -> int:
    """Bytes of all plans and of the segments of all settled shards."""
    planned = func.coalesce(func.sum(shards.c.requests), 0) * RECORD.size
    settled = func.coalesce(func.sum(shards.c.segment_bytes), 0)
    return tx.scalar(select(planned + settled)) or 0


def ready_files(tx: Connection) -> list[FileRow]:
    """Of the files whose bytes should be there."""
    is_ready = and_(files.c.status == FileStatus.READY.value, files.c.deleted_at.is_(None))
    query = select(files.c.id, files.c.bytes).where(is_ready)
    return [FileRow(*row) for row in tx.execute(query)]


def known_files(tx: Connection) -> set[str]:
    """Ids of all that have a row, be it a tombstone."""
    return set(tx.scalars(select(files.c.id)))
