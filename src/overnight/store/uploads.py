"""Uploads in parts: what is known of them while their bytes gather.

The bytes of a part come before its row. Every change of an upload names the status it changes
from, so that of several at once only one succeeds.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, exists, func, insert, or_, select, update

from overnight.domain.errors import Conflict, NotFound
from overnight.domain.upload import Part, Upload, UploadStatus
from overnight.store.tables import is_ended_upload, upload_parts, uploads


def add(tx: Connection, upload: Upload) -> None:
    tx.execute(
        insert(uploads).values(
            id=upload.id,
            tenant=upload.tenant,
            file_id=upload.file_id,
            name=upload.name,
            purpose=upload.purpose,
            bytes=upload.bytes,
            created_at=upload.created_at,
            expires_at=upload.expires_at,
            parts_max=upload.parts_max,
            checksum=upload.checksum,
            lifetime_seconds=upload.lifetime_seconds,
            status=upload.status.value,
        )
    )


def get(tx: Connection, upload_id: str, tenant: str | None = None) -> Upload:
    """Raises `NotFound`, also when `tenant` is given and the upload is somebody else's."""
    row = tx.execute(select(uploads).where(uploads.c.id == upload_id)).one_or_none()
    if row is None or tenant not in (None, row.tenant):
        raise NotFound(f"No such Upload object: {upload_id[:80]}", param="upload_id")
    return _to_upload(row)


def parts(tx: Connection, upload_id: str) -> list[Part]:
    """Of one upload, in the order they arrived in."""
    query = select(upload_parts).where(upload_parts.c.upload_id == upload_id)
    rows = tx.execute(query.order_by(upload_parts.c.created_at, upload_parts.c.id))
    return [_to_part(row) for row in rows]


def arrived(tx: Connection, upload_id: str, besides: int | None = None) -> tuple[int, int]:
    """How many parts there are and their bytes, not counting the one with number `besides`."""
    counted = upload_parts.c.upload_id == upload_id
    if besides is not None:
        counted = and_(counted, upload_parts.c.number != besides)
    query = select(func.count(), func.coalesce(func.sum(upload_parts.c.bytes), 0)).where(counted)
    count, size = tx.execute(query).one()
    return int(count), int(size)


def add_part(tx: Connection, part: Part) -> list[str]:
    """Insert the row; a part of the same number goes. Returns the ids of those that went.

    Whether the upload still takes parts is for the caller to ask, in this transaction.
    """
    replaced: list[str] = []
    if part.number is not None:
        same = and_(
            upload_parts.c.upload_id == part.upload_id, upload_parts.c.number == part.number
        )
        replaced = list(tx.scalars(select(upload_parts.c.id).where(same)))
        tx.execute(delete(upload_parts).where(same))
    tx.execute(
        insert(upload_parts).values(
            id=part.id,
            upload_id=part.upload_id,
            number=part.number,
            bytes=part.bytes,
            sha256=part.sha256,
            created_at=part.created_at,
        )
    )
    return replaced


def mark_joined(tx: Connection, upload_id: str, count: int) -> None:
    """From here on the first `count` numbered parts stay what they are.

    Whether the upload is PENDING is for the caller to ask, in this transaction.
    """
    tx.execute(update(uploads).where(uploads.c.id == upload_id).values(joined=count))


def settle_order(tx: Connection, upload_id: str, part_ids: Sequence[str], sha256: str) -> None:
    """PENDING to JOINING: from here on only this order is tried. Raises `Conflict`."""
    order = json.dumps(list(part_ids))
    _change(tx, upload_id, UploadStatus.PENDING, UploadStatus.JOINING, order=order, sha256=sha256)


def complete(tx: Connection, upload_id: str) -> None:
    """JOINING to COMPLETED, its file being there. Raises `Conflict`."""
    _change(tx, upload_id, UploadStatus.JOINING, UploadStatus.COMPLETED)


def cancel(tx: Connection, upload_id: str) -> None:
    """PENDING to CANCELLED. Raises `Conflict`."""
    _change(tx, upload_id, UploadStatus.PENDING, UploadStatus.CANCELLED)


def expire(tx: Connection, now: float, joining_before: float) -> None:
    """End what is past its time; what is being joined, if that was before `joining_before`."""
    is_pending = uploads.c.status == UploadStatus.PENDING.value
    is_stuck = and_(
        uploads.c.status == UploadStatus.JOINING.value, uploads.c.expires_at <= joining_before
    )
    is_late = and_(uploads.c.expires_at <= now, or_(is_pending, is_stuck))
    tx.execute(update(uploads).where(is_late).values(status=UploadStatus.EXPIRED.value))


def clearable(tx: Connection) -> list[str]:
    """Ids of uploads that have ended and still have parts."""
    of_parts = select(upload_parts.c.upload_id).distinct()
    return list(tx.scalars(select(uploads.c.id).where(uploads.c.id.in_(of_parts), is_ended_upload)))


def cleared(tx: Connection, upload_ids: Sequence[str]) -> None:
    """Forget the parts of uploads whose folders are gone."""
    for upload_id in upload_ids:
        tx.execute(delete(upload_parts).where(upload_parts.c.upload_id == upload_id))


def forget_ended(tx: Connection, before: float) -> None:
    """Remove uploads without parts that ended in time or not, their time being up by `before`."""
    has_parts = exists().where(upload_parts.c.upload_id == uploads.c.id)
    tx.execute(delete(uploads).where(is_ended_upload, uploads.c.expires_at <= before, ~has_parts))


def announced_bytes(tx: Connection, tenant: str) -> int:
    """Of the tenant's uploads that have not ended."""
    query = select(func.coalesce(func.sum(uploads.c.bytes), 0))
    return tx.scalar(query.where(~is_ended_upload, uploads.c.tenant == tenant)) or 0


def files_to_be(tx: Connection, names: Sequence[str]) -> set[str]:
    """Those of `names` that are the files of uploads which have not ended."""
    is_named = uploads.c.file_id.in_(names)
    return set(tx.scalars(select(uploads.c.file_id).where(~is_ended_upload, is_named)))


def unended(tx: Connection) -> set[str]:
    """Ids of uploads whose folders are needed."""
    return set(tx.scalars(select(uploads.c.id).where(~is_ended_upload)))


def _change(
    tx: Connection,
    upload_id: str,
    before: UploadStatus,
    after: UploadStatus,
    *,
    order: str | None = None,
    sha256: str | None = None,
) -> None:
    values: dict[str, object] = {"status": after.value}
    if order is not None:
        values |= {"part_ids": order, "sha256": sha256}
    fenced = and_(uploads.c.id == upload_id, uploads.c.status == before.value)
    if not tx.execute(update(uploads).where(fenced).values(values)).rowcount:
        raise Conflict(f"{upload_id} is not {before.value} any more.", code="upload_changed")


def _to_upload(row: Row[Any]) -> Upload:
    return Upload(
        id=row.id,
        tenant=row.tenant,
        file_id=row.file_id,
        name=row.name,
        purpose=row.purpose,
        bytes=row.bytes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        parts_max=row.parts_max,
        checksum=row.checksum,
        lifetime_seconds=row.lifetime_seconds,
        status=UploadStatus(row.status),
        joined=row.joined,
        part_ids=tuple(json.loads(row.part_ids or "[]")),
        sha256=row.sha256,
    )


def _to_part(row: Row[Any]) -> Part:
    return Part(row.id, row.upload_id, row.bytes, row.sha256, row.created_at, row.number)
