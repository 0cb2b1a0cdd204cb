"""How jobs were asked for: so that a request that comes again is known, and none makes too many."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select, update

from overnight.domain.job import JobStatus
from overnight.store.tables import has_idempotency_key, is_live, jobs

_TAKEN_BACK: Final = (JobStatus.CANCELLING.value, JobStatus.CANCELLED.value)


@dataclass(frozen=True, slots=True)
class Creation:
    """`sender` is the id of a key; `digest` is of all that the request asked for."""

    sender: str
    digest: str
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class KeyUse:
    """The job that an idempotency key stands for."""

    job_id: str
    created_at: float
    digest: str | None


def note(tx: Connection, job_id: str, creation: Creation) -> None:
    """Write down how the job, which was inserted in this transaction, was asked for."""
    tx.execute(
        update(jobs)
        .where(jobs.c.id == job_id)
        .values(
            sender=creation.sender,
            request_digest=creation.digest,
            idempotency_key=creation.idempotency_key,
        )
    )


def by_key(tx: Connection, tenant: str, key: str) -> KeyUse | None:
    """What an idempotency key was used for last, however long ago."""
    row = tx.execute(
        select(jobs.c.id, jobs.c.created_at, jobs.c.request_digest).where(
            jobs.c.tenant == tenant, jobs.c.idempotency_key == key, has_idempotency_key
        )
    ).one_or_none()
    return None if row is None else KeyUse(row.id, row.created_at, row.request_digest)


def release_key(tx: Connection, job_id: str) -> None:
    """Let the job's idempotency key stand for another from now on."""
    tx.execute(update(jobs).where(jobs.c.id == job_id).values(idempotency_key=None))


def newest(tx: Connection, tenant: str, creation: Creation, since: float) -> str | None:
    """The id of the newest job after `since` that the same sender asked for in the same way.

    One that was cancelled is passed over: who cancelled it knew its id, and so had the answer.
    """
    return tx.scalar(
        select(jobs.c.id)
        .where(
            jobs.c.tenant == tenant,
            jobs.c.created_at > since,
            jobs.c.sender == creation.sender,
            jobs.c.request_digest == creation.digest,
            jobs.c.status.not_in(_TAKEN_BACK),
        )
        .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        .limit(1)
    )


def count_alive(tx: Connection, tenant: str) -> int:
    """Jobs of the tenant that have not ended."""
    query = select(func.count()).select_from(jobs).where(jobs.c.tenant == tenant, is_live)
    return tx.scalar(query) or 0
