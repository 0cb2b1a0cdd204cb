"""Worker incarnations and their leases: the only claims that have a time of their own.

A worker here is any process that holds claims: those that dispatch and the clerk. Whatever else
is claimed names its worker, and is freed when that worker has no row any more.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select, update

from overnight.store.tables import is_claimed, jobs, lanes, shards, workers


def register(tx: Connection, worker_id: str, role: str, now: float, until: float) -> None:
    """Begin a lease that ends at `until`. The id must be fresh: never one used before."""
    tx.execute(insert(workers).values(id=worker_id, role=role, started_at=now, until=until))


def renew(tx: Connection, worker_id: str, until: float) -> bool:
    """Extend the lease. False: this worker was declared dead, and its claims may be another's."""
    renewed = tx.execute(update(workers).where(workers.c.id == worker_id).values(until=until))
    return bool(renewed.rowcount)


def leave(tx: Connection, worker_id: str) -> None:
    """End the lease and hand back all claims, without blame; for a stop that was asked for."""
    tx.execute(update(shards).where(shards.c.worker == worker_id, is_claimed).values(worker=None))
    tx.execute(update(lanes).where(lanes.c.worker == worker_id).values(worker=None))
    tx.execute(update(jobs).where(jobs.c.clerk == worker_id).values(clerk=None))
    tx.execute(delete(workers).where(workers.c.id == worker_id))


def lapsed(tx: Connection, now: float) -> list[str]:
    """Ids of workers whose lease has run out."""
    return list(tx.scalars(select(workers.c.id).where(workers.c.until <= now)))


def alive(tx: Connection, role: str, now: float) -> bool:
    """Is there a worker of this role whose lease runs?"""
    running = exists().where(workers.c.role == role, workers.c.until > now)
    return bool(tx.scalar(select(running)))


def reclaim(tx: Connection, gone: Sequence[str], _now: float) -> int:
    """Declare the workers `gone` dead and free every claim whose holder has no lease.

    Raises the epoch of each, which refuses whatever the dead still write, and counts a takeover
    against each shard until somebody adds an outcome to it. What is known of a shard's progress
    stays, for the outcomes are in its segment. Returns how many claims were freed.
    """
    tx.execute(delete(workers).where(workers.c.id.in_(gone)))
    return _free_claims_of_the_dead(tx)


def reclaim_all(tx: Connection, _now: float) -> int:
    """As `reclaim` of everybody, for a start at which no worker can be running."""
    tx.execute(delete(workers))
    return _free_claims_of_the_dead(tx)


def _free_claims_of_the_dead(tx: Connection) -> int:
    freed_shards = tx.execute(
        update(shards)
        .where(is_claimed, _has_no_lease(shards.c.worker))
        .values(
            worker=None,
            epoch=shards.c.epoch + 1,
            fruitless_takeovers=shards.c.fruitless_takeovers + 1,
        )
    ).rowcount
    freed_lanes = tx.execute(
        update(lanes)
        .where(lanes.c.worker.is_not(None), _has_no_lease(lanes.c.worker))
        .values(worker=None, epoch=lanes.c.epoch + 1, orphaned=True)
    ).rowcount
    freed_jobs = tx.execute(
        update(jobs)
        .where(jobs.c.clerk.is_not(None), _has_no_lease(jobs.c.clerk))
        .values(clerk=None, clerk_epoch=jobs.c.clerk_epoch + 1)
    ).rowcount
    return freed_shards + freed_lanes + freed_jobs


def _has_no_lease(holder: ColumnElement[str | None]) -> ColumnElement[bool]:
    return holder.not_in(select(workers.c.id))
