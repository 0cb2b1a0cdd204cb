"""How SQLite finds rows: what runs many times a second never reads a whole table."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from overnight.domain.job import Counts
from overnight.store import creations, files, jobs, shards, uploads, workers
from overnight.store.creations import Creation
from overnight.store.shards import Progress
from support.store import Store, claim_one, settlement, start_job

TABLES = ("jobs", "job_log", "shards", "chosen", "files", "uploads")


def plan_of(store: Store, verb: Callable[..., object], *args: object) -> list[str]:
    with store.plans() as steps:
        store.do(verb, *args)
    assert steps
    return steps


def test_a_claim_finds_jobs_and_shards_by_their_indexes(store: Store) -> None:
    start_job(store)
    steps = plan_of(store, shards.claim, "w1", None, 1, 2_000.0)
    assert any("jobs USING INDEX jobs_by_turn (status=?)" in step for step in steps)
    assert any("shards USING" in step and "INDEX shards_free (job_id=?)" in step for step in steps)


def test_a_claim_for_models_looks_each_up(store: Store) -> None:
    start_job(store)
    steps = plan_of(store, shards.claim, "w1", {"m", "n"}, 1, 2_000.0)
    assert any("INDEX shards_free_of_model (job_id=? AND model=?)" in step for step in steps)


def test_live_counts_read_only_shards_that_were_begun(store: Store) -> None:
    start_job(store)
    steps = plan_of(store, jobs.get, "batch_a")
    assert any("shards USING INDEX shards_begun (job_id=?)" in step for step in steps)


def test_only_jobs_that_have_not_ended_are_counted(store: Store) -> None:
    start_job(store)
    steps = plan_of(store, creations.count_alive, "local")
    assert steps == ["SEARCH jobs USING COVERING INDEX jobs_live (tenant=?)"]


def settle_one(tx: Connection) -> None:
    (claim,) = shards.claim(tx, "w1", None, 1, 2_000.0)
    shards.renew_progress(tx, "w1", [Progress("batch_a", claim.ordinal, claim.epoch, Counts(1))])
    shards.settle(tx, "w1", [settlement(claim)], 2_000.0)


def pass_jobs_on(tx: Connection) -> None:
    jobs.claim_validation(tx, "clerk1", 1)
    jobs.claim_publishing(tx, "clerk1", 1)


@pytest.mark.parametrize(
    "work",
    [
        settle_one,
        pass_jobs_on,
        jobs.has_work_for_clerk,
        lambda tx: shards.claim(tx, "w1", {"m"}, 3, 2_000.0),
        lambda tx: shards.stopped_jobs(tx, "w1"),
        lambda tx: shards.open_models(tx, "batch_a"),
        lambda tx: shards.of_job(tx, "batch_a"),
        lambda tx: workers.leave(tx, "w1"),
        lambda tx: workers.reclaim(tx, ["w1"], 2_000.0),
        lambda tx: jobs.past_deadline(tx, 2_000.0, 10),
        lambda tx: jobs.page(tx, "local", "batch_a", 10),
        lambda tx: jobs.get(tx, "batch_a"),
        lambda tx: creations.by_key(tx, "local", "key"),
        lambda tx: creations.newest(tx, "local", Creation("me", "digest"), 1_000.0),
        lambda tx: files.reader_of(tx, "file-in"),
        lambda tx: files.expired(tx, 2_000.0),
        lambda tx: files.purgeable(tx, 2_000.0, 600.0),
        lambda tx: files.page(tx, "local", None, None, 10),
        lambda tx: files.count(tx, "local"),
        lambda tx: files.same_bytes(tx, "local", "batch", "ab", 2_000.0),
        lambda tx: files.forget_tombstones(tx, 2_000.0),
        lambda tx: uploads.arrived(tx, "upload_a", besides=1),
        lambda tx: uploads.parts(tx, "upload_a"),
        lambda tx: uploads.expire(tx, 2_000.0, 1_000.0),
        uploads.clearable,
        lambda tx: uploads.forget_ended(tx, 2_000.0),
    ],
)
def test_nothing_reads_a_whole_table(store: Store, work: Callable[[Connection], object]) -> None:
    start_job(store)
    claim_one(store)
    steps = plan_of(store, work)
    # A partial index may be read from end to end: it holds only the few rows that are claimed, or
    # the jobs that have not ended.
    scans = [step for step in steps if step.startswith(tuple(f"SCAN {name}" for name in TABLES))]
    assert [step for step in scans if "_claimed" not in step and "_live" not in step] == []
