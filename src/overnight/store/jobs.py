"""Jobs: their rows, the one door between their states, and the clerk's claims on them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    true,
    update,
)

from overnight.domain.errors import LeaseLost, NotFound
from overnight.domain.event import Event
from overnight.domain.job import (
    PUBLISHING,
    TERMINAL,
    TRANSITIONS,
    Counts,
    Job,
    JobEvent,
    JobStatus,
    next_status,
)
from overnight.domain.plan import ShardPlan
from overnight.domain.request import Fault
from overnight.store import webhooks
from overnight.store.paging import PageRequest, page_rows
from overnight.store.tables import is_begun, is_claimed, is_live, job_log, jobs, shards

_CREATED: Final = "created"
_HAVE_DEADLINE: Final = frozenset(
    source for source, event in TRANSITIONS if event is JobEvent.DEADLINE_PASSED
)
_READ_AT_ONCE: Final = 1_000
"""A statement takes at most some ten thousand parameters."""


@dataclass(frozen=True, slots=True)
class JobClaim:
    """A clerk's right to the work that `job.status` asks for; it ends with that status."""

    job: Job
    worker: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """What validation learned; `model` is None when there are several."""

    total: int
    model: str | None


@dataclass(frozen=True, slots=True)
class Published:
    """What the result files hold; `event` is PUBLISHED or SALVAGED."""

    event: JobEvent
    output_file_id: str | None
    error_file_id: str | None
    counts: Counts
    failure: str | None = None


def create(tx: Connection, job: Job) -> None:
    """Insert `job` and the first row of its log. Its counts and `entered_at` are not stored."""
    row = {
        "id": job.id,
        "tenant": job.tenant,
        "endpoint": job.endpoint,
        "input_file_id": job.input_file_id,
        "input_bytes": job.input_bytes,
        "line_rules": job.line_rules,
        "status": job.status.value,
        "created_at": job.created_at,
        "deadline": job.deadline,
        "completion_window": job.completion_window,
        "metadata": None if job.metadata is None else _to_json(job.metadata),
        "model": job.model,
        "priority": job.priority,
        "output_expires_after_seconds": job.output_expires_after_seconds,
        "total": job.total,
        "succeeded": 0,
        "failed": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "retries": 0,
        "faults": _to_json(job.faults),
        "clerk_epoch": 0,
        "last_served_at": 0.0,
    }
    tx.execute(insert(jobs), row)
    entered = {"from_status": None, "to_status": job.status.value, "at": job.created_at}
    tx.execute(insert(job_log), {"job_id": job.id, "event": _CREATED, "why": "", **entered})


def get(tx: Connection, job_id: str, tenant: str | None = None) -> Job:
    """The job, its counts at most as old as the last renewal of those who work on it.

    Raises `NotFound`, also when `tenant` is given and the job is somebody else's.
    """
    row = tx.execute(_GET, {"job": job_id}).one_or_none()
    if row is None or tenant not in (None, row.tenant):
        raise _not_found(job_id)
    return _to_jobs(tx, [row])[0]


def page(
    tx: Connection, tenant: str, after: str | None = None, limit: int | None = None
) -> tuple[list[Job], bool]:
    """Jobs of `tenant`, newest first, ties by id; the flag says whether more follow.

    `after` is the last id of the page before, `limit` None means all the rest. Raises
    `InvalidRequest` when `after` is no job of the tenant.
    """
    rows, more = page_rows(tx, jobs, tenant, true(), PageRequest(after, limit))
    return _to_jobs(tx, rows), more


def past_deadline(tx: Connection, now: float, limit: int) -> list[str]:
    """Ids of jobs whose deadline means something and has passed, longest overdue first."""
    query = (
        select(jobs.c.id)
        .where(
            jobs.c.status.in_(_values(_HAVE_DEADLINE)),
            jobs.c.deadline <= now,
        )
        .order_by(jobs.c.deadline)
        .limit(limit)
    )
    return list(tx.scalars(query))


def advance(tx: Connection, job_id: str, event: JobEvent, now: float, why: str = "") -> JobStatus:
    """Let `event` happen to the job; the only writer of a job's status.

    Compares and sets, logs who came from where and `why`, ends the clerk's claim and, with the
    job, posts to the webhooks that want to know, all in this transaction. An event that leaves
    the status as it is writes nothing. Returns the new status; raises `NotFound`, and `Conflict`
    when the event can not happen in this status.
    """
    while True:
        found = tx.execute(_STATUS, {"job": job_id}).one_or_none()
        if found is None:
            raise _not_found(job_id)
        source = JobStatus(found.status)
        target = next_status(source, event)
        if target is source:
            return source
        step = {"job": job_id, "from": source.value, "to": target.value}
        if tx.execute(_ADVANCE, step).rowcount:
            break
    entered = {"from_status": source.value, "to_status": target.value, "at": now}
    tx.execute(insert(job_log), {"job_id": job_id, "event": event.value, "why": why, **entered})
    if target in TERMINAL:
        webhooks.post(tx, found.tenant, Event.of_end(job_id, target, now))
    return target


def live(tx: Connection) -> list[str]:
    """Ids of all jobs that have not ended."""
    return list(tx.scalars(select(jobs.c.id).where(is_live)))


def clerk_epoch(tx: Connection, job_id: str) -> int:
    """Of the newest claim on it that a clerk has had."""
    return tx.scalar(select(jobs.c.clerk_epoch).where(jobs.c.id == job_id)) or 0


def claim_validation(tx: Connection, worker: str, limit: int) -> list[JobClaim]:
    """Claim up to `limit` jobs in VALIDATING that no clerk holds: highest priority, then oldest."""
    return _claim(tx, worker, _TO_VALIDATE, limit)


def claim_publishing(tx: Connection, worker: str, limit: int) -> list[JobClaim]:
    """Claim up to `limit` jobs, oldest first, whose result files are due and that neither a clerk
    nor a worker holds.

    A worker that holds a shard may still add outcomes to it, so publishing waits for it to
    settle, to release or to be declared dead.
    """
    return _claim(tx, worker, _TO_PUBLISH, limit)


def has_work_for_clerk(tx: Connection) -> bool:
    """Would `claim_validation` or `claim_publishing` find a job? Reads only."""
    return any(tx.execute(query, {"limit": 1}).first() for query in (_TO_PUBLISH, _TO_VALIDATE))


def claimed_by(tx: Connection, worker: str) -> set[tuple[str, int]]:
    """Id and epoch of all claims that a clerk has and that are not over."""
    return {(job_id, epoch) for job_id, epoch in tx.execute(_CLAIMED_BY, {"by": worker})}


def hold_up(tx: Connection, claim: JobClaim, why: str | None) -> None:
    """Tell why the clerk does not go on, or None that it does; nothing when the claim is gone."""
    tx.execute(update(jobs).where(_held(claim)).values(held_up_by=why))


def accept(
    tx: Connection, claim: JobClaim, plans: Iterable[ShardPlan], accepted: Accepted, now: float
) -> None:
    """Start the job: insert all its shards, its totals, and advance it; ends the claim.

    The plan file must be durable before. A job without shards has nothing to wait for and is
    advanced once more. Raises `LeaseLost`.
    """
    _write(tx, claim, {"total": accepted.total, "model": accepted.model})
    rows = [_shard_row(claim.job.id, plan) for plan in plans]
    if rows:
        tx.execute(insert(shards), rows)
    advance(tx, claim.job.id, JobEvent.ACCEPTED, now)
    if not rows:
        advance(tx, claim.job.id, JobEvent.ALL_SETTLED, now, "it has no requests")


def reject(tx: Connection, claim: JobClaim, faults: Sequence[Fault], now: float) -> None:
    """End the job before it began, with the faults of its input.

    Ends the claim. Raises `LeaseLost`.
    """
    _write(tx, claim, {"faults": _to_json(faults)})
    advance(tx, claim.job.id, JobEvent.REJECTED, now, f"{len(faults)} faults")


def publish(tx: Connection, claim: JobClaim, result: Published, now: float) -> None:
    """End the job: file ids, final counts, and advance it; its shard rows go, the claim ends.

    The bytes must be durable before, and the file rows come in the same transaction. Raises
    `LeaseLost`.
    """
    counts = result.counts
    written: dict[str, Any] = {
        "output_file_id": result.output_file_id,
        "error_file_id": result.error_file_id,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "retries": counts.retries,
    }
    if result.failure is not None:
        written["failure"] = result.failure
    _write(tx, claim, written)
    tx.execute(_FORGET_SHARDS, {"job": claim.job.id})
    advance(tx, claim.job.id, result.event, now, result.failure or "")


def _values(statuses: Iterable[JobStatus]) -> list[str]:
    return sorted(status.value for status in statuses)


def _claim(tx: Connection, worker: str, query: Select[Any], limit: int) -> list[JobClaim]:
    rows = [
        row
        for row in tx.execute(query, {"limit": limit}).all()
        if tx.execute(
            _TAKE, {"job": row.id, "seen": row.clerk_epoch, "from": row.status, "by": worker}
        ).rowcount
    ]
    return [
        JobClaim(job, worker, row.clerk_epoch + 1)
        for job, row in zip(_to_jobs(tx, rows), rows, strict=True)
    ]


def _held(claim: JobClaim) -> ColumnElement[bool]:
    """Holds only in the status it was claimed in: `advance` ends the claim."""
    return and_(
        jobs.c.id == claim.job.id,
        jobs.c.clerk == claim.worker,
        jobs.c.clerk_epoch == claim.epoch,
    )


def _write(tx: Connection, claim: JobClaim, values: Mapping[str, Any]) -> None:
    if not tx.execute(update(jobs).where(_held(claim)).values(**values)).rowcount:
        raise LeaseLost(f"the claim on {claim.job.id} is gone")


def _shard_row(job_id: str, plan: ShardPlan) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "ordinal": plan.ordinal,
        "model": plan.model,
        "first_record": plan.first_record,
        "requests": plan.requests,
        "body_bytes": plan.body_bytes,
        "checksum": plan.checksum,
        "epoch": 0,
        "fruitless_takeovers": 0,
        "live_succeeded": 0,
        "live_failed": 0,
        "live_prompt_tokens": 0,
        "live_completion_tokens": 0,
        "live_retries": 0,
    }


def _to_jobs(tx: Connection, rows: Sequence[Row[Any]]) -> list[Job]:
    """Complete `jobs` rows with what other tables know of them; their order stays."""
    found: list[Job] = []
    for start in range(0, len(rows), _READ_AT_ONCE):
        some = rows[start : start + _READ_AT_ONCE]
        entered = _entered_at(tx, [row.id for row in some])
        live = _live_counts(tx, [row.id for row in some if JobStatus(row.status) not in TERMINAL])
        found += [_to_job(row, entered.get(row.id, {}), live.get(row.id, Counts())) for row in some]
    return found


def _to_job(row: Row[Any], entered_at: Mapping[JobStatus, float], live: Counts) -> Job:
    settled = Counts(
        row.succeeded, row.failed, row.prompt_tokens, row.completion_tokens, row.retries
    )
    return Job(
        id=row.id,
        tenant=row.tenant,
        endpoint=row.endpoint,
        input_file_id=row.input_file_id,
        input_bytes=row.input_bytes,
        line_rules=row.line_rules,
        status=JobStatus(row.status),
        created_at=row.created_at,
        deadline=row.deadline,
        completion_window=row.completion_window,
        metadata=row.metadata and msgspec.json.decode(row.metadata, type=dict[str, str]),
        model=row.model,
        priority=row.priority,
        output_expires_after_seconds=row.output_expires_after_seconds,
        total=row.total,
        counts=settled + live,
        output_file_id=row.output_file_id,
        error_file_id=row.error_file_id,
        faults=msgspec.json.decode(row.faults, type=tuple[Fault, ...]),
        failure=row.failure,
        held_up_by=row.held_up_by,
        entered_at=entered_at,
    )


def _entered_at(tx: Connection, job_ids: Sequence[str]) -> dict[str, dict[JobStatus, float]]:
    entered: dict[str, dict[JobStatus, float]] = {}
    query = select(job_log.c.job_id, job_log.c.to_status, job_log.c.at).where(
        job_log.c.job_id.in_(job_ids)
    )
    for job_id, status, at in tx.execute(query):
        entered.setdefault(job_id, {})[JobStatus(status)] = at
    return entered


def _live_counts(tx: Connection, job_ids: Sequence[str]) -> dict[str, Counts]:
    """Sums over shards that were begun and are not settled: few, however many the job has."""
    if not job_ids:
        return {}
    query = (
        select(
            shards.c.job_id,
            func.sum(shards.c.live_succeeded),
            func.sum(shards.c.live_failed),
            func.sum(shards.c.live_prompt_tokens),
            func.sum(shards.c.live_completion_tokens),
            func.sum(shards.c.live_retries),
        )
        .where(shards.c.job_id.in_(job_ids), is_begun)
        .group_by(shards.c.job_id)
    )
    return {job_id: Counts(*map(int, sums)) for job_id, *sums in tx.execute(query)}


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _not_found(job_id: str) -> NotFound:
    return NotFound(f"No batch found with id '{job_id[:80]}'.", param="batch_id", code="not_found")


# Made once: to build a statement takes longer than to execute it.
_FORGET_SHARDS: Final = delete(shards).where(shards.c.job_id == bindparam("job"))
_GET: Final = select(jobs).where(jobs.c.id == bindparam("job"))
_STATUS: Final = select(jobs.c.status, jobs.c.tenant).where(jobs.c.id == bindparam("job"))
_ADVANCE: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.status == bindparam("from"))
    .values(status=bindparam("to"), clerk=None, held_up_by=None)
)
_UNCLAIMED: Final = select(jobs).where(jobs.c.clerk.is_(None)).limit(bindparam("limit"))
_TO_VALIDATE: Final = _UNCLAIMED.where(jobs.c.status == JobStatus.VALIDATING.value).order_by(
    # The order of an index: of thousands that wait, only the first are read.
    jobs.c.priority.desc(),
    jobs.c.last_served_at,
    jobs.c.created_at,
)
_TO_PUBLISH: Final = _UNCLAIMED.where(
    jobs.c.status.in_(_values(PUBLISHING)),
    ~exists().where(shards.c.job_id == jobs.c.id, is_begun, is_claimed),
).order_by(jobs.c.created_at, jobs.c.id)
_TAKE: Final = (
    update(jobs)
    .where(
        jobs.c.id == bindparam("job"),
        jobs.c.clerk.is_(None),
        jobs.c.clerk_epoch == bindparam("seen"),
        jobs.c.status == bindparam("from"),
    )
    .values(clerk=bindparam("by"), clerk_epoch=jobs.c.clerk_epoch + 1, held_up_by=None)
)
_CLAIMED_BY: Final = select(jobs.c.id, jobs.c.clerk_epoch).where(
    jobs.c.clerk.is_not(None), jobs.c.clerk == bindparam("by")
)
