"""Files: what is known of them. A row never says more than the bytes on disk can keep.

Bytes come before their row. A deleted file leaves its row as a tombstone until its bytes are
removed, so that a list can be continued after it; no other verb sees it.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, exists, insert, select, true, update

from overnight.domain.errors import NotFound
from overnight.domain.file import FileStatus, StoredFile
from overnight.store.jobs import is_live
from overnight.store.paging import PageRequest, page_rows
from overnight.store.tables import files, jobs

_is_there = files.c.deleted_at.is_(None)


def add(tx: Connection, file: StoredFile) -> None:
    """Insert the row; the bytes of a file that is READY must be durable before."""
    tx.execute(
        insert(files).values(
            id=file.id,
            tenant=file.tenant,
            name=file.name,
            purpose=file.purpose,
            bytes=file.bytes,
            sha256=file.sha256,
            created_at=file.created_at,
            expires_at=file.expires_at,
            lines=file.lines,
            status=file.status.value,
        )
    )


def get(tx: Connection, file_id: str, tenant: str | None = None) -> StoredFile:
    """Raises `NotFound`, also when `tenant` is given and the file is somebody else's."""
    row = tx.execute(select(files).where(files.c.id == file_id, _is_there)).one_or_none()
    if row is None or tenant not in (None, row.tenant):
        raise _not_found(file_id)
    return _to_file(row)


def page(
    tx: Connection,
    tenant: str,
    purpose: str | None = None,
    after: str | None = None,
    limit: int | None = None,
    ascending: bool = False,
) -> tuple[list[StoredFile], bool]:
    """Files of `tenant`, newest first unless `ascending`; the flag says whether more follow.

    `after` is the last id of the page before, and may have been deleted since. Raises
    `InvalidRequest` when it is no file of the tenant.
    """
    condition = and_(_is_there, true() if purpose is None else files.c.purpose == purpose)
    rows, more = page_rows(tx, files, tenant, condition, PageRequest(after, limit, ascending))
    return [_to_file(row) for row in rows], more


def complete(tx: Connection, file_id: str, size_bytes: int, sha256: str) -> None:
    """Make the file READY, its bytes being durable in their place. Raises `NotFound`."""
    _change(tx, file_id, bytes=size_bytes, sha256=sha256, status=FileStatus.READY.value)


def reopen(tx: Connection, file_id: str) -> None:
    """Make the file PENDING again, before other bytes take its place. Raises `NotFound`."""
    _change(tx, file_id, bytes=0, sha256=None, status=FileStatus.PENDING.value)


def forget(tx: Connection, file_id: str, now: float) -> None:
    """Delete the file for its user; the bytes go later. Raises `NotFound`.

    Whether a live job reads it (`is_file_in_use`) is for the caller to ask, in this transaction.
    """
    _change(tx, file_id, deleted_at=now)


def is_file_in_use(tx: Connection, file_id: str) -> bool:
    """Does a job that has not ended read this file?"""
    return bool(tx.scalar(select(exists().where(is_live(), jobs.c.input_file_id == file_id))))


def expired(tx: Connection, now: float) -> list[str]:
    """Ids of files whose time is up and that no live job reads."""
    read = exists().where(is_live(), jobs.c.input_file_id == files.c.id)
    return list(tx.scalars(select(files.c.id).where(files.c.expires_at <= now, _is_there, ~read)))


def stale_pending(tx: Connection, before: float) -> list[str]:
    """Ids of files announced before `before` whose bytes never came."""
    query = select(files.c.id).where(
        files.c.status == FileStatus.PENDING.value, files.c.created_at < before, _is_there
    )
    return list(tx.scalars(query))


def purgeable(tx: Connection, now: float, older_than_seconds: float) -> list[str]:
    """Ids of tombstones at least that old, whose bytes can go."""
    return list(
        tx.scalars(select(files.c.id).where(files.c.deleted_at <= now - older_than_seconds))
    )


def purged(tx: Connection, file_ids: Sequence[str]) -> None:
    """Remove the tombstones of files whose bytes are gone."""
    for file_id in file_ids:
        tx.execute(delete(files).where(files.c.id == file_id, ~_is_there))


def _change(tx: Connection, file_id: str, **changes: object) -> None:
    changed = tx.execute(update(files).where(files.c.id == file_id, _is_there).values(changes))
    if not changed.rowcount:
        raise _not_found(file_id)


def _to_file(row: Row[Any]) -> StoredFile:
    return StoredFile(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        purpose=row.purpose,
        bytes=row.bytes,
        created_at=row.created_at,
        sha256=row.sha256,
        expires_at=row.expires_at,
        lines=row.lines,
        status=FileStatus(row.status),
    )


def _not_found(file_id: str) -> NotFound:
    return NotFound(f"No such File object: {file_id}", param="id", code="not_found")
