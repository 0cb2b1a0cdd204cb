"""API keys, by their digests: the keys themselves are nowhere."""

from typing import Any

from sqlalchemy import Connection, Row, exists, insert, select, update

from overnight.domain.api_key import ApiKey
from overnight.domain.dialect import Dialect
from overnight.domain.errors import Conflict
from overnight.store.tables import api_keys, is_not_revoked


def add(tx: Connection, digest: str, key: ApiKey) -> None:
    """Raises `Conflict` when a key of that name has not been revoked."""
    named = select(exists().where(api_keys.c.name == key.name, is_not_revoked))
    if tx.scalar(named):
        raise Conflict(
            f"There is a key '{key.name}' already; revoke it, or choose another name.",
            param="name",
            code="name_taken",
        )
    tx.execute(
        insert(api_keys).values(
            digest=digest,
            name=key.name,
            tenant=key.tenant,
            prefix=key.prefix,
            dialect=key.dialect,
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
            revoked_at=key.revoked_at,
        )
    )


def all(tx: Connection) -> dict[str, ApiKey]:
    """Every key there ever was by its digest, the newest first."""
    rows = tx.execute(select(api_keys).order_by(api_keys.c.created_at.desc(), api_keys.c.name))
    return {row.digest: _to_key(row) for row in rows}


def revoke(tx: Connection, digest: str, now: float) -> None:
    """Twice is fine: the first time counts."""
    mine = (api_keys.c.digest == digest, is_not_revoked)
    tx.execute(update(api_keys).where(*mine).values(revoked_at=now))


def mark_used(tx: Connection, digest: str, now: float) -> None:
    tx.execute(update(api_keys).where(api_keys.c.digest == digest).values(last_used_at=now))


def _to_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        name=row.name,
        tenant=row.tenant,
        prefix=row.prefix,
        dialect=Dialect(row.dialect) if row.dialect else None,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
