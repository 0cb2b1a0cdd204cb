from dataclasses import replace

import pytest

from overnight.domain.job import Counts, JobEvent, JobStatus
from overnight.store import jobs, shards, workers
from overnight.store.shards import Progress, ShardClaim
from support.store import Store, claim_one, settlement, start_job


def claimed(
    store: Store, worker: str, limit: int, models: set[str] | None = None, now: float = 2_000.0
) -> list[tuple[str, int]]:
    found = store.do(shards.claim, worker, models, limit, now)
    return [(claim.job_id, claim.ordinal) for claim in found]


def progress(claim: ShardClaim, succeeded: int) -> Progress:
    return Progress(claim.job_id, claim.ordinal, claim.epoch, Counts(succeeded))


def take_over(store: Store, dead: str = "w1", heir: str = "w2") -> ShardClaim:
    store.do(workers.reclaim, [dead], 2_000.0)
    return claim_one(store, heir)


def test_a_claim_holds_all_there_is_to_know(store: Store) -> None:
    start_job(store, models=["m", "n"])
    claim_one(store)
    assert claim_one(store, "w2") == ShardClaim(
        job_id="batch_a",
        ordinal=1,
        epoch=1,
        model="n",
        first_record=10,
        requests=10,
        body_bytes=1_000,
        checksum=-2,
        fruitless_takeovers=0,
        endpoint="/v1/chat/completions",
        deadline=90_000.0,
        input_file_id="file-in",
    )


def test_each_call_takes_at_most_one_shard_of_a_job(store: Store) -> None:
    start_job(store, "a")
    start_job(store, "b", created_at=1_001.0)
    assert claimed(store, "w1", 5) == [("a", 0), ("b", 0)]
    assert claimed(store, "w2", 5) == [("a", 1), ("b", 1)]
    assert claimed(store, "w1", 5) == [("a", 2), ("b", 2)]
    assert claimed(store, "w1", 5) == []


@pytest.mark.parametrize("limit", [0, -1])
def test_a_claim_of_nothing_is_nothing(store: Store, limit: int) -> None:
    start_job(store)
    assert claimed(store, "w1", limit) == []


def test_jobs_take_turns_by_priority_then_service_then_age(store: Store) -> None:
    start_job(store, "old", created_at=1.0)
    start_job(store, "young", created_at=2.0)
    start_job(store, "urgent", created_at=3.0, priority=1, models=["m", "m"])
    turns = [claimed(store, "w1", 1, now=2_000.0 + turn) for turn in range(4)]
    assert turns == [[("urgent", 0)], [("urgent", 1)], [("old", 0)], [("young", 0)]]
    start_job(store, "new", created_at=4.0)
    turns = [claimed(store, "w1", 1, now=3_000.0 + turn) for turn in range(4)]
    assert turns == [[("new", 0)], [("old", 1)], [("young", 1)], [("new", 1)]]


def test_only_shards_of_served_models_are_claimed(store: Store) -> None:
    start_job(store, models=["m", "n", "o", "m"])
    assert claimed(store, "w1", 5, {"o", "n", "other"}) == [("batch_a", 1)]
    assert claimed(store, "w1", 5, {"m"}) == [("batch_a", 0)]
    assert claimed(store, "w1", 5, {"n"}) == []
    assert claimed(store, "w1", 5, set()) == []
    assert claimed(store, "w1", 5, {f"model {n}" for n in range(2_000)} | {"o"}) == [("batch_a", 2)]
    assert claimed(store, "w1", 5, None) == [("batch_a", 3)]


def test_a_look_tells_what_a_claim_would_find(store: Store) -> None:
    start_job(store, models=["m"])
    assert store.do(shards.is_claimable, None)
    assert store.do(shards.is_claimable, {"m", "n"})
    assert not store.do(shards.is_claimable, {"n"})
    assert not store.do(shards.is_claimable, set())
    claim_one(store)
    assert not store.do(shards.is_claimable, None)


@pytest.mark.parametrize(
    "event", [JobEvent.CANCEL_REQUESTED, JobEvent.DEADLINE_PASSED, JobEvent.CORRUPTED]
)
def test_a_stopped_job_gives_no_shards_and_its_holders_are_told(
    store: Store, event: JobEvent
) -> None:
    start_job(store, "a")
    start_job(store, "b", created_at=1_001.0)
    claimed(store, "w1", 2)
    assert store.do(shards.stopped_jobs, "w1") == {}
    store.do(jobs.advance, "a", event, 2_100.0)
    assert claimed(store, "w2", 2) == [("b", 1)]
    assert store.do(shards.stopped_jobs, "w1") == {"a": event is JobEvent.DEADLINE_PASSED}
    assert store.do(shards.stopped_jobs, "w2") == {}


def test_the_last_settlement_advances_the_job(store: Store) -> None:
    start_job(store)
    first, second, third = (claim_one(store) for _ in range(3))
    assert store.do(shards.settle, "w1", [settlement(first), settlement(third)], 2_100.0) == []
    assert store.do(jobs.get, "batch_a").status is JobStatus.IN_PROGRESS
    last = settlement(second, Counts(7, 3, 100, 200))
    assert store.do(shards.settle, "w1", [last], 2_200.0) == []
    job = store.do(jobs.get, "batch_a")
    assert job.status is JobStatus.FINALIZING
    assert job.counts == Counts(27, 3, 100, 200)
    row = store.do(shards.of_job, "batch_a")[1]
    assert (row.settled, row.segment_epoch) == (True, 1)
    assert (row.segment_bytes, row.segment_digest) == (500, -7)


def test_one_transaction_may_settle_all_shards_of_several_jobs(store: Store) -> None:
    start_job(store, "a", ["m"])
    start_job(store, "b", ["m"])
    done = [settlement(claim) for claim in store.do(shards.claim, "w1", None, 2, 2_000.0)]
    store.do(shards.settle, "w1", done, 2_100.0)
    assert {store.do(jobs.get, job).status for job in "ab"} == {JobStatus.FINALIZING}


def test_settling_a_cancelled_shard_leaves_the_job_cancelling(store: Store) -> None:
    start_job(store, models=["m"])
    claim = claim_one(store)
    store.do(jobs.advance, "batch_a", JobEvent.CANCEL_REQUESTED, 2_100.0)
    assert store.do(shards.settle, "w1", [settlement(claim, Counts(4))], 2_200.0) == []
    job = store.do(jobs.get, "batch_a")
    assert (job.status, job.counts) == (JobStatus.CANCELLING, Counts(4))


def test_a_stale_epoch_can_not_write(store: Store) -> None:
    start_job(store, models=["m"])
    stale = claim_one(store, "w1")
    fresh = take_over(store)
    assert fresh.epoch > stale.epoch
    before = store.rows("SELECT * FROM shards"), store.rows("SELECT * FROM jobs")
    held = ("batch_a", 0, stale.epoch)
    assert store.do(shards.settle, "w1", [settlement(stale)], 2_100.0) == [held]
    assert store.do(shards.renew_progress, "w1", [progress(stale, 5)]) == [held]
    assert store.do(shards.release, "w1", [held]) == [held]
    assert (store.rows("SELECT * FROM shards"), store.rows("SELECT * FROM jobs")) == before


def test_the_same_worker_can_not_write_under_an_epoch_of_its_past(store: Store) -> None:
    start_job(store, models=["m"])
    stale = claim_one(store, "w1")
    store.do(shards.release, "w1", [("batch_a", 0, stale.epoch)])
    fresh = claim_one(store, "w1")
    assert store.do(shards.settle, "w1", [settlement(stale)], 2_100.0) != []
    assert store.do(shards.settle, "w1", [settlement(fresh)], 2_100.0) == []


def test_a_shard_is_settled_once(store: Store) -> None:
    start_job(store)
    claim = claim_one(store)
    done = settlement(claim)
    assert store.do(shards.settle, "w1", [done, done], 2_100.0) == [done.held]
    assert store.do(shards.settle, "w1", [done], 2_100.0) == [done.held]
    assert store.do(jobs.get, "batch_a").counts == Counts(10)


def test_a_refused_settlement_does_not_hinder_the_others(store: Store) -> None:
    start_job(store)
    stale, good = claim_one(store), claim_one(store)
    stale = replace(stale, epoch=stale.epoch + 9)
    refused = store.do(shards.settle, "w1", [settlement(stale), settlement(good)], 2_100.0)
    assert refused == [("batch_a", 0, 10)]
    assert [row.settled for row in store.do(shards.of_job, "batch_a")] == [False, True, False]


def test_a_released_shard_is_claimed_again_without_blame(store: Store) -> None:
    start_job(store)
    first = claim_one(store, "w1")
    store.do(shards.renew_progress, "w1", [progress(first, 4)])
    assert store.do(shards.release, "w1", [("batch_a", 0, first.epoch)]) == []
    assert store.do(jobs.get, "batch_a").counts == Counts(4)
    again = claim_one(store, "w2")
    assert (again.ordinal, again.epoch) == (0, first.epoch + 1)
    assert again.fruitless_takeovers == 0


def test_takeovers_are_fruitless_until_an_outcome_is_added(store: Store) -> None:
    start_job(store, models=["m"])
    claim = claim_one(store, "w1")
    store.do(shards.renew_progress, "w1", [progress(claim, 4)])
    claim = take_over(store, "w1", "w2")
    assert claim.fruitless_takeovers == 1
    # What was taken over is nothing new.
    store.do(shards.renew_progress, "w2", [progress(claim, 4)])
    claim = take_over(store, "w2", "w3")
    assert claim.fruitless_takeovers == 2
    store.do(shards.renew_progress, "w3", [progress(claim, 5)])
    claim = take_over(store, "w3", "w4")
    assert claim.fruitless_takeovers == 1


def test_progress_never_falls(store: Store) -> None:
    """A kill loses the last milliseconds of a shard, and the user is told nothing of it."""
    start_job(store, models=["m"])
    claim = claim_one(store, "w1")
    store.do(shards.renew_progress, "w1", [progress(claim, 6)])
    store.do(workers.reclaim, ["w1"], 2_000.0)
    assert store.do(jobs.get, "batch_a").counts == Counts(6)
    claim = claim_one(store, "w2")
    assert store.do(shards.renew_progress, "w2", [progress(claim, 5)]) == []
    assert store.do(jobs.get, "batch_a").counts == Counts(6)
    store.do(shards.renew_progress, "w2", [progress(claim, 7)])
    assert store.do(jobs.get, "batch_a").counts == Counts(7)


def test_open_models_are_those_of_unsettled_shards(store: Store) -> None:
    start_job(store, models=["b", "a", "c", "a"])
    claim = claim_one(store)
    claim_one(store)
    assert store.do(shards.open_models, "batch_a") == ["a", "b", "c"]
    store.do(shards.settle, "w1", [settlement(claim)], 2_100.0)
    assert store.do(shards.open_models, "batch_a") == ["a", "c"]


def test_open_models_are_twenty_at_most(store: Store) -> None:
    start_job(store, models=[f"m{n:02}" for n in range(30)])
    assert store.do(shards.open_models, "batch_a") == [f"m{n:02}" for n in range(20)]
