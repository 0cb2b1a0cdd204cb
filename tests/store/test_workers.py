from overnight.store import jobs, lanes, shards, workers
from overnight.store.lanes import LaneSpec
from support.store import Store, claim_one, new_job, start_job


def register(store: Store, worker: str, role: str = "worker", until: float = 15.0) -> None:
    store.do(workers.register, worker, role, 0.0, until)


def test_a_lease_runs_until_it_lapses_and_is_renewed_until_it_is_gone(store: Store) -> None:
    register(store, "w1")
    assert store.do(workers.alive, "worker", 14.9)
    assert not store.do(workers.alive, "clerk", 14.9)
    assert not store.do(workers.alive, "worker", 15.0)
    assert store.do(workers.lapsed, 14.9) == []
    assert store.do(workers.lapsed, 15.0) == ["w1"]
    assert store.do(workers.renew, "w1", 30.0)
    assert store.do(workers.lapsed, 15.0) == []
    store.do(workers.reclaim, ["w1"], 20.0)
    assert not store.do(workers.renew, "w1", 45.0)
    assert not store.do(workers.alive, "worker", 20.0)


def everything_held_by(store: Store, worker: str) -> None:
    """A shard, a lane and a job to validate."""
    register(store, worker)
    start_job(store, f"{worker}-running")
    store.do(jobs.create, new_job(f"{worker}-new"))
    claim_one(store, worker)
    store.do(lanes.claim, worker, 1, 1.0)
    store.do(jobs.claim_validation, worker, 1)


def holders(store: Store) -> list[str | None]:
    found = store.rows(
        "SELECT worker FROM shards WHERE epoch > 0 UNION ALL SELECT worker FROM lanes "
        "UNION ALL SELECT clerk FROM jobs WHERE status = 'validating'"
    )
    return sorted((holder for (holder,) in found), key=str)


def test_reclaiming_frees_all_of_the_dead_and_nothing_of_the_living(store: Store) -> None:
    store.do(lanes.sync, [LaneSpec("http://a", 0), LaneSpec("http://b", 0)])
    everything_held_by(store, "dead")
    everything_held_by(store, "living")
    assert store.do(workers.reclaim, ["dead"], 20.0) == 3
    assert holders(store) == [None] * 3 + ["living"] * 3
    assert store.do(workers.lapsed, 99.0) == ["living"]
    assert store.do(workers.reclaim, [], 20.0) == 0


def test_claims_of_a_worker_that_has_no_row_are_freed_as_well(store: Store) -> None:
    """It may have claimed after it was declared dead, before it noticed."""
    register(store, "living")
    start_job(store)
    stale = claim_one(store, "unknown")
    assert store.do(workers.reclaim, [], 20.0) == 1
    assert claim_one(store, "living").epoch == stale.epoch + 2


def test_leaving_hands_everything_back_without_blame(store: Store) -> None:
    store.do(lanes.sync, [LaneSpec("http://a", 0)])
    everything_held_by(store, "w1")
    store.do(workers.leave, "w1")
    assert holders(store) == [None] * 3
    assert not store.do(workers.renew, "w1", 99.0)
    assert claim_one(store, "w2").fruitless_takeovers == 0
    assert [lane.taken_over for lane in store.do(lanes.claim, "w2", 1, 1.0)] == [False]


def test_at_a_start_nobody_is_alive(store: Store) -> None:
    store.do(lanes.sync, [LaneSpec("http://a", 0), LaneSpec("http://b", 0)])
    everything_held_by(store, "w1")
    everything_held_by(store, "w2")
    assert store.do(workers.reclaim_all, 20.0) == 6
    assert holders(store) == [None] * 6
    assert not store.do(workers.alive, "worker", 1.0)


def test_a_reclaimed_shard_goes_on_where_it_was(store: Store) -> None:
    register(store, "w1")
    start_job(store)
    first = claim_one(store, "w1")
    store.do(workers.reclaim, ["w1"], 20.0)
    (again,) = store.do(shards.claim, "w2", None, 1, 30.0)
    assert (again.ordinal, again.epoch) == (first.ordinal, first.epoch + 2)
    assert again.fruitless_takeovers == 1
