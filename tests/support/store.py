"""A real database in a folder of the test, and short ways to fill it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, event

from overnight.domain.file import StoredFile
from overnight.domain.job import Counts, Job, JobStatus
from overnight.domain.plan import ShardPlan
from overnight.store import jobs, shards
from overnight.store.database import open_engine
from overnight.store.jobs import Accepted
from overnight.store.shards import Settlement, ShardClaim
from overnight.store.tables import metadata

P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """Runs one verb per transaction, as a process of its own would."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = open_engine(path)
        self._writer = self._engine.execution_options(begin="IMMEDIATE")
        with self._writer.begin() as tx:
            metadata.create_all(tx)

    def do(
        self, verb: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with self._writer.begin() as tx:
            return verb(tx, *args, **kwargs)

    def rows(self, sql: str) -> list[Any]:
        with self._engine.begin() as tx:
            return list(tx.exec_driver_sql(sql))

    @contextmanager
    def plans(self) -> Iterator[list[str]]:
        """The steps by which SQLite carries out every statement run inside."""
        steps: list[str] = []

        def explain(
            _connection: object, cursor: Any, sql: str, parameters: Any, *_: object
        ) -> None:
            if sql.startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
                cursor.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
                steps.extend(row[3] for row in cursor.fetchall())

        event.listen(self._engine, "before_cursor_execute", explain)
        try:
            yield steps
        finally:
            event.remove(self._engine, "before_cursor_execute", explain)

    def close(self) -> None:
        self._engine.dispose()


def new_job(job_id: str = "batch_a", **changes: Any) -> Job:
    job = Job(
        id=job_id,
        tenant="local",
        endpoint="/v1/chat/completions",
        input_file_id="file-in",
        input_bytes=100,
        line_rules="openai",
        status=JobStatus.VALIDATING,
        created_at=1_000.0,
        deadline=90_000.0,
    )
    return replace(job, **changes)


def new_file(file_id: str = "file-a", **changes: Any) -> StoredFile:
    file = StoredFile(
        id=file_id, tenant="local", name="in.jsonl", purpose="batch", bytes=10, created_at=1_000.0
    )
    return replace(file, **changes)


def plans_of(models: Sequence[str]) -> list[ShardPlan]:
    """A shard of ten requests for each of `models`, in that order."""
    return [
        ShardPlan(ordinal, model, ordinal * 10, 10, 1_000, -ordinal - 1)
        for ordinal, model in enumerate(models)
    ]


def start_job(
    store: Store, job_id: str = "batch_a", models: Sequence[str] = ("m", "m", "m"), **changes: Any
) -> None:
    """A job in progress with a shard for each of `models`."""
    store.do(jobs.create, new_job(job_id, **changes))
    (claim,) = store.do(jobs.claim_validation, "starter", 1)
    assert claim.job.id == job_id
    only = models[0] if len(set(models)) == 1 else None
    accepted = Accepted(total=10 * len(models), model=only)
    store.do(jobs.accept, claim, plans_of(models), accepted, 1_001.0)


def claim_one(store: Store, worker: str = "w1", now: float = 2_000.0) -> ShardClaim:
    (claim,) = store.do(shards.claim, worker, None, 1, now)
    return claim


def settlement(claim: ShardClaim, counts: Counts | None = None) -> Settlement:
    """`claim` done; all of its requests succeeded unless `counts` says otherwise."""
    counts = Counts(claim.requests) if counts is None else counts
    return Settlement(claim.job_id, claim.ordinal, claim.epoch, 500, -7, counts)
