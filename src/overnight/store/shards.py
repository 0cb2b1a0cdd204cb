"""Shards: who holds which, how far they are, and where their outcomes lie.

Each write of a worker names the epoch under which it claimed the shard. A write under a stale
epoch touches no row; it is reported as refused and changes nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    ScalarSelect,
    Select,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    update,
)

from overnight.domain.job import Counts, JobEvent, JobStatus
from overnight.domain.plan import ShardPlan
from overnight.store.jobs import advance
from overnight.store.tables import is_begun, is_claimed, is_free, is_unsettled, jobs, shards

OPEN_MODELS_MAX: Final = 20

Held = tuple[str, int, int]
"""Job id, ordinal and the epoch under which the shard was claimed."""


@dataclass(frozen=True, slots=True)
class ShardClaim:
    """A worker's right to one shard, and what it needs to know to send it."""

    job_id: str
    ordinal: int
    epoch: int
    model: str
    first_record: int
    requests: int
    body_bytes: int
    checksum: int
    fruitless_takeovers: int
    """How often in a row its holder died without adding an outcome."""
    endpoint: str
    deadline: float
    input_file_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Outcomes in the shard so far, those taken over from earlier holders included."""

    job_id: str
    ordinal: int
    epoch: int
    counts: Counts

    @property
    def held(self) -> Held:
        return self.job_id, self.ordinal, self.epoch


@dataclass(frozen=True, slots=True)
class Settlement:
    """The synced segment of a shard, whole or cut short; the digest is a signed 64-bit xxh3."""

    job_id: str
    ordinal: int
    epoch: int
    segment_bytes: int
    segment_digest: int
    counts: Counts

    @property
    def held(self) -> Held:
        return self.job_id, self.ordinal, self.epoch


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A shard as the finalizer sees it; the `segment_*` are 0 unless `settled`.

    The outcomes of an unsettled shard, if any, are in the segment of its latest epoch.
    """

    plan: ShardPlan
    epoch: int
    settled: bool
    segment_epoch: int
    segment_bytes: int
    segment_digest: int


def is_claimable(tx: Connection, models: Collection[str] | None) -> bool:
    """Would `claim` find a shard? Reads only."""
    if models is not None and not models:
        return False
    return tx.execute(*_next_in_turn(models, 1)).first() is not None


def claim(
    tx: Connection, worker: str, models: Collection[str] | None, limit: int, now: float
) -> list[ShardClaim]:
    """Claim up to `limit` shards of jobs in progress, at most one of each job.

    Jobs take turns: highest priority, then least recently served, then oldest; of a job, the
    lowest ordinal that nobody holds. `models` None means any model. Raises each shard's epoch
    and marks its job as served now.
    """
    if limit <= 0 or (models is not None and not models):
        return []
    claims = []
    for row in tx.execute(*_next_in_turn(models, limit)).mappings().all():
        job_id, seen = row["job_id"], row["epoch"]
        named = {"job": job_id, "shard": row["ordinal"], "seen": seen, "by": worker}
        if tx.execute(_TAKE, named).rowcount:
            tx.execute(_SERVE, {"job": job_id, "now": now})
            claims.append(ShardClaim(**{**row, "epoch": seen + 1}))
    return claims


def renew_progress(tx: Connection, worker: str, progress: Iterable[Progress]) -> list[Held]:
    """Write how far claimed shards are; returns those refused.

    Counts never fall: a report of fewer outcomes than are known (a successor has lost the last
    milliseconds) leaves them. A report of more ends a series of fruitless takeovers.
    """
    refused = []
    for report in progress:
        known = shards.c.live_succeeded + shards.c.live_failed
        done, retries = report.counts.finished, report.counts.retries
        written = {
            "live_succeeded": report.counts.succeeded,
            "live_failed": report.counts.failed,
            "live_prompt_tokens": report.counts.prompt_tokens,
            "live_completion_tokens": report.counts.completion_tokens,
        }
        touched = tx.execute(
            update(shards)
            .where(_held(worker, report.held))
            .values(
                fruitless_takeovers=case((known < done, 0), else_=shards.c.fruitless_takeovers),
                live_retries=case(
                    (shards.c.live_retries < retries, retries), else_=shards.c.live_retries
                ),
                **{
                    name: case((known <= done, value), else_=shards.c[name])
                    for name, value in written.items()
                },
            )
        ).rowcount
        if not touched:
            refused.append(report.held)
    return refused


def settle(
    tx: Connection, worker: str, settlements: Iterable[Settlement], now: float
) -> list[Held]:
    """Record that shards are done and where their outcomes lie; returns those refused.

    Adds their counts to their jobs. The settlement that leaves no shard of a job open advances
    it (ALL_SETTLED), if it is still in progress.
    """
    refused = []
    added: defaultdict[str, Counts] = defaultdict(Counts)
    for done in settlements:
        named = {"job": done.job_id, "shard": done.ordinal, "held": done.epoch, "by": worker}
        found = {"bytes": done.segment_bytes, "digest": done.segment_digest}
        if tx.execute(_SETTLE, named | found).rowcount:
            added[done.job_id] += done.counts
        else:
            refused.append(done.held)
    for job_id, counts in added.items():
        _add_counts(tx, job_id, counts)
        _advance_if_all_settled(tx, job_id, now)
    return refused


def release(tx: Connection, worker: str, claims: Iterable[Held]) -> list[Held]:
    """Hand shards back unfinished, without blame; returns those refused.

    Their segments must be synced: whoever claims them next goes on from there.
    """
    return [
        held
        for held in claims
        if not tx.execute(update(shards).where(_held(worker, held)).values(worker=None)).rowcount
    ]


def stopped_jobs(tx: Connection, worker: str) -> dict[str, bool]:
    """Jobs this worker holds shards of that must not be sent any more; True: their time is up."""
    rows = tx.execute(_STOPPED, {"by": worker})
    return {job_id: status == JobStatus.EXPIRING.value for job_id, status in rows}


def of_job(tx: Connection, job_id: str) -> list[ShardRow]:
    """All shards of a job, by ordinal."""
    query = select(shards).where(shards.c.job_id == job_id).order_by(shards.c.ordinal)
    return [_to_shard_row(row) for row in tx.execute(query)]


def open_models(tx: Connection, job_id: str) -> list[str]:
    """The models of a job's unsettled shards, sorted; at most 20 of them."""
    query = (
        select(shards.c.model)
        .where(shards.c.job_id == job_id, is_unsettled)
        .distinct()
        .order_by(shards.c.model)
        .limit(OPEN_MODELS_MAX)
    )
    return list(tx.scalars(query))


def _next_in_turn(
    models: Collection[str] | None, limit: int
) -> tuple[Select[Any], dict[str, object]]:
    """The next shard of each job in progress that has one to claim, in the order of turns."""
    if models is None:
        return _NEXT_OF_ANY, {"limit": limit}
    listed = msgspec.json.encode(sorted(models)).decode()
    return _NEXT_OF_MODELS, {"limit": limit, "models": listed}


def _is(job_id: str, ordinal: int) -> ColumnElement[bool]:
    return and_(shards.c.job_id == job_id, shards.c.ordinal == ordinal)


def _held(worker: str, held: Held) -> ColumnElement[bool]:
    job_id, ordinal, epoch = held
    return and_(_is(job_id, ordinal), shards.c.worker == worker, shards.c.epoch == epoch)


def _add_counts(tx: Connection, job_id: str, counts: Counts) -> None:
    added = {
        "more_succeeded": counts.succeeded,
        "more_failed": counts.failed,
        "more_prompt_tokens": counts.prompt_tokens,
        "more_completion_tokens": counts.completion_tokens,
        "more_retries": counts.retries,
    }
    tx.execute(_ADD_COUNTS, {"job": job_id, **added})


def _advance_if_all_settled(tx: Connection, job_id: str, now: float) -> None:
    status, is_open = tx.execute(_OPEN, {"job": job_id}).one()
    if status == JobStatus.IN_PROGRESS.value and not is_open:
        advance(tx, job_id, JobEvent.ALL_SETTLED, now)


def _to_shard_row(row: Row[Any]) -> ShardRow:
    return ShardRow(
        plan=ShardPlan(
            ordinal=row.ordinal,
            model=row.model,
            first_record=row.first_record,
            requests=row.requests,
            body_bytes=row.body_bytes,
            checksum=row.checksum,
        ),
        epoch=row.epoch,
        settled=row.segment_epoch is not None,
        segment_epoch=row.segment_epoch or 0,
        segment_bytes=row.segment_bytes or 0,
        segment_digest=row.segment_digest or 0,
    )


def _next_shards(ordinal: ScalarSelect[int]) -> Select[Any]:
    """Of each job in progress the shard that `ordinal` chooses, in the order of turns."""
    chosen = shards.alias("chosen")
    return (
        select(
            chosen.c.job_id,
            chosen.c.ordinal,
            chosen.c.epoch,
            chosen.c.model,
            chosen.c.first_record,
            chosen.c.requests,
            chosen.c.body_bytes,
            chosen.c.checksum,
            chosen.c.fruitless_takeovers,
            jobs.c.endpoint,
            jobs.c.deadline,
            jobs.c.input_file_id,
        )
        .select_from(jobs)
        .join(chosen, and_(chosen.c.job_id == jobs.c.id, chosen.c.ordinal == ordinal))
        .where(jobs.c.status == JobStatus.IN_PROGRESS.value)
        .order_by(jobs.c.priority.desc(), jobs.c.last_served_at, jobs.c.created_at, jobs.c.id)
        .limit(bindparam("limit"))
    )


def _lowest_free() -> ScalarSelect[int]:
    return (
        select(func.min(shards.c.ordinal))
        .where(shards.c.job_id == jobs.c.id, is_free)
        .correlate(jobs)
        .scalar_subquery()
    )


def _lowest_free_of_models() -> ScalarSelect[int]:
    """Looks once into the index per model; `model IN (…)` would read every free shard of each."""
    listed = func.json_each(bindparam("models", type_=Text)).table_valued("value")
    served = select(listed.c.value.label("model")).cte("served")
    of_model = (
        select(func.min(shards.c.ordinal))
        .where(shards.c.job_id == jobs.c.id, shards.c.model == served.c.model, is_free)
        .correlate(jobs, served)
        .scalar_subquery()
    )
    return select(func.min(of_model)).select_from(served).correlate(jobs).scalar_subquery()


# Made once: to build such a statement takes ten times as long as to execute it.
_NEXT_OF_ANY: Final = _next_shards(_lowest_free())
_NEXT_OF_MODELS: Final = _next_shards(_lowest_free_of_models())
_TAKE: Final = (
    update(shards)
    .where(
        shards.c.job_id == bindparam("job"),
        shards.c.ordinal == bindparam("shard"),
        is_free,
        shards.c.epoch == bindparam("seen"),
    )
    .values(worker=bindparam("by"), epoch=shards.c.epoch + 1)
)
_SERVE: Final = (
    update(jobs).where(jobs.c.id == bindparam("job")).values(last_served_at=bindparam("now"))
)
_STOPPED: Final = (
    select(jobs.c.id, jobs.c.status)
    .join(shards, shards.c.job_id == jobs.c.id)
    .where(
        is_claimed,
        shards.c.worker == bindparam("by"),
        jobs.c.status != JobStatus.IN_PROGRESS.value,
    )
    .distinct()
)
_SETTLE: Final = (
    update(shards)
    .where(
        shards.c.job_id == bindparam("job"),
        shards.c.ordinal == bindparam("shard"),
        shards.c.worker == bindparam("by"),
        shards.c.epoch == bindparam("held"),
    )
    .values(
        worker=None,
        segment_epoch=bindparam("held"),
        segment_bytes=bindparam("bytes"),
        segment_digest=bindparam("digest"),
    )
)
_ADD_COUNTS: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"))
    .values(
        {
            name: jobs.c[name] + bindparam(f"more_{name}")
            for name in ("succeeded", "failed", "prompt_tokens", "completion_tokens", "retries")
        }
    )
)
_OPEN: Final = select(
    jobs.c.status,
    or_(
        exists().where(shards.c.job_id == jobs.c.id, is_free),
        exists().where(shards.c.job_id == jobs.c.id, is_begun),
    ),
).where(jobs.c.id == bindparam("job"))
