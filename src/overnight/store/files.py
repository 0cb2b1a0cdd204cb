"""Files: what is known of them. A row never says more than the bytes on disk can keep.

Bytes come before their row. A deleted file leaves its row as a tombstone long after its bytes are
removed, so that a list can be continued after it; no other verb sees it.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from overnight.domain.errors import NotFound
from overnight.domain.file import FileStatus, StoredFile
from overnight.store.paging import PageRequest, page_rows
from overnight.store.tables import file_digests, files, is_live, is_present, jobs


def add(tx: Connection, file: StoredFile, digests: bytes | None = None) -> None:
    """Insert the row; the bytes of a file that is READY must be durable before.

    `digests` are those of its blocks, if they are known.
    """
    row = {
        "id": file.id,
        "tenant": file.tenant,
        "name": file.name,
        "purpose": file.purpose,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "lines": file.lines,
        "status": file.status.value,
    }
    tx.execute(insert(files), row)
    if digests is not None:
        set_digests(tx, file.id, digests)


def set_digests(tx: Connection, file_id: str, digests: bytes) -> None:
    """What the blocks of the file are, in the place of what they were."""
    tx.execute(_FORGET_DIGESTS, {"file": file_id})
    tx.execute(insert(file_digests), {"file_id": file_id, "blocks": digests})


def digests(tx: Connection, file_id: str) -> bytes | None:
    """Of the file's blocks; None when nobody has made any."""
    return tx.scalar(_DIGESTS, {"file": file_id})


def get(tx: Connection, file_id: str, tenant: str | None = None) -> StoredFile:
    """Raises `NotFound`, also when `tenant` is given and the file is somebody else's."""
    row = tx.execute(_GET, {"file": file_id}).one_or_none()
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
    condition = and_(is_present, true() if purpose is None else files.c.purpose == purpose)
    rows, more = page_rows(tx, files, tenant, condition, PageRequest(after, limit, ascending))
    return [_to_file(row) for row in rows], more


def count(tx: Connection, tenant: str) -> int:
    """How many files the tenant has."""
    query = select(func.count()).where(files.c.tenant == tenant, is_present)
    return tx.scalar(query) or 0


def stored_bytes(tx: Connection, tenant: str) -> int:
    """Of all files the tenant has, results included."""
    query = select(func.coalesce(func.sum(files.c.bytes), 0))
    return tx.scalar(query.where(files.c.tenant == tenant, is_present)) or 0


def same_bytes(
    tx: Connection, tenant: str, purpose: str, sha256: str, now: float
) -> StoredFile | None:
    """The newest file of the tenant with these bytes, for this purpose, that lasts."""
    lasts = or_(files.c.expires_at.is_(None), files.c.expires_at > now)
    query = select(files).where(
        files.c.tenant == tenant,
        files.c.sha256 == sha256,
        files.c.purpose == purpose,
        files.c.status == FileStatus.READY.value,
        is_present,
        lasts,
    )
    row = tx.execute(query.order_by(files.c.created_at.desc()).limit(1)).one_or_none()
    return None if row is None else _to_file(row)


def complete(tx: Connection, file_id: str, size_bytes: int, sha256: str, digests: bytes) -> None:
    """Make the file READY, its bytes being durable in their place. Raises `NotFound`."""
    _change(tx, file_id, bytes=size_bytes, sha256=sha256, status=FileStatus.READY.value)
    set_digests(tx, file_id, digests)


def confirm(tx: Connection, file_id: str, now: float) -> None:
    """No other bytes are to take the place of those that are there. Raises `NotFound`."""
    _change(tx, file_id, confirmed_at=now)


def is_confirmed(tx: Connection, file_id: str) -> bool:
    return tx.scalar(select(files.c.confirmed_at).where(files.c.id == file_id)) is not None


def reopen(tx: Connection, file_id: str) -> None:
    """Make the file PENDING again, before other bytes take its place. Raises `NotFound`."""
    _change(tx, file_id, bytes=0, sha256=None, status=FileStatus.PENDING.value)


def forget(tx: Connection, file_id: str, now: float) -> None:
    """Delete the file for its user; the bytes go later. Raises `NotFound`.

    Whether a live job reads it (`reader_of`) is for the caller to ask, in this transaction.
    """
    _change(tx, file_id, deleted_at=now)


def reader_of(tx: Connection, file_id: str) -> str | None:
    """The id of a job that has not ended and reads this file, if there is one."""
    query = select(jobs.c.id).where(is_live, jobs.c.input_file_id == file_id).limit(1)
    return tx.scalar(query)


def expired(tx: Connection, now: float) -> list[str]:
    """Ids of files whose time is up and that no live job reads."""
    read = exists().where(is_live, jobs.c.input_file_id == files.c.id)
    return list(tx.scalars(select(files.c.id).where(files.c.expires_at <= now, is_present, ~read)))


def stale_pending(tx: Connection, before: float) -> list[str]:
    """Ids of files announced before `before` whose bytes never came."""
    query = select(files.c.id).where(
        files.c.status == FileStatus.PENDING.value, files.c.created_at < before, is_present
    )
    return list(tx.scalars(query))


def purgeable(tx: Connection, now: float, older_than_seconds: float) -> list[str]:
    """Ids of tombstones at least that old, whose bytes can go."""
    is_due = and_(files.c.deleted_at <= now - older_than_seconds, files.c.purged_at.is_(None))
    return list(tx.scalars(select(files.c.id).where(is_due)))


def purged(tx: Connection, file_ids: Sequence[str], now: float) -> None:
    """Of tombstones whose bytes are gone keep no more than a list needs to go on after them."""
    for file_id in file_ids:
        tx.execute(delete(file_digests).where(file_digests.c.file_id == file_id))
        tx.execute(
            update(files)
            .where(files.c.id == file_id, ~is_present)
            .values(purged_at=now, name="", sha256=None)
        )


def with_bytes(tx: Connection, names: Sequence[str]) -> set[str]:
    """Those of `names` that are files whose bytes are not to go, or not yet."""
    kept = files.c.purged_at.is_(None)
    return set(tx.scalars(select(files.c.id).where(files.c.id.in_(names), kept)))


def forget_tombstones(tx: Connection, before: float) -> None:
    """Remove the rows of files whose bytes went before then."""
    tx.execute(delete(files).where(files.c.deleted_at < before, files.c.purged_at < before))


def _change(tx: Connection, file_id: str, **changes: object) -> None:
    changed = tx.execute(update(files).where(files.c.id == file_id, is_present).values(changes))
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
    return NotFound(f"No such File object: {file_id[:80]}", param="id", code="not_found")


# Made once: to build a statement takes longer than to execute it.
_GET: Final = select(files).where(files.c.id == bindparam("file"), is_present)
_DIGESTS: Final = select(file_digests.c.blocks).where(file_digests.c.file_id == bindparam("file"))
_FORGET_DIGESTS: Final = delete(file_digests).where(file_digests.c.file_id == bindparam("file"))
